"""The ledger: one row for each held-out sample; everything after is a function of it.

| column          | dtype            | binary | multiclass | regression |
|-----------------|------------------|--------|------------|------------|
| `id`            | int64 or str     | yes    | yes        | yes        |
| `finite`        | bool             | yes    | yes        | yes        |
| `target`        | int64 / float64  | [N]    | [N]        | [N, K]     |
| `prediction`    | int64 / float64  | [N]    | [N]        | [N, K]     |
| `probability`   | float64 / float32| [N]    | [N, C]     |            |
| `log_loss`      | float64          | [N]    | [N]        |            |
| `cluster`       | int64 or str     | if the spec names it |||
| `slice:<name>`  | int64/float64/str| if the spec names it |||

`finite` is False for a row whose model output held NaN or an infinity that makes its
prediction meaningless; its other numbers must not be used, and metrics refuse to.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.errors import ReportError
from model_eval.types import Task

Array = npt.NDArray[Any]

FORMAT_VERSION = 1
_METADATA_KEY = b"model_eval"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ledger:
    """Columns of equal length, and what is needed to read them.

    Attributes:
        task: which columns there are.
        columns: name → array whose first axis is the sample.
        classes: class names in the order of the columns of `probability` (binary: negative,
            positive); empty for regression.
        outputs: names of a regression's outputs; empty for classification.
    """

    task: Task
    columns: Mapping[str, Array]
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of a ledger differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    @property
    def distinct(self) -> int:
        """How many different ids the rows have."""
        return len(np.unique(self["id"]))

    @property
    def finite(self) -> int:
        """How many rows have finite model outputs."""
        return int(np.count_nonzero(self["finite"]))


def concatenate(ledgers: Sequence[Ledger]) -> Ledger:
    """Puts the rows of several ledgers of one run behind one another.

    Raises:
        ValueError: there is no ledger, or they differ in task, classes, outputs or columns.
    """
    if not ledgers:
        raise ValueError("no ledgers to concatenate")
    first = ledgers[0]
    for other in ledgers[1:]:
        same = (other.task, other.classes, other.outputs, other.columns.keys()) == (
            first.task,
            first.classes,
            first.outputs,
            first.columns.keys(),
        )
        if not same:
            raise ValueError("ledgers of different runs cannot be concatenated")
    columns = {name: np.concatenate([ledger[name] for ledger in ledgers]) for name in first.columns}
    return Ledger(task=first.task, columns=columns, classes=first.classes, outputs=first.outputs)


def save(ledger: Ledger, path: Path) -> None:
    """Writes a Parquet file; a column with a second axis becomes a fixed-size list."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: _to_arrow(column) for name, column in ledger.columns.items()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "task": str(ledger.task),
        "classes": list(ledger.classes),
        "outputs": list(ledger.outputs),
    }
    table = pa.table(arrays).replace_schema_metadata({_METADATA_KEY: json.dumps(metadata)})
    pq.write_table(table, path, compression="zstd")


def open_ledger(path: Path) -> Ledger:
    """Reads what `save` wrote.

    Raises:
        ReportError: the file is missing, is no Parquet, or is not a ledger of ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        metadata = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        if metadata["format_version"] != FORMAT_VERSION:
            raise ReportError(f"`{path}` is a ledger of format {metadata['format_version']}")
        return Ledger(
            task=Task(metadata["task"]),
            columns={name: _to_numpy(table.column(name)) for name in table.column_names},
            classes=tuple(metadata["classes"]),
            outputs=tuple(metadata["outputs"]),
        )
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise ReportError(f"`{path}` is not a ledger: {type(error).__name__}") from error


def _to_arrow(column: Array) -> Any:
    import pyarrow as pa

    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _to_numpy(column: Any) -> Array:
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_fixed_size_list(array.type):
        flat: Array = array.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(-1, array.type.list_size)
    result: Array = array.to_numpy(zero_copy_only=False)
    return result
