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

    def chunks(self, columns: Sequence[str], rows: int) -> Iterator[Mapping[str, Column]]:
        """Reads from the first sample to the last; each call starts again.

        Args:
            columns: names among `columns`.
            rows: about how many samples a chunk should have.

        Yields:
            Column → values whose first axis is the sample, of at least one sample. Text is an
            object array of `str`.

        Raises:
            HeldOutError: the file is broken, or a value is missing.
        """
        ...


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
