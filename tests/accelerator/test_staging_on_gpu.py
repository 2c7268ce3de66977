"""Copies beside the work: nothing is read before it is there, and nothing written while it is in use."""

import gc

import torch

from model_eval.engine import staging
from model_eval.engine.staging import Staging

BATCHES = 40
ROWS = 1 << 18


def batches():
    return [torch.full((ROWS,), float(number)) for number in range(BATCHES)]


@torch.inference_mode()
def test_a_copy_waits_for_the_work_on_what_was_in_its_memory(device, slow):
    stage, sums = Staging(device), []
    for batch in batches():
        (x,), kwargs = stage.send((batch,), {"again": batch})
        slow()
        sums.append(torch.stack([x.min(), x.max(), kwargs["again"].min(), kwargs["again"].max()]))
        del x, kwargs
    expected = [[float(number)] * 4 for number in range(BATCHES)]
    assert torch.stack(sums).tolist() == expected


@torch.inference_mode()
def test_work_waits_for_a_copy_that_is_late(device, slow):
    stage, sums = Staging(device), []
    for batch in batches():
        with torch.cuda.stream(stage._copies):
            slow()
        (x,), _ = stage.send((batch,), {})
        sums.append(torch.stack([x.min(), x.max()]))
        del x
    assert torch.stack(sums).tolist() == [[float(number)] * 2 for number in range(BATCHES)]


@torch.inference_mode()
def test_an_input_that_the_model_keeps_is_not_written_over(device, slow):
    """A model may hold its input until the next call: by then other batches are on their way."""
    stage, sums, before = Staging(device), [], None
    for batch in batches():
        (x,), _ = stage.send((batch,), {})
        slow()
        if before is not None:
            sums.append(torch.stack([before.min(), before.max()]))
        before = x
    assert torch.stack(sums).tolist() == [[float(number)] * 2 for number in range(BATCHES - 1)]


@torch.inference_mode()
def test_the_host_is_some_batches_ahead_and_not_all(device, slow):
    stage = Staging(device)
    large = torch.ones(1 << 22)  # 16 MiB, in a piece of memory of its own
    torch.cuda.synchronize(device)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(BATCHES):
        (x,), _ = stage.send((large,), {})
        slow()
        x.add_(1)
        del x
    taken = torch.cuda.max_memory_reserved(device) - before
    assert large.nbytes <= taken <= (staging.AHEAD + 3) * large.nbytes
    assert torch.cuda.memory_reserved(device) - before < BATCHES * large.nbytes


@torch.inference_mode()
def test_the_host_does_not_wait_for_the_work_on_a_batch_to_send_the_next(device, slow):
    stage = Staging(device)
    done = torch.cuda.Event()
    (first,), _ = stage.send((torch.ones(ROWS),), {})
    assert first.sum().item() == ROWS  # a kernel that is loaded when it is first used waits for all
    for _ in range(20):
        slow()
    first.add_(1)
    done.record()
    (second,), _ = stage.send((torch.ones(ROWS),), {})
    assert not done.query(), "the device should be busy still"
    # Nor does the copy: on a stream of its own it can be used at once.
    with torch.cuda.stream(stage._copies):
        assert second.sum().item() == ROWS
    assert not done.query()
    torch.cuda.synchronize(device)


@torch.inference_mode()
def test_what_does_not_fit_stays_where_it_can_be_halved(device, little_memory):
    batch = torch.ones(1 << 26)  # 256 MiB
    little_memory(128 << 20)
    (x,), _ = Staging(device).send((batch,), {})
    assert x is batch
    (x,), _ = Staging(device).send((batch[: 1 << 20],), {})
    assert x.device == device
