import shutil
from pathlib import Path

import pytest

from model_eval.errors import SpecError
from model_eval.spec import load_spec

FILES = Path(__file__).parents[2] / "cases" / "files"

VALID = """\
version: 1
name: case
task: multiclass
model: {factory: model.py:Net, output: logits}
checkpoint: {path: model.safetensors}
heldout:
  path: heldout.csv
  inputs: pixels
  target: label
  id: sample
  classes: [cat, dog, eel]
gates: [{metric: accuracy, min: 0.9}]
"""


class Workspace:
    """A folder with the cases' files, in which specs are written and loaded."""

    valid = VALID

    def __init__(self, root):
        self.root = root
        self.spec = root / "spec.yaml"

    def load(self, text=VALID):
        if isinstance(text, str):
            text = text.encode()
        self.spec.write_bytes(text)
        return load_spec(self.spec, roots=[self.root])

    def faults(self, text=VALID):
        with pytest.raises(SpecError) as caught:
            self.load(text)
        return str(caught.value).splitlines()


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(FILES, root)
    return Workspace(root)


@pytest.fixture(scope="session")
def shared_workspace(tmp_path_factory):
    """The same for tests that only ever write the spec."""
    root = tmp_path_factory.mktemp("specs") / "repository"
    shutil.copytree(FILES, root)
    return Workspace(root)
