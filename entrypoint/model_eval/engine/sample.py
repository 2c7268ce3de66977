"""A few held-out samples that stay in memory, for the checks and timings after the pass."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_eval.errors import HeldOutError
from model_eval.heldout import Batch
from model_eval.heldout.batch import join, select
from model_eval.heldout.feed import rebatch

MAX_ROWS = 2_000
MAX_BYTES = 512 << 20
"""Inputs beyond this are not kept, so that large samples cost no more memory than small ones."""


class Source(Protocol):
    """Gives every sample once, in order; a held-out set, or a sample of one."""

    def blocks(self, multiple: int) -> Iterator[Batch]:
        """Pieces of any size; where it can be, of a multiple of this many samples."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """Some rows of a held-out set, in its order.

    Attributes:
        rows: inputs on the CPU, and their labels.
        positions: int64 [n], where they are in the set.
        of: how many samples the set has.
    """

    rows: Batch
    positions: npt.NDArray[np.int64]
    of: int

    def __len__(self) -> int:
        return len(self.positions)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Batches of this size, but for the last."""
        return rebatch([self.rows], batch_size)

    def first(self, count: int) -> "Sample":
        """Its first rows, at most so many."""
        picked = self.positions[:count]
        return Sample(rows=select(self.rows, np.arange(len(picked))), positions=picked, of=self.of)


@dataclass(slots=True)
class Keeping:
    """A source that keeps a random sample of what it gives; the choice hangs on the seed alone.

    Attributes:
        expected: how many samples the source has.
        rows: how many to keep; fewer where they would take more than `MAX_BYTES`.
        chosen: the positions of those to keep, ascending; None draws them. Of more than are kept some
            are left out, evenly.
        leading: keeps the first ones instead. Of a source that is in a random order they are as good,
            and they are there where its end is never reached.
    """

    source: Source
    expected: int
    seed: int
    rows: int = MAX_ROWS
    leading: bool = False
    chosen: npt.NDArray[np.int64] | None = None
    _kept: list[Batch] = field(default_factory=list, init=False)
    _positions: npt.NDArray[np.int64] | None = field(default=None, init=False)

    def blocks(self, multiple: int) -> Iterator[Batch]:
        """As a `Source`; a second pass keeps what that pass gave."""
        self._kept, start, chosen = [], 0, None
        for batch in self.source.blocks(multiple):
            if chosen is None:
                chosen = self._positions = self._choose(batch)
            first, last = np.searchsorted(chosen, [start, start + len(batch)])
            if first < last:
                self._kept.append(select(batch, chosen[first:last] - start))
            start += len(batch)
            yield batch

    def fetch(self, part: Callable[[int, int], Source]) -> None:
        """Keeps the same samples without a pass, where each can be read by itself.

        Args:
            part: gives a source of the samples [start, stop) of the set.

        Raises:
            HeldOutError: they have different shapes, which a pass would have found.
        """
        chosen = self._positions = self._choose(next(part(0, 1).blocks(1)))
        self._kept = [one for at in chosen.tolist() for one in part(at, at + 1).blocks(1)]
        if len({_shapes(one) for one in self._kept}) > 1:
            raise HeldOutError(
                "samples of the held-out set differ in shape",
                remedy="give every sample the same shape: resize, or pad",
            )

    def sample(self, evaluated: int | None = None) -> Sample:
        """What was kept.

        Args:
            evaluated: how many samples there were, where the pass was ended before its end; of
                these the leading ones are given. None where it was not.

        Raises:
            ValueError: there was no complete pass, or no sample in it.
        """
        positions = self._positions
        if positions is not None and evaluated is not None and self.leading:
            positions = positions[:evaluated]
            held = join(self._kept)
            if len(positions) <= len(held):
                rows = select(held, np.arange(len(positions)))
                return Sample(rows=rows, positions=positions, of=evaluated)
        if positions is None or sum(map(len, self._kept)) != len(positions):
            raise ValueError("there was no complete pass over the held-out set")
        return Sample(rows=join(self._kept), positions=positions, of=self.expected)

    def _choose(self, first: Batch) -> npt.NDArray[np.int64]:
        inputs = (*first.args, *first.kwargs.values())
        row_bytes = sum(t.element_size() * t[:1].numel() for t in inputs)
        count = min(self.rows, self.expected, max(1, MAX_BYTES // max(1, row_bytes)))
        if self.leading:
            return np.arange(count)
        if self.chosen is not None:
            few = np.linspace(0, len(self.chosen) - 1, min(count, len(self.chosen)))
            return self.chosen[few.astype(np.int64)]
        chosen = np.random.default_rng(self.seed).choice(self.expected, count, replace=False)
        return np.sort(chosen)


def _shapes(batch: Batch) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(value.shape[1:]) for value in (*batch.args, *batch.kwargs.values()))
