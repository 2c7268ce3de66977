"""The ledger's columns while they grow, in memory that is taken once."""

from collections.abc import Mapping

import numpy as np

from model_eval.ledger import Array


class Table:
    """Rows that are added piece by piece.

    A list of small arrays, joined at the end, would hold them twice, and between them holes of what
    was read meanwhile.

    Args:
        rows: how many there will be, where it is known.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._columns: dict[str, Array] = {}
        self._used: dict[str, int] = {}

    def __len__(self) -> int:
        """How many rows every column has."""
        return min(self._used.values(), default=0)

    def add(self, columns: Mapping[str, Array]) -> None:
        """Adds rows to some columns; the others' may follow."""
        for name, values in columns.items():
            start = self._used.get(name, 0)
            stop = start + len(values)
            self._room(name, values, start, stop)[start:stop] = values
            self._used[name] = stop

    def since(self, start: int) -> dict[str, Array]:
        """The rows from one on, which must be there in every column."""
        if len(set(self._used.values())) > 1:
            raise ValueError(f"columns of different length: {self._used}")
        return {name: column[start : self._used[name]] for name, column in self._columns.items()}

    def _room(self, name: str, values: Array, start: int, stop: int) -> Array:
        """The column's memory, which is as long and of the dtype that the values need."""
        column = self._columns.get(name)
        if column is None:
            column = np.empty((max(self._rows, stop), *values.shape[1:]), dtype=values.dtype)
        elif stop > len(column) or column.dtype != values.dtype:
            kind = np.promote_types(column.dtype, values.dtype)
            length = len(column) if stop <= len(column) else max(2 * start, stop)
            larger = np.empty((length, *column.shape[1:]), dtype=kind)
            larger[:start] = column[:start]
            column = larger
        self._columns[name] = column
        return column
