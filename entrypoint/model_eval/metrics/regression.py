"""Metrics of real numbers: of one output, or the plain mean over outputs.

The definitions are scikit-learn's with `multioutput="uniform_average"`, except that constant
targets leave R² undefined (NaN), where scikit-learn says 0 or 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model_eval.metrics.rows import FloatArray, Moments, Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One output of the rows; sums of squares that several metrics need are computed once."""

    rows: Rows
    index: int

    @cached_property
    def target(self) -> FloatArray:
        """The truth, (N,)."""
        return self._of("target")

    @cached_property
    def prediction(self) -> FloatArray:
        """What the model says, (N,)."""
        return self._of("prediction")

    @cached_property
    def error(self) -> FloatArray:
        """(N,) target - prediction."""
        difference: FloatArray = self.target - self.prediction
        return difference

    def squared_error(self) -> Moments:
        """Mean squares of the error."""
        return self._once("squared error", lambda: self.rows.moments(self.error))

    def spread(self) -> Moments:
        """Variances of the targets."""
        return self._once("spread", lambda: self.rows.moments(self.target, central=True))

    def _of(self, name: str) -> FloatArray:
        column: FloatArray = np.ascontiguousarray(self.rows.column(name)[:, self.index])
        return column

    def _once(self, name: str, make: Callable[[], Moments]) -> Moments:
        return self.rows.once((name, self.index), make)


OfOutput = Callable[..., FloatArray]
"""(B,) of an `Output` and parameters; infinite where it overflows."""


def of_output(metric: OfOutput, rows: Rows, index: int, **params: float) -> FloatArray:
    """The metric of one output."""
    return metric(Output(rows=rows, index=index), **params)


def mean_over_outputs(metric: OfOutput, rows: Rows, **params: float) -> FloatArray:
    """The plain mean of the metric over all outputs."""
    outputs = range(len(rows.ledger.outputs))
    values = [of_output(metric, rows, index, **params) for index in outputs]
    mean: FloatArray = np.stack(values, axis=1).mean(axis=1)
    return mean


def mse(output: Output) -> FloatArray:
    """Mean of (target - prediction)²."""
    error = output.squared_error()
    return np.ldexp(error.square, 2 * error.exponent)


def rmse(output: Output) -> FloatArray:
    """Root of the mean of (target - prediction)²."""
    error = output.squared_error()
    return np.ldexp(np.sqrt(error.square), error.exponent)


def mae(output: Output) -> FloatArray:
    """Mean of |target - prediction|."""
    return output.rows.mean(np.abs(output.error))


def r2(output: Output) -> FloatArray:
    """1 - Σ(target - prediction)² / Σ(target - mean)²; NaN where the targets are constant."""
    return _explained(output, output.squared_error())


def explained_variance(output: Output) -> FloatArray:
    """1 - variance of (target - prediction) / variance of the targets; NaN where these are constant."""
    return _explained(output, output.rows.moments(output.error, central=True))


def _explained(output: Output, unexplained: Moments) -> FloatArray:
    spread = output.spread()
    exponent = 2 * (unexplained.exponent - spread.exponent)
    ratio = np.ldexp(unexplained.square / spread.square, exponent)
    return np.where(output.rows.constant(output.target), np.nan, 1 - ratio)


def mape(output: Output) -> FloatArray:
    """Mean of |target - prediction| / |target|, a share and no percentage; NaN where a target is 0.

    There scikit-learn divides by 2e-16, which makes any error enormous.
    """
    rows, target = output.rows, output.target
    zero = target == 0
    share = np.abs(output.error) / np.where(zero, 1, np.abs(target))
    return np.where(rows.sums(zero[:, None].astype(np.float64))[:, 0] > 0, np.nan, rows.mean(share))


def quantile_loss(output: Output, *, quantile: float) -> FloatArray:
    """Mean pinball loss: `quantile` of what a prediction is too low, the rest of what is too high."""
    error = output.error
    loss: FloatArray = np.maximum(quantile * error, (quantile - 1) * error)
    return output.rows.mean(loss)


def max_error(output: Output) -> FloatArray:
    """The largest |target - prediction| of a row that is there."""
    error = np.abs(output.error)

    def largest(weights: FloatArray) -> FloatArray:
        found: FloatArray = np.where(weights > 0, error, 0).max(axis=1)
        return found

    return output.rows.map(largest)


def median_absolute_error(output: Output) -> FloatArray:
    """The weighted median of |target - prediction|; the mean of the middle two where it is between.

    That is scikit-learn's, and numpy's of rows that are repeated as often as they weigh.
    """
    error = np.abs(output.error)
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

    return output.rows.map(median)
