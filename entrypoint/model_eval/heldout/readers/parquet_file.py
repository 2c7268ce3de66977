"""Parquet, streamed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.files import check_expansion
from model_eval.heldout.readers.arrow import Place, no_duplicates, to_numpy
from model_eval.heldout.wording import one_line
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote


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

    def chunks(self, columns: Sequence[str], rows: int) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`."""
        start = 0
        with self._open() as file:
            batches = iter(file.iter_batches(batch_size=rows, columns=list(columns)))
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                    raise self._broken(error) from error
                if batch is None:
                    return
                if batch.num_rows:
                    yield {
                        name: to_numpy(
                            batch.column(name),
                            Place(ref=self._ref, column=name, start=start),
                        )
                        for name in columns
                    }
                start += batch.num_rows

    def _open(self) -> Any:
        try:
            with self._file() as file:
                names = pq.read_schema(file)
            # Kept as dictionaries, one long text repeated a million times stays one text.
            texts = [f.name for f in names if f.type in (pa.string(), pa.large_string())]
            return pq.ParquetFile(self._file(), read_dictionary=texts)
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
