"""A gateway before the scripted model: real HTTP on both sides, a real journal, real purses."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from store_kit import open_at

from quarterdeck.assembly.gateway import make_gateway
from quarterdeck.doors.serve import Endpoint
from quarterdeck.gateway.gateway import ModelGateway
from quarterdeck.gateway.port import Grant, Opened
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, run_purse
from quarterdeck.journal.log import Log
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, ModelSection, Price, RunConfig
from quarterdeck.kernel.entities import Harness, to_nusd
from quarterdeck.kernel.events import AttemptStarted, EventBase
from quarterdeck.models.factory import make_factory
from quarterdeck.models.limiter import Limiters
from quarterdeck.models.port import Deadlines
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.store.port import Store

RUN, TASK = "r-gateway", "task"
CLAUDE, GPT, LOCAL = "anthropic:claude-sonnet-5", "openai:gpt-5.4", "chat:local"
GEMINI = "google:gemini-3-pro"
MODELS = (CLAUDE, GPT, LOCAL, GEMINI)
REAL_KEY = "sk-real-key-of-the-provider"
ALL_KEYS: Mapping[str, str | None] = dict.fromkeys(("anthropic", "openai", "chat", "google"), REAL_KEY)
PRICES = {name: Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75) for name in MODELS}

_PATHS = {CLAUDE: "/v1/messages", GPT: "/v1/responses", LOCAL: "/v1/chat/completions"}


def path(name: str, *, stream: bool = True) -> str:
    """Where the model is asked in its own format."""
    if name != GEMINI:
        return _PATHS[name]
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{name.partition(':')[2]}:{verb}"


def body(name: str, *, stream: bool = True, text: str = "List the files.", limit: int | None = 500) -> dict[str, Any]:
    """A request of a client that speaks the model's format."""
    model = name.partition(":")[2]
    match name.partition(":")[0]:
        case "anthropic":
            made: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": limit or 500}
        case "openai":
            made = {"input": text, **({"max_output_tokens": limit} if limit else {})}
        case "google":
            contents = [{"role": "user", "parts": [{"text": text}]}]
            return {"contents": contents, **({"generationConfig": {"maxOutputTokens": limit}} if limit else {})}
        case _:
            made = {"messages": [{"role": "user", "content": text}], **({"max_tokens": limit} if limit else {})}
    return {"model": model, "stream": stream, **made}


def png(width: int, height: int, more: int = 0) -> bytes:
    """A picture of one colour, as far as anybody reads it; `more` bytes longer."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0" + b"x" * more


def pdf(count: int) -> bytes:
    """A document of so many pages, as far as anybody reads it."""
    kids = " ".join(f"{number + 3} 0 R" for number in range(count))
    tree = f"2 0 obj\n<< /Type /Pages /Count {count} /Kids [{kids}] >>\nendobj\n"
    sheets = "".join(f"{number + 3} 0 obj\n<< /Type /Page\n/Parent 2 0 R >>\nendobj\n" for number in range(count))
    return f"%PDF-1.4\n{tree}{sheets}%%EOF".encode()


def showing(name: str, shown: list[bytes], **wishes: Any) -> dict[str, Any]:
    """`body` with pictures, documents and files of text in it; `mime`: what they are called, else what they are."""
    mime = wishes.pop("mime", "")
    made = body(name, **wishes)
    parts = [_part(name, one, mime) for one in shown]
    text = wishes.get("text", "Look at that.")
    match name.partition(":")[0]:
        case "openai":
            made["input"] = [{"role": "user", "content": [*parts, {"type": "input_text", "text": text}]}]
        case "google":
            made["contents"][0]["parts"][:0] = parts
        case _:
            made["messages"][0]["content"] = [*parts, {"type": "text", "text": text}]
    return made


def _part(name: str, shown: bytes, mime: str) -> dict[str, Any]:
    mime = mime or ("application/pdf" if shown.startswith(b"%PDF") else "image/png")
    data = base64.b64encode(shown).decode()
    url, picture = f"data:{mime};base64,{data}", mime == "image/png"
    match name.partition(":")[0]:
        case "anthropic":
            source = {"type": "base64", "media_type": mime, "data": data}
            return {"type": "image" if picture else "document", "source": source}
        case "google":
            return {"inlineData": {"mimeType": mime, "data": data}}
        case "openai" if picture:
            return {"type": "input_image", "image_url": url}
        case "openai":
            return {"type": "input_file", "filename": "a.pdf", "file_data": url}
        case _ if picture:
            return {"type": "image_url", "image_url": {"url": url}}
        case _:
            return {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}


@dataclass
class Bench:
    """What a test holds."""

    gateway: ModelGateway
    endpoint: Endpoint
    journal: Log
    store: Store
    treasury: Budgets
    server: ScriptedServer

    async def grant(
        self,
        attempt: str = f"{RUN}.{TASK}.1",
        *,
        usd: float | None = None,
        models: tuple[str, ...] = MODELS,
        turns: int | None = None,
        days: DayCaps = DayCaps(1000, 1000),  # noqa: B008 - a frozen value
        ago: float = 0.0,
    ) -> Opened:
        """A key for one attempt, whose stream has begun. `ago`: seconds since its chain was made."""
        claim = await self.journal.claim(ids.attempt_stream(attempt))
        if await self.journal.last(claim.stream) is None:
            started = AttemptStarted(
                run=RUN,
                task=TASK,
                number=1,
                agent="claude",
                harness=Harness.ACP,
                incarnation=1,
                base="",
                workspace="",
            )
            await self.journal.append(claim, started)
        now = SystemClock().wall() - ago
        chain = chain_of(run=RUN, task=TASK, attempt=attempt, user="ada", days=days, now=now, attempt_usd=usd)
        config = RunConfig(deck=DeckConfig(prices=PRICES))
        return await self.gateway.grant(
            Grant(
                run=RUN,
                task=TASK,
                attempt=attempt,
                agent="claude",
                claim=claim,
                chain=chain,
                models=models,
                config=config,
                turns=turns,
            )
        )

    async def events(self, count: int = 0, attempt: str = f"{RUN}.{TASK}.1") -> list[EventBase]:
        """What is on record of the attempt, but for its beginning, once there are `count` events."""
        async with asyncio.timeout(20):
            async for record in self.journal.follow(ids.attempt_stream(attempt)):
                if record.seq > count:
                    break
        records = await self.journal.read(ids.attempt_stream(attempt))
        return [record.event for record in records if not isinstance(record.event, AttemptStarted)]

    async def purse(self, name: str = f"run/{RUN}") -> tuple[int, int]:
        """(settled, reserved) of a purse, nano-USD."""
        rows = await self.store.read("purses_of", purses=json.dumps([name]), holder="")
        return rows[0]["settled"] or 0, rows[0]["reserved"] or 0


def client(opened: Opened, headers: Mapping[str, str] | None = None) -> httpx2.AsyncClient:
    """A client inside: it knows the socket and its virtual key."""
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=str(opened.socket)),
        base_url="http://gateway",
        headers={"x-api-key": opened.key, **(headers or {})},
        timeout=30,
    )


@asynccontextmanager
async def bench(
    tmp_path: Path,
    server: ScriptedServer,
    *,
    run_usd: float = 1000.0,
    deadlines: Deadlines = Deadlines(connect=2, first_byte=5, idle=5, total=20),  # noqa: B008 - a frozen value
    scenario: str = "default",
    base: str = "",
    limiters: Limiters | None = None,
    keys: Mapping[str, str | None] = ALL_KEYS,
    sections: Mapping[str, ModelSection] | None = None,
) -> AsyncIterator[Bench]:
    """A gateway over a database in `tmp_path`, closed in the end. `base`: another provider than the server's."""
    store = await open_at(tmp_path / "deck.db")
    clock, treasury = SystemClock(), Budgets()
    journal = Log(store, clock)
    await journal.commit(also=lambda tx: treasury.open(tx, run_purse(RUN), to_nusd(run_usd)))
    root = base or server.at(scenario)
    models = make_factory(
        keys=keys,
        models=sections,
        base_urls={"anthropic": root, "openai": f"{root}/v1", "chat": f"{root}/v1", "google": root},
        deadlines=deadlines,
        limiters=limiters,
    )
    gateway, endpoint = make_gateway(journal, treasury, clock, lambda config: models, tmp_path / "s", {})
    try:
        yield Bench(gateway, endpoint, journal, store, treasury, server)
    finally:
        await gateway.close()
        await endpoint.close()
        await models.close()
        await store.close()
