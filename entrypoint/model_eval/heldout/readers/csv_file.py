"""CSV, streamed; each column's type is found from the whole file.

A column is boolean (`true`/`false`), integer, floating or text. An empty cell is a missing value,
and so is `NA` or `nan` in a column of numbers. Integers with leading zeros, or too large for
64 bits, are text: they are names and not numbers.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.readers.arrow import Place, cut, empty_text, no_duplicates, to_numpy
from model_eval.heldout.readers.base import within
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import one_line
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote

_MISSING = ["", "NA", "N/A", "#N/A", "<NA>", "NULL", "null", "NaN", "nan", "None"]
_TRUE = ["true", "True", "TRUE"]
_FALSE = ["false", "False", "FALSE"]
_BLOCK = 4 << 20
"""Bytes that are parsed at once. pyarrow reads 32 blocks ahead, whatever it is told."""

_LARGEST_ROW = 8 << 20
_RAGGED = re.compile(r"Expected (\d+) columns, got (\d+): ?(.*)")
"""Part of pyarrow's message; some versions put the row's number before it."""

_RANKS = {"none": 0, "integer": 1, "floating": 2, "text": 3}
_TYPES = {
    "none": pa.float64(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "floating": pa.float64(),
    "text": pa.string(),
}


class CsvReader:
    """A comma-separated file with a header, in UTF-8."""

    default_id: str | None = None

    def __init__(self, ref: PathRef) -> None:
        self._ref = ref
        self._block = _BLOCK
        try:
            self._look()
        except HeldOutError:
            if ref.path.stat().st_size <= _BLOCK:
                raise
            # A row that is larger than a block is an error like another.
            self._block = _LARGEST_ROW
            self._look()

    def _look(self) -> None:
        """Reads the whole file: its columns, their types, and how many rows there are."""
        ref = self._ref
        try:
            with self._open({}) as reader:
                self.columns = no_duplicates(reader.schema.names, ref)
        except UnicodeDecodeError as error:
            raise self._broken(error) from error
        self._check_delimiter()
        kinds = dict.fromkeys(self.columns, "none")
        self.rows = 0
        for batch in self._batches(dict.fromkeys(self.columns, pa.string()), None):
            self.rows += batch.num_rows
            for name, kind in kinds.items():
                if kind != "text":
                    kinds[name] = _join(kind, _kind(batch.column(name)))
        self._types = {name: _TYPES[kind] for name, kind in kinds.items()}
        self.row_bytes: int = ref.path.stat().st_size // max(self.rows, 1)

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`. The size of a chunk is that of a block of the file."""
        del rows
        start, stop = within(self.rows, start, stop)
        for at, batch in cut(self._batches(self._types, list(columns)), start, stop):
            yield {name: self._decode(batch.column(name), name, at) for name in columns}

    def _decode(self, array: Any, name: str, start: int) -> Column:
        place = Place(ref=self._ref, column=name, start=start)
        values = to_numpy(array, place, missing="an empty cell or not a number")
        if values.dtype.kind == "O" and (row := empty_text(values)) is not None:
            raise place.error(
                f"is an empty cell in {place.row(row)}",
                "give every sample a value, or leave the sample out",
            )
        return values

    def _batches(self, types: Mapping[str, Any], columns: list[str] | None) -> Iterator[Any]:
        with self._open(types, columns) as reader:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except (pa.ArrowException, OSError) as error:
                    raise self._broken(error) from error
                yield batch

    def _open(self, types: Mapping[str, Any], columns: list[str] | None = None) -> Any:
        try:
            return pyarrow.csv.open_csv(
                # An open file: of a path, the name would decide about decompression.
                pa.OSFile(os.fsencode(self._ref.path), "rb"),
                # With threads, pyarrow reads ahead of a slow reader without a bound.
                read_options=pyarrow.csv.ReadOptions(block_size=self._block, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict(types), include_columns=columns or [],
                    null_values=_MISSING, true_values=_TRUE, false_values=_FALSE,
                    strings_can_be_null=False,
                ),
            )  # fmt: skip
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from error

    def _check_delimiter(self) -> None:
        if len(self.columns) != 1:
            return
        used = next((c for c in (";", "\t", "|") if c in self.columns[0]), None)
        if used is not None:
            shown = "tabs" if used == "\t" else quote(used)
            raise HeldOutError(
                f"{quote(self._ref.display)} is separated by {shown}, not by commas",
                remedy="write it with commas",
                location=self._ref.location,
            )

    def _broken(self, error: BaseException) -> HeldOutError:
        why = one_line(error)
        if ragged := _RAGGED.search(why):
            expected, got, row = ragged.groups()
            why = f"a row has {got} of {expected} columns: {row}"
        return HeldOutError(
            f"{quote(self._ref.display)} cannot be read as CSV: {why}",
            remedy="write it again in UTF-8, with a header, commas and as many fields in each row",
            location=self._ref.location,
        )


def _kind(column: Any) -> str:
    """The narrowest kind that holds every value of a block of text."""
    values = pc.utf8_trim_whitespace(column)
    values = values.filter(pc.invert(pc.is_in(values, pa.array(_MISSING))))
    if len(values) == 0:
        return "none"
    if pc.all(pc.is_in(values, pa.array(_TRUE + _FALSE))).as_py():
        return "boolean"
    if pc.all(pc.match_substring_regex(values, r"^-?[0-9]+$")).as_py():
        if pc.any(pc.match_substring_regex(values, r"^-?0[0-9]")).as_py():
            return "text"
        return "integer" if _casts(values, pa.int64()) else "text"
    if pc.any(pc.match_substring_regex(values, r"^[+-]?0[xX]")).as_py():
        return "text"
    return "floating" if _casts(values, pa.float64()) else "text"


def _casts(values: Any, kind: Any) -> bool:
    try:
        pc.cast(values, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _join(one: str, other: str) -> str:
    """The kind of a column of which one block is `one` and another `other`."""
    if other in {one, "none"}:
        return one
    if one == "none":
        return other
    if "boolean" in (one, other):
        return "text"
    return max(one, other, key=_RANKS.__getitem__)
