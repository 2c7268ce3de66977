"""What the schema cannot say: rules between keys, files that must exist, names that must fit.

What the schema found at fault is left out, so that one slip is reported once and the rest of the
spec is still checked.
"""

from dataclasses import replace

from model_eval.spec.code import find_code
from model_eval.spec.custom_metrics import custom_infos, find_custom
from model_eval.spec.early_stop import check_early_stop
from model_eval.spec.eval_spec import (
    BaselineSpec,
    CheckpointSpec,
    CostSpec,
    EvalSpec,
    GoldenSpec,
    HeldOutSpec,
    ModelSpec,
    PathRef,
    RunSpec,
)
from model_eval.spec.faults import Faults
from model_eval.spec.gate_section import Surroundings, find_decisions
from model_eval.spec.heldout_section import digest, find_golden, find_heldout
from model_eval.spec.metric_refs import Parts, find_gates, find_metrics
from model_eval.spec.paths import Places
from model_eval.spec.source import Node, dotted
from model_eval.types import (
    GOLDEN_HELDOUT,
    MAIN_HELDOUT,
    Gate,
    MetricRef,
    OutputKind,
    Severity,
    Task,
)
from model_eval.wording import printable

# None: whether a segmentation has one shows in the number of its model's output channels.
_THRESHOLDS = {Task.BINARY: 0.5, Task.MULTILABEL: 0.5, Task.SEGMENTATION: None}


def build(
    root: Node, *, places: Places, source: PathRef, sha256: str, size: int
) -> tuple[EvalSpec | None, Faults]:
    """The spec, or None with the faults that prevent it.

    Args:
        root: the parsed file, which knows where the schema found faults.
        places: where paths start and end.
        source: the file.
        sha256: its digest.
        size: its bytes.
    """
    faults = Faults()
    task_node = root.get("task")
    task = Task(task_node.value) if task_node else None
    model = _model(root.section("model"), task, places, faults)
    checkpoint = _checkpoint(root.section("checkpoint"), places, faults)
    heldout_node = root.section("heldout")
    heldout = find_heldout(heldout_node, task, places, faults) if heldout_node else None
    run = _run(root, root.get("run"))
    threshold = _threshold(root.get("threshold"), task, faults)
    custom = find_custom(_items(root, "metrics") or (), places, faults)
    more = _more_heldout(root.section("more_heldout"), task, places, faults)
    golden = _golden(root.get("golden"), places, faults)
    baseline = _baseline(root.get("baseline"), places, faults)
    decisions = find_decisions(root.get("decisions"))
    known = None if heldout is None or more is None else {MAIN_HELDOUT: heldout, **more}
    around = Surroundings(heldouts=known, baseline="baseline" in root.value, decisions=decisions)
    metrics, gates = _metrics_and_gates(root, task, heldout, around, faults)
    if task is not None and run.stop_early:
        check_early_stop(
            root.child("run").child("stop_early"),
            task,
            gates,
            faults,
            heldout=heldout,
            baseline=root.get("baseline"),
        )
    _refuse_loose_kwargs(root, faults)
    complete = not (root.source.unsound or faults.found)
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
            places={
                dotted(path): place
                for path, place in root.source.values.items()
                if path and all(isinstance(key, str) for key in path)
            },
            more_heldout=more or {},
            golden=golden,
            baseline=baseline,
            decisions=decisions,
            held_out_ledger=_held_out_ledger(root.get("held_out_ledger"), places, faults),
            cost=CostSpec(**cost.value) if (cost := root.get("cost")) else CostSpec(),
            control=control.value if (control := root.get("control")) else True,
            custom=custom,
        ),
        faults,
    )


def _items(root: Node, key: str) -> list[Node] | None:
    """The sound items of a list; None where the key is not there."""
    node = root.section(key)
    if node is None:
        return None
    return [item for item in node.entries() if item.is_sound]


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
    if node.lacks("output") and task not in {None, Task.REGRESSION}:
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


def _more_heldout(
    node: Node | None, task: Task | None, places: Places, faults: Faults
) -> dict[str, HeldOutSpec] | None:
    """The further sets; None where one of them has a fault."""
    found: dict[str, HeldOutSpec] = {}
    for child in node.entries() if node else ():
        name = str(child.path[-1])
        if name in {MAIN_HELDOUT, GOLDEN_HELDOUT}:
            faults.add(
                child.key_location,
                f"a held-out set cannot be called `{name}`",
                "give it another name",
            )
        spec = find_heldout(child, task, places, faults)
        if spec is None or not child.is_sound:
            return None
        found[name] = spec
    return found


def _golden(node: Node | None, places: Places, faults: Faults) -> GoldenSpec | None:
    if node is None:
        return None
    heldout = find_golden(node, places, faults)
    if heldout is None:
        return None
    return GoldenSpec(heldout=heldout, tolerance=float(node.value.get("tolerance", 1e-4)))


def _baseline(node: Node | None, places: Places, faults: Faults) -> BaselineSpec | None:
    if node is None:
        return None
    given = [key for key in ("checkpoint", "ledger", "git") if key in node.value]
    if len(given) > 1:
        faults.add(
            node.key_location,
            f"`baseline` has both `{given[0]}` and `{given[1]}`",
            "keep one of them",
        )
        return None
    path, ledger, git = node.get("checkpoint"), node.get("ledger"), node.get("git")
    sha256 = node.get("sha256")
    pin = digest(sha256) if sha256 else None
    if pin is not None and git is not None:
        faults.add(
            node.child("sha256").key_location,
            "`sha256` is given, and a git ref is no file",
            "name a commit in `git`, or remove `sha256`",
        )
    factory_node, kwargs = node.get("factory"), node.get("kwargs")
    state_key = node.get("state_key")
    checkpoint = places.find(path, faults) if path else None
    return BaselineSpec(
        checkpoint=None
        if checkpoint is None
        else CheckpointSpec(
            path=checkpoint, sha256=pin, state_key=state_key.value if state_key else None
        ),
        factory=None
        if factory_node is None
        else find_code(factory_node, places, faults, kwargs=kwargs.value if kwargs else None),
        ledger=places.find(ledger, faults) if ledger else None,
        git=git.value if git else None,
        location=node.key_location,
        sha256=pin,
    )


def _held_out_ledger(node: Node | None, places: Places, faults: Faults) -> PathRef | None:
    """A file that need not be there yet."""
    return None if node is None else replace(places, looked_at=False).find(node, faults)


def _run(root: Node, node: Node | None) -> RunSpec:
    given = node.value if node else {}
    device = node.get("device") if node else None
    size = given.get("batch_size", "auto")
    return RunSpec(
        device=given.get("device", "auto"),
        precision=given.get("precision", "fp32"),
        batch_size=None if size == "auto" else size,
        memory_format=given.get("memory_format", "contiguous"),
        compile=given.get("compile", False),
        seed=given.get("seed", 0),
        device_location=device.location if device else (node or root).key_location,
        stop_early=given.get("stop_early", False),
    )


def _threshold(node: Node | None, task: Task | None, faults: Faults) -> float | None:
    if node is not None and task not in {None, *_THRESHOLDS}:
        faults.add(
            node.key_location,
            f"`threshold` is given, and a {task} task has none",
            "remove it, or write `task: binary`",
        )
    if task not in _THRESHOLDS:
        return None
    return float(node.value) if node else _THRESHOLDS[task]


def _metrics_and_gates(
    root: Node,
    task: Task | None,
    heldout: HeldOutSpec | None,
    around: Surroundings,
    faults: Faults,
) -> tuple[tuple[MetricRef, ...], tuple[Gate, ...]]:
    if task is None:
        return (), ()
    asked = root.section("metrics")
    parts = Parts(
        task=task,
        classes=heldout.classes if heldout else None,
        named_by_data=heldout is not None and heldout.format in {"image_folder", "loader"},
        at_fault=heldout is None or root.get("heldout") is None,
        targets=heldout.targets if heldout else (),
        has_bytes=heldout is not None and heldout.bytes is not None,
        custom=custom_infos(asked.entries()) if asked else {},
    )
    gates = find_gates(_items(root, "gates") or (), parts, around, faults)
    whole = root.get("gates")
    if whole is not None and not any(
        item.value.get("severity") != Severity.ADVISORY for item in whole.entries()
    ):
        faults.add(
            whole.key_location,
            "no gate is required, so nothing could block a bad model",
            "make at least one gate `severity: required`",
        )
    return find_metrics(_items(root, "metrics"), gates, parts, faults), gates


def _refuse_loose_kwargs(root: Node, faults: Faults) -> None:
    """`bias: no` is text, which Python takes for true: in free keyword arguments it is refused."""
    for path, word in root.source.loose.items():
        key = 2 if path[0] in {"metrics", "more_heldout"} else 1  # below an item, or a set's name
        if len(path) > key + 1 and path[key] == "kwargs":
            faults.add(
                root.source.values[path],
                f"`{word}` is text here, and a boolean in older YAML",
                "write `true` or `false`, or put it in quotes for text",
            )
