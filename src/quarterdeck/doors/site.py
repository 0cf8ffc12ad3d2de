"""The dashboard's built files, out of memory.

Rules
- What can be asked for is what was found when the server began: a name that is not there is not there, whatever it is
  made of. Nothing of a request becomes a path.
- Files with a digest in their name are kept by browsers for ever, the page itself is asked for anew.
- The page may load nothing from elsewhere and run nothing that did not come as a file from here.
- Where the dashboard is not built, that is said, with how to build it.
"""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from quarterdeck.doors.model_calls import Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_DIGEST: Final = re.compile(r"[.-][A-Za-z0-9_-]{8,}\.\w+$")
_LEAST: Final = 512
"""Bytes below which packing gains nothing."""
_UNBUILT: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Quarterdeck</title>
<h1>Quarterdeck is running</h1>
<p>The dashboard is not built in this installation. The wheel brings it; in a checkout of the source it is built with
<code>make web</code>, then start <code>quarterdeck up</code> again.</p>
<p>Everything else is here: <a href="/api/v1/runs">the runs</a>, <a href="/api/v1/openapi.json">the API's
description</a>, and every command of <code>quarterdeck</code>.</p>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is sent."""

    body: bytes
    packed: bytes | None
    """The same, compressed with gzip; None where that gains nothing."""
    kind: str
    tag: bytes
    lasting: bool


def page(name: str, body: bytes) -> Page:
    """A file of that name."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    text = kind.startswith("text/") or kind in ("application/json", "application/javascript", "image/svg+xml")
    packed = gzip.compress(body, 9, mtime=0) if text and len(body) >= _LEAST else None
    return Page(
        body=body,
        packed=packed if packed is not None and len(packed) < len(body) else None,
        kind=f"{kind}; charset=utf-8" if text else kind,
        tag=f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode(),
        lasting=bool(_DIGEST.search(name)) and name != "index.html",
    )


def built() -> dict[str, Page]:
    """The dashboard's files by path; the page alone where it is not built."""
    root = resources.files("quarterdeck").joinpath("web")
    found = {f"/{name}": page(name, file.read_bytes()) for name, file in _files(root)} if root.is_dir() else {}
    found["/"] = found.get("/index.html") or page("index.html", _UNBUILT.encode())
    return found


def _files(folder: Traversable, before: str = "") -> Iterable[tuple[str, Traversable]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{before}{each.name}/")
        elif not each.name.endswith((".py", ".map")):
            yield f"{before}{each.name}", each


class Site:
    """The ASGI application."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            return await _short(send, 405, b"Only GET.\n", (b"allow", b"GET, HEAD"))
        found = self._pages.get(scope["path"])
        if found is None:
            return await _short(send, 404, b"There is no such page. The dashboard is at /.\n")
        asked = {name: value for name, value in scope["headers"] if name in (b"accept-encoding", b"if-none-match")}
        headers = [
            *_HEADERS,
            (b"etag", found.tag),
            (b"vary", b"accept-encoding"),
            (b"cache-control", b"public, max-age=31536000, immutable" if found.lasting else b"no-cache"),
        ]
        if found.tag in asked.get(b"if-none-match", b""):
            return await _send(send, 304, headers, b"")
        body = found.body
        if found.packed is not None and b"gzip" in asked.get(b"accept-encoding", b""):
            body = found.packed
            headers.append((b"content-encoding", b"gzip"))
        headers += [(b"content-type", found.kind.encode()), (b"content-length", str(len(body)).encode())]
        return await _send(send, 200, headers, b"" if scope["method"] == "HEAD" else body)


async def _short(send: Send, status: int, text: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await _send(send, status, [*_HEADERS, *headers, *more], text)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
