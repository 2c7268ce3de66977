"""Inputs on their way to a device, and what happens where they do not fit."""

import numpy as np
import pytest
import torch

from model_eval.engine import staging
from model_eval.heldout import Batch, Labels

CUDA = torch.device("cuda")


def batch(n=3):
    rows = np.arange(n)
    labels = Labels(ids=rows, target=rows, cluster=None, slices={})
    x = torch.arange(n).float()
    return Batch(args=(x,), kwargs={"mask": x > 0}, labels=labels)


@pytest.mark.parametrize("given", [batch(), None])
def test_nothing_is_sent_to_a_cpu(given):
    assert staging.staged(given, torch.device("cpu")) is given


def test_all_inputs_are_sent_to_a_gpu(monkeypatch):
    seen = []
    monkeypatch.setattr(staging, "_sent", lambda value, device: seen.append(device) or value + 0)
    given = batch()
    found = staging.staged(given, CUDA)
    assert seen == [CUDA, CUDA]
    assert torch.equal(found.args[0], given.args[0])
    assert found.kwargs.keys() == {"mask"}
    assert found.labels is given.labels


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        MemoryError(),
    ],
)
def test_what_does_not_fit_stays_where_it_can_be_halved(monkeypatch, error):
    def sent(_value, _device):
        raise error

    released = []
    monkeypatch.setattr(staging, "_sent", sent)
    monkeypatch.setattr(staging, "release", released.append)
    given = batch()
    assert staging.staged(given, CUDA) is given
    assert released == [CUDA]


def test_another_error_is_not_taken_for_it(monkeypatch):
    def sent(_value, _device):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(staging, "_sent", sent)
    with pytest.raises(RuntimeError, match="assert"):
        staging.staged(batch(), CUDA)
