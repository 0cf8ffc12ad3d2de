"""What tests of the server share: `quarterdeck up` as a process of its own, and a deck that this process serves."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from cli_kit import call
from deck_kit import Place

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.testing.forked import Process

API = "/api/v1"


@dataclass(frozen=True)
class Server:
    """A server that serves."""

    process: Process
    url: str

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.post(f"{self.url}{API}{path}", json=body or {}, headers=names, timeout=60)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{API}{path}", timeout=60)


@contextmanager
def up(place: Place, *arguments: str, cold: bool = False, **environment: str) -> Iterator[Server]:
    """The server, as soon as it serves; killed in the end, if it still lives."""
    with place.quarterdeck("up", "--port", "0", "--json", *arguments, cold=cold, **environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield Server(process, json.loads(line)["url"])


@asynccontextmanager
async def served(place: Place, host: str = "127.0.0.1", *names: str) -> AsyncIterator[tuple[Deck, httpx2.AsyncClient]]:
    """A deck on a port, and a client of it. Nobody works on its runs."""
    async with open_deck(place.settings) as deck, deck.serving(host, 0, names) as at:
        port = at.url.rpartition(":")[2]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield deck, client


def runs(place: Place) -> list[dict[str, Any]]:
    """What `ps` lists."""
    said = call(place, "ps", "--json")
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]
