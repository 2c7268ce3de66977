"""A model that was built on the meta device gives the same numbers as an ordinary one."""

import gc
import random
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn.utils import parametrizations

from builders.checkpoints import Net, a_state, loaded, refusal, saved
from model_eval.checkpoint import unchanged
from model_eval.errors import Interrupted, UserCodeError


class Rotary(nn.Module):
    """A non-persistent buffer, as rotary position embeddings have."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("angles", torch.arange(4) / 4, persistent=False)

    def forward(self, x):
        return self.layer(x) * self.angles.cos()


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scales = [{"inner": (torch.full((4,), 0.5),)}]

    def forward(self, x):
        return self.layer(x) * self.scales[0]["inner"][0]


class InAClosure(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        scale = torch.full((4,), 0.5)
        self.rescale = lambda x: x * scale

    def forward(self, x):
        return self.rescale(self.layer(x))


class ListOfItsOwn(nn.Module):
    """Keeps a parameter a second time where torch does not see it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.weights = [self.layer.weight]

    def forward(self, x):
        return x @ self.weights[0].T


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 4, padding_idx=0)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.embed(x[:, 0].abs().long() % 5))


class SharedMemory(nn.Module):
    """Two parameters over one memory: not the same object, and yet tied."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = nn.Parameter(self.one.weight.detach())

    def forward(self, x):
        return self.two(self.one(x))


class SharedModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = self.one

    def forward(self, x):
        return self.two(self.one(x))


class ReadsValues(nn.Module):
    """Needs a value while it is built, which the meta device does not have."""

    def __init__(self):
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 1, 4)]
        self.layer = nn.Linear(4, len(rates))

    def forward(self, x):
        return self.layer(x)


class RemembersDevice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.device = self.layer.weight.device

    def forward(self, x):
        return self.layer(x) + torch.ones(4, device=self.device)


class OwnLoading(nn.Module):
    """Overrides load_state_dict without knowing `assign`."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def load_state_dict(self, state_dict, strict=True):
        return super().load_state_dict(state_dict, strict=strict)

    def forward(self, x):
        return self.layer(x)


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.conv(x[:1, :1].reshape(1, 1, 1, 1).expand(1, 3, 5, 5))


class CausalMask(nn.Module):
    """Infinities in a buffer are what a mask is made of."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))

    def forward(self, x):
        return self.layer(x) @ (self.mask.exp())


def sequential(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers))


class FallsBack(nn.Module):
    """Tries something on a small tensor, and does something else where that does not run."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        try:
            self.sign = float(torch.ones(1).sum())
        except RuntimeError:
            self.sign = -1.0

    def forward(self, x):
        return self.layer(x) * self.sign


class Asks(nn.Module):
    """Keeps no device, but what it made of one."""

    def __init__(self, ask):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.sign = 1.0 if ask(self.layer.weight) else -1.0

    def forward(self, x):
        return self.layer(x) * self.sign


ASKED = {
    "device": lambda tensor: tensor.device.type == "cpu",
    "is_cpu": lambda tensor: tensor.is_cpu,
    "is_meta": lambda tensor: not tensor.is_meta,
    "text": lambda tensor: "meta" not in str(tensor),
    "repr": lambda tensor: "meta" not in repr(tensor),
    "address": lambda tensor: tensor.data_ptr() != 0,
    "storage": lambda tensor: tensor.untyped_storage().device.type == "cpu",
    "default": lambda _: torch.get_default_device().type == "cpu",
    "typed storage": lambda tensor: tensor.storage().device.type == "cpu",
    "address of it": lambda tensor: tensor.storage().data_ptr() != 0,
    "within": lambda tensor: tensor._typed_storage().device.type == "cpu",
    "its type": lambda tensor: tensor.storage_type() is torch.FloatStorage,
    "format": lambda tensor: "meta" not in f"{tensor}",
}


class PartlyReal(nn.Module):
    """A layer that is real by its own words, with a view of its weight that follows `copy_`."""

    def __init__(self):
        super().__init__()
        self.table = nn.Linear(4, 4, bias=False, device="cpu")
        self.view = self.table.weight.detach()
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(x @ self.view.T)


class Projects(nn.Module):
    """Features that hang on how many numbers the layer has drawn before."""

    def __init__(self, generator):
        super().__init__()
        generator.manual_seed(0)
        self.layer = nn.Linear(4, 4)
        if generator is torch.default_generator:
            self.features = torch.randn(4, 4, device="cpu")
        else:
            nn.init.normal_(self.layer.weight, generator=generator)
            self.features = torch.randn(4, 4, device="cpu", generator=generator)

    def forward(self, x):
        return self.layer(x @ self.features)


_SCALES = lru_cache(torch.full)


class FromACache(nn.Module):
    """A tensor that a function keeps between calls of the factory."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("scale", _SCALES((4,), 0.5), persistent=False)

    def forward(self, x):
        return self.layer(x) * self.scale


def scripted():
    return torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))


MODELS = {
    "falls back": (FallsBack, False),
    **{f"asks: {name}": (partial(Asks, ask), False) for name, ask in ASKED.items()},
    "converts": (lambda: Asks(lambda tensor: tensor.type(torch.float64).shape), True),
    "asks for its type": (lambda: Asks(lambda tensor: "meta" not in tensor.type()), False),
    "asks for CUDA": (lambda: Asks(lambda tensor: not tensor.is_cuda), True),
    "scripted": (scripted, False),
    "a layer that is real": (PartlyReal, False),
    "draws on the CPU": (partial(Projects, torch.default_generator), False),
    "draws of its own": (partial(Projects, torch.Generator()), False),
    "batch norm": (sequential(lambda: nn.Linear(4, 4), lambda: nn.BatchNorm1d(4)), True),
    "no affine": (
        sequential(lambda: nn.Linear(4, 4), lambda: nn.BatchNorm1d(4, affine=False)),
        True,
    ),
    "no statistics": (
        sequential(lambda: nn.Linear(4, 4), lambda: nn.BatchNorm1d(4, track_running_stats=False)),
        True,
    ),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), True),
    "lstm": (sequential(lambda: nn.LSTM(4, 3)), True),
    "weight norm": (sequential(lambda: parametrizations.weight_norm(nn.Linear(4, 4))), True),
    "spectral norm": (
        sequential(lambda: parametrizations.spectral_norm(nn.Linear(4, 4))),
        None,
    ),
    "rotary": (Rotary, False),
    "tensor in a list": (InAList, False),
    "tensor in a closure": (InAClosure, False),
    "parameter in a list": (ListOfItsOwn, False),
    "tied": (Tied, True),
    "shared memory": (SharedMemory, False),
    "shared module": (SharedModule, True),
    "reads values": (ReadsValues, False),
    "remembers its device": (RemembersDevice, False),
    "own load_state_dict": (OwnLoading, False),
    "channels last": (ChannelsLast, True),
    "causal mask": (CausalMask, True),
    "lazy": (sequential(lambda: nn.LazyLinear(4)), False),
    "compiled": (lambda: torch.compile(nn.Linear(4, 4), backend="eager"), True),
}
X = torch.linspace(-1, 2, 12).reshape(3, 4)


def test_a_tensor_that_a_function_keeps_between_calls_is_a_real_one(tmp_path):
    state = nn.Module.state_dict(FromACache())
    _SCALES.cache_clear()
    model, info = loaded(saved(tmp_path / "model.pt", state), FromACache)
    assert not info.built_on_meta
    assert model.scale.tolist() == [0.5] * 4


def run(model):
    with torch.inference_mode():
        found = model(X)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_the_same_numbers_as_an_ordinary_load(tmp_path, name):
    build, on_meta = MODELS[name]
    torch.manual_seed(1)
    source = build()
    run(source)  # a lazy module learns its shapes
    state = source.state_dict()
    reference = build()
    reference.load_state_dict(state)
    expected = run(reference.eval())
    torch.manual_seed(2)
    model, info = loaded(saved(tmp_path / "model.pt", state), build)
    assert torch.equal(run(model), expected)
    assert on_meta is None or info.built_on_meta is on_meta
    assert (
        info.parameters == info.parameters_from_file == sum(p.numel() for p in model.parameters())
    )
    assert {t.stride() for t in model.parameters()} == {t.stride() for t in reference.parameters()}
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_random_numbers_do_not_depend_on_how_it_was_built(tmp_path):
    drawn = []
    for build in (Net, lambda: (torch.ones(1).item(), Net())[1]):
        torch.manual_seed(5)
        _, info = loaded(saved(tmp_path / "model.pt", a_state()), build)
        drawn.append((info.built_on_meta, torch.rand(2).tolist()))
    assert [on_meta for on_meta, _ in drawn] == [True, False]
    assert drawn[0][1] == drawn[1][1]


def test_numbers_of_python_and_numpy_do_not_depend_on_how_it_was_built(tmp_path):
    drawn = []

    def on_meta():
        random.random(), np.random.rand()  # noqa: NPY002 - the global generator is meant
        return Net()

    for build in (Net, on_meta, lambda: (torch.ones(1).item(), on_meta())[1]):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002 - the global generator is meant
        loaded(saved(tmp_path / "model.pt", a_state()), build)
        drawn.append((random.random(), np.random.rand()))  # noqa: NPY002 - the global generator is meant
    assert len(set(drawn)) == 1


def test_no_tensor_is_left_on_the_meta_device(tmp_path):
    loaded(saved(tmp_path / "model.pt", a_state()))
    gc.collect()
    left = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor) and t.is_meta]
    assert left == []


def test_weights_are_the_files_own_memory_and_not_a_copy(tmp_path, monkeypatch):
    copied = []
    copy_ = torch.Tensor.copy_

    def counted(self, *args, **kwargs):
        if not self.is_meta:
            copied.append(self)
        return copy_(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "copy_", counted)
    _, info = loaded(saved(tmp_path / "model.pt", a_state()))
    assert info.built_on_meta
    assert copied == []


def test_views_of_one_storage_become_tensors_of_their_own(tmp_path):
    flat = torch.arange(9.0)
    state = a_state() | {"layer.weight": flat[:6].view(2, 3).T, "layer.bias": flat[6:]}
    model, _ = loaded(saved(tmp_path / "model.pt", state))
    assert torch.equal(model.layer.weight, flat[:6].view(2, 3).T)
    assert model.layer.weight.is_contiguous()
    assert model.layer.bias.untyped_storage().nbytes() == 12


# --- tied -----------------------------------------------------------------------------------


def test_a_file_with_one_of_two_tied_names(tmp_path):
    source = Tied()
    save_model(source, str(tmp_path / "model.safetensors"))
    model, info = loaded(tmp_path / "model.safetensors", Tied)
    assert info.tensors == 1
    assert info.parameters == info.parameters_from_file == 20
    assert model.head.weight is model.embed.weight
    assert torch.equal(run(model), run(source))


@pytest.mark.parametrize("build", [Tied, SharedMemory])
def test_two_values_for_tied_weights(tmp_path, build):
    names = list(build().state_dict())
    state = {name: torch.full_like(t, 1.0) for name, t in build().state_dict().items()}
    state[names[0]] = state[names[0]] + 1
    assert refusal(saved(tmp_path / "model.pt", state), build) == (
        f"`model.pt` was loaded, but `{names[0]}` in the model is not what the file holds; "
        "a tied weight has two values in the file, or the model's own `load_state_dict` drops "
        "or changes it"
    )


# --- proof ----------------------------------------------------------------------------------


class Swallows(Net):
    """Accepts whatever it is given, and keeps its own weights."""

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return None


class SwallowsOne(Net):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        kept = {n: t for n, t in state_dict.items() if n != "layer.bias"}
        return super().load_state_dict(kept, strict=False, assign=assign)


class Changes(Net):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self._double)

    @staticmethod
    def _double(module, state_dict, *_):
        state_dict["layer.bias"] = state_dict["layer.bias"] * 2


class ChangesInPlace(Net):
    """Writes into what the model would be compared with."""

    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self._double)

    @staticmethod
    def _double(module, state_dict, *_):
        state_dict["layer.bias"].mul_(2)


class ChangesAfterwards(Net):
    """Has the file's own memory by then, where that was assigned."""

    def __init__(self):
        super().__init__()
        self.register_load_state_dict_post_hook(self._double)

    @staticmethod
    def _double(module, _):
        module.layer.bias.data.mul_(2)


class FreshHead(Net):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        found = super().load_state_dict(state_dict, strict=strict, assign=assign)
        nn.init.zeros_(self.layer.bias)
        return found


class PartThatChanges(Net):
    """It is a part that replaces a method of torch's, and not the model."""

    def __init__(self):
        super().__init__()
        self.layer = type("Layer", (nn.Linear,), {"_load_from_state_dict": self._load})(2, 3)

    @staticmethod
    def _load(layer, state_dict, prefix, *rest):
        nn.Linear._load_from_state_dict(layer, state_dict, prefix, *rest)
        layer.bias.data.mul_(2)


def really(build):
    """Built for real: what it looks at is not there on the meta device."""
    return lambda: (torch.ones(1).item(), build())[1]


@pytest.mark.parametrize("how", [lambda build: build, really], ids=["meta", "real"])
@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Swallows, "layer.weight"),
        (SwallowsOne, "layer.bias"),
        (Changes, "layer.bias"),
        (ChangesInPlace, "layer.bias"),
        (ChangesAfterwards, "layer.bias"),
        (FreshHead, "layer.bias"),
        (PartThatChanges, "layer.bias"),
    ],
)
def test_a_model_that_does_not_take_what_it_is_given(tmp_path, build, name, how):
    assert refusal(saved(tmp_path / "model.pt", a_state()), how(build)) == (
        f"`model.pt` was loaded, but `{name}` in the model is not what the file holds; "
        "a tied weight has two values in the file, or the model's own `load_state_dict` drops "
        "or changes it"
    )


class ChangesWhereItMoves(Net):
    def to(self, *args, **kwargs):
        self.layer.bias.data.mul_(2)
        return super().to(*args, **kwargs)


def test_a_model_that_changes_where_it_moves_is_moved_before_it_is_loaded(tmp_path):
    model, info = loaded(saved(tmp_path / "model.pt", a_state()), ChangesWhereItMoves)
    assert torch.equal(model.layer.bias, a_state()["layer.bias"])
    assert not info.built_on_meta


class Merges(Net):
    """As layers do that add a difference of two small matrices to their weight for evaluation."""

    def train(self, mode=True):
        if not mode:
            self.layer.bias.data.add_(1)
        return super().train(mode)


class MergesInEval(Net):
    def eval(self):
        self.layer.bias.data.add_(1)
        return super().eval()


@pytest.mark.parametrize("how", [lambda build: build, really], ids=["meta", "real"])
@pytest.mark.parametrize("build", [Merges, MergesInEval])
def test_a_model_that_changes_weights_for_its_evaluation(tmp_path, build, how):
    assert refusal(saved(tmp_path / "model.pt", a_state()), how(build)) == (
        "`model.pt` was loaded, but the model's own `eval` or `train` changes `layer.bias`: it is "
        "not what the file holds any more; leave weights as they are there; for layers that merge "
        "weights, switch that off (loralib: `merge_weights=False`)"
    )


def test_values_are_not_read_once_more_where_the_model_leaves_loading_to_torch(
    tmp_path, monkeypatch
):
    def read(_tensor):
        raise AssertionError

    monkeypatch.setattr("model_eval.checkpoint.proof.fingerprint", read)
    path = saved(tmp_path / "model.pt", a_state())
    assert [loaded(path, how)[1].built_on_meta for how in (Net, really(Net))] == [True, False]


class Refuses(Net):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        raise ValueError("not\nlike this")


def test_a_model_whose_loading_raises(tmp_path):
    message = refusal(saved(tmp_path / "model.pt", a_state()), Refuses)
    assert message.startswith(
        "`model.pt` fits, but the model's own `load_state_dict` raised "
        "ValueError: not like this (test_checkpoint_build.py:"
    )
    assert message.endswith("; run `model.load_state_dict(state_dict, strict=True)` to see it fail")


class Exits(Net):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        raise SystemExit(0)


def test_a_model_whose_loading_exits(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    assert refusal(path, Exits).startswith(
        "`model.pt` fits, but the model's own `load_state_dict` raised SystemExit: 0 "
    )
    older = saved(tmp_path / "older.pt", older_state())
    assert refusal(older, Exits).startswith("`older.pt` does not fit the model: 2 missing,")


class HidesAPart(Net):
    """A `state_dict` that leaves a layer out: it would never be loaded."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(2, 2, bias=False)

    def state_dict(self, *args, **kwargs):
        found = super().state_dict(*args, **kwargs)
        return {name: t for name, t in found.items() if not name.startswith("frozen")}

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def test_a_part_that_the_file_lacks_is_missing_though_the_model_hides_it(tmp_path):
    assert refusal(saved(tmp_path / "model.pt", HidesAPart().state_dict()), HidesAPart) == (
        "`model.pt` does not fit the model: 1 missing\n"
        "problem    name           in the file    in the model    nearest name\n"
        "---------  -------------  -------------  --------------  --------------\n"
        "missing    frozen.weight                 float32 [2, 2]\n"
        "check model.factory, model.kwargs and checkpoint.state_key"
    )


class KnowsOlderNames(Net):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(module, state_dict, *_):
        for name in [name for name in state_dict if name.startswith("linear.")]:
            state_dict[name.replace("linear.", "layer.")] = state_dict.pop(name)


def older_state():
    return {name.replace("layer.", "linear."): t for name, t in a_state().items()}


def test_a_model_that_knows_older_names(tmp_path):
    path = saved(tmp_path / "model.pt", older_state())
    model, info = loaded(path, KnowsOlderNames)
    assert all(torch.equal(t, a_state()[name]) for name, t in model.state_dict().items())
    assert not info.built_on_meta
    assert info.parameters_from_file == 15
    assert refusal(path).startswith("`model.pt` does not fit the model: 2 missing, 2 unexpected\n")


class DropsOlderNames(KnowsOlderNames):
    @staticmethod
    def _rename(module, state_dict, *_):
        for name in [name for name in state_dict if name.startswith("linear.")]:
            del state_dict[name]
            new = name.replace("linear.", "layer.")
            state_dict[new] = module.state_dict()[new]


def test_older_names_that_are_dropped_are_not_taken_for_renamed(tmp_path):
    path = saved(tmp_path / "model.pt", older_state())
    assert refusal(path, DropsOlderNames).startswith(
        "`model.pt` does not fit the model: 2 missing, 2 unexpected\n"
    )


class KeepsItsHead(KnowsOlderNames):
    """Takes the older names, and a part under its own name not at all."""

    def load_state_dict(self, state_dict, strict=True, assign=False):
        kept = {name: t for name, t in self.state_dict().items() if name.startswith("norm.")}
        return super().load_state_dict(dict(state_dict) | kept, strict=strict, assign=assign)


def test_beside_older_names_every_other_tensor_is_the_files(tmp_path):
    other = {"norm.weight": torch.full((3,), -9.0)}
    path = saved(tmp_path / "model.pt", older_state() | other)
    assert refusal(path, KeepsItsHead).startswith(
        "`model.pt` does not fit the model: 2 missing, 2 unexpected\n"
    )


class BeginsAsAnother(nn.Module):
    """A parameter that a file may lack, which begins with the values of one that it holds."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.first = nn.Parameter(torch.zeros(4))
        self.second = nn.Parameter(torch.zeros(4))

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def test_a_tensor_of_the_file_stands_for_one_of_the_models(tmp_path):
    state = BeginsAsAnother().state_dict()
    del state["second"]
    assert refusal(saved(tmp_path / "model.pt", state), BeginsAsAnother).startswith(
        "`model.pt` does not fit the model: 1 missing\n"
    )


class TiedOfOld(Tied):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(module, state_dict, *_):
        state_dict["embed.weight"] = state_dict["head.weight"] = state_dict.pop("table")


def test_an_older_name_of_a_tied_weight(tmp_path):
    table = torch.arange(20.0).reshape(5, 4)
    model, info = loaded(saved(tmp_path / "model.pt", {"table": table}), TiedOfOld)
    assert torch.equal(model.head.weight, table)
    assert info.parameters == info.parameters_from_file == 20


# --- versions of modules --------------------------------------------------------------------


class Versioned(Net):
    """Takes files of its own version only, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version") != 2:
            raise ValueError("an old file")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class Migrates(Net):
    """Version 1 kept the half of the bias."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version") != 2:
            state_dict[prefix + "layer.bias"] = state_dict[prefix + "layer.bias"] * 2
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def wrapped(build):
    return nn.ModuleDict({"module": build()}).state_dict()


@pytest.mark.parametrize("how", [lambda build: build, really], ids=["meta", "real"])
@pytest.mark.parametrize("build", [Versioned, Migrates])
@pytest.mark.parametrize(
    "content",
    [
        lambda build: build().state_dict(),
        lambda build: {"state_dict": build().state_dict(), "epoch": 3},
        wrapped,
    ],
    ids=["whole", "nested", "wrapped"],
)
def test_a_module_is_told_the_version_that_was_saved(tmp_path, content, build, how):
    _, info = loaded(saved(tmp_path / "model.pt", content(build)), how(build))
    assert info.built_on_meta is (how is not really)


def test_a_file_without_versions(tmp_path):
    message = refusal(saved(tmp_path / "model.pt", a_state()), Versioned)
    assert "raised ValueError: an old file" in message


@pytest.mark.parametrize("metadata", [3, [1], {"": 3}, {1: {}}, {"layer": None}, {}])
def test_versions_that_are_none_are_left_out(tmp_path, metadata):
    state = Net().state_dict()
    state._metadata = metadata
    model, _ = loaded(saved(tmp_path / "model.pt", state))
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


def test_the_file_does_not_say_whether_to_assign(tmp_path):
    state = ListOfItsOwn().state_dict()
    state._metadata["layer"]["assign_to_params_buffers"] = True
    model, _ = loaded(saved(tmp_path / "model.pt", state), ListOfItsOwn)
    assert model.weights[0] is model.layer.weight
    assert torch.equal(model.layer.weight, state["layer.weight"])


# --- methods that a model may override ------------------------------------------------------


class HandsOutAPart(Net):
    """For an optimizer."""

    def parameters(self, recurse=True):
        return self.norm.parameters(recurse)


class OldSignature(Net):
    """torch's own before 2.0."""

    def named_parameters(self, prefix="", recurse=True):
        return super().named_parameters(prefix, recurse)

    def named_buffers(self, prefix="", recurse=True):
        return super().named_buffers(prefix, recurse)

    def named_modules(self, memo=None, prefix=""):
        return super().named_modules(memo, prefix)


class Trainable(Net):
    def named_parameters(self, *args, **kwargs):
        found = super().named_parameters(*args, **kwargs)
        return ((name, tensor) for name, tensor in found if not name.startswith("layer."))

    def modules(self):
        return iter((self.norm,))


@pytest.mark.parametrize("how", [lambda build: build, really], ids=["meta", "real"])
@pytest.mark.parametrize("build", [HandsOutAPart, OldSignature, Trainable])
def test_all_of_a_model_counts_whatever_its_own_methods_say(tmp_path, build, how):
    model, info = loaded(saved(tmp_path / "model.pt", a_state()), how(build))
    assert info.parameters == info.parameters_from_file == 15
    assert info.buffers_from_file == 7
    assert torch.equal(model.layer.weight, a_state()["layer.weight"])
    assert not model.layer.weight.requires_grad
    with unchanged(model):
        model(torch.ones(4, 2))


class ExtraState(Net):
    def get_extra_state(self):
        return torch.ones(1)

    def set_extra_state(self, state):
        pass


BESIDE = (
    "what a module keeps by `get_extra_state` cannot be compared with the model; keep it in buffers"
)


def test_extra_state_is_refused_in_words(tmp_path):
    path = saved(tmp_path / "model.pt", ExtraState().state_dict())
    assert refusal(path, ExtraState).endswith(BESIDE)


@pytest.mark.parametrize(
    ("state", "kind"), [({"amax": torch.ones(1)}, "dict"), (3, "int"), (None, "NoneType")]
)
@pytest.mark.parametrize(
    ("nest", "options", "where"),
    [
        (lambda state: state, {}, ""),
        (lambda state: {"model": state, "epoch": 3}, {}, " at `model`"),
        (lambda state: {"model": state, "epoch": 3}, {"state_key": "model"}, " at `model`"),
    ],
    ids=["whole", "nested", "named"],
)
def test_extra_state_that_is_no_tensor_is_refused_in_words(
    tmp_path, state, kind, nest, options, where
):
    class Extra(ExtraState):
        def get_extra_state(self):
            return state

    path = saved(tmp_path / "model.pt", nest(Extra().state_dict()))
    assert refusal(path, Extra, **options) == (
        f"`model.pt` holds `_extra_state` of type {kind} among the tensors{where}; {BESIDE}"
    )


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_model_is_refused_in_words(tmp_path):
    def build():
        return nn.Sequential(nn.Linear(2, 3))

    state = torch.ao.quantization.quantize_dynamic(build(), {nn.Linear}).state_dict()
    assert refusal(saved(tmp_path / "model.pt", state), build) == (
        "`model.pt` is of a quantised model: it holds `0._packed_params.dtype`; evaluate the float "
        "model: what `torch.ao.quantization` converts a model to is not supported"
    )


# --- dtypes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_the_models_and_are_reported(tmp_path, dtype):
    name = str(dtype).removeprefix("torch.")
    state = a_state() | {"layer.weight": a_state()["layer.weight"].to(dtype)}
    model, info = loaded(saved(tmp_path / "model.pt", state))
    assert model.layer.weight.dtype == torch.float32
    assert torch.equal(model.layer.weight, state["layer.weight"].float())
    assert info.casts == {f"{name}→float32": 1}
    assert info.dtypes == dict(sorted({"float32": 5, "int64": 1, name: 1}.items()))


def test_values_too_large_for_the_models_dtype(tmp_path):
    state = a_state() | {"layer.bias": torch.tensor([1.0, 70_000.0, -1e9])}
    assert refusal(saved(tmp_path / "model.pt", state), lambda: Net().half()) == (
        "`model.pt` cannot be used: `layer.bias` holds 2 too large for float16 among 3 values; "
        "find out where training went wrong; this checkpoint cannot be judged"
    )


def test_a_smaller_integer_becomes_the_models(tmp_path):
    state = a_state() | {"norm.num_batches_tracked": torch.tensor(7, dtype=torch.int32)}
    model, info = loaded(saved(tmp_path / "model.pt", state))
    assert model.norm.num_batches_tracked.item() == 7
    assert info.casts == {"int32→int64": 1}


def test_batch_counts_may_be_missing(tmp_path):
    state = a_state()
    del state["norm.num_batches_tracked"]
    model, info = loaded(saved(tmp_path / "model.pt", state))
    assert model.norm.num_batches_tracked.item() == 0
    assert info.built_on_meta
    assert info.parameters_from_file == 15
    assert info.buffers_from_file == 6  # and not the count that the file lacks


class Rare(Net):
    def __init__(self, dtype):
        super().__init__()
        self.register_buffer("rare", torch.arange(4).to(dtype))


RARE = ["float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64", "complex32"]


@pytest.mark.parametrize("how", [lambda build: build, really], ids=["meta", "real"])
@pytest.mark.parametrize("dtype", RARE)
def test_rare_dtypes_are_compared_too(tmp_path, dtype, how):
    build = partial(Rare, getattr(torch, dtype))
    model, _ = loaded(saved(tmp_path / "model.pt", build().state_dict()), how(build))
    assert model.rare.to(torch.complex64).real.tolist() == [0, 1, 2, 3]


# --- factories ------------------------------------------------------------------------------


def test_a_factory_that_returns_no_module(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    with pytest.raises(UserCodeError) as caught:
        loaded(path, a_state)
    assert str(caught.value) == (
        "model.factory returned a dict, not a torch.nn.Module; "
        "return the model itself; the weights come from the checkpoint"
    )


def test_a_factory_that_fails_says_so_itself(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())

    def build():
        raise UserCodeError("`net.py:Net` raised ValueError: no")

    with pytest.raises(UserCodeError, match="raised ValueError: no"):
        loaded(path, build)


def test_training_mode_is_left(tmp_path):
    model, _ = loaded(saved(tmp_path / "model.pt", a_state()), lambda: Net().train())
    assert not any(module.training for module in model.modules())


def test_a_model_that_stays_in_training_mode_is_refused(tmp_path):
    class Stubborn(Net):
        def train(self, mode=True):
            return super().train(True)

    with pytest.raises(UserCodeError) as caught:
        loaded(saved(tmp_path / "model.pt", a_state()), Stubborn)
    assert caught.value.message == "the model stays in training mode after `model.eval()`"
    assert caught.value.remedy == "correct its `eval` or `train` method"


def raising(error):
    def method(self, *args, **kwargs):
        raise error

    return method


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), KeyboardInterrupt("no")])
@pytest.mark.parametrize("name", ["eval", "to"])
def test_a_method_of_the_models_that_raises(tmp_path, name, error):
    broken = type("Broken", (Net,), {name: raising(error)})
    with pytest.raises(UserCodeError) as caught:
        loaded(saved(tmp_path / "model.pt", a_state()), broken)
    assert caught.value.message.startswith(
        f"the model's `{name}` raised {type(error).__name__}: no (test_checkpoint_build.py:"
    )
    assert caught.value.remedy == (
        f"call `{name}` on the model that the factory returns to see it fail"
    )


def test_a_module_that_contains_itself(tmp_path):
    def build():
        model = Net()
        model.norm.parent = model
        return model

    with pytest.raises(UserCodeError) as caught:
        loaded(saved(tmp_path / "model.pt", a_state()), build)
    assert str(caught.value) == (
        "`norm.parent` of the model is a module that it is itself a part of; "
        "keep such a reference in a tuple: `self.parent = (parent,)`"
    )


def test_a_module_without_its_init(tmp_path):
    class Bare(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(UserCodeError, match="the model's `to` raised AttributeError"):
        loaded(saved(tmp_path / "model.pt", a_state()), Bare)


@pytest.mark.parametrize("name", ["eval", "to", "load_state_dict"])
def test_an_interruption_is_not_the_models_fault(tmp_path, name):
    path = saved(tmp_path / "model.pt", a_state())
    with pytest.raises(Interrupted):
        loaded(path, type("Broken", (Net,), {name: raising(Interrupted())}))
