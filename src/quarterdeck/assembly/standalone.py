"""The gateway alone: one virtual key for a person's own tools, with the deck's money, prices and keys.

Rules
- Calls are recorded in a stream of their own (`key/…`) and paid from the key's purse, the person's day and the deck's.
- It listens on loopback unless told otherwise: whoever has the key spends the money.
- A key lives as long as its process holds the lock of its file. What a dead one left open counts as spent, so that
  nobody waits for money that nobody will give back.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from quarterdeck.assembly.parts import Parts
from quarterdeck.gateway.port import Grant, Metering, Standing
from quarterdeck.gateway.routes import servable
from quarterdeck.govern.chain import key_chain
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.failures import BadConfiguration, Conflicting
from quarterdeck.kernel.prices import price_of
from quarterdeck.settings import operator_config
from quarterdeck.workplace.lock import held


@asynccontextmanager
async def standing(parts: Parts, models: Sequence[str], usd: float, host: str, port: int) -> AsyncIterator[Standing]:
    """Listen, with one new key that may ask `models` (none = those of all tiers) and spend `usd`, until the end.

    Raises BadConfiguration where there is no model, one has no price or cannot be served, or the address is taken.
    """
    deck = operator_config(parts.settings.home).config
    of_tiers = tuple(dict.fromkeys(name for tier in deck.tiers.values() for name in tier))
    named = tuple(models) or servable(of_tiers) or of_tiers
    if not named:
        fix = "--model provider:model, or [tiers] in deck.toml of the deck's home"
        raise BadConfiguration("the gateway has no model to offer", fix=fix)
    for name in named:
        parts.fleet.models(RunConfig(deck=deck))(name)  # a wrong name or a missing key is said now, not to a client
        if not servable((name,)):
            raise _unservable(name)
        if price_of(name, deck.prices) is None:
            fix = f'deck.toml: [prices] "{name}" = {{ input = …, output = … }}  # USD per million tokens'
            raise BadConfiguration(
                f"the price of {name} is not known", why="a budget cannot be kept without it", fix=fix
            )
    name, folder = f"k-{secrets.token_hex(4)}", parts.settings.home / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    await _bury(parts, folder)
    async with held(folder / name, timeout=0):
        yield await _stand(parts, name, named, usd, RunConfig(deck=deck), host, port)
        (folder / name).unlink(missing_ok=True)


def _unservable(name: str) -> BadConfiguration:
    model = name.partition(":")[2]
    return BadConfiguration(
        f"the gateway cannot serve {name}",
        why="it passes the formats of Anthropic, OpenAI and Google; Ollama's own is none of them",
        fix=f'Ollama speaks Chat Completions too: --model chat:{model}, and in deck.toml [models."chat:{model}"] '
        f'base_url = "http://localhost:11434/v1", [prices] "chat:{model}" = {{ input = 0, output = 0 }}',
    )


async def _bury(parts: Parts, folder: Path) -> None:
    """Close what keys of dead processes left open."""
    for path in await asyncio.to_thread(lambda: sorted(folder.iterdir())):
        try:
            async with held(path, timeout=0):
                await parts.gateway.heal(await parts.journal.claim(f"key/{path.name}"), path.name)
                path.unlink(missing_ok=True)
        except Conflicting:
            continue  # its process lives


async def _stand(
    parts: Parts, name: str, models: tuple[str, ...], usd: float, config: RunConfig, host: str, port: int
) -> Standing:
    await parts.agreed.begin(lasting=False)
    claim = await parts.journal.claim(f"key/{name}")
    try:
        where, number = await parts.endpoint.listen(host, port)
    except BadConfiguration as error:
        raise BadConfiguration(error.message, why=error.why, fix=f"quarterdeck gateway {error.fix}") from error
    opened = await parts.gateway.grant(
        Grant(
            run="",
            task="",
            attempt=name,
            agent="",
            claim=claim,
            chain=key_chain(name, usd, parts.settings.user, parts.days.now(), parts.clock.wall()),
            models=models,
            config=config,
        )
    )
    shown = f"[{where}]" if ":" in where else where
    return Standing(name, opened.key, f"http://{shown}:{number}", models)


def metering(parts: Parts, at: Standing) -> Metering:
    """What the key's calls came to so far."""
    return parts.gateway.metering(at.key)
