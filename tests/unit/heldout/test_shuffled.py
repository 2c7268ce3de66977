"""A held-out set in a random order: each row once, as it was, in an order of the seed's alone."""

import numpy as np
import pytest
import torch

from model_eval.errors import HeldOutError
from model_eval.heldout import Batch, Labels, Shuffled
from model_eval.heldout import shuffled as module
from model_eval.heldout.batch import join
from model_eval.heldout.feed import rebatch
from model_eval.types import Location

HERE = Location(file="model-eval.yaml", line=9, column=3)


class Memory:
    def __init__(self, n, *, step=7):
        self.n, self.step = n, step

    def blocks(self, _multiple):
        for start in range(0, self.n, self.step):
            rows = np.arange(start, min(self.n, start + self.step))
            x = torch.from_numpy(rows).float()
            yield Batch(
                args=(x,),
                kwargs={"b": x[:, None].repeat(1, 3).to(torch.int16), "a": -x},
                labels=Labels(
                    ids=rows,
                    target=rows * 2,
                    cluster=rows + 1,
                    slices={"s": rows % 2},
                    weight=rows / 2,
                    bytes=rows * 3,
                ),
            )


def whole(n, *, batch_size=4, seed=0, step=7):
    batches = list(rebatch(Shuffled(Memory(n, step=step), n, seed).blocks(batch_size), batch_size))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    return join(batches)


@pytest.mark.parametrize("n", [1, 2, 7, 23, 64])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_row_is_there_once_and_whole(n, batch_size):
    found = whole(n, batch_size=batch_size)
    ids = found.labels.ids
    assert sorted(ids.tolist()) == list(range(n))
    assert found.args[0].tolist() == ids.tolist()
    assert found.kwargs["b"].tolist() == [[one] * 3 for one in ids.tolist()]
    assert found.kwargs["b"].dtype is torch.int16
    assert found.kwargs["a"].tolist() == (-ids).tolist()
    labels = found.labels
    columns = (labels.target, labels.cluster, labels.slices["s"], labels.weight, labels.bytes)
    expected = (ids * 2, ids + 1, ids % 2, ids / 2, ids * 3)
    assert [c.tolist() for c in columns] == [c.tolist() for c in expected]


def test_the_default_device_of_the_repositorys_code_changes_nothing():
    expected = whole(23)
    with torch.device("meta"):
        found = whole(23)
    assert torch.equal(found.args[0], expected.args[0])
    assert torch.equal(found.kwargs["b"], expected.kwargs["b"])


def test_the_order_hangs_on_the_seed_and_on_nothing_else():
    first = whole(50).labels.ids.tolist()
    assert first == whole(50, batch_size=9, step=50).labels.ids.tolist()
    assert first != whole(50, seed=1).labels.ids.tolist()
    assert first != list(range(50))


def test_a_second_pass_is_the_first_again():
    source = Shuffled(Memory(20), 20, 3)
    first, second = (join(list(source.blocks(6))).labels.ids.tolist() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("n", [19, 21, 40])
def test_another_number_of_samples_is_refused(n):
    with pytest.raises(HeldOutError, match=r"gave \d+ samples, 20 are expected") as caught:
        list(Shuffled(Memory(n), 20, 0, location=HERE).blocks(4))
    assert caught.value.location == HERE


def test_what_does_not_fit_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 20 * 14 - 1)  # float32, three int16, float32
    with pytest.raises(HeldOutError) as caught:
        list(Shuffled(Memory(20), 20, 0).blocks(4))
    assert str(caught.value.remedy) == ("remove `run.stop_early`, or take a random part of the set")
    monkeypatch.setattr(module, "MAX_BYTES", 20 * 14)
    assert len(join(list(Shuffled(Memory(20), 20, 0).blocks(4)))) == 20


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()]
)
def test_a_set_that_does_not_fit_is_not_for_smaller_batches(monkeypatch, error):
    def no_memory(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(torch.Tensor, "new_empty", no_memory)
    with pytest.raises(
        HeldOutError, match="the inputs of 20 samples do not fit in memory"
    ) as caught:
        list(Shuffled(Memory(20), 20, 0, location=HERE).blocks(6))
    assert caught.value.remedy.startswith("remove `run.stop_early`")
    assert caught.value.location == HERE
