"""Bootstrap intervals of any function of weighted rows."""

from collections.abc import Callable
from math import isfinite, sqrt

import numpy as np

from model_eval.metrics.rows import FloatArray, Resample
from model_eval.stats.distributions import normal_cdf, normal_quantile, student_quantile
from model_eval.stats.resample import Plan
from model_eval.types import Interval

BCA = "bca"
MIN_UNITS = 10
"""With fewer independent samples or clusters than this there is no bootstrap interval."""

MAX_UNDEFINED = 0.05
"""Above this share of resamples on which the metric is undefined there is no interval."""

Statistic = Callable[[Resample | None], FloatArray]
"""(B,) the value under each weight vector of a resample; (1,) the plain value for None."""


class NoIntervalError(ValueError):
    """There is a value and no interval; the message is the reason, as a clause."""


def bca_interval(
    statistic: Statistic, plan: Plan, *, confidence: float, units: int | None = None
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval (Efron 1987).

    The levels are widened as in Efron & Tibshirani's "expanded percentile" (Hesterberg 2015, section
    5.2): Φ(-√(n / (n - 1)) t), with Student's t at n - 1 degrees of freedom. The acceleration is the
    jackknife's. The endpoints come from `plan.replicates` draws.

    Args:
        statistic: of the rows that the plan resamples.
        plan: the draws.
        confidence: of both sides together.
        units: n, where the value rests on fewer independent samples than there are.

    Raises:
        NoIntervalError: too few units; too many resamples without a value; no resample differs.
    """
    if plan.units < MIN_UNITS:
        raise NoIntervalError(f"{plan.units} independent samples are fewer than {MIN_UNITS}")
    value = float(statistic(None)[0])
    replicates = statistic(plan.draws)
    defined = replicates[np.isfinite(replicates)]
    if (lacking := 1 - len(defined) / len(replicates)) > MAX_UNDEFINED:
        raise NoIntervalError(f"{lacking:.0%} of the resamples leave the metric undefined")
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(value)):
        raise NoVariationError("no resample of the samples differs")
    jackknife = statistic(plan.left_out)
    weights = np.where(np.isfinite(jackknife), plan.size, 0)
    jackknife = np.where(np.isfinite(jackknife), jackknife, 0)
    tail = expanded_tail(units or plan.units, confidence)
    low, high = np.quantile(defined, _levels(value, defined, jackknife, weights, tail))
    if not (isfinite(low) and isfinite(high)):
        raise NoIntervalError("its resamples are too far apart for a float64")
    return Interval(low=float(low), high=float(high), confidence=confidence, method=BCA)


class NoVariationError(NoIntervalError):
    """All resamples have the same value, which says nothing of what was not seen."""


def expanded_tail(units: int, confidence: float) -> float:
    """The tail probability that makes a bootstrap's tails as wide as Student's t."""
    t = student_quantile((1 + confidence) / 2, units - 1)
    return normal_cdf(-sqrt(units / (units - 1)) * t)


def _levels(
    value: float,
    replicates: FloatArray,
    jackknife: FloatArray,
    weights: FloatArray,
    tail: float,
) -> FloatArray:
    z = np.array([normal_quantile(tail), normal_quantile(1 - tail)])
    below = np.mean(replicates < value) + np.mean(replicates == value) / 2
    bias = normal_quantile(float(np.clip(below, 1 / len(replicates), 1 - 1 / len(replicates))))
    influence = np.average(jackknife, weights=weights) - jackknife
    influence /= np.abs(influence).max() or 1.0  # the acceleration has no unit
    spread = float((weights * influence**2).sum())
    acceleration = float((weights * influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + z
    scale = 1 - acceleration * shifted
    # Where the scale comes to 0 the level has come to its end; beyond, the formula turns round.
    levels: FloatArray = np.where(shifted > 0, 1.0, 0.0)
    sound = scale > 0
    levels[sound] = [normal_cdf(float(x)) for x in bias + shifted[sound] / scale[sound]]
    return levels
