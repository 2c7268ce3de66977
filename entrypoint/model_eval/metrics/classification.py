"""Metrics of predicted classes, from the counts of each class, and the log loss.

The definitions are scikit-learn's `precision_recall_fscore_support` with its default labels and
`zero_division=0` inside averages; a single ratio 0/0 is undefined (NaN) here, not 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.metrics.rows import Counts, FloatArray, Rows

Ratio = Callable[[Counts], FloatArray]
"""Of the counts of each class, one by one; NaN where 0/0."""


def accuracy(rows: Rows) -> FloatArray:
    """Share of rows whose prediction is the target."""
    counts = rows.counts.total()
    return divide(counts.hits, counts.support)


def log_loss(rows: Rows) -> FloatArray:
    """Mean of -ln(probability of the target); NaN where one of these was 0."""
    mean = rows.mean(rows.column("log_loss"))
    return np.where(mean < np.inf, mean, np.nan)


def precision(counts: Counts) -> FloatArray:
    """TP / (TP + FP)."""
    return divide(counts.hits, counts.predicted)


def recall(counts: Counts) -> FloatArray:
    """TP / (TP + FN)."""
    return divide(counts.hits, counts.support)


def f1(counts: Counts) -> FloatArray:
    """2 TP / (2 TP + FP + FN)."""
    return divide(2 * counts.hits, counts.predicted + counts.support)


def of_class(ratio: Ratio, rows: Rows, index: int) -> FloatArray:
    """The ratio of one class against the rest."""
    return ratio(rows.counts)[:, index]


def of_positive(ratio: Ratio, rows: Rows) -> FloatArray:
    """The ratio of a binary ledger's positive class."""
    return of_class(ratio, rows, 1)


def macro(ratio: Ratio, rows: Rows) -> FloatArray:
    """The mean over the classes that are a target or a prediction; 0/0 of such a class is 0."""
    counts = rows.counts
    occurs = counts.predicted + counts.support > 0
    values = np.where(occurs, zero_for_nan(ratio(counts)), 0)
    return divide(values.sum(axis=1), occurs.sum(axis=1))


def weighted(ratio: Ratio, rows: Rows) -> FloatArray:
    """The mean over classes, each weighted by its support; 0/0 is 0."""
    support = rows.counts.support
    values = support * zero_for_nan(ratio(rows.counts))
    return divide(values.sum(axis=1), support.sum(axis=1))


def micro(ratio: Ratio, rows: Rows) -> FloatArray:
    """From the counts of all classes together; with one class a row, that is the accuracy."""
    return ratio(rows.counts.total())


def hits_of_all(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Rows whose prediction is the target, out of all, each (B,)."""
    counts = rows.counts.total()
    return counts.hits, counts.support


def hits_of_class(rows: Rows, index: int) -> tuple[FloatArray, FloatArray]:
    """Rows of a class that are predicted as it, out of those of the class, each (B,)."""
    return rows.counts.hits[:, index], rows.counts.support[:, index]


def hits_of_predicted(rows: Rows, index: int) -> tuple[FloatArray, FloatArray]:
    """Rows of a class that are predicted as it, out of those that are predicted, each (B,)."""
    return rows.counts.hits[:, index], rows.counts.predicted[:, index]


def divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    """The quotient, NaN where the denominator is 0."""
    quotient = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def zero_for_nan(values: FloatArray) -> FloatArray:
    """The values, 0 where they are NaN."""
    return np.where(np.isnan(values), 0, values)
