"""The action's fourth step: what it says where the publisher did not come to its end."""

import os
import subprocess

import pytest

from builders.reports import ROOT

CONTAINER = """() {
    [[ $1 == run ]] || return 0
    printf "$LEFT" >>"$GITHUB_OUTPUT"
    return "$PUBLISHED"
}"""
"""In the place of `docker`."""


def outputs(tmp_path, left, *, evaluated, published):
    """The outputs of the step, where its container leaves some and ends with a status."""
    file = tmp_path / "outputs"
    file.touch()
    done = subprocess.run(
        ["bash", ROOT / "entrypoint/host/publish.sh"],
        env={
            "PATH": os.environ["PATH"],
            "BASH_FUNC_docker%%": CONTAINER,
            "GITHUB_OUTPUT": str(file),
            "GITHUB_WORKSPACE": str(tmp_path / "workspace"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "LEFT": left,
            "MODEL_EVAL_COMMENT": "true",
            "MODEL_EVAL_COMMENT_KEY": "",
            "MODEL_EVAL_CONTAINER": "model-eval-test",
            "MODEL_EVAL_EXIT_STATUS": evaluated,
            "MODEL_EVAL_IMAGE": "model-eval:test",
            "MODEL_EVAL_OUTPUT_DIR": str(tmp_path / "output"),
            "MODEL_EVAL_SPEC": "model-eval.yaml",
            "PUBLISHED": published,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return file.read_text()


NO_VERDICT = "verdict=error\nexit-code=4\nreport=\nmetrics={}\n"


@pytest.mark.parametrize(
    "left", ["", "verdict=pass\n", "verdict<<x\npass\nx\nexit-code<<x\n0\n", "verdict<<x\npa"]
)
def test_what_a_publisher_leaves_that_did_not_end_well_is_no_output(tmp_path, left):
    """Half of an output, as a full disk leaves it, would take in what is said instead."""
    assert outputs(tmp_path, left, evaluated="0", published="4") == NO_VERDICT


def test_what_the_publisher_says_stands_where_the_evaluation_says_the_same(tmp_path):
    assert outputs(tmp_path, "verdict=fail\n", evaluated="1", published="1") == "verdict=fail\n"
