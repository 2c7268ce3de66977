"""Slices are divided on the labels alone, before the model runs: a wrong one is not found at a long run's end."""

from collections.abc import Sequence

import numpy as np

from model_eval.heldout import Labels
from model_eval.ledger import Array
from model_eval.slicing import divide_columns
from model_eval.spec.eval_spec import SliceFamily
from model_eval.types import Task

_CLASSES = (Task.BINARY, Task.MULTICLASS)
_WITHOUT_TARGETS = (Task.SEGMENTATION, Task.LANGUAGE_MODELING)
_PROBABILITIES = {Task.BINARY: (), Task.MULTICLASS: (2,), Task.MULTILABEL: (2,)}
"""How many a sample has; what matters is whether a condition can compare them."""


class SlicesAhead:
    """Takes in the labels of a held-out set, and divides them as its ledger will be.

    Args:
        families: of the set. Without any, nothing is kept.
        task: decides which columns the ledger will have.
    """

    def __init__(self, families: Sequence[SliceFamily], *, task: Task) -> None:
        self._families, self._task = families, task
        compared = any(family.where is not None for family in families)
        self._targets = compared and task not in _WITHOUT_TARGETS
        self._kept: list[dict[str, Array]] = []

    def add(self, labels: Labels) -> None:
        """Takes in the next labels."""
        if not self._families:
            return
        columns = {f"slice:{name}": values for name, values in labels.slices.items()}
        if self._targets:
            columns["target"] = labels.target
        self._kept.append({**columns, "id": labels.ids})

    def check(self, classes: Sequence[str] | None) -> None:
        """Divides them; of a loader, whose labels come with its samples, there are none yet.

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
        if self._targets:
            if self._task in _CLASSES and columns["target"].max() >= len(classes or ()):
                # Nobody has named them, or the model will refuse them.
                indexes, columns["target"] = np.unique(columns["target"], return_inverse=True)
                classes = [str(index) for index in indexes]
            columns |= self._answers(columns["target"])
        divide_columns(columns, self._families, task=self._task, classes=tuple(classes or ()))

    def _answers(self, target: Array) -> dict[str, Array]:
        """Columns as a model would leave them that is right, and certain."""
        answers = {"prediction": target}
        if (probabilities := _PROBABILITIES.get(self._task)) is not None:
            answers["probability"] = np.ones((len(target), *probabilities))
            answers["log_loss"] = np.zeros(len(target))
        return answers
