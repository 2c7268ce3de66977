"""Runs a composite action as GitHub's runner does: the real steps of `action.yml`, in order.

The action is copied to where a runner would have it. Each step gets a clean environment with the
runner's own variables, its own file-command files, and one entry process, which alone is signalled
on a cancellation: SIGINT, 7.5 s later SIGTERM, 2.5 s later SIGKILL.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from end_to_end.action.commands import Command, read_commands, read_outputs
from end_to_end.action.expressions import condition, interpolate

REPOSITORY = Path(__file__).parents[3]
RUNNER_USER = 1001
"""The uid and gid of GitHub's own runners; taken where the tests run as root."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""Of the run, and of what is checked out."""

RUN_ID = "4242" + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
"""Names the containers: another process of the tests must not take these for its own."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One step, as the log page shows it."""

    name: str
    outcome: str
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    signals: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ActionRun:
    """What the workflow that uses the action sees."""

    steps: list[StepResult]
    outputs: dict[str, str]

    @property
    def conclusion(self) -> str:
        outcomes = {step.outcome for step in self.steps}
        for worst in ("cancelled", "failure"):
            if worst in outcomes:
                return worst
        return "success"

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps)

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)

    @property
    def commands(self) -> list[Command]:
        return [command for step in self.steps for command in read_commands(step.log)]

    def step(self, name: str) -> StepResult:
        return next(step for step in self.steps if step.name == name)

    def annotations(self, level: str) -> list[Command]:
        return [command for command in self.commands if command.name == level]


class Runner:
    """A self-hosted runner's folders: the workspace, the temporary folder, the action.

    Args:
        folder: of its own; its name may hold anything.
        environment: what the workflow sets with `env:`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.workspace = folder / "_work/demo/demo"
        self.temp = folder / "_work/_temp"
        self.home = folder / "home"
        self.action = folder / "_work/_actions/owner/model-eval-action/v1"
        for path in (self.workspace, self.temp / "_runner_file_commands", self.home, self.action):
            path.mkdir(parents=True)
        for name in ("action.yml", "image.lock"):
            shutil.copy(REPOSITORY / name, self.action)
        shutil.copytree(REPOSITORY / "entrypoint/host", self.action / "entrypoint/host")
        self.folder = folder
        self.environment = dict(environment)
        self.event: dict[str, Any] = {}
        self.caches: list[tuple[str, str, Path]] = []
        """What GitHub's cache holds, oldest first: key, path, and a copy of the folder."""
        self.cancel_when: Callable[[], bool] = lambda: False
        self.user = RUNNER_USER if os.getuid() == 0 else os.getuid()

    def run(self, inputs: Mapping[str, str]) -> ActionRun:
        """Runs all steps."""
        manifest = yaml.safe_load((self.action / "action.yml").read_text())
        self._own()
        unknown = inputs.keys() - manifest["inputs"].keys()
        assert not unknown, f"action.yml has no inputs {sorted(unknown)}"
        contexts: dict[str, Any] = {
            "github": {"token": self.environment.get("TEST_TOKEN", ""), "event": self.event},
            "steps": {},
        }
        contexts["inputs"] = {
            name: inputs.get(name, interpolate(declared.get("default", ""), contexts))
            for name, declared in manifest["inputs"].items()
        }
        for step in manifest["runs"]["steps"]:  # an `if` or `env` may name a step that was skipped
            contexts["steps"].setdefault(step.get("id", ""), {"outputs": {}})
        results: list[StepResult] = []
        for number, step in enumerate(manifest["runs"]["steps"]):
            allowed = {"id", "name", "if", "uses", "with", "continue-on-error"}
            if "uses" not in step:
                allowed = {"id", "name", "shell", "if", "run", "env"}
                assert step["shell"] == "bash"
            assert step.keys() <= allowed, step
            outcomes = [result.outcome for result in results]
            functions = {
                "always": lambda: True,
                "success": lambda seen=outcomes: set(seen) <= {"success", "skipped"},
                "failure": lambda seen=outcomes: "failure" in seen,
                "cancelled": lambda seen=outcomes: "cancelled" in seen,
            }
            name = step.get("id") or Path(step["run"].split("/")[-1].strip('"')).stem
            if "uses" in step and condition(step.get("if"), contexts, functions):
                given = {key: interpolate(value, contexts) for key, value in step["with"].items()}
                result = self._cache(name, step["uses"], given)
            elif condition(step.get("if"), contexts, functions):
                variables = {
                    key: interpolate(value, contexts) for key, value in step.get("env", {}).items()
                }
                assert "${{" not in step["run"], "an expression in `run:` is code injection"
                result = self._step(number, name, step["run"], variables)
            else:
                result = StepResult(name=name, outcome="skipped")
            results.append(result)
            if "id" in step:
                contexts["steps"][step["id"]] = {
                    "outputs": result.outputs,
                    "outcome": result.outcome,
                }
        outputs = {
            name: interpolate(declared["value"], contexts)
            for name, declared in manifest["outputs"].items()
        }
        return ActionRun(steps=results, outputs=outputs)

    def _cache(self, name: str, uses: str, given: dict[str, str]) -> StepResult:
        """`actions/cache/restore` and `/save`: by path and key, the newest of a prefix."""
        action = re.fullmatch(r"actions/cache/(restore|save)@[0-9a-f]{40}", uses)
        assert action, f"`{uses}` is not known, or not pinned by its commit"
        path = Path(given["path"])
        if action[1] == "save":
            copy = self.folder / f"cache-{len(self.caches)}"
            shutil.copytree(path, copy, symlinks=True)
            self.caches.append((given["key"], str(path), copy))
            return StepResult(name=name, outcome="success")
        for key, kept, copy in reversed(self.caches):
            if kept == str(path) and key.startswith((given["key"], given["restore-keys"])):
                shutil.copytree(copy, path, dirs_exist_ok=True, symlinks=True)
                self._own()
                return StepResult(name=name, outcome="success", outputs={"cache-matched-key": key})
        return StepResult(name=name, outcome="success")

    def _step(self, number: int, name: str, script: str, variables: dict[str, str]) -> StepResult:
        files = self.temp / "_runner_file_commands"
        paths = {
            variable: files / f"{prefix}_{number}"
            for variable, prefix in {
                "GITHUB_OUTPUT": "set_output", "GITHUB_STEP_SUMMARY": "step_summary",
                "GITHUB_ENV": "set_env", "GITHUB_PATH": "add_path", "GITHUB_STATE": "save_state",
            }.items()
        }  # fmt: skip
        script_file = self.temp / f"step-{number}.sh"
        log = self.temp / f"step-{number}.log"
        script_file.write_text(script)
        for path in (*paths.values(), script_file, log):
            if path != script_file:
                path.write_bytes(b"")  # as the runner does: nothing of an earlier step
            os.chown(path, self.user, self.user if os.getuid() == 0 else -1)
        environment = self._runner_environment() | {key: str(path) for key, path in paths.items()}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    shutil.which("bash"),
                    "--noprofile",
                    "--norc",
                    "-e",
                    "-o",
                    "pipefail",
                    script_file,
                ],
                cwd=self.workspace,
                env=environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **self._identity(),
            )
            signals = self._wait(process)
        outcome = "success" if process.returncode == 0 else "failure"
        assert not paths["GITHUB_ENV"].read_text(), "GITHUB_ENV leaks into the rest of the job"
        return StepResult(
            name=name,
            outcome="cancelled" if signals else outcome,
            log=log.read_text(errors="replace"),
            outputs=read_outputs(paths["GITHUB_OUTPUT"]),
            summary=paths["GITHUB_STEP_SUMMARY"].read_text(),
            signals=signals,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Waits for the end; returns the signals that a cancellation took."""
        while not self.cancel_when():
            if process.poll() is not None:
                return []
            time.sleep(0.02)
        self.cancel_when = lambda: False  # steps that always run are not signalled again
        sent = []
        for number, patience in (
            (signal.SIGINT, 7.5),
            (signal.SIGTERM, 2.5),
            (signal.SIGKILL, None),
        ):
            process.send_signal(number)
            sent.append(number.name)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            break
        return sent

    def _runner_environment(self) -> dict[str, str]:
        """What a runner sets, with secrets among it that no container may see."""
        return {
            "ACTIONS_RUNTIME_TOKEN": "runtime-token-secret",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self.action),
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(self.temp / "_github_workflow/event.json"),
            "GITHUB_JOB": "evaluate",
            "GITHUB_REPOSITORY": "octo/demo",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": RUN_ID,
            "GITHUB_SHA": COMMIT,
            "GITHUB_WORKSPACE": str(self.workspace),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.temp),
            **{key: os.environ[key] for key in os.environ.keys() & {"DOCKER_HOST"}},
            **self.environment,
        }

    def _identity(self) -> dict[str, Any]:
        """Not as root: what root writes breaks the next checkout. The engine's socket has a group."""
        if os.getuid() != 0:
            return {}
        socket = Path(
            os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")[len("unix://") :]
        )
        groups = [socket.stat().st_gid] if socket.exists() else []
        return {"user": self.user, "group": self.user, "extra_groups": groups}

    def _own(self) -> None:
        if os.getuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self.user, self.user, follow_symlinks=False)
