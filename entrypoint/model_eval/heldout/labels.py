"""Targets, ids, clusters and slices of a chunk: what only the scoring side sees."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model_eval.errors import HeldOutError
from model_eval.heldout import wide_labels
from model_eval.heldout.batch import Array, Column, Labels
from model_eval.heldout.inputs import find_column
from model_eval.heldout.wording import Rows, is_utf8, nearest, place_of, shape_of
from model_eval.spec.eval_spec import HeldOutSpec
from model_eval.spec.suggest import listed
from model_eval.types import Location, Task
from model_eval.wording import dtype_name, quote

_EXACT = 2**53
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?")
_FEW = 100_000
"""So many ids are looked through in Python in a few milliseconds."""


class LabelReader:
    """Reads the labels of chunks.

    Args:
        spec: which column is what.
        task: decides what a target is.
        known: the columns that the set has.
        id_column: the column with the ids; None: a sample's id is its position.
        classes: class names in the order of the model's outputs, or None.

    Raises:
        HeldOutError: a column is missing.
    """

    def __init__(
        self,
        spec: HeldOutSpec,
        *,
        task: Task,
        known: Sequence[str],
        id_column: str | None,
        classes: tuple[str, ...] | None,
    ) -> None:
        self._spec = spec
        self._task = task
        self._id = id_column
        self._classes = classes
        self._lookup = {name: index for index, name in enumerate(classes or ())}
        self._misplaced = _misplaced(classes or (), binary=task is Task.BINARY)
        roles = [*((name, "target") for name in spec.targets)]
        roles += [(id_column, "id")] if id_column is not None else []
        roles += [(spec.cluster, "cluster")] if spec.cluster is not None else []
        roles += [(name, "slices") for name in spec.slices]
        roles += [(spec.weight, "weight")] if spec.weight is not None else []
        roles += [(spec.bytes, "bytes")] if spec.bytes is not None else []
        for name, role in roles:
            find_column(name, known, role=role, location=place_of(spec, role))
        if task not in {Task.REGRESSION, Task.MULTILABEL} and len(spec.targets) != 1:
            raise HeldOutError(
                f"a {task} task has one target column, the spec names {len(spec.targets)}",
                remedy="name the column with the class index or the class name",
                location=place_of(spec, "target"),
            )
        self.columns = tuple(dict.fromkeys(name for name, _ in roles))

    def read(self, chunk: Mapping[str, Column], start: int) -> tuple[Labels, Rows]:
        """Makes the labels of a chunk whose first sample is at `start`, and its rows' names.

        Raises:
            HeldOutError: a value is missing, of the wrong kind, or out of range.
        """
        spec = self._spec
        n = len(chunk[spec.targets[0]])
        if self._id is None:
            ids = np.arange(start, start + n, dtype=np.int64)
            rows = Rows(start=start)
        else:
            ids = read_ids(chunk[self._id], self._id, place_of(spec, "id"))
            rows = Rows(start=start, ids=ids)
        target = self._target(chunk, rows)
        cluster = None
        if spec.cluster is not None:
            at = place_of(spec, "cluster")
            cluster = group(self._numpy(chunk, spec.cluster, "cluster"), spec.cluster, rows, at)
        at = place_of(spec, "slices")
        slices = {
            name: group(self._numpy(chunk, name, "slices"), name, rows, at) for name in spec.slices
        }
        lengths = None
        if spec.bytes is not None:
            at = place_of(spec, "bytes")
            lengths = read_bytes(self._numpy(chunk, spec.bytes, "bytes"), spec.bytes, rows, at)
        weight = None
        if spec.weight is not None:
            at = place_of(spec, "weight")
            weight = sample_weights(
                self._numpy(chunk, spec.weight, "weight"), spec.weight, rows, at
            )
        labels = Labels(
            ids=ids, target=target, cluster=cluster, slices=slices, weight=weight, bytes=lengths
        )
        return labels, rows

    def _target(self, chunk: Mapping[str, Column], rows: Rows) -> Array:
        spec = self._spec
        at = place_of(spec, "target")
        if self._task is Task.REGRESSION:
            return self._values(chunk, rows)
        values = {name: self._numpy(chunk, name, "target") for name in spec.targets}
        if self._task is Task.MULTILABEL:
            return wide_labels.read_labels(values, rows, at)
        name = spec.targets[0]
        if self._task is Task.SEGMENTATION:
            return wide_labels.read_mask(
                values[name], name, rows, at, ignore_index=spec.ignore_index
            )
        if self._task is Task.LANGUAGE_MODELING:
            return wide_labels.read_tokens(
                values[name], name, rows, at, ignore_index=spec.ignore_index, shift=spec.shift
            )
        return self._indexes(values[name], rows)

    def _numpy(self, chunk: Mapping[str, Column], name: str, role: str) -> Array:
        return _numpy(chunk[name], name, place_of(self._spec, role))

    def _indexes(self, values: Array, rows: Rows) -> Array:
        name = self._spec.targets[0]
        at = place_of(self._spec, "target")
        values = _one_axis(values, name, at, hint="give each sample's class index, e.g. its argmax")
        kind = values.dtype.kind
        if kind in "OU":
            return self._named(values, rows)
        if kind == "b" and (self._classes or self._task is Task.BINARY):
            return self._booleans(values)
        if kind not in "iu":
            raise HeldOutError(
                f"the target {quote(name)} is {values.dtype}, and a class is an integer or a name",
                remedy="write class indexes as integers, e.g. with `astype('int64')`, "
                "also where they are whole already",
                location=at,
            )
        if self._misplaced is not None:
            position, called = self._misplaced
            raise HeldOutError(
                f"the target {quote(name)} holds integers, and class {position} is called "
                f"{quote(called)}: an integer may be a position or a name",
                remedy="where the integers are positions, counted from 0, call the classes what "
                "is not a number; where they are names, write them in the target and in the "
                "classes as text that is not a number, e.g. `class 1`",
                location=place_of(self._spec, "classes"),
            )
        count = 2 if self._task is Task.BINARY else len(self._classes or ()) or None
        wrong = values < 0
        if count is not None:
            wrong |= values >= count
        if wrong.any():
            row = int(wrong.argmax())
            known = f"from 0 to {count - 1}" if count is not None else "0 or more"
            raise HeldOutError(
                f"the target {quote(name)} is {values[row]} in {rows.name(row)}, "
                f"and class indexes are {known}",
                remedy="number the classes from 0 in the order of the model's outputs, "
                "and leave out samples without a label",
                location=at,
            )
        return _int64(values, name, at)

    def _booleans(self, values: Array) -> Array:
        if self._classes is None:
            return values.astype(np.int64)
        # CSV reads `True` and `TRUE` as the same value, so the case of the names cannot matter.
        words = [name.lower() for name in self._classes]
        if words.count("true") != 1 or words.count("false") != 1:
            raise HeldOutError(
                f"the target {quote(self._spec.targets[0])} is true or false, and the classes are "
                f"{listed(self._classes)}",
                remedy="call the two classes `true` and `false`, or write the names of the "
                "classes into the target",
                location=place_of(self._spec, "classes"),
            )
        return np.where(values, words.index("true"), words.index("false")).astype(np.int64)

    def _named(self, values: Array, rows: Rows) -> Array:
        name = self._spec.targets[0]
        at = place_of(self._spec, "target")
        if self._classes is None:
            raise HeldOutError(
                f"the target {quote(name)} is text, e.g. {quote(values[0])}, and the spec does "
                "not say which class is which output",
                remedy="state `classes:`, the names in the order of the model's outputs",
                location=at,
            )
        lookup = self._lookup
        found = np.fromiter((lookup.get(v, -1) for v in values), dtype=np.int64, count=len(values))
        if (found < 0).any():
            row = int((found < 0).argmax())
            label = str(values[row])
            raise HeldOutError(
                f"the target {quote(name)} is {quote(label)} in {rows.name(row)}, "
                "which is not among the classes",
                remedy=nearest(label, self._classes, what="the classes"),
                location=place_of(self._spec, "classes"),
            )
        return found

    def _values(self, chunk: Mapping[str, Column], rows: Rows) -> Array:
        names = self._spec.targets
        at = place_of(self._spec, "target")
        parts = []
        for name in names:
            values = self._numpy(chunk, name, "target")
            if values.dtype.kind not in "iuf":
                shown = "text" if values.dtype.kind in "OU" else str(values.dtype)
                raise HeldOutError(
                    f"the target {quote(name)} is {shown}, and a regression's is a number",
                    remedy="name a numeric column, or set `task:` to a classification",
                    location=at,
                )
            if len(names) > 1 or values.ndim == 1:
                values = _one_axis(values, name, at, hint="name columns of single numbers")[:, None]
            if values.ndim != 2 or values.shape[1] == 0:
                raise HeldOutError(
                    f"the target {quote(name)} has the shape {shape_of(values.shape[1:])} per "
                    "sample",
                    remedy="give a number, or a list of K numbers, for each sample",
                    location=at,
                )
            result = values.astype(np.float64)
            if values.dtype.kind in "iu":
                lost = (result > _EXACT) | (result < -_EXACT)
                why = "an integer that float64 cannot hold"
            else:
                lost = ~np.isfinite(result)
                why = "NaN or an infinity"
            if lost.any():
                row = int(lost.any(axis=1).argmax())
                raise HeldOutError(
                    f"the target {quote(name)} is {why} in {rows.name(row)}",
                    remedy="repair these targets, or leave out samples without one",
                    location=at,
                )
            parts.append(result)
        return np.concatenate(parts, axis=1)


def read_ids(column: Column, name: str, location: Location) -> Array:
    """Checks ids: [n], int64 or object (str).

    Raises:
        HeldOutError: they are neither integers nor text, or have more than one axis.
    """
    values = _numpy(column, name, location)
    values = _one_axis(values, name, location, hint="give each sample one id")
    if values.dtype.kind in "OU":
        return _text(values, name, location)
    if values.dtype.kind in "iu":
        return _int64(values, name, location)
    raise HeldOutError(
        f"the id column {quote(name)} is {values.dtype}, and ids are integers or text",
        remedy="write the ids as integers or text",
        location=location,
    )


def group(values: Array, name: str, rows: Rows, location: Location) -> Array:
    """Checks a cluster or slice column: [n]; booleans become the words `true` and `false`.

    Raises:
        HeldOutError: it has NaN, more than one axis, or a kind of value that names no group.
    """
    values = _one_axis(values, name, location, hint="give each sample one value")
    kind = values.dtype.kind
    if kind == "b":
        return np.array(["false", "true"], dtype=object)[values.astype(np.int64)]
    if kind in "OU":
        return _text(values, name, location)
    if kind in "iu":
        return _int64(values, name, location)
    if kind == "f":
        lost = ~np.isfinite(values)
        if lost.any():
            raise HeldOutError(
                f"column {quote(name)} is NaN or an infinity in {rows.name(int(lost.argmax()))}",
                remedy="give every sample a value, e.g. `unknown`",
                location=location,
            )
        return values.astype(np.float64)
    raise HeldOutError(
        f"column {quote(name)} is {values.dtype}, which cannot name a group of samples",
        remedy="write it as text or numbers",
        location=location,
    )


def sample_weights(values: Array, name: str, rows: Rows, location: Location) -> Array:
    """Checks a column of weights: float64 [n], finite and not negative.

    Raises:
        HeldOutError: it has something else in it.
    """
    values = _one_axis(values, name, location, hint="give each sample one weight")
    if values.dtype.kind not in "iuf":
        raise HeldOutError(
            f"the weight column {quote(name)} is {values.dtype}, and weights are numbers",
            remedy="write the weights as numbers",
            location=location,
        )
    weights = values.astype(np.float64)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        worst = int(wrong.argmax())
        raise HeldOutError(
            f"the weight in {rows.name(worst)} is {weights[worst]:g}",
            remedy="weights are finite and not negative; 0 leaves a sample out",
            location=location,
        )
    return weights


def read_bytes(values: Array, name: str, rows: Rows, location: Location) -> Array:
    """Checks the lengths of documents: int64 [n].

    Raises:
        HeldOutError: one is not an integer of at least 0.
    """
    values = _one_axis(values, name, location, hint="give each document one length")
    if values.dtype.kind not in "iu":
        shown = "text" if values.dtype.kind in "OU" else str(values.dtype)
        raise HeldOutError(
            f"column {quote(name)} is {shown}, and a length in bytes is an integer",
            remedy="write how many bytes the document has in UTF-8",
            location=location,
        )
    if (values < 0).any():
        row = int((values < 0).argmax())
        raise HeldOutError(
            f"column {quote(name)} is {values[row]} in {rows.name(row)}, "
            "and a length in bytes is at least 0",
            remedy="write how many bytes the document has in UTF-8",
            location=location,
        )
    return _int64(values, name, location)


class UniqueIds:
    """Finds ids that occur twice; keeps the ids compactly, and nothing else.

    Of positions, and of other integers that count up, it keeps the first and the last: 8 bytes of
    each other integer, and of a text its bytes and 4 more.
    """

    def __init__(self, location: Location) -> None:
        self._parts: list[range | Array | Any] = []
        self._location = location

    def add(self, ids: Array) -> None:
        """Adds the ids of a chunk."""
        if ids.dtype.kind == "O":
            if len(ids) + sum(map(len, self._parts)) > _FEW:
                import pyarrow as pa

                ids = pa.array(ids)  # a str of Python's takes 50 bytes more
            self._parts.append(ids)
        elif _counts_up(ids):
            self._append(range(int(ids[0]), int(ids[-1]) + 1))
        else:
            self._parts.append(ids)

    def _append(self, ids: range) -> None:
        last = self._parts[-1] if self._parts else None
        if isinstance(last, range) and last.stop == ids.start:
            self._parts[-1] = range(last.start, ids.stop)
        else:
            self._parts.append(ids)

    def check(self) -> None:
        """Raises `HeldOutError` where an id occurs more than once."""
        one_run = len(self._parts) == 1 and isinstance(self._parts[0], range)
        if not self._parts or one_run or self._few_and_different():
            return
        parts = [np.arange(p.start, p.stop) if isinstance(p, range) else p for p in self._parts]
        if all(isinstance(part, np.ndarray) and part.dtype.kind == "i" for part in parts):
            ordered = np.concatenate(parts)
            ordered.sort()
            if not np.any(ordered[1:] == ordered[:-1]):
                return
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = pa.chunked_array([pa.array(part) for part in parts])
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(repeated) == 0:
            return
        first, times = repeated[0]["values"].as_py(), repeated[0]["counts"].as_py()
        surplus = pc.sum(repeated.field("counts")).as_py() - len(repeated)
        raise HeldOutError(
            f"the id {quote(first)} occurs {times} times; {surplus} of {len(ids)} samples repeat "
            "the id of another",
            remedy="give each sample its own id, or leave `id` out",
            location=self._location,
        )

    def _few_and_different(self) -> bool:
        """Whether a plain set shows it, which it does sooner than pyarrow's functions are imported."""
        if sum(map(len, self._parts)) > _FEW:
            return False
        values = [
            value
            for part in self._parts
            for value in (part if isinstance(part, range) else part.tolist())
        ]
        return len(set(values)) == len(values)


def _counts_up(ids: Array) -> bool:
    first, last = int(ids[0]), int(ids[-1])
    if last - first != len(ids) - 1 or last == np.iinfo(np.int64).max:
        return False
    return bool(np.array_equal(ids, np.arange(first, last + 1)))


def _misplaced(classes: Sequence[str], *, binary: bool) -> tuple[int, str] | None:
    """The first class that is called another number than its position: both; or None.

    In a binary task `false` and `true` count as 0 and 1: that is what they are as integers.
    """
    words = {"false": 0, "true": 1} if binary else {}
    for index, name in enumerate(classes):
        number = float(name) if _INTEGER.fullmatch(name.strip()) else words.get(name.lower(), index)
        if number != index:
            return index, name
    return None


def _numpy(column: Column, name: str, location: Location) -> Array:
    if not isinstance(column, torch.Tensor):
        return column
    try:
        return (column.float() if column.dtype == torch.bfloat16 else column).numpy()
    except TypeError as error:
        raise HeldOutError(
            f"column {quote(name)} is {dtype_name(column.dtype)}, which is no type for labels",
            remedy="write it as integers, text or float32",
            location=location,
        ) from error


def _text(values: Array, name: str, location: Location) -> Array:
    """As objects; refuses what the ledger could not hold."""
    texts = values.astype(object)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        wrong = next(text for text in texts if not is_utf8(text))
        raise HeldOutError(
            f"column {quote(name)} holds {quote(wrong)}, which is not UTF-8",
            remedy="write this text again in UTF-8",
            location=location,
        ) from error
    return texts


def _one_axis(values: Array, name: str, location: Location, *, hint: str) -> Array:
    if values.ndim == 1:
        return values
    if values.ndim == 2 and values.shape[1] == 1:
        return values.reshape(-1)
    raise HeldOutError(
        f"column {quote(name)} has the shape {shape_of(values.shape[1:])} per sample, "
        "and one value is needed",
        remedy=hint,
        location=location,
    )


def _int64(values: Array, name: str, location: Location) -> Array:
    if values.dtype.kind == "u" and (values > np.uint64(np.iinfo(np.int64).max)).any():
        raise HeldOutError(
            f"column {quote(name)} holds an integer above 2**63 - 1",
            remedy="write these values as text",
            location=location,
        )
    return values.astype(np.int64)
