"""Metrics of real numbers: of one output, or the plain mean over outputs.

The definitions are scikit-learn's with `multioutput="uniform_average"`, except that constant
targets leave R² undefined (NaN), where scikit-learn says 0 or 1.
"""

from collections.abc import Callable

import numpy as np

from model_eval.metrics.rows import FloatArray, Rows

OfOutput = Callable[..., FloatArray]
"""(B,) of `Rows`, one output's targets (N,) and predictions (N,), and parameters; infinite where it
overflows."""


def of_output(metric: OfOutput, rows: Rows, index: int, **params: float) -> FloatArray:
    """The metric of one output."""
    columns = rows.column("target"), rows.column("prediction")
    target, prediction = (np.ascontiguousarray(column[:, index]) for column in columns)
    return metric(rows, target, prediction, **params)


def mean_over_outputs(metric: OfOutput, rows: Rows, **params: float) -> FloatArray:
    """The plain mean of the metric over all outputs."""
    outputs = range(len(rows.ledger.outputs))
    values = [of_output(metric, rows, index, **params) for index in outputs]
    mean: FloatArray = np.stack(values, axis=1).mean(axis=1)
    return mean


def mse(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """Mean of (target - prediction)²."""
    error = rows.moments(target - prediction)
    return np.ldexp(error.square, 2 * error.exponent)


def rmse(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """Root of the mean of (target - prediction)²."""
    error = rows.moments(target - prediction)
    return np.ldexp(np.sqrt(error.square), error.exponent)


def mae(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """Mean of |target - prediction|."""
    return rows.mean(np.abs(target - prediction))


def r2(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """1 - Σ(target - prediction)² / Σ(target - mean)²; NaN where the targets are constant."""
    error = rows.moments(target - prediction)
    spread = rows.moments(target, central=True)
    ratio = np.ldexp(error.square / spread.square, 2 * (error.exponent - spread.exponent))
    return np.where(rows.constant(target), np.nan, 1 - ratio)


def explained_variance(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """1 - variance of (target - prediction) / variance of the targets; NaN where these are constant."""
    error = rows.moments(target - prediction, central=True)
    spread = rows.moments(target, central=True)
    ratio = np.ldexp(error.square / spread.square, 2 * (error.exponent - spread.exponent))
    return np.where(rows.constant(target), np.nan, 1 - ratio)


def mape(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """Mean of |target - prediction| / |target|, a share and no percentage; NaN where a target is 0.

    There scikit-learn divides by 2e-16, which makes any error enormous.
    """
    zero = target == 0
    share = np.abs(target - prediction) / np.where(zero, 1, np.abs(target))
    return np.where(rows.sums(zero[:, None].astype(np.float64))[:, 0] > 0, np.nan, rows.mean(share))


def quantile_loss(
    rows: Rows, target: FloatArray, prediction: FloatArray, *, quantile: float
) -> FloatArray:
    """Mean pinball loss: `quantile` of what a prediction is too low, the rest of what is too high."""
    error = target - prediction
    loss: FloatArray = np.maximum(quantile * error, (quantile - 1) * error)
    return rows.mean(loss)


def max_error(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """The largest |target - prediction| of a row that is there."""
    error = np.abs(target - prediction)

    def largest(weights: FloatArray) -> FloatArray:
        found: FloatArray = np.where(weights > 0, error, 0).max(axis=1)
        return found

    return rows.map(largest)


def median_absolute_error(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """The weighted median of |target - prediction|; the mean of the middle two where it is between.

    That is scikit-learn's, and numpy's of rows that are repeated as often as they weigh.
    """
    error = np.abs(target - prediction)
    order = np.argsort(error)
    ordered = error[order]

    def median(weights: FloatArray) -> FloatArray:
        reached = np.cumsum(weights.take(order, axis=1), axis=1)
        half, nearly = reached[:, -1:] / 2, reached[:, -1:] * 1e-12
        # Half of the weight but for rounding is half of it.
        below = (reached < half - nearly).argmin(axis=1)
        above = (reached <= half + nearly).argmin(axis=1)
        middle: FloatArray = ordered[below] / 2 + ordered[above] / 2
        return middle

    return rows.map(median)
