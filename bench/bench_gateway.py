"""What the gateway adds to a call, beside a direct call, the least that a gateway can be, and the LiteLLM proxy.

usage: python -m bench.bench_gateway [--only LOAD ...]      LOAD: 1, 2, ... in the order below (default: all)

Rules
- One scripted model over loopback, one light client (this process), the same Chat Completions streams through each
  proxy in turn, each proxy in a process and an environment of its own. Medians of all requests; CPU is the proxy's
  process tree, and each median the middle one of several rounds, in which the ways take turns: the machine is shared.
- One after the other: the model answers at once, and so does the next request follow. A direct call is over sooner, so
  it is asked more often, and finds all caches warm.
- One at a time: the same at the same pace for all, 20 requests a second where the answers allow it.
- 100 at once, at a model's pace: 50 tokens a second and 400 tokens, so each stream lasts eight seconds; they began
  spread over that time, and each client asks again as soon as its stream has ended.
- 100 at once, as fast as they go: each stream lasts a second, all begin together, and the client and the model alone
  keep both cores of a small machine busy: what is added there is time in line for a core.
- Ours prices, reserves, records and meters every call durably meanwhile; LiteLLM runs without a database.
- The least is Starlette and httpx passing a stream on: what a hop costs on this machine.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from bench import peers
from bench.figures import Figure, Target, show
from bench.light_client import LightClient

MODEL: Final = "gpt-5.4"
KEY: Final = "sk-bench"
MASTER: Final = "sk-" + "0123456789abcdef" * 4
"""LiteLLM's own key: without one of some length it does not start."""
SYSTEM: Final = "You are careful and write code for a living. " * 250
"""About 11 KB, as an agent's system prompt and tools are."""
PASSING: Final = "a bare pass-through, nothing recorded"
TOGETHER: Final = 100
_LONGEST: Final = 240.0
"""Seconds for one load over one way."""
LINE: Final = "A line of an answer, of some length. "


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of each way. `spread`: seconds over which the first streams begin."""

    name: str
    together: int
    each: int
    lines: int
    per_token: float
    spread: float = 0.0
    every: float = 0.0
    """Seconds from the beginning of one request to that of the next."""
    rounds: int = 3


LOADS: Final = (
    Load("one after the other", 1, 50, 12, 0.0, rounds=7),
    Load("one at a time", 1, 50, 12, 0.0, every=0.05, rounds=7),
    Load("100 streams at once, at a model's pace", TOGETHER, 2, 44, 0.02, 8.0),
    Load("100 streams at once, as fast as they go", TOGETHER, 4, 12, 0.008),
)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the model."""

    name: str
    url: str
    key: str
    pid: int | None
    """Of the proxy."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the requests over one way came to."""

    first_ms: float
    """Median time to the first byte of the body."""
    whole_ms: float
    cpu_ms: float
    """Of the proxy, a request."""


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its children have used."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


async def ask(client: LightClient, way: Way, number: int) -> tuple[float, float]:
    """One stream: seconds to its first byte and to its end."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"This is number {number}."}]
    body = {"model": MODEL, "stream": True, "stream_options": {"include_usage": True}, "messages": messages}
    headers = {"authorization": f"Bearer {way.key}", "content-type": "application/json", "accept": "text/event-stream"}
    sent = json.dumps({**body, "max_tokens": 400}).encode()
    answer = await client.post(f"{way.url}/chat/completions", headers, sent)
    if answer.status != 200 or b"[DONE]" not in answer.end:
        raise ValueError(f"{answer.status}: {answer.end!r}")
    return answer.first, answer.whole


async def measured(way: Way, load: Load) -> Seen:
    """The load's clients, each with its streams one after the other; a few before that warm up."""
    together, each = load.together, load.each
    clients = [await LightClient.connect(way.url) for _ in range(together)]

    async def caller(number: int, client: LightClient) -> list[tuple[float, float]]:
        began, found = time.monotonic() + load.spread * number / together, list[tuple[float, float]]()
        for turn in range(each):
            await asyncio.sleep(began + load.every * turn - time.monotonic())
            found.append(await ask(client, way, number * each + turn))
        return found

    try:
        async with asyncio.timeout(_LONGEST):
            await asyncio.gather(*(ask(client, way, -1) for client in clients[:8]))
            before = cpu_seconds(way.pid) if way.pid is not None else 0.0
            found = await asyncio.gather(*(caller(number, client) for number, client in enumerate(clients)))
            used = (cpu_seconds(way.pid) if way.pid is not None else 0.0) - before
    finally:
        for client in clients:
            client.close()
    times = [one for some in found for one in some]
    return Seen(
        first_ms=statistics.median(first for first, _ in times) * 1000,
        whole_ms=statistics.median(whole for _, whole in times) * 1000,
        cpu_ms=used / len(times) * 1000,
    )


@contextmanager
def model(load: Load) -> Iterator[str]:
    """The scripted model in a process of its own; yields its base address."""
    scenario = {
        "rules": [{"turns": [{"text": LINE * load.lines}], "repeat": True}],
        "latency": {"per_token": load.per_token},
        "cache": False,
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "scenario.json"
        path.write_text(json.dumps(scenario))
        command = [sys.executable, "-m", "quarterdeck.models.scripted", "--scenario", str(path)]
        with running(command, {}) as server:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["url"] + "/v1"


@contextmanager
def running(command: list[str], more: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A server in a process of its own, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        environment = {**peers.environment(Path(home)), **more, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=30)


@contextmanager
def ours(upstream: str) -> Iterator[Way]:
    """Our gateway."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        price = f'[prices]\n"openai:{MODEL}" = {{ input = 1, output = 5 }}\n'
        (Path(home) / "deck.toml").write_text(f"{price}[budget]\nuser_day = 100000\ndeck_day = 100000\n")
        command = [str(Path(sys.executable).parent / "quarterdeck"), "gateway", "--port", "0", "--json"]
        more = {"QUARTERDECK_HOME": home, "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": upstream}
        with running([*command, "--budget", "10000", "--model", f"openai:{MODEL}"], more) as process:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Way("quarterdeck", told["url"] + "/v1", told["key"], process.pid)


@contextmanager
def passing(upstream: str) -> Iterator[Way]:
    """The least that a gateway can be."""
    script = Path(peers.__file__).parent / peers.OURS / "passing.py"
    with running([sys.executable, str(script), upstream], {}) as process:
        assert process.stdout is not None
        yield Way(PASSING, json.loads(process.stdout.readline())["url"] + "/v1", KEY, process.pid)


@asynccontextmanager
async def litellm(upstream: str) -> AsyncIterator[Way]:
    """The LiteLLM proxy in its own environment."""
    python = peers.python("litellm")
    with tempfile.TemporaryDirectory(prefix="bench-") as place, socket.socket() as free:
        parameters = {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": KEY}
        config = {
            "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
            "litellm_settings": {"telemetry": False},
        }
        path = Path(place) / "config.json"
        path.write_text(json.dumps(config))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        version = await asyncio.to_thread(_version, python)
        command = [str(python.parent / "litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
        with running(command, {"LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": MASTER}) as process:
            url = f"http://127.0.0.1:{port}"
            await _ready(url, process)
            yield Way(f"litellm {version}", f"{url}/v1", MASTER, process.pid)


def _version(python: Path) -> str:
    code = "from importlib import metadata; print(metadata.version('litellm'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


async def _ready(url: str, process: "subprocess.Popen[str]") -> None:
    async with httpx2.AsyncClient(timeout=5) as client:
        for _ in range(240):
            if process.poll() is not None:
                raise peers.PeerFailed(f"litellm ended with {process.returncode}")
            try:
                if (await client.get(f"{url}/health/liveliness")).status_code == 200:
                    return
            except httpx2.HTTPError:
                await asyncio.sleep(0.5)
    raise peers.PeerFailed("litellm did not start within two minutes")


async def compared(upstream: str, load: Load) -> tuple[Seen, Seen, dict[str, Seen]]:
    """(direct, ours, the peers by name): medians of the rounds. The last peer is LiteLLM."""
    found: dict[str, list[Seen]] = {}
    with ours(upstream) as own, passing(upstream) as least:
        async with litellm(upstream) as peer:
            direct = Way("direct", upstream, KEY, None)
            for _ in range(load.rounds):
                for way in (direct, own, least, peer):
                    found.setdefault(way.name, []).append(await measured(way, load))
    both = {name: _middle(found[name]) for name in (least.name, peer.name)}
    return _middle(found["direct"]), _middle(found["quarterdeck"]), both


def _middle(seen: list[Seen]) -> Seen:
    return Seen(
        statistics.median(one.first_ms for one in seen),
        statistics.median(one.whole_ms for one in seen),
        statistics.median(one.cpu_ms for one in seen),
    )


def figures(load: str, direct: Seen, own: Seen, beside: dict[str, Seen]) -> list[Figure]:
    """The rows of one load. Targets beside a peer are those beside LiteLLM."""
    note = f"a direct call takes {direct.whole_ms:.1f} ms, its first byte {direct.first_ms:.1f} ms"
    heavy = {name: seen for name, seen in beside.items() if name != PASSING}

    def whole(seen: Seen) -> float:
        return round(max(0.0, seen.whole_ms - direct.whole_ms), 2)

    def first(seen: Seen) -> float:
        return round(max(0.0, seen.first_ms - direct.first_ms), 2)

    def cpu(seen: Seen) -> float:
        return round(seen.cpu_ms, 3)

    rows: list[tuple[str, Callable[[Seen], float], dict[str, Seen], Target | None, str]] = [
        ("latency added to a stream", whole, beside, Target("ours", 3.0), note),
        ("the same beside LiteLLM", whole, heavy, Target("ratio", 0.1), note),
        ("latency added to the first byte", first, beside, None, note),
        ("CPU per request", cpu, beside, None, "ours prices, reserves, records and meters each call durably"),
        ("the same CPU beside LiteLLM", cpu, heavy, Target("ratio", 0.1), ""),
    ]
    return [
        Figure(
            f"(h) gateway: {name}, {load}", "ms", of(own), {peer: of(seen) for peer, seen in known.items()}, target, why
        )
        for name, of, known, target, why in rows
    ]


async def _main(loads: list[int]) -> None:
    for load in (LOADS[number - 1] for number in loads):
        with model(load) as upstream:
            show(figures(load.name, *await compared(upstream, load)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = range(1, len(LOADS) + 1)
    parser.add_argument("--only", type=int, nargs="*", choices=every, default=[*every], metavar="LOAD")
    asyncio.run(_main(parser.parse_args().only))


if __name__ == "__main__":
    main()
