"""Batches out of blocks: every sample once, in order, on the grid, and uncopied where it can be."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_eval.heldout import Batch, Labels
from model_eval.heldout.feed import Feed, rebatch


def blocks_of(sizes):
    rows = torch.arange(sum(sizes))
    start, found = 0, []
    for size in sizes:
        part = slice(start, start + size)
        ids = rows[part].numpy()
        labels = Labels(ids=ids, target=ids, cluster=None, slices={})
        found.append(Batch(args=(rows[part],), kwargs={"again": rows[part]}, labels=labels))
        start += size
    return found


def taken(sizes, size, most):
    feed, found = Feed(blocks_of(sizes)), []
    while (batch := feed.take(size, most)) is not None:
        found.append(batch)
    return found


SIZES = st.lists(st.integers(0, 9), max_size=8)


@given(SIZES, st.integers(1, 12), st.none() | st.integers(0, 30))
def test_every_sample_once_in_order_in_whole_batches(sizes, size, most):
    found = taken(sizes, size, most)
    ids = [batch.labels.ids for batch in found]
    assert np.concatenate([[], *ids]).tolist() == list(range(sum(sizes)))
    for batch in found:
        assert batch.args[0].tolist() == batch.kwargs["again"].tolist() == batch.labels.ids.tolist()
        assert batch.labels.ids[0] % size == 0  # the grid is that of the whole set
    for batch in found[:-1]:
        assert len(batch) % size == 0
        assert len(batch) <= max(size, most or size)


@given(SIZES, st.integers(1, 12))
def test_batches_of_one_size(sizes, size):
    lengths = [len(batch) for batch in rebatch(blocks_of(sizes), size)]
    whole, rest = divmod(sum(sizes), size)
    assert lengths == [size] * whole + [rest] * (rest > 0)


def test_what_lies_in_one_block_is_not_copied():
    (block,) = blocks_of([100])
    feed = Feed([block])
    pieces = [feed.take(8, 40), feed.take(8, 40), feed.take(8, 40)]
    assert [len(piece) for piece in pieces] == [40, 40, 16]
    memory = block.args[0].untyped_storage().data_ptr()
    assert all(piece.args[0].untyped_storage().data_ptr() == memory for piece in pieces)
    last = feed.take(8, 40)
    assert (len(last), feed.take(8, 40)) == (4, None)


def test_a_size_may_change_from_batch_to_batch():
    feed = Feed(blocks_of([10, 10]))
    assert [len(feed.take(size)) for size in (4, 8, 1, 7)] == [4, 8, 1, 7]
    assert feed.take(5) is None
