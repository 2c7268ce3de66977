"""Metrics of real numbers: of one output, or the plain mean over outputs.

The definitions are scikit-learn's with `multioutput="uniform_average"`, except that constant
targets leave R² undefined (NaN), where scikit-learn says 0 or 1.
"""

from collections.abc import Callable

import numpy as np

from model_eval.metrics.rows import FloatArray, Rows

OfOutput = Callable[[Rows, FloatArray, FloatArray], FloatArray]
"""(B,) of one output's targets (N,) and predictions (N,); infinite where it overflows."""


def of_output(metric: OfOutput, rows: Rows, index: int) -> FloatArray:
    """The metric of one output."""
    columns = rows.column("target"), rows.column("prediction")
    target, prediction = (np.ascontiguousarray(column[:, index]) for column in columns)
    return metric(rows, target, prediction)


def mean_over_outputs(metric: OfOutput, rows: Rows) -> FloatArray:
    """The plain mean of the metric over all outputs."""
    values = [of_output(metric, rows, index) for index in range(len(rows.ledger.outputs))]
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
