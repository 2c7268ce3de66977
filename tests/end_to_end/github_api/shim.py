"""What stands before Prism: tokens, permissions, limits, GraphQL's `viewer`, and planned faults.

    test ─► shim ─► Prism (is the request one of GitHub's API?) ─► emulate (keeps the state)

Prism knows GitHub's description, emulate keeps comments; neither refuses a read-only token or a
long comment, has rate limits, or speaks GraphQL. The shim does, with the answers GitHub gives,
and keeps a log of what it was asked.
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

COMMENT_LIMIT = 65_536
DOCS = "https://docs.github.com/rest"
BOTS = {"github-actions-bot": "github-actions[bot]", "other-app-bot": "other-app[bot]"}
"""emulate's logins → GitHub's: emulate writes brackets into addresses, where they are not valid."""
_ORIGIN = re.compile(r"<http://[^/>]+/")
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})


@dataclass(frozen=True, kw_only=True)
class Token:
    """Who a token is, with emulate's login, and what it may do."""

    value: str = field(repr=False)
    login: str
    may_write: bool = True

    @property
    def shown_login(self) -> str:
        return BOTS.get(self.login, self.login)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that the shim received, and the status it answered."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str] = field(repr=False)
    status: int


@dataclass(kw_only=True)
class Fault:
    """An answer that comes in place of the real one, so many times.

    `after`: the request is carried out, and only its answer lost.
    """

    status: int
    message: str
    headers: Mapping[str, str]
    method: str | None
    path: str
    times: int
    after: bool
    body: Any = None

    def matches(self, method: str, path: str) -> bool:
        return (
            self.times > 0
            and self.method in {None, method}
            and re.search(self.path, path) is not None
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> "Answer":
        return cls(
            status=status,
            body=json.dumps(value).encode(),
            headers={"content-type": "application/json; charset=utf-8", **(headers or {})},
        )

    @classmethod
    def refusal(
        cls, status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> "Answer":
        document = {"message": message, **more, "documentation_url": DOCS, "status": str(status)}
        return cls.json(status, document, headers)


class Shim:
    """The server; `url` is what a client takes for `https://api.github.com`."""

    def __init__(self, tokens: Mapping[str, Token]) -> None:
        self._tokens = {token.value: token for token in tokens.values()}
        self._lock = threading.Lock()
        self.upstream = ""
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        shim = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length") or 0))
                answer = shim.answer(self.command, self.path, dict(self.headers.items()), data)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

            def log_message(self, *args: Any) -> None:
                """Silent: `requests` is the log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> Answer:
        headers = {name.lower(): value for name, value in headers.items()}
        enterprise = path.startswith("/api/")
        if enterprise:
            path = path.removeprefix("/api/v3").removeprefix("/api")
        answer = self._answer(method, path, headers, data)
        if enterprise:
            answer = _as_enterprise(answer, self.url)
        with self._lock:
            self.requests.append(
                Request(
                    method=method,
                    path=path,
                    body=_parsed(data),
                    headers=headers,
                    status=answer.status,
                )
            )
        return answer

    def _answer(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> Answer:
        with self._lock:
            fault = next((one for one in self.faults if one.matches(method, path)), None)
            if fault is not None:
                fault.times -= 1
        if fault is not None:
            if fault.after:
                self.real_answer(method, path, headers, data)
            if fault.body is not None:
                return Answer.json(fault.status, fault.body, fault.headers)
            return Answer.refusal(fault.status, fault.message, fault.headers)
        return self.real_answer(method, path, headers, data)

    def real_answer(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes
    ) -> Answer:
        kind, _, value = headers.get("authorization", "").partition(" ")
        token = self._tokens.get(value) if kind.lower() in {"token", "bearer"} else None
        if token is None:
            return Answer.refusal(401, "Bad credentials")
        if path == "/graphql":
            return _graphql(token, _parsed(data))
        if path == "/user" and token.login in BOTS:
            return Answer.refusal(403, "Resource not accessible by integration")
        if method in WRITES and not token.may_write:
            return Answer.refusal(403, "Resource not accessible by integration")
        body = _parsed(data)
        if (
            "/comments" in path
            and isinstance(body, dict)
            and len(str(body.get("body"))) > COMMENT_LIMIT
        ):
            said = f"Body is too long (maximum is {COMMENT_LIMIT} characters)"
            wrong = {
                "resource": "IssueComment",
                "code": "unprocessable",
                "field": "data",
                "message": said,
            }
            return Answer.refusal(422, "Validation Failed", errors=[wrong])
        return self._forwarded(method, path, headers, data)

    def _forwarded(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> Answer:
        dropped = {"host", "connection", "accept-encoding", "content-length"}
        passed = {name: value for name, value in headers.items() if name not in dropped}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                self.upstream + path,
                headers=passed,
                data=data,
                timeout=60,
                allow_redirects=False,
            )
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            with self._lock:
                self.violations.append(f"{method} {path}: {answer.text}")
        kept = {
            "content-type",
            "link",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        }
        text = answer.content
        for login, shown in BOTS.items():
            text = text.replace(f'"login":"{login}"'.encode(), f'"login":"{shown}"'.encode())
        return Answer(
            status=answer.status_code,
            body=text,
            headers={
                # emulate links to the next page where it was asked itself.
                name: _ORIGIN.sub(f"<{self.url}/", value)
                for name, value in answer.headers.items()
                if name.lower() in kept
            },
        )


def _graphql(token: Token, body: Any) -> Answer:
    query = body.get("query") if isinstance(body, dict) else None
    if not isinstance(query, str) or "".join(query.split()) not in {
        "{viewer{login}}",
        "query{viewer{login}}",
    }:
        return Answer.refusal(400, "Problems parsing JSON")
    return Answer.json(200, {"data": {"viewer": {"login": token.shown_login}}})


def _as_enterprise(answer: Answer, url: str) -> Answer:
    def moved(text: str) -> str:
        return text.replace(f"{url}/repos/", f"{url}/api/v3/repos/")

    headers = {name: moved(value) for name, value in answer.headers.items()}
    return Answer(status=answer.status, body=moved(answer.body.decode()).encode(), headers=headers)


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data
