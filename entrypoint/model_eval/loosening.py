"""What a spec asks less of than the base branch's: a pull request may not loosen its own gates. Pure.

Two specs are compared key by key. `RULES` says of a key when a difference is looser; a key that it
does not name is looser whenever it differs, so that a key which is added to specs is safe until
somebody has thought about it. Gates are matched by all that has no rule in `GATE_RULES`.

A new key of specs or gates needs one line in a table here, or none; a new bound one in `types.BOUNDS`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from model_eval.gates import completions_of, decide
from model_eval.spec.early_stop import watched
from model_eval.spec.eval_spec import CodeRef, EvalSpec, PathRef
from model_eval.types import (
    BOUNDS,
    DecideOn,
    Gate,
    GateResult,
    Location,
    Loosening,
    MetricRef,
    OnUndecided,
    Report,
    Severity,
    Verdict,
)
from model_eval.wording import printable

Looser = Callable[[Any, Any], bool]
"""Given the base's and the head's value, which differ: does the head ask less?"""

_LONGEST_VALUE = 200


def _changed(_base: Any, _head: Any) -> bool:
    return True


def _free(_base: Any, _head: Any) -> bool:
    return False


def _removed(_base: Any, head: Any) -> bool:
    return head is None


def _unless_off(_base: Any, head: Any) -> bool:
    return head is not False


def _unless_added(base: Any, _head: Any) -> bool:
    return base is not None


def _lower(base: Any, head: Any) -> bool:
    return base is not None and not (head is not None and head >= base)


def _higher(base: Any, head: Any) -> bool:
    return base is not None and not (head is not None and head <= base)


def _fewer(base: Any, head: Any) -> bool:
    return not all(item in (head or ()) for item in base or ())


def _unless_pinned(base: Any, head: Any) -> bool:
    """Adding the section, or a pin to it, is not looser; every other change is."""
    return base is not None and _canonical(base) != _canonical(_without_new_pins(base, head))


def _without_new_pins(base: Any, head: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(head, dict):
        return head
    return {
        key: None
        if key == "sha256" and base.get(key) is None
        else _without_new_pins(base.get(key), value)
        for key, value in head.items()
    }


def _ranked(*strictest_first: frozenset[str]) -> Looser:
    """Looser is what comes later; a word that is not listed is looser than all and never stricter."""

    def looser(base: Any, head: Any) -> bool:
        ranks = {word: rank for rank, words in enumerate(strictest_first) for word in words}
        return base not in ranks or head not in ranks or ranks[head] > ranks[base]

    return looser


# The two pass alike: where the end of the interval on the failing side passes.
_DECIDE_ON = _ranked(frozenset({"interval", "lower_bound"}), frozenset({"point"}))
_ON_UNDECIDED = _ranked(frozenset({"fail", "undecided"}), frozenset({"advisory"}))

GATE_RULES: Mapping[str, Looser] = {
    "severity": _ranked(frozenset({Severity.REQUIRED}), frozenset({Severity.ADVISORY})),
    "decide_on": _DECIDE_ON,
    "on_undecided": _ON_UNDECIDED,
    "min_samples": _lower,
}
"""Key of a gate → when it is looser, beside `threshold`. What has no rule here tells gates apart."""

RULES: Mapping[str, Looser] = {
    # Names, and what is reported without deciding.
    "name": _free,
    "source": _free,
    "sha256": _free,
    "size": _free,
    "roots": _free,
    "metrics": _free,
    "custom": _fewer,  # another callable, or other arguments, is another metric
    # What a pull request is for: the model. How its outputs are read is not in here.
    "model.factory": _free,
    "checkpoint.path": _free,
    "checkpoint.state_key": _free,
    "checkpoint.sha256": _removed,
    # Where and in which pieces it runs. The precision and the seed change numbers, and stay.
    "run.device": _free,
    "run.batch_size": _free,
    # At the same confidence, but from fewer samples, and chosen by the spec's seed.
    "run.stop_early": _unless_off,
    "run.memory_format": _free,
    "run.compile": _free,
    # Pins and checks may be added.
    "heldout.id": _unless_added,
    "heldout.count": _unless_added,
    "heldout.sha256": _unless_added,
    "heldout.disjoint_from": _fewer,
    "heldout.slices": _free,  # the columns of the families
    "heldout.families": _fewer,
    "golden": _unless_pinned,
    "held_out_ledger": _unless_added,
    "control": _lower,
    "baseline": _unless_pinned,
    "decisions.decide_on": _DECIDE_ON,
    "decisions.on_undecided": _ON_UNDECIDED,
    "decisions.confidence": _lower,
    "decisions.min_samples": _lower,
    # Whether a run that cannot pass begins at all.
    "decisions.refuse_underpowered": _free,
}
"""Key of a spec → when it is looser."""


def loosenings(base: EvalSpec, head: EvalSpec) -> tuple[Loosening, ...]:
    """All that `head` asks less of than `base`, gates first; empty where it asks as much or more.

    Args:
        base: the spec of the branch that is merged into.
        head: the spec of the pull request, whose places the results have.
    """
    alike: dict[str, list[Gate]] = {}
    for gate in head.gates:
        alike.setdefault(_identity(gate), []).append(gate)
    found = [
        one for gate in base.gates for one in _of_gate(gate, alike.get(_identity(gate), []), head)
    ]
    return (
        *found,
        *_of_sections(base, head, "", head.places),
        *_of_higher_confidence(base, head),
    )


def held_gates(base: EvalSpec, head: EvalSpec) -> tuple[Gate, ...]:
    """The base's gates that the head does not have as they are: the model is held to these also."""
    kept = {_canonical(_plain(gate)) for gate in head.gates}
    return tuple(gate for gate in base.gates if _canonical(_plain(gate)) not in kept)


def fails_less_often(base: EvalSpec, gates: Sequence[Gate]) -> bool:
    """Whether a gate of the base that fails there could be open, and not block, in a run that may end early.

    The gates of such a run share the level of their failing ends: the more there are, the wider these are.

    Args:
        base: the base branch's spec.
        gates: all that must be decided before the run may end, the base's among them.
    """
    return len(gates) > len(watched(base.gates)) and any(map(_passes_open, base.gates))


def verdict_of(report: Report) -> tuple[Verdict, str]:
    """The verdict that the gates of a report show, its own and the base branch's, and its reason."""
    return decide_with_base(
        decide(report.gates, completions_of(report), report.control, report.stopped),
        loosened=report.loosened,
        allowed=report.loosening_allowed,
        base_gates=report.base_gates,
    )


def decide_with_base(
    decided: tuple[Verdict, str],
    *,
    loosened: Sequence[Loosening],
    allowed: bool,
    base_gates: Sequence[GateResult],
) -> tuple[Verdict, str]:
    """The verdict and its reason, where the base branch's spec has a say: it can only take a pass away.

    Args:
        decided: by the spec's own gates.
        loosened: what the spec asks less of.
        allowed: whether that is allowed.
        base_gates: what `held_gates` gave, judged; one that blocks takes the pass away even where
            nothing was found to be loosened.
    """
    if decided[0] is not Verdict.PASS or allowed:
        return decided
    if loosened:
        what = ", ".join(dict.fromkeys(one.what for one in loosened))
        return Verdict.FAIL, f"the spec asks for less than the base branch's: {what}"
    if missed := [gate for gate in base_gates if gate.blocks]:
        labels = ", ".join(dict.fromkeys(gate.label for gate in missed))
        return Verdict.FAIL, f"required gates of the base branch did not pass: {labels}"
    return decided


def _passes_open(gate: Gate) -> bool:
    """Whether an interval that holds the threshold keeps a required gate from blocking."""
    return (
        gate.severity is Severity.REQUIRED
        and gate.decide_on is DecideOn.INTERVAL
        and gate.on_undecided is OnUndecided.ADVISORY
    )


def _of_gate(base: Gate, alike: Sequence[Gate], head: EvalSpec) -> list[Loosening]:
    """The differences from the gate of the head that comes nearest; none where one is as strict."""
    if alike:
        return min((_gate_differences(base, gate) for gate in alike), key=len)
    label = base.label
    return [
        Loosening(
            what=f"gate {label}",
            base=_gate_text(base),
            head=None,
            reason=f"the base branch gates {printable(label)}, and this spec does not in this way",
            location=head.places.get("gates"),
        )
    ]


def _gate_differences(base: Gate, head: Gate) -> list[Loosening]:
    found = []
    for field in fields(base):
        if field.name != "threshold" and field.name not in GATE_RULES:
            continue
        before, after = getattr(base, field.name), getattr(head, field.name)
        if before == after or not _rule_of_gate(field.name, base.bound)(before, after):
            continue
        key = base.bound if field.name == "threshold" else field.name
        found.append(
            Loosening(
                what=f"gate {base.label}: {key}",
                base=_text(_plain(before)),
                head=_text(_plain(after)),
                reason=f"`{key}` of the gate asks for less than in the base branch",
                location=head.location,
            )
        )
    return found


def _rule_of_gate(key: str, bound: str) -> Looser:
    if key != "threshold":
        return GATE_RULES[key]
    return {"≥": _lower, "≤": _higher}.get(BOUNDS.get(bound, ""), _changed)


def _identity(gate: Gate) -> str:
    """What tells gates apart: the metric with its parts, the bound, and every key without a rule."""
    plain = _plain(gate)
    return _canonical({k: v for k, v in plain.items() if k != "threshold" and k not in GATE_RULES})


def _gate_text(gate: Gate) -> str:
    return f"{gate.bound}: {_text(gate.threshold)}, {gate.severity}"


def _of_sections(
    base: Any, head: Any, path: str, places: Mapping[str, Location]
) -> Iterator[Loosening]:
    """Walks two sections of one class, which are written at `path`."""
    for field in fields(base):
        key = f"{path}.{field.name}" if path else field.name
        if key == "gates" or _is_place(field.name):
            continue
        before, after = getattr(base, field.name), getattr(head, field.name)
        if _rule_key(key) not in RULES and _is_section(before) and type(before) is type(after):
            yield from _of_sections(before, after, key, places)
            continue
        if key == "more_heldout":
            yield from _of_further_sets(before, after, places)
            continue
        plain = _plain(before), _plain(after)
        rule = RULES.get(_rule_key(key), _changed)
        if _canonical(plain[0]) != _canonical(plain[1]) and rule(*plain):
            written = f"{path}.{_KEYS.get(field.name, field.name)}" if path else _KEYS.get(key, key)
            yield _difference(written, *plain, places.get(written) or places.get(path))


def _of_higher_confidence(base: EvalSpec, head: EvalSpec) -> Iterator[Loosening]:
    """Wider intervals pass less, but they also fail less: what they leave open may not block."""
    before, after = base.decisions.confidence, head.decisions.confidence
    if after > before and all(any(map(_passes_open, spec.gates)) for spec in (base, head)):
        key = "decisions.confidence"
        place = head.places.get(key) or head.places.get("decisions")
        yield _difference(key, before, after, place)


def _of_further_sets(
    base: Mapping[str, Any], head: Mapping[str, Any], places: Mapping[str, Location]
) -> Iterator[Loosening]:
    """Sets may be added; those of the base branch are compared as the main one is."""
    for name, before in base.items():
        key = f"more_heldout.{name}"
        if name in head:
            yield from _of_sections(before, head[name], key, places)
        else:
            yield _difference(key, name, None, places.get("more_heldout"))


def _rule_key(key: str) -> str:
    """The key that has the rule: further held-out sets have those of the main one."""
    head, _, rest = key.partition(".")
    return f"heldout.{rest.partition('.')[2]}" if head == "more_heldout" else key


_KEYS = {
    "refuse_underpowered": "on_underpowered",
    "custom": "metrics",
    "families": "slices",
    "args": "inputs",
    "kwargs": "inputs",
    "targets": "target",
    "columns_from": "path",
}
"""Attribute of a section → the key that it is written under, where that is another."""


def _difference(key: str, base: Any, head: Any, place: Location | None) -> Loosening:
    kind = "is no longer there" if head is None else "is not what it is in the base branch"
    return Loosening(
        what=key,
        base=None if base is None else _text(base),
        head=None if head is None else _text(head),
        reason=f"`{key}` {kind}, and the judgement depends on it",
        location=place,
    )


def _is_section(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, PathRef | CodeRef | MetricRef)


def _is_place(name: str) -> bool:
    return name in {"location", "locations", "places"} or name.endswith("_location")


def _plain(value: Any) -> Any:
    """A value as JSON would have it, without places: what two specs are compared by."""
    if isinstance(value, PathRef):
        return value.display
    if isinstance(value, CodeRef):
        return (
            {"callable": value.text, "kwargs": _plain(value.kwargs)} if value.kwargs else value.text
        )
    if is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in fields(value)
            if not _is_place(field.name)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Enum) else value


def _canonical(value: Any) -> str:
    """Text that two plain values share only where they are the same; `1` is not `true`."""
    return json.dumps(value, sort_keys=True, default=str)


def _text(value: Any) -> str:
    """A plain value for people, in one line and cut."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    if not isinstance(value, str):
        value = json.dumps(value, default=str, ensure_ascii=False)
    return printable(value, _LONGEST_VALUE)
