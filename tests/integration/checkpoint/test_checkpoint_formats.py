"""Checkpoints as people save them, and the same weights out of each."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from builders.checkpoints import Net, a_ref, a_state, loaded, refusal, saved
from builders.reports import ROOT
from model_eval.checkpoint.file import open_checkpoint
from model_eval.checkpoint.read_safetensors import read_safetensors


def outputs(model):
    with torch.inference_mode():
        return model(torch.tensor([[1.0, 2.0], [-0.5, 0.25]]))


def ordinary():
    model = Net()
    model.load_state_dict(a_state())
    return outputs(model.eval())


def prefixed(prefix, state=None):
    return {prefix + name: tensor for name, tensor in (state or a_state()).items()}


OPTIMIZER = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}
LIGHTNING = {
    "epoch": 3,
    "global_step": 12,
    "pytorch-lightning_version": "2.6.0",
    "state_dict": prefixed("model."),
    "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "monitor": "f1"}},
    "optimizer_states": [OPTIMIZER],
    "hyper_parameters": {"_instantiator": "os.system", "width": 3},
}


@pytest.mark.parametrize(
    ("content", "key", "prefix"),
    [
        (a_state(), None, ""),
        ({"state_dict": a_state(), "epoch": 3}, "state_dict", ""),
        ({"model": a_state(), "optimizer": OPTIMIZER}, "model", ""),
        ({"model_state_dict": a_state(), "loss": torch.tensor(0.5)}, "model_state_dict", ""),
        ({"anything": {"inside": a_state()}}, "anything.inside", ""),
        ({"optimizer": {"w": torch.zeros(1)}, "net": a_state()}, "net", ""),
        ({"generator": a_state(), "critic": {"w": torch.zeros(1)}}, "generator", ""),
        (LIGHTNING, "state_dict", "model."),
        ({"state_dict": prefixed("net.")}, "state_dict", "net."),
        ({"state_dict": prefixed("model._orig_mod.")}, "state_dict", "model._orig_mod."),
        (prefixed("module."), None, "module."),
        (prefixed("_orig_mod."), None, "_orig_mod."),
        (prefixed("module._orig_mod."), None, "module._orig_mod."),
        (prefixed("_orig_mod.module."), None, "_orig_mod.module."),
        (prefixed("module.model."), None, "module.model."),
    ],
)
def test_a_state_dict_is_found(tmp_path, content, key, prefix):
    model, info = loaded(saved(tmp_path / "model.pt", content))
    assert torch.equal(outputs(model), ordinary())
    assert (info.state_key, info.stripped_prefix) == (key, prefix)
    assert info.parameters == info.parameters_from_file == 15
    assert info.buffers_from_file == 7
    assert (info.tensors, info.dtypes, info.casts) == (7, {"float32": 6, "int64": 1}, {})
    assert info.built_on_meta
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_state_key_decides_between_several(tmp_path):
    other = a_state() | {"layer.bias": torch.zeros(3)}
    path = saved(tmp_path / "model.pt", {"model": other, "ema": {"state.dict": a_state()}})
    model, info = loaded(path, state_key="ema.state.dict")
    assert torch.equal(outputs(model), ordinary())
    assert info.state_key == "ema.state.dict"
    assert loaded(path, state_key="ema")[1].state_key == "ema.state.dict"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("emma", "`model.pt` has no key `emma`; did you mean `ema`?"),
        ("zz", "`model.pt` has no key `zz`; its keys are `ema`, `epoch`"),
        (
            "ema.zz",
            (
                "`model.pt` has no key `ema.zz`; its keys are `layer.weight`, `layer.bias`, "
                "`norm.weight`, `norm.bias`, `norm.running_mean`, `norm.running_var` and 1 more"
            ),
        ),
        (
            "epoch",
            (
                "`model.pt` holds an int at `epoch`, not a state dict; save only the state dict: "
                "`torch.save(model.state_dict(), path)`"
            ),
        ),
        (
            "epoch.x",
            "`model.pt` holds an int at `epoch`, not a dict; correct checkpoint.state_key",
        ),
    ],
)
def test_a_wrong_state_key(tmp_path, key, message):
    path = saved(tmp_path / "model.pt", {"ema": a_state(), "epoch": 3})
    assert refusal(path, state_key=key) == message


def test_a_prefix_of_some_names_is_kept(tmp_path):
    state = prefixed("module.")
    state["layer.bias"] = state.pop("module.layer.bias")
    assert refusal(saved(tmp_path / "model.pt", state)).startswith(
        "`model.pt` does not fit the model: 5 missing, 6 unexpected\n"
    )


def test_a_model_that_has_the_prefix_itself(tmp_path):
    path = saved(tmp_path / "model.pt", prefixed("module."))
    model, info = loaded(path, lambda: torch.nn.ModuleDict({"module": Net()}))
    assert torch.equal(outputs(model["module"]), ordinary())
    assert info.stripped_prefix == ""


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_torch_save(tmp_path, legacy):
    model, info = loaded(saved(tmp_path / "model.pth", a_state(), legacy=legacy))
    assert torch.equal(outputs(model), ordinary())
    assert info.format == ("torch-legacy" if legacy else "torch-zip")


@pytest.mark.parametrize("dtype", [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool,
    torch.complex64, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2,
    torch.float8_e5m2fnuz,
])  # fmt: skip
def test_every_dtype_of_safetensors_is_read_like_the_library_reads_it(tmp_path, dtype):
    bits = torch.arange(48, dtype=torch.uint8)
    bits = bits % 2 if dtype is torch.bool else bits
    state = {
        "z": bits.view(dtype).reshape(-1, 2), "scalar": bits.view(dtype)[1].clone(),
        "empty": torch.empty((0, 3), dtype=dtype), "a": bits.view(dtype)[1:].clone(),
    }  # fmt: skip
    save_file(state, tmp_path / "model.safetensors")
    with open_checkpoint(a_ref(tmp_path / "model.safetensors")) as opened:
        found, info = read_safetensors(opened, device=torch.device("cpu"), mapped=False)
    expected = load_file(tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    assert (info.sha256, info.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        as_bytes = [t.reshape(-1).view(torch.uint8).tolist() for t in (found[name], tensor)]
        assert as_bytes[0] == as_bytes[1]
        assert found[name].untyped_storage().nbytes() == len(as_bytes[0])


@pytest.mark.parametrize("part", [1, 7, 1 << 20])
def test_safetensors_are_read_in_parts_of_any_size(tmp_path, monkeypatch, part):
    monkeypatch.setattr("model_eval.checkpoint.read_safetensors._PART", part)
    save_file(a_state(), tmp_path / "model.safetensors")
    model, info = loaded(tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    assert info.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert torch.equal(model.layer.weight, a_state()["layer.weight"])


@pytest.mark.parametrize("mapped", [False, True])
def test_the_default_device_of_the_repositorys_code_changes_nothing(tmp_path, mapped):
    save_file(a_state(), tmp_path / "model.safetensors")
    with open_checkpoint(a_ref(tmp_path / "model.safetensors")) as opened, torch.device("meta"):
        found, _ = read_safetensors(opened, device=torch.device("cpu"), mapped=mapped)
    for name, tensor in a_state().items():
        assert torch.equal(found[name], tensor)


def test_safetensors(tmp_path):
    save_file(a_state(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, info = loaded(tmp_path / "model.safetensors")
    assert torch.equal(outputs(model), ordinary())
    assert info.format == "safetensors"


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "mps", "xpu:1"])
def test_a_checkpoint_saved_on_an_accelerator_loads_on_the_cpu(tmp_path, monkeypatch, device):
    # What torch.save writes on a machine with that device differs in this tag alone.
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: device)
    path = saved(tmp_path / "model.pt", a_state())
    assert device.encode() in path.read_bytes()
    with pytest.raises(RuntimeError):
        torch.load(path, weights_only=True)  # without map_location it does not
    model, _ = loaded(path)
    assert torch.equal(outputs(model), ordinary())


def a_sharded(folder, **changes):
    """Two shards and their index; `weight_map` entries can be changed, None leaves one out."""
    state = a_state()
    names = sorted(state)
    placed = {
        name: f"model-0000{1 + (number > 3)}-of-00002.safetensors"
        for number, name in enumerate(names)
    }
    for shard in set(placed.values()):
        save_file({n: state[n] for n in names if placed[n] == shard}, folder / shard)
    placed = {n: s for n, s in (placed | changes).items() if s is not None}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


def test_the_pin_of_a_sharded_checkpoint_is_of_every_shard(tmp_path):
    index = a_sharded(tmp_path)
    files = [index, *sorted(tmp_path.glob("*.safetensors"))]
    digests = [hashlib.sha256(one.read_bytes()).hexdigest() for one in files]
    pin = hashlib.sha256(",".join(digests).encode()).hexdigest()
    _, info = loaded(index, sha256=pin)
    assert (info.pinned, info.digest) == (True, pin)
    assert "its index and shards together" in refusal(index, sha256=digests[0])
    tensors = load_file(files[1])
    save_file({name: value + 1 for name, value in tensors.items()}, files[1])
    assert "is not the pinned file: the sha256 of its index and shards" in refusal(
        index, sha256=pin
    )


def test_sharded_safetensors(tmp_path):
    model, info = loaded(a_sharded(tmp_path))
    assert torch.equal(outputs(model), ordinary())
    assert info.format == "safetensors-sharded"
    assert [file.path for file in info.files] == [
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert all(file.size == (tmp_path / file.path).stat().st_size for file in info.files)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layer.bias": None},
            (
                "`model-00001-of-00002.safetensors` holds `layer.bias`, which "
                "`model.safetensors.index.json` does not name"
            ),
        ),
        (
            {"layer.bias": "model-00002-of-00002.safetensors"},
            (
                "`model-00001-of-00002.safetensors` holds `layer.bias`, which "
                "`model.safetensors.index.json` places in `model-00002-of-00002.safetensors`"
            ),
        ),
        (
            {"other": "model-00001-of-00002.safetensors"},
            (
                "`model-00001-of-00002.safetensors` lacks 1 tensor that "
                "`model.safetensors.index.json` places in it: `other`"
            ),
        ),
    ],
)
def test_an_index_and_shards_that_disagree(tmp_path, changes, message):
    assert refusal(a_sharded(tmp_path, **changes)) == (
        f"{message}; write the shards and their index again, together"
    )


def test_a_shard_that_is_a_git_lfs_pointer(tmp_path):
    index = a_sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    assert refusal(index) == (
        "`model-00002-of-00002.safetensors` is a Git LFS pointer, not the file itself; "
        "run `git lfs pull`, or set `lfs: true` on actions/checkout"
    )


def test_a_shard_that_is_a_symlink(tmp_path):
    index = a_sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to("elsewhere")
    assert refusal(index) == (
        "`model-00002-of-00002.safetensors` is a symlink; put the shard itself beside the index"
    )


ACCEPTED = sorted((ROOT / "tests/cases/accepted/checkpoints").iterdir())


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.name)
def test_an_accepted_file_gives_the_known_weights(path):
    assert torch.equal(outputs(loaded(path)[0]), ordinary())
