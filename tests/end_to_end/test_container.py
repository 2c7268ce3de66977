"""The image: built without a network, run without rights, with the host's numbers to the last digit."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from end_to_end.action.engine import REPOSITORY, docker, require_engine

pytestmark = pytest.mark.container

UID = 54321
"""Of no user in the image."""

SANDBOX = [
    "run", "--init", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--user", f"{UID}:{UID}", "--pids-limit", "256",
    "--memory", "2g", "--shm-size", "64m", "--tmpfs", "/tmp",
]  # fmt: skip


@pytest.fixture
def workspace(tmp_path):
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    for path in (tmp_path, *tmp_path.rglob("*")):  # the container's user is another one
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path


def python(image: str, code: str, *options: str) -> str:
    command = [*SANDBOX, *options, "--entrypoint", "/opt/venv/bin/python", image, "-I", "-c", code]
    return docker(*command).stdout.strip()


def close(one, other):
    """Whether two parts of reports are the same, but for the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-5)
    return one == other


@pytest.mark.parametrize(
    ("example", "status"),
    [
        ("digits/model-eval.yaml", 0),
        ("digits/model-eval-failing.yaml", 1),
        ("breast-cancer/model-eval.yaml", 0),
        ("diabetes/model-eval.yaml", 0),
    ],
)
def test_same_numbers_as_on_the_host(image, workspace, example, status):
    spec = workspace / "examples" / example
    here, there = workspace / "host", workspace / "container"
    there.mkdir()
    there.chmod(0o777)
    host = subprocess.run(
        [
            sys.executable,
            "-I",
            "-m",
            "model_eval",
            "run",
            spec,
            "--root",
            workspace,
            "--output",
            here,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    mounts = [
        f"--mount=type=bind,source={workspace / 'examples'},target={workspace / 'examples'},readonly"
    ]
    mounts.append(f"--mount=type=bind,source={there},target={there}")
    result = docker(*SANDBOX, *mounts, image, "run", str(spec), "--root", str(workspace), "--output", str(there), check=False)  # fmt: skip
    assert (host.returncode, result.returncode) == (status, status), result.stdout + result.stderr
    reports = [json.loads((folder / "report.json").read_bytes()) for folder in (here, there)]
    for part in (
        "verdict",
        "estimates",
        "gates",
        "completion",
        "confusion_matrix",
        "checkpoint",
        "heldout",
    ):
        # The measured size of a batch may be another one, which other last digits come of.
        assert close(reports[0][part], reports[1][part]), part
    assert len(reports[1]["estimates"]) > 1
    assert {path.name for path in there.iterdir()} == {
        "report.json",
        "summary.md",
        "ledger.parquet",
    }


def test_validate(image, workspace):
    mount = f"--mount=type=bind,source={workspace},target={workspace},readonly"
    spec = str(workspace / "examples/digits/model-eval.yaml")
    result = docker(*SANDBOX, mount, image, "validate", spec, "--root", str(workspace))
    assert result.stdout == "examples/digits/model-eval.yaml: valid: multiclass, 4 gates\n"


def test_nothing_to_install_or_to_compile_with(image):
    """Whatever gets in finds no pip in our environment, no compiler, and nothing that it may write."""
    script = """
import importlib.util, json, os, pathlib, shutil, sys
site = pathlib.Path(sys.prefix)
print(json.dumps({
    "modules": [name for name in ("pip", "hatchling", "pytest") if importlib.util.find_spec(name)],
    "programs": [name for name in ("gcc", "cc", "g++", "ld", "make", "git", "curl", "wget") if shutil.which(name)],
    "wheels": [str(path) for path in pathlib.Path("/").glob("wheels*")],
    "writable": [str(path) for path in (site, pathlib.Path("/var/empty"), pathlib.Path("/etc")) if os.access(path, os.W_OK)],
    "not compiled": [str(path) for path in site.glob("lib/*/site-packages/model_eval/**/*.py")
                     if not pathlib.Path(importlib.util.cache_from_source(str(path))).is_file()],
    "cwd": os.listdir(),
}))
"""
    assert json.loads(python(image, script)) == {
        "modules": [], "programs": [], "wheels": [], "writable": [], "not compiled": [], "cwd": [],
    }  # fmt: skip


def test_healthy_without_any_folder_to_write_to(image, workspace):
    """No /tmp, no root: with an output folder it runs, without one it says what is missing."""
    bare = [
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--user",
        "4321:0",
    ]
    there = workspace / "out"
    there.mkdir()
    there.chmod(0o777)
    mounts = [f"--volume={workspace}:{workspace}:ro", f"--volume={there}:{there}"]
    spec = str(workspace / "examples/digits/model-eval.yaml")
    done = docker(*bare, *mounts, image, "run", spec, "--output", str(there), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("digits-cnn: pass (exit 0): all 3 required gates passed\n")
    done = docker(*bare, *mounts, image, "run", spec, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "there is no temporary folder that can be written to; "
        "name a folder with --output, or give the container `--tmpfs /tmp`\n"
    )


def test_a_user_without_an_entry_in_passwd(image):
    script = "import getpass, os, pathlib, tempfile; print(getpass.getuser(), pathlib.Path.home(), tempfile.mkdtemp()[:5], os.getuid())"
    assert python(image, script) == f"model-eval /tmp /tmp/ {UID}"


def test_workers_share_tensors_both_ways(image):
    """torch_shm_manager, which one of the two strategies needs, must survive the stripping."""
    script = """
import torch, torch.multiprocessing as mp
from torch.utils.data import DataLoader
for strategy in ("file_descriptor", "file_system"):
    mp.set_sharing_strategy(strategy)
    print(strategy, sum(int(batch.sum()) for batch in DataLoader(torch.ones(64), batch_size=8, num_workers=2)))
"""
    assert python(image, script) == "file_descriptor 64\nfile_system 64"


def test_modules_in_the_working_directory_are_not_imported(image, workspace):
    for module in ("yaml", "torch", "json", "numpy"):
        (workspace / f"{module}.py").write_text("raise SystemExit('SHADOWED')")
    options = [f"--mount=type=bind,source={workspace},target=/repo,readonly", "--workdir", "/repo"]
    result = docker(*SANDBOX, *options, "--env", "PYTHONPATH=/repo", image, "validate", "examples/digits/model-eval.yaml")  # fmt: skip
    assert "valid: multiclass" in result.stdout


def test_default_user_is_not_root(image):
    inspected = json.loads(docker("image", "inspect", image).stdout)[0]["Config"]
    assert inspected["User"] == "65532:65532"
    assert inspected["Entrypoint"] == ["/opt/venv/bin/python", "-I", "-m", "model_eval"]
    assert inspected["Labels"]["model-eval.variant"] == "cpu"
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "TOKEN" not in history


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no CPU build of torch: the default index has CUDA builds, which are several GB larger; pass --build-arg TORCH_INDEX_URL=<the index of PyTorch's CPU builds>, or fill wheels/ (see wheels/README.md), or pass --build-arg VARIANT=cuda"),
        (["--build-arg", "VARIANT=gpu"], "VARIANT is 'gpu'; it is cpu or cuda"),
    ],
)  # fmt: skip
def test_a_build_that_cannot_work_says_what_to_pass(tmp_path, arguments, message):
    require_engine()
    ignored = shutil.ignore_patterns("*.whl")
    shutil.copytree(REPOSITORY / "wheels", tmp_path / "wheels", ignore=ignored)
    shutil.copytree(REPOSITORY / "schemas", tmp_path / "schemas")
    shutil.copytree(REPOSITORY / "image", tmp_path / "image")
    (tmp_path / "entrypoint/model_eval").mkdir(parents=True)
    for name in ("Dockerfile", "LICENSE", "README.md", "pyproject.toml", "requirements.lock", "requirements-build.lock"):  # fmt: skip
        shutil.copy(REPOSITORY / name, tmp_path)
    os.environ["DOCKER_BUILDKIT"] = "1"
    result = docker("build", "--network", "none", "--progress", "plain", *arguments, str(tmp_path), check=False)  # fmt: skip
    assert result.returncode != 0
    assert any(line.endswith(message) for line in result.stderr.splitlines()), result.stderr


def test_lock_has_hashes_and_no_addresses():
    for name in ("requirements.lock", "requirements-build.lock"):
        text = (REPOSITORY / name).read_text()
        pins = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)
        assert "://" not in text
        assert not [pin for pin in pins if pin.startswith(("torch==", "nvidia", "-"))]
