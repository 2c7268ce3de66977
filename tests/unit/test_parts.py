"""How samples are shared out: every one once, in order, in whole batches, as even as that allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.parts import Range, Shard, range_of, ranges

counts = st.integers(0, 10_000)
grids = st.integers(1, 300)
numbers = st.integers(1, 200)


@given(counts, numbers, grids)
def test_every_sample_is_in_one_range(samples, of, grid):
    found = ranges(samples, of, grid=grid)
    assert len(found) == of
    assert [n for start, stop in found for n in range(start, stop)] == list(range(samples))


@given(counts, numbers, grids)
def test_ranges_are_whole_batches_of_the_whole_run(samples, of, grid):
    for start, stop in ranges(samples, of, grid=grid):
        assert start % grid == 0 or start == samples
        assert stop % grid == 0 or stop == samples


@given(counts, numbers, grids)
def test_ranges_differ_by_one_batch_at_most(samples, of, grid):
    batches = [-(-(stop - start) // grid) for start, stop in ranges(samples, of, grid=grid)]
    assert max(batches) - min(batches) <= 1


def test_fewer_batches_than_shards_leave_the_last_ones_without_samples():
    """The first shard has the golden cases: what is held against the model are samples of its own."""
    assert ranges(40, 5, grid=16) == (
        Range(0, 16), Range(16, 32), Range(32, 40), Range(40, 40), Range(40, 40),
    )  # fmt: skip


def test_the_range_of_a_shard_counts_from_one():
    assert range_of(100, Shard(1, 2), grid=10) == (0, 50)
    assert range_of(100, Shard(2, 2), grid=10) == (50, 100)


@pytest.mark.parametrize("wrong", [(-1, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_what_cannot_be_shared_out(wrong):
    samples, of, grid = wrong
    with pytest.raises(ValueError, match="cannot be shared out"):
        ranges(samples, of, grid=grid)
