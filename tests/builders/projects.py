"""A whole small project in a folder: model code, checkpoint, held-out set and spec."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

ENVIRON = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
"""Of the processes: what other tests and their packages have set is none of theirs."""

MODEL = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x)
"""

SPEC = """
version: 1
name: sign
task: binary
model: {factory: "model.py:Net", output: logits}
checkpoint: {path: model.safetensors}
heldout:
  path: heldout.csv
  inputs: [{columns: [a, b], dtype: float32}]
  target: label
run: {batch_size: 8}
metrics: [accuracy]
gates:
  - {metric: accuracy, min: 0.9}
decisions: {decide_on: point}
"""


@dataclass(frozen=True)
class Project:
    """A folder with a spec that passes, unless it was made otherwise."""

    folder: Path

    @property
    def spec(self) -> Path:
        return self.folder / "model-eval.yaml"

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def command(self, *arguments: str) -> list[str]:
        return [
            sys.executable, "-I", "-m", "model_eval", "run", str(self.spec),
            "--output", str(self.output), *arguments,
        ]  # fmt: skip

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**ENVIRON, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def make_project(folder: Path, *, model: str = MODEL, spec: str = SPEC, rows: int = 40) -> Project:
    """Writes the files; the checkpoint answers `a + b > 0`, and so does the label."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(model)
    weights = {"layer.weight": torch.tensor([[5.0, 5.0]]), "layer.bias": torch.zeros(1)}
    save_file(weights, folder / "model.safetensors")
    values = torch.randn((rows, 2), generator=torch.Generator().manual_seed(0)).tolist()
    lines = [f"{a},{b},{int(a + b > 0)}" for a, b in values]
    (folder / "heldout.csv").write_text("\n".join(["a,b,label", *lines]) + "\n")
    (folder / "model-eval.yaml").write_text(spec)
    return Project(folder)
