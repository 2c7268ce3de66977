"""The `metrics` and `gates` sections: names → `MetricRef` and `Gate`, and bounds that mean something."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isinf

from model_eval.spec.catalog import (
    CONFUSION_MATRIX,
    EXPANDING,
    KNOWN,
    METRICS,
    MetricInfo,
    metrics_of,
    narrowed,
)
from model_eval.spec.custom_metrics import TORCHMETRICS
from model_eval.spec.faults import Faults
from model_eval.spec.gate_section import (
    Surroundings,
    can_decide_difference,
    find_bound,
    find_decision,
    find_scope,
)
from model_eval.spec.params import PARAMS, K
from model_eval.spec.schema import wrong_word
from model_eval.spec.source import Node
from model_eval.spec.suggest import did_you_mean
from model_eval.types import Gate, MetricRef, Severity, Task
from model_eval.wording import printable

DEFAULTS: dict[Task, tuple[str, ...]] = {
    Task.BINARY: (
        "accuracy", "precision", "recall", "f1", "auroc", "average_precision", "log_loss",
    ),
    Task.MULTICLASS: (
        "accuracy", "precision_macro", "recall_macro", "f1_macro", "auroc", "log_loss",
    ),
    Task.REGRESSION: ("mse", "rmse", "mae", "r2"),
    Task.MULTILABEL: (
        "exact_match", "hamming_loss", "precision_macro", "recall_macro", "f1_macro",
        "average_precision", "log_loss",
    ),
    Task.SEGMENTATION: ("iou_macro", "dice_macro", "pixel_accuracy"),
    Task.LANGUAGE_MODELING: ("perplexity", "log_loss", "token_accuracy"),
}  # fmt: skip
"""What is reported where a spec has no `metrics`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a metric can be restricted to.

    Attributes:
        classes: names of the classes; None where the spec does not state them.
        named_by_data: True where the held-out set may name classes that the spec does not.
        at_fault: True where the spec is wrong about them, so that nothing can be said here.
        targets: names of a regression's outputs.
        custom: the metrics that the spec brings.
        has_bytes: whether the length of each document in bytes is known.
    """

    task: Task
    classes: tuple[str, ...] | None
    named_by_data: bool
    at_fault: bool
    targets: tuple[str, ...]
    has_bytes: bool = False
    custom: Mapping[str, MetricInfo] = field(default_factory=dict)

    def info(self, name: str) -> MetricInfo:
        """What is known of a metric of the task's, or of one that the spec brings."""
        return self.custom[name] if name in self.custom else METRICS[name]


def find_metrics(
    nodes: Sequence[Node] | None, gates: Sequence[Gate], parts: Parts, faults: Faults
) -> tuple[MetricRef, ...]:
    """What to report: the metrics asked for, or the task's usual ones, then those of the gates."""
    if nodes is None:
        found = {MetricRef(name=name): None for name in DEFAULTS[parts.task]}
    else:
        found = {}
        for item in nodes:
            for ref in _refs(item, parts, faults):
                if ref in found:
                    faults.add(
                        item.location,
                        f"`{printable(ref.label)}` is in `metrics` a second time",
                        "remove one of the two",
                    )
                else:
                    found[ref] = None
    return tuple(dict.fromkeys([*found, *(gate.metric for gate in gates)]))


def find_gates(
    nodes: Sequence[Node], parts: Parts, around: Surroundings, faults: Faults
) -> tuple[Gate, ...]:
    """The gates that are sound by themselves; faults for the others, and for contradictions."""
    found: list[Gate] = []
    for node in nodes:
        gate = _gate(node, parts, around, faults)
        if gate is not None:
            _check_against(found, gate, faults)
            found.append(gate)
    return tuple(found)


def _refs(node: Node, parts: Parts, faults: Faults) -> Iterator[MetricRef]:
    named = node if isinstance(node.value, str) else node.get("name")
    name = named.value if named else ""
    if not _is_of_task(named or node, name, parts, faults):
        return
    if name in EXPANDING or name == CONFUSION_MATRIX:
        for key in ("class", "output", *PARAMS):
            if isinstance(node.value, dict) and (child := node.get(key)):
                faults.add(
                    child.key_location,
                    f"`{name}` is of all classes",
                    f"remove `{key}`",
                )
                return
        if name == CONFUSION_MATRIX:
            yield MetricRef(name=name)
        elif parts.at_fault:
            return
        elif parts.classes is None:
            faults.add(
                node.location,
                f"`{name}` needs the names of the classes",
                "add `heldout.classes`, in the order of the model's outputs",
            )
        else:
            base = name.removesuffix("_per_class")
            yield from (MetricRef(name=base, of_class=one) for one in dict.fromkeys(parts.classes))
        return
    if ref := _restricted(node, named or node, parts.info(name), parts, faults):
        yield ref


def _is_of_task(node: Node, name: str, parts: Parts, faults: Faults) -> bool:
    task, available = parts.task, metrics_of(parts.task)
    if name in available or name in parts.custom:
        return True
    if name.startswith(TORCHMETRICS):
        faults.add(
            node.location,
            f"`{printable(name)}` is not under `metrics`",
            f"add it there, with what it is made with: `{{name: {printable(name)}, kwargs: {{…}}}}`",
        )
        return False
    if name not in KNOWN:
        faults.add(node.location, *wrong_word(node, [*KNOWN, *parts.custom]))
        return False
    faults.add(
        node.location,
        f"the metric `{name}` is not for a {task} task",
        did_you_mean(name, available, otherwise=f"the metrics of a {task} task are"),
    )
    return False


def _restricted(
    node: Node, named: Node, info: MetricInfo, parts: Parts, faults: Faults
) -> MetricRef | None:
    """The metric with its class or output, where it may have or must have one."""
    of_class = node.get("class") if isinstance(node.value, dict) else None
    of_output = node.get("output") if isinstance(node.value, dict) else None
    part = info.part
    if part == "class" and parts.task is Task.BINARY:
        part = None
    sound = True
    for key, child in (("class", of_class), ("output", of_output)):
        if child is not None and part != key:
            faults.add(child.key_location, *_not_restrictable(info, key, parts))
            sound = False
    if part == "class" and info.needs_part and of_class is None:
        known = parts.classes
        averages = f"`{info.name}_macro`" if f"{info.name}_macro" in METRICS else "an average"
        example = printable(known[0]) if known else "NAME"
        faults.add(
            named.location,
            f"`{info.name}` of a {parts.task} task is of one class",
            f"add `class: {example}`, or take {averages}",
        )
        sound = False
    if info.needs_bytes and not (parts.has_bytes or parts.at_fault):
        faults.add(
            named.location,
            f"`{info.name}` needs the length of each document in bytes",
            "add `heldout.bytes`, the column with it",
        )
        sound = False
    params = _params(node, named, info, parts, faults)
    if not sound or params is None:
        return None
    if of_class is not None and not _is_class(of_class, parts, faults):
        return None
    if of_output is not None and not _is_output(of_output, parts, faults):
        return None
    return MetricRef(
        name=info.name,
        of_class=of_class.value if of_class else None,
        of_output=of_output.value if of_output else None,
        params=params,
    )


def _params(
    node: Node, named: Node, info: MetricInfo, parts: Parts, faults: Faults
) -> tuple[tuple[str, float], ...] | None:
    """Those that are not the default, by name; None, and faults, where they are not the metric's."""
    known = {param.name: param for param in info.params}
    given = {key: node.get(key) for key in PARAMS if isinstance(node.value, dict)}
    found: list[tuple[str, float]] = []
    sound = True
    for key, child in given.items():
        if child is None:
            continue
        if key not in known:
            faults.add(child.key_location, f"`{info.name}` has no `{key}`", f"remove `{key}`")
            sound = False
        elif key == K.name and parts.classes is not None and child.value >= len(parts.classes):
            faults.add(
                child.location,
                f"every target is among the first {child.value} of {len(parts.classes)} classes",
                f"write a `{key}` below {len(parts.classes)}",
            )
            sound = False
        elif child.value != known[key].default:
            found.append((key, float(child.value)))
    for param in info.params:
        absent = not isinstance(node.value, dict) or node.lacks(param.name)
        if param.default is None and absent:
            faults.add(
                named.location,
                f"`{info.name}` needs `{param.name}`",
                f"add `{param.name}`, for example `{param.name}: {param.example:g}`",
            )
            sound = False
    return tuple(sorted(found)) if sound else None


def _not_restrictable(info: MetricInfo, key: str, parts: Parts) -> tuple[str, str]:
    if key == "class" and parts.task is Task.BINARY and info.part == "class":
        positive = f" (`{printable(parts.classes[1])}`)" if parts.classes else ""
        return (
            f"`{info.name}` of a binary task is of the positive class{positive}",
            "remove `class`; for another class swap `heldout.classes` and the model's outputs",
        )
    return f"`{info.name}` has no `{key}`", f"remove `{key}`"


def _is_class(node: Node, parts: Parts, faults: Faults) -> bool:
    shown = printable(node.value)
    if parts.at_fault:
        return True
    if parts.classes is not None:
        if node.value in parts.classes:
            return True
        faults.add(
            node.location,
            f"`{shown}` is not in `heldout.classes`",
            did_you_mean(node.value, parts.classes, otherwise="the classes are"),
        )
        return False
    # Without names classes are called by their position: "0", "1", and so on.
    if parts.named_by_data or (node.value.isascii() and node.value.isdigit()):
        return True
    faults.add(
        node.location,
        f"the class `{shown}` cannot be found: the spec does not name the classes",
        "add `heldout.classes`, in the order of the model's outputs",
    )
    return False


def _is_output(node: Node, parts: Parts, faults: Faults) -> bool:
    if parts.at_fault or node.value in parts.targets:
        return True
    faults.add(
        node.location,
        f"`{printable(node.value)}` is not in `heldout.target`",
        did_you_mean(node.value, parts.targets, otherwise="the targets are"),
    )
    return False


def _gate(node: Node, parts: Parts, around: Surroundings, faults: Faults) -> Gate | None:
    named = node.get("metric")
    if named is None:
        return None
    name = named.value
    if name in EXPANDING or name == CONFUSION_MATRIX:
        if _is_of_task(named, name, parts, faults):
            base = name.removesuffix("_per_class")
            remedy = (
                f"gate `{base}` with `class:`, one gate for each class"
                if name in EXPANDING
                else "put it under `metrics`"
            )
            faults.add(named.location, f"`{name}` cannot be gated", remedy)
        return None
    if not _is_of_task(named, name, parts, faults):
        return None
    metric = _restricted(node, named, parts.info(name), parts, faults)
    info = narrowed(parts.info(name), parts.task, dict(metric.params) if metric else {})
    threshold = find_bound(node, info, around, faults)
    scope = find_scope(node, info, around, faults)
    if threshold is None or metric is None or scope is None:
        return None
    bound = str(threshold.path[-1])
    decides = _can_decide if bound in {"min", "max"} else can_decide_difference
    if not decides(info, bound, threshold, faults):
        return None
    decide_on, on_undecided, min_samples = find_decision(node, info, around.decisions)
    return Gate(
        metric=metric,
        bound=bound,
        threshold=float(threshold.value),
        severity=Severity(node.value.get("severity", Severity.REQUIRED)),
        location=node.location,
        heldout=scope.heldout,
        slice=scope.slice,
        slices=scope.slices,
        decide_on=decide_on,
        on_undecided=on_undecided,
        min_samples=min_samples,
        higher_is_better=info.higher_is_better is not False,
    )


def _can_decide(info: MetricInfo, bound: str, node: Node, faults: Faults) -> bool:
    """Whether some value passes the bound and some other fails it."""
    value = node.value
    if not info.low <= value <= info.high:
        percent = (info.low, info.high) == (0, 1) and 1 < value <= 100
        faults.add(
            node.location,
            f"`{bound}: {value}` is outside of what `{info.name}` can be, {_range(info)}",
            f"write {value / 100:g} for {value:g} %" if percent else "write a bound inside it",
        )
        return False
    edge = info.low if bound == "min" else info.high
    if value == edge:
        side = "at least" if bound == "min" else "at most"
        faults.add(
            node.location,
            f"`{bound}: {value}` always passes: `{info.name}` is {side} {edge:g}",
            "write a bound that a bad model would miss",
        )
        return False
    return True


def _range(info: MetricInfo) -> str:
    if isinf(info.low):
        return f"at most {info.high:g}"
    return f"at least {info.low:g}" if info.high == inf else f"{info.low:g} to {info.high:g}"


def _check_against(before: Sequence[Gate], gate: Gate, faults: Faults) -> None:
    for other in before:
        if _of(other) != _of(gate):
            continue
        label = printable(gate.metric.label)
        line = other.location.line if other.location else 0
        if other.bound == gate.bound:
            if other.severity == gate.severity:
                faults.add(
                    gate.location,
                    f"`{label}` has a second {gate.severity} `{gate.bound}`",
                    f"keep one; the first is in line {line}",
                )
                return
            continue
        if {gate.bound, other.bound} != {"min", "max"}:
            continue
        low, high = sorted((gate, other), key=lambda g: g.bound == "max")
        if low.threshold > high.threshold:
            faults.add(
                gate.location,
                f"no value of `{label}` is both at least {low.threshold:g} "
                f"and at most {high.threshold:g}",
                f"correct this gate or the one in line {line}",
            )
            return


def _of(gate: Gate) -> tuple[MetricRef, str, str | None, str | None]:
    return gate.metric, gate.heldout, gate.slice, gate.slices
