"""Timing: which calls are made, and between which two readings of the clock."""

from itertools import count

import numpy as np
import pytest
import torch

from model_eval.engine.cost import measure_cost, time_calls
from model_eval.engine.sample import Sample
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch, Labels
from model_eval.spec.eval_spec import CostSpec
from model_eval.types import CheckpointInfo, FileInfo

CPU = torch.device("cpu")


def sample(n=5):
    rows = np.arange(n)
    labels = Labels(ids=rows, target=rows, cluster=None, slices={})
    x = torch.arange(n).float()
    batch = Batch(args=(x,), kwargs={"y": x * 10}, labels=labels)
    return Sample(rows=batch, positions=rows, of=n)


CHECKPOINT = CheckpointInfo(
    files=tuple(FileInfo(path=name, sha256="0" * 64, size=size) for name, size in [("a", 5), ("b", 6)]),
    format="safetensors", state_key=None, stripped_prefix="", tensors=1, parameters=7,
    parameters_from_file=7, buffers_from_file=0, dtypes={}, casts={}, built_on_meta=False, pinned=False,
)  # fmt: skip


def test_the_device_is_waited_for_before_each_reading_of_the_clock():
    events, ticks = [], count()

    def clock():
        events.append("clock")
        return next(ticks)

    def predict(_args, _kwargs):
        events.append("predict")
        return torch.zeros(1)

    cost = CostSpec(batch_size=1, warmup=1, runs=2)
    seconds = time_calls(predict, sample(), cost, wait=lambda: events.append("wait"), clock=clock)
    assert seconds == (1, 1)
    assert events == ["wait", "clock", "predict", "wait", "clock"] * 3


def test_only_what_is_between_the_readings_counts_and_warmup_does_not():
    now = [0.0]
    lengths = iter([100.0, 50.0, 1.0, 2.0, 3.0])

    def predict(_args, _kwargs):
        now[0] += next(lengths)
        return torch.zeros(1)

    cost = CostSpec(batch_size=1, warmup=2, runs=3)
    assert time_calls(predict, sample(), cost, wait=lambda: None, clock=lambda: now[0]) == (1, 2, 3)


def test_every_batch_is_full_and_the_samples_come_in_turn():
    seen = []

    def predict(args, kwargs):
        seen.append((args[0].tolist(), kwargs["y"].tolist()))
        return args[0]

    cost = CostSpec(batch_size=3, warmup=1, runs=2)
    time_calls(predict, sample(5), cost, wait=lambda: None, clock=count().__next__)
    assert [x for x, _ in seen] == [[0, 1, 2], [3, 4, 0], [1, 2, 3]]
    assert all(y == [10 * value for value in x] for x, y in seen)
    seen.clear()
    cost = CostSpec(batch_size=7, warmup=0, runs=1)
    time_calls(predict, sample(2), cost, wait=lambda: None, clock=count().__next__)
    assert seen[0][0] == [0, 1, 0, 1, 0, 1, 0]


def test_a_clock_that_goes_backwards_times_nothing():
    times = iter([5, 4])
    cost = CostSpec(batch_size=1, warmup=0, runs=1)
    with pytest.raises(EvaluationError, match="the clock went backwards"):
        time_calls(lambda a, _: a[0], sample(), cost, wait=lambda: None, clock=lambda: next(times))


def measured(predict, device=CPU):
    return measure_cost(
        predict, sample(), CostSpec(batch_size=2, warmup=0, runs=3),
        checkpoint=CHECKPOINT, device=device, clock=count().__next__,
    )  # fmt: skip


def test_what_is_measured_on_a_cpu():
    found = measured(lambda args, _: args[0])
    assert found.seconds == (1, 1, 1)
    assert (found.batch_size, found.parameters, found.file_bytes) == (2, 7, 11)
    assert found.host_bytes is None or found.host_bytes > 10_000_000
    assert found.device_bytes is None
    assert found.no_device_bytes == "the model ran on the CPU: `peak_memory_mb` is its memory"


def test_a_model_that_cannot_be_run_so_is_not_timed_and_says_why():
    def predict(_args, _kwargs):
        raise EvaluationError("the model raised ValueError: two", remedy="-")

    found = measured(predict)
    assert found.seconds == ()
    assert found.untimed == (
        "it could not be timed with batches of 2: the model raised ValueError: two"
    )


def test_a_stop_is_no_failure_of_the_model():
    def predict(_args, _kwargs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(predict)


class Accelerator:
    """Stands in for torch.accelerator, which most machines of the tests have none of."""

    def __init__(self, monkeypatch, peak=9_000, resets=True):
        self.events = []
        monkeypatch.setattr(torch.accelerator, "synchronize", lambda _: self.events.append("wait"))
        monkeypatch.setattr(torch.accelerator, "max_memory_allocated", lambda _: peak)
        monkeypatch.setattr(torch.accelerator, "reset_peak_memory_stats", self.reset)
        self.resets = resets

    def reset(self, _device):
        self.events.append("reset")
        if not self.resets:
            raise RuntimeError("no allocator")


@pytest.mark.parametrize(
    ("options", "peak"), [({}, 9_000), ({"peak": 0}, None), ({"resets": False}, None)]
)
def test_the_memory_of_an_accelerator_is_counted_anew_and_it_is_waited_for(
    monkeypatch, options, peak
):
    accelerator = Accelerator(monkeypatch, **options)
    found = measured(lambda args, _: args[0], torch.device("cuda", 0))
    assert accelerator.events == ["reset", *["wait"] * 6]
    assert found.device_bytes == peak
    unknown = None if peak else "torch does not count the memory of `cuda`"
    assert found.no_device_bytes == unknown
