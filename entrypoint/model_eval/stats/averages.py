"""Means over classes of shares of different samples: from the interval of each class.

A resample does not vary a class without an error, however few samples it has, so that a bootstrap of
a macro recall takes five of five for certain. Each class's own interval does not.
"""

import numpy as np

from model_eval.metrics import Weighted
from model_eval.stats.gap import MOVER
from model_eval.stats.shares import share_interval
from model_eval.types import Interval

OF_SUPPORT = frozenset({"recall_macro", "balanced_accuracy"})
OF_PREDICTED = frozenset({"precision_macro"})


def average_interval(name: str, sample: Weighted, *, confidence: float) -> Interval | None:
    """The interval of a mean of K independent shares, each Clopper and Pearson's.

    Its distance from the mean is the root of the sum of squares of the shares' distances to their own
    ends, divided by K (Zou & Donner 2008, "MOVER").

    Args:
        name: of the metric.
        sample: independent rows of equal weight.
        confidence: of both sides together.

    Returns:
        None where the metric is no such mean, or where a class in it has no sample of its own.
    """
    if name not in OF_SUPPORT | OF_PREDICTED:
        return None
    counts = sample.rows().counts
    hits = counts.hits[0]
    trials = counts.support[0] if name in OF_SUPPORT else counts.predicted[0]
    occurs = counts.support[0] + counts.predicted[0] > 0
    members = trials > 0 if name == "balanced_accuracy" else occurs
    if not (trials[members] > 0).all() or not members.any():
        return None
    shares = [
        (hit / count, share_interval(float(hit), float(count), confidence=confidence))
        for hit, count in zip(hits[members], trials[members], strict=True)
    ]
    value = float(np.mean([share for share, _ in shares]))
    below = np.array([share - interval.low for share, interval in shares]) / len(shares)
    above = np.array([interval.high - share for share, interval in shares]) / len(shares)
    return Interval(
        low=max(0.0, value - float(np.sqrt((np.maximum(below, 0) ** 2).sum()))),
        high=min(1.0, value + float(np.sqrt((np.maximum(above, 0) ** 2).sum()))),
        confidence=confidence,
        method=MOVER,
    )
