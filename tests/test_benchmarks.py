"""The benchmark's statistics, and that it runs."""
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))


def test_the_interval_covers_the_median_as_often_as_it_says():
    from lecture_74 import median_with_interval
    rng = np.random.default_rng(0)
    samples = rng.standard_cauchy((2000, 20))  # heavy tails, true median 0
    hits = sum(low <= 0 <= high for _, low, high in map(median_with_interval, samples))
    assert 0.95 <= hits / 2000 < 0.98
    assert median_with_interval(range(1, 7)) == (3.5, 1, 6)
    with pytest.raises(ValueError, match="at least 6"):
        median_with_interval([1, 2])


def test_the_benchmark_runs(real_data):
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "lecture_74.py"), "--data-dir", str(real_data),
                           "--pairs", "6", "--images", "64"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["pairs"] == 6 and 0.2 < result["low"] <= result["ratio"] <= result["high"] < 5
