"""GitHub's REST API on localhost, for tests: the fixture `github_api`.

`emulate` keeps the state, `prism` refuses every request that GitHub's own OpenAPI description
does not allow, and `shim.py` has the rest. All listen on 127.0.0.1, on free ports; a container
reaches them with `--network host`. `npm ci --ignore-scripts` in this folder installs them.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from end_to_end.github_api.shim import Fault, Request, Shim, Token

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
DESCRIPTION = MODULES / "@octokit/openapi/generated/api.github.com.json"
REPOSITORY = "octo/demo"
START_LIMIT = 120.0
"""Seconds until a server must answer; two take about 2 s on a free core."""

TOKENS = {
    "actions": Token(value="ghs_actions0000000000000000000000000001", login="github-actions-bot"),
    "read_only": Token(
        value="ghs_readonly000000000000000000000000002", login="github-actions-bot", may_write=False
    ),
    "app": Token(value="ghs_otherapp000000000000000000000000003", login="other-app-bot"),
    "person": Token(value="ghp_person00000000000000000000000000004", login="mallory"),
    "owner": Token(value="ghp_owner000000000000000000000000000005", login="octo"),
}

_PATHS = re.compile(
    r"/user|/repos/\{owner\}/\{repo\}(/(issues|pulls|commits|check-runs|statuses|git)\b.*)?"
)
"""The part of the description that is checked against; any other path is a violation. Prism needs
a fifth of the time for it that the whole takes."""


@dataclass(frozen=True, kw_only=True)
class GitHubApi:
    """An open pull request, just for this test, and what a test wants to know about it."""

    url: str
    pull_request: int
    head_sha: str
    _shim: Shim
    repository: str = REPOSITORY
    token: str = TOKENS["actions"].value

    @property
    def enterprise_url(self) -> str:
        """The same API where a GitHub Enterprise Server has it."""
        return f"{self.url}/api/v3"

    @property
    def environment(self) -> dict[str, str]:
        """What a step of a workflow for this pull request finds in its environment."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_SERVER_URL": self.url,
            "GITHUB_REPOSITORY": self.repository,
            "MODEL_EVAL_PULL_REQUEST": str(self.pull_request),
            "MODEL_EVAL_TOKEN": self.token,
        }

    @property
    def requests(self) -> list[Request]:
        """The requests since the test began, in order."""
        return self._shim.requests

    @property
    def writes(self) -> list[Request]:
        """The requests that ask for a change; GraphQL's are queries only."""
        return [one for one in self.requests if one.method != "GET" and one.path != "/graphql"]

    @property
    def violations(self) -> list[str]:
        """Requests that are not in GitHub's description; a test that leaves any here fails."""
        return self._shim.violations

    def comments(self) -> list[dict[str, Any]]:
        """All comments on the pull request, oldest first."""
        found: list[dict[str, Any]] = []
        while page := self._owner(
            "GET", f"{self._comments}?per_page=100&page={len(found) // 100 + 1}"
        ):
            found += page
            if len(page) < 100:
                break
        return found

    def comment(self, body: str, *, by: str = "person") -> dict[str, Any]:
        """Somebody (a key of `TOKENS`) comments."""
        return self._owner("POST", self._comments, {"body": body}, by=by)

    def fail(
        self,
        status: int,
        message: str = "Server Error",
        *,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        path: str = "",
        times: int = 1,
        after: bool = False,
        body: Any = None,
    ) -> None:
        """The next requests with this method and path (a pattern) are answered like this."""
        self._shim.faults.append(
            Fault(
                status=status,
                message=message,
                headers=headers or {},
                method=method,
                path=path,
                times=times,
                after=after,
                body=body,
            )
        )

    def add_files(self, files: Mapping[str, str], *, modes: Mapping[str, str] | None = None) -> str:
        """A tree with these files: path → text. `modes` has those that are not plain files.

        Returns:
            Its digest, which stands for a commit's: emulate's answers about commits are not GitHub's,
            and GitHub takes both where it is asked for a tree.
        """
        git = f"/repos/{self.repository}/git"

        def tree(prefix: str) -> str:
            entries: dict[str, dict[str, str]] = {}
            for path, text in files.items():
                name, slash, _ = path.removeprefix(prefix).partition("/")
                if not path.startswith(prefix) or name in entries:
                    continue
                mode = "040000" if slash else (modes or {}).get(path, "100644")
                if slash:
                    kind, sha = "tree", tree(f"{prefix}{name}/")
                else:
                    blob = {"content": text, "encoding": "utf-8"}
                    kind, sha = "blob", self._owner("POST", f"{git}/blobs", blob)["sha"]
                entries[name] = {"path": name, "mode": mode, "type": kind, "sha": sha}
            return str(self._owner("POST", f"{git}/trees", {"tree": [*entries.values()]})["sha"])

        return tree("")

    @property
    def _comments(self) -> str:
        return f"/repos/{self.repository}/issues/{self.pull_request}/comments"

    def _owner(self, method: str, path: str, body: Any = None, *, by: str = "owner") -> Any:
        return _ask(self._shim, method, path, body, by=by)


@contextmanager
def running_rig(folder: Path) -> Iterator[Shim]:
    """Starts the three servers, and stops them."""
    shim = Shim(TOKENS)
    with ExitStack() as stack:
        stack.callback(shim.stop)
        seed = folder / "seed.json"
        seed.write_text(json.dumps(_seed()))
        description = folder / "description.json"
        description.write_text(json.dumps(_trimmed(json.loads(DESCRIPTION.read_bytes()))))
        emulate, prism = _free_port(), _free_port()
        upstream = f"http://127.0.0.1:{emulate}"
        start = [
            ["emulate/dist/index.js", "--service=github", f"--port={emulate}"],
            ["@stoplight/prism-cli/dist/index.js", "proxy", str(description), upstream],
        ]
        start[0] += [f"--seed={seed}", f"--base-url={shim.url}"]
        start[1] += ["--errors", "--host=127.0.0.1", f"--port={prism}"]
        processes = [stack.enter_context(_node(arguments, folder)) for arguments in start]
        for process, port, (script, *_) in zip(processes, (emulate, prism), start, strict=True):
            _wait_for(process, port, folder / f"{script.partition('/')[0]}.log")
        shim.upstream = upstream  # setting up is not under test
        for token in TOKENS.values():
            if token.login != "octo":
                path = f"/repos/{REPOSITORY}/collaborators/{token.login}"
                _ask(shim, "PUT", path, {"permission": "push"})
        shim.upstream = f"http://127.0.0.1:{prism}"
        yield shim


def new_pull_request(shim: Shim) -> GitHubApi:
    """Opens a pull request in the running rig and begins a new log."""
    shim.requests.clear()
    shim.faults.clear()
    shim.violations.clear()
    branch = f"branch-{time.monotonic_ns()}"
    body = {"title": "A better checkpoint", "head": branch, "base": "main"}
    opened = _ask(shim, "POST", f"/repos/{REPOSITORY}/pulls", body)
    shim.requests.clear()
    shim.violations.clear()
    return GitHubApi(
        url=shim.url, pull_request=opened["number"], head_sha=opened["head"]["sha"], _shim=shim
    )


@pytest.fixture(scope="session")
def github_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    missing = _missing()
    if missing:
        reason = f"{missing}: run `npm ci --ignore-scripts` in tests/end_to_end/github_api"
        if "node" in os.environ.get("MODEL_EVAL_REQUIRE", "").split():
            pytest.fail(reason)
        pytest.skip(reason)
    with running_rig(tmp_path_factory.mktemp("github_api")) as shim:
        yield shim


@pytest.fixture
def github_api(github_rig: Shim, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubApi]:
    """An open pull request on a GitHub of our own; fails where a request was not GitHub's."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    api = new_pull_request(github_rig)
    yield api
    assert not api.violations, "requests that GitHub's API description does not allow"


def _missing() -> str:
    if shutil.which("node") is None:
        return "there is no `node`"
    return "" if DESCRIPTION.is_file() else "the packages of the API rig are not installed"


def _seed() -> dict[str, Any]:
    tokens = {token.value: {"login": token.login, "scopes": ["repo"]} for token in TOKENS.values()}
    users = [{"login": login} for login in sorted({token.login for token in TOKENS.values()})]
    owner, name = REPOSITORY.split("/")
    return {
        "tokens": tokens,
        "github": {"users": users, "repos": [{"owner": owner, "name": name, "auto_init": True}]},
    }


def _trimmed(description: dict[str, Any]) -> dict[str, Any]:
    """The paths that are asked for, and the components that they reach."""
    paths = {path: item for path, item in description["paths"].items() if _PATHS.fullmatch(path)}
    reached: set[str] = set()
    pending: list[Any] = [paths]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            reference = one.get("$ref")
            if isinstance(reference, str) and reference not in reached:
                reached.add(reference)
                target: Any = description
                for key in reference.removeprefix("#/").split("/"):
                    target = target[key]
                pending.append(target)
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
    components = {
        kind: {
            name: item for name, item in items.items() if f"#/components/{kind}/{name}" in reached
        }
        for kind, items in description["components"].items()
    }
    return {
        "openapi": description["openapi"],
        "info": description["info"],
        "servers": description["servers"],
        "paths": paths,
        "components": components,
    }


@contextmanager
def _node(arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    script, *rest = arguments
    command = ["node", "--require", str(HERE / "preload.cjs"), str(MODULES / script), *rest]
    log = folder / f"{script.partition('/')[0]}.log"
    environment = {**os.environ, "NODE_ENV": "test", "NO_COLOR": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{log.stem} did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ask(shim: Shim, method: str, path: str, body: Any = None, *, by: str = "owner") -> Any:
    """Asks as the test, past the log."""
    headers = {"authorization": f"Bearer {TOKENS[by].value}", "content-type": "application/json"}
    data = b"" if body is None else json.dumps(body).encode()
    if body is None:
        del headers["content-type"]
    answer = shim.real_answer(method, path, headers, data)
    if answer.status >= 400:
        raise requests.HTTPError(f"{method} {path}: {answer.status} {answer.body.decode()}")
    return json.loads(answer.body) if answer.body else None
