"""What every reader offers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.wording import shape_of
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote


class Reader(Protocol):
    """Samples in columns.

    Attributes:
        columns: their names, in the order of the file.
        rows: how many samples there are, without reading them.
        row_bytes: about how much memory one sample takes, to choose the size of chunks.
        default_id: the column that identifies a sample where the spec names none, or None.
    """

    columns: tuple[str, ...]
    rows: int
    row_bytes: int
    default_id: str | None

    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """Reads the samples [start, stop) in order; each call starts again.

        What is before `start` is not decoded where the format allows that: not in CSV and in
        iterables, and in Parquet by whole row groups.

        Args:
            columns: names among `columns`.
            rows: about how many samples a chunk should have.
            start: the first sample, counting from 0.
            stop: the one after the last; None for the end of the set.

        Yields:
            Column → values whose first axis is the sample, of at least one sample. Text is an
            object array of `str`.

        Raises:
            HeldOutError: the file is broken, or a value is missing.
            ValueError: not 0 <= start <= stop <= rows.
        """
        ...


def within(total: int, start: int, stop: int | None) -> tuple[int, int]:
    """The range with its end filled in; raises `ValueError` where it is none of the set's."""
    end = total if stop is None else stop
    if not 0 <= start <= end <= total:
        raise ValueError(f"samples {start} to {end} of {total}")
    return start, end


def pieces(total: int, rows: int, start: int, stop: int | None) -> Iterator[slice]:
    """The samples [start, stop) cut into pieces of `rows`; raises as `within` does."""
    start, end = within(total, start, stop)
    for first in range(start, end, rows):
        yield slice(first, min(first + rows, end))


def common_rows(ref: PathRef, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The length of the first axis that all columns share.

    Raises:
        HeldOutError: there is no column, a column has no axis, or lengths differ.
    """
    if not shapes:
        raise HeldOutError(
            f"{quote(ref.display)} has no columns",
            remedy="save each column under a name",
            location=ref.location,
        )
    for name, shape in shapes.items():
        if not shape:
            raise HeldOutError(
                f"column {quote(name)} of {quote(ref.display)} is a single value",
                remedy="save only arrays whose first axis is the sample",
                location=ref.location,
            )
    first, expected = next(iter(shapes.items()))
    for name, shape in shapes.items():
        if shape[0] != expected[0]:
            raise HeldOutError(
                f"columns of {quote(ref.display)} differ in length: {quote(first)} has the shape "
                f"{shape_of(expected)}, {quote(name)} {shape_of(shape)}",
                remedy="save only arrays whose first axis is the sample",
                location=ref.location,
            )
    return expected[0]
