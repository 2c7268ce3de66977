"""What the `heldout` section says of targets that are pixels or tokens."""

from dataclasses import dataclass

from model_eval.spec.eval_spec import IGNORE_INDEX
from model_eval.spec.faults import Faults
from model_eval.spec.source import Node
from model_eval.types import Task

_TASKS = {
    "ignore_index": (Task.SEGMENTATION, Task.LANGUAGE_MODELING),
    "shift": (Task.LANGUAGE_MODELING,),
    "bytes": (Task.LANGUAGE_MODELING,),
}
"""Key → the tasks that have it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """`HeldOutSpec` says what they are."""

    ignore_index: int
    shift: bool
    bytes: str | None


def find_tokens(node: Node, task: Task | None, faults: Faults) -> Tokens:
    """The keys with their defaults; faults for those that the task does not have."""
    given = {key: child for key in _TASKS if (child := node.get(key)) is not None}
    for key, child in given.items():
        if task is not None and task not in _TASKS[key]:
            faults.add(
                child.key_location,
                f"`heldout.{key}` is given, and a {task} task has none",
                f"remove it; it is for {' and '.join(f'`{one}`' for one in _TASKS[key])}",
            )
    values = {key: child.value for key, child in given.items()}
    return Tokens(
        ignore_index=values.get("ignore_index", IGNORE_INDEX),
        shift=values.get("shift", False),
        bytes=values.get("bytes"),
    )
