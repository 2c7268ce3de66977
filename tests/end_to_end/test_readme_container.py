"""The README's `docker run`, as it is printed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from model_eval.output import REPORT, read_report
from model_eval.types import Verdict

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.container


def test_the_container_of_the_readme(image, tmp_path):
    [command] = re.findall(
        r"^```bash\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert "model-eval:local" in command
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    done = subprocess.run(
        ["bash", "-euc", command.replace("model-eval:local", image)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(tmp_path / "out" / REPORT).verdict is Verdict.PASS
