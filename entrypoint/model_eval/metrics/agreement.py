"""Metrics of how targets and predicted classes go together, from the counts of all classes.

The definitions are scikit-learn's `balanced_accuracy_score`, `matthews_corrcoef` and
`cohen_kappa_score`, except that 0/0 is undefined (NaN) here, where scikit-learn says 0.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.metrics.classification import divide, others, recall
from model_eval.metrics.rows import FloatArray, Rows


def balanced_accuracy(rows: Rows) -> FloatArray:
    """The mean recall of the classes that have samples."""
    counts = rows.counts
    there = counts.support > 0
    return divide(np.where(there, recall(counts), 0).sum(axis=1), there.sum(axis=1))


def matthews_corrcoef(rows: Rows) -> FloatArray:
    """The correlation of targets and predictions (Gorodkin 2004); NaN where either is constant.

    (s Σh - Σpt) / √((s² - Σp²)(s² - Σt²)) over the classes, with h hits, p predictions and t
    targets of each, and s samples. Each s² - Σt² is Σ t (s - t), which loses no digits.
    """
    support, predicted = _support_and_predictions(rows)
    hits = rows.counts.hits.astype(np.float64)
    size = support.sum(axis=1)
    together = (size[:, None] * hits - predicted * support).sum(axis=1)
    # Roots first: weights may be as large as 2^256.
    spread = np.sqrt(_apart(predicted, predicted)) * np.sqrt(_apart(support, support))
    return np.clip(divide(together, spread), -1, 1)


def cohen_kappa(rows: Rows) -> FloatArray:
    """1 - s (s - Σh) / (s² - Σpt): disagreement against what independence would give.

    NaN where all targets and predictions are of the same class.
    """
    support, predicted = _support_and_predictions(rows)
    size = support.sum(axis=1)
    missed = (support - rows.counts.hits).sum(axis=1)
    return np.clip(1 - divide(missed, _apart(predicted, support) / size), -1, 1)


def _support_and_predictions(rows: Rows) -> tuple[FloatArray, FloatArray]:
    counts = rows.counts
    return counts.support.astype(np.float64), counts.predicted.astype(np.float64)


def _apart(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> FloatArray:
    """(B,) how often two labels, drawn from each, would differ, times the square of the size."""
    found: FloatArray = (first * others(second)).sum(axis=1)
    return found
