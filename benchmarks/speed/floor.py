"""The floor: the forward passes alone, over batches already cut and in memory."""

import torch

from benchmarks.speed.contest import Contender, Values
from benchmarks.speed.data import Held

BATCH = 256
NAME = f"forward passes alone, batch {BATCH}"


APART = ", memory kept"
"""In the process that `model-eval run` evaluates in."""


def forward(model: torch.nn.Module, size: int = BATCH, *, where: str = "") -> Contender:
    """At this batch size; `where` is added to its name."""

    def run(data: Held) -> Values:
        with torch.inference_mode():
            for x, _ in data.slices(size):
                model(x)
        return {}

    return Contender(name=f"forward passes alone, batch {size}{where}", kind="floor", run=run)
