"""How far the slices of a family are apart, from the values and intervals of each. Pure.

The gap of a sample is too large: among equal slices one is the best by luck, and one the worst. A
resample of the rows has the same luck twice, so that its interval lies above the truth. What is known
of each slice, and how many there are, gives an interval that does not.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model_eval.metrics.rows import FloatArray
from model_eval.stats.distributions import normal_quantile
from model_eval.types import Estimate, Gap, Interval

MOVER = "mover"


def gap_of(known: Gap, slices: Sequence[Estimate], *, confidence: float) -> Gap:
    """The gap between estimates of disjoint slices, with its interval or the reason why it has none.

    Args:
        known: what it is of, without a value.
        slices: of the metric, one for each slice; their intervals have this confidence.
        confidence: of both sides together.
    """
    if len(slices) < 2:
        return replace(known, undefined="there are fewer than two slices")
    found = [(one.value, one.slice) for one in slices if one.value is not None]
    if lacking := [one.slice for one in slices if one.value is None]:
        return replace(known, undefined=f"the metric has no value on {lacking[0]}")
    (lowest, worst), (highest, best) = (end(found, key=lambda item: item[0]) for end in (min, max))
    gap = replace(known, value=highest - lowest, highest=best, lowest=worst)
    intervals = [one.interval for one in slices if one.interval is not None]
    if without := [one for one in slices if one.interval is None]:
        reason = without[0].no_interval
        # A reason that is the metric's is not one slice's.
        common = len(without) == len(slices) and {one.no_interval for one in without} == {reason}
        return replace(gap, no_interval=reason if common else f"of {without[0].slice}, {reason}")
    return replace(
        gap,
        interval=gap_interval(
            np.array([value for value, _ in found]), intervals, confidence=confidence
        ),
    )


def gap_interval(
    values: FloatArray, intervals: Sequence[Interval], *, confidence: float
) -> Interval:
    """The interval of `values.max() - values.min()` of K independent estimates.

    That of a difference of two is the square root of the squares of their distances to their own
    ends (Zou & Donner 2008, "MOVER"; of two shares Newcombe 1998). The gap is as high as the highest
    upper end of all differences: to be below a bound, each must be (Berger 1982). It is at least the
    highest lower end, which is taken at Bonferroni's level for K (K - 1) differences, as many standard
    errors away as that has; and at least 0.

    Args:
        values: (K,), K at least 2.
        intervals: of each value, at this confidence.
        confidence: of both sides together.
    """
    tail = (1 - confidence) / 2
    below = np.maximum(values - [one.low for one in intervals], 0)
    above = np.maximum([one.high for one in intervals] - values, 0)
    difference = values[:, None] - values
    pairs = ~np.eye(len(values), dtype=bool)
    wider = normal_quantile(tail / int(pairs.sum())) / normal_quantile(tail)
    upper = difference + np.hypot(above[:, None], below)
    lower = difference - wider * np.hypot(below[:, None], above)
    return Interval(
        low=max(0.0, float(lower[pairs].max())),
        high=float(upper[pairs].max()),
        confidence=confidence,
        method=MOVER,
    )
