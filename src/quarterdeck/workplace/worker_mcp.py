"""An MCP server on standard input and output that is, in truth, the one behind an HTTP address: for agents inside a
sandbox that start MCP servers as programs.

Rules
- Standard library of Python 3.8 only, and no other file of ours: it is also run alone.
- `QUARTERDECK_MCP_URL` says where, `QUARTERDECK_MCP_KEY` with which key. It understands of the messages only what HTTP
  wants repeated in headers, for the stateless revision and for the ones with a handshake.
- A request whose connection was lost is sent again under the same id and the same name of ours, by which the server
  knows it; a session that the server does not know any more is begun anew.
- Every request gets an answer, an error at worst. Bounded: a line, an answer, requests at a time. It ends with its
  input.
"""

# Raw paths and little of the library: it starts with every agent.
from __future__ import annotations

import base64
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
from typing import Any

LINE = 8 * 1024 * 1024
ANSWER = 16 * 1024 * 1024
AT_ONCE = 16
PAUSES = (0.2, 1.0, 3.0)
"""Seconds before a request is sent again."""

CONNECT_SECONDS = 30.0
SILENT_SECONDS = 3600.0
"""How long an answer may take without a sign of life: a sub-agent's work is one request."""

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_VERSION = "io.modelcontextprotocol/protocolVersion"


def headers_of(message: dict[str, Any], version: str) -> dict[str, str]:
    """What the stateless revision wants repeated in headers; `version`: what a handshake agreed on. Pure."""
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    meta = params.get("_meta")
    own = meta.get(_VERSION) if isinstance(meta, dict) else None
    found = {}
    if isinstance(own, str):
        found["MCP-Protocol-Version"] = _plain(own)
        found["Mcp-Method"] = _plain(str(message.get("method", "")))
        name = params.get(_NAMED.get(str(message.get("method")), ""))
        if isinstance(name, str):
            found["Mcp-Name"] = _plain(name)
    elif version:
        found["MCP-Protocol-Version"] = _plain(version)
    return found


def _plain(value: str) -> str:
    """The value as it may stand in a header."""
    if value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?"):
        return value
    return "=?base64?" + base64.b64encode(value.encode("utf-8", "replace")).decode() + "?="


def events_of(body: bytes) -> list[bytes]:
    """The data of every event of a complete event stream. Pure."""
    found = []
    for block in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        lines = [line[5:] for line in block.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(line[1:] if line.startswith(b" ") else line for line in lines)
        if data:
            found.append(data)
    return found


def error_for(message: dict[str, Any], code: int, text: str) -> dict[str, Any]:
    """The answer to a request that could not be passed on. Pure."""
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": text[:1000]}}


class Lost(Exception):
    """The connection was lost before the answer was complete."""


class Bridge:
    """Carries messages between standard streams and an HTTP address."""

    def __init__(self, url: str, key: str, out: Any) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        self._key = key[7:] if key[:7].lower() == "bearer " else key
        self._client = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._out = out
        self._writing = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._beginning = threading.Lock()
        self.pauses: tuple[float, ...] = PAUSES
        self._began: dict[str, Any] | None = None
        self._session = ""
        self._version = ""

    def run(self, lines: Any, wait: bool = False) -> None:
        """Pass on every line until there are no more; `wait`: and until every request is answered."""
        while True:
            line = lines.readline(LINE + 1)
            if not line:
                break
            if len(line) > LINE:
                while line and not line.endswith(b"\n"):
                    line = lines.readline(LINE)
                self._say(error_for({}, -32600, f"the message is longer than {LINE} bytes"))
                continue
            if line.strip():
                self._take(line)
        for _ in range(AT_ONCE if wait else 0):
            self._slots.acquire()
        self._end()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._say(error_for({}, -32700, "the message is not JSON"))
            return
        if not isinstance(message, dict):
            self._say(error_for({}, -32600, "the message is not one JSON-RPC object"))
            return
        if "id" not in message or message.get("method") == "initialize":
            self._pass(message)  # the order of these matters
            return
        self._slots.acquire()
        try:
            threading.Thread(target=self._beside, args=(message,), daemon=True).start()
        except RuntimeError:  # no thread to be had
            self._beside(message)

    def _beside(self, message: dict[str, Any]) -> None:
        try:
            self._pass(message)
        finally:
            self._slots.release()

    def _pass(self, message: dict[str, Any]) -> None:
        """Send a message and say what is answered."""
        why = ""
        for pause in (*self.pauses, None):
            try:
                status, answers = self._sent(message)
            except Lost as error:
                why = str(error)
                if pause is None:
                    break
                time.sleep(pause)
                continue
            if status == 404 and self._session and self._renewed():
                continue
            if "id" in message:
                self._answer(message, status, answers)
            return
        if "id" in message:
            self._say(error_for(message, -32000, "Quarterdeck cannot be reached: " + why))

    def _answer(self, message: dict[str, Any], status: int, answers: list[Any]) -> None:
        answered = False
        for answer in answers:
            if isinstance(answer, dict) and answer.get("id") is None and "error" in answer:
                answer = {**answer, "id": message["id"]}  # the server could not tell whose it is
            answered = answered or (isinstance(answer, dict) and answer.get("id") == message["id"])
            self._say(answer)
        if not answered:
            self._say(error_for(message, -32000, f"Quarterdeck answered with HTTP status {status} and no message"))

    def _sent(self, message: dict[str, Any]) -> tuple[int, list[Any]]:
        """(status, messages) of the answer. Raises Lost."""
        first = message.get("method") == "initialize"
        headers = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "Authorization": "Bearer " + self._key,
            "X-Quarterdeck-Client": self._client,
            **headers_of(message, "" if first else self._version),
        }
        if self._session and not first:
            headers["Mcp-Session-Id"] = self._session
        status, kind, session, body = self._exchange("POST", json.dumps(message).encode(), headers)
        try:
            found = events_of(body) if kind.startswith("text/event-stream") else [body] if body.strip() else []
            answers = [json.loads(each) for each in found]
        except (ValueError, RecursionError):
            text = body[:300].decode("utf-8", "replace")
            answers = [error_for({}, -32000, f"HTTP status {status}: {text}")] if status >= 400 else []
            if status < 400:
                raise Lost("the answer was cut off") from None
        if first and status < 400:
            self._begun(message, session, answers)
        return status, answers

    def _begun(self, message: dict[str, Any], session: str, answers: list[Any]) -> None:
        self._began, self._session = message, session
        for answer in answers:
            result = answer.get("result") if isinstance(answer, dict) else None
            if isinstance(result, dict) and isinstance(result.get("protocolVersion"), str):
                self._version = result["protocolVersion"]

    def _renewed(self) -> bool:
        """Begin the session anew, once for all who found that it is gone."""
        gone = self._session
        with self._beginning:
            if self._session != gone:
                return True
            if self._began is None:
                return False
            self._session = ""
            status, _ = self._sent(self._began)
            if status >= 400:
                return False
            self._sent({"jsonrpc": "2.0", "method": "notifications/initialized"})
            return True

    def _exchange(self, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, str, bytes]:
        """(status, content type, session, body). Raises Lost."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            connection.sock.settimeout(SILENT_SECONDS)
            connection.request(method, self._path, body, headers)
            response = connection.getresponse()
            data = response.read(ANSWER + 1)
            if len(data) > ANSWER:
                raise Lost(f"the answer is longer than {ANSWER} bytes")
            kind = response.headers.get("Content-Type", "").lower()
            return response.status, kind, response.headers.get("Mcp-Session-Id", ""), data
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def _end(self) -> None:
        if self._session:
            try:
                self._exchange(
                    "DELETE", None, {"Authorization": "Bearer " + self._key, "Mcp-Session-Id": self._session}
                )
            except Lost:
                return  # the server forgets an idle session by itself

    def _say(self, message: Any) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._writing:
            self._out.write(data)
            self._out.flush()


def main() -> int:
    """Run until the input ends; 2 where it is not said where to."""
    url = os.environ.get("QUARTERDECK_MCP_URL", "")
    if not url.startswith("http://"):
        sys.stderr.write("QUARTERDECK_MCP_URL must be the http:// address of Quarterdeck's MCP server\n")
        return 2
    try:
        Bridge(url, os.environ.get("QUARTERDECK_MCP_KEY", ""), sys.stdout.buffer).run(sys.stdin.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    return 0


if __name__ == "__main__":
    # Requests under way are threads that nobody waits for.
    os._exit(main())
