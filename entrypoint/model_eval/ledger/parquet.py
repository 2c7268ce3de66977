"""Ledgers as Parquet files, which people open with their own tools."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from model_eval.errors import EvaluationError, ReportError
from model_eval.ledger.columns import Array
from model_eval.ledger.consistency import require_consistent
from model_eval.ledger.record import Ledger
from model_eval.types import Task

FORMAT_VERSION = 1
MAX_BYTES = 8 * 2**30
"""A file whose columns would take more memory than this is not opened."""

_METADATA_KEY = b"model_eval"
_TEXT = "OU"


def save(ledger: Ledger, path: Path) -> None:
    """Writes a Parquet file; a column with a second axis becomes a fixed-size list.

    Raises:
        EvaluationError: a column of text has something else in it.
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: _to_arrow(name, column) for name, column in ledger.columns.items()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "task": str(ledger.task),
        "classes": list(ledger.classes),
        "outputs": list(ledger.outputs),
        "heldout": ledger.heldout,
        "checkpoint": ledger.checkpoint,
        **({} if ledger.part is None else {"part": dict(ledger.part)}),
    }
    table = pa.table(arrays).replace_schema_metadata({_METADATA_KEY: json.dumps(metadata)})
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def open_ledger(path: Path) -> Ledger:
    """Reads what `save` wrote, and trusts nothing in it that can be checked.

    Raises:
        ReportError: the file is missing, no regular file, damaged, too large, not a ledger of
            ours, or contradicts itself.
    """
    import pyarrow as pa

    try:
        with _open(path) as file:
            ledger = _read(file)
        require_consistent(ledger)
    except (OSError, KeyError, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise ReportError(
            f"`{path}` is not a ledger that can be used: {reason}",
            remedy="make it again with `model-eval run`",
        ) from error
    return ledger


def _open(path: Path) -> IO[bytes]:
    # Opening a FIFO would wait for a writer; a folder would be read as one table of its files.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _read(file: IO[bytes]) -> Ledger:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    schema = parquet.schema_arrow
    metadata = _metadata(schema.metadata or {})
    size = parquet.metadata.num_rows * sum(_width(field) for field in schema)
    if size > MAX_BYTES:
        raise ValueError(f"it needs {size} bytes of memory; at most {MAX_BYTES} are read")
    if len(set(schema.names)) != len(schema.names):
        raise ValueError("two columns have the same name")
    # Repeated text stays as small in memory as it is in the file.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    table = pq.ParquetFile(file, read_dictionary=texts, page_checksum_verification=True).read()
    return Ledger(
        task=Task(metadata["task"]),
        columns={name: _to_numpy(name, table.column(name)) for name in table.column_names},
        classes=_names(metadata["classes"]),
        outputs=_names(metadata["outputs"]),
        heldout=_digest(metadata.get("heldout")),
        checkpoint=_digest(metadata.get("checkpoint")),
        part=_part(metadata.get("part")),
    )


def _metadata(found: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    if _METADATA_KEY not in found:
        raise ValueError("it is a Parquet file of something else")
    metadata = json.loads(found[_METADATA_KEY])
    if not isinstance(metadata, dict) or not {"task", "classes", "outputs"} <= metadata.keys():
        raise ValueError("what it says about itself is incomplete")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"its format is not version {FORMAT_VERSION}")
    return metadata


def _names(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("its classes or outputs are not a list of names")
    return tuple(found)


def _digest(found: Any) -> str | None:
    if found is not None and not isinstance(found, str):
        raise ValueError("what it says about itself is incomplete")
    return found


def _part(found: Any) -> Mapping[str, str | int] | None:
    if found is None:
        return None
    if not isinstance(found, dict) or not all(type(v) in {str, int} for v in found.values()):
        raise ValueError("what it says of the run that it is a part of is no list of facts")
    return found


def _width(field: Any) -> int:
    """Bytes that a value takes in memory; for text, those of its reference.

    Raises:
        ValueError: no column of a ledger has this type.
    """
    import pyarrow as pa

    kind = field.type
    numbers = {pa.int64(), pa.float64(), pa.float32(), pa.bool_()}
    if pa.types.is_fixed_size_list(kind) and kind.value_type in numbers:
        return int(kind.list_size) * 8
    if kind in {*numbers, pa.string()}:
        return 8
    raise ValueError(f"column `{field.name}` is {kind}")


def _to_arrow(name: str, column: Array) -> Any:
    import pyarrow as pa

    if column.dtype.kind in _TEXT:
        # As objects, because a NUL would end the text of a fixed-width array; typed, because
        # no rows have no type of their own.
        try:
            return pa.array(column.astype(object), type=pa.string(), from_pandas=False)
        except (UnicodeError, pa.ArrowException) as error:
            raise EvaluationError(
                f"column `{name}` has a value that is not Unicode text",
                remedy="give every sample an id, cluster and slice that UTF-8 can write",
            ) from error
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _to_numpy(name: str, column: Any) -> Array:
    import pyarrow as pa

    chunks = column.chunks or [pa.array([], type=column.type)]
    return np.concatenate([_chunk_to_numpy(name, chunk) for chunk in chunks])


def _chunk_to_numpy(name: str, chunk: Any) -> Array:
    import pyarrow as pa

    values = chunk
    if pa.types.is_fixed_size_list(chunk.type):
        # Not `flatten`, which loads pyarrow.compute first: a tenth of a second.
        width = chunk.type.list_size
        values = chunk.values.slice(chunk.offset * width, len(chunk) * width)
    if chunk.null_count or values.null_count:
        raise ValueError(f"column `{name}` has missing values")
    if pa.types.is_dictionary(chunk.type):
        words: Array = chunk.dictionary.to_numpy(zero_copy_only=False)
        found: Array = words.take(chunk.indices.to_numpy(zero_copy_only=False))
        return found
    flat: Array = values.to_numpy(zero_copy_only=False)
    return flat if values is chunk else flat.reshape(len(chunk), chunk.type.list_size)
