"""Tests and intervals of differences: against SciPy, and figures of the papers."""

import numpy as np
import pytest

from cifar_lab import significance

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (the dev extra)")


@pytest.mark.parametrize("first, second", [(0, 0), (5, 0), (3, 9), (120, 80), (900, 1000), (7, 7)])
def test_mcnemar_is_the_exact_binomial_test(first, second):
    n = first + second
    wanted = stats.binomtest(first, n, 0.5).pvalue if n else 1.0
    assert significance.mcnemar(first, second) == pytest.approx(wanted, rel=1e-9)


def test_two_networks_on_the_same_images():
    first = np.array([True] * 50 + [True] * 12 + [False] * 5 + [False] * 33)
    second = np.array([True] * 50 + [False] * 12 + [True] * 5 + [False] * 33)
    found = significance.paired(first, second)
    assert (found.both, found.first, found.second, found.neither) == (50, 12, 5, 33)
    assert found.images == 100 and found.difference == pytest.approx(0.07)
    # Bonett and Price: (13 - 6) / 102 +- 1.96 sqrt((13 + 6 - 49 / 102) / 102 / 102)
    assert found.low == pytest.approx(-0.01406, abs=1e-5)
    assert found.high == pytest.approx(0.15132, abs=1e-5)
    assert found.p == pytest.approx(0.14346, abs=1e-5)
    swapped = significance.paired(second, first)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_a_network_and_itself_do_not_differ():
    found = significance.paired(np.ones(100, bool), np.ones(100, bool))
    assert found.p == 1 and found.difference == 0 and found.low < 0 < found.high < 0.03


def test_rows_of_other_lengths_are_a_mistake():
    with pytest.raises(ValueError, match="two rows of one length"):
        significance.paired(np.ones(3, bool), np.ones(4, bool))


@pytest.mark.parametrize("sizes, scales", [((5, 5), (1, 1)), ((3, 8), (0.2, 2)), ((2, 2), (1, 3))])
def test_welch_is_scipys(sizes, scales):
    rng = np.random.default_rng(sum(sizes))
    first, second = (rng.normal(0.9, 0.01 * s, n) for n, s in zip(sizes, scales, strict=True))
    found = significance.welch(list(first), list(second))
    wanted = stats.ttest_ind(first, second, equal_var=False)
    interval = wanted.confidence_interval(0.95)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found.freedom == pytest.approx(wanted.df, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(interval), rel=1e-8)


def test_values_that_do_not_vary_have_no_p():
    found = significance.welch([0.5, 0.5], [0.25, 0.25])
    assert (found.difference, found.low, found.high, found.p) == (0.25, 0.25, 0.25, None)
    with pytest.raises(ValueError, match="two values or more of each, got 1, 2"):
        significance.welch([0.5], [0.5, 0.6])


@pytest.mark.parametrize("freedom", [1, 1.7, 4, 30, 1e4])
def test_students_t(freedom):
    assert significance.t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-8)
    for t in (0.0, 0.3, 2.0, 9.0, 60.0):
        wanted = 2 * stats.t.sf(t, freedom)
        assert significance.t_beyond(t, freedom) == pytest.approx(wanted, rel=1e-8, abs=1e-300)


def test_the_interval_of_a_mean():
    values = [0.90, 0.91, 0.92]
    wanted = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert significance.mean_interval(values) == pytest.approx(wanted, rel=1e-8)


def test_holms_way_takes_the_family_into_account():
    found = significance.holm([0.01, 0.04, 0.03, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.6, 0.9]) == [1.0, 1.0] and significance.holm([]) == []
