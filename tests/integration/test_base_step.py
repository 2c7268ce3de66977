"""The action's second step: where the repository begins, and what it means that a spec is not in it."""

import os
import subprocess

import pytest

from builders.reports import ROOT

CONTAINER = """() {
    [[ $1 == run ]] || return 0
    echo "asked for ${!#}"
    echo "state=$STATE" >>"$GITHUB_OUTPUT"
    [[ $STATE == absent ]] || echo spec >"$MODEL_EVAL_OUTPUT_DIR-base/spec.yaml"
}"""
"""In the place of `docker`: the last argument is the path that GitHub is asked for."""


def step(tmp_path, spec, git_directories, state):
    """The step's status, what it prints, and the path in the base branch that it asks for."""
    workspace = tmp_path / "workspace"
    (workspace / spec).parent.mkdir(parents=True)
    for folder in git_directories:
        (workspace / folder / ".git").mkdir(parents=True)
    done = subprocess.run(
        ["bash", ROOT / "entrypoint/host/base.sh"],
        env={
            "PATH": os.environ["PATH"],
            "BASH_FUNC_docker%%": CONTAINER,
            "GITHUB_OUTPUT": str(tmp_path / "outputs"),
            "GITHUB_WORKSPACE": str(workspace),
            "MODEL_EVAL_BASE_SHA": "0" * 40,
            "MODEL_EVAL_CONTAINER": "model-eval-test",
            "MODEL_EVAL_IMAGE": "model-eval:test",
            "MODEL_EVAL_OUTPUT_DIR": str(tmp_path / "output"),
            "MODEL_EVAL_SPEC": spec,
            "MODEL_EVAL_TOKEN": "token",
            "STATE": state,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    first, *said = done.stdout.splitlines()
    return done.returncode, "\n".join(said) + done.stderr, first.removeprefix("asked for ")


@pytest.mark.parametrize("state", ["found", "absent"])
@pytest.mark.parametrize(
    ("spec", "git_directory", "path"),
    [
        ("model-eval.yaml", ".", "model-eval.yaml"),
        ("a/b/model-eval.yaml", ".", "a/b/model-eval.yaml"),
        ("./a/./model-eval.yaml", ".", "a/./model-eval.yaml"),
        ("pr/model-eval.yaml", "pr", "model-eval.yaml"),
        ("pr/a/model-eval.yaml", "pr", "a/model-eval.yaml"),
        ("./pr/./model-eval.yaml", "pr", "model-eval.yaml"),
    ],
)
def test_one_checkout_says_where_the_repository_begins(tmp_path, state, spec, git_directory, path):
    """Also one beside it, which is on no way to the spec."""
    assert step(tmp_path, spec, [git_directory, "beside"], state) == (0, "", path)


UNKNOWN = (
    "::error title=model-eval::it is not known where the repository begins, so that the base branch "
    "may have the spec by another path than `pr/model-eval.yaml`: "
)


@pytest.mark.parametrize(
    ("git_directories", "why"),
    [
        (
            [],
            (
                "no folder on the way to `pr/model-eval.yaml` holds .git; install git 2.18 or newer on "
                "the runner, without which actions/checkout leaves none"
            ),
        ),
        (
            [".", "pr"],
            (
                "2 folders on the way to `pr/model-eval.yaml` hold .git; check out each repository into "
                "a folder of its own (`path:` of actions/checkout), none inside another"
            ),
        ),
    ],
)
def test_a_spec_that_is_not_there_must_be_known_to_be_new(tmp_path, git_directories, why):
    """Trusted scripts at the top and the pull request in `pr`; a checkout without git in `pr`."""
    status, said, _ = step(tmp_path, "pr/model-eval.yaml", git_directories, "absent")
    assert (status, said) == (4, UNKNOWN + why)


@pytest.mark.parametrize("git_directories", [[], [".", "pr"]])
def test_a_spec_that_is_there_is_the_one(tmp_path, git_directories):
    """A submodule, which is the pull request's to add, hides nothing."""
    asked = step(tmp_path, "pr/model-eval.yaml", git_directories, "found")
    assert asked == (0, "", "pr/model-eval.yaml")
