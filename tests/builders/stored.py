"""A project with everything that a key holds, and a store as one run sees it."""

from builders.projects import ENVIRON, make_project
from model_eval.spec import load_spec
from model_eval.store.place import Store
from model_eval.store.reuse import Reuse
from model_eval.supervise import child_environ

MODEL = """
import os
from pathlib import Path

import torch

from parts.names import NAME

HERE = Path(__file__).parent


class Net(torch.nn.Module):
    def __init__(self, scale=1.0, other=0):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.scale = scale * float((HERE / "scale.dat").read_text())
        (HERE / "README.md").read_text()
        self.scale *= float(os.environ.get("SCALE", "1"))
        self.parts = sorted(os.listdir(HERE / "parts"))
        if (HERE / "there.dat").is_file() or self.parts:
            try:
                self.scale *= float(open(HERE / "optional.dat").read())
            except FileNotFoundError:
                pass

    def forward(self, x):
        return self.layer(x) * self.scale


def other(scale=1.0, other=0):
    return Net(scale, other)


def same(x):
    return x
"""

SPEC = """
version: 1
name: sign
task: binary
model: {factory: "model.py:Net", output: logits, kwargs: {scale: 1.0, other: 2}}
checkpoint: {path: model.safetensors}
heldout:
  path: heldout.csv
  inputs: [{columns: [a, b], dtype: float32}]
  target: label
  id: name
  slices: [{column: group}]
  disjoint_from: [train.csv]
more_heldout:
  further:
    path: further.csv
    inputs: [{columns: [a, b], dtype: float32}]
    target: label
golden: {path: golden.csv, inputs: [{columns: [a, b], dtype: float32}], outputs: logit, id: name, tolerance: 0.001}
run: {batch_size: 8, device: cpu}
metrics: [accuracy, parameters]
gates:
  - {metric: accuracy, min: 0.9}
  - {metric: log_loss, max: 5, severity: advisory}
decisions: {decide_on: point}
"""


def make_stored(folder, spec=SPEC, model=MODEL):
    """The files of a project whose spec has all kinds of sets."""
    made = make_project(folder, model=model, spec=spec)
    head, *rows = (folder / "heldout.csv").read_text().splitlines()
    named = [f"{row},n{index},{'xy'[index % 2]},{index % 3 + 1}" for index, row in enumerate(rows)]
    text = "\n".join([f"{head},name,group,weight", *named]) + "\n"
    (folder / "heldout.csv").write_text(text)
    (folder / "further.csv").write_text("\n".join([head, *rows[:20]]) + "\n")
    (folder / "train.csv").write_text("name,a,b,label\nt0,9,9,1\nt1,-9,-9,0\n")
    (folder / "golden.csv").write_text("name,a,b,logit\none,1,1,10\ntwo,-1,0,-5\n")
    (folder / "scale.dat").write_text("1.0")
    (folder / "README.md").write_text("# A model\n")
    (folder / "CHANGES.md").write_text("# Changes\n")
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "names.py").write_text("NAME = 'a'\n")
    return made


def store_at(folder, *, output=None, read_only=False, said=None, **environ):
    """A store whose lines go to a list, in the environment of a run with some variables."""
    lines = [] if said is None else said
    return Store(
        folder=folder,
        read_only=read_only,
        output=output,
        environ=child_environ({**ENVIRON, **environ}),
        say=lines.append,
    )


def look_up(project, store):
    """What a run of the project would find; None where it would measure."""
    spec = load_spec(project.spec, roots=[project.folder])
    return Reuse(spec, store).find()
