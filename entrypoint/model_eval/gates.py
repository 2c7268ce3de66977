"""Estimates against thresholds → gate results → verdict. Pure.

A pass is proved: the comparison is made in the direction in which NaN is false, an undefined
metric is undecided, and no verdict is a pass unless every held-out sample was counted once.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from model_eval.checks import control_outcome
from model_eval.spec.eval_spec import GateSpec
from model_eval.types import (
    Completion,
    ControlInfo,
    Estimate,
    GateResult,
    GateStatus,
    MetricRef,
    Severity,
    Verdict,
)

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNDECIDED: 4, Verdict.ERROR: 4}
"""Exit status of a judged run. An error's own is in `errors`: 2, 3 or 4."""


def judge(
    gates: Iterable[GateSpec], estimates: Mapping[MetricRef, Estimate]
) -> tuple[GateResult, ...]:
    """Holds every gate against the estimate of its metric."""
    return tuple(_judge_one(gate, estimates.get(gate.metric)) for gate in gates)


def decide(
    results: Sequence[GateResult],
    completion: Completion | None,
    control: ControlInfo | None = None,
) -> tuple[Verdict, str]:
    """The verdict and its one-sentence reason.

    A failed required gate outweighs an undecided one: the model was judged. A pass needs at
    least one required gate, all of them passed, and a proved completion; and an untrained model
    that is no worse takes it back.
    """
    required = [result for result in results if result.severity is Severity.REQUIRED]
    failed = [r for r in required if r.status is GateStatus.FAIL]
    undecided = [r for r in required if r.status is not GateStatus.PASS and r not in failed]
    if completion is None or not completion.proved:
        return Verdict.UNDECIDED, _incomplete(completion)
    if failed:
        return Verdict.FAIL, f"{_share(failed, required)} failed: {_labels(failed)}"
    if undecided:
        return (
            Verdict.UNDECIDED,
            f"{_share(undecided, required)} could not be decided: {_labels(undecided)}",
        )
    if not required:
        return Verdict.UNDECIDED, "no required gate was judged, so nothing was proved"
    if (objection := control_outcome(control)) is not None:
        return Verdict.UNDECIDED, objection
    return Verdict.PASS, f"{_share(required, required)} passed"


def _judge_one(gate: GateSpec, estimate: Estimate | None) -> GateResult:
    value = estimate.value if estimate else None
    status, margin = GateStatus.UNDECIDED, None
    if value is not None and isfinite(value):
        passed, margin = compare(gate.bound, value, gate.threshold)
        status = GateStatus.PASS if passed else GateStatus.FAIL
        sign = {"min": ("≥", "<"), "max": ("≤", ">")}[gate.bound][0 if passed else 1]
        reason = f"{number(value, unlike=gate.threshold)} {sign} {number(gate.threshold)}"
    elif estimate is None:
        reason = "the metric was not estimated"
    else:
        reason = f"undefined: {estimate.undefined or 'the value is not finite'}"
        value = None
    return GateResult(
        metric=gate.metric,
        bound=gate.bound,
        threshold=gate.threshold,
        severity=gate.severity,
        status=status,
        value=value,
        margin=margin,
        n=estimate.n if estimate else 0,
        reason=reason,
        location=gate.location,
    )


def compare(bound: str, value: float, threshold: float) -> tuple[bool, float]:
    """Whether the value is on the passing side, and how far. A NaN is never on it.

    Raises:
        ValueError: the bound is neither `min` nor `max`.
    """
    if bound == "min":
        return value >= threshold, value - threshold
    if bound == "max":
        return value <= threshold, threshold - value
    raise ValueError(f"`{bound}` is not a bound")


def number(value: float, *, unlike: float | None = None) -> str:
    """Six significant digits, for people, and more where it would read like another number.

    0.9499999 against a threshold of 0.95 must not be shown as "0.95 < 0.95".
    """
    short = f"{value:.6g}"
    return repr(value) if unlike is not None and value != unlike == float(short) else short


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
    return ", ".join(dict.fromkeys(result.metric.label for result in results))
