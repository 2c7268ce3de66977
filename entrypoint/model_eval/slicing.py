"""Which rows of a ledger are in which slice. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.errors import HeldOutError
from model_eval.ledger import Array, Columns, Ledger
from model_eval.spec import expression
from model_eval.spec.eval_spec import SliceFamily
from model_eval.spec.slice_families import value_label
from model_eval.types import Task
from model_eval.wording import printable

MAX_SLICES = 200
"""A family with more slices than this is refused: it divides samples, it does not group them."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slice:
    """A part of a ledger.

    Attributes:
        rows: bool (N,), True where a row is in it; never all False but for a condition or bin.
    """

    family: str
    label: str
    rows: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Rows:
    """What of a ledger divides it: see `divide_columns`."""

    columns: Mapping[str, Array]
    task: Task
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.columns["id"])


def divide(ledger: Ledger, families: Sequence[SliceFamily]) -> tuple[Slice, ...]:
    """Every slice of every family, in the order of the spec and of the values.

    Raises:
        HeldOutError: a column has too many values, is not numeric where bins are given, or a
            condition cannot be evaluated on the columns; two slices have the same name.
    """
    return divide_columns(ledger.columns, families, task=ledger.task, classes=ledger.classes)


def divide_columns(
    columns: Mapping[str, Array],
    families: Sequence[SliceFamily],
    *,
    task: Task,
    classes: tuple[str, ...],
) -> tuple[Slice, ...]:
    """The same of columns that are no ledger yet.

    Args:
        columns: `id`, and those that the families need: `slice:` columns, and of the ledger's own what
            conditions name.
        families: what divides them.
        task: of the ledger.
        classes: names of the classes that `target` and `prediction` have the indexes of.

    Raises:
        HeldOutError: as in `divide`.
    """
    rows = _Rows(columns=columns, task=task, classes=classes)
    found: dict[str, Slice] = {}
    for family in families:
        for part in _slices(rows, family):
            # A gate finds a slice by its name: with two, one would be judged in the other's place.
            if part.label in found:
                raise HeldOutError(
                    f"two slices are called `{printable(part.label)}`",
                    remedy="give one of the families a `name`, or numbers `bins`",
                    location=family.location,
                )
            found[part.label] = part
    return tuple(found.values())


def _slices(of: _Rows, family: SliceFamily) -> Iterator[Slice]:
    if family.where is not None:
        yield Slice(family=family.name, label=family.name, rows=_condition(of, family))
    elif family.edges:
        yield from _bins(of, family)
    else:
        yield from _values(of, family)


def _bins(of: _Rows, family: SliceFamily) -> Iterator[Slice]:
    values = of.columns[f"slice:{family.columns[0]}"]  # finite where it is a number: `labels.group`
    if values.dtype.kind not in "if":
        raise HeldOutError(
            f"the column `{printable(family.columns[0])}` holds text, and `bins` are of numbers",
            remedy="name it without `bins`",
            location=family.location,
        )
    found = np.searchsorted(family.edges, values, side="right")
    for index, label in enumerate(family.labels):
        yield Slice(family=family.name, label=label, rows=found == index)


def _values(of: _Rows, family: SliceFamily) -> Iterator[Slice]:
    codes = np.zeros(len(of), dtype=np.intp)
    words: list[tuple[str, ...]] = [()]
    for column in family.columns:
        values, inverse = np.unique(of.columns[f"slice:{column}"], return_inverse=True)
        if len(values) * len(words) > MAX_SLICES**2:
            raise _too_many(family)
        codes = codes * len(values) + inverse
        labels = [value_label(column, _plain(value)) for value in values]
        words = [(*before, label) for before in words for label in labels]
    found = np.unique(codes)
    if len(found) > MAX_SLICES:
        raise _too_many(family)
    for code in found:
        yield Slice(family=family.name, label=", ".join(words[code]), rows=codes == code)


def _too_many(family: SliceFamily) -> HeldOutError:
    return HeldOutError(
        f"`{printable(family.name)}` has more than {MAX_SLICES} values, and a family has at most so many slices",
        remedy="give it `bins`, or name a column with fewer values",
        location=family.location,
    )


def _condition(of: _Rows, family: SliceFamily) -> npt.NDArray[np.bool_]:
    tree, names = expression.parse(family.where or "")
    try:
        columns = {name: _column(of, name) for name in names}
        with np.errstate(all="ignore"):
            rows = np.asarray(expression.evaluate(tree, columns))
    except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise HeldOutError(
            f"the condition `{printable(family.where or '')}` cannot be evaluated: "
            f"{printable(str(error), 200)}",
            remedy="compare numbers with numbers, and text with text in quotes",
            location=family.location,
        ) from error
    if rows.dtype != bool or rows.shape != (len(of),):
        raise HeldOutError(
            f"the condition `{printable(family.where or '')}` is not true or false for each sample",
            remedy="write a comparison of columns",
            location=family.location,
        )
    return rows


def _column(of: _Rows, name: str) -> Array:
    """A column as a condition sees it: classes by their names."""
    if (sliced := f"slice:{name}") in of.columns:
        return of.columns[sliced]
    if name not in of.columns:
        raise ValueError(f"a {of.task} task has no `{name}`")
    column = of.columns[name]
    if name in {"target", "prediction"} and of.classes and column.ndim == 1:
        return np.array(of.classes, dtype=object)[column]
    return column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column


def _plain(value: Any) -> object:
    return value.item() if isinstance(value, np.generic) else value


def take(ledger: Ledger, rows: npt.NDArray[np.generic]) -> Ledger:
    """The ledger of some rows: a mask or positions."""
    known = ledger.columns
    columns = known if isinstance(known, Columns) else Columns(known)
    return replace(ledger, columns=columns.at(rows))
