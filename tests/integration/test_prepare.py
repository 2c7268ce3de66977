"""The action's first step decides who may add to the cache: only a run of the commit that it is for."""

import os
import subprocess

import pytest

from builders.reports import ROOT

SPEC = "models/digits/model-eval.yaml"


def git(folder, *arguments):
    settings = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", folder, *settings, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def committed(folder):
    """A repository with two commits, the second checked out on a branch; both digests."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number in (1, 2):
        git(folder, "commit", "--quiet", "--allow-empty", f"--message={number}")
    return git(folder, "rev-parse", "HEAD~1"), git(folder, "rev-parse", "HEAD")


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def prepared(workspace, commit, *, event="workflow_dispatch"):
    """The outputs of the step, with a Docker engine that has every image, and what it prints."""
    top = workspace.parent
    (top / "temp").mkdir(exist_ok=True)
    (top / "outputs").write_text("")
    done = subprocess.run(
        ["bash", ROOT / "entrypoint/host/prepare.sh"],
        env={
            "PATH": os.environ["PATH"],
            "BASH_FUNC_docker%%": "() { echo sha256:0; }",
            "BASH_FUNC_timeout%%": '() { shift; "$@"; }',
            "GITHUB_EVENT_NAME": event,
            "GITHUB_OUTPUT": str(top / "outputs"),
            "GITHUB_SHA": commit,
            "GITHUB_WORKSPACE": str(workspace),
            "MODEL_EVAL_ALLOW_LOOSENING": "false",
            "MODEL_EVAL_CACHE": "true",
            "MODEL_EVAL_COMMENT": "true",
            "MODEL_EVAL_GPUS": "none",
            "MODEL_EVAL_IMAGE": "model-eval:test",
            "MODEL_EVAL_SPEC": SPEC,
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(top / "temp"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (top / "outputs").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines), done.stdout


def writable(*given, **event):
    """Whether the run may add to the cache; where it may not, a notice says why."""
    outputs, said = prepared(*given, **event)
    found = outputs["store-writable"] == "true"
    assert ("::notice title=model-eval::the cache is read, and nothing is added" in said) != found
    return found


@pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch"])
@pytest.mark.parametrize("how", ["branch", "packed", "commit"])
def test_the_commit_of_the_run(workspace, event, how):
    _, commit = committed(workspace)
    if how == "packed":
        git(workspace, "pack-refs", "--all")
        assert not (workspace / ".git/refs/heads/main").exists()
    elif how == "commit":
        git(workspace, "checkout", "--quiet", "--detach")
    assert writable(workspace, commit, event=event)


@pytest.mark.parametrize("how", ["branch", "packed", "commit"])
def test_another_commit(workspace, how):
    """A dispatch on the main branch that checks out a pull request."""
    first, commit = committed(workspace)
    git(workspace, "checkout", "--quiet", *([] if how == "commit" else ["-b", "theirs"]), first)
    if how == "packed":
        git(workspace, "pack-refs", "--all")
    assert not writable(workspace, commit)


def test_a_checkout_in_a_folder(workspace):
    _, commit = committed(workspace / "models")
    assert writable(workspace, commit)


def test_another_commit_in_a_folder_of_the_right_one(workspace):
    _, commit = committed(workspace)
    committed(workspace / "models/digits")
    git(workspace / "models/digits", "checkout", "--quiet", "HEAD~1")
    assert not writable(workspace, commit)


def test_what_git_does_not_say_plainly(workspace):
    _, commit = committed(workspace.parent / "elsewhere")
    assert not writable(workspace, commit)  # no checkout
    (workspace / ".git").write_text("gitdir: ../elsewhere/.git\n")
    assert not writable(workspace, commit)
    assert not writable(workspace, "")


def test_a_pull_request_adds_nothing_and_needs_no_notice(workspace):
    _, commit = committed(workspace)
    outputs, said = prepared(workspace, commit, event="pull_request")
    assert outputs["store-writable"] == "false"
    assert "::notice" not in said
