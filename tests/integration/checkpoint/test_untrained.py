"""An untrained model: fresh weights that hang on the seed alone, and nothing else is touched."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from model_eval.checkpoint import prints, untrained
from model_eval.errors import UserCodeError

CPU = torch.device("cpu")


class Drawing(nn.Module):
    """Draws from every generator that a factory may use."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.scale = nn.Parameter(torch.tensor([random.random(), np.random.rand()]))  # noqa: NPY002

    def forward(self, x):
        return self.norm(self.layer(x)) * self.scale


def made(seed, build=Drawing):
    return untrained(build, device=CPU, seed=seed)


def test_weights_hang_on_the_seed_alone():
    first = prints(made(1))
    random.random()
    torch.rand(3)
    assert prints(made(1)) == first
    second = prints(made(2))
    assert {name for name in first if first[name] != second[name]} == {
        "layer.weight", "layer.bias", "scale",
    }  # fmt: skip


def test_the_draws_of_the_run_are_given_back():
    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    def seed():
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)

    seed()
    expected = draws()
    seed()
    made(1)
    assert draws() == expected


def test_it_is_ready_to_be_evaluated():
    model = made(1)
    assert not any(part.training for part in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_weights_without_values_are_refused():
    with pytest.raises(UserCodeError, match="leaves the shapes of weights to the first batch"):
        made(1, lambda: nn.LazyLinear(2))
    with pytest.raises(UserCodeError, match="Cannot copy out of meta tensor"):
        made(1, lambda: nn.Linear(2, 2, device="meta"))
