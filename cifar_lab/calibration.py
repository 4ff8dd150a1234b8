"""How far probabilities can be trusted: temperature scaling, calibration error, thresholds.

A network that is 80 % sure should be right 8 times in 10. Dividing what goes into its softmax by
one number, the temperature, brings most networks there without changing a single answer (Guo et
al. 2017, "On Calibration of Modern Neural Networks"). The number is fitted on validation images.
This module needs numpy alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0  # temperatures that are looked at
PRIOR_SD = 0.5  # of the logarithm of a temperature, before any image was seen
FEWEST = 20  # images that say anything of a temperature
BINS = 15  # of the calibration error, as in the paper
PRECISIONS = (0.8, 0.9, 0.95, 0.99)  # that a card has thresholds for
_TINY = float(np.finfo(np.float32).tiny)  # a float32 softmax has zeros: their logarithms end here


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature: p^(1/T), each row summing to 1.

    The same as dividing the logits by T. Above 1 they are less sure, below 1 surer; which class is
    the likeliest never changes.

    Args:
        probabilities: float (N, classes), each row summing to 1.
        temperature: T, greater than 0.

    Returns:
        float64 (N, classes); at 1 the probabilities as they are.
    """
    if temperature == 1:
        return np.asarray(probabilities, np.float64)
    logs = _logs(probabilities) / temperature
    powers = np.exp(logs - logs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the labels are likeliest, on images not trained on.

    Minimises N * (mean negative log-likelihood) + log(T)^2 / (2 * 0.5^2) over 0.05 to 20. The
    second term says that most temperatures are between 0.6 and 1.6 before any image was seen:
    nothing beside thousands of images, but with twenty that are all classified rightly it keeps T
    near 1, where the likelihood alone would run to the bound. Because it is 0 at T = 1, the
    likelihood at the temperature returned is never below that at 1.

    Args:
        probabilities: float (N, classes), at temperature 1.
        labels: int (N,).

    Returns:
        T; 1.0 without images.
    """
    if not len(labels):
        return 1.0
    logs = _logs(probabilities)
    true = logs[np.arange(len(labels)), labels]

    def objective(log_temperature: float) -> float:
        beta = math.exp(-log_temperature)
        total = np.log(np.exp(beta * (logs - logs.max(1, keepdims=True))).sum(1))
        loss = (total + beta * (logs.max(1) - true)).sum()
        return float(loss) + log_temperature**2 / (2 * PRIOR_SD**2)

    grid = np.linspace(math.log(LOWEST), math.log(HIGHEST), 41)
    grid[20] = 0.0  # T = 1 itself, not nearly
    values = [objective(x) for x in grid]
    i = int(np.argmin(values))
    low, high = grid[max(0, i - 1)], grid[min(len(grid) - 1, i + 1)]
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if objective(left) <= objective(right):
            high = right
        else:
            low = left
    best = (low + high) / 2
    return float(math.exp(best if objective(best) < values[i] else grid[i]))


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> float:
    """How far confidence is from accuracy: 0 to 1 (Guo et al. 2017).

    Images are put into bins of equal width by their confidence, the largest probability of each;
    the mean over the images of |accuracy - mean confidence| of their bin.

    Args:
        probabilities: float (N, classes), at least one row.
        labels: int (N,).
        bins: how many, at least 1.
    """
    confidence, right = _confidence(probabilities, labels)
    # a confidence on an edge belongs to the bin below it, as in the paper
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(numbers, right - confidence, bins)
    return float(np.abs(gaps).sum() / len(labels))


def threshold_for(
    probabilities: np.ndarray, labels: np.ndarray, precision: float
) -> dict[str, float] | None:
    """The lowest confidence from which on answers are right as often as wanted.

    Where the share of right answers merely reached `precision` on these images, luck would have
    chosen the threshold, and other images would fall short half of the time. So the lower end of
    its one-sided 95 % Wilson interval must reach it. A few images can promise little: 0.8 takes at
    least 11 right answers, 0.9 at least 25, 0.99 at least 268.

    Args:
        probabilities: float (N, classes), of images that nothing was trained on.
        labels: int (N,).
        precision: wanted share of right answers, 0 to 1.

    Returns:
        {"threshold": a confidence, 0 to 1, "precision": the share of right answers among the
        images of at least that confidence, "coverage": their share of all images}; None where no
        threshold does it.
    """
    if not len(labels):
        return None
    confidence, right = _confidence(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], np.cumsum(right[order])
    counts = np.arange(1, len(labels) + 1)
    last = np.append(confidence[1:] < confidence[:-1], True)  # equal confidences go together
    enough = last & (wilson(right, counts, z=1.6449)[0] >= precision)
    if not enough.any():
        return None
    i = int(np.flatnonzero(enough)[-1])
    return {
        "threshold": float(confidence[i]),
        "precision": float(right[i] / counts[i]),
        "coverage": float(counts[i] / len(labels)),
    }


def above(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, Any]:
    """What a threshold does on labelled images.

    Returns:
        {"threshold", "images": how many have at least that confidence, "precision": the share of
        right answers among them (None where there are none), "coverage": their share of all}.
    """
    confidence, right = _confidence(probabilities, labels)
    kept = confidence >= threshold
    return {
        "threshold": float(threshold),
        "images": int(kept.sum()),
        "precision": float(right[kept].mean()) if kept.any() else None,
        "coverage": float(kept.mean()),
    }


def describe(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What a card says of a network's doubt, measured on its validation images.

    Args:
        probabilities: float (N, classes), of the network as it is saved.
        labels: int (N,).

    Returns:
        {"temperature": T, "images": N, "expected_calibration_error": {"before", "after": at T},
        "thresholds": {"0.8": {"threshold", "coverage"} or None, "0.9": ..., "0.95", "0.99"}}, the
        thresholds for probabilities at T. With fewer than 20 images T is 1 and there are no
        thresholds, with none of them the errors are None: too little to say anything.
    """
    few = len(labels) < FEWEST
    temperature = 1.0 if few else fit_temperature(probabilities, labels)
    after = scaled(probabilities, temperature)
    errors = [expected_calibration_error(p, labels) if len(labels) else None
              for p in (probabilities, after)]  # fmt: skip
    thresholds: dict[str, dict[str, float] | None] = {}
    for precision in PRECISIONS:
        found = None if few else threshold_for(after, labels, precision)
        thresholds[str(precision)] = found and {k: found[k] for k in ("threshold", "coverage")}
    return {
        "temperature": temperature,
        "images": len(labels),
        "expected_calibration_error": {"before": errors[0], "after": errors[1]},
        "thresholds": thresholds,
    }


def wilson(right: Any, counts: Any, z: float = 1.959964) -> tuple[Any, Any]:
    """Wilson's interval of a share, (low, high), numbers or arrays (Wilson 1927).

    right: how many of `counts` (at least 1). z: of the normal distribution; by default 95 % of it
    lies within, and the ends are those of a 95 % interval.
    """
    share = right / counts
    middle = (share + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z * np.sqrt(share * (1 - share) / counts + (z / (2 * counts)) ** 2) / (1 + z**2 / counts)
    return middle - half, middle + half


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY))


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(largest probability of each image, whether its class is the true one), float64 (N,)."""
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities.max(1), (probabilities.argmax(1) == labels).astype(np.float64)
