"""When a run is asked whether the rows so far are enough, and what it is asked about."""

import sys
from collections.abc import Callable

from model_eval.engine.chunk import Kept
from model_eval.engine.table import Table
from model_eval.ledger import Ledger
from model_eval.tasks import Scorer

Enough = Callable[[Ledger], bool]
"""Is given the rows that are new since it was asked last, and ends the run by True."""


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
        self._rows = 0
        self.left = self._every

    def due(self, rows: int) -> bool:
        """Whether it is time to ask, after so many more samples."""
        self.left -= rows
        if self.left > 0:
            return False
        self.left = self._every
        return True

    def ended(self, table: Table, kept: Kept | None) -> bool:
        """Whether the rows so far are enough.

        Args:
            table: all columns of these rows.
            kept: the outputs of the same rows, where the ledger has them.
        """
        if self._enough is None:
            return False
        outputs = None if kept is None else kept.all()[self._rows :]
        newest = table.since(self._rows)
        self._rows = len(table)
        return self._enough(self._scorer.ledger(newest, outputs))
