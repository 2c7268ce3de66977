"""A ledger: columns of equal length, and what is needed to read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_eval.ledger.columns import Array, described
from model_eval.types import Completion, Task

_SLICE = "slice:"

_INTEGER, _FLOAT, _BOOL, _TEXT = "i", "f", "b", "OU"
_ANY_TASK = {"id": (1, _INTEGER + _TEXT), "finite": (1, _BOOL)}
_CLASSES = {"target": (1, _INTEGER), "prediction": (1, _INTEGER), "log_loss": (1, _FLOAT)}
_OPTIONAL: dict[Task, dict[str, tuple[int, str]]] = {
    Task.BINARY: {"score": (1, _FLOAT)},
    Task.MULTICLASS: {"score": (2, _FLOAT)},
    Task.REGRESSION: {},
    Task.MULTILABEL: {"score": (2, _FLOAT)},
    Task.SEGMENTATION: {},
    Task.LANGUAGE_MODELING: {"bytes": (1, _INTEGER)},
}
_REQUIRED = {
    Task.BINARY: {**_ANY_TASK, **_CLASSES, "probability": (1, _FLOAT)},
    Task.MULTICLASS: {**_ANY_TASK, **_CLASSES, "probability": (2, _FLOAT)},
    Task.REGRESSION: {**_ANY_TASK, "target": (2, _FLOAT), "prediction": (2, _FLOAT)},
    Task.MULTILABEL: {
        **_ANY_TASK,
        "target": (2, _BOOL),
        "prediction": (2, _BOOL),
        "probability": (2, _FLOAT),
        "log_loss": (1, _FLOAT),
    },
    Task.SEGMENTATION: {
        **_ANY_TASK,
        "hits": (2, _INTEGER),
        "predicted": (2, _INTEGER),
        "support": (2, _INTEGER),
    },
    Task.LANGUAGE_MODELING: {
        **_ANY_TASK,
        "nll": (1, _FLOAT),
        "tokens": (1, _INTEGER),
        "hits": (1, _INTEGER),
    },
}
"""Number of axes and kinds of dtype of the columns that every ledger of a task has."""

_WIDE = {
    Task.MULTICLASS: ("probability", "score"),
    Task.REGRESSION: ("prediction", "target"),
    Task.MULTILABEL: ("probability", "score", "prediction", "target"),
    Task.SEGMENTATION: ("support", "predicted", "hits"),
}
"""The columns that have a place for each class or output."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ledger:
    """Columns of equal length, and what is needed to read them.

    Attributes:
        task: which columns there are.
        columns: name → array whose first axis is the sample.
        classes: class names in the order of the columns of `probability` (binary: negative,
            positive), or labels; empty for regression and language modelling.
        outputs: names of a regression's outputs; empty for every other task.
        heldout: the digest of the held-out set; None where it is not known.
        checkpoint: the digest of the checkpoint's files; None where it is not known.
        part: which samples of a run in parts these are, and what else must be the same in all of
            its parts; None of a whole run.

    Raises:
        ValueError: a column is missing, unknown, or of another shape or dtype than the task's.
    """

    task: Task
    columns: Mapping[str, Array]
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    heldout: str | None = None
    checkpoint: str | None = None
    part: Mapping[str, str | int] | None = None

    def __post_init__(self) -> None:
        _require_columns(self.task, self.columns)
        for name, column in described(self.columns).items():
            if len(column) != len(self):
                raise ValueError(f"column `{name}` has {len(column)} rows, and `id` {len(self)}")
        _require_names(self)

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    @property
    def distinct(self) -> int:
        """How many different ids the rows have."""
        ids = self["id"]
        if ids.dtype.kind != "i":
            return len(set(ids.tolist()))
        # `np.unique` hashes integers: a hundred times the time of seeing that they rise.
        if len(ids) and not (ids[1:] > ids[:-1]).all():
            ids = np.sort(ids)
        return int(np.count_nonzero(ids[1:] != ids[:-1])) + bool(len(ids))

    @property
    def finite(self) -> int:
        """How many rows have finite model outputs."""
        return int(np.count_nonzero(self["finite"]))

    def completion(self, expected: int) -> Completion:
        """The proof that each of the expected samples is there once."""
        return Completion(
            expected=expected, rows=len(self), distinct=self.distinct, finite=self.finite
        )

    @property
    def uncounted(self) -> int:
        """How many rows are of no pixel or token that counts, and so have no say in metrics."""
        column = {Task.SEGMENTATION: "support", Task.LANGUAGE_MODELING: "tokens"}.get(self.task)
        if column is None:
            return 0
        counted = self[column] > 0
        rows = counted if counted.ndim == 1 else counted.any(axis=1)
        return len(self) - int(np.count_nonzero(rows))


def concatenate(ledgers: Sequence[Ledger]) -> Ledger:
    """Puts the rows of several ledgers of one run behind one another.

    Raises:
        ValueError: there is no ledger, or they differ in task, classes, outputs, columns or in
            a column's kind (as numbers and text they would be the same ids, and are not).
    """
    if not ledgers:
        raise ValueError("no ledgers to concatenate")
    first = ledgers[0]
    for other in ledgers[1:]:
        same = (other.task, other.classes, other.outputs, other.columns.keys()) == (
            first.task,
            first.classes,
            first.outputs,
            first.columns.keys(),
        ) and _kinds(other) == _kinds(first)
        if not same:
            raise ValueError("ledgers of different runs cannot be concatenated")
    columns = {name: np.concatenate([ledger[name] for ledger in ledgers]) for name in first.columns}
    return Ledger(task=first.task, columns=columns, classes=first.classes, outputs=first.outputs)


def _require_columns(task: Task, columns: Mapping[str, Array]) -> None:
    required = _REQUIRED[task]
    if missing := required.keys() - columns.keys():
        raise ValueError(f"a {task} ledger lacks the column `{min(missing)}`")
    for name, column in described(columns).items():
        if name in required:
            axes, kinds = required[name]
        elif name in _OPTIONAL[task]:
            axes, kinds = _OPTIONAL[task][name]
        elif name == "weight":
            axes, kinds = 1, _FLOAT
        elif name == "cluster" or name.startswith(_SLICE):
            axes, kinds = 1, _INTEGER + _FLOAT + _TEXT
        else:
            raise ValueError(f"a {task} ledger has no column `{name}`")
        if column.ndim != axes or column.dtype.kind not in kinds:
            raise ValueError(
                f"column `{name}` of a {task} ledger is {column.dtype} with {column.ndim} axes"
            )


def _require_names(ledger: Ledger) -> None:
    names = ledger.outputs if ledger.task is Task.REGRESSION else ledger.classes
    others = ledger.classes if ledger.task is Task.REGRESSION else ledger.outputs
    wide = _WIDE.get(ledger.task, ())
    columns = described(ledger.columns)
    width = columns[wide[0]].shape[1] if wide else {Task.BINARY: 2}.get(ledger.task, 0)
    if len(set(names)) != width or len(names) != width or others:
        raise ValueError(f"a {ledger.task} ledger needs {width} different names, and has {names}")
    if ledger.task is Task.REGRESSION and columns["target"].shape[1] != width:
        raise ValueError(f"{columns['target'].shape[1]} targets are not {width} predictions")
    for column in wide:
        if column in columns and columns[column].shape != columns[wide[0]].shape:
            raise ValueError(f"column `{column}` has another shape than `{wide[0]}`")


def _kinds(ledger: Ledger) -> dict[str, str]:
    columns = described(ledger.columns)
    return {name: column.dtype.kind.replace("U", "O") for name, column in columns.items()}
