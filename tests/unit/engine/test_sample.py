"""The kept sample: the right rows, whatever the batches; the same ones for the same seed."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_eval.engine import sample as module
from model_eval.engine.sample import Keeping
from model_eval.errors import HeldOutError
from model_eval.heldout import Batch, Labels


class Memory:
    def __init__(self, n):
        self.n = n

    def blocks(self, batch_size):
        for start in range(0, self.n, batch_size):
            rows = np.arange(start, min(self.n, start + batch_size))
            x = torch.from_numpy(rows).float()
            labels = Labels(ids=rows, target=rows * 2, cluster=rows + 1, slices={"s": rows % 2})
            yield Batch(args=(x,), kwargs={"k": x[:, None].repeat(1, 3)}, labels=labels)


def kept(n, *, batch_size=4, seed=0, rows=10):
    keeping = Keeping(Memory(n), n, seed, rows)
    passed = torch.cat([batch.args[0] for batch in keeping.blocks(batch_size)])
    assert passed.tolist() == list(range(n))
    return keeping.sample()


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_rows_are_those_of_their_positions(n, batch_size, seed):
    found = kept(n, batch_size=batch_size, seed=seed)
    positions = found.positions.tolist()
    assert len(found) == len(set(positions)) == min(n, 10)
    assert positions == sorted(positions)
    assert found.rows.args[0].tolist() == found.rows.labels.ids.tolist() == positions
    assert found.rows.kwargs["k"].tolist() == [[p] * 3 for p in positions]
    assert found.rows.labels.target.tolist() == [p * 2 for p in positions]
    assert found.rows.labels.cluster.tolist() == [p + 1 for p in positions]
    assert found.of == n


class Part:
    def __init__(self, start, stop, *, ragged=False):
        self.start, self.stop, self.ragged = start, stop, ragged

    def blocks(self, batch_size):
        for batch in Memory(self.stop).blocks(1):
            if batch.labels.ids[0] >= self.start:
                width = 1 + self.ragged * int(batch.labels.ids[0] % 2)
                yield replace(batch, args=(batch.args[0][:, None].repeat(1, width)[:, :width],))


@given(st.integers(1, 40), st.integers(0, 5))
def test_fetched_samples_are_those_of_a_pass(n, seed):
    keeping = Keeping(Memory(n), n, seed, 10)
    keeping.fetch(Part)
    found, expected = keeping.sample(), kept(n, seed=seed)
    assert found.positions.tolist() == expected.positions.tolist()
    assert found.rows.args[0][:, 0].tolist() == expected.rows.args[0].tolist()
    assert found.rows.labels.target.tolist() == expected.rows.labels.target.tolist()


def test_fetched_samples_of_different_shapes():
    with pytest.raises(HeldOutError, match="samples of the held-out set differ in shape"):
        Keeping(Memory(40), 40, 0, 10).fetch(partial(Part, ragged=True))


def test_the_choice_hangs_on_the_seed_alone():
    assert kept(100).positions.tolist() == kept(100, batch_size=33).positions.tolist()
    assert kept(100).positions.tolist() != kept(100, seed=1).positions.tolist()


@pytest.mark.parametrize("evaluated", [1, 4, 6, 8, 10, 11, 30])
def test_leading_samples_are_those_that_were_evaluated_before_the_pass_was_ended(evaluated):
    keeping = Keeping(Memory(40), 40, 0, 10, leading=True)
    blocks = iter(keeping.blocks(4))
    for _ in range(-(-evaluated // 4) + 1):  # one more was read than was needed
        next(blocks, None)
    found = keeping.sample(evaluated)
    expected = list(range(min(evaluated, 10)))
    assert found.positions.tolist() == found.rows.labels.ids.tolist() == expected
    assert (found.rows.args[0].tolist(), found.of) == (expected, evaluated)


def test_leading_samples_of_a_whole_pass_are_as_many_as_others():
    keeping = Keeping(Memory(40), 40, 0, 10, leading=True)
    assert sum(len(block) for block in keeping.blocks(4)) == 40
    found = keeping.sample()
    assert (found.positions.tolist(), found.of) == (list(range(10)), 40)


@pytest.mark.parametrize("leading", [False, True])
def test_a_pass_that_was_ended_has_no_sample_of_all(leading):
    keeping = Keeping(Memory(40), 40, 0, 10, leading=leading)
    next(iter(keeping.blocks(4)))
    for evaluated in (None, 9):
        with pytest.raises(ValueError, match="no complete pass"):
            keeping.sample(evaluated)


def test_large_samples_are_fewer(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 16)  # a row has four float32
    assert len(kept(100)) == 3
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    assert len(kept(100)) == 1


def test_what_is_kept_is_a_copy():
    keeping = Keeping(Memory(4), 4, 0)
    for batch in keeping.blocks(4):
        batch.args[0].zero_()
    assert keeping.sample().rows.args[0].tolist() == [0, 1, 2, 3]


def test_half_a_pass_leaves_no_sample():
    keeping = Keeping(Memory(40), 40, 0, 40)
    with pytest.raises(ValueError, match="no complete pass"):
        keeping.sample()
    next(keeping.blocks(4))
    with pytest.raises(ValueError, match="no complete pass"):
        keeping.sample()


def test_the_first_rows():
    found = kept(100)
    first = found.first(3)
    assert first.rows.args[0].tolist() == first.positions.tolist() == found.positions[:3].tolist()
    assert len(found.first(99)) == 10
    assert [len(batch) for batch in found.batches(4)] == [4, 4, 2]
