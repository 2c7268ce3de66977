"""A model that leaves torch's methods as they are is told from one that may change what it is given."""

from functools import wraps

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.utils import parametrizations

from model_eval.checkpoint.own_code import has_own_code


class Net(nn.Module):
    """What nearly every model is."""

    width: int = 2
    _version = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)

    def __repr__(self):
        return "Net"

    def extra_repr(self):
        return ""

    def forward(self, x):
        return self.norm(self.layer(x))

    def freeze(self):
        self.requires_grad_(False)


ORDINARY = {
    "a model": Net,
    "attention": lambda: nn.TransformerEncoderLayer(4, 2, 8),
    "containers": lambda: nn.ModuleDict({"a": nn.ModuleList([nn.LSTM(2, 2)])}),
    "parametrized": lambda: parametrizations.spectral_norm(nn.Linear(2, 2)),
    "on the meta device": lambda: Net().to("meta"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_only_torch_runs(name):
    assert not has_own_code(ORDINARY[name]())


METHODS = [
    "load_state_dict", "_load_from_state_dict", "to", "_apply", "train", "eval", "__setattr__",
    "register_parameter", "children", "__getattribute__", "set_extra_state", "training",
]  # fmt: skip


def torchs_own(name):
    return getattr(nn.Module, name, None) or getattr(
        object, name, property(lambda _: False, lambda *_: None)
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_torchs_that_is_replaced(name):
    mixin = type("Mixin", (), {name: torchs_own(name)})
    part = type("Part", (mixin, nn.ReLU), {})
    assert has_own_code(nn.Sequential(nn.Linear(2, 2), part()))


def on_the_instance(model):
    model.layer.load_state_dict = model.layer.load_state_dict


def before(model):
    model.layer.register_load_state_dict_pre_hook(lambda *_: None)


def afterwards(model):
    model.layer.register_load_state_dict_post_hook(lambda *_: None)


def tensor_of_its_own(model):
    kind = type("Own", (nn.Parameter,), {})
    model.layer.bias = kind(torch.zeros(2))


@pytest.mark.parametrize("change", [on_the_instance, before, afterwards, tensor_of_its_own])
def test_what_is_not_the_classes(change):
    model = Net()
    change(model)
    assert has_own_code(model)


def test_what_holds_for_all_modules(monkeypatch):
    handle = register_module_parameter_registration_hook(lambda *_: None)
    assert has_own_code(Net())
    handle.remove()
    assert not has_own_code(Net())
    load = nn.Module.load_state_dict

    @wraps(load)
    def patched(*args, **options):
        return load(*args, **options)

    monkeypatch.setattr(nn.Module, "load_state_dict", patched)
    assert has_own_code(Net())
