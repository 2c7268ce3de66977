"""Metrics of the probabilities of classes, and of the order in which they put the classes."""

import numpy as np
import numpy.typing as npt

from model_eval.metrics.classification import divide
from model_eval.metrics.rows import FloatArray, Rows, label_sums
from model_eval.types import Task

_NUDGE = 1e-9
"""Of a bin: what is on an edge but for rounding is on it."""


def top_k_hits(rows: Rows, *, k: float) -> tuple[FloatArray, FloatArray]:
    """Rows whose target is among the k first classes, out of all, each (B,).

    The predicted class is the first one; then they go by falling score, and of equal scores the
    one with the lower index goes first, as in the prediction. So k = 1 is the accuracy.
    """
    target, prediction = rows.column("target"), rows.column("prediction")
    score = rows.column("score" if "score" in rows.ledger.columns else "probability")
    index = np.arange(score.shape[1])
    own = np.take_along_axis(score, target[:, None], axis=1)
    before = (score > own) | ((score == own) & (index < target[:, None]))
    before[np.arange(len(target)), prediction] = True
    hit = (target == prediction) | (before.sum(axis=1) < k)
    return rows.sums(hit[:, None].astype(np.float64))[:, 0], rows.size


def top_k_accuracy(rows: Rows, *, k: float) -> FloatArray:
    """The share of rows whose target is among the k first classes; NaN where all classes are."""
    if k >= len(rows.ledger.classes):
        return np.full(len(rows.defined), np.nan)
    return np.minimum(divide(*top_k_hits(rows, k=k)), 1)


def brier_score(rows: Rows) -> FloatArray:
    """Mean of Σ_c (p_c - [c is the target])², or binary of (p - target)².

    That is scikit-learn's `brier_score_loss` with its own default scale: 0 to 1 of two classes,
    0 to 2 of more.
    """
    most = 1 if rows.ledger.task is Task.BINARY else 2
    return np.minimum(rows.mean(brier_of_row(rows)), most)


def brier_of_row(rows: Rows) -> FloatArray:
    """(N,) the squared distance of each row's probabilities from what came true."""
    target = rows.column("target")
    probability = rows.column("probability").astype(np.float64)
    if rows.ledger.task is Task.BINARY:
        square: FloatArray = np.minimum((probability - target) ** 2, 1)
        return square
    probability[np.arange(len(target)), target] -= 1
    # Probabilities that sum to 1.01, which half precision is allowed, would give more than 2.
    distance: FloatArray = np.minimum((probability**2).sum(axis=1), 2)
    return distance


def ece(rows: Rows, *, bins: float) -> FloatArray:
    """Σ over bins of |Σ w (hit - confidence)| / Σ w, with bins of equal width.

    A bin has its lower edge and not its upper one, and a confidence of exactly 1 is in a bin of
    its own, as in torchmetrics' `CalibrationError` with `norm="l1"`.
    """
    confidence, gap = _confidence(rows)
    edges = np.linspace(0, 1, int(bins) + 1)
    found = np.searchsorted(edges, confidence, side="right")
    total = np.zeros(len(rows.defined))
    for one in np.unique(found):
        total += np.abs(rows.sums(np.where(found == one, gap, 0)[:, None])[:, 0])
    return np.minimum(divide(total, rows.size), 1)


def ece_adaptive(rows: Rows, *, bins: float) -> FloatArray:
    """`ece` with bins that hold equal weight, whatever the weights are.

    Rows of equal confidence stay together, in the bin that holds the middle of their weight; so
    the order of rows has no influence, and a row of weight 2 is two rows.
    """
    confidence, gap = _confidence(rows)
    level = np.unique(confidence, return_inverse=True)[1]
    levels, count = int(level.max(initial=-1)) + 1, int(bins)

    def error(weights: FloatArray) -> FloatArray:
        mass = label_sums(level, weights, levels)
        gaps = label_sums(level, weights * gap, levels)
        reached = np.cumsum(mass, axis=1)
        size = reached[:, -1:]
        with np.errstate(invalid="ignore"):
            middle = (reached - mass / 2) / size * count
        place = np.minimum(np.nan_to_num(middle + _NUDGE).astype(np.intp), count - 1)
        sums = np.stack(
            [np.bincount(*pair, minlength=count) for pair in zip(place, gaps, strict=True)]
        )
        return divide(np.abs(sums).sum(axis=1), size[:, 0])

    return np.minimum(rows.map(error), 1)


def _confidence(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """(N,) confidences, and how much each falls short of what came true, 0 or 1."""
    target, probability = rows.column("target"), rows.column("probability").astype(np.float64)
    if rows.ledger.task is Task.BINARY:
        return probability, target - probability
    prediction = rows.column("prediction")
    confidence: npt.NDArray[np.float64] = probability[np.arange(len(target)), prediction]
    return confidence, (target == prediction) - confidence
