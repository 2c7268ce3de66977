"""Inputs on their way to a device, and what happens where they do not fit.

That copies and work do not overtake one another is seen on a GPU alone: tests/accelerator.
"""

from contextlib import nullcontext

import pytest
import torch

from model_eval.engine import staging
from model_eval.engine.staging import AHEAD, Staging

CUDA = torch.device("cuda")
X = torch.arange(3.0)


class Stream:
    """What is asked of a stream, in order."""

    def __init__(self, log):
        self.log = log

    def record_event(self):
        number = sum(entry.startswith("recorded") for entry in self.log)
        self.log.append(f"recorded {number}")
        return Event(self.log, number)

    def wait_stream(self, other):
        assert other is not self
        self.log.append("waits for the copies")


class Event:
    def __init__(self, log, number):
        self.log, self.number = log, number

    def synchronize(self):
        self.log.append(f"host waits for {self.number}")


@pytest.fixture
def log(monkeypatch):
    """A machine with a CUDA device, as far as torch says."""
    log = []
    work = Stream(log)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: Stream(log))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: work)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    monkeypatch.setattr(staging, "release", lambda device: log.append(f"releases {device}"))
    return log


def sends(monkeypatch, sent):
    monkeypatch.setattr(Staging, "_sent", lambda _self, value, _work: sent(value))


def fails(monkeypatch, error):
    def sent(_value):
        raise error

    sends(monkeypatch, sent)


def test_nothing_is_sent_to_a_cpu():
    args, kwargs = (X,), {"mask": X > 0}
    sent = Staging(torch.device("cpu")).send(args, kwargs)
    assert sent[0] is args
    assert sent[1] is kwargs


def test_all_inputs_are_sent_to_a_gpu(monkeypatch, log):
    seen = []
    sends(monkeypatch, lambda value: seen.append(value) or value + 1)
    mask = X > 0
    args, kwargs = Staging(CUDA).send((X, mask), {"mask": mask})
    assert [id(value) for value in seen] == [id(X), id(mask), id(mask)]
    assert torch.equal(args[0], X + 1)
    assert kwargs.keys() == {"mask"}
    assert log == ["recorded 0", "waits for the copies"]


def test_the_host_waits_for_what_was_begun_some_batches_ago(monkeypatch, log):
    sends(monkeypatch, lambda value: value)
    stage = Staging(CUDA)
    for _ in range(AHEAD + 3):
        stage.send((X,), {})
    waits = [entry for entry in log if entry.startswith("host")]
    assert waits == ["host waits for 0", "host waits for 1", "host waits for 2"]
    assert log.index("host waits for 0") == log.index(f"recorded {AHEAD}") + 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        MemoryError(),
    ],
)
def test_what_does_not_fit_stays_where_it_can_be_halved(monkeypatch, log, error):
    fails(monkeypatch, error)
    args, kwargs = (X,), {"mask": X > 0}
    sent = Staging(CUDA).send(args, kwargs)
    assert sent[0] is args
    assert sent[1] is kwargs
    assert log == ["recorded 0", "releases cuda"]


def test_another_error_is_not_taken_for_it(monkeypatch, log):
    fails(monkeypatch, RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="assert"):
        Staging(CUDA).send((X,), {})
