"""A Parquet set larger than the memory limit, evaluated in a container that may not swap.

    python -m benchmarks.loading.memory --image model-eval:local

The set is of `--times` times the limit in float32, written uncompressed. The container must end with
a verdict. While it runs, the memory of its cgroup is read: the total, of which files that the kernel
keeps for later are a part that it gives up when asked, and what its processes hold themselves.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.speed import machine

FEATURES = 1024
BLOCK = 16_384
MIB = 1 << 20
CGROUPS = ("/sys/fs/cgroup/memory/docker/{}", "/sys/fs/cgroup/docker/{}",
           "/sys/fs/cgroup/system.slice/docker-{}.scope")  # fmt: skip
MODEL = """\
from torch import nn


def make():
    return nn.Sequential(nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10))
"""
SPEC = """\
version: 1
name: larger-than-memory
task: multiclass
model:
  factory: model.py:make
  output: logits
checkpoint:
  path: model.pt
heldout:
  path: heldout.parquet
  inputs:
    - {column: x, dtype: float32}
  target: y
metrics: [accuracy]
gates:
  - {metric: accuracy, min: 0.9}
"""


def write_project(folder: Path, size: int) -> int:
    """Writes model, checkpoint, spec and a set of about `size` bytes; returns its samples."""
    (folder / "model.py").write_text(MODEL)
    (folder / "model-eval.yaml").write_text(SPEC)
    torch.manual_seed(0)
    scope: dict[str, object] = {}
    exec(MODEL, scope)
    model: Any = scope["make"]()  # type: ignore[operator]
    torch.save(model.state_dict(), folder / "model.pt")
    random = np.random.default_rng(0)
    # One block again and again: what is measured does not depend on the values.
    x = random.normal(size=(BLOCK, FEATURES)).astype(np.float32)
    with torch.inference_mode():
        target = model(torch.from_numpy(x)).argmax(dim=1).numpy()
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), FEATURES),
            "y": target,
        }
    )
    blocks = -(-size // x.nbytes)
    with pq.ParquetWriter(
        folder / "heldout.parquet", table.schema, compression="NONE", use_dictionary=False
    ) as writer:
        for _ in range(blocks):
            writer.write_table(table)
    for path in (folder, *folder.iterdir()):  # the container's user is another one
        path.chmod(0o755 if path.is_dir() else 0o644)
    return blocks * BLOCK


def evaluate(image: str, project: Path, memory: str) -> dict[str, object]:
    """Runs the image under the limit and watches its cgroup."""
    command = [
        "run", "--detach", "--init", "--network", "none", "--read-only", "--cap-drop",
        "ALL", "--tmpfs", "/tmp", "--memory", memory, "--memory-swap", memory,
        f"--volume={project}:{project}:ro",
        image, "run", str(project / "model-eval.yaml"), "--root", str(project),
    ]  # fmt: skip
    started = time.perf_counter()
    container = _docker(*command)
    try:
        peaks = {"cgroup_mib": 0.0, "processes_mib": 0.0, "swap_mib": 0.0}
        for total, processes, swap in _watched(container):
            for name, value in zip(peaks, (total, processes, swap), strict=True):
                peaks[name] = max(peaks[name], round(value / MIB, 1))
        status = int(_docker("wait", container))
        state = json.loads(_docker("inspect", "--format", "{{json .State}}", container))
        log = subprocess.run(
            ["docker", "logs", container], capture_output=True, text=True, check=True
        )
        lines = (log.stdout + log.stderr).splitlines()
        verdict = [line for line in lines if line.startswith("larger-than-memory: ")]
        reached = [line for line in lines if line.startswith("evaluated ")]
        said = verdict or reached
    finally:
        _docker("rm", "--force", container)
    return {
        "status": status,
        "out_of_memory": state["OOMKilled"],
        "seconds": round(time.perf_counter() - started, 1),
        "peak": peaks if peaks["cgroup_mib"] else None,  # its cgroup cannot be read everywhere
        "said": said[-1] if said else "",
    }


def _watched(container: str) -> Iterator[tuple[int, int, int]]:
    """Total, the processes' own and swapped bytes of the container's cgroup, while it runs."""
    group = next((p for c in CGROUPS if (p := Path(c.format(container))).is_dir()), None)
    while group is not None:
        try:
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            usage = next(p for n in ("memory.usage_in_bytes", "memory.current")
                         if (p := group / n).exists())  # fmt: skip
            total = int(usage.read_text())
        except (OSError, StopIteration):
            return
        yield total, int(stat.get("total_rss", stat.get("anon", 0))), int(stat.get("total_swap", 0))
        time.sleep(0.02)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="model-eval:local")
    parser.add_argument("--before", help="another image to run as well, of an earlier version")
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/memory.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        project = Path(name)
        samples = write_project(project, args.memory_mib * args.times * MIB)
        result = {
            "what": "a Parquet set of several times the memory limit, without swap",
            "memory_mib": args.memory_mib,
            "set_mib": round((project / "heldout.parquet").stat().st_size / MIB),
            "samples": samples,
            **machine.described(),
            "run": evaluate(args.image, project, f"{args.memory_mib}m"),
        }
        if args.before:
            result["before"] = evaluate(args.before, project, f"{args.memory_mib}m")
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
