"""The composite action, from action.yml itself: its real steps, its scripts, real containers."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from builders.reports import report
from end_to_end.action.driver import COMMIT, REPOSITORY, RUN_ID, Runner
from end_to_end.action.engine import docker
from model_eval.report import from_json, to_json

pytestmark = pytest.mark.container

TOKEN = "ghs_actions0000000000000000000000000001"


@pytest.fixture
def runner(image):
    """A runner whose folders have names that break careless scripts, with the examples checked out."""
    folder = Path(tempfile.mkdtemp(prefix='runner\'s "a, b" $(x) ', dir="/var/tmp"))
    folder.chmod(0o755)
    made = Runner(folder, {"TEST_TOKEN": TOKEN})
    shutil.copytree(REPOSITORY / "examples", made.workspace / "examples")
    check_out(made.workspace)
    yield made
    left = docker("ps", "--all", "--quiet", "--filter", f"name=model-eval-{RUN_ID}-").stdout.split()
    if left:
        docker("rm", "--force", *left)
    shutil.rmtree(folder)
    assert not left, "a container was left behind"


def check_out(folder: Path) -> None:
    """What actions/checkout leaves, with its token where versions before 6 keep it."""
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    (folder / ".git/HEAD").write_text(f"{COMMIT}\n")
    with (folder / ".git/config").open("a") as config:
        config.write(f'[http "https://github.com/"]\n\textraheader = basic {TOKEN}\n')


def run(runner: Runner, image: str, /, **inputs: str):
    given = {"image": image, "spec": "examples/digits/model-eval.yaml"}
    return runner.run(given | {name.replace("_", "-"): value for name, value in inputs.items()})


def write_project(runner: Runner, model: str) -> None:
    """The digits example with another model.py; the class must still be DigitsNet."""
    path = runner.workspace / "examples/digits/model.py"
    path.write_text(path.read_text() + "\n" + model)


def test_a_pass(runner, image):
    result = run(runner, image, comment="false")
    assert result.conclusion == "success", result.log
    assert {name: result.outputs[name] for name in ("verdict", "exit-code")} == {
        "verdict": "pass",
        "exit-code": "0",
    }
    assert json.loads(result.outputs["metrics"])["accuracy"] > 0.95
    written = from_json(Path(result.outputs["report"]).read_bytes())
    assert (written.verdict, written.name) == ("pass", "digits-cnn")
    assert "digits-cnn" in result.summary
    assert result.annotations("error") == []
    files = {path.name for path in Path(result.outputs["output-dir"]).iterdir()}
    assert files == {"report.json", "summary.md", "ledger.parquet"}
    owners = {path.stat().st_uid for path in runner.folder.rglob("*")}
    assert owners == {runner.user}
    assert TOKEN not in result.log


def written(result):
    return from_json(Path(result.outputs["report"]).read_bytes())


def test_a_cache_is_kept_by_a_branch_and_read_by_a_pull_request(runner, image):
    runner.environment["GITHUB_EVENT_NAME"] = "push"
    first = run(runner, image, comment="false", cache="true")
    assert first.conclusion == "success", first.log
    assert written(first).reused is None
    [(key, path, kept)] = runner.caches
    assert re.fullmatch(
        rf"model-eval-v1-[0-9a-f]{{16}}-0123456789abcdef[0-9a-f]{{24}}-{RUN_ID}-1-\w+", key
    )
    assert not Path(path).exists(), "a store was left behind"

    second = run(runner, image, comment="false", cache="true")
    assert written(second).reused.checkpoint in {one.name for one in kept.glob("*/*")}
    assert second.step("keep").outcome == "skipped"
    assert len(runner.caches) == 1

    runner.environment["GITHUB_EVENT_NAME"] = "pull_request"
    third = run(runner, image, comment="false", cache="true")
    assert written(third).reused == written(second).reused
    assert written(third).verdict == "pass"

    # New code is measured, cannot touch what the branch has kept, and leaves nothing.
    poison = "import pathlib\nfor p in pathlib.Path('/store').rglob('*'): p.unlink()\n"
    write_project(
        runner,
        f"try:\n    {poison.replace(chr(10), chr(10) + '    ').strip()}\nexcept OSError:\n    pass\n",
    )
    fourth = run(runner, image, comment="false", cache="true")
    assert written(fourth).reused is None
    assert fourth.step("keep").outcome == "skipped"
    assert len(runner.caches) == 1


def test_a_cache_is_not_kept_where_strangers_code_may_run_in_the_branchs_name(runner, image):
    for event in (
        "pull_request",
        "pull_request_target",
        "workflow_run",
        "issue_comment",
        "merge_group",
    ):
        runner.environment["GITHUB_EVENT_NAME"] = event
        result = run(runner, image, comment="false", cache="true", memory="1x")
        assert result.step("prepare").outputs["store-writable"] == "false"
        assert runner.caches == []


def test_a_cache_is_not_kept_where_another_commit_was_checked_out(runner, image):
    runner.environment["GITHUB_EVENT_NAME"] = "workflow_dispatch"
    (runner.workspace / ".git/HEAD").write_text(COMMIT[::-1])
    result = run(runner, image, comment="false", cache="true", memory="1x")
    assert result.step("prepare").outputs["store-writable"] == "false"
    [notice] = result.annotations("notice")
    assert COMMIT in notice.data
    assert runner.caches == []


def test_shards_are_joined_and_judged(runner, image):
    for index in (1, 2):
        result = run(runner, image, shard=f"{index}/2")
        assert result.conclusion == "success", result.log
        assert result.step("publish").outcome == "skipped"
        assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")
        left = Path(result.outputs["output-dir"])
        shutil.copytree(left, runner.workspace / "shards" / f"shard-{index}")
    result = run(runner, image, shards="shards", comment="false")
    assert result.conclusion == "success", result.log
    assert result.outputs["verdict"] == "pass"
    assert "joined from 2 shards" in result.log


def test_a_shard_that_is_missing_blocks(runner, image):
    result = run(runner, image, shard="1/2")
    left = Path(result.outputs["output-dir"])
    shutil.copytree(left, runner.workspace / "shards" / "shard-1")
    result = run(runner, image, shards="shards", comment="false")
    assert result.conclusion == "failure"
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "3")
    assert "1 of 2 shards are missing: 2" in result.log


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"shard": "x"}, "`shard: x` is not a part such as 2/8"),
        ({"shard": "1/2", "shards": "shards"}, "give one of the two"),
        ({"shards": "../elsewhere"}, "does not stay inside the workspace"),
        ({"shards": "nothing/"}, "holds no folder, so nothing was judged"),
    ],
)
def test_wrong_inputs_for_shards(runner, image, inputs, said):
    result = run(runner, image, comment="false", **inputs)
    assert result.conclusion == "failure"
    assert said in result.log
    assert result.outputs["verdict"] == "error"


def test_a_fail_blocks(runner, image):
    result = run(runner, image, spec="examples/digits/model-eval-failing.yaml", comment="false")
    assert [(step.name, step.outcome) for step in result.steps] == [
        ("prepare", "success"),
        ("base", "success"),
        ("restore", "skipped"),
        ("evaluate", "success"),
        ("publish", "success"),
        ("keep", "skipped"),
        ("cleanup", "success"),
        ("verdict", "failure"),
    ]
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("fail", "1")
    places = {error.properties.get("file") for error in result.annotations("error")}
    assert places == {"examples/digits/model-eval-failing.yaml"}
    assert all(error.properties["line"].isdecimal() for error in result.annotations("error"))


def test_a_wrong_spec_is_annotated_on_its_line(runner, image):
    spec = runner.workspace / "examples/digits/model-eval.yaml"
    spec.write_text(spec.read_text().replace("version: 1", "version: 1\ngatez: []"))
    result = run(runner, image, comment="false")
    assert result.conclusion == "failure"
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "2")
    places = [
        (error.properties.get("file"), error.properties.get("line"))
        for error in result.annotations("error")
    ]
    assert ("examples/digits/model-eval.yaml", "3") in places


@pytest.mark.node
def test_the_comment_is_left_and_updated(runner, image, github_api):
    runner.environment |= github_api.environment | {"MODEL_EVAL_PUBLISH_NETWORK": "host"}
    runner.event = {"pull_request": {"number": github_api.pull_request}}
    for variable in ("MODEL_EVAL_TOKEN", "MODEL_EVAL_PULL_REQUEST"):
        del runner.environment[variable]
    runner.environment["TEST_TOKEN"] = github_api.token
    first = run(runner, image)
    assert first.conclusion == "success", first.log
    (passed,) = github_api.comments()
    second = run(runner, image, spec="examples/digits/model-eval-failing.yaml", comment_key="examples/digits/model-eval.yaml")  # fmt: skip
    assert second.outputs["verdict"] == "fail"
    (failed,) = github_api.comments()
    assert failed["id"] == passed["id"]
    assert passed["body"] != failed["body"]
    assert "accuracy" in failed["body"]


@pytest.mark.node
def test_a_comment_does_not_outlive_a_push_on_which_nothing_was_judged(runner, image, github_api):
    runner.environment |= github_api.environment | {"MODEL_EVAL_PUBLISH_NETWORK": "host"}
    runner.event = {"pull_request": {"number": github_api.pull_request}}
    for variable in ("MODEL_EVAL_TOKEN", "MODEL_EVAL_PULL_REQUEST"):
        del runner.environment[variable]
    runner.environment["TEST_TOKEN"] = github_api.token
    assert run(runner, image).conclusion == "success"
    assert run(runner, image, memory="1x").conclusion == "failure"
    (comment,) = github_api.comments()
    assert "Nothing was judged" in comment["body"]
    assert "✅" not in comment["body"]


@pytest.mark.node
def test_a_refused_comment_warns_and_changes_nothing(runner, image, github_api):
    runner.environment |= github_api.environment | {"MODEL_EVAL_PUBLISH_NETWORK": "host"}
    runner.event = {"pull_request": {"number": github_api.pull_request}}
    github_api.fail(403, "Resource not accessible by integration", method="POST", times=5)
    result = run(runner, image)
    assert result.conclusion == "success", result.log
    assert result.outputs["verdict"] == "pass"
    assert len(result.annotations("warning")) == 1
    assert github_api.comments() == []


PROBE = """
import json, os, pathlib, socket
print("::error title=forged::this is not an error")
print("::stop-commands::mine")
print("::set-output name=verdict::pass", flush=True)
os.write(2, b"::warning::forged on stderr\\n")
root = pathlib.Path(__file__).parents[2]
found = {}
def attempt(name, action):
    try:
        found[name] = action()
    except (OSError, ValueError) as error:
        found[name] = type(error).__name__
def connect(address):
    with socket.create_connection(address, timeout=3):
        return "connected"
def environments():
    seen = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            seen += [item.split("=")[0] for item in path.read_text().split("\\0") if item]
        except OSError:
            pass
    return sorted(set(seen))
attempt("git", lambda: sorted(p.name for p in (root / ".git").iterdir()))
attempt("nested", lambda: sorted(p.name for p in (root / "other/.git").iterdir()))
attempt("bare", lambda: sorted(p.name for p in (root / "mirror").iterdir()))
attempt("write workspace", lambda: (root / "planted").write_text("x"))
attempt("write root", lambda: pathlib.Path("/planted").write_text("x"))
attempt("write git", lambda: (root / ".git/planted").write_text("x"))
attempt("network", lambda: connect(("127.0.0.1", 9)))
attempt("metadata", lambda: connect(("169.254.169.254", 80)))
attempt("dns", lambda: socket.gethostbyname("localhost.localdomain.invalid"))
attempt("socket", lambda: [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)])
attempt("environment", environments)
attempt("temp", lambda: sorted(p.name for p in (root.parents[1] / "_temp").iterdir()))
attempt("proxies", lambda: [value for name, value in os.environ.items() if name.upper().endswith("_PROXY") and value])
attempt("uid", lambda: [os.getuid(), os.getgid()])
attempt("capabilities", lambda: [l.split()[1] for l in open("/proc/self/status") if l.startswith(("CapBnd", "NoNewPrivs"))])
print("PROBE " + json.dumps(found), flush=True)
"""  # fmt: skip


READ_GIT = """
import os, pathlib
for folder in FOLDERS:
    for found in pathlib.Path(folder).glob(".git/*"):
        print("READ", found.read_text() if found.is_file() else found)
"""


def test_git_is_hidden_where_the_workspace_is_a_link(runner, image):
    """On self-hosted runners the work folder often is one."""
    write_project(runner, READ_GIT.replace("FOLDERS", repr([str(runner.workspace)])))
    real = runner.workspace.with_name("real")
    runner.workspace.rename(real)
    runner.workspace.symlink_to(real)
    result = run(runner, image, comment="false")
    assert result.outputs["verdict"] == "pass", result.log
    assert "READ" not in result.log
    assert TOKEN not in result.log


def test_git_is_hidden_where_a_data_path_is_a_link(runner, image):
    real, link = runner.folder / "real data", runner.folder / "linked data"
    real.mkdir()
    link.symlink_to(real)
    check_out(real)
    write_project(runner, READ_GIT.replace("FOLDERS", repr([str(link)])))
    result = run(runner, image, comment="false", data_paths=str(link))
    assert result.outputs["verdict"] == "pass", result.log
    assert "READ" not in result.log
    assert TOKEN not in result.log


def test_hostile_code_is_contained(runner, image):
    check_out(runner.workspace / "other")
    subprocess.run(["git", "init", "--quiet", "--bare", runner.workspace / "mirror"], check=True)
    write_project(runner, PROBE)
    runner.environment["SECRET_OF_THE_WORKFLOW"] = "workflow-secret"
    config = runner.home / ".docker/config.json"
    config.parent.mkdir()
    config.write_text(
        '{"proxies": {"default": {"httpsProxy": "http://user:proxy-secret@proxy:1"}}}'
    )
    result = run(runner, image, comment="false")
    line = next(line for line in result.log.splitlines() if line.startswith("PROBE "))
    found = json.loads(line.removeprefix("PROBE "))
    allowed = {
        "HOME", "HOSTNAME", "LANG", "MPLCONFIGDIR", "NVIDIA_DRIVER_CAPABILITIES", "PATH",
        "PYTHONDONTWRITEBYTECODE", "TORCHINDUCTOR_CACHE_DIR", "TORCH_HOME", "TRITON_CACHE_DIR",
        "USER", "XDG_CACHE_HOME",
    }  # fmt: skip
    proxies = {"ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}
    theirs = {name for name in found.pop("environment") if name.upper() not in proxies}
    assert not {
        name for name in theirs if name.startswith(("GITHUB", "ACTIONS", "RUNNER", "SECRET"))
    }
    assert allowed - {"HOSTNAME"} <= theirs
    output = Path(result.outputs["output-dir"]).name
    assert found == {
        "git": [],
        "nested": [],
        "bare": [],
        "write workspace": "OSError",
        "write root": "OSError",
        "write git": "PermissionError",
        "network": "ConnectionRefusedError",
        "metadata": "OSError",
        "dns": "gaierror",
        "socket": [],
        "temp": [output],
        "proxies": [],
        "uid": [runner.user, runner.user],
        "capabilities": ["0000000000000000", "1"],
    }
    assert "proxy-secret" not in result.log
    assert TOKEN not in result.log
    assert not [command for command in result.commands if "forged" in str(command)]
    assert result.outputs["verdict"] == "pass"


@pytest.mark.parametrize(
    "forgery",
    [
        # The report that an honest run would leave, and then death: the statuses disagree.
        pytest.param("os._exit(0)", id="exit-0"),
        pytest.param("os.kill(os.getpid(), 9)", id="killed"),
        pytest.param("raise SystemExit(0)", id="system-exit"),
        pytest.param(
            "os.symlink('/proc/self/environ', glob.glob(OUT)[0] + '/report.json'); os._exit(0)",
            id="link",
        ),
        pytest.param(
            "os.symlink('/etc/passwd', glob.glob(OUT)[0] + '/notes.txt'); os._exit(0)",
            id="link-to-be-uploaded",
        ),
        pytest.param(
            "os.makedirs(glob.glob(OUT)[0] + '/closed/inner'); os.chmod(glob.glob(OUT)[0] + '/closed', 0); os._exit(0)",
            id="closed-folder",
        ),
        pytest.param("os.mkfifo(glob.glob(OUT)[0] + '/report.json'); os._exit(0)", id="fifo"),
        pytest.param(
            "open(glob.glob(OUT)[0] + '/report.json', 'w').write('{\"verdict\": \"pass\"}'); os._exit(0)",
            id="forged-report",
        ),
    ],
)
def test_a_forged_end_is_no_pass(runner, image, forgery):
    """What the model's code leaves behind counts for nothing: the supervisor writes the report."""
    out = json.dumps(str(runner.temp / "model-eval.*"))
    write_project(runner, f"import glob, os\nOUT = {out}\n{forgery}\n")
    result = run(runner, image, comment="false")
    assert result.conclusion == "failure"
    assert result.outputs["verdict"] == "error", result.log
    assert result.outputs["exit-code"] in {"3", "4"}
    assert TOKEN not in result.log + result.summary
    left = list(Path(result.outputs["output-dir"]).rglob("*"))
    assert not [path for path in left if path.is_symlink() or not (path.is_file() or path.is_dir())]
    assert not [path for path in left if path.is_dir() and path.stat().st_mode & 0o700 != 0o700]


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        pytest.param("ln -s /proc/self/environ {report}", "0", id="link-to-the-environment"),
        pytest.param("ln -s {passing} {report}", "0", id="link-to-a-pass"),
        pytest.param("mkdir {report}", "0", id="folder"),
        pytest.param("true", "0", id="nothing"),
        pytest.param("head -c 200 {passing} > {report}", "0", id="half"),
        pytest.param("truncate -s 1T {report}", "0", id="huge"),
        pytest.param("cp {passing} {report}", "1", id="another-status"),
        pytest.param("cp {passing} {report}", "137", id="killed-after-the-report"),
        pytest.param("cp {passing} {report}", "", id="status-lost"),
        pytest.param("cp {passing} {report}", "00", id="status-odd"),
    ],
)
def test_publishing_believes_neither_report_nor_status_alone(runner, image, leave, status):
    """As if the sandbox had been taken over whole: any file in the output folder, any status."""
    result = publish_what_is_left(runner, image, leave, status)
    assert result.conclusion == "failure"
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")
    assert TOKEN not in result.log + result.summary
    assert "pass" not in result.summary.splitlines()[0]


def test_publishing_believes_a_report_and_a_status_that_agree(runner, image):
    """The control of the test above: its passing report is a pass."""
    result = publish_what_is_left(runner, image, "cp {passing} {report}", "0")
    assert (result.conclusion, result.outputs["verdict"]) == ("success", "pass")


def test_a_publisher_that_dies_takes_its_outputs_with_it(runner, image):
    script = runner.action / "entrypoint/host/publish.sh"
    died = """run_container() { printf 'verdict=pass\\nexit-code=0\\n' >>"$GITHUB_OUTPUT"; return 137; }"""
    script.write_text(script.read_text().replace("name=$MODEL", f"{died}\nname=$MODEL"))
    result = run(runner, image, comment="false")
    assert result.conclusion == "failure"
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")


def publish_what_is_left(runner, image, leave, status):
    passing = runner.workspace / "passing.json"
    passing.write_bytes(to_json(report()))
    command = leave.format(
        report='"$MODEL_EVAL_OUTPUT_DIR/report.json"', passing='"$GITHUB_WORKSPACE/passing.json"'
    )
    (runner.action / "entrypoint/host/sandbox.sh").write_text(
        f'set -e\n{command}\necho "exit-status={status}" >> "$GITHUB_OUTPUT"\n'
    )
    return run(runner, image, comment="false")


def test_memory_limit_is_named(runner, image):
    write_project(runner, "HOG = [bytearray(1 << 20) for _ in range(4000)]\n")
    result = run(runner, image, memory="600m", comment="false")
    assert result.conclusion == "failure"
    assert result.outputs["exit-code"] == "4", result.log


def test_a_deadline_leaves_a_report(runner, image):
    write_project(runner, "import time\ntime.sleep(600)\n")
    result = run(runner, image, deadline="8", comment="false")
    assert result.conclusion == "failure"
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")
    assert "the deadline came after 0 of " in result.summary


def test_a_cancellation_stops_the_container(runner, image):
    write_project(runner, "import time\nprint('SLEEPING', flush=True)\ntime.sleep(600)\n")
    cleanup = runner.action / "entrypoint/host/cleanup.sh"
    seen = f"echo RUNNING: $(docker ps --quiet --filter name=model-eval-{RUN_ID}-)\n"
    cleanup.write_text(seen + cleanup.read_text())
    log = runner.temp / "step-3.log"
    runner.cancel_when = lambda: log.exists() and b"SLEEPING" in log.read_bytes()
    result = run(runner, image)
    evaluated = result.step("evaluate")
    assert (evaluated.outcome, evaluated.signals) == ("cancelled", ["SIGINT"])
    assert result.step("cleanup").log == "RUNNING:\n"
    assert [step.outcome for step in result.steps[4:]] == [
        "skipped",
        "skipped",
        "success",
        "skipped",
    ]
    assert result.outputs["verdict"] == "error"


def test_a_killed_step_is_cleaned_up(runner, image):
    """SIGKILL leaves no time for a trap; the step that always runs removes the container."""
    write_project(runner, "import time\nprint('SLEEPING', flush=True)\ntime.sleep(600)\n")
    script = runner.action / "entrypoint/host/sandbox.sh"
    script.write_text(
        script.read_text().replace(
            "status=0\nrun_container",
            'status=0\n(until grep -q SLEEPING "$RUNNER_TEMP/step-3.log"; do sleep 0.1; done; '
            "kill -KILL $$) &\nrun_container",
        )
    )
    result = run(runner, image)
    assert [step.outcome for step in result.steps] == [
        "success", "success", "skipped", "failure", "success", "skipped", "success", "skipped",
    ]  # fmt: skip
    assert docker("ps", "--all", "--quiet", "--filter", f"name=model-eval-{RUN_ID}-").stdout == ""
    assert result.outputs["verdict"] == "error"


def test_programs_are_not_taken_from_the_workspace(runner, image):
    tools = runner.workspace / "bin"
    tools.mkdir()
    for name in ("docker", "find", "id", "od", "mktemp", "realpath", "tr", "bash"):
        (tools / name).write_text("#!/bin/sh\necho HIJACKED >&2\nexit 0\n")
        (tools / name).chmod(0o755)
    runner.environment["PATH"] = f".:{tools}:bin:{os.environ['PATH']}"
    result = run(runner, image, comment="false")
    assert result.conclusion == "success", result.log
    assert "HIJACKED" not in result.log


def test_data_outside_the_workspace(runner, image):
    data = runner.folder / "data sets, all"
    shutil.copytree(runner.workspace / "examples/digits/data", data)
    shutil.rmtree(runner.workspace / "examples/digits/data")
    spec = runner.workspace / "examples/digits/model-eval.yaml"
    text = spec.read_text()
    for name in ("data/heldout.parquet", "data/train.parquet"):
        text = text.replace(name, json.dumps(str(data / Path(name).name)))
    spec.write_text(text)
    result = run(runner, image, comment="false", data_paths=f"\n  {data}/  \n")
    assert result.conclusion == "success", result.log


@pytest.mark.parametrize("where", ["", "_work", "_work/_temp", "_work/demo/demo/examples", "home", "/", "/etc", "data"])  # fmt: skip
def test_data_paths_cannot_open_the_sandbox(runner, image, where):
    path = where if where.startswith("/") else f"{runner.folder}/{where}".rstrip("/")
    result = run(runner, image, data_paths=path, comment="false")
    assert result.step("evaluate").outcome == "failure"
    assert result.outputs["verdict"] == "error"
    assert len(result.annotations("error")) == 1
    assert "`data-paths`" in result.annotations("error")[0].data


@pytest.mark.parametrize(
    ("inputs", "environment", "message"),
    [
        ({}, {"RUNNER_OS": "Windows"}, "this action runs on Linux runners only, and this one is `Windows`; use runs-on: ubuntu-latest or a self-hosted Linux runner"),
        ({}, {"GITHUB_WORKSPACE": "/__w/demo/demo"}, "this job runs in a container, where the paths of the workspace are not those of the Docker engine; remove `container:` from the job"),
        ({}, {"DOCKER_HOST": "unix:///nowhere.sock"}, "the Docker engine does not answer"),
        ({"image": ""}, {}, "no cpu image has been released with this version of the action"),
        ({"image": "--privileged"}, {}, "`image: --privileged` is not the name of an image; correct the input"),
        ({"gpus": "some"}, {}, "`gpus: some` is not auto, all, none or device=…; correct the input"),
        ({"gpus": "device="}, {}, "names no devices"),
        ({"spec": ""}, {}, "the input `spec` is empty; name a YAML file in the workspace"),
        ({"spec": "/etc/passwd"}, {}, "does not stay inside the workspace"),
        ({"spec": "a/../../x.yaml"}, {}, "does not stay inside the workspace"),
        ({"spec": "x\n::error::y"}, {}, "does not stay inside the workspace"),
        ({"memory": "1g --privileged"}, {}, "`memory: 1g --privileged` is not a size; write it like 512m or 12g"),
        ({"pids-limit": "-1"}, {}, "`pids-limit: -1` is not a whole number; correct the input"),
        ({"deadline": "1h"}, {}, "`deadline: 1h` is not a whole number of seconds; correct the input"),
        ({"comment": "yes"}, {}, "`comment: yes` is not true or false; correct the input"),
        ({"allow-loosening": "yes"}, {}, "`allow-loosening: yes` is not true or false; correct the input"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_in_one_line(runner, image, inputs, environment, message):
    runner.environment |= environment
    result = run(runner, image, **inputs)
    assert result.conclusion == "failure"
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")
    (error,) = result.annotations("error")
    assert message in error.data


@pytest.mark.parametrize(("gpus", "warned"), [("auto", True), ("none", False)])
def test_a_gpu_that_docker_cannot_use_is_named(runner, image, gpus, warned):
    put_gpu(runner)
    result = run(runner, image, gpus=gpus, comment="false")
    assert result.outputs["verdict"] == "pass", result.log
    warnings = [warning.data for warning in result.annotations("warning")]
    expected = "this runner has a GPU that Docker cannot use, so the evaluation runs on the CPU; install the NVIDIA Container Toolkit, or say `gpus: none`"
    assert warnings == ([expected] if warned else [])


def test_gpus_that_are_asked_for_and_not_there_are_an_error(runner, image):
    """Also: what Docker refuses to start ends with a message and is no pass."""
    result = run(runner, image, gpus="device=7", comment="false")
    assert (result.conclusion, result.outputs["verdict"]) == ("failure", "error")
    assert "Docker could not start the evaluation" in result.annotations("error")[0].data


def put_gpu(runner):
    tools = runner.folder / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: Imagined'\n")
    (tools / "nvidia-smi").chmod(0o755)
    runner.environment["PATH"] = f"{os.environ['PATH']}:{tools}"
