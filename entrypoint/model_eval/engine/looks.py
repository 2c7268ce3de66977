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
        self._parts = self._rows = 0
        self.left = self._every

    def ended(self, labels: Parts, columns: Parts, kept: Kept | None) -> bool:
        """Whether it is time to ask, and the answer is that they are enough.

        Args:
            labels: of all pieces so far, the last of which is new.
            columns: as many of them.
            kept: the outputs of all these rows, where the ledger has them.
        """
        self.left -= len(labels[-1]["id"])
        if self._enough is None or self.left > 0:
            return False
        newest = {**joined(labels[self._parts :]), **joined(columns[self._parts :])}
        outputs = None if kept is None else kept.all()[self._rows :]
        self._parts, self.left = len(labels), self._every
        self._rows += len(newest["id"])
        return self._enough(self._scorer.ledger(newest, outputs))


def joined(parts: Parts) -> dict[str, Array]:
    """The rows of all parts behind one another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
