"""Inputs on their way to the device: copied while it still works on those before."""

from dataclasses import replace

import torch

from model_eval.engine.memory import is_out_of_memory, release
from model_eval.heldout import Batch


def staged(batch: Batch | None, device: torch.device) -> Batch | None:
    """The batch with its inputs on the way to the device.

    To a CUDA device they go from memory that does not move, so that nobody waits for the copy: it is
    in the device's queue before what uses it. To any other the model's side copies them itself; and
    so it does where they do not fit, for a batch can be halved there.
    """
    if batch is None or device.type != "cuda":
        return batch
    try:
        return replace(
            batch,
            args=tuple(_sent(value, device) for value in batch.args),
            kwargs={name: _sent(value, device) for name, value in batch.kwargs.items()},
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    release(device)
    return batch


def _sent(value: torch.Tensor, device: torch.device) -> torch.Tensor:
    return value.pin_memory().to(device, non_blocking=True)
