"""A checkpoint on its way to the device: the file's values, there, and no more memory than they take."""

import json

import pytest
import torch
from safetensors.torch import save_file

from builders.checkpoints import Net, a_state, loaded, refusal, saved

WIDTH, LAYERS = 1024, 16


class Wide(torch.nn.Sequential):
    def __init__(self):
        super().__init__(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))


class Eager(Wide):
    """Cannot be built on the meta device: it looks at its weights."""

    def __init__(self):
        super().__init__()
        self.scale = float(self[0].weight.abs().max())


def wide_state():
    generator = torch.Generator().manual_seed(0)
    return {
        f"{layer}.{name}": torch.randn(shape, generator=generator)
        for layer in range(LAYERS)
        for name, shape in (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,)))
    }


def in_format(folder, kind, state):
    path = folder / f"model.{kind}"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "safetensors.index.json":
        names = list(state)
        placed = {}
        for index, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
            save_file({name: state[name] for name in part}, folder / f"{index}.safetensors")
            placed |= dict.fromkeys(part, f"{index}.safetensors")
        path.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    else:
        saved(path, state, legacy=kind == "legacy.pt")
    return path


KINDS = ["safetensors", "safetensors.index.json", "pt", "legacy.pt"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", [Wide, Eager])
def test_it_is_there_and_takes_what_the_weights_take(device, tmp_path, kind, build):
    state = wide_state()
    path = in_format(tmp_path, kind, state)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    model, info = loaded(path, build, device=device)
    peak = torch.cuda.max_memory_allocated(device) - before
    assert peak <= 1.1 * sum(tensor.nbytes for tensor in state.values())
    assert info.parameters_from_file == info.parameters == LAYERS * (WIDTH + 1) * WIDTH
    assert info.built_on_meta == (build is Wide)
    for name, tensor in model.state_dict().items():
        assert tensor.device == device
        assert torch.equal(tensor.cpu(), state[name])


@pytest.mark.parametrize("legacy", [False, True])
def test_what_was_saved_from_a_gpu_goes_where_it_is_to_be(device, tmp_path, legacy):
    state = {name: tensor.to(device) for name, tensor in a_state().items()}
    path = saved(tmp_path / "model.pt", state, legacy=legacy)
    for where in (torch.device("cpu"), device):
        model, _ = loaded(path, device=where)
        assert all(tensor.device == where for tensor in model.state_dict().values())
        assert torch.equal(model.state_dict()["layer.weight"].cpu(), a_state()["layer.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_said(device, tmp_path, kind, little_memory):
    path = in_format(tmp_path, kind, wide_state())
    little_memory(32 << 20)
    assert f"does not fit in the memory of `{device}`" in refusal(path, Wide, device=device)


def test_a_wrong_value_on_the_device_is_found(device, tmp_path):
    class Drops(Net):
        def load_state_dict(self, *args, **kwargs):
            found = super().load_state_dict(*args, **kwargs)
            with torch.no_grad():
                self.layer.weight.zero_()
            return found

    path = saved(tmp_path / "model.pt", a_state())
    assert "in the model is not what the file holds" in refusal(path, Drops, device=device)
