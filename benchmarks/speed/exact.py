"""The area under the ROC curve in whole numbers, as a reference that rounds nowhere."""

from fractions import Fraction

import numpy as np


def auroc(score: np.ndarray, positive: np.ndarray) -> Fraction:
    """Mann and Whitney's U over the number of pairs; a pair of equal scores is half.

    Args:
        score: (N,) without NaN.
        positive: bool (N,), with both kinds in it.
    """
    _, group = np.unique(score, return_inverse=True)
    size = int(group.max()) + 1
    positives = np.bincount(group[positive], minlength=size).astype(np.int64)
    negatives = np.bincount(group[~positive], minlength=size).astype(np.int64)
    below = np.cumsum(negatives) - negatives
    # Below 2 · 10⁷ rows twice U is below 2⁶³ with room.
    twice = int((positives * (2 * below + negatives)).sum())
    return Fraction(twice, 2 * int(positives.sum()) * int(negatives.sum()))
