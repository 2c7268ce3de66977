"""Parquet, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.files import check_expansion
from model_eval.heldout.readers.arrow import Place, no_duplicates, to_numpy
from model_eval.heldout.wording import one_line, quote
from model_eval.spec.eval_spec import PathRef

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


class ParquetReader:
    """One column per top-level field; lists of equal length become further axes."""

    default_id: str | None = None

    def __init__(self, ref: PathRef) -> None:
        self._ref = ref
        with self._open() as file:
            self.columns = no_duplicates(file.schema_arrow.names, ref)
            self.rows: int = file.metadata.num_rows
            unpacked = _unpacked(file.metadata)
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
                except (pa.ArrowException, OSError) as error:
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
            names = pq.read_schema(self._ref.path)
            # Kept as dictionaries, one long text repeated a million times stays one text.
            texts = [f.name for f in names if f.type in (pa.string(), pa.large_string())]
            return pq.ParquetFile(self._ref.path, read_dictionary=texts)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from error

    def _broken(self, error: BaseException) -> HeldOutError:
        return HeldOutError(
            f"{quote(self._ref.display)} cannot be read as Parquet: {one_line(error)}",
            remedy="write or download the file again",
            location=self._ref.location,
        )


def _unpacked(metadata: Any) -> int:
    """Bytes of all decoded values: what dictionary and run-length encoding hide, too."""
    total = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            width = _WIDTHS.get(column.physical_type, 0)
            total += max(column.total_uncompressed_size, column.num_values * width)
    return total
