"""The command line: what it prints, and the status it ends with."""

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

from builders.projects import make_project
from builders.reports import ROOT, estimate, report
from model_eval import __version__, supervise
from model_eval.cli import main
from model_eval.output import REPORT, save_report


def cli(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-I", "-m", "model_eval", *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def shell(command, redirection):
    return subprocess.run(
        ["/bin/bash", "-c", f"{shlex.join(command)} {redirection}"],
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "model-eval: the following arguments are required: COMMAND; see `model-eval --help`\n"),
        (["run"], "model-eval run: the following arguments are required: SPEC; see `model-eval run --help`\n"),
        (["judge"], "model-eval: argument COMMAND: invalid choice: 'judge' (choose from 'run', 'merge', 'validate', 'publish', 'base-spec', 'record'); see `model-eval --help`\n"),
        (["run", "a.yaml", "--gpu"], "model-eval: unrecognized arguments: --gpu; see `model-eval --help`\n"),
    ],
)  # fmt: skip
def test_a_wrong_command_line(arguments, message, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(("least", "status"), [(0.9, 0), (1.1, 2)])
def test_what_stderr_does_not_take_changes_no_status(tmp_path, where, least, status):
    project = make_project(tmp_path)
    project.spec.write_text(project.spec.read_text().replace("min: 0.9", f"min: {least}"))
    done = shell(project.command(), where)
    assert done.returncode == status
    assert f"(exit {status})" in done.stdout


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (">/dev/full", "standard output cannot be written: No space left on device; "),
        (">&-", "standard output is closed; "),
    ],
)
def test_what_stdout_does_not_take_is_no_pass(tmp_path, where, said):
    project = make_project(tmp_path)
    remedy = "give it somewhere to go; what is not shown is no pass\n"
    done = shell(project.command(), where)
    assert done.returncode == 4
    assert done.stderr.endswith(said + remedy)
    assert shell(project.command(), f"{where} 2>&-").returncode == 4


def test_validate_into_nothing(tmp_path):
    command = [
        sys.executable,
        "-I",
        "-m",
        "model_eval",
        "validate",
        str(make_project(tmp_path).spec),
    ]
    done = shell(command, ">/dev/full")
    assert done.returncode == 4
    assert done.stderr.startswith("standard output cannot be written: ")


def test_version_and_help():
    assert cli("--version").stdout == f"model-eval {__version__}\n"
    shown = cli("--help").stdout
    assert "exit status:" in shown
    assert "  0  pass: every required gate passed" in shown


def test_validate(tmp_path):
    project = make_project(tmp_path)
    done = cli("validate", project.spec)
    assert (done.returncode, done.stdout) == (0, "model-eval.yaml: valid: binary, 1 gate\n")
    project.spec.write_text(project.spec.read_text().replace("accuracy", "acuracy"))
    done = cli("validate", project.spec)
    assert done.returncode == 2
    assert "did you mean `accuracy`" in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_validate_does_not_import_torch(tmp_path):
    project = make_project(tmp_path)
    code = (
        "import sys; from model_eval.cli import main; "
        f"status = main(['validate', {str(project.spec)!r}]); "
        "assert not {'torch', 'numpy', 'github'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_publish_does_not_import_torch_or_numpy(tmp_path):
    save_report(report(), tmp_path)
    code = (
        "import sys; from model_eval.cli import main; "
        f"status = main(['publish', '--report', {str(tmp_path / REPORT)!r}]); "
        "assert not {'torch', 'numpy', 'pyarrow'} & set(sys.modules), "
        "{'torch', 'numpy', 'pyarrow'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("value", "status"), [(0.95, 0), (0.1, 1), (None, 4)])
def test_publish_ends_with_the_status_of_the_report(tmp_path, value, status):
    save_report(report([estimate(value, undefined=None if value else "x")]), tmp_path)
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    done = cli(
        "publish", "--report", tmp_path / REPORT, "--no-comment",
        GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(outputs),
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert summary.exists()
    assert f"\n{status}\n" in outputs.read_text()


def forged(folder):
    save_report(report([estimate(0.1)]), folder)
    document = json.loads((folder / REPORT).read_text())
    document |= {"verdict": "pass", "exit_code": 0}
    (folder / REPORT).write_text(json.dumps(document))


def linked(folder):
    save_report(report(), folder)
    (folder / REPORT).rename(folder / "elsewhere.json")
    (folder / REPORT).symlink_to(folder / "elsewhere.json")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "`report.json` cannot be read: No such file or directory"),
        (lambda folder: (folder / REPORT).write_text("{"), "the report is not JSON"),
        (lambda folder: (folder / REPORT).mkdir(), "`report.json` cannot be read: Is a directory"),
        (linked, "`report.json` cannot be read: Too many levels of symbolic links"),
        (forged, "the report claims `pass` (exit 0), and its gates show `fail`"),
    ],
    ids=["missing", "broken", "folder", "link", "forged"],
)
def test_publish_of_what_is_no_report_is_an_error_that_is_shown(tmp_path, make, message):
    make(tmp_path)
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    done = cli(
        "publish", "--report", tmp_path / REPORT,
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(outputs),
    )  # fmt: skip
    assert done.returncode == 4
    assert message in summary.read_text()
    assert "error" in outputs.read_text()
    assert done.stdout.startswith("::error title=model-eval%3A report::")


def test_publish_refuses_a_report_that_disagrees_with_the_exit_status(tmp_path):
    save_report(report(), tmp_path)
    assert cli("publish", "--report", tmp_path / REPORT, "--exit-status", 0).returncode == 0
    done = cli("publish", "--report", tmp_path / REPORT, "--exit-status", 137)
    assert done.returncode == 4
    assert "the report says exit status 0, and the evaluation ended with 137" in done.stderr


def test_outputs_that_cannot_be_written_are_the_exit_status(tmp_path):
    """Of both doors: who reads the outputs finds none, and takes that for an error."""
    outputs = {"GITHUB_OUTPUT": str(tmp_path)}
    save_report(report(), tmp_path)
    project = make_project(tmp_path / "project")
    for done in (
        cli("publish", "--report", tmp_path / REPORT, "--exit-status", 0, **outputs),
        project.run(**outputs),
    ):
        assert done.returncode == 4
        assert (
            "the file that `GITHUB_OUTPUT` names cannot be written: Is a directory" in done.stderr
        )


def test_what_is_wrong_with_the_comment_does_not_change_the_verdict(tmp_path):
    save_report(report(), tmp_path)
    summary = tmp_path / "summary"
    done = cli(
        "publish", "--report", tmp_path / REPORT,
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary), MODEL_EVAL_TOKEN="bad token",
        MODEL_EVAL_PULL_REQUEST="7",
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith(
        "::warning title=model-eval::nothing is left on the pull request: "
    )
    assert "bad token" not in done.stdout
    assert summary.exists()


def test_files_outside_of_the_root_need_to_be_allowed(tmp_path):
    project = make_project(tmp_path / "project")
    data = tmp_path / "data"
    data.mkdir()
    (project.folder / "heldout.csv").rename(data / "heldout.csv")
    text = project.spec.read_text().replace("heldout.csv", str(data / "heldout.csv"))
    project.spec.write_text(text)
    done = project.run()
    assert done.returncode == 2
    assert "--allow-path" in done.stdout
    assert project.run("--allow-path", str(data)).returncode == 0


def test_the_repository_is_the_root(tmp_path):
    project = make_project(tmp_path / "a/b")
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "a/b/model.safetensors").read_bytes())
    project.spec.write_text(
        project.spec.read_text().replace("model.safetensors", "../../model.safetensors")
    )
    assert project.run().returncode == 2
    (tmp_path / ".git").mkdir()
    assert project.run().returncode == 0


def test_examples_are_inside_this_repository():
    assert cli("validate", ROOT / "examples/digits/model-eval.yaml").returncode == 0


@pytest.mark.parametrize("actions", ["", "true"])
def test_nothing_slow_is_imported_before_the_child_starts(tmp_path, actions):
    project = make_project(tmp_path)
    code = (
        "import os, sys; from model_eval import supervise\n"
        "def started(*_, **__):\n"
        "    slow = {'torch', 'numpy', 'pyarrow', 'yaml', 'jsonschema', 'msgspec', 'tabulate'}\n"
        "    print('imported', *sorted(slow & sys.modules.keys()), flush=True)\n"
        "    os._exit(0)\n"
        "supervise.supervise = started\n"
        f"from model_eval.cli import main; main(['run', {str(project.spec)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, check=True, text=True,
        env={"GITHUB_ACTIONS": actions},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "imported"


@pytest.mark.parametrize(("asked", "status"), [(None, 0), (signal.SIGTERM, 4)])
def test_a_process_of_several_that_was_asked_to_stop_is_no_success(
    tmp_path, monkeypatch, capsys, asked, status
):
    ending = supervise._Ending(status=0, asked=asked, killed=False)
    monkeypatch.setattr(supervise, "_run", lambda *_, **__: ending)
    save_report(report(), tmp_path)
    assert supervise.relay([], output=tmp_path, environ={}) == status
    assert ("the run was asked to stop and went on" in capsys.readouterr().err) is bool(asked)


def test_a_signal_that_comes_while_the_child_starts_reaches_it():
    alarm = signal.getsignal(signal.SIGALRM)
    ending = supervise._run(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        environ={},
        meanwhile=lambda: os.kill(os.getpid(), signal.SIGTERM),
        judged=lambda: False,
    )
    assert (ending.status, ending.asked, ending.killed) == (-signal.SIGTERM, signal.SIGTERM, False)
    assert signal.getsignal(signal.SIGALRM) is alarm


def test_a_stop_after_the_report_is_none():
    ending = supervise._run(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        environ={},
        meanwhile=lambda: os.kill(os.getpid(), signal.SIGTERM),
        judged=lambda: True,
    )
    assert (ending.status, ending.asked) == (-signal.SIGTERM, None)


def test_a_process_that_leaves_the_childs_session_ends_with_it(tmp_path):
    noted = tmp_path / "noted"
    hides = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    open({str(noted)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        f"while not (os.path.exists({str(noted)!r}) and os.path.getsize({str(noted)!r})): pass\n"
    )
    ending = supervise._run(
        [sys.executable, "-c", hides], environ={}, meanwhile=lambda: None, judged=lambda: False
    )
    assert ending.status == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)
