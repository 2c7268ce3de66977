"""The commands in docs/*.md end as their text says, in the folder of an example."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from builders.reports import ROOT

_PROGRAMS = {
    "model-eval": ["-m", "model_eval"],
    "torchrun": ["-m", "torch.distributed.run"],
}
_INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


def sessions():
    """Commands one below the other, which are run one after the other."""
    for path in sorted(ROOT.glob("docs/*.md")):
        text = path.read_text()
        for match in _INDENTED.finditer(text):
            lines = [line.strip() for line in match[0].splitlines()]
            if all(line.partition(" ")[0] in _PROGRAMS for line in lines):
                number = text.count("\n", 0, match.start()) + 1
                yield pytest.param(lines, id=f"{path.name}:{number}")


@pytest.mark.parametrize("lines", list(sessions()))
def test_they_run(lines, tmp_path):
    shutil.copytree(ROOT / "examples/digits", tmp_path / "digits")
    environ = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        words = ["model-eval.yaml" if word == "FILE" else word for word in words]
        words = [re.sub(r"^~", str(tmp_path), word) for word in words]  # the shell's part
        done = subprocess.run(
            [sys.executable, *_PROGRAMS[program], *words],
            cwd=tmp_path / "digits",
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_the_documents_on_reuse_and_scale_out_are_among_them():
    found = {parameter.id.partition(":")[0] for parameter in sessions()}
    assert {"reuse.md", "scale-out.md", "spec.md", "pull-requests.md"} <= found
