"""A GitHub server for tests: its REST API as far as the deck uses it, and git over smart HTTP, on loopback.

Rules
- Strict where GitHub's documentation is: methods, paths, required headers and fields, statuses and error bodies. What a
  request lacks is answered as GitHub answers it, and kept in `complaints` besides.
- What is created stays, and is shown by the API; git is git's own `http-backend` over a bare repository.
- Faults are asked for by name and come once each: an overloaded server, a rate limit, a lost answer.

Sources: GitHub REST API, version 2022-11-28 (issues, comments, pulls, best practices); git-http-backend(1).
"""

import base64
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from quarterdeck.settings import child_environment

_PULL: Final = ("title", "head", "base", "body", "draft", "maintainer_can_modify", "head_repo", "issue")
_MAX_BODY: Final = 65_536


@dataclass(slots=True)
class FakeGithub:
    """The state of the server. `root`: below it lie the bare repositories, as `OWNER/NAME.git`."""

    root: Path
    token: str
    url: str = ""
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What goes wrong next with the API: `502`, `rate`, `lost` (done, but the answer is lost), `401`, `403`."""
    default_branch: str = "main"
    lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self, number: int, title: str, body: str, **changes: Any) -> dict[str, Any]:
        """Open an issue."""
        made: dict[str, Any] = {
            "number": number,
            "title": title,
            "body": body,
            "state": "open",
            "user": {"login": "eve", "type": "User"},
            "author_association": "NONE",
            "labels": [{"name": "quarterdeck"}],
            "html_url": f"{self.url}/acme/shop/issues/{number}",
            **changes,
        }
        self.issues[number] = made
        return made

    def labeled(self, number: int, **changes: Any) -> dict[str, Any]:
        """The `issues` event of a label."""
        return {
            "action": "labeled",
            "issue": self.issues[number],
            "label": {"name": "quarterdeck"},
            "repository": {"full_name": "acme/shop", "private": True},
            "sender": {"login": "ada", "type": "User"},
            **changes,
        }


class _Refused(Exception):
    def __init__(self, status: int, message: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        about = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
        self.body: dict[str, Any] = about if errors is None else {**about, "errors": errors}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FakeGithub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _any(self) -> None:
        body = self._body()
        state = self.state
        with state.lock:
            state.requests.append((self.command, self.path))
        if re.match(r"/[\w.-]+/[\w.-]+\.git/", self.path):
            self._git(body)
            return
        try:
            status, answer = self._api(body)
        except _Refused as refused:
            self._send(refused.status, refused.body)
            return
        if answer is None:  # the answer is lost
            self.close_connection = True
            self.connection.close()
            return
        self._send(status, answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    # --- the API ----------------------------------------------------------------------------------------------

    def _api(self, body: bytes) -> tuple[int, Any]:
        state, parts = self.state, urlsplit(self.path)
        with state.lock:
            fault = state.faults.pop(0) if state.faults else ""
            if fault == "502":
                raise _Refused(502, "Server Error")
            if fault == "rate":
                self._send(403, {"message": "API rate limit exceeded for user."}, {"retry-after": "1"})
                return 0, {}
            if fault == "401" or self.headers.get("authorization") != f"Bearer {state.token}":
                raise _Refused(401, "Bad credentials")
            if fault == "403":
                raise _Refused(403, "Resource not accessible by personal access token")
            self._check_headers()
            status, answer = self._route(parts.path, parse_qs(parts.query), body)
            return (status, None) if fault == "lost" else (status, answer)

    def _check_headers(self) -> None:
        if not self.headers.get("user-agent"):
            raise _Refused(403, "Request forbidden by administrative rules: no User-Agent")
        if self.headers.get("accept") != "application/vnd.github+json":
            self.state.complaints.append(f"accept: {self.headers.get('accept')}")
        if self.headers.get("x-github-api-version") != "2022-11-28":
            raise _Refused(400, "unsupported X-GitHub-Api-Version")

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        state = self.state
        if not path.startswith("/api/v3/repos/acme/shop"):
            raise _Refused(404, "Not Found")
        rest, method = path.removeprefix("/api/v3/repos/acme/shop"), self.command
        if rest == "" and method == "GET":
            return 200, {"full_name": "acme/shop", "default_branch": state.default_branch}
        if rest == "/pulls":
            return (200, self._listed(query)) if method == "GET" else (201, self._opened(self._json(body)))
        if (found := re.fullmatch(r"/pulls/(\d+)", rest)) and method == "PATCH":
            pull = next((pull for pull in state.pulls if pull["number"] == int(found[1])), None)
            if pull is None:
                raise _Refused(404, "Not Found")
            pull.update(self._json(body))
            return 200, pull
        if found := re.fullmatch(r"/issues/(\d+)(/comments)?", rest):
            number = int(found[1])
            if number not in state.issues:
                raise _Refused(404, "Not Found")
            if not found[2] and method == "GET":
                return 200, state.issues[number]
            said = state.comments.setdefault(number, [])
            if found[2] and method == "GET":
                if not re.fullmatch(
                    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", query.get("since", ["1970-01-01T00:00:00Z"])[0]
                ):
                    raise _Refused(422, "Invalid since")
                return 200, said if query.get("page", ["1"])[0] == "1" else []
            if found[2] and method == "POST":
                text = self._json(body).get("body")
                if not isinstance(text, str) or not text or len(text) > _MAX_BODY:
                    raise _Refused(422, "Validation Failed")
                made = {"body": text, "html_url": f"{state.url}/acme/shop/issues/{number}#issuecomment-{len(said) + 1}"}
                said.append(made)
                return 201, made
        raise _Refused(404, "Not Found")

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except ValueError:
            raise _Refused(400, "Problems parsing JSON") from None
        if not isinstance(found, dict):
            raise _Refused(400, "Body should be a JSON object")
        return found

    def _listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        if query.get("state", ["open"])[0] not in ("open", "closed", "all"):
            raise _Refused(422, "Validation Failed")
        head = query.get("head", [""])[0]
        if head and ":" not in head:
            self.state.complaints.append(f"head without an owner is not filtered by: {head}")
            head = ""
        return [
            pull
            for pull in reversed(self.state.pulls)
            if query.get("state", ["open"])[0] in ("all", pull["state"])
            and (not head or f"acme:{pull['head']['ref']}" == head)
            and query.get("base", [pull["base"]["ref"]])[0] == pull["base"]["ref"]
        ]

    def _opened(self, told: dict[str, Any]) -> dict[str, Any]:
        state = self.state
        for name in told.keys() - set(_PULL):
            state.complaints.append(f"unknown field {name}")
        for name in ("title", "head", "base"):
            if not isinstance(told.get(name), str) or not told[name]:
                raise _Refused(422, "Validation Failed", [{"message": f"{name} is missing", "code": "missing_field"}])
        if len(str(told.get("body") or "")) > _MAX_BODY:
            raise _Refused(422, "Validation Failed", [{"message": "body is too long"}])
        for name in ("head", "base"):
            if not self._tip(told[name]):
                raise _Refused(422, "Validation Failed", [{"message": f"{name} is invalid", "code": "invalid"}])
        if any(pull["head"]["ref"] == told["head"] and pull["state"] == "open" for pull in state.pulls):
            told_twice = f"A pull request already exists for acme:{told['head']}."
            raise _Refused(422, "Validation Failed", [{"message": told_twice, "code": "custom"}])
        number = 100 + len(state.pulls)
        made = {
            "number": number,
            "state": "open",
            "title": told["title"],
            "body": told.get("body"),
            "head": {"ref": told["head"]},
            "base": {"ref": told["base"]},
            "html_url": f"{state.url}/acme/shop/pull/{number}",
        }
        state.pulls.append(made)
        return made

    def _tip(self, branch: str) -> str:
        place = self.state.root / "acme" / "shop.git"
        command = ["git", f"--git-dir={place}", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    # --- git --------------------------------------------------------------------------------------------------

    def _git(self, body: bytes) -> None:
        basic = base64.b64encode(f"x-access-token:{self.state.token}".encode()).decode()
        if self.headers.get("authorization") != f"Basic {basic}":
            self.send_response(401)
            self.send_header("www-authenticate", 'Basic realm="GitHub"')
            self.send_header("content-length", "0")
            self.end_headers()
            return
        parts = urlsplit(self.path)
        told = {
            "GIT_PROJECT_ROOT": str(self.state.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "REMOTE_USER": "x-access-token",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, capture_output=True, check=False, env=child_environment(told)
        )
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n") if b": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def github_server(root: Path, token: str) -> Iterator[FakeGithub]:
    """A running server with the empty bare repository `acme/shop`."""
    place = root / "acme" / "shop.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(place)], check=True, cwd=os.sep)
    subprocess.run(["git", f"--git-dir={place}", "config", "http.receivepack", "true"], check=True)
    state = FakeGithub(root, token)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
