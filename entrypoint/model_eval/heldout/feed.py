"""Cuts blocks of samples into batches: views wherever a batch lies in one block."""

from collections.abc import Iterable, Iterator

from model_eval.heldout.batch import Batch, cut, join


class Feed:
    """A stream of blocks from which batches are taken.

    Args:
        blocks: samples in order, in pieces of any size.
    """

    def __init__(self, blocks: Iterable[Batch]) -> None:
        self._blocks = iter(blocks)
        self._block: Batch | None = None
        self._start = 0

    def take(self, size: int, most: int | None = None) -> Batch | None:
        """The next samples: whole batches of `size`, as many as lie in one block, uncopied.

        Args:
            size: of a batch. One that lies in several blocks is joined, and comes alone.
            most: samples at most; None for one batch.

        Returns:
            None after the last sample. Only the last batch has fewer samples than `size`.
        """
        pieces: list[Batch] = []
        held = 0
        while (left := self._left()) and held < size:
            count = min(left, size - held)
            if not held and left >= size:
                count = max(size, min(left, most or size) // size * size)
            pieces.append(self._next(count))
            held += count
        return join(pieces) if pieces else None

    def _left(self) -> int:
        """How many samples are left in the block; 0 where there is no other."""
        while self._block is None or self._start == len(self._block):
            self._block, self._start = next(self._blocks, None), 0
            if self._block is None:
                return 0
        return len(self._block) - self._start

    def _next(self, count: int) -> Batch:
        if self._block is None:
            raise ValueError("there is no block")
        start = self._start
        self._start += count
        return cut(self._block, start, self._start)


def rebatch(blocks: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cuts and joins so that each batch has `size` samples; only the last may have fewer."""
    feed = Feed(blocks)
    while (batch := feed.take(size)) is not None:
        yield batch
