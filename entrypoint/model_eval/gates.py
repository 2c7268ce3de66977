"""Evidence against thresholds → gate results → verdict. Pure.

A pass is proved: the comparison is made in the direction in which NaN is false, an undefined
metric is undecided, and no verdict is a pass unless every held-out sample was counted once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite, sqrt
from statistics import NormalDist

from model_eval.checks import control_outcome, noise_floor
from model_eval.spec.catalog import COST
from model_eval.types import (
    BOUNDS,
    GOLDEN_HELDOUT,
    IDENTICAL,
    OF_DIFFERENCE,
    SEQUENCE,
    Comparison,
    Completion,
    ControlInfo,
    DecideOn,
    Estimate,
    Gap,
    Gate,
    GateResult,
    GateStatus,
    Interval,
    MetricRef,
    OnUndecided,
    Report,
    Severity,
    SliceInfo,
    Stopped,
    Verdict,
)
from model_eval.wording import number

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNDECIDED: 4, Verdict.ERROR: 4}
"""Exit status of a judged run. An error's own is in `errors`: 2, 3 or 4."""

_SIGNS = {"≥": ("≥", "<"), "≤": ("≤", ">")}

Key = tuple[str, str | None, MetricRef]
"""Held-out set, slice (None: all samples), metric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """All that gates are held against.

    Attributes:
        no_baseline: why nothing can be compared, where a gate would.
        noise: how much a metric moves without any reason, from run to run or batch to batch.
        ended_early: whether there were more samples, which would have narrowed the intervals.
    """

    estimates: Mapping[Key, Estimate]
    comparisons: Mapping[Key, Comparison] = field(default_factory=dict)
    gaps: Mapping[Key, Gap] = field(default_factory=dict)
    slices: tuple[SliceInfo, ...] = ()
    no_baseline: str = "there is no baseline"
    noise: Mapping[MetricRef, float] = field(default_factory=dict)
    ended_early: bool = False


def evidence_of(report: Report) -> Evidence:
    """The evidence that a report shows."""
    noise = report.noise.metrics if report.noise else ()
    return Evidence(
        estimates={(e.heldout, e.slice, e.metric): e for e in report.estimates},
        comparisons={(c.heldout, c.slice, c.metric): c for c in report.comparisons},
        gaps={(g.heldout, g.family, g.metric): g for g in report.gaps},
        slices=report.slices,
        no_baseline=(report.baseline and report.baseline.refused) or "there is no baseline",
        noise={one.metric: noise_floor(report.noise, one.metric) for one in noise},
        ended_early=report.stopped is not None,
    )


def judge(gates: Iterable[Gate], evidence: Evidence) -> tuple[GateResult, ...]:
    """Holds every gate against the evidence. A result is a gate, and is judged as it was."""
    return tuple(_judge_one(gate, evidence) for gate in gates)


def decide(
    results: Sequence[GateResult],
    completions: Sequence[Completion | None],
    control: ControlInfo | None = None,
    stopped: Stopped | None = None,
) -> tuple[Verdict, str]:
    """The verdict and its one-sentence reason.

    A failed required gate outweighs an undecided one: the model was judged. A pass needs at
    least one required gate that passed, none that blocks, and each set's proved completion; and
    an untrained model that is no worse takes it back. Of a run that ended early a pass also needs
    intervals that hold at every look.
    """
    required = [result for result in results if result.severity is Severity.REQUIRED]
    failed = [r for r in required if r.status is GateStatus.FAIL]
    undecided = [r for r in required if r.blocks and r not in failed]
    passed = [r for r in required if r.status is GateStatus.PASS]
    for completion in completions or [None]:
        if completion is None or not completion.proved:
            return Verdict.UNDECIDED, _incomplete(completion)
    if failed:
        return Verdict.FAIL, f"{_share(failed, required)} failed: {_labels(failed)}"
    if undecided:
        return (
            Verdict.UNDECIDED,
            f"{_share(undecided, required)} could not be decided: {_labels(undecided)}",
        )
    if not passed:
        return Verdict.UNDECIDED, "no required gate was judged, so nothing was proved"
    if stopped is not None and (loose := [r for r in passed if not _holds_at_every_look(r)]):
        return (
            Verdict.UNDECIDED,
            f"the run ended early, which an interval of all samples does not allow: {_labels(loose)}",
        )
    if (objection := control_outcome(control)) is not None:
        return Verdict.UNDECIDED, objection
    return Verdict.PASS, f"{_share(passed, required)} passed"


def _holds_at_every_look(result: GateResult) -> bool:
    """Costs and golden cases are not of the samples that were looked at."""
    if result.metric.name in COST or result.heldout == GOLDEN_HELDOUT:
        return True
    return (
        result.interval is not None
        and result.interval.method == SEQUENCE
        and result.decide_on is not DecideOn.POINT
    )


def completions_of(report: Report) -> tuple[Completion | None, ...]:
    """Of the main held-out set and of each further one."""
    return (report.completion, *(one.completion for one in report.more_heldout))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quantity:
    """What is held against a threshold: a value with its interval, or the reason why there is none.

    Attributes:
        open: whether the run ended before the interval was as narrow as the set would have made it.
    """

    value: float | None = None
    interval: Interval | None = None
    lacking: str = ""
    n: int = 0
    slice: str | None = None
    floor: float = 0.0
    open: bool = False


def _judge_one(gate: Gate, evidence: Evidence) -> GateResult:
    if gate.slices is not None and gate.bound != "max_gap":
        return _judge_slices(gate, evidence)
    quantity = _quantity(gate, gate.slice, evidence)
    sequence = quantity.interval is not None and quantity.interval.method == SEQUENCE
    quantity = replace(quantity, open=evidence.ended_early and sequence)
    status, reason = _status(gate, quantity)
    return _result(gate, quantity, status, reason)


def _quantity(gate: Gate, part: str | None, evidence: Evidence) -> _Quantity:
    floor = evidence.noise.get(gate.metric, 0.0)
    if gate.bound == "max_gap":
        gap = evidence.gaps.get((gate.heldout, gate.slices, gate.metric))
        if gap is None:
            return _Quantity(lacking=f"no slice of `{gate.slices}` was estimated")
        return _Quantity(
            value=gap.value,
            interval=gap.interval,
            lacking=_why(gap.undefined, gap.no_interval),
            n=gap.n,
            floor=floor,
        )
    if gate.bound in OF_DIFFERENCE:
        comparison = evidence.comparisons.get((gate.heldout, part, gate.metric))
        if comparison is None:
            return _Quantity(lacking=f"nothing was compared: {evidence.no_baseline}")
        return _compared(gate, comparison, floor)
    estimate = evidence.estimates.get((gate.heldout, part, gate.metric))
    if estimate is None:
        if part is not None:
            return _Quantity(lacking="no sample is in the slice", slice=part)
        return _Quantity(lacking="the metric was not estimated")
    return _Quantity(
        value=estimate.value,
        interval=estimate.interval,
        lacking=_why(estimate.undefined, estimate.no_interval),
        n=estimate.n,
        slice=part,
        floor=floor,
    )


def _compared(gate: Gate, comparison: Comparison, floor: float) -> _Quantity:
    """The difference from the baseline in the direction that the bound looks.

    The noise is of the metric, and of a share of the baseline its share.
    """
    relative = "relative" in gate.bound
    if relative and comparison.baseline:
        floor /= abs(comparison.baseline)
    value = comparison.relative if relative else comparison.difference
    interval = comparison.relative_interval if relative else comparison.interval
    if interval is not None and interval.method == IDENTICAL:
        floor = 0.0  # both have left the same numbers, to the last digit
    negative = gate.bound.endswith("drop") or (
        gate.bound.endswith("gain") and not gate.higher_is_better
    )
    undefined = comparison.undefined
    if undefined is None and value is None:
        undefined = "the baseline's value is 0"
    return _Quantity(
        value=-value if negative and value is not None else value,
        interval=_mirrored(interval) if negative else interval,
        lacking=_why(undefined, comparison.no_interval),
        n=comparison.n,
        slice=comparison.slice,
        floor=floor,
    )


def _mirrored(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    return Interval(
        low=-interval.high,
        high=-interval.low,
        confidence=interval.confidence,
        method=interval.method,
    )


def _why(undefined: str | None, no_interval: str | None) -> str:
    if undefined is not None:
        return f"undefined: {undefined}"
    return f"no interval: {no_interval}" if no_interval is not None else ""


def _status(gate: Gate, quantity: _Quantity) -> tuple[GateStatus, str]:
    """How the quantity stands to the threshold, and that as a clause."""
    value, interval = quantity.value, quantity.interval
    if value is None or not isfinite(value):
        return GateStatus.UNDECIDED, quantity.lacking or "undefined: the value is not finite"
    if quantity.n < gate.min_samples:
        return (
            GateStatus.UNDECIDED,
            f"{quantity.n} samples are fewer than min_samples, {gate.min_samples}",
        )
    passed, _ = compare(gate.bound, value, gate.threshold)
    ends = () if interval is None else (interval.low, interval.high)
    shown = number(value, unlike=[gate.threshold])
    threshold = number(gate.threshold, unlike=[value, *ends])
    met, missed = _SIGNS[BOUNDS[gate.bound]]
    if _is_noise(gate, value, quantity.floor):
        return GateStatus.UNDECIDED, _noisy(shown, threshold, quantity.floor)
    clause = f"{shown} {met if passed else missed} {threshold}"
    if gate.decide_on is DecideOn.POINT:
        return (GateStatus.PASS if passed else GateStatus.FAIL), clause
    if interval is None:
        lacking = quantity.lacking or "it has no interval"
        return GateStatus.UNDECIDED, f"{lacking}; `decide_on: point` decides on the value"
    # The value is always part of it: a bootstrap's interval need not hold it.
    low, high = min(interval.low, value), max(interval.high, value)
    worst, best = (low, high) if _passes_above(gate.bound) else (high, low)
    if compare(gate.bound, worst, gate.threshold)[0]:
        return GateStatus.PASS, clause
    whole = f"[{', '.join(number(end, unlike=[gate.threshold]) for end in ends)}]"
    if not compare(gate.bound, best, gate.threshold)[0]:
        return GateStatus.FAIL, f"{clause}, and so is all of {whole}"
    if gate.decide_on is DecideOn.LOWER_BOUND and not quantity.open:
        worst_shown = number(worst, unlike=[gate.threshold])
        return GateStatus.FAIL, (
            f"{shown} may be as {'low' if missed == '<' else 'high'} as "
            f"{worst_shown} {missed} {threshold}"
        )
    return GateStatus.UNDECIDED, f"the interval {whole} of {shown} contains {threshold}"


def _straddles(gate: Gate, quantity: _Quantity) -> bool:
    """Whether the only thing that is lacking is a narrower interval."""
    return (
        gate.decide_on is DecideOn.INTERVAL
        and quantity.value is not None
        and isfinite(quantity.value)
        and quantity.interval is not None
        and quantity.n >= gate.min_samples
        and not _is_noise(gate, quantity.value, quantity.floor)
    )


def _is_noise(gate: Gate, value: float, floor: float) -> bool:
    """Whether the value is nearer to the threshold than two runs are to one another."""
    return abs(compare(gate.bound, value, gate.threshold)[1]) < floor


def _noisy(value: str, threshold: str, floor: float) -> str:
    if not isfinite(floor):
        return "the metric is defined in some ways of running the model only"
    return f"{value} is nearer to {threshold} than the noise of {number(floor)} between two runs"


def _result(
    gate: Gate,
    quantity: _Quantity,
    status: GateStatus,
    reason: str,
    *,
    worst: str | None = None,
) -> GateResult:
    value = quantity.value if quantity.value is not None and isfinite(quantity.value) else None
    remark = False
    if status is GateStatus.UNDECIDED and not quantity.open and _straddles(gate, quantity):
        if gate.on_undecided is OnUndecided.FAIL:
            status = GateStatus.FAIL
        remark = gate.on_undecided is OnUndecided.ADVISORY
    required = gate.severity is Severity.REQUIRED
    return GateResult(
        **{one.name: getattr(gate, one.name) for one in fields(Gate)},
        status=status,
        value=value,
        interval=quantity.interval if value is not None else None,
        margin=None if value is None else compare(gate.bound, value, gate.threshold)[1],
        n=quantity.n,
        worst=worst,
        flip=_flip(gate, value, quantity.interval),
        blocks=required and status is not GateStatus.PASS and not remark,
        reason=reason,
    )


def _judge_slices(gate: Gate, evidence: Evidence) -> GateResult:
    """One bound on each slice of a family.

    It passes where each slice passes by itself: the union of the ways to fail needs no correction
    (Berger 1982, intersection-union tests). It fails where one fails by Holm's adjusted level, so that
    among twenty good slices none fails by luck. Slices that decide nothing leave it undecided.
    """
    parts = [
        info.label
        for info in evidence.slices
        if (info.heldout, info.family) == (gate.heldout, gate.slices)
    ]
    if not parts:
        return _result(
            gate, _Quantity(lacking="none"), GateStatus.UNDECIDED, f"`{gate.slices}` has no slices"
        )
    found = [(_quantity(gate, part, evidence), part) for part in parts]
    judged = [(*_status(gate, quantity), quantity, part) for quantity, part in found]
    failed = _failed_by_holm(gate, judged)
    undecided = [
        (
            reason
            if status is GateStatus.UNDECIDED
            else f"{reason}, but not among {len(parts)} slices",
            quantity,
            part,
        )
        for status, reason, quantity, part in judged
        if status is GateStatus.UNDECIDED or (status is GateStatus.FAIL and part not in failed)
    ]
    # First one that more than a wide interval leaves open: it blocks whatever `on_undecided` says.
    undecided.sort(key=lambda item: _straddles(gate, item[1]))
    of = f"of {len(parts)} slice{'' if len(parts) == 1 else 's'}"
    if failed:
        worst = _worst(gate, [item for item in judged if item[3] in failed])
        status, reason = (
            GateStatus.FAIL,
            f"{len(failed)} {of} failed, the worst {worst[3]}: {worst[1]}",
        )
        return _result(gate, worst[2], status, reason, worst=worst[3])
    if undecided:
        reason, quantity, part = undecided[0]
        more = f"{len(undecided)} {of} undecided, {part}: {reason}"
        return _result(gate, quantity, GateStatus.UNDECIDED, more, worst=part)
    worst = _worst(gate, judged)
    reason = f"all {len(parts)} slices, the worst {worst[3]}: {worst[1]}"
    return _result(gate, worst[2], GateStatus.PASS, reason, worst=worst[3])


_Judged = tuple[GateStatus, str, _Quantity, str]


def _failed_by_holm(gate: Gate, judged: Sequence[_Judged]) -> list[str]:
    """The slices that fail however many were looked at; with a point, all that fail."""
    failing = [(q, part) for status, _, q, part in judged if status is GateStatus.FAIL]
    if gate.decide_on is not DecideOn.INTERVAL:
        return [part for _, part in failing]
    ordered = sorted(
        ((_p_value(gate, q), q.interval.confidence, part) for q, part in failing if q.interval),
        key=lambda item: item[0],
    )
    kept = []
    for rank, (p_value, confidence, part) in enumerate(ordered):
        if p_value * (len(judged) - rank) > (1 - confidence) / 2:
            break
        kept.append(part)
    return kept


def _p_value(gate: Gate, quantity: _Quantity) -> float:
    """One-sided, that the truth is at the threshold: as far as the interval is from it, in its width."""
    error = _standard_error(gate, quantity.value, quantity.interval)
    if error is None or quantity.value is None:
        return 1.0
    distance = abs(quantity.value - gate.threshold)
    return NormalDist().cdf(-distance / error) if error > 0 else 0.0


def _standard_error(gate: Gate, value: float | None, interval: Interval | None) -> float | None:
    """Half the interval's width on the side of the threshold, as a standard error."""
    if value is None or interval is None:
        return None
    half = value - interval.low if gate.threshold < value else interval.high - value
    return max(half, 0.0) / NormalDist().inv_cdf((1 + interval.confidence) / 2)


def _flip(gate: Gate, value: float | None, interval: Interval | None) -> float | None:
    """Both values scatter around the truth, so their difference does √2 times as much."""
    error = _standard_error(gate, value, interval)
    if error is None or value is None:
        return None
    if interval is not None and interval.method == SEQUENCE:
        return None  # it is as wide as all looks need, which says little of one standard error
    distance = abs(value - gate.threshold)
    if error == 0:
        return 0.0 if distance else 0.5
    return round(NormalDist().cdf(-distance / (sqrt(2) * error)), 6)


def _worst(gate: Gate, judged: Sequence[_Judged]) -> _Judged:
    above = _passes_above(gate.bound)
    return min(judged, key=lambda item: (item[2].value or 0.0) * (1 if above else -1))


def _passes_above(bound: str) -> bool:
    return BOUNDS[bound] == "≥"


def compare(bound: str, value: float, threshold: float) -> tuple[bool, float]:
    """Whether the value is on the passing side, and how far. A NaN is never on it.

    Raises:
        ValueError: there is no such bound.
    """
    sign = BOUNDS.get(bound)
    if sign is None:
        raise ValueError(f"`{bound}` is not a bound")
    if sign == "≥":
        return value >= threshold, value - threshold
    return value <= threshold, threshold - value


def _incomplete(completion: Completion | None) -> str:
    if completion is None:
        return "the evaluation did not finish"
    return (
        f"{completion.expected} samples were expected, {completion.rows} were counted, "
        f"{completion.distinct} of them distinct"
    )


def _share(some: Sequence[GateResult], required: Sequence[GateResult]) -> str:
    if len(required) == 1:
        return "the required gate"
    share = "all" if len(some) == len(required) else f"{len(some)} of"
    return f"{share} {len(required)} required gates"


def _labels(results: Sequence[GateResult]) -> str:
    return ", ".join(dict.fromkeys(result.label for result in results))
