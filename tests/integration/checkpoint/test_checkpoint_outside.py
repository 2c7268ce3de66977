"""Weights that a model keeps outside of its state dict are found, wherever they are."""

from collections import deque
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from builders.checkpoints import Net, a_state, refusal, saved
from model_eval.checkpoint.outside import outside


def holding(value, *, below=False):
    model = Net()
    (model.norm if below else model).h = value
    return model


def in_a_closure(value):
    return lambda x: value(x) + 1


@pytest.mark.parametrize(
    "keep",
    [
        lambda part: [part],
        lambda part: (part,),
        lambda part: {"a": part},
        lambda part: {part},
        lambda part: deque([part]),
        lambda part: {"a": [({"b": part},)]},
        lambda part: SimpleNamespace(part=part),
        lambda part: SimpleNamespace(parts={"a": [part]}),
        lambda part: partial(print, part),
        lambda part: part.forward,
        in_a_closure,
    ],
)
def test_a_layer_that_is_not_registered(keep):
    assert outside(holding(keep(nn.Linear(2, 1)))) == "a Linear in `h`"
    assert outside(holding(keep(nn.Linear(2, 1)), below=True)) == "a Linear in `norm.h`"


def test_a_layer_of_the_class():
    class Shared(Net):
        shared = nn.Linear(2, 1)

    class Below(Shared):
        pass

    assert outside(Below()) == "a Linear in `shared`"
    assert outside(nn.Sequential(Below())) == "a Linear in `0.shared`"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([nn.Sequential(nn.ReLU(), nn.Linear(2, 1))], "a Linear"),
        ([nn.BatchNorm1d(3, affine=False)], "a BatchNorm1d"),
        ([nn.Parameter(torch.zeros(2))], "a parameter"),
        ([nn.Parameter(torch.zeros(2), requires_grad=False)], "a parameter"),
        ([nn.UninitializedParameter()], "a parameter"),
        (torch.zeros(2, requires_grad=True), "a tensor that requires a gradient"),
    ],
)
def test_other_weights(value, what):
    assert outside(holding(value)) == f"{what} in `h`"


@pytest.mark.parametrize(
    "value",
    [
        [torch.zeros(2)],
        (torch.zeros(2, requires_grad=True) * 2),
        [nn.ReLU(), nn.CrossEntropyLoss(), nn.Dropout()],
        partial(nn.Linear, 2),
        nn.Linear,
        torch,
        None,
    ],
)
def test_what_holds_no_weights(value):
    assert outside(holding(value)) is None


def test_its_own_weights_may_be_anywhere_a_second_time():
    model = Net()
    model.parts = [model.layer, nn.Sequential(model.layer, model.norm)]
    model.norm.parent = (model,)
    model.weights = {"w": model.layer.weight, "view": nn.Parameter(model.layer.weight[0])}
    model.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.bound = model.layer.forward
    assert outside(model) is None


def test_things_that_hold_each_other():
    one, other = SimpleNamespace(), SimpleNamespace()
    one.other, other.one = other, one
    assert outside(holding(one)) is None
    other.part = nn.Linear(2, 1)
    assert outside(holding(one)) == "a Linear in `h`"


def test_what_is_far_away_is_not_the_models():
    value = nn.Linear(2, 1)
    for _ in range(9):
        value = [value]
    assert outside(holding(value)) is None
    assert outside(holding(value[0])) == "a Linear in `h`"


def test_a_proxy_that_objects_to_questions():
    class Proxy:
        @property
        def __class__(self):
            raise RuntimeError

        def __getattr__(self, name):
            raise RuntimeError

    assert outside(holding([Proxy()])) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.LSTM(4, 3),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
        lambda: nn.TransformerEncoderLayer(4, 2, 8),
        lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4))),
        lambda: torch.jit.trace(nn.Linear(4, 4), torch.zeros(1, 4)),
        lambda: torch.compile(nn.Linear(4, 4), backend="eager"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_makes_keeps_nothing_outside(build):
    model = build().eval().requires_grad_(False)
    with torch.inference_mode():
        model(torch.zeros(3, 4))
    assert outside(model) is None


def test_the_refusal(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    assert refusal(path, lambda: holding([nn.Linear(2, 1)])) == (
        "`model.pt` does not hold all of the model's weights: a Linear in `h` is no part of its "
        "state dict; keep modules in an `nn.ModuleList` or `nn.ModuleDict` and tensors in an "
        "`nn.ParameterList` or `register_buffer`"
    )
