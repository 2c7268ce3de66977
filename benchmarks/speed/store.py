"""A whole `model-eval run` of a ResNet-18, and the same again from the store of ledgers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.speed import models
from benchmarks.speed.child import say
from benchmarks.speed.data import Held

_SPEC = """\
version: 1
name: resnet18
task: multiclass
model: {factory: models.py:resnet18, output: logits}
checkpoint: {path: resnet18.safetensors}
heldout:
  path: {images: images.npy, target: target.npy}
  inputs: images
  target: target
metrics: [accuracy, f1_macro]
gates: [{metric: accuracy, min: 0.1}]
"""

OPTION = "--cache"


def measure(data: Held, model: torch.nn.Module, *, threads: int) -> dict[str, Any]:
    """Seconds of the first run and of the second; or why there is none."""
    if not _offered():
        say(f"skipped: the second run from the store: this version has no `run {OPTION}`")
        return {"skipped": f"this version has no `run {OPTION}`"}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        write_project(project, data, model)
        first, second = (
            timed_run(project, "out", OPTION, str(project / "cache"), threads=threads)
            for _ in range(2)
        )
    say(f"first run {first:.2f} s, second {second:.2f} s")
    return {
        "first_seconds": round(first, 3),
        "second_seconds": round(second, 3),
        "ratio": round(second / first, 4),
    }


def write_project(folder: Path, data: Held, model: torch.nn.Module) -> None:
    """Spec, model, checkpoint and held-out set."""
    (folder / "model-eval.yaml").write_text(_SPEC)
    shutil.copy(models.__file__, folder / "models.py")
    save_file(model.state_dict(), folder / "resnet18.safetensors")
    np.save(folder / "images.npy", data.x.numpy())
    np.save(folder / "target.npy", data.target.numpy())


def timed_run(folder: Path, output: str, *arguments: str, threads: int) -> float:
    """Seconds of the whole process.

    Raises:
        RuntimeError: it did not pass, so that its time means nothing.
    """
    started = time.perf_counter()
    command = [*_command("run"), "model-eval.yaml", "--output", output, *arguments]
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - started
    report = folder / output / "report.json"
    if done.returncode != 0 or json.loads(report.read_text())["verdict"] != "pass":
        raise RuntimeError(f"`{' '.join(command)}` did not pass:\n{done.stdout}{done.stderr}")
    return took


def _offered() -> bool:
    shown = subprocess.run([*_command("run"), "--help"], capture_output=True, text=True, check=True)
    return OPTION in shown.stdout.split()


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "model_eval", name]
