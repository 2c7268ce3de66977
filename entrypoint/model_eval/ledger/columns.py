"""Columns of which some are computed when they are first asked for.

A classifier's probabilities, scores and losses are functions of its outputs: most runs need few of
them, and computing them all takes longer than a small model's forward passes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Deferred:
    """A column that is not computed yet.

    Attributes:
        shape: of the column; its first axis is the sample.
        dtype: of the column.
        make: computes it; it must be of this shape and dtype.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[], Array]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)


class Columns(Mapping[str, Array]):
    """Name → column. A deferred one is computed when it is taken out, once."""

    def __init__(self, columns: Mapping[str, Array | Deferred]) -> None:
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Array:
        column = self._columns[name]
        if isinstance(column, Deferred):
            made = column.make()
            if (made.shape, made.dtype) != (column.shape, column.dtype):
                raise ValueError(f"column `{name}` was promised as {column.dtype}{column.shape}")
            self._columns[name] = column = made
        return column

    def __contains__(self, name: object) -> bool:
        return name in self._columns  # the inherited one would compute it

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def described(self) -> Mapping[str, Array | Deferred]:
        """The columns without computing any: of each the shape and dtype are known."""
        return self._columns

    def at(self, rows: npt.NDArray[np.generic]) -> "Columns":
        """The columns at some rows, a mask or positions; what is deferred stays so."""
        return Columns({name: self._taken(name, rows) for name in self})

    def _taken(self, name: str, rows: npt.NDArray[np.generic]) -> Array | Deferred:
        column = self._columns[name]
        if not isinstance(column, Deferred):
            taken: Array = column[rows]
            return taken
        count = int(np.count_nonzero(rows)) if rows.dtype == bool else len(rows)
        return Deferred(
            shape=(count, *column.shape[1:]), dtype=column.dtype, make=lambda: self[name][rows]
        )


def described(columns: Mapping[str, Array]) -> Mapping[str, Array | Deferred]:
    """Columns whose shapes and dtypes can be looked at without computing one."""
    return columns.described() if isinstance(columns, Columns) else columns
