"""How many samples a batch has: what the spec says, or what is fastest here, less where memory ends.

The best size differs by model and machine by a factor of two and more: too small, and the calls cost
more than the work; too large, and what one layer hands to the next leaves the processor's cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from model_eval.types import BatchSizeFrom

FIRST = 32
LARGEST = 8_192
RATIO = 4
"""From one size to the next while it pays; then the sizes between are tried."""

BETTER = 0.98
"""A size must take less than this of the time of the smaller one, which needs less memory."""

FEWEST, MOST = 2, 16
SECONDS = 0.002
"""Batches of a size that follow its first one, in one piece as later: the first pays for setting up, and the
shortest of those that take this long together counts. What is slow is run once more."""

SLOW_SECONDS = 0.05

SHARE = 16
"""A size is tried that is at most so small a share of the samples: one that turns out slow must not
have had many of them, and what is fast is not known from a batch or two."""

FILLS = 0.5
"""Of the memory that is free, a larger batch may be expected to need this much."""


class BatchSize:
    """The size of the next batch.

    Attributes:
        size: samples.
        origin: who says so.
    """

    def __init__(self, size: int, origin: BatchSizeFrom = BatchSizeFrom.SPEC) -> None:
        self.size = size
        self.origin = origin

    @property
    def multiple(self) -> int:
        """What blocks of samples should be whole multiples of, so that cutting copies nothing."""
        return self.size

    @property
    def measuring(self) -> bool:
        """Whether `record` wants to know how long the next batch takes."""
        return False

    @property
    def batches(self) -> int | None:
        """How many batches of this size should come in one piece; None for as many as one likes."""
        return None

    def record(self, rows: int, seconds: float, peak: int | None) -> None:
        """Takes in how long a batch took and how much memory, in bytes, it needed at most."""

    def lower(self, rows: int) -> None:
        """Memory ended on a batch of more than so many samples."""
        self.size, self.origin = max(1, min(self.size, rows)), BatchSizeFrom.MEMORY


@dataclass(slots=True)
class _Trial:
    left: int = 1
    best: float = inf
    begun: bool = False

    def add(self, rows: int, seconds: float) -> None:
        self.best = min(self.best, seconds / rows)
        self.left -= 1
        if not self.begun:
            self.begun = True
            slow = seconds > SLOW_SECONDS
            self.left = 1 if slow else min(MOST, max(FEWEST, round(SECONDS / max(seconds, 1e-9))))


class MeasuredBatchSize(BatchSize):
    """Tries sizes on the first batches, which count like all others, and stays with the fastest.

    Args:
        free: gives the bytes of memory that a batch can have; None where that is not known.
        most: no larger size is tried; see `most_tried`.
    """

    def __init__(self, *, free: Callable[[], int | None], most: int = LARGEST) -> None:
        super().__init__(FIRST)
        self._most = min(most, LARGEST)
        self.origin = BatchSizeFrom.MEASURED
        self._free = free
        self._trials: dict[int, _Trial] = {}
        self._bytes_a_row = 0.0
        self._measuring = True

    @property
    def multiple(self) -> int:
        """See `BatchSize`: sizes change, so that any will do."""
        return 1

    @property
    def measuring(self) -> bool:
        """See `BatchSize`."""
        return self._measuring

    @property
    def batches(self) -> int | None:
        """See `BatchSize`: the first of a size comes alone, because nothing is known of its memory."""
        if not self._measuring:
            return None
        trial = self._trials.get(self.size)
        return 1 if trial is None else trial.left

    def record(self, rows: int, seconds: float, peak: int | None) -> None:
        """See `BatchSize`; a batch of another size, such as the last one, tells nothing."""
        if not self._measuring or rows != self.size:
            return
        if peak is not None:
            self._bytes_a_row = max(self._bytes_a_row, peak / rows)
        trial = self._trials.setdefault(rows, _Trial())
        trial.add(rows, seconds)
        if not trial.left:
            self._go_on()

    def lower(self, rows: int) -> None:
        """See `BatchSize`; nothing larger is tried again."""
        super().lower(rows)
        self._measuring = False

    def _go_on(self) -> None:
        following = next((size for size in self._candidates() if size not in self._trials), None)
        if following is not None:
            self.size = following
            return
        self._measuring = False
        self.size = self._best()

    def _candidates(self) -> list[int]:
        """The sizes to try, in order, as far as those that were tried tell."""
        tried = sorted(self._trials)
        last, best = tried[-1], self._best()
        larger = last * RATIO
        if best == last and larger <= self._most and self._fits(larger):
            return [larger]
        between = [best // 2, best * 2] if best > FIRST else [FIRST * 2, FIRST // 2]
        return [size for size in between if size <= self._most and self._fits(size)]

    def _best(self) -> int:
        """The fastest one; of sizes that are as fast, the smallest."""
        chosen = min(self._trials)
        for size in sorted(self._trials):
            if self._trials[size].best < BETTER * self._trials[chosen].best:
                chosen = size
        return chosen

    def _fits(self, size: int) -> bool:
        free = self._free()
        return free is None or self._bytes_a_row * size < FILLS * free


def most_tried(samples: int) -> int:
    """The largest size that is tried on so many samples."""
    return max(FIRST, min(LARGEST, samples // SHARE))


def batch_size_of(
    requested: int | None, *, free: Callable[[], int | None], most: int = LARGEST
) -> BatchSize:
    """The policy for what a spec says; None is `auto`, and tries no size above `most`."""
    return MeasuredBatchSize(free=free, most=most) if requested is None else BatchSize(requested)
