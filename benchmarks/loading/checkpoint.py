"""A checkpoint of two gigabytes, from the file to a model: time and memory, beside what people write.

    python -m benchmarks.loading.checkpoint
    python -m benchmarks.loading.checkpoint --device cuda

Every way runs in a process of its own, in turn; what is quoted are medians, as ratios to the floor of
the same run: reading the file once and its SHA-256, nothing else. Peak memory is what the process took
on top of what it had, over the bytes of the model: its own, looked at every few milliseconds, and with
pages of a mapped file, which the system takes back when memory is short. The files are in the page cache.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.speed import machine
from model_eval.checkpoint import load_model
from model_eval.spec.eval_spec import CheckpointSpec, PathRef
from model_eval.types import Location

WIDTH = 4096
SHARDS = 4
RESULTS = Path("benchmarks/results")
MIB = 1 << 20
INDEX = "model.safetensors.index.json"


class Net(nn.Sequential):
    """Layers of 64 MiB each."""

    def __init__(self, layers: int) -> None:
        super().__init__(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))


class Eager(Net):
    """The same, of a kind that the meta device cannot build: it looks at its weights."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers)
        self.scale = float(self[0].weight.abs().max())


def write(folder: Path, layers: int) -> None:
    """The same weights in three formats."""
    torch.manual_seed(0)
    state = {
        f"{layer}.{name}": torch.randn(shape) * 0.01
        for layer in range(layers)
        for name, shape in (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,)))
    }
    torch.save(state, folder / "model.pt")
    save_file(state, folder / "model.safetensors")
    names = list(state)
    placed: dict[str, str] = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        part = names[shard * len(names) // SHARDS : (shard + 1) * len(names) // SHARDS]
        save_file({name: state[name] for name in part}, folder / file)
        placed |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def read_and_hash(path: Path) -> None:
    """The floor."""
    block = bytearray(MIB)
    sha256 = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(block):
            sha256.update(memoryview(block)[:got])


def copy(path: Path) -> None:
    """As many bytes from memory to memory that the process does not have yet."""
    source = torch.zeros(16 * MIB, dtype=torch.uint8)
    target = torch.empty(path.stat().st_size, dtype=torch.uint8)
    for part in torch.split(target, len(source)):
        part.copy_(source[: len(part)])


def ours(path: Path, model: Callable[[], nn.Module], device: torch.device) -> nn.Module:
    at = Location(file="benchmark", line=1, column=1)
    ref = PathRef(path=path, display=path.name, location=at)
    spec = CheckpointSpec(path=ref, sha256=None, state_key=None)
    return load_model(spec, build=model, device=device)[0]


def with_torch(
    path: Path, model: Callable[[], nn.Module], device: torch.device, *, mmap: bool
) -> nn.Module:
    built = model().to(device)
    at = None if mmap else device  # what is mapped is on the CPU
    built.load_state_dict(torch.load(path, weights_only=True, mmap=mmap, map_location=at))
    return built


def with_safetensors(path: Path, model: Callable[[], nn.Module], device: torch.device) -> nn.Module:
    built = model().to(device)
    built.load_state_dict(load_file(path, device=str(device)))
    return built


Way = Callable[[Path, Callable[[], nn.Module], torch.device], Any]

WAYS: dict[str, tuple[str, Way]] = {
    "floor: read and sha256": ("model.safetensors", lambda path, *_: read_and_hash(path)),
    "memory to memory": ("model.safetensors", lambda path, *_: copy(path)),
    "building the model alone": ("model.safetensors", lambda _, model, at: model().to(at)),
    "model-eval, safetensors": ("model.safetensors", ours),
    "model-eval, safetensors in 4 shards": (INDEX, ours),
    "model-eval, .pt": ("model.pt", ours),
    "model-eval, safetensors, no meta device": ("model.safetensors", ours),
    "model-eval, .pt, no meta device": ("model.pt", ours),
    "torch.load + load_state_dict": ("model.pt", partial(with_torch, mmap=False)),
    "torch.load(mmap) + load_state_dict": ("model.pt", partial(with_torch, mmap=True)),
    "safetensors + load_state_dict": ("model.safetensors", with_safetensors),
}


def measure(folder: Path, way: str, layers: int, device: torch.device) -> dict[str, float]:
    """In this process: wall seconds, seconds of all its threads, and peak memory in MiB."""
    name, run = WAYS[way]
    kind = Eager if "no meta" in way else Net
    # Everything is loaded and imported once before memory is looked at.
    torch.aminmax(torch.zeros(1, device=device)).max.item()
    Path("/proc/self/clear_refs").write_text("5")
    before, own = _status("VmRSS"), _status("RssAnon")
    with _largest("RssAnon") as largest:
        began, worked = time.perf_counter(), time.process_time()
        result = run(folder / name, lambda: kind(layers), device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
    del result
    return {
        "seconds": seconds,
        "cpu_seconds": worked,
        "peak_mib": max(largest) - own,
        "with_file_mib": _status("VmHWM") - before,
        "device_mib": torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else 0,
    }


@contextmanager
def _largest(key: str) -> Iterator[list[float]]:
    """The values of a key, for as long as the context lasts."""
    values = [_status(key)]
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            values.append(_status(key))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield values
    finally:
        done.set()
        thread.join()
        values.append(_status(key))


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where the weights are to be")
    parser.add_argument(
        "--output", type=Path, help="benchmarks/results/checkpoint.json, or checkpoint-DEVICE.json"
    )
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    suffix = "" if args.device == "cpu" else f"-{args.device.partition(':')[0]}"
    output = args.output or RESULTS / f"checkpoint{suffix}.json"
    if args.one:
        device = torch.device(args.device)
        print(json.dumps(measure(Path(args.one[0]), args.one[1], args.layers, device)))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        write(folder, args.layers)
        model_mib = (WIDTH + 1) * WIDTH * 4 * args.layers / MIB
        about = machine.described()  # before: the load is that of others
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(args.runs):
            for way in WAYS:
                found[way].append(_in_process(folder, way, args.layers, args.device))
    floors = [one["seconds"] for one in found["floor: read and sha256"]]
    result = {
        "what": "a checkpoint from the file to a model; medians, ratios to the floor of their round",
        "model_mib": round(model_mib),
        "runs": args.runs,
        "device": _name(args.device),
        **about,
        "ways": {
            way: {
                "seconds": _median(one["seconds"] for one in many),
                "ratio": _median(
                    one["seconds"] / floor for one, floor in zip(many, floors, strict=True)
                ),
                "cpu_seconds": _median(one["cpu_seconds"] for one in many),
                "peak_over_model": _median(one["peak_mib"] / model_mib for one in many),
                "with_file_over_model": _median(one["with_file_mib"] / model_mib for one in many),
                "device_over_model": _median(one["device_mib"] / model_mib for one in many),
            }
            for way, many in found.items()
        },
    }
    output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _in_process(folder: Path, way: str, layers: int, device: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loading.checkpoint", "--layers", str(layers)]
    done = subprocess.run(
        [*command, "--device", device, "--one", str(folder), way],
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _median(values: Any) -> float:
    return round(statistics.median(values), 2)


if __name__ == "__main__":
    main()
