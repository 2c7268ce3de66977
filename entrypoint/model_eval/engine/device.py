"""Which device runs the model. A device that is named and not there is an error, never a CPU."""

import platform
from pathlib import Path

import torch

from model_eval import __version__
from model_eval.errors import DeviceError
from model_eval.types import DeviceInfo, Environment, Location
from model_eval.wording import first_line


def resolve_device(
    requested: str, *, location: Location | None = None, local: int = 0
) -> torch.device:
    """The device that a spec asks for.

    Args:
        requested: `auto` (the accelerator if there is one, else the CPU), `cpu`, or a device
            type that torch knows, with or without an index.
        location: the place in the spec, for the error.
        local: of several processes on this machine which one asks: where no index is named they take
            the devices in turn.

    Raises:
        DeviceError: there is no such device here.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if requested == "auto":
        return _own(accelerator.type, local) if accelerator else torch.device("cpu")
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise DeviceError(
            f"`{requested}` is not a device that torch knows",
            remedy="write auto, cpu, cuda, cuda:N, mps or xpu",
            location=location,
        ) from error
    if device.type == "cpu":
        return torch.device("cpu")
    here = f"this machine has {_available(accelerator)}"
    if accelerator is None or device.type != accelerator.type:
        raise DeviceError(
            f"`{requested}` was asked for and is not here; {here}",
            remedy="run on a runner that has one (and whose torch is built for it), "
            "or write `device: auto`",
            location=location,
        )
    if ":" not in requested:
        return _own(device.type, local)
    index = device.index or 0
    if index >= torch.accelerator.device_count():
        raise DeviceError(
            f"`{requested}` was asked for and is not here; {here}",
            remedy="name an index that is there",
            location=location,
        )
    return torch.device(device.type, index)


def _own(kind: str, local: int) -> torch.device:
    return torch.device(kind, local % max(1, torch.accelerator.device_count()))


def make_current(device: torch.device, *, location: Location | None = None) -> None:
    """Whatever in this thread names no index of a device means this one: nothing is begun on another.

    Raises:
        DeviceError: it is there and cannot be used, as where another process has it for itself.
    """
    if device.type == "cpu":
        return
    try:
        torch.accelerator.set_device_index(device)
        torch.empty(1, device=device)  # the index alone may be current already, and begins nothing
    except RuntimeError as error:
        raise DeviceError(
            f"`{device}` cannot be used: {first_line(error)}",
            remedy="see what else runs on it (`nvidia-smi`), or name another",
            location=location,
        ) from error


def wait_for(device: torch.device) -> None:
    """Returns when the device has done all that it was given; a CPU has when a call returns."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def describe_device(device: torch.device, *, requested: str) -> DeviceInfo:
    """Name, memory and versions of the device that was used."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return DeviceInfo(
            requested=requested,
            used=str(device),
            name=properties.name,
            memory=properties.total_memory,
            runtime=f"HIP {torch.version.hip}"
            if torch.version.hip
            else f"CUDA {torch.version.cuda}",
            driver=_nvidia_driver(),
        )
    name = _cpu_name() if device.type == "cpu" else device.type
    if device.type == "xpu":
        name = torch.xpu.get_device_name(device)
    return DeviceInfo(
        requested=requested,
        used=str(device),
        name=name,
        memory=_host_memory() if device.type == "cpu" else None,
        runtime=None,
        driver=None,
    )


def environment_of(device: torch.device, *, requested: str) -> Environment:
    """Versions, and the device that was used."""
    return Environment(
        model_eval=__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),  # a TorchVersion, which msgspec refuses
        platform=platform.platform(),
        threads=torch.get_num_threads(),
        device=describe_device(device, requested=requested),
    )


def _available(accelerator: torch.device | None) -> str:
    if accelerator is None:
        return "only a CPU"
    count = torch.accelerator.device_count()
    return f"{count} `{accelerator.type}` device{'s' if count != 1 else ''}"


def _cpu_name() -> str:
    info = _read(Path("/proc/cpuinfo"))
    for line in info.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _host_memory() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _nvidia_driver() -> str | None:
    words = _read(Path("/proc/driver/nvidia/version")).split("Kernel Module")
    return words[1].split()[0] if len(words) > 1 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
