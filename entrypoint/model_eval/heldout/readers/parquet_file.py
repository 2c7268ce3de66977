"""Parquet, streamed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.files import check_expansion
from model_eval.heldout.readers.arrow import Place, cut, no_duplicates, to_numpy
from model_eval.heldout.readers.base import within
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import one_line
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote

_BUFFER = 1 << 16
"""Bytes that are read ahead of each column."""


class ParquetReader:
    """One column per top-level field; lists of equal length become further axes."""

    default_id: str | None = None

    def __init__(self, ref: PathRef) -> None:
        self._ref = ref
        try:
            with self._open() as file:
                self.columns = no_duplicates(file.schema_arrow.names, ref)
                self.rows: int = file.metadata.num_rows
                unpacked = _unpacked(file)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._broken(error) from error
        check_expansion(ref, unpacked=unpacked, size=ref.path.stat().st_size)
        self.row_bytes = unpacked // max(self.rows, 1)

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`."""
        start, stop = within(self.rows, start, stop)
        with self._open() as file:
            skipped, groups = _groups(file.metadata, start, stop)
            batches = self._batches(file, columns, rows, groups)
            for at, batch in cut(batches, start - skipped, stop - skipped):
                yield {
                    name: to_numpy(
                        batch.column(name),
                        Place(ref=self._ref, column=name, start=skipped + at),
                    )
                    for name in columns
                }

    def _batches(
        self, file: Any, columns: Sequence[str], rows: int, groups: list[int]
    ) -> Iterator[Any]:
        try:
            yield from file.iter_batches(batch_size=rows, columns=list(columns), row_groups=groups)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._broken(error) from error

    def _open(self) -> Any:
        try:
            with self._file() as file:
                names = pq.read_schema(file)
            # Kept as dictionaries, one long text repeated a million times stays one text.
            texts = [f.name for f in names if f.type in (pa.string(), pa.large_string())]
            # Pre-buffered, all row groups stay in memory until the last is read; unbuffered, the
            # whole column of a row group does.
            return pq.ParquetFile(
                self._file(),
                read_dictionary=texts,
                pre_buffer=False,
                buffer_size=_BUFFER,
                page_checksum_verification=True,  # where the file has checksums
            )
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._broken(error) from error

    def _file(self) -> Any:
        # As bytes: a folder's name may be something that UTF-8 cannot write.
        return pa.OSFile(os.fsencode(self._ref.path), "rb")

    def _broken(self, error: BaseException) -> HeldOutError:
        return HeldOutError(
            f"{quote(self._ref.display)} cannot be read as Parquet: {one_line(error)}",
            remedy="write or download the file again",
            location=self._ref.location,
        )


def _groups(metadata: Any, start: int, stop: int) -> tuple[int, list[int]]:
    """The row groups with rows of [start, stop), and how many rows are before them."""
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    ends = list(accumulate(sizes))
    groups = [
        i for i, (size, end) in enumerate(zip(sizes, ends, strict=True))
        if size and end > start and end - size < stop
    ]  # fmt: skip
    return sum(sizes[: groups[0]]) if groups else 0, groups


def _unpacked(file: Any) -> int:
    """About how many bytes all values take when decoded, from the metadata and the first row.

    Run-length encoding hides what `total_byte_size` says. The metadata of single columns would be
    exact, but pyarrow (26.0) ends the process when it is damaged.
    """
    metadata = file.metadata
    encoded: int = sum(
        metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)
    )
    first = next(file.iter_batches(batch_size=1), None)
    plain = (
        [] if first is None else [c for c in first.columns if not pa.types.is_dictionary(c.type)]
    )
    decoded: int = metadata.num_rows * sum(column.nbytes for column in plain)
    return max(encoded, decoded)
