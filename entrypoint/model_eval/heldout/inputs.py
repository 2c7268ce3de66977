"""Columns of a file → arguments of the model, as the spec states it and never otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

import numpy as np
import torch

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array, Column
from model_eval.heldout.wording import Rows, nearest, shape_of
from model_eval.spec.eval_spec import InputSpec
from model_eval.spec.suggest import listed
from model_eval.types import Location
from model_eval.wording import dtype_name, quote

_DTYPES = {
    dtype_name(dtype): dtype
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """An `InputSpec` whose patterns have met the file's columns."""

    columns: tuple[str, ...]
    stack: bool
    dtype: torch.dtype | None
    shape: tuple[int, ...] | None
    scale: float | None
    location: Location


def find_column(name: str, known: Sequence[str], *, role: str, location: Location) -> str:
    """Returns the name.

    Raises:
        HeldOutError: the held-out set has no such column.
    """
    if name in known:
        return name
    raise HeldOutError(
        f"the held-out set has no column {quote(name)} ({role})",
        remedy=nearest(name, known, what="its columns"),
        location=location,
    )


def bind(spec: InputSpec, known: Sequence[str], *, hidden: Mapping[str, str]) -> Input:
    """Finds the columns that an input names.

    Columns come in the order in which the spec names them; those of one pattern in the file's
    order. A name that is a column is that column, whatever `*` it has in it.

    Args:
        spec: the input.
        known: the file's columns, in its order.
        hidden: columns that must not reach the model → what they are.

    Raises:
        HeldOutError: a column is missing, named twice or hidden; a pattern matches nothing.
    """
    found: list[str] = []
    for name in spec.columns:
        if name not in known and any(c in name for c in "*?["):
            matches = [column for column in known if fnmatchcase(column, name)]
            if not matches:
                raise HeldOutError(
                    f"no column of the held-out set matches {quote(name)}",
                    remedy=f"its columns are {listed(known)}",
                    location=spec.location,
                )
            found += matches
        else:
            found.append(find_column(name, known, role="an input", location=spec.location))
    for column in found:
        if column in hidden:
            raise HeldOutError(
                f"the input {listed(spec.columns)} takes in {quote(column)}, "
                f"which is {hidden[column]}",
                remedy="name the input columns so that the model cannot see it",
                location=spec.location,
            )
        if found.count(column) > 1:
            raise HeldOutError(
                f"the input {listed(spec.columns)} names {quote(column)} twice",
                remedy="name each column once",
                location=spec.location,
            )
    dtype = _DTYPES[spec.dtype] if spec.dtype is not None else None
    if spec.scale is not None and dtype is not None and not dtype.is_floating_point:
        raise HeldOutError(
            f"`scale` on an input of dtype {quote(spec.dtype)}",
            remedy="state a floating dtype; the scale is applied after the conversion",
            location=spec.location,
        )
    return Input(
        columns=tuple(found), stack=spec.stack or len(found) > 1, dtype=dtype,
        shape=spec.shape, scale=spec.scale, location=spec.location,
    )  # fmt: skip


def convert(source: Input, chunk: Mapping[str, Column], rows: Rows) -> torch.Tensor:
    """Makes one argument of the model: [n, ...], on the CPU, contiguous.

    Raises:
        HeldOutError: text, NaN or Inf, a value that the dtype cannot hold, or another shape.
    """
    if source.stack:
        tensor = _stacked(source, chunk, rows)
    else:
        tensor = _cast(chunk[source.columns[0]], source.columns, source, rows)
    if source.shape is not None:
        if prod(source.shape) != prod(tensor.shape[1:]):
            raise HeldOutError(
                f"{listed(source.columns)} has the shape {shape_of(tensor.shape[1:])} per "
                f"sample, the spec states {shape_of(source.shape)}",
                remedy="state the shape of one sample, without the batch axis",
                location=source.location,
            )
        tensor = tensor.reshape(tensor.shape[0], *source.shape)
    if source.scale is not None:
        if not tensor.dtype.is_floating_point:
            raise HeldOutError(
                f"`scale` on {listed(source.columns)}, which is {dtype_name(tensor.dtype)}",
                remedy="state the `dtype` to convert to, e.g. float32",
                location=source.location,
            )
        tensor = tensor * source.scale
        _require_finite(tensor, source.columns, source, rows, why=f"times {source.scale:g} ")
    return tensor.contiguous()


def _stacked(source: Input, chunk: Mapping[str, Column], rows: Rows) -> torch.Tensor:
    values = [_flat(chunk[name], name, source) for name in source.columns]
    dtypes = {
        dtype_name(value.dtype): name for value, name in zip(values, source.columns, strict=True)
    }
    if len(dtypes) == 1:
        whole: Column = (
            np.stack([value for value in values if isinstance(value, np.ndarray)], axis=1)
            if isinstance(values[0], np.ndarray)
            else torch.stack([value for value in values if isinstance(value, torch.Tensor)], dim=1)
        )
        return _cast(whole, source.columns, source, rows)
    if source.dtype is None:
        mixed = ", ".join(f"{quote(name)} is {dtype}" for dtype, name in dtypes.items())
        raise HeldOutError(
            f"columns of different dtypes cannot be stacked: {mixed}",
            remedy="state the input's `dtype`, e.g. float32",
            location=source.location,
        )
    parts = [
        _cast(value, (name,), source, rows)
        for value, name in zip(values, source.columns, strict=True)
    ]
    return torch.stack(parts, dim=1)


def _flat(value: Column, name: str, source: Input) -> Column:
    if value.ndim == 1:
        return value
    if value.ndim == 2 and value.shape[1] == 1:
        return value.reshape(-1)
    raise HeldOutError(
        f"column {quote(name)} has the shape {shape_of(value.shape[1:])} per sample and cannot "
        "be stacked with others",
        remedy="stack columns of single numbers, or make it an input of its own",
        location=source.location,
    )


def _cast(value: Column, names: tuple[str, ...], source: Input, rows: Rows) -> torch.Tensor:
    tensor = _tensor(value, names, source, rows)
    _require_finite(tensor, names, source, rows)
    dtype = source.dtype
    if dtype is None or tensor.dtype == dtype:
        return tensor
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1:
        tensor = tensor.float()  # exact; torch cannot compare float8
    result = tensor.to(dtype)
    if dtype.is_floating_point:
        if tensor.dtype.is_floating_point or dtype == torch.float16:
            lost = ~torch.isfinite(result)
        else:
            return result
    else:
        lost = result.to(tensor.dtype) != tensor
        if tensor.dtype.is_floating_point and dtype != torch.bool:
            # 2**63 as a float comes back equal where the processor saturates.
            limits = torch.iinfo(dtype)
            lost |= (tensor < limits.min) | (tensor >= float(limits.max) + 1)
    if bool(lost.any()):
        row, name = _first(lost, names)
        number = tensor[row].reshape(-1)[int(lost[row].reshape(-1).int().argmax())].item()
        raise HeldOutError(
            f"column {quote(name)} holds {number!r} in {rows.name(row)}, "
            f"which {dtype_name(dtype)} cannot hold",
            remedy="state a dtype that holds every value, or convert the column in the file",
            location=source.location,
        )
    return result


def _tensor(value: Column, names: tuple[str, ...], source: Input, rows: Rows) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
        text = value.dtype.kind in "OUS"
        example = f", e.g. {_first_text(value, rows)}" if text and value.size else ""
        raise HeldOutError(
            f"column {quote(names[0])} is {'text' if text else dtype_name(value.dtype)}{example}; "
            "a model takes numbers",
            remedy="tokenise or encode it first, in the file or with `loader:`",
            location=source.location,
        )
    if source.dtype is not None and value.dtype.kind == "u" and value.dtype.itemsize > 1:
        # torch compares and converts unsigned integers of more than 8 bits only in part.
        value = _signed(value, names, source, rows)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if not value.flags.writeable or not value.flags.c_contiguous:
        value = value.copy(order="C")
    return torch.from_numpy(value)


def _first_text(value: Array, rows: Rows) -> str:
    """The first value that makes the column one of text; in a file of text that is not `1`."""
    flat = value.reshape(len(value), -1)
    for index, item in enumerate(flat):
        for text in item:
            try:
                float(text)
            except ValueError:
                return f"{quote(text)} in {rows.name(index)}"
    return f"{quote(flat[0][0])} in {rows.name(0)}"


def _signed(value: Array, names: tuple[str, ...], source: Input, rows: Rows) -> Array:
    lost = value > np.uint64(np.iinfo(np.int64).max)
    if lost.any():
        row, name = _first(torch.from_numpy(lost), names)
        raise HeldOutError(
            f"column {quote(name)} holds an integer above 2**63 - 1 in {rows.name(row)}",
            remedy="convert the column in the file",
            location=source.location,
        )
    return value.astype(np.int64)


def _require_finite(
    tensor: torch.Tensor, names: tuple[str, ...], source: Input, rows: Rows, *, why: str = ""
) -> None:
    if not tensor.dtype.is_floating_point:
        return
    # One reduction for the usual case: a sum is finite only where every term is.
    if bool(torch.isfinite(tensor.sum(dtype=torch.float64))):
        return
    lost = ~torch.isfinite(tensor)
    if bool(lost.any()):
        row, name = _first(lost, names)
        number = tensor[row].reshape(-1)[int(lost[row].reshape(-1).int().argmax())].item()
        shown = "NaN" if number != number else "an infinity"  # noqa: PLR0124
        raise HeldOutError(
            f"column {quote(name)} {why}holds {shown} in {rows.name(row)}",
            remedy="remove or repair these values, as it was done for training",
            location=source.location,
        )


def _first(lost: torch.Tensor, names: tuple[str, ...]) -> tuple[int, str]:
    """The first row that has a lost value, and the column it is in."""
    flat = lost.reshape(lost.shape[0], -1)
    row = int(flat.any(dim=1).int().argmax())
    column = int(flat[row].int().argmax())
    return row, names[column] if len(names) > 1 else names[0]
