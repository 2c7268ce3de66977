"""A torch dataset that the user's function returns: map-style or iterable, in this process.

Items are `(input, target)`, `(input, target, id)`, or a mapping from column to value. Nothing may
be lost silently: an item that raises `StopIteration`, an iterable that ends early or goes on too
long, and a dataset that gives other samples the second time are errors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from model_eval import usercode
from model_eval.errors import HeldOutError, Interrupted, UserCodeError
from model_eval.heldout.batch import Array, Column
from model_eval.heldout.digest import RangeDigests, SampleDigest
from model_eval.heldout.readers.base import within
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import Rows, shape_of
from model_eval.spec.eval_spec import CodeRef
from model_eval.wording import dtype_name, kind_of, quote

_END = object()
Value = Array | torch.Tensor | str


class LoaderReader:
    """The columns of a torch dataset.

    Args:
        ref: the function that makes the dataset, for messages.
        make: the function itself.
        count: how many samples the spec declares, or None.

    Attributes:
        ranges: is given every sample of a pass; None where nobody asks for the digests of ranges.

    Raises:
        UserCodeError: the function or the dataset raised, or what it returned is no dataset.
        HeldOutError: there are no samples, or nobody says how many.
    """

    def __init__(self, ref: CodeRef, make: Callable[..., Any], *, count: int | None) -> None:
        self._ref = ref
        self._dataset = usercode.call(ref, make, **ref.kwargs)
        self._map_style = self._style()
        self.rows = self._length(count)
        self.row_bytes = 1 << 30  # nothing is known of the items: a batch at a time
        self._digests: dict[str, str] = {}
        self.ranges: RangeDigests | None = None
        # An iterable may give its first item only once, so the iterator that was asked is kept.
        self._begun: Iterator[Any] | None = self._items()
        item = next(self._begun, _END)
        if item is _END:
            raise self._error(f"gives no samples, {self.rows} are expected")
        first = self._columns(item, 0)
        self.columns = tuple(first)
        self.default_id = "id" if isinstance(item, tuple | list) and "id" in first else None
        # Much happens before it is read: what the dataset gave may be something else by then.
        self._first: dict[str, Any] = {
            name: usercode.call(ref, _copied, value) for name, value in first.items()
        }

    def digest(self, columns: Sequence[str]) -> str | None:
        """SHA-256 of these columns of all samples; None before they were all read once."""
        if not self._digests.keys() >= set(columns):
            return None
        whole = SampleDigest()
        whole.add((name, self._digests[name]) for name in sorted(columns))
        return whole.hexdigest()

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`.

        A range does not show everything: the digest is known after a pass over all samples, and
        that an iterable ends where it must, after one to the end.
        """
        start, stop = within(self.rows, start, stop)
        # One for each column: the next pass, which must give the same, may be over other columns.
        whole = (start, stop) == (0, self.rows)
        digests = {name: SampleDigest() for name in columns} if whole else {}
        kept: dict[str, list[Value]] = {name: [] for name in columns}
        first: dict[str, Value] = {}
        if start:  # samples of all ranges are alike, so they are compared with the set's first
            first = {name: self._value(name, self._first.get(name), 0) for name in columns}
        seen = start
        if self.ranges is not None:
            self.ranges.begin(start)
        # To the end and not to the last that is expected: there may be more.
        for item in islice(self._from(start), None if stop == self.rows else stop - start):
            if seen == self.rows:
                raise self._error(f"gives more samples than the {self.rows} that are expected")
            values = self._columns(item, seen)
            for name in columns:
                value = self._same(name, values.get(name), first, seen)
                kept[name].append(value)
                if whole:
                    digests[name].add([(name, value)])
            if self.ranges is not None:
                self.ranges.add([(name, kept[name][-1]) for name in columns])
            seen += 1
            if (seen - start) % rows == 0:
                yield {name: _stack(part) for name, part in kept.items()}
                kept = {name: [] for name in columns}
        if seen < stop:
            raise self._error(f"gives {seen} samples, {self.rows} are expected")
        if (seen - start) % rows:
            yield {name: _stack(part) for name, part in kept.items()}
        for name, digest in digests.items():
            if self._digests.setdefault(name, digest.hexdigest()) != digest.hexdigest():
                raise self._changed()

    def _from(self, start: int) -> Iterator[Any]:
        """The items from this one on."""
        if start == 0:
            return self._from_first()
        if self._map_style:
            return self._items(start)
        return islice(self._from_first(), start, None)  # an iterable must give what is before

    def _print(self, values: Mapping[str, Any], names: Sequence[str]) -> str:
        digest = SampleDigest()
        digest.add((name, self._value(name, values.get(name), 0)) for name in names)
        return digest.hexdigest()

    def _from_first(self) -> Iterator[Any]:
        begun, self._begun = self._begun, None
        if begun is not None:
            yield self._first
            yield from begun
            return
        items = self._items()
        # A generator that was begun goes on where it was left: its first item shows that.
        if (first := next(items, _END)) is not _END:
            names = self.columns
            if self._print(self._columns(first, 0), names) != self._print(self._first, names):
                raise self._changed()
            yield first
        yield from items

    def _items(self, start: int = 0) -> Iterator[Any]:
        """The items that the dataset gives; `start` is for those that have an index."""
        if self._map_style:
            for index in range(start, self.rows):
                item = usercode.call(self._ref, self._item, index)
                if item is _END:
                    raise self._error(
                        f"raises StopIteration at sample {index} of {self.rows}",
                    )
                yield item
        else:
            iterator = usercode.call(self._ref, iter, self._dataset)
            while (item := usercode.call(self._ref, next, iterator, _END)) is not _END:
                yield item

    def _item(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except StopIteration:
            return _END

    def _style(self) -> bool:
        """True for map-style, False for iterable."""
        dataset = self._dataset
        if isinstance(dataset, torch.utils.data.DataLoader):
            raise self._no_dataset("a DataLoader, whose items are batches")
        if isinstance(dataset, Mapping | str | bytes | torch.Tensor | np.ndarray):
            raise self._no_dataset(kind_of(dataset))
        if isinstance(dataset, torch.utils.data.IterableDataset):
            return False
        if usercode.call(self._ref, hasattr, dataset, "__getitem__"):
            return True
        if isinstance(dataset, Iterable):
            return False
        raise self._no_dataset(kind_of(dataset))

    def _length(self, count: int | None) -> int:
        try:
            length = len(self._dataset)
        except (TypeError, NotImplementedError, AttributeError):
            length = None
        except Interrupted:
            raise
        except BaseException as error:
            raise UserCodeError(
                f"`{self._ref.text}`: its length raised {usercode.describe(error)}",
                location=self._ref.location,
            ) from error
        if length is None and count is None:
            raise self._error(
                "returns a dataset without a length",
                remedy="state `count:`, how many samples there must be",
            )
        if length is not None and count is not None and length != count:
            raise self._error(
                f"has {length} samples, the spec states `count: {count}`",
                remedy="correct the one that is wrong",
            )
        rows = length if length is not None else count
        if not rows:
            raise self._error("has no samples", remedy="check what the dataset reads")
        return int(rows)

    def _columns(self, item: Any, index: int) -> dict[str, Any]:
        columns = usercode.call(self._ref, _columns_of, item)
        if isinstance(columns, dict):
            return columns
        raise self._error(
            f"gives {columns} as sample {index}",
            remedy="return `(input, target)`, `(input, target, id)` or a mapping of columns",
        )

    def _same(self, name: str, value: Any, first: dict[str, Value], index: int) -> Value:
        """The value as an array, with the dtype and the shape of the first sample's."""
        result = self._value(name, value, index)
        if name not in first:
            first[name] = result
            return result
        expected = first[name]
        if isinstance(result, str) or isinstance(expected, str):
            if type(result) is type(expected):
                return result
        elif result.shape != expected.shape:
            raise self._error(
                f"gives {quote(name)} in the shape {shape_of(expected.shape)} in row 0 and "
                f"{shape_of(result.shape)} in {Rows(start=index).name(0)}",
                remedy="give every sample the same shape: resize, or pad",
            )
        elif type(result) is type(expected):
            if result.dtype == expected.dtype:
                return result
            numbers = isinstance(result, np.ndarray) and isinstance(expected, np.ndarray)
            if numbers and result.ndim == 0 and (expected.dtype, result.dtype) == (
                np.dtype(np.float64), np.dtype(np.int64)
            ):  # fmt: skip
                return np.asarray(result, dtype=np.float64)  # Python's 1 among 0.5 and 1.5
        raise self._error(
            f"gives {quote(name)} as {_kind(expected)} in row 0 and as {_kind(result)} in "
            f"{Rows(start=index).name(0)}",
            remedy="give every sample the same type",
        )

    def _value(self, name: str, value: Any, index: int) -> Value:
        place = f"{quote(name)} in {Rows(start=index).name(0)}"
        found = usercode.call(self._ref, _copied, value)
        if isinstance(found, torch.Tensor):
            if not _is_plain(found):
                raise self._error(
                    f"gives a sparse, nested, quantised, complex or meta tensor as {place}",
                    remedy="give plain, dense tensors",
                )
            return found
        if isinstance(found, str):
            return found
        if found is None:
            raise self._error(f"gives nothing (None or no such key) as {place}")
        if isinstance(found, np.ndarray) and found.dtype.kind in "biuf":
            if isinstance(found, np.ma.MaskedArray):
                raise self._error(
                    f"gives a masked array as {place}",
                    remedy="fill in what is masked, or leave the sample out",
                )
            return found
        raise self._error(
            f"gives {kind_of(value)} as {place}",
            remedy="give tensors, arrays, numbers or text; convert images with ToTensor",
        )

    def _changed(self) -> HeldOutError:
        return self._error(
            "gives other samples the second time",
            remedy="take the randomness out of it: no augmentation, and seed what is drawn",
        )

    def _no_dataset(self, what: str) -> UserCodeError:
        return UserCodeError(
            f"`{self._ref.text}` returned {what}",
            remedy="return a map-style or iterable torch dataset whose items are single samples",
            location=self._ref.location,
        )

    def _error(self, what: str, *, remedy: str | None = None) -> HeldOutError:
        return HeldOutError(
            f"the loader {quote(self._ref.text)} {what}",
            remedy=remedy or "look at what the dataset gives for this sample",
            location=self._ref.location,
        )


def _columns_of(item: Any) -> dict[str, Any] | str:
    """The columns of an item; where it has none, what it is."""
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    if not isinstance(item, tuple | list):
        return kind_of(item)
    values = list(item)
    if len(values) not in {2, 3}:
        return f"{kind_of(item)} of {len(values)}"
    return dict(zip(("input", "target", "id"), values, strict=False))


def _copied(value: Any) -> Any:
    """A tensor, an array or text of our own: a dataset may refill the one that it gives.

    What cannot be a column's value comes back as it is.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone() if _is_plain(value) else value
    if isinstance(value, str):
        return str(value)
    numbers = isinstance(value, bool | int | float | list | tuple | np.generic | np.ndarray)
    if not numbers or isinstance(value, np.ma.MaskedArray):
        return value
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        return value
    if array.dtype.kind == "U" and array.ndim == 0:
        return str(array)
    return array if array.dtype.kind in "biuf" else value


def _is_plain(value: torch.Tensor) -> bool:
    strange = value.is_nested or value.is_quantized or value.is_complex() or value.is_meta
    return not strange and value.layout == torch.strided


def _stack(values: list[Value]) -> Column:
    first = values[0]
    if isinstance(first, str):
        texts: Array = np.empty(len(values), dtype=object)
        texts[:] = values
        return texts
    if isinstance(first, torch.Tensor):
        return torch.stack([value for value in values if isinstance(value, torch.Tensor)])
    return np.stack([value for value in values if isinstance(value, np.ndarray)])


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "text"
    library = "a tensor" if isinstance(value, torch.Tensor) else "an array"
    return f"{library} of {dtype_name(value.dtype)}"
