"""What tests of triggers share: a server like GitHub's, a repository on it, a deck with triggers, signed messages."""

import asyncio
import hashlib
import hmac
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, git, place_at, task

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.doors.hooks import Hooks
from quarterdeck.kernel.clock import Clock
from quarterdeck.testing.github import FakeGithub, github_server

TOKEN = "ghp-not-a-real-token-2718281828"
SECRET = "hook-secret-3141592653"
NOTIFY = "notify-secret-1618033988"
GOOD = task("fix", "echo fixed > fix.txt")
BAD = task("fix", "echo no >&2; exit 3")


@dataclass
class World:
    """A server, a deck, and the secrets between them."""

    server: FakeGithub
    place: Place

    def configure(self, text: str = "", *, notify: str = "", plan: dict[str, Any] = GOOD, more: str = "") -> None:
        """Write the operator's deck.toml. `more`: further keys of the trigger `issues`; `text`: further sections."""
        plan_path = self.place.plan(plan)
        told = f'[notify]\nurl = "{notify}"\nsecret_env = "TEST_NOTIFY"\n' if notify else ""
        self.place.operator(
            f"""
[github]
api = "{self.server.url}/api/v3"
token_env = "TEST_TOKEN"
[limits]
attempts = 1
{told}
[triggers.issues]
kind = "github"
repository = "acme/shop"
secret_env = "TEST_SECRET"
labels = ["quarterdeck"]
command = "/quarterdeck"
plan = "{plan_path}"
{more}
{text}
"""
        )

    def tip(self, branch: str) -> str:
        """Where a branch of the server stands."""
        return git(self.server.root / "acme" / "shop.git", "rev-parse", f"refs/heads/{branch}")


@contextmanager
def world_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A server with a repository of one commit, and a deck that knows it."""
    for name, value in (("TEST_TOKEN", TOKEN), ("TEST_SECRET", SECRET), ("TEST_NOTIFY", NOTIFY)):
        monkeypatch.setenv(name, value)
    with place_at(root) as place, github_server(root / "server", TOKEN) as server:
        where = place.begin()
        git(where, "push", "-q", str(server.root / "acme" / "shop.git"), "HEAD:refs/heads/main")
        shutil.rmtree(where)
        where.mkdir()  # whoever starts a process here finds nothing: the deck has only its clone
        world = World(server, place)
        world.configure()
        yield world


def signed(payload: Any, *, delivery: str = "d-1", event: str = "issues", secret: str = SECRET) -> tuple[Any, bytes]:
    """Headers and body of a message as GitHub sends it."""
    body = json.dumps(payload).encode()
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": delivery,
        "x-hub-signature-256": signature,
    }
    return headers, body


async def post(deck: Deck, name: str, headers: dict[str, str], body: bytes, method: str = "POST") -> tuple[int, Any]:
    """One message at the door: its status and answer."""
    sent: list[Any] = []
    path = f"/hooks/{name}"
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await Hooks(deck.outside.receiving)(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def until(deck: Deck, done: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for something in the deck; what it answers."""
    mark = 0
    async with asyncio.timeout(60):
        while not (found := await done()):
            mark = await deck.journal._store.changed(mark, 1.0)
        return found


@asynccontextmanager
async def served(world: World, clock: Clock | None = None) -> AsyncIterator[Deck]:
    """A deck that somebody serves."""
    async with open_deck(world.place.settings, clock) as deck:
        serving = asyncio.create_task(deck.serve())
        try:
            yield deck
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
