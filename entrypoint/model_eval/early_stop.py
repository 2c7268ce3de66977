"""When a run may end before its last sample: it looks on, and says when every gate is decided. Pure.

What it decides on is what the report will show: the gates are judged as `gates.judge` judges them, on
the intervals of `stats.early`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from model_eval.gates import Evidence, judge
from model_eval.ledger import Array, Ledger
from model_eval.loosening import fails_less_often, held_gates
from model_eval.numerics import numpys_own
from model_eval.spec.catalog import CLASSIFICATION
from model_eval.spec.early_stop import can_stop, watched
from model_eval.spec.eval_spec import EvalSpec
from model_eval.stats import (
    Early,
    Tally,
    could_be_decided,
    paired_tally,
    right,
    right_by_id,
    sequence_of,
    tally_of,
)
from model_eval.types import (
    MAIN_HELDOUT,
    OF_DIFFERENCE,
    Comparison,
    DecideOn,
    Estimate,
    Gate,
    GateStatus,
    MetricRef,
    OnUndecided,
)

LOOKS = 100
BETWEEN = 256
"""At most so many looks at a set, and at least so many samples between two of them."""

LEAST = 500
"""No run ends before it: with fewer samples untrained models may not be told from the checkpoint."""

_NOT_EARLY = (
    "the run did not end early: a gate of the base branch can be decided on all samples alone"
)
_NOT_EARLY_SO_MANY = (
    "the run did not end early: more gates share its level than in the base branch, where one does not block "
    "while it is undecided"
)
_NOT_EARLY_SO_FEW = "the run did not end early: no run does before {} samples, and there are {}"
_NOT_EARLY_IN_PARTS = "the run did not end early: that is decided in one process alone"


def early_of(spec: EvalSpec, base_gates: Sequence[Gate], planned: int) -> Early | None:
    """What must be decided before a run may end; None where it goes to its end.

    Args:
        spec: which gates there are, and whether it asks to end early.
        base_gates: of the base branch, to which the model is held also.
        planned: how many samples the main held-out set has.
    """
    gates = watched((*spec.gates, *base_gates))
    # A base branch's gate may be any; the spec's own were checked when it was read.
    decidable = all(can_stop(gate, spec.task) for gate in gates)
    if not spec.run.stop_early or not decidable or planned <= first_end(planned):
        return None
    return Early(gates=gates, planned=planned, confidence=spec.decisions.confidence)


def rows_between_looks(planned: int) -> int:
    """After how many more samples it is worth looking again; it hangs on nothing but their number."""
    return max(BETWEEN, -(-planned // LOOKS))


def first_end(planned: int) -> int:
    """After how many samples a run may end at the earliest: at the first look from `LEAST` on."""
    step = rows_between_looks(planned)
    return -(-LEAST // step) * step


Before = Callable[[Array], Array | None]
"""Given ids (n,): which of these samples the baseline has right, bool (n,); None where it lacks one."""

_Key = tuple[MetricRef, bool]
"""A metric, and whether it is its difference from the baseline's."""


@dataclass(slots=True)
class EarlyWatch:
    """Is given the newest rows, again and again.

    Attributes:
        early: what must be decided.
        seen: how many rows it was given.
        before: which samples the baseline has right, by their ids, where a gate compares with it.
        ended: whether it has said that they are enough, though more were planned.
    """

    early: Early
    before: Before | None = None
    seen: int = 0
    ended: bool = False
    _tallies: dict[_Key, Tally] = field(default_factory=dict, init=False)
    _sound: bool = field(default=True, init=False)

    @numpys_own
    def __call__(self, newest: Ledger) -> bool:
        """Whether all gates pass, or one has failed, on all rows so far."""
        self.seen += len(newest)
        # A row that is not finite leaves every metric without a value, whatever comes after it.
        self._sound = self._sound and newest.finite == len(newest)
        if not self._sound:
            return False
        for key in dict.fromkeys(
            (one.metric, one.bound in OF_DIFFERENCE) for one in self.early.gates
        ):
            tally = self._tally(key, newest)
            if tally is None:
                self._sound = False
                return False
            known = self._tallies.get(key)
            self._tallies[key] = tally if known is None else known + tally
        self.ended = LEAST <= self.seen < self.early.planned and self._decided()
        return self.ended

    def _decided(self) -> bool:
        """Whether they are, by what the report would show; most looks are at what is far from it."""
        sides = [
            could_be_decided(
                gate, self._tallies[gate.metric, gate.bound in OF_DIFFERENCE], self.early
            )
            for gate in self.early.gates
        ]
        if not (all(passes for passes, _ in sides) or any(fails for _, fails in sides)):
            return False
        gates = [
            replace(gate, decide_on=DecideOn.INTERVAL, on_undecided=OnUndecided.UNDECIDED)
            for gate in self.early.gates
        ]
        found = [self._estimate(ref) for ref, difference in self._tallies if not difference]
        compared = [self._comparison(ref) for ref, difference in self._tallies if difference]
        evidence = Evidence(
            estimates={(one.heldout, one.slice, one.metric): one for one in found},
            comparisons={(one.heldout, one.slice, one.metric): one for one in compared},
        )
        status = [result.status for result in judge(gates, evidence)]
        return GateStatus.FAIL in status or set(status) == {GateStatus.PASS}

    def _tally(self, key: _Key, newest: Ledger) -> Tally | None:
        ref, difference = key
        if not difference:
            return tally_of(ref, newest)
        before = None if self.before is None else self.before(newest["id"])
        return None if before is None else paired_tally(right(newest), before)

    def _estimate(self, ref: MetricRef) -> Estimate:
        tally = self._tallies[ref, False]
        return Estimate(
            metric=ref,
            value=_mean(tally),
            undefined="no row counts" if _mean(tally) is None else None,
            n=self.seen,
            interval=sequence_of(ref, tally, self.early),
        )

    def _comparison(self, ref: MetricRef) -> Comparison:
        """Of the difference alone: what the two values are changes no verdict."""
        tally = self._tallies[ref, True]
        return Comparison(
            metric=ref,
            heldout=MAIN_HELDOUT,
            slice=None,
            n=self.seen,
            candidate=None,
            baseline=None,
            undefined=None,
            difference=_mean(tally),
            interval=sequence_of(ref, tally, self.early, difference=True),
            relative=None,
            relative_interval=None,
            no_interval=None,
        )


def _mean(tally: Tally) -> float | None:
    count = float(tally.counts.sum())
    return float(tally.counts @ tally.lows) / count if count else None


def watch_of(
    spec: EvalSpec,
    base_spec: EvalSpec | None,
    *,
    expected: int,
    saved: Ledger | None,
    in_parts: bool,
) -> tuple[EarlyWatch | None, str | None]:
    """What ends a run early whose spec asks for it, or else a note of why it goes to its end.

    Args:
        spec: the whole of it.
        base_spec: the base branch's, whose gates must be decided, too; None where there is none to go by.
        expected: how many samples the main held-out set has.
        saved: the baseline's ledger, where it is there before the run.
        in_parts: whether the samples are shared out.
    """
    if in_parts:
        return None, _NOT_EARLY_IN_PARTS
    held = () if base_spec is None else held_gates(base_spec, spec)
    early = early_of(spec, held, expected)
    if early is None:
        least = first_end(expected)
        few = _NOT_EARLY_SO_FEW.format(least, expected)
        return None, few if expected <= least else _NOT_EARLY
    if base_spec is not None and fails_less_often(base_spec, early.gates):
        return None, _NOT_EARLY_SO_MANY
    # What ended early itself has other samples, or the same by luck alone.
    pairs = saved is not None and saved.task is spec.task and len(saved) == expected
    if saved is None or not pairs or spec.task not in CLASSIFICATION:
        return EarlyWatch(early), None
    return EarlyWatch(early, before=right_by_id(saved)), None
