"""The same architecture with fresh weights: what the checkpoint must be better than."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from model_eval.checkpoint import build as building
from model_eval.checkpoint.slots import tensors_of
from model_eval.errors import UserCodeError

MAX_PARAMETERS = 500_000_000
"""Of a larger model no second one is built beside the first: memory may not do."""


def untrained(build: Callable[[], Any], *, device: torch.device, seed: int) -> nn.Module:
    """A model whose weights its factory draws, never on the meta device, where there are none.

    Args:
        build: makes the model.
        device: where it is to be.
        seed: of all random numbers that the factory may draw; the ones of the run are given back.

    Returns:
        The model in eval mode, without gradients.

    Raises:
        UserCodeError: the factory failed, or leaves weights to the first batch.
    """

    def seeded() -> Any:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - a factory's too
        torch.manual_seed(seed)
        return build()

    model = building.build_real(seeded, device)
    if any(is_lazy(tensor) for tensor in tensors_of(model).values()):
        raise UserCodeError(
            "the factory leaves the shapes of weights to the first batch",
            remedy="set `control: false`, or give lazy modules their sizes",
        )
    return building.ready(model)
