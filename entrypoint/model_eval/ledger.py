"""The ledger: one row for each held-out sample; everything after is a function of it.

| column          | dtype                | binary | multiclass | regression | multilabel |
|-----------------|----------------------|--------|------------|------------|------------|
| `id`            | int64 or str         | yes    | yes        | yes        | yes        |
| `finite`        | bool                 | yes    | yes        | yes        | yes        |
| `target`        | int64/float64/bool   | [N]    | [N]        | [N, K]     | [N, L]     |
| `prediction`    | int64/float64/bool   | [N]    | [N]        | [N, K]     | [N, L]     |
| `probability`   | float64 / float32    | [N]    | [N, C]     |            | [N, L]     |
| `score`         | float64 / float32    | [N]    | [N, C]     |            | [N, L]     |
| `log_loss`      | float64              | [N]    | [N]        |            | [N]        |
| `cluster`       | int64/float64/str    | if the spec names it ||||
| `weight`        | float64              | if the spec names it ||||
| `slice:<name>`  | int64/float64/str    | if the spec names it ||||

Segmentation and language modelling keep what their pixels and tokens add up to, in addition to
`id`, `finite`, `cluster` and slices:

| column          | dtype            | segmentation: pixels of each class, of an image         |
|-----------------|------------------|---------------------------------------------------------|
| `hits`          | int64 [N, C]     | of the class and predicted as it                        |
| `predicted`     | int64 [N, C]     | predicted as it                                         |
| `support`       | int64 [N, C]     | of the class                                            |

| column          | dtype            | language_modeling: of a document                        |
|-----------------|------------------|---------------------------------------------------------|
| `nll`           | float64 [N]      | sum over tokens of -ln(probability of the target)       |
| `tokens`        | int64 [N]        | how many are counted                                    |
| `hits`          | int64 [N]        | how many of them were predicted                         |
| `bytes`         | int64 [N]        | its length, if the spec names it                        |

`score` is what rankings order by, where the model gives logits: the log-odds of the positive
class or of each label, or the log-probability of each class. Probabilities near 1 run together
long before these do. Without the column rankings order by `probability`.

`finite` is False for a row whose model output held NaN or an infinity that makes its
prediction meaningless; its other numbers must not be used, and metrics refuse to.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from model_eval.errors import EvaluationError, ReportError
from model_eval.types import Task

Array = npt.NDArray[Any]

FORMAT_VERSION = 1
MAX_BYTES = 8 * 2**30
"""A file whose columns would take more memory than this is not opened."""

_METADATA_KEY = b"model_eval"
_SLICE = "slice:"

_INTEGER, _FLOAT, _BOOL, _TEXT = "i", "f", "b", "OU"
_ANY_TASK = {"id": (1, _INTEGER + _TEXT), "finite": (1, _BOOL)}
_CLASSES = {"target": (1, _INTEGER), "prediction": (1, _INTEGER), "log_loss": (1, _FLOAT)}
_OPTIONAL: dict[Task, dict[str, tuple[int, str]]] = {
    Task.BINARY: {"score": (1, _FLOAT)},
    Task.MULTICLASS: {"score": (2, _FLOAT)},
    Task.REGRESSION: {},
    Task.MULTILABEL: {"score": (2, _FLOAT)},
    Task.SEGMENTATION: {},
    Task.LANGUAGE_MODELING: {"bytes": (1, _INTEGER)},
}
_REQUIRED = {
    Task.BINARY: {**_ANY_TASK, **_CLASSES, "probability": (1, _FLOAT)},
    Task.MULTICLASS: {**_ANY_TASK, **_CLASSES, "probability": (2, _FLOAT)},
    Task.REGRESSION: {**_ANY_TASK, "target": (2, _FLOAT), "prediction": (2, _FLOAT)},
    Task.MULTILABEL: {
        **_ANY_TASK,
        "target": (2, _BOOL),
        "prediction": (2, _BOOL),
        "probability": (2, _FLOAT),
        "log_loss": (1, _FLOAT),
    },
    Task.SEGMENTATION: {
        **_ANY_TASK,
        "hits": (2, _INTEGER),
        "predicted": (2, _INTEGER),
        "support": (2, _INTEGER),
    },
    Task.LANGUAGE_MODELING: {
        **_ANY_TASK,
        "nll": (1, _FLOAT),
        "tokens": (1, _INTEGER),
        "hits": (1, _INTEGER),
    },
}
"""Number of axes and kinds of dtype of the columns that every ledger of a task has."""

_WIDE = {
    Task.MULTICLASS: ("probability", "score"),
    Task.REGRESSION: ("prediction", "target"),
    Task.MULTILABEL: ("probability", "score", "prediction", "target"),
    Task.SEGMENTATION: ("support", "predicted", "hits"),
}
"""The columns that have a place for each class or output."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ledger:
    """Columns of equal length, and what is needed to read them.

    Attributes:
        task: which columns there are.
        columns: name → array whose first axis is the sample.
        classes: class names in the order of the columns of `probability` (binary: negative,
            positive), or labels; empty for regression and language modelling.
        outputs: names of a regression's outputs; empty for every other task.
        heldout: the digest of the held-out set; None where it is not known.
        checkpoint: the digest of the checkpoint's files; None where it is not known.

    Raises:
        ValueError: a column is missing, unknown, or of another shape or dtype than the task's.
    """

    task: Task
    columns: Mapping[str, Array]
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    heldout: str | None = None
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        _require_columns(self.task, self.columns)
        for name, column in self.columns.items():
            if len(column) != len(self):
                raise ValueError(f"column `{name}` has {len(column)} rows, and `id` {len(self)}")
        _require_names(self)

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

    @property
    def uncounted(self) -> int:
        """How many rows are of no pixel or token that counts, and so have no say in metrics."""
        column = {Task.SEGMENTATION: "support", Task.LANGUAGE_MODELING: "tokens"}.get(self.task)
        if column is None:
            return 0
        counted = self[column] > 0
        rows = counted if counted.ndim == 1 else counted.any(axis=1)
        return len(self) - int(np.count_nonzero(rows))


def concatenate(ledgers: Sequence[Ledger]) -> Ledger:
    """Puts the rows of several ledgers of one run behind one another.

    Raises:
        ValueError: there is no ledger, or they differ in task, classes, outputs, columns or in
            a column's kind (as numbers and text they would be the same ids, and are not).
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
        ) and _kinds(other) == _kinds(first)
        if not same:
            raise ValueError("ledgers of different runs cannot be concatenated")
    columns = {name: np.concatenate([ledger[name] for ledger in ledgers]) for name in first.columns}
    return Ledger(task=first.task, columns=columns, classes=first.classes, outputs=first.outputs)


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
        _require_consistent(ledger)
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


def _require_columns(task: Task, columns: Mapping[str, Array]) -> None:
    required = _REQUIRED[task]
    if missing := required.keys() - columns.keys():
        raise ValueError(f"a {task} ledger lacks the column `{min(missing)}`")
    for name, column in columns.items():
        if name in required:
            axes, kinds = required[name]
        elif name in _OPTIONAL[task]:
            axes, kinds = _OPTIONAL[task][name]
        elif name == "weight":
            axes, kinds = 1, _FLOAT
        elif name == "cluster" or name.startswith(_SLICE):
            axes, kinds = 1, _INTEGER + _FLOAT + _TEXT
        else:
            raise ValueError(f"a {task} ledger has no column `{name}`")
        if column.ndim != axes or column.dtype.kind not in kinds:
            raise ValueError(
                f"column `{name}` of a {task} ledger is {column.dtype} with {column.ndim} axes"
            )


def _require_names(ledger: Ledger) -> None:
    names = ledger.outputs if ledger.task is Task.REGRESSION else ledger.classes
    others = ledger.classes if ledger.task is Task.REGRESSION else ledger.outputs
    wide = _WIDE.get(ledger.task, ())
    width = ledger[wide[0]].shape[1] if wide else {Task.BINARY: 2}.get(ledger.task, 0)
    if len(set(names)) != width or len(names) != width or others:
        raise ValueError(f"a {ledger.task} ledger needs {width} different names, and has {names}")
    if ledger.task is Task.REGRESSION and ledger["target"].shape[1] != width:
        raise ValueError(f"{ledger['target'].shape[1]} targets are not {width} predictions")
    for column in wide:
        if column in ledger.columns and ledger[column].shape != ledger[wide[0]].shape:
            raise ValueError(f"column `{column}` has another shape than `{wide[0]}`")


def _require_consistent(ledger: Ledger) -> None:
    """Refuses numbers that no evaluation writes, which metrics would take at their word."""
    finite = ledger["finite"]
    if "weight" in ledger.columns and not (
        np.isfinite(ledger["weight"]).all() and ledger["weight"].min(initial=0) >= 0
    ):
        raise ValueError("column `weight` has numbers that are negative or not finite")
    if ledger.task is Task.REGRESSION:
        if not np.isfinite(ledger["target"]).all():
            raise ValueError("column `target` has numbers that are not finite")
        if not np.isfinite(ledger["prediction"][finite]).all():
            raise ValueError("column `prediction` is not finite in a row that is called finite")
        return
    if ledger.task is Task.SEGMENTATION:
        _require_counts(ledger, parts=("hits",), wholes=("predicted", "support"))
        if (ledger["predicted"].sum(axis=1) != ledger["support"].sum(axis=1)).any():
            raise ValueError("columns `predicted` and `support` do not count the same pixels")
        return
    if ledger.task is Task.LANGUAGE_MODELING:
        _require_counts(ledger, parts=("hits", "bytes"), wholes=("tokens",))
        if not (ledger["nll"][finite] >= 0).all():
            raise ValueError("column `nll` is NaN or below 0 in a row that is called finite")
        return
    size = len(ledger.classes)
    for name in () if ledger.task is Task.MULTILABEL else ("target", "prediction"):
        labels = ledger[name]
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= size:
            raise ValueError(f"column `{name}` has a class index outside 0 to {size - 1}")
    if not np.isfinite(ledger["probability"][finite]).all():
        raise ValueError("column `probability` is not finite in a row that is called finite")
    if "score" in ledger.columns and np.isnan(ledger["score"][finite]).any():
        raise ValueError("column `score` is NaN in a row that is called finite")
    if np.isnan(ledger["log_loss"][finite]).any():
        raise ValueError("column `log_loss` is NaN in a row that is called finite")


def _require_counts(ledger: Ledger, *, parts: Sequence[str], wholes: Sequence[str]) -> None:
    """Refuses counts below 0, and hits of more than there are."""
    for name in (*parts, *wholes):
        if name in ledger.columns and ledger[name].min(initial=0) < 0:
            raise ValueError(f"column `{name}` has a count below 0")
    for name in wholes:
        if (ledger["hits"] > ledger[name]).any():
            raise ValueError(f"column `hits` counts more than `{name}`")


def _kinds(ledger: Ledger) -> dict[str, str]:
    return {name: column.dtype.kind.replace("U", "O") for name, column in ledger.columns.items()}


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

    values = chunk.flatten() if pa.types.is_fixed_size_list(chunk.type) else chunk
    if chunk.null_count or values.null_count:
        raise ValueError(f"column `{name}` has missing values")
    if pa.types.is_dictionary(chunk.type):
        words: Array = chunk.dictionary.to_numpy(zero_copy_only=False)
        found: Array = words.take(chunk.indices.to_numpy(zero_copy_only=False))
        return found
    flat: Array = values.to_numpy(zero_copy_only=False)
    return flat if values is chunk else flat.reshape(len(chunk), chunk.type.list_size)
