"""When a run is asked whether the rows so far are enough, and what it is asked about."""

import sys
from collections.abc import Callable, Sequence

import numpy as np

from model_eval.engine.chunk import Kept
from model_eval.ledger import Array, Ledger
from model_eval.tasks import Scorer

Enough = Callable[[Ledger], bool]
"""Is given the rows that are new since it was asked last, and ends the run by True."""

Parts = Sequence[dict[str, Array]]
"""Columns of one piece of the set after the other."""


class Looks:
    """Asks after every so many samples exactly, whatever the size of batches is.

    Args:
        enough: what is asked; None where nothing is.
        every: samples between two looks.

    Attributes:
        left: samples until the next look.
    """

    def __init__(self, scorer: Scorer, enough: Enough | None, every: int) -> None:
        self._scorer, self._enough = scorer, enough
        self._every = sys.maxsize if enough is None else every
        self._labels = self._columns = self._rows = 0
        self.left = self._every

    def due(self, rows: int) -> bool:
        """Whether it is time to ask, after so many more samples."""
        self.left -= rows
        if self.left > 0:
            return False
        self.left = self._every
        return True

    def ended(self, labels: Parts, columns: Parts, kept: Kept | None) -> bool:
        """Whether the rows so far are enough.

        Args:
            labels: of every piece of the set so far.
            columns: of the same rows.
            kept: the outputs of the same rows, where the ledger has them.
        """
        if self._enough is None:
            return False
        newest = {**joined(labels[self._labels :]), **joined(columns[self._columns :])}
        outputs = None if kept is None else kept.all()[self._rows :]
        self._labels, self._columns = len(labels), len(columns)
        self._rows += len(newest["id"])
        return self._enough(self._scorer.ledger(newest, outputs))


def joined(parts: Parts) -> dict[str, Array]:
    """The rows of all parts behind one another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
