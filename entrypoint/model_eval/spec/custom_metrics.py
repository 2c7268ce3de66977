"""Metrics that a spec brings: `{name: profit, callable: metrics.py:profit}`, or one of torchmetrics'."""

from collections.abc import Iterable, Sequence
from math import inf

from model_eval.spec.catalog import KNOWN, METRICS, MetricInfo
from model_eval.spec.code import find_code, is_dotted_name
from model_eval.spec.eval_spec import CodeRef, CustomMetric
from model_eval.spec.faults import Faults
from model_eval.spec.paths import Places
from model_eval.spec.source import Node
from model_eval.types import Task
from model_eval.wording import printable

TORCHMETRICS = "torchmetrics."
"""What the names of torchmetrics' metrics begin with."""

_OURS = frozenset({*KNOWN, *METRICS})
_KEYS = ("kwargs", "higher_is_better", "rowwise")


def custom_infos(nodes: Iterable[Node]) -> dict[str, MetricInfo]:
    """What is known, by name, of all metrics that are brought, also of those that are at fault."""
    found = {}
    for node in nodes:
        name = node.get("name") if _is_custom(node) else None
        if name is not None and name.value not in _OURS:
            better = node.get("higher_is_better")
            found[name.value] = custom_info(name.value, better.value if better else None)
    return found


def find_custom(nodes: Sequence[Node], places: Places, faults: Faults) -> tuple[CustomMetric, ...]:
    """The metrics that are brought and sound; faults for the others."""
    found = (_find(node, places, faults) for node in nodes if isinstance(node.value, dict))
    return tuple(metric for metric in found if metric is not None)


def custom_info(name: str, higher_is_better: bool | None) -> MetricInfo:
    """What is known of a metric that a spec brings: nothing but what it says itself."""
    lacking = "the function gave NaN"
    if name.startswith(TORCHMETRICS):
        lacking = "torchmetrics gave NaN, or was given weights that are not whole numbers"
    return MetricInfo(
        name=name,
        tasks=frozenset(Task),
        low=-inf,
        high=inf,
        higher_is_better=higher_is_better,
        undefined_when=lacking,
        summary="brought by the spec",
    )


def _is_custom(node: Node) -> bool:
    if not isinstance(node.value, dict):
        return False
    return "callable" in node.value or str(node.value.get("name")).startswith(TORCHMETRICS)


def _find(node: Node, places: Places, faults: Faults) -> CustomMetric | None:
    name, function = node.get("name"), node.get("callable")
    if name is None:
        return None
    if not _is_custom(node):
        for key in _KEYS:
            if child := node.get(key):
                faults.add(
                    child.key_location,
                    f"`{key}` is only for a metric with a `callable`, or one of torchmetrics'",
                    f"remove `{key}`" if name.value in _OURS else "add `callable:`",
                )
        return None
    shown = printable(name.value)
    if name.value in _OURS:
        faults.add(
            name.location,
            f"`{shown}` is a metric of model-eval's, and not yours",
            "give yours another name, or remove `callable`",
        )
        return None
    code = _code(node, name, function, places, faults)
    given = {key: child.value for key in _KEYS if (child := node.get(key))}
    if code is None:
        return None
    return CustomMetric(
        name=name.value,
        code=code,
        higher_is_better=given.get("higher_is_better"),
        rowwise=given.get("rowwise", False),
    )


def _code(
    node: Node, name: Node, function: Node | None, places: Places, faults: Faults
) -> CodeRef | None:
    kwargs = node.get("kwargs")
    given = kwargs.value if kwargs else {}
    if not name.value.startswith(TORCHMETRICS):
        return find_code(function, places, faults, kwargs=given) if function else None
    shown = printable(name.value)
    if "callable" in node.value:
        faults.add(
            node.child("callable").key_location,
            f"`{shown}` is of torchmetrics and has a `callable`",
            "remove `callable`, or give the metric another name",
        )
        return None
    module, _, attribute = name.value.rpartition(".")
    if not is_dotted_name(name.value):
        faults.add(
            name.location,
            f"`{shown}` is not the name of a class of torchmetrics",
            "write for example `torchmetrics.JaccardIndex`",
        )
        return None
    return CodeRef(
        text=name.value,
        file=None,
        module=module,
        attribute=attribute,
        kwargs=given,
        location=name.location,
    )
