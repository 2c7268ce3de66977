"""What a prediction costs: timed in a pass of its own, on samples that are in memory already.

One call is timed from inputs on the CPU to outputs on the device: the way there, the transform,
the model and the postprocess, as the accuracy pass runs them. The device is waited for before the
clock is read, both times.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from model_eval.engine.device import wait_for
from model_eval.engine.memory import peak_resident
from model_eval.engine.predict import Predict
from model_eval.engine.sample import Sample
from model_eval.errors import EvaluationError, ModelEvalError
from model_eval.heldout.batch import select
from model_eval.metrics.cost import Measured
from model_eval.spec.eval_spec import CostSpec
from model_eval.types import CheckpointInfo


def measure_cost(
    predict: Predict,
    sample: Sample,
    cost: CostSpec,
    *,
    checkpoint: CheckpointInfo,
    device: torch.device,
    clock: Callable[[], float],
) -> Measured:
    """Times the model and reads the peaks of memory.

    A model that cannot be run so, for example with a batch of one, leaves the costs undefined:
    its accuracy is known, and no gate on a cost passes.

    Args:
        predict: the same as of the accuracy pass; its outputs are thrown away.
        sample: where the inputs come from.
        cost: how often, and on how many samples at once.
        checkpoint: what was loaded.
        device: where the model is.
        clock: seconds, monotonic.
    """
    untimed: str | None = None
    seconds: tuple[float, ...] = ()
    counts = _reset_peak(device)
    try:
        seconds = time_calls(predict, sample, cost, wait=partial(wait_for, device), clock=clock)
    except ModelEvalError as error:
        untimed = f"it could not be timed with batches of {cost.batch_size}: {error.message}"
    # 0 is what torch says of a device whose memory it does not count.
    allocated = torch.accelerator.max_memory_allocated(device) if counts else 0
    return Measured(
        seconds=seconds,
        untimed=untimed,
        batch_size=cost.batch_size,
        host_bytes=peak_resident(),
        device_bytes=allocated or None,
        no_device_bytes=None if allocated else _why_not_counted(device),
        parameters=checkpoint.parameters,
        file_bytes=sum(file.size for file in checkpoint.files),
    )


def time_calls(
    predict: Predict,
    sample: Sample,
    cost: CostSpec,
    *,
    wait: Callable[[], None],
    clock: Callable[[], float],
) -> tuple[float, ...]:
    """Seconds of each of `cost.runs` calls, after `cost.warmup` calls that do not count.

    The samples are taken in turn, again from the first after the last, so that every batch is
    full; they are gathered while the clock does not run.

    Args:
        predict: as `measure_cost`.
        sample: as `measure_cost`.
        cost: as `measure_cost`.
        wait: returns when the device has done all that it was given.
        clock: seconds, monotonic.

    Raises:
        EvaluationError: the model cannot be run so, or the clock went backwards.
    """
    seconds: list[float] = []
    for call in range(cost.warmup + cost.runs):
        rows = np.arange(call * cost.batch_size, (call + 1) * cost.batch_size) % len(sample)
        batch = select(sample.rows, rows)
        wait()
        started = clock()
        outputs = predict(batch.args, batch.kwargs)
        wait()
        seconds.append(clock() - started)
        del outputs  # as in the accuracy pass, the next call finds its memory free
    timed = tuple(seconds[cost.warmup :])
    if min(timed) < 0:
        raise EvaluationError("the clock went backwards", remedy="run it again")
    return timed


def _reset_peak(device: torch.device) -> bool:
    """Starts to count anew; False where torch does not count this device's memory."""
    if device.type == "cpu":
        return False
    try:
        torch.accelerator.reset_peak_memory_stats(device)
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _why_not_counted(device: torch.device) -> str:
    if device.type == "cpu":
        return "the model ran on the CPU: `peak_memory_mb` is its memory"
    return f"torch does not count the memory of `{device.type}`"
