"""Arrow arrays → NumPy arrays, without guessing: nulls, ragged lists and odd types are errors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array
from model_eval.heldout.wording import Rows
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which column of which file is being read, and where its first value is."""

    ref: PathRef
    column: str
    start: int

    def row(self, index: int) -> str:
        """The name of a row of the chunk."""
        return Rows(start=self.start).name(index)

    def error(self, what: str, remedy: str) -> HeldOutError:
        """An error about this column."""
        return HeldOutError(
            f"column {quote(self.column)} of {quote(self.ref.display)} {what}",
            remedy=remedy,
            location=self.ref.location,
        )


def to_numpy(array: Any, place: Place, *, missing: str = "null", per_row: int = 1) -> Array:
    """Decodes one column of a record batch.

    Args:
        array: a `pyarrow.Array` of n values.
        place: for messages.
        missing: what a null is called in this format.
        per_row: how many consecutive values belong to one row (inside of lists).

    Returns:
        [n, ...]: booleans, numbers or (object) text; a list adds an axis.

    Raises:
        HeldOutError: a null, lists of unequal length, or a type that is none of these.
    """
    shape: tuple[int, ...] | None = None
    if isinstance(array, pa.ExtensionArray):
        shape = _tensor_shape(array.type, place)
        array = array.storage
    if array.null_count:
        import pyarrow.compute as pc  # here, because it takes as long to import as a small set to read

        row = int(pc.index(array.is_null(), value=True).as_py()) // per_row
        raise place.error(
            f"is {missing} in {place.row(row)}",
            "give every sample a value, or leave the sample out",
        )
    kind = array.type
    if pa.types.is_dictionary(kind):
        values = to_numpy(array.dictionary, place, missing=missing)
        taken: Array = values[array.indices.to_numpy(zero_copy_only=False)]
        return taken
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        result = _rectangle(array, place, missing, per_row)
        return result if shape is None else result.reshape(len(array), *shape)
    if _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        try:
            decoded: Array = array.to_numpy(zero_copy_only=False)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise place.error("holds text that is not UTF-8", "write it again in UTF-8") from error
        return decoded
    if pa.types.is_floating(kind):
        floats: Array = array.to_numpy(zero_copy_only=False)
        return floats
    raise place.error(
        f"has the type {kind}, which is neither a number nor text nor a list of numbers",
        "convert the column in the file, or read it with `loader:`",
    )


def _rectangle(array: Any, place: Place, missing: str, per_row: int) -> Array:
    lengths = _lengths(array)
    size = int(lengths[0])
    ragged = lengths != size
    if ragged.any():
        other = int(ragged.argmax())
        raise place.error(
            f"has lists of unequal length: {size} in {place.row(0)}, {int(lengths[other])} in "
            f"{place.row(other // per_row)}",
            "pad the lists to one length, or read them with `loader:`",
        )
    if size == 0:
        raise place.error(
            f"is an empty list in {place.row(0)}", "leave the sample out, or repair it"
        )
    inner = to_numpy(_values(array, size), place, missing=missing, per_row=per_row * size)
    return inner.reshape(len(array), size, *inner.shape[1:])


def _lengths(array: Any) -> Array:
    """(n,) whole numbers: of each list; none of them is null."""
    if pa.types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size)
    return np.diff(array.offsets.to_numpy())


def _values(array: Any, size: int) -> Any:
    """The values of lists of one length, none of them null: `flatten` without pyarrow's functions."""
    fixed = pa.types.is_fixed_size_list(array.type)
    first = array.offset * size if fixed else array.offsets[0].as_py()
    return array.values.slice(first, len(array) * size)


def _tensor_shape(kind: Any, place: Place) -> tuple[int, ...]:
    ordered = isinstance(kind, pa.FixedShapeTensorType) and (
        kind.permutation is None or list(kind.permutation) == sorted(kind.permutation)
    )
    if not ordered:
        raise place.error(
            f"has the extension type {kind}", "save plain lists, or read it with `loader:`"
        )
    return tuple(int(size) for size in kind.shape)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def cut(batches: Iterable[Any], start: int, stop: int) -> Iterator[tuple[int, Any]]:
    """The rows [start, stop) of record batches: position of the first row → batch, none empty."""
    at = 0
    for batch in batches:
        if at >= stop:
            return
        first, last = max(start - at, 0), min(stop - at, batch.num_rows)
        if first < last:
            yield at + first, batch.slice(first, last - first)
        at += batch.num_rows


def no_duplicates(names: list[str], ref: PathRef) -> tuple[str, ...]:
    """The column names; raises `HeldOutError` where one occurs twice."""
    for name in names:
        if names.count(name) > 1:
            raise HeldOutError(
                f"{quote(ref.display)} has two columns called {quote(name)}",
                remedy="rename one of them",
                location=ref.location,
            )
    return tuple(names)


def empty_text(values: Array) -> int | None:
    """The first row whose text is empty, or None."""
    empty = values == ""
    return int(np.argmax(empty)) if np.any(empty) else None
