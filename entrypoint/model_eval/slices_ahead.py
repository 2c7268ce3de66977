"""Slices are divided on the labels alone, before the model runs: a wrong one is not found at a long run's end."""

from collections.abc import Sequence

import numpy as np

from model_eval.heldout import Labels
from model_eval.ledger import Array
from model_eval.slicing import MAX_SLICES, divide_columns
from model_eval.spec.eval_spec import SliceFamily
from model_eval.types import Task

_CLASSES = (Task.BINARY, Task.MULTICLASS)
_WITHOUT_TARGETS = (Task.SEGMENTATION, Task.LANGUAGE_MODELING)

_FIRST = 16
"""Samples, because one can be compared with any number of others."""

_Values = tuple[object, ...]


class SlicesAhead:
    """Takes in the labels of a held-out set, and divides a few of them as its ledger will be.

    Whether bins and conditions can be had hangs on the types and axes of columns, which the first samples
    have; of values one sample each is kept.

    Args:
        families: of the set.
        task: decides which columns the ledger will have.
    """

    def __init__(self, families: Sequence[SliceFamily], *, task: Task) -> None:
        self._families, self._task = families, task
        self._by_values = [one for one in families if one.columns and not one.edges]
        self._seen: list[set[_Values]] = [set() for _ in self._by_values]
        self._kept: list[dict[str, Array]] = []

    def add(self, labels: Labels) -> None:
        """Takes in the next labels."""
        if not self._families or not len(labels):
            return
        rows = set() if self._kept else set(range(min(_FIRST, len(labels))))
        for family, seen in zip(self._by_values, self._seen, strict=True):
            if len(seen) <= MAX_SLICES:
                rows |= _first_rows(labels, family.columns, seen)
        if rows:
            self._kept.append(self._columns(labels, np.array(sorted(rows))))

    def check(self, classes: Sequence[str] | None) -> None:
        """Divides what was kept; of a loader, whose labels come with its samples, that is nothing yet.

        Args:
            classes: of the set, in the order of the indexes; None where they have no names.

        Raises:
            HeldOutError: as in `slicing.divide`.
        """
        if not self._kept:
            return
        columns = {
            name: np.concatenate([one[name] for one in self._kept]) for name in self._kept[0]
        }
        if "target" in columns:
            target = columns["target"]
            if self._task in _CLASSES and target.max() >= len(classes or ()):
                # Nobody has named them, or the model will refuse them.
                indexes, target = np.unique(target, return_inverse=True)
                classes = [str(index) for index in indexes]
            columns |= self._answers(target)
        divide_columns(columns, self._families, task=self._task, classes=tuple(classes or ()))

    def _columns(self, labels: Labels, rows: Array) -> dict[str, Array]:
        columns = {f"slice:{name}": values[rows] for name, values in labels.slices.items()}
        columns["id"] = labels.ids[rows]
        if self._task not in _WITHOUT_TARGETS:
            columns["target"] = labels.target[rows]
        return columns

    def _answers(self, target: Array) -> dict[str, Array]:
        """The ledger's own columns as a model would leave them that is right, and certain."""
        answers = {"target": target, "prediction": target}
        if self._task is Task.REGRESSION:
            return answers
        several = (2,) if self._task is Task.MULTICLASS else target.shape[1:]
        answers["probability"] = np.ones((len(target), *several))
        answers["log_loss"] = np.zeros(len(target))
        return answers


def _first_rows(labels: Labels, columns: Sequence[str], seen: set[_Values]) -> set[int]:
    """Of combinations of values that were not seen yet, a row of each, until there are too many."""
    every = list(zip(*(labels.slices[name].tolist() for name in columns), strict=True))
    new = set(every) - seen
    rows: set[int] = set()
    for row, values in enumerate(every if new else ()):
        if values in new:
            new.remove(values)
            seen.add(values)
            rows.add(row)
        if not new or len(seen) > MAX_SLICES:
            break
    return rows
