"""What a gate says beside its metric: which bound, on which samples, and what of the evidence decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from model_eval.spec.catalog import COST, SAMPLED_COST, MetricInfo
from model_eval.spec.eval_spec import Decisions, HeldOutSpec, SliceFamily
from model_eval.spec.faults import Faults
from model_eval.spec.slice_families import value_label
from model_eval.spec.source import Node
from model_eval.spec.suggest import did_you_mean
from model_eval.types import BOUNDS, MAIN_HELDOUT, OF_DIFFERENCE, DecideOn, OnUndecided
from model_eval.wording import printable


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What the rest of the spec has that gates may name.

    Attributes:
        heldouts: the sets by name; None where the spec is wrong about them.
        baseline: True where there is one, or where the spec is wrong about it.
    """

    heldouts: Mapping[str, HeldOutSpec] | None = None
    baseline: bool = False
    decisions: Decisions = field(default_factory=Decisions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """The samples that a gate is of."""

    heldout: str
    slice: str | None
    slices: str | None


def find_bound(node: Node, info: MetricInfo, around: Surroundings, faults: Faults) -> Node | None:
    """The one bound of a gate; None, and a fault, where there are several or it cannot be."""
    given = [key for key in BOUNDS if key in node.value]
    if len(given) > 1:
        if set(given) != {"min", "max"}:  # which the schema has said already
            faults.add(
                node.location,
                f"`{node.name}` has both `{given[0]}` and `{given[1]}`",
                "write two gates",
            )
        return None
    bound = node.get(given[0]) if given else None
    if bound is None or given[0] in {"min", "max"}:
        return bound
    if info.name in COST:
        faults.add(
            bound.key_location,
            f"`{given[0]}` is given, and `{info.name}` is of the model alone",
            "write `min` or `max`",
        )
        return None
    if given[0] not in OF_DIFFERENCE:
        return bound
    if not around.baseline:
        faults.add(
            bound.key_location,
            f"`{given[0]}` is given, and there is no baseline",
            "add `baseline: {checkpoint: …}`, or write `min` or `max`",
        )
        return None
    if info.higher_is_better is None:
        faults.add(
            bound.key_location,
            f"`{given[0]}` is given, and whether more of `{printable(info.name)}` is better is unknown",
            "say `higher_is_better: true` or `false` where it is brought, under `metrics`",
        )
        return None
    wrong = "drop" if not info.higher_is_better else "rise"
    if given[0].endswith(wrong):
        right = (
            given[0].replace("drop", "rise")
            if wrong == "drop"
            else given[0].replace("rise", "drop")
        )
        more = "less" if wrong == "drop" else "more"
        faults.add(
            bound.key_location,
            f"`{given[0]}` is given, and {more} of `{info.name}` is better",
            f"write `{right}`",
        )
        return None
    return bound


def find_scope(node: Node, info: MetricInfo, around: Surroundings, faults: Faults) -> Scope | None:
    """The held-out set and the slices of a gate; None, and a fault, where there are none such."""
    if info.name in COST:
        for key in ("heldout", "slice", "slices"):
            if key in node.value:
                faults.add(
                    node.child(key).key_location,
                    f"`{key}` is given, and `{info.name}` is of the model alone",
                    f"remove `{key}`",
                )
                return None
    heldout = node.value.get("heldout", MAIN_HELDOUT)
    if around.heldouts is None:
        return Scope(heldout=heldout, slice=None, slices=None)
    of = around.heldouts.get(heldout)
    if of is None:
        faults.add(
            node.child("heldout").location,
            f"there is no held-out set `{printable(heldout)}`",
            did_you_mean(heldout, around.heldouts, otherwise="the sets are"),
        )
        return None
    part, family = node.get("slice"), node.get("slices")
    found = [f for f in of.families if family is not None and f.name == family.value]
    if family is not None and not found:
        faults.add(
            family.location,
            f"`{printable(family.value)}` does not divide the held-out set",
            did_you_mean(
                family.value,
                [f.name for f in of.families],
                otherwise="add it to `heldout.slices`; there are",
            ),
        )
        return None
    if family is not None and "max_gap" in node.value and found[0].where is not None:
        faults.add(
            node.child("max_gap").key_location,
            f"`max_gap` is given, and the condition `{printable(family.value)}` is one slice",
            "write `slice` in place of `slices`, with `min` or `max`",
        )
        return None
    label = None if part is None else _label(part, of.families, faults)
    if part is not None and label is None:
        return None
    return Scope(heldout=heldout, slice=label, slices=family.value if family else None)


def can_decide_difference(info: MetricInfo, bound: str, node: Node, faults: Faults) -> bool:
    """Whether some difference of two values passes the bound and some other fails it."""
    value = node.value
    if "relative" in bound:
        widest = 1.0 if info.low >= 0 and bound.endswith("drop") else inf
        span = "a value that is never below 0 drops by at most all of itself"
    else:
        widest = info.high - info.low
        span = f"two values of `{info.name}` are at most {widest:g} apart"
    if bound == "min_gain" and value > widest:
        faults.add(node.location, f"`{bound}: {value}` never passes: {span}", "write less")
        return False
    if bound != "min_gain" and value >= widest:
        faults.add(
            node.location,
            f"`{bound}: {value}` always passes: {span}",
            "write a bound that a bad model would miss",
        )
        return False
    return True


def find_decision(
    node: Node, info: MetricInfo, decisions: Decisions
) -> tuple[DecideOn, OnUndecided, int]:
    """What of the evidence decides a gate: of a cost that is counted once, its value."""
    given = node.value
    decide_on, least = decisions.decide_on, decisions.min_samples
    if info.name in COST:
        least = 1
        decide_on = decide_on if info.name in SAMPLED_COST else DecideOn.POINT
    return (
        DecideOn(given.get("decide_on", decide_on)),
        OnUndecided(given.get("on_undecided", decisions.on_undecided)),
        given.get("min_samples", least),
    )


def find_decisions(node: Node | None) -> Decisions:
    """The section with its defaults."""
    given = node.value if node else {}
    default = Decisions()
    return Decisions(
        decide_on=DecideOn(given.get("decide_on", default.decide_on)),
        on_undecided=OnUndecided(given.get("on_undecided", default.on_undecided)),
        min_samples=given.get("min_samples", default.min_samples),
        confidence=given.get("confidence", default.confidence),
        refuse_underpowered=given.get("on_underpowered", "refuse") == "refuse",
    )


def _label(part: Node, families: tuple[SliceFamily, ...], faults: Faults) -> str | None:
    if isinstance(part.value, str):
        labels = [label for family in families for label in family.labels]
        if part.value in labels:
            return str(part.value)
        faults.add(
            part.location,
            f"there is no slice `{printable(part.value)}`",
            did_you_mean(
                part.value,
                labels,
                otherwise="write `slice: {COLUMN: VALUE}`, or name a condition or bin of `heldout.slices`",
            ),
        )
        return None
    wanted = set(part.value)
    for family in families:
        if set(family.columns) == wanted and not family.edges:
            return ", ".join(value_label(name, part.value[name]) for name in family.columns)
    shown = ", ".join(f"`{printable(name)}`" for name in part.value)
    single = f"[{', '.join(part.value)}]"
    faults.add(
        part.location,
        f"the held-out set is not divided by {shown}",
        f"add `{single[1:-1] if len(wanted) == 1 else f'{{columns: {single}}}'}` to `heldout.slices`",
    )
    return None
