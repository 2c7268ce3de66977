"""Held-out specs, and files of samples in every format, for tests."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from model_eval.heldout import Batch, HeldOut, Labels, open_heldout
from model_eval.heldout.batch import join
from model_eval.heldout.feed import rebatch
from model_eval.spec.eval_spec import CodeRef, HeldOutSpec, InputSpec, PathRef
from model_eval.types import Location, Task

AT = Location(file="spec.yaml", line=7, column=3)
TABLES = ("parquet", "csv")
TENSORS = ("npz", "npy", "pt", "safetensors")
SUFFIX = {"parquet": ".parquet", "csv": ".csv", "npz": ".npz", "pt": ".pt"}


def path_ref(path: Path) -> PathRef:
    return PathRef(path=path, display=path.name, location=AT)


def an_input(*columns: str, stack: bool = False, **conversion: Any) -> InputSpec:
    defaults = {"dtype": None, "shape": None, "scale": None}
    return InputSpec(columns=columns, stack=stack, location=AT, **(defaults | conversion))


def a_spec(source: Path | Mapping[str, Path] | None = None, **changes: Any) -> HeldOutSpec:
    """A spec with the input `x` and the target `y`, whose format is what the path says."""
    values: dict[str, Any] = {
        "format": "loader", "path": None, "columns_from": {}, "loader": None,
        "args": (an_input("x"),), "kwargs": {}, "targets": ("y",), "id": None, "cluster": None,
        "slices": (), "classes": None, "count": None, "image": None, "transform": None,
        "sha256": None, "disjoint_from": (), "location": AT, "locations": {},
    }  # fmt: skip
    if isinstance(source, Path):
        values["path"] = path_ref(source)
        values["format"] = "image_folder" if source.is_dir() else source.suffix.removeprefix(".")
    elif source is not None:
        values["columns_from"] = {name: path_ref(path) for name, path in source.items()}
        values["format"] = "npy"
    return HeldOutSpec(**(values | changes))


def opened(
    source: Path | Mapping[str, Path] | None = None, task: Task = Task.MULTICLASS, **changes: Any
) -> HeldOut:
    return open_heldout(a_spec(source, **changes), task=task, resolve=no_code)


def loaded(make: Any, task: Task = Task.MULTICLASS, **changes: Any) -> HeldOut:
    """A set whose loader is the function given."""
    ref = CodeRef(
        text="data.py:make", file=None, module="data", attribute="make", kwargs={}, location=AT
    )
    changes = {"args": (an_input("input"),), "targets": ("target",)} | changes
    return open_heldout(a_spec(loader=ref, **changes), task=task, resolve=lambda _: make)


def no_code(ref: CodeRef) -> Any:
    raise AssertionError(f"nothing asks for code here: {ref}")


def batches(heldout: HeldOut, batch_size: int) -> Iterator[Batch]:
    """Every sample once, in order, each batch but the last of this size."""
    return rebatch(heldout.blocks(batch_size), batch_size)


def everything(heldout: HeldOut, batch_size: int = 1000) -> Batch:
    """All samples in one batch."""
    return join(list(batches(heldout, batch_size)))


def labels(heldout: HeldOut) -> Labels:
    return everything(heldout).labels


def written(
    folder: Path, file_format: str, columns: Mapping[str, Any], name: str = "heldout"
) -> Any:
    """Writes columns of equal length; returns what `a_spec` takes as its source."""
    path = folder / f"{name}.{file_format}"
    if file_format == "parquet":
        pq.write_table(_table(columns), path, row_group_size=7)
    elif file_format == "csv":
        pyarrow.csv.write_csv(_table(columns), path)
    elif file_format == "npz":
        np.savez(path, **{key: np.asarray(value) for key, value in columns.items()})
    elif file_format == "npy":
        paths = {key: folder / f"{name}-{key}.npy" for key in columns}
        for key, value in columns.items():
            np.save(paths[key], np.asarray(value))
        return paths
    elif file_format == "pt":
        torch.save({key: torch.as_tensor(value) for key, value in columns.items()}, path)
    else:
        save_file({key: torch.as_tensor(value) for key, value in columns.items()}, path)
    return path


def _table(columns: Mapping[str, Any]) -> pa.Table:
    return pa.table({name: _arrow(value) for name, value in columns.items()})


def _arrow(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return (
            pa.array(value.tolist(), pa.list_(pa.from_numpy_dtype(value.dtype)))
            if value.ndim == 2
            else pa.array(value.tolist())
        )
    return pa.array(value)
