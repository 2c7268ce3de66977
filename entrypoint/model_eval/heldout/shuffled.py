"""A held-out set in a random order: what a run needs that may end before its last sample."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Batch, Labels, join, select
from model_eval.types import Location

MAX_BYTES = 2 << 30
"""Converted inputs beyond this are not held in memory."""

_ROWS = 1_024
"""Of a block: those behind the end of the run are put in order for nothing."""


class _Source(Protocol):
    def blocks(self, multiple: int) -> Iterator[Batch]: ...


@dataclass(slots=True)
class Shuffled:
    """The samples of a source, in an order that hangs on the seed and on their number alone.

    Files are read from their beginning to their end, so that all of the set is read and checked before
    the first sample is given, and its inputs are in memory until the last.

    Attributes:
        source: gives every sample once.
        expected: how many these must be.
        seed: of the order.
        location: where the spec asks for the order.
    """

    source: _Source
    expected: int
    seed: int
    location: Location | None = None
    _rows: Batch | None = field(default=None, init=False)

    def blocks(self, multiple: int) -> Iterator[Batch]:
        """Every sample once, in the same order each time.

        Args:
            multiple: of which the samples of every block but the last are a multiple.

        Raises:
            HeldOutError: the source raised it, it has another number of samples, or its inputs are
                more than `MAX_BYTES` or than there is memory.
            UserCodeError: the user's dataset raised.
        """
        if self._rows is None:
            self._rows = self._read()
        order = np.random.default_rng(self.seed).permutation(self.expected)
        rows = multiple * max(1, _ROWS // multiple)
        for start in range(0, self.expected, rows):
            yield select(self._rows, order[start : start + rows])

    def _read(self) -> Batch:
        """All of it, copied once into tensors of the whole size."""
        args: list[torch.Tensor] = []
        kwargs: dict[str, torch.Tensor] = {}
        labels: list[Labels] = []
        start = 0
        for batch in self.source.blocks(1):
            if not labels:
                self._require_room(batch)
                args = [self._whole(value) for value in batch.args]
                kwargs = {name: self._whole(value) for name, value in batch.kwargs.items()}
            stop = start + len(batch)
            if stop > self.expected:
                raise self._miscounted(stop)
            for whole, part in zip(
                (*args, *kwargs.values()), (*batch.args, *_values(kwargs, batch)), strict=True
            ):
                whole[start:stop] = part
            labels.append(batch.labels)
            start = stop
        if start != self.expected:
            raise self._miscounted(start)
        bare = [Batch(args=(), kwargs={}, labels=one) for one in labels]
        return Batch(args=tuple(args), kwargs=kwargs, labels=join(bare).labels)

    def _whole(self, first: torch.Tensor) -> torch.Tensor:
        try:
            return first.new_empty((self.expected, *first.shape[1:]))
        except (RuntimeError, MemoryError) as error:  # torch's words for memory that ends
            raise HeldOutError(
                f"the inputs of {self.expected} samples do not fit in memory, where they are put in a "
                "random order",
                remedy="remove `run.stop_early`, or use a machine with more memory",
                location=self.location,
            ) from error

    def _require_room(self, first: Batch) -> None:
        inputs = (*first.args, *first.kwargs.values())
        row = sum(value.element_size() * value[:1].numel() for value in inputs)
        if row * self.expected > MAX_BYTES:
            raise HeldOutError(
                f"the inputs of {self.expected} samples take {row * self.expected / 2**30:.1f} GiB in "
                f"memory, and at most {MAX_BYTES >> 30} GiB are put in a random order",
                remedy="remove `run.stop_early`, or take a random part of the set",
                location=self.location,
            )

    def _miscounted(self, count: int) -> HeldOutError:
        return HeldOutError(
            f"the held-out set gave {count} samples, {self.expected} are expected",
            remedy="write the file again; it may have changed while it was read",
            location=self.location,
        )


def _values(names: Mapping[str, torch.Tensor], batch: Batch) -> list[torch.Tensor]:
    return [batch.kwargs[name] for name in names]
