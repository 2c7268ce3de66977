"""How the samples of a set are shared out: ranges of whole batches, as even as that allows.

Every batch of a part is then a batch of the whole run, so that the model's outputs have the same bits.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

BATCH_SIZE = 256
"""Of a run in parts whose spec says `auto`: parts that measured it would not have the same batches."""

MAX_SHARDS = 4_096


class Range(NamedTuple):
    """The samples [start, stop)."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several runs that share out the samples; `index` counts from 1."""

    index: int
    of: int


def ranges(samples: int, of: int, *, grid: int) -> tuple[Range, ...]:
    """Shares out samples, in order: every one is in one range.

    Args:
        samples: how many there are.
        of: how many ranges; where there are fewer batches than that, the last ones are empty.
        grid: samples a batch; every range that is not empty begins at a multiple of it.

    Returns:
        Ranges that differ by one batch at most.

    Raises:
        ValueError: there are fewer than 0 samples, or no range, or a batch has none.
    """
    if samples < 0 or of < 1 or grid < 1:
        raise ValueError(f"{samples} samples cannot be shared out by {of} in batches of {grid}")
    batches = -(-samples // grid)
    filled = max(1, min(of, batches))
    ends = [
        min(samples, grid * (batches * min(index, filled) // filled)) for index in range(of + 1)
    ]
    return tuple(Range(start, stop) for start, stop in pairwise(ends))


def range_of(samples: int, shard: Shard, *, grid: int) -> Range:
    """The range of one shard; see `ranges`."""
    return ranges(samples, shard.of, grid=grid)[shard.index - 1]
