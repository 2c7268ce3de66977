"""What the schema cannot say: rules between keys, files that must exist, names that must fit.

Sections in which the schema found a fault are left out, so that one slip is reported once and the
rest of the spec is still checked.
"""

from collections.abc import Sequence

from model_eval.spec.code import find_code
from model_eval.spec.eval_spec import (
    CheckpointSpec,
    EvalSpec,
    GateSpec,
    HeldOutSpec,
    ModelSpec,
    PathRef,
    RunSpec,
)
from model_eval.spec.faults import Faults
from model_eval.spec.files import printable
from model_eval.spec.heldout_section import digest, find_heldout
from model_eval.spec.metric_refs import Parts, find_gates, find_metrics
from model_eval.spec.paths import Places
from model_eval.spec.scalars import looks_boolean
from model_eval.spec.source import Node, Path_
from model_eval.types import MetricRef, OutputKind, Severity, Task

_DEFAULT_THRESHOLD = 0.5


def build(
    root: Node, *, unsound: Sequence[Path_], places: Places, source: PathRef, sha256: str, size: int
) -> tuple[EvalSpec | None, Faults]:
    """The spec, or None with the faults that prevent it.

    Args:
        root: the parsed file.
        unsound: paths where the schema found a fault.
        places: where paths start and end.
        source: the file.
        sha256: its digest.
        size: its bytes.
    """
    faults = Faults()
    sections = _Sections(root, unsound)
    task_node = sections.get("task")
    task = Task(task_node.value) if task_node else None
    model = _model(sections.get("model"), task, places, faults)
    checkpoint = _checkpoint(sections.get("checkpoint"), places, faults)
    heldout_node = sections.get("heldout")
    heldout = find_heldout(heldout_node, task, places, faults) if heldout_node else None
    run = _run(root, sections.get("run"))
    threshold = _threshold(sections.get("threshold"), task, faults)
    metrics, gates = _metrics_and_gates(sections, task, heldout, faults)
    _refuse_loose_kwargs(root, faults)
    complete = not (unsound or faults.found)
    if not complete or not (task and model and checkpoint and heldout):
        return None, faults
    return (
        EvalSpec(
            name=root.value["name"],
            task=task,
            source=source,
            sha256=sha256,
            size=size,
            roots=places.roots,
            model=model,
            checkpoint=checkpoint,
            heldout=heldout,
            run=run,
            threshold=threshold,
            metrics=metrics,
            gates=gates,
        ),
        faults,
    )


class _Sections:
    """The parts of the spec in which the schema found nothing wrong."""

    def __init__(self, root: Node, unsound: Sequence[Path_]) -> None:
        self._root = root
        self._unsound = frozenset(path[: i + 1] for path in unsound for i in range(len(path)))
        self._wrong = frozenset(unsound)

    def get(self, key: str) -> Node | None:
        """A section that is there and sound all through."""
        return None if (key,) in self._unsound else self._root.get(key)

    def items(self, key: str) -> list[Node]:
        """The sound items of a list; nothing where it is no list."""
        node = self._root.get(key)
        if node is None or not isinstance(node.value, list) or (key,) in self._wrong:
            return []
        return [item for item in node.entries() if item.path not in self._unsound]


def _model(
    node: Node | None, task: Task | None, places: Places, faults: Faults
) -> ModelSpec | None:
    if node is None:
        return None
    kwargs, factory_node = node.get("kwargs"), node.get("factory")
    factory = None
    if factory_node is not None:
        factory = find_code(factory_node, places, faults, kwargs=kwargs.value if kwargs else None)
    postprocess = node.get("postprocess")
    code = find_code(postprocess, places, faults) if postprocess else None
    output, field = node.get("output"), node.get("output_field")
    if output is None and task in {Task.BINARY, Task.MULTICLASS}:
        faults.add(
            node.key_location,
            f"`output` is missing in `model`, and a {task} task needs it",
            "add `output: logits` or `output: probabilities`",
        )
    if output is not None and task is Task.REGRESSION:
        faults.add(
            output.key_location,
            "`model.output` is given, and a regression's outputs are the predictions",
            "remove it, or correct `task`",
        )
    if factory is None:
        return None
    return ModelSpec(
        factory=factory,
        output=OutputKind(output.value) if output else None,
        output_field=field.value if field else None,
        postprocess=code,
    )


def _checkpoint(node: Node | None, places: Places, faults: Faults) -> CheckpointSpec | None:
    path_node = node.get("path") if node else None
    if node is None or path_node is None:
        return None
    path = places.find(path_node, faults)
    sha256, state_key = node.get("sha256"), node.get("state_key")
    if state_key is not None and not all(state_key.value.split(".")):
        faults.add(
            state_key.location,
            f"`{printable(state_key.value)}` has an empty key",
            "write keys with one dot between them, for example `ema.state_dict`",
        )
    if path is None:
        return None
    return CheckpointSpec(
        path=path,
        sha256=digest(sha256) if sha256 else None,
        state_key=state_key.value if state_key else None,
    )


def _run(root: Node, node: Node | None) -> RunSpec:
    given = node.value if node else {}
    device = node.get("device") if node else None
    return RunSpec(
        device=given.get("device", "auto"),
        precision=given.get("precision", "fp32"),
        batch_size=given.get("batch_size", 256),
        seed=given.get("seed", 0),
        device_location=device.location if device else (node or root).key_location,
    )


def _threshold(node: Node | None, task: Task | None, faults: Faults) -> float | None:
    if node is not None and task not in {None, Task.BINARY}:
        faults.add(
            node.key_location,
            f"`threshold` is given, and a {task} task has none",
            "remove it, or write `task: binary`",
        )
    if task is not Task.BINARY:
        return None
    return float(node.value) if node else _DEFAULT_THRESHOLD


def _metrics_and_gates(
    sections: _Sections, task: Task | None, heldout: HeldOutSpec | None, faults: Faults
) -> tuple[tuple[MetricRef, ...], tuple[GateSpec, ...]]:
    if task is None:
        return (), ()
    parts = Parts(
        task=task,
        classes=heldout.classes if heldout else None,
        from_data=heldout is None or heldout.format in {"image_folder", "loader"},
        targets=heldout.targets if heldout else (),
    )
    found = Faults() if heldout is None else faults
    gates = tuple(gate for _, gate in find_gates(sections.items("gates"), parts, found))
    whole = sections.get("gates")
    if whole is not None and not any(
        item.value.get("severity") != Severity.ADVISORY for item in whole.entries()
    ):
        faults.add(
            whole.key_location,
            "no gate is required, so nothing could block a bad model",
            "make at least one gate `severity: required`",
        )
    return find_metrics(sections.get("metrics"), gates, parts, found), gates


def _refuse_loose_kwargs(root: Node, faults: Faults) -> None:
    """`bias: no` is text, which Python takes for true: in free keyword arguments it is refused."""
    for path in sorted(root.source.loose, key=str):
        if len(path) < 3 or path[1] != "kwargs":
            continue
        node = _descend(root, path)
        if node is not None and isinstance(node.value, str) and looks_boolean(node.value):
            faults.add(
                node.location,
                f"`{node.value}` is text here, and a boolean in older YAML",
                "write `true` or `false`, or put it in quotes for text",
            )


def _descend(root: Node, path: Path_) -> Node | None:
    node: Node | None = root
    for key in path:
        if node is None:
            return None
        if isinstance(key, int):
            items = list(node.entries())
            node = items[key]
        else:
            node = node.get(key)
    return node
