"""Metrics of the order in which scores put the samples of a class and the others.

Scores are sorted once, whatever the number of weight vectors. Ties are exact: equal scores are
one threshold, as in scikit-learn's `roc_auc_score` and `average_precision_score`.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_eval.ledger import Array
from model_eval.metrics.classification import divide
from model_eval.metrics.rows import BoolArray, FloatArray, Rows
from model_eval.types import Task

OfClass = Callable[..., FloatArray]
"""(B,) of `Rows`, the index of a class against the rest, and parameters; NaN where undefined."""

_FEW_OF = 4
"""A class has few rows where it has one in so many: see `area_among`."""

_THREADED_ROWS = 1 << 16
_THREADS = 4
"""With so many rows the classes are ranked by so many threads: sorting lets go of the interpreter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """P samples of a class and M others, each by descending score.

    Attributes:
        positives: (P,) row numbers.
        negatives: (M,) row numbers.
        above: (P,) how many negatives have a higher score than this positive.
        negatives_reached: (P,) how many negatives have at least this positive's score.
        positives_reached: (P,) how many positives have, itself among them.
        positives_above: (M,) how many positives have a higher score than this negative.
        positives_level: (M,) how many positives have at least this negative's score.
    """

    positives: npt.NDArray[np.intp]
    negatives: npt.NDArray[np.intp]
    above: npt.NDArray[np.intp]
    negatives_reached: npt.NDArray[np.intp]
    positives_reached: npt.NDArray[np.intp]
    positives_above: npt.NDArray[np.intp]
    positives_level: npt.NDArray[np.intp]


def rank(score: Array, positive: BoolArray) -> Ranking:
    """Ranks rows by score (N,); `positive` says which are of the class."""
    order, last = descending(score)
    own = positive.take(order)
    others = ~own
    positives = np.cumsum(own, dtype=np.intp)[last]
    negatives = last + 1 - positives
    group = _group(last, len(order))
    of_positive, of_negative = group[own], group[others]
    return Ranking(
        positives=order[own],
        negatives=order[others],
        above=_before(negatives)[of_positive],
        negatives_reached=negatives[of_positive],
        positives_reached=positives[of_positive],
        positives_above=_before(positives)[of_negative],
        positives_level=positives[of_negative],
    )


def descending(score: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Rows (N,) by falling score, and where each of the G groups of equal scores ends (G,).

    Of float32 the bits of a score, in the order of the numbers, and the row make one integer: those
    sort faster than rows by their scores.
    """
    if score.dtype == np.float32 and len(score) <= 1 << 32:
        bits = (score + np.float32(0)).view(np.int32)  # -0.0 is 0.0
        keys = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32
        keys |= np.arange(len(keys))
        keys.sort()
        order, ordered = keys & 0xFFFFFFFF, (keys >> 32).astype(np.int32)
    else:
        order = np.argsort(-score)
        ordered = score[order]
    differs = np.ones(len(order), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=differs[:-1])
    return order, np.flatnonzero(differs)


def _group(last: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    """(N,) the number of the group in which each row, in its place, is."""
    group = np.zeros(length, dtype=np.intp)
    group[last[:-1] + 1] = 1
    return np.cumsum(group, out=group)


def _before(reached: Array) -> Array:
    """(G,) what was reached before each group."""
    before = np.zeros_like(reached)
    before[1:] = reached[:-1]
    return before


def auroc_of(rows: Rows, index: int) -> FloatArray:
    """(B,) the chance that a sample of the class has a higher score than another; ties are half.

    The Mann-Whitney form of the area: 1 - Σ_i w_i (above_i + reached_i) / 2M / Σ_i w_i over the
    positives i, with weights in the place of counts. NaN where a side has no weight.
    """
    if rows.unweighted:
        return np.array([_area(rows, index)])

    def area(ranking: Ranking, weights: FloatArray) -> FloatArray:
        negative = cumulative(weights.take(ranking.negatives, axis=1))
        positive = weights.take(ranking.positives, axis=1)
        beaten_by = negative.take(ranking.above, axis=1) + negative.take(
            ranking.negatives_reached, axis=1
        )
        # Shares are at most 1 exactly, and so is their mean: the area stays inside [0, 1].
        share = beaten_by / 2 / negative[:, -1:]
        return 1 - divide((positive * share).sum(axis=1), positive.sum(axis=1))

    return _one_against_rest(rows, index, "auroc", area)


def average_precision_of(rows: Rows, index: int) -> FloatArray:
    """(B,) the mean, over the samples of the class, of the precision at their score.

    That is Σ_k (R_k - R_(k-1)) P_k over thresholds k, without interpolation. NaN where the class
    has no weight.
    """

    def area(ranking: Ranking, weights: FloatArray) -> FloatArray:
        positive = weights.take(ranking.positives, axis=1)
        hits = cumulative(positive).take(ranking.positives_reached, axis=1)
        misses = cumulative(weights.take(ranking.negatives, axis=1))
        misses = misses.take(ranking.negatives_reached, axis=1)
        precision = np.zeros_like(hits)
        np.divide(hits, hits + misses, out=precision, where=hits > 0)
        return divide((positive * precision).sum(axis=1), positive.sum(axis=1))

    return _one_against_rest(rows, index, "average_precision", area)


def area_of(score: Array, positive: BoolArray) -> float:
    """The area under the ROC curve of scores (N,); NaN where a side has no rows.

    Without the rows' order, which only intervals need: the sides are sorted apart, as bare numbers,
    and each positive is looked up among the negatives.
    """
    own, others = score[positive], score[~positive]  # not `compress`, which takes eight bytes a row
    if not len(own) or not len(others):
        return np.nan
    own.sort()
    others.sort()
    below = others.searchsorted(own, "left")
    pairs = 2 * int(below.sum(dtype=np.int64))
    tied = own[others.take(below, mode="clip") == own]
    if len(tied):
        first, last = (others.searchsorted(tied, side) for side in ("left", "right"))
        pairs += int((last - first).sum(dtype=np.int64))
    # Whole numbers, of which nothing is lost: twice the pairs in the right order, ties once.
    return pairs / (2 * len(own) * len(others))


def area_among(score: Array, own: Array) -> float:
    """The same of a class with few rows: their scores `own` (P,), which are sorted in place, among all (N,).

    Nothing is taken apart, which costs as much as sorting: of a row with as many as `left` scores below its
    own and `right` at or below it, (left + right) / 2 others are beaten. Added up over the class that is
    P² / 2 too many, because its own pairs are counted: once each where they differ, and half and half where
    they are equal, itself among them. NaN where a side has no rows.
    """
    few, rest = len(own), len(score) - len(own)
    if not few or not rest:
        return np.nan
    every = np.sort(score)
    own.sort()
    left = every.searchsorted(own, "left")
    after = left + 1
    pairs = int(left.sum(dtype=np.int64)) + int(after.sum(dtype=np.int64))
    # Of one that is not equal to the next, which is itself, `right` is behind it.
    tied = every.take(after, mode="clip") == own
    tied &= after < len(every)
    if tied.any():
        right = every.searchsorted(own[tied], "right")
        pairs += int((right - after[tied]).sum(dtype=np.int64))
    return (pairs - few * few) / (2 * few * rest)


def points_of(score: Array, positive: BoolArray) -> Array:
    """How rows that count once each stand to those of the other side.

    Args:
        score: (N,).
        positive: (N,), which are of the class.

    Returns:
        (N,) twice the number of rows of the other side that a row is on the right side of, where an
        equal score is half: whole numbers, so that nothing is lost.
    """
    small: npt.DTypeLike = np.int32 if len(score) < 1 << 30 else np.int64
    order, last = descending(score)
    own = positive.take(order)
    reached = np.cumsum(own, dtype=small)[last]
    passed = (last + 1).astype(small) - reached
    beaten = 2 * passed[-1:] - _before(passed) - passed
    beating = _before(reached) + reached
    if len(last) < len(order):
        group = _group(last, len(order))
        beaten, beating = beaten[group], beating[group]
    points = np.empty(len(order), dtype=small)
    points[order] = np.where(own, beaten, beating)
    return points


def auroc_influence(rows: Rows, index: int) -> FloatArray:
    """(N,) how much each row moves the area: DeLong's structural components (1988), around 0.

    The area moves by w_i u_i / Σ w where the weight of a row i is raised by its share w_i; the sum of
    w u is 0. Rows of weight 0 take no part in the others'.
    """
    if rows.unweighted:
        points, own = _points(rows, index), is_of_class(rows, index)
        count, total = int(np.count_nonzero(own)), len(own)
        share = points / np.where(own, 2 * (total - count), 2 * count)
        return (share - _area(rows, index)) * np.where(own, total / count, total / (total - count))
    weights = rows.plain_weights
    ranking = _ranking(rows, index)
    positive, negative = weights[ranking.positives], weights[ranking.negatives]
    below = cumulative(negative[None])[0]
    beaten = 1 - (below[ranking.above] + below[ranking.negatives_reached]) / 2 / below[-1]
    over = cumulative(positive[None])[0]
    beats = (over[ranking.positives_above] + over[ranking.positives_level]) / 2 / over[-1]
    area = np.average(beaten, weights=positive)
    influence = np.empty(len(weights))
    total = weights.sum()
    influence[ranking.positives] = (beaten - area) * total / positive.sum()
    influence[ranking.negatives] = (beats - area) * total / negative.sum()
    return influence


def influence_of_all(rows: Rows) -> FloatArray:
    """`auroc_influence` of `of_all`."""
    if rows.ledger.task is Task.BINARY:
        return auroc_influence(rows, 1)
    size = len(rows.ledger.classes)
    total = np.zeros(len(rows.column("target")))
    for index in range(size):
        total += auroc_influence(rows, index)
    return total / size


def of_all(area: OfClass, rows: Rows, **params: float) -> FloatArray:
    """The positive class of a binary ledger; the mean over all classes of another."""
    if rows.ledger.task is not Task.BINARY:
        return macro(area, rows, **params)
    of_positive: FloatArray = area(rows, 1, **params)
    return of_positive


def macro(area: OfClass, rows: Rows, **params: float) -> FloatArray:
    """The mean over all classes of the ledger; NaN where it is NaN for one of them."""
    mean: FloatArray = _each_class(area, rows, **params).mean(axis=1)
    return mean


def weighted(area: OfClass, rows: Rows) -> FloatArray:
    """The mean over classes, each weighted by its support; a class without samples has none."""
    support = rows.counts.support
    values = np.where(support > 0, support * _each_class(area, rows), 0)
    return divide(values.sum(axis=1), support.sum(axis=1))


def _each_class(area: OfClass, rows: Rows, **params: float) -> FloatArray:
    def of_class(index: int) -> FloatArray:
        with np.errstate(all="ignore"):  # which a thread does not inherit
            return area(rows, index, **params)

    classes = range(len(rows.ledger.classes))
    if len(rows.ledger) < _THREADED_ROWS:
        return np.stack([of_class(index) for index in classes], axis=1)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return np.stack(list(pool.map(of_class, classes)), axis=1)


def _one_against_rest(
    rows: Rows, index: int, name: str, area: Callable[[Ranking, FloatArray], FloatArray]
) -> FloatArray:
    def make() -> FloatArray:
        if not is_of_class(rows, index).any():
            return np.full(len(rows.defined), np.nan)
        return rows.map(lambda weights: area(_ranking(rows, index), weights))

    return rows.once((name, index), make)


def _ranking(rows: Rows, index: int) -> Ranking:
    """Sorted once for all weights of a ledger."""
    found: Ranking = rows.shared(
        ("ranking", index), lambda: rank(class_score(rows, index), is_of_class(rows, index))
    )
    return found


def _area(rows: Rows, index: int) -> float:
    """Of rows that count once."""

    def make() -> float:
        score = class_score(rows, index)
        if rows.column("target").ndim == 1 and len(rows.ledger.classes) > _FEW_OF:
            own = _members(rows)[index]
            if len(own) * _FEW_OF <= len(score):
                return area_among(score, score.take(own))
        return area_of(score, is_of_class(rows, index))

    found: float = rows.shared(("area", index), make)
    return found


def _members(rows: Rows) -> list[Array]:
    """Of each class the numbers of its rows."""

    def make() -> list[Array]:
        target, classes = rows.column("target"), len(rows.ledger.classes)
        # Of small integers the stable order is found by counting.
        order = np.argsort(target.astype(np.min_scalar_type(classes)), kind="stable")
        counts = np.bincount(target, minlength=classes)
        return np.split(order, np.cumsum(counts)[:-1])

    found: list[Array] = rows.shared(("members", ""), make)
    return found


def _points(rows: Rows, index: int) -> Array:
    found: Array = rows.shared(
        ("points", index), lambda: points_of(class_score(rows, index), is_of_class(rows, index))
    )
    return found


def is_of_class(rows: Rows, index: int) -> BoolArray:
    """(N,) which rows are of the class, or have the label."""
    target = rows.column("target")
    return target == index if target.ndim == 1 else np.ascontiguousarray(target[:, index])


def class_score(rows: Rows, index: int) -> Array:
    """(N,) what rankings of the class order by: `score` where the ledger has it."""
    score = rows.column("score" if "score" in rows.ledger.columns else "probability")
    if score.ndim == 2:
        return np.ascontiguousarray(score[:, index])
    # Not 1 - p, which would make ties of small probabilities.
    return score if index == 1 else -score


def cumulative(weights: FloatArray) -> FloatArray:
    """(b, n) → (b, n + 1): the sum of the first 0, 1, …, n weights."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums
