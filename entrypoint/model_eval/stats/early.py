"""Intervals of a run that may end early: which error each end may have, and where it comes from.

Of the level of an end one half is spent on all looks together, by a confidence sequence, and the other
half on the last one: a run that came to its last sample has the interval that it would have had anyway,
at half the level. So what is near its threshold is decided nearly as often as without looking.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from model_eval.ledger import Array, Ledger
from model_eval.metrics import Weighted, part_of
from model_eval.metrics.registry import info_of, metric_of
from model_eval.spec.catalog import CLASSIFICATION, narrowed
from model_eval.spec.early_stop import DIFFERENCES, MEANS
from model_eval.stats.bootstrap import NoIntervalError
from model_eval.stats.difference import right
from model_eval.stats.interval import Sampled, metric_interval, trials_of
from model_eval.stats.sequence import (
    Tally,
    binned_tally,
    difference_tally,
    ends,
    sides,
    trials_tally,
)
from model_eval.stats.shares import share_difference
from model_eval.types import SEQUENCE, Comparison, Estimate, Gate, Interval, MetricRef

ON_LOOKS = 0.5
"""The share of a level that is spent on all looks but the last."""

_ABSOLUTE = frozenset({"min", "max"})
_FAIL_BY_THE_LOWER_END = frozenset({"max", "max_gain"})
_FAIL_BY_THE_UPPER_END = frozenset({"min", "min_gain", "max_drop"})

_STOPPED = "the run ended early, and no interval of this metric holds at every look"


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """How often each end of an interval may be wrong in a whole run, its last look included.

    Attributes:
        below: the probability that the lower end is above the truth.
        above: the probability that the upper end is below it.
    """

    below: float
    above: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Early:
    """What the intervals of a run that may end early hang on.

    Attributes:
        gates: the required ones, all of which must be decided.
        planned: how many samples there are.
        confidence: of both sides together.
        ended: whether the run ended before its last sample, which is known afterwards alone.
    """

    gates: tuple[Gate, ...]
    planned: int
    confidence: float
    ended: bool = False

    def levels(self, ref: MetricRef, *, difference: bool = False) -> Levels:
        """Of the interval of a metric, or of its difference from the baseline's.

        A pass needs every gate's own pass, so that each may be wrong as often as the verdict
        (Berger 1982, intersection-union tests). A fail of any one of them ends the run, so that an
        end on which a gate could fail has its share of the level (Bonferroni).
        """
        bounds = self.bounds(ref, difference=difference)
        tail = (1 - self.confidence) / 2
        shared = tail / max(1, len(self.gates))
        return Levels(
            below=shared if bounds & _FAIL_BY_THE_LOWER_END else tail,
            above=shared if bounds & _FAIL_BY_THE_UPPER_END else tail,
        )

    def bounds(self, ref: MetricRef, *, difference: bool) -> frozenset[str]:
        """Of the gates that look at the metric, or at its difference from the baseline's."""
        found = {gate.bound for gate in self.gates if gate.metric == ref}
        absolute = found & _ABSOLUTE
        return frozenset(found - absolute if difference else absolute)


def tally_of(ref: MetricRef, ledger: Ledger) -> Tally | None:
    """How many rows there are of each value of which the metric is the mean; None where it is none."""
    if ledger.task not in MEANS.get(ref.name, frozenset()):
        return None
    if ref.of_class is not None and ref.of_class not in ledger.classes:
        return None
    metric, rows = metric_of(ref, ledger.task), Weighted(ledger=ledger).rows()
    if metric.of_row is not None:
        info = info_of(ref.name)
        if info is None:
            raise ValueError(f"there is no metric `{ref.name}`")
        info = narrowed(info, ledger.task, dict(ref.params))
        return binned_tally(metric.of_row(rows), low=info.low, high=info.high)
    trials = trials_of(metric, part_of(ref, ledger), rows)
    return None if trials is None else trials_tally(*trials)


def sequence_of(
    ref: MetricRef, tally: Tally, early: Early, *, difference: bool = False
) -> Interval:
    """The interval that holds at every look before the last, of a metric or of a difference."""
    found = early.levels(ref, difference=difference)
    low, high = ends(
        tally,
        planned=early.planned,
        below=found.below * ON_LOOKS,
        above=found.above * ON_LOOKS,
    )
    return Interval(low=low, high=high, confidence=1 - found.below - found.above, method=SEQUENCE)


def could_be_decided(gate: Gate, tally: Tally, early: Early) -> tuple[bool, bool]:
    """Whether `sequence_of` is all on the passing side of a gate, and all on the failing side.

    That it is, costs a search for two ends; that it is not, is known from two numbers.
    """
    found = early.levels(gate.metric, difference=gate.bound not in _ABSOLUTE)
    # A drop is a difference the other way round.
    threshold = -gate.threshold if gate.bound == "max_drop" else gate.threshold
    if not tally.low < threshold < tally.high:
        return True, True
    above, below = sides(
        tally,
        threshold,
        planned=early.planned,
        below=found.below * ON_LOOKS,
        above=found.above * ON_LOOKS,
    )
    return (above, below) if gate.bound in _FAIL_BY_THE_UPPER_END else (below, above)


def with_early_interval(estimate: Estimate, sampled: Sampled, early: Early) -> Estimate:
    """The estimate with the interval of a run that could have ended early, ended or not.

    Where it ended, what has no interval that holds at every look has none.
    """
    if estimate.value is None:
        return estimate
    ref = estimate.metric
    if early.ended:
        tally = tally_of(ref, sampled.ledger) if estimate.slice is None else None
        if tally is None:
            return replace(estimate, no_interval=_STOPPED)
        return replace(estimate, interval=sequence_of(ref, tally, early))
    try:
        return replace(estimate, interval=_last(estimate, sampled, early))
    except NoIntervalError as error:
        return replace(estimate, no_interval=str(error))


def _last(estimate: Estimate, sampled: Sampled, early: Early) -> Interval:
    """On all samples: the usual one; where a gate has looked before, with what is left of its level."""
    ref = estimate.metric
    if estimate.slice is not None or not early.bounds(ref, difference=False):
        return metric_interval(ref, sampled)
    return _at_the_last(
        early.levels(ref),
        lambda confidence: metric_interval(ref, replace(sampled, confidence=confidence)),
    )


def _at_the_last(found: Levels, interval: Callable[[float], Interval]) -> Interval:
    """Each end from an interval of the confidence that leaves it what the looks have left."""
    left = 1 - ON_LOOKS
    low, high = (interval(1 - 2 * left * level) for level in (found.below, found.above))
    return Interval(
        low=low.low,
        high=high.high,
        confidence=1 - left * (found.below + found.above),
        method=low.method,
    )


def with_early_difference(
    comparison: Comparison, candidate: Ledger, baseline: Ledger, early: Early
) -> Comparison:
    """As `with_early_interval`, of a difference that has the interval of a whole run."""
    if comparison.difference is None:
        return comparison
    ref = comparison.metric
    paired = (
        comparison.slice is None and ref.name in DIFFERENCES and candidate.task in CLASSIFICATION
    )
    bare = replace(comparison, interval=None, relative_interval=None)
    if early.ended and not paired:
        return replace(bare, no_interval=_STOPPED)
    if not paired or not (early.ended or early.bounds(ref, difference=True)):
        return comparison
    now, before = right(candidate), right(baseline)
    if early.ended:
        tally = paired_tally(now, before)
        return replace(bare, interval=sequence_of(ref, tally, early, difference=True))
    gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
    last = _at_the_last(
        early.levels(ref, difference=True),
        lambda confidence: share_difference(gained, lost, len(now), confidence=confidence),
    )
    return replace(comparison, interval=last)


def paired_tally(now: Array, before: Array) -> Tally:
    """Of the differences of two classifiers on the same rows, each right or not, bool (N,)."""
    gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
    return difference_tally(gained, lost, len(now))
