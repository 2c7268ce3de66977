"""Targets of more than one value per sample: labels, masks of pixels, and tokens."""

from collections.abc import Mapping

import numpy as np

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array
from model_eval.heldout.wording import Rows, shape_of
from model_eval.types import Location
from model_eval.wording import quote


def read_labels(columns: Mapping[str, Array], rows: Rows, location: Location) -> Array:
    """Which labels a sample has: bool [n, L], of L columns or of one column [n, L].

    Raises:
        HeldOutError: a value is neither a boolean nor 0 or 1, or a column has another shape.
    """
    parts = []
    for name, given in columns.items():
        values = given[:, None] if given.ndim == 1 else given
        if values.ndim != 2 or values.shape[1] == 0 or (len(columns) > 1 and values.shape[1] != 1):
            one = len(columns) > 1
            raise HeldOutError(
                f"the target {quote(name)} has the shape {shape_of(given.shape[1:])} per sample, "
                f"and {'one of several columns holds one label' if one else 'labels are a list'}",
                remedy="name one column for each label, or one column with a list of all of them",
                location=location,
            )
        if values.dtype.kind not in "biuf":
            raise HeldOutError(
                f"the target {quote(name)} is text, and a label is 0 or 1",
                remedy="write a column for each label, with 1 where the sample has it",
                location=location,
            )
        wrong = (values != 0) & (values != 1)  # NaN is, too
        if wrong.any():
            row = int(wrong.any(axis=1).argmax())
            value = values[row][int(wrong[row].argmax())]
            raise HeldOutError(
                f"the target {quote(name)} is {value} in {rows.name(row)}, and a label is 0 or 1",
                remedy="write 1 where the sample has the label, else 0; of one class of several "
                "write `task: multiclass`",
                location=location,
            )
        parts.append(values.astype(bool))
    return np.concatenate(parts, axis=1)


def read_mask(
    values: Array, name: str, rows: Rows, location: Location, *, ignore_index: int
) -> Array:
    """The class of each pixel: integers [n, ...] of at least one further axis, as they are stored.

    Not as int64, which would be eight times as large as most files.

    Raises:
        HeldOutError: they are no integers, a pixel is below 0 and not `ignore_index`, or there
            is one value per sample only.
    """
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    _require_integers(values, name, location, what="the class of a pixel")
    if values.ndim < 2 or 0 in values.shape[1:]:
        raise HeldOutError(
            f"the target {quote(name)} has the shape {shape_of(values.shape[1:])} per sample, "
            "and a mask has a class for each pixel",
            remedy="give every sample a mask (height, width)",
            location=location,
        )
    _require_indexes(values, name, rows, location, ignore_index=ignore_index)
    # torch has no arithmetic of larger unsigned integers.
    known = values.dtype.kind == "i" or values.dtype.itemsize == 1
    return values if known else values.astype(np.int64)


def read_tokens(
    values: Array,
    name: str,
    rows: Rows,
    location: Location,
    *,
    ignore_index: int,
    shift: bool,
) -> Array:
    """The next token at each position: int64 [n, T].

    With `shift` these are the tokens themselves, and the target of each is the one after it; the
    last has none, which `ignore_index` says.

    Raises:
        HeldOutError: they are no integers, one is below 0 and not `ignore_index`, or there is no
            list of them per sample.
    """
    _require_integers(values, name, location, what="a token")
    if values.ndim != 2 or values.shape[1] == 0 or (shift and values.shape[1] == 1):
        raise HeldOutError(
            f"the target {quote(name)} has the shape {shape_of(values.shape[1:])} per sample, "
            f"and a document is a list of {'two tokens or more' if shift else 'tokens'}",
            remedy="give every sample a list of tokens, padded to one length",
            location=location,
        )
    _require_indexes(values, name, rows, location, ignore_index=ignore_index)
    tokens = values.astype(np.int64)
    if not shift:
        return tokens
    last = np.full((len(tokens), 1), ignore_index, dtype=np.int64)
    return np.concatenate([tokens[:, 1:], last], axis=1)


def _require_integers(values: Array, name: str, location: Location, *, what: str) -> None:
    if values.dtype.kind not in "iu":
        shown = "text" if values.dtype.kind in "OU" else str(values.dtype)
        raise HeldOutError(
            f"the target {quote(name)} is {shown}, and {what} is an integer",
            remedy="write integers from 0, e.g. with `astype('int64')`",
            location=location,
        )


def _require_indexes(
    values: Array, name: str, rows: Rows, location: Location, *, ignore_index: int
) -> None:
    # Two reductions for the usual case; what is too large shows against the model's outputs.
    if int(values.min(initial=0)) >= 0 and int(values.max(initial=0)) <= np.iinfo(np.int64).max:
        return
    flat = values.reshape(len(values), -1)
    wrong = ((flat < 0) & (flat != ignore_index)) | (flat > np.iinfo(np.int64).max)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        raise HeldOutError(
            f"the target {quote(name)} holds {flat[row][int(wrong[row].argmax())]} in "
            f"{rows.name(row)}, and class indexes are 0 or more",
            remedy="number the classes from 0 in the order of the model's outputs; state "
            f"`ignore_index:` for what is not to be counted, which is {ignore_index} now",
            location=location,
        )
