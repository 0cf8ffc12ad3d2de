"""How a declared server is started: in a sandbox of its own, in an agent's, or by calling an address.

Rules
- A program runs in a sandbox of its own, whose workspace is empty and whose network is what its declaration names. Only
  one that is declared with `workspace = true` runs beside an agent, in its workspace and with its network.
- It gets its own environment and nothing else of the operator's. The variables in its declaration were put in before;
  they stand in its environment alone, not in that of the sandbox.
- An address is called from this machine, with the headers that are declared for it.
- What was started is ended with everything below it, and its workspace is removed.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.kernel.config import SandboxSection
from quarterdeck.kernel.failures import QuarterdeckError, ToolServerFailed
from quarterdeck.kernel.servers import McpServer
from quarterdeck.tools.shed.loading import begin_loading, load_linker
from quarterdeck.tools.shed.needs import Needs
from quarterdeck.tools.shed.port import Link, Linker, Pipe
from quarterdeck.tools.shed.server import Running
from quarterdeck.workplace.port import WORKSPACE, Limits, Provider, Sandbox, Spec
from quarterdeck.workplace.proxy import Proxies

_MEGA: Final = 1024 * 1024
_LIFE: Final = 7 * 86_400.0
"""Seconds after which a server is ended, and started again by the next call."""
_LAST_WORDS: Final = 2.0
"""Seconds for the last words of a server that did not start."""


@dataclass(frozen=True, slots=True)
class Process:
    """A server that is a process of a sandbox. `cleared` removes what was made for it."""

    link: Link
    pipe: Pipe
    cleared: Callable[[], Coroutine[Any, Any, None]]

    def said(self) -> str:
        return self.pipe.stderr_tail().decode("utf-8", "replace")

    async def close(self) -> None:
        """Let it end by itself, for a moment; then end it."""
        try:
            await self.link.close()
            with contextlib.suppress(QuarterdeckError, OSError):
                await self.pipe.close_stdin()
        finally:
            await asyncio.shield(self.cleared())


@dataclass(frozen=True, slots=True)
class Address:
    """A server that runs elsewhere."""

    link: Link

    def said(self) -> str:
        return ""

    async def close(self) -> None:
        """Let go of it."""
        await self.link.close()


class SandboxWays:
    """All of them, for the servers of one deck."""

    def __init__(self, providers: Mapping[str, Provider], proxies: Proxies) -> None:
        """`providers`: sandboxes by the name that `[sandbox] backend` uses."""
        self._providers = providers
        self._proxies = proxies
        self._linker: Linker | None = None

    def prepare(self) -> None:
        """Begin to load what speaks to servers."""
        begin_loading()

    async def start(self, name: str, server: McpServer, needs: Needs) -> Running:
        """Start it as it is declared. Raises ToolServerFailed, SandboxFailed, OSError."""
        if self._linker is None:
            self._linker = await load_linker()
        if server.url is not None:
            return await call_address(self._linker, server)
        if server.workspace:
            if needs.sandbox is None:
                raise ToolServerFailed("it runs beside an agent, in its workspace, and there is none")
            return await beside_agent(self._linker, server, needs.sandbox)
        section = needs.deck.sandbox
        if section.backend not in self._providers:
            raise ToolServerFailed(f"there is no sandbox called {section.backend!r}")
        provider = self._providers[section.backend]
        return await in_own_sandbox(self._linker, server, name, provider, self._proxies, section)


async def call_address(linker: Linker, server: McpServer) -> Running:
    """Raises ToolServerFailed."""
    assert server.url is not None
    return Address(await linker.to_address(server.url, server.headers, timeout=server.start))


async def beside_agent(linker: Linker, server: McpServer, sandbox: Sandbox) -> Running:
    """Start it in an agent's sandbox. Raises ToolServerFailed, SandboxFailed."""
    return await _spoken_to(linker, server, sandbox, _nothing)


async def in_own_sandbox(
    linker: Linker, server: McpServer, name: str, provider: Provider, proxies: Proxies, section: SandboxSection
) -> Running:
    """Start it in a sandbox of its own. Raises ToolServerFailed, SandboxFailed."""
    spec = Spec(
        id=f"mcp-{name}-{secrets.token_hex(6)}",
        limits=Limits(
            memory_bytes=section.memory_mb * _MEGA,
            disk_bytes=section.disk_mb * _MEGA,
            processes=section.processes,
            cpu_seconds=section.cpu_seconds,
        ),
        proxy_socket=await proxies.socket(server.network) if server.network else None,
    )
    sandbox = await provider.create(spec)

    async def clear() -> None:
        await sandbox.close()
        await provider.discard(spec.id)

    return await _spoken_to(linker, server, sandbox, clear)


async def _nothing() -> None:
    """The sandbox is its agent's."""


async def _spoken_to(
    linker: Linker, server: McpServer, sandbox: Sandbox, clear: Callable[[], Coroutine[Any, Any, None]]
) -> Running:
    assert server.command is not None
    try:
        pipe = await sandbox.open((server.command, *server.args), env=server.env, cwd=WORKSPACE, timeout=_LIFE)
    except BaseException:
        await asyncio.shield(clear())
        raise

    async def cleared() -> None:
        try:
            await pipe.kill()
        finally:
            await clear()

    try:
        link = await linker.over_pipe(pipe, timeout=server.start)
    except ToolServerFailed as error:
        with contextlib.suppress(TimeoutError, QuarterdeckError, OSError):
            async with asyncio.timeout(_LAST_WORDS):
                await pipe.close_stdin()
                await pipe.wait()
        said = pipe.stderr_tail().decode("utf-8", "replace").strip()
        await asyncio.shield(cleared())
        raise ToolServerFailed(error.message, why="; ".join(part for part in (error.why, said) if part)) from error
    except BaseException:
        await asyncio.shield(cleared())
        raise
    return Process(link, pipe, cleared)
