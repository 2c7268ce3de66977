"""Two ledgers of the same samples: paired differences, and the samples on which they differ."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from model_eval.ledger import Array, Ledger
from model_eval.metrics import Resample
from model_eval.metrics.registry import Needs
from model_eval.metrics.rows import FloatArray
from model_eval.slicing import take
from model_eval.spec.catalog import CLASSIFICATION
from model_eval.spec.early_stop import DIFFERENCES
from model_eval.stats.bootstrap import NoIntervalError, NoVariationError, Statistic
from model_eval.stats.interval import (
    INFLUENCE,
    Sampled,
    influence_of,
    normal_interval,
    require_resampling,
    standard_error,
    statistic_interval,
    units_behind,
    unseen_of,
)
from model_eval.stats.shares import mcnemar, share_difference
from model_eval.types import IDENTICAL, Comparison, Estimate, Flips, Interval, MetricRef, Task

FLIPS_SHOWN = 100
"""So many samples that flipped are named in each direction."""

_TARGETS = {Task.SEGMENTATION: ("support",), Task.LANGUAGE_MODELING: ("tokens", "bytes")}
"""What a ledger keeps of the targets, where that is not the target itself."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Paired:
    """The checkpoint's and the baseline's rows of the same samples, in the same order.

    Attributes:
        identical: whether both are of the same checkpoint, so that nothing can differ.
    """

    candidate: Sampled
    baseline: Sampled
    identical: bool


def unpairable(candidate: Ledger, baseline: Ledger) -> str | None:
    """Why two ledgers are not of the same samples, as a clause; None where they are."""
    if candidate.task is not baseline.task:
        return f"it is a ledger of a {baseline.task} task, and this is {candidate.task}"
    if candidate.classes != baseline.classes:
        return "its classes are others, or in another order"
    if candidate.outputs != baseline.outputs:
        return "its outputs are others, or in another order"
    if candidate["id"].dtype.kind != baseline["id"].dtype.kind and {
        candidate["id"].dtype.kind,
        baseline["id"].dtype.kind,
    } & {"i", "f"}:
        return "its ids are numbers and here they are text, or the other way round"
    ours, theirs = np.unique(candidate["id"]), np.unique(baseline["id"])
    if len(theirs) != len(baseline) or len(ours) != len(candidate):
        return "ids repeat"
    for here, there, where in (
        (ours, theirs, "not in the baseline"),
        (theirs, ours, "only in the baseline"),
    ):
        missing = here[~np.isin(here, there)]
        if len(missing):
            return f"{len(missing)} of {len(here)} ids are {where} (first: {_shown(missing[0])})"
    order, other = np.argsort(candidate["id"]), np.argsort(baseline["id"])
    for name in _TARGETS.get(candidate.task, ("target",)):
        if (name in candidate.columns) != (name in baseline.columns):
            return f"one of the two has no column `{name}`"
        if name not in candidate.columns:
            continue
        left, right = candidate[name][order], baseline[name][other]
        if left.shape != right.shape:
            return "its targets have another shape"
        differing = (left != right).reshape(len(left), -1).any(axis=1)
        if differing.any():
            first = candidate["id"][order][differing.argmax()]
            return f"{int(differing.sum())} samples have other targets (first id: {_shown(first)})"
    return None


def in_order_of(ledger: Ledger, ids: Array) -> Ledger:
    """The rows of a ledger in the order of these ids, which are the same ones."""
    order = np.argsort(ledger["id"])
    place = np.searchsorted(ledger["id"][order], ids)
    return take(ledger, order[place])


def rows_of(ledger: Ledger, ids: Array) -> Ledger:
    """The rows of a ledger that have one of these ids, in its own order."""
    return take(ledger, np.isin(ledger["id"], ids))


def right_by_id(ledger: Ledger) -> Callable[[Array], Array | None]:
    """Gives for ids (n,) which of them are right, bool (n,).

    None where one of them is not there, or where an output of the ledger is not finite.
    """
    order = np.argsort(ledger["id"])
    known, hits = ledger["id"][order], right(ledger)[order]

    def found(ids: Array) -> Array | None:
        comparable = known.dtype.kind == ids.dtype.kind and ledger.finite == len(ledger) > 0
        if not comparable:
            return None
        place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        there: Array = hits[place]
        return there if (known[place] == ids).all() else None

    return found


def compare_metric(
    ref: MetricRef, paired: Paired, candidate: Estimate, baseline: Estimate
) -> Comparison:
    """The difference of a metric's two values, with its interval or the reason why it has none."""
    undefined = None
    if candidate.value is None:
        undefined = candidate.undefined
    elif baseline.value is None:
        undefined = f"the baseline: {baseline.undefined}"
    known = Comparison(
        metric=ref,
        heldout=candidate.heldout,
        slice=candidate.slice,
        n=candidate.n,
        candidate=candidate.value,
        baseline=baseline.value,
        undefined=undefined,
        difference=None,
        interval=None,
        relative=None,
        relative_interval=None,
        no_interval=None,
    )
    if candidate.value is None or baseline.value is None:
        return known
    difference = candidate.value - baseline.value
    size = abs(baseline.value)
    relative = difference / size if size > 0 else None
    interval = relative_interval = no_interval = None
    try:
        interval = _interval(ref, paired, relative=False)
    except NoIntervalError as error:
        no_interval = str(error)
    if relative is not None:
        try:
            relative_interval = _interval(ref, paired, relative=True)
        except NoIntervalError as error:
            no_interval = no_interval or str(error)
    return replace(
        known,
        difference=difference,
        interval=interval,
        relative=relative,
        relative_interval=relative_interval,
        no_interval=no_interval,
    )


def flips(candidate: Ledger, baseline: Ledger) -> Flips | None:
    """The samples that only one of two classifiers has right, with McNemar's exact test.

    None where the task has no right or wrong.
    """
    if candidate.task not in CLASSIFICATION:
        return None
    now, before = right(candidate), right(baseline)
    gained, lost = candidate["id"][now & ~before], candidate["id"][before & ~now]
    return Flips(
        gained=len(gained),
        lost=len(lost),
        p_value=mcnemar(len(gained), len(lost)),
        gained_ids=tuple(str(one) for one in gained[:FLIPS_SHOWN]),
        lost_ids=tuple(str(one) for one in lost[:FLIPS_SHOWN]),
    )


def _interval(ref: MetricRef, paired: Paired, *, relative: bool) -> Interval:
    candidate, baseline = paired.candidate, paired.baseline
    confidence = candidate.confidence
    if paired.identical:
        return Interval(low=0.0, high=0.0, confidence=confidence, method=IDENTICAL)
    metric = candidate.metric(ref)
    require_resampling(metric)
    if ref.name in DIFFERENCES and candidate.independent and not relative:
        now, before = right(candidate.ledger), right(baseline.ledger)
        return share_difference(
            int((now & ~before).sum()),
            int((before & ~now).sum()),
            len(now),
            confidence=confidence,
        )

    def statistic(resample: Resample | None) -> FloatArray:
        here = candidate.values(ref, resample)
        there = baseline.values(ref, resample)
        return _relative(here, there) if relative else here - there

    try:
        if metric.needs is Needs.RANKS and not candidate.affords(metric) and not relative:
            return _of_many_ranks(ref, paired, statistic)
        return statistic_interval(statistic, ref, candidate)
    except NoVariationError:
        return _unseen(ref, paired, float(statistic(None)[0]), relative=relative)


def _unseen(ref: MetricRef, paired: Paired, value: float, *, relative: bool) -> Interval:
    """What one more sample, the worst for the one and the best for the other, would make of it."""
    here, there = unseen_of(ref, paired.candidate), unseen_of(ref, paired.baseline)
    size = abs(float(paired.baseline.values(ref, None)[0])) if relative else 1.0
    return Interval(
        low=min(value, (here.low - there.high) / size),
        high=max(value, (here.high - there.low) / size),
        confidence=here.confidence,
        method=here.method,
    )


def _of_many_ranks(ref: MetricRef, paired: Paired, statistic: Statistic) -> Interval:
    metric = paired.candidate.metric(ref)
    moves = [influence_of(metric, ref, side) for side in (paired.candidate, paired.baseline)]
    if moves[0] is None or moves[1] is None:
        return statistic_interval(statistic, ref, paired.candidate)
    units = units_behind(ref, paired.candidate)
    error = standard_error(moves[0] - moves[1], paired.candidate)
    if not error > 0:
        raise NoVariationError("no sample differs")
    return normal_interval(
        float(statistic(None)[0]),
        error,
        units=units,
        confidence=paired.candidate.confidence,
        method=INFLUENCE,
    )


def _relative(here: FloatArray, there: FloatArray) -> FloatArray:
    ratio = np.full(len(here), np.nan)
    np.divide(here - there, np.abs(there), out=ratio, where=there != 0)
    return ratio


def right(ledger: Ledger) -> Array:
    """(N,) bool, which rows of a classifier are right."""
    found: Array = ledger["prediction"] == ledger["target"]
    return found


def _shown(value: object) -> str:
    return " ".join(str(value).split())[:80]
