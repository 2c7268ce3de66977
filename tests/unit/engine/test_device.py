"""The device that is asked for is the one that is used, or it is an error."""

import pytest
import torch

from model_eval.engine import describe_device, make_current, resolve_device
from model_eval.engine.device import wait_for
from model_eval.errors import DeviceError
from model_eval.types import Location

HERE = Location(file="a.yaml", line=4, column=9)


@pytest.fixture
def cuda(monkeypatch):
    """A machine with two CUDA devices, as far as torch says."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)


@pytest.mark.parametrize("requested", ["auto", "cpu"])
def test_without_an_accelerator(no_accelerator, requested):
    assert resolve_device(requested) == torch.device("cpu")


@pytest.mark.parametrize(
    ("requested", "used"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_with_an_accelerator(cuda, requested, used):
    assert str(resolve_device(requested)) == used


@pytest.mark.parametrize(
    ("requested", "used"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", ["cuda:1", "cuda:1", "cuda:1"]),
        ("cpu", ["cpu", "cpu", "cpu"]),
    ],
)
def test_processes_take_the_devices_in_turn(cuda, requested, used):
    assert [str(resolve_device(requested, local=n)) for n in range(3)] == used


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("cuda", "`cuda` was asked for and is not here; this machine has only a CPU"),
        ("cuda:0", "`cuda:0` was asked for and is not here; this machine has only a CPU"),
        ("mps", "`mps` was asked for and is not here; this machine has only a CPU"),
        ("gpu", "`gpu` is not a device that torch knows"),
        ("meta", "`meta` was asked for and is not here; this machine has only a CPU"),
    ],
)
def test_a_device_that_is_not_here_is_never_a_cpu(no_accelerator, requested, message):
    with pytest.raises(DeviceError) as caught:
        resolve_device(requested, location=HERE)
    assert caught.value.message == message
    assert caught.value.location == HERE
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("requested", ["cuda:2", "mps", "xpu:0"])
def test_another_device_or_index_than_there_is(cuda, requested):
    with pytest.raises(DeviceError) as caught:
        resolve_device(requested)
    assert caught.value.message == (
        f"`{requested}` was asked for and is not here; this machine has 2 `cuda` devices"
    )


def test_what_names_no_device_means_the_one_that_is_used(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", asked.append)
    monkeypatch.setattr(torch, "empty", lambda _size, device: asked.append(f"memory of {device}"))
    make_current(torch.device("cpu"))
    make_current(torch.device("cuda", 1))
    assert asked == [torch.device("cuda", 1), "memory of cuda:1"]


def test_a_cpu_needs_no_waiting(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.accelerator, "synchronize", asked.append)
    wait_for(torch.device("cpu"))
    wait_for(torch.device("cuda", 1))
    assert asked == [torch.device("cuda", 1)]


def test_a_device_that_is_somebody_elses(monkeypatch):
    def busy(_device):
        raise RuntimeError(
            "CUDA error: all CUDA-capable devices are busy\nCompile with TORCH_USE_CUDA_DSA"
        )

    monkeypatch.setattr(torch.accelerator, "set_device_index", busy)
    with pytest.raises(DeviceError) as caught:
        make_current(torch.device("cuda", 0), location=HERE)
    assert str(caught.value) == (
        "a.yaml:4:9: `cuda:0` cannot be used: CUDA error: all CUDA-capable devices are busy; "
        "see what else runs on it (`nvidia-smi`), or name another"
    )


def test_the_cpu_is_described():
    info = describe_device(torch.device("cpu"), requested="auto")
    assert (info.requested, info.used) == ("auto", "cpu")
    assert info.name
    assert info.memory is None or info.memory > 2**20
