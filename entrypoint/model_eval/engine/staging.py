"""Inputs on their way to the device: copied while it still works on those before."""

from collections import deque
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model_eval.engine.memory import is_out_of_memory, release

AHEAD = 3
"""So many batches are on the device at most that it has not begun with."""


class Staging:
    """Sends batches to the device, each beside the work on those before it.

    To a CUDA device they go in a stream of their own, from memory that does not move, so that neither
    the host nor the device waits for a copy. To any other the model's side copies them itself; and so
    it does where they do not fit, for a batch can be halved there.

    Args:
        device: where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        stream: Callable[[torch.device], torch.cuda.Stream] = torch.cuda.Stream  # has no types
        self._copies = stream(device) if device.type == "cuda" else None
        self._begun: deque[torch.cuda.Event] = deque()

    def send(
        self, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """The batch with its inputs on the way; whatever uses them in the current stream waits for them.

        Args:
            args: inputs on the CPU.
            kwargs: likewise.
        """
        if self._copies is None:
            return args, kwargs
        work = torch.cuda.current_stream(self._device)
        self._wait_for_room(work)
        try:
            with torch.cuda.stream(self._copies):
                sent = (
                    tuple(self._sent(value, work) for value in args),
                    {name: self._sent(value, work) for name, value in kwargs.items()},
                )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            work.wait_stream(self._copies)
            return sent
        release(self._device)
        return args, kwargs

    def _wait_for_room(self, work: torch.cuda.Stream) -> None:
        """The host is ahead of the device by some batches, and not by all of the set."""
        self._begun.append(work.record_event())
        if len(self._begun) > AHEAD:
            self._begun.popleft().synchronize()

    def _sent(self, value: Tensor, work: torch.cuda.Stream) -> Tensor:
        sent = value.pin_memory().to(self._device, non_blocking=True)
        # Its memory is of the other stream, which must not use it again before the work is done.
        sent.record_stream(work)
        return sent
