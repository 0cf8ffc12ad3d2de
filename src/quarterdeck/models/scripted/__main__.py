"""Run the scripted model server alone: `python -m quarterdeck.models.scripted --scenario FILE --port N`.

It prints one JSON line with its URL when it is ready, and ends when its stdin closes or on SIGTERM, so that it never
outlives whoever started it. Before it ends it prints one JSON line with what it would have billed.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from quarterdeck.kernel.entities import to_usd
from quarterdeck.kernel.failures import BadInput, Exit
from quarterdeck.models.scripted.scenario import Scenario, load
from quarterdeck.models.scripted.server import ScriptedServer


def _say(data: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def _watch_stdin(closed: Callable[[], None]) -> None:
    """Call `closed` when stdin ends. A thread, because an event loop cannot watch every kind of stdin."""

    def drain() -> None:
        while os.read(0, 4096):
            continue
        closed()

    threading.Thread(target=drain, daemon=True, name="stdin").start()


async def _serve(scenarios: list[Scenario], host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    _watch_stdin(lambda: _from_thread(loop, stop))
    async with ScriptedServer(scenarios, host, port) as server:
        named = {scenario.name: server.at(scenario.name) for scenario in scenarios}
        _say({"v": 1, "kind": "ready", "url": server.url, "scenarios": named})
        await stop.wait()
        total = server.total
        usage = total.usage.model_dump()
        _say({"v": 1, "kind": "billed", "usd": to_usd(total.nusd), "requests": total.requests, "tokens": usage})


def _from_thread(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


def main(argv: list[str] | None = None) -> int:
    """Serve until stdin closes or SIGTERM arrives."""
    parser = argparse.ArgumentParser(prog="quarterdeck.models.scripted", description="A model that follows a script.")
    parser.add_argument("--scenario", action="append", type=Path, required=True, help="YAML or JSON; repeatable")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    options = parser.parse_args(argv)
    try:
        scenarios = [load(path) for path in options.scenario]
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return Exit.USAGE
    asyncio.run(_serve(scenarios, options.host, options.port))
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
