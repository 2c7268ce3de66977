"""Metrics of real numbers: of one output, or the plain mean over outputs.

The definitions are scikit-learn's with `multioutput="uniform_average"`, except that constant
targets leave R² undefined (NaN), where scikit-learn says 0 or 1.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from model_eval.metrics.rows import TAME_EXPONENT, BoolArray, FloatArray, Rows

IntArray = npt.NDArray[np.intc]

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
    error = (target - prediction)[None]

    def batch(weights: FloatArray) -> FloatArray:
        square, _, exponent = _moments(error, weights)
        return np.ldexp(square, 2 * exponent)

    return rows.map(batch)


def rmse(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """Root of the mean of (target - prediction)²."""
    error = (target - prediction)[None]

    def batch(weights: FloatArray) -> FloatArray:
        square, _, exponent = _moments(error, weights)
        return np.ldexp(np.sqrt(square), exponent)

    return rows.map(batch)


def mae(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """Mean of |target - prediction|."""
    return rows.mean(np.abs(target - prediction))


def r2(rows: Rows, target: FloatArray, prediction: FloatArray) -> FloatArray:
    """1 - Σ(target - prediction)² / Σ(target - mean)²; NaN where the targets are constant.

    The sum around the mean is the corrected two-pass one (Chan, Golub & LeVeque 1983), which
    large offsets do not spoil.
    """

    def batch(weights: FloatArray) -> FloatArray:
        present = weights > 0
        scaled, exponent = _scaled(target[None], present)
        mean = (weights * scaled).sum(axis=1) / weights.sum(axis=1)
        square, offset, spread = _moments(scaled - mean[:, None], weights)
        error = (target - prediction)[None]
        residual, _, size = _moments(error, weights)
        ratio = np.ldexp(residual / (square - offset**2), 2 * (size - spread - exponent))
        return np.where(_constant(target, present), np.nan, 1 - ratio)

    return rows.map(batch)


def _moments(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Mean square, mean and exponent, each (b,), of values (1 or b, N) divided by 2^exponent.

    The scale is exact, and keeps squares from overflowing and those that matter from
    underflowing: an error of 1e-170 is not a perfect prediction.
    """
    scaled, exponent = _scaled(values, weights > 0)
    weighted = weights * scaled
    total = weights.sum(axis=1)
    return (weighted * scaled).sum(axis=1) / total, weighted.sum(axis=1) / total, exponent


def _scaled(values: FloatArray, present: BoolArray) -> tuple[FloatArray, IntArray]:
    """Values, 0 where not present, divided by 2^exponent (b,) where their squares need it."""
    kept = values if present.all() else np.where(present, values, 0)
    _, exponent = np.frexp(np.abs(kept).max(axis=1, initial=0))
    if np.abs(exponent).max(initial=0) <= TAME_EXPONENT:
        return kept, np.zeros_like(exponent)
    return np.ldexp(kept, -exponent[:, None]), exponent


def _constant(target: FloatArray, present: BoolArray) -> BoolArray:
    """Whether all targets that are present are the same number.

    Not whether their spread comes out as 0: the mean of ten times 0.1 need not be 0.1.
    """
    first = target[present.argmax(axis=1)]
    constant: BoolArray = ~(present & (target != first[:, None])).any(axis=1)
    return constant
