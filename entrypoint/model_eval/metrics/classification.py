"""Metrics of predicted classes, from the counts of each class, and the log loss.

The definitions are scikit-learn's `precision_recall_fscore_support` with its default labels and
`zero_division=0` inside averages; a single ratio 0/0 is undefined (NaN) here, not 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.metrics.rows import Counts, FloatArray, Rows

Ratio = Callable[..., FloatArray]
"""Of the `Counts` of each class, one by one, and parameters; NaN where 0/0."""


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


def fbeta(counts: Counts, *, beta: float) -> FloatArray:
    """(1 + β²) TP / ((1 + β²) TP + FP + β² FN): recall counts β times as much as precision."""
    square = beta * beta
    return divide((1 + square) * counts.hits, counts.predicted + square * counts.support)


def specificity(counts: Counts) -> FloatArray:
    """TN / (TN + FP)."""
    return divide(*_rejected(counts))


def of_class(ratio: Ratio, rows: Rows, index: int, **params: float) -> FloatArray:
    """The ratio of one class against the rest."""
    values: FloatArray = ratio(rows.counts, **params)[:, index]
    return values


def of_positive(ratio: Ratio, rows: Rows, **params: float) -> FloatArray:
    """The ratio of a binary ledger's positive class."""
    return of_class(ratio, rows, 1, **params)


def macro(ratio: Ratio, rows: Rows, **params: float) -> FloatArray:
    """The mean over the classes that are a target or a prediction; 0/0 of such a class is 0."""
    counts = rows.counts
    occurs = counts.predicted + counts.support > 0
    values = np.where(occurs, zero_for_nan(ratio(counts, **params)), 0)
    return divide(values.sum(axis=1), occurs.sum(axis=1))


def weighted(ratio: Ratio, rows: Rows, **params: float) -> FloatArray:
    """The mean over classes, each weighted by its support; 0/0 is 0."""
    support = rows.counts.support
    values = support * zero_for_nan(ratio(rows.counts, **params))
    return divide(values.sum(axis=1), support.sum(axis=1))


def micro(ratio: Ratio, rows: Rows, **params: float) -> FloatArray:
    """From the counts of all classes together; with one class a row, that is the accuracy."""
    return ratio(rows.counts.total(), **params)


def hits_of_all(rows: Rows, **_params: float) -> tuple[FloatArray, FloatArray]:
    """Rows whose prediction is the target, out of all, each (B,)."""
    counts = rows.counts.total()
    return counts.hits, counts.support


def hits_of_class(rows: Rows, index: int) -> tuple[FloatArray, FloatArray]:
    """Rows of a class that are predicted as it, out of those of the class, each (B,)."""
    return rows.counts.hits[:, index], rows.counts.support[:, index]


def hits_of_predicted(rows: Rows, index: int) -> tuple[FloatArray, FloatArray]:
    """Rows of a class that are predicted as it, out of those that are predicted, each (B,)."""
    return rows.counts.hits[:, index], rows.counts.predicted[:, index]


def rejected_of_class(rows: Rows, index: int) -> tuple[FloatArray, FloatArray]:
    """Rows of other classes that are not predicted as the class, out of those, each (B,)."""
    rejected, negatives = _rejected(rows.counts)
    return rejected[:, index], negatives[:, index]


def others(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(B, C) → (B, C): the sum over all classes but this one.

    Not the total minus its own, which has no digits left where nearly all is of one class.
    """
    sums = np.zeros_like(values)
    sums[:, 1:] = np.cumsum(values[:, :-1], axis=1)
    sums[:, :-1] += np.cumsum(values[:, :0:-1], axis=1)[:, ::-1]
    return sums


def divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    """The quotient, NaN where the denominator is 0."""
    quotient = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _rejected(counts: Counts) -> tuple[FloatArray, FloatArray]:
    """TN and TN + FP of each class, (B, C)."""
    negatives = others(counts.support).astype(np.float64)
    rejected = negatives - (counts.predicted - counts.hits)
    return np.clip(rejected, 0, negatives), negatives


def zero_for_nan(values: FloatArray) -> FloatArray:
    """The values, 0 where they are NaN."""
    return np.where(np.isnan(values), 0, values)
