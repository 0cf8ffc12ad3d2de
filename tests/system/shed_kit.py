"""What tests of the toolshed share: a shed over real sandboxes, and a real server program in them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_kit import Moving

from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.servers import McpServer
from quarterdeck.tools.port import Surroundings, ToolResult
from quarterdeck.tools.shed.needs import Needs
from quarterdeck.tools.shed.server import Known
from quarterdeck.tools.shed.shed import Outside, Shed
from quarterdeck.tools.shed.ways import SandboxWays
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider
from quarterdeck.workplace.proxy import Indexes, Proxies

PROGRAM = (Path(__file__).parent / "mcp_program.py").read_text(encoding="utf-8")


def servers(**declared: McpServer) -> dict[str, Any]:
    """Sections of a deck that declares these."""
    plain = {name: server.model_dump() for name, server in declared.items()}
    return {"mcp": {"servers": plain}, "sandbox": {"backend": "bubblewrap"}}


def program(*faults: str, **fields: Any) -> McpServer:
    """A declaration of the test's server."""
    return McpServer(command="python3", args=("-c", PROGRAM, *faults), **{"timeout": 20.0, "start": 30.0, **fields})


@dataclass
class Desk:
    """A shed, with what the operator allows and what was told."""

    shed: Shed
    ways: "Counting"
    clock: Moving
    allowed: dict[str, Mapping[str, str]]
    providers: Mapping[str, Provider]
    told: list[Known] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def needs(self, *tools: str, attempt: str = "r.t.1", sandbox: Any = None, **declared: McpServer) -> Needs:
        return Needs("r", attempt, tools, DeckConfig.model_validate(servers(**declared)), sandbox)

    def tell(self, known: Known) -> None:
        self.told.append(known)
        self.news.set()

    async def heard(self, enough: Callable[[], bool]) -> None:
        """Wait until what was told is enough."""
        while not enough():
            self.news.clear()
            await self.news.wait()

    async def outside(self, needs: Needs) -> Outside:
        return self.shed.equip(needs, await self.shed.gather(needs))


class Counting(SandboxWays):
    """The real ways, and what they were asked to start."""

    def __init__(self, providers: Mapping[str, Provider], proxies: Proxies) -> None:
        super().__init__(providers, proxies)
        self.started: list[tuple[str, McpServer]] = []

    async def start(self, name: str, server: McpServer, needs: Needs) -> Any:
        self.started.append((name, server))
        return await super().start(name, server, needs)


async def call(outside: Outside, name: str, sandbox: Any = None, timeout: float = 20.0, **given: Any) -> ToolResult:
    """Call a tool as the action gate does."""
    tool = outside.shown.get(name) or outside.hidden[name]
    desk: Any = None
    return await tool.call(given, Surroundings(sandbox=sandbox, desk=desk, call="1.0", timeout=timeout))


async def _no_indexes() -> Indexes:
    return Indexes(hosts=())


@asynccontextmanager
async def shed(tmp_path: Path, **allowed: Mapping[str, str]) -> AsyncIterator[Desk]:
    """A shed whose operator allows these servers, with these variables."""
    ground = Ground(tmp_path / "home").prepare()
    proxies = Proxies(ground.sockets, _no_indexes)
    providers: dict[str, Provider] = {"none": Plain(ground), "bubblewrap": Bubblewrap(ground)}
    clock, ways, may = Moving(), Counting(providers, proxies), dict(allowed)

    def tell(known: Known) -> None:
        desk.tell(known)

    made = Shed(ways, lambda name, server: may.get(name), clock, tell=tell, sleep=clock.sleep)
    desk = Desk(made, ways, clock, may, providers)
    try:
        yield desk
    finally:
        await desk.shed.close()
        await proxies.close()
        ground.destroy()
