"""An ACP harness with everything real around it but the agent: sandbox, gateway, desks, journal, purses."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_kit import PRICE, RUN, TASK, deck
from store_kit import open_at

from quarterdeck.agents.acp import AcpHarness, AcpPorts
from quarterdeck.agents.acp_login import Logins
from quarterdeck.agents.acp_talk import Patience
from quarterdeck.agents.mail import Letter, Mail
from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.outside import OutsideDesks
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.profiles import GENERIC
from quarterdeck.agents.profiles.port import Installation, Profile
from quarterdeck.assembly.gateway import make_gateway
from quarterdeck.doors.mcp_door import McpDoor
from quarterdeck.gateway.gateway import ModelGateway
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, run_purse
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.journal.log import Log
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, AgentLimits, Harness, to_nusd
from quarterdeck.models.factory import make_factory
from quarterdeck.models.scripted.scenario import Rule, Scenario, Turn
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.tools.toolbox import Toolbox
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Limits, Provider, Sandbox, Spec

AGENT = Path(__file__).with_name("acp_agent.py")
ATTEMPT = f"{RUN}.{TASK.id}.1"
BEGIN = "git init -q -b main . && git add -A && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m begin"
SUBMIT = {"tool": ["submit", {"summary": "Did it."}]}
QUICK = Patience(start=20, first=20, idle=20, lingering=0.5, stopping=1, session=20)


@dataclass
class Stage:
    """What a test holds."""

    journal: Log
    gateway: ModelGateway
    desks: OutsideDesks
    mail: Mail
    ports: AcpPorts
    provider: Provider
    views: Views
    approvals: Approvals
    sandbox: Sandbox | None = None
    profile: Profile = GENERIC

    @property
    def harness(self) -> AcpHarness:
        return AcpHarness(replace(self.ports, find=self._find))

    def _find(self, agent: Agent) -> tuple[Profile, Installation]:
        return self.profile, Installation(program=agent.command[0])

    async def work(
        self,
        *do: dict[str, Any],
        again: Sequence[dict[str, Any]] = (),
        faults: Sequence[str] = (),
        limits: AgentLimits = AgentLimits(wall=60),  # noqa: B008 - a frozen value
        **fields: Any,
    ) -> Finished:
        """One attempt of an agent that does these steps; `again`: with its second prompt."""
        return await self.harness.work(await self.assigned(*do, again=again, faults=faults, limits=limits, **fields))

    async def assigned(
        self,
        *do: dict[str, Any],
        again: Sequence[dict[str, Any]] = (),
        faults: Sequence[str] = (),
        limits: AgentLimits = AgentLimits(wall=60),  # noqa: B008 - a frozen value
        waits: Sequence[str] = (),
        **fields: Any,
    ) -> Assignment:
        """The work order, with a workspace that is begun. `waits`: tools that wait for a person's word."""
        agent = Agent(
            name="outside",
            harness=Harness.ACP,
            command=("python3", "acp_agent.py", *faults),
            limits=limits,
            model="openai:scripted",
            **fields,
        )
        config = RunConfig(deck=deck(approve={"tools": waits}))
        gear = await self.harness.gear(agent, config)
        spec = Spec("stage", bridges=gear.bridges, mounts=gear.mounts, limits=Limits(memory_bytes=512 * 1024 * 1024))
        self.sandbox = await self.provider.create(spec)
        await self.sandbox.write("acp_agent.py", AGENT.read_bytes())
        begun = await self.sandbox.exec(BEGIN, timeout=30)
        assert begun.exit_code == 0, begun
        claim = await self.journal.claim(ids.attempt_stream(ATTEMPT))
        started = e.AttemptStarted(
            run=RUN, task=TASK.id, number=1, agent=agent.name, harness=Harness.ACP, incarnation=1, base="", workspace=""
        )
        await self.journal.append(claim, started)
        text = f"DO:{json.dumps(do)}\nAGAIN:{json.dumps(again)}"
        paid = chain_of(
            run=RUN, task=TASK.id, attempt=ATTEMPT, user="ada", days=DayCaps(50, 200), now=SystemClock().wall()
        )
        return Assignment(
            run=RUN,
            attempt=ATTEMPT,
            number=1,
            incarnation=1,
            agent=agent,
            claim=claim,
            sandbox=self.sandbox,
            config=config,
            goal="the goal",
            task=TASK.model_copy(update={"instructions": text}),
            chain=paid,
        )

    async def events(self) -> list[e.EventBase]:
        return [record.event for record in await self.journal.read(ids.attempt_stream(ATTEMPT))]

    async def body(self, digest: str | None) -> str:
        assert digest is not None
        return (await self.journal.get(digest)).decode()

    async def answers(self, name: str = "answers") -> Any:
        """What the agent kept of its answers."""
        assert self.sandbox is not None
        return json.loads(await self.sandbox.read(name))

    def tell(self, text: str) -> None:
        """A person's message."""
        self.mail.deliver(ATTEMPT, Letter("m-1", text))


@asynccontextmanager
async def stage(
    tmp_path: Path, kind: str = "none", *, run_usd: float = 5.0, patience: Patience = QUICK
) -> AsyncIterator[Stage]:
    """A stage, cleaned up afterwards."""
    ground = Ground(tmp_path / "home").prepare() if os.geteuid() == 0 else Ground(_made(tmp_path / "home")).prepare()
    provider: Provider = Plain(ground) if kind == "none" else Bubblewrap(ground)
    store, clock, treasury, mail = await open_at(tmp_path / "deck.db"), SystemClock(), Budgets(), Mail()
    journal, views = Log(store, clock), Views(store)
    approvals = Approvals(journal, views, clock, store.changed)
    await journal.commit(also=lambda tx: treasury.open(tx, run_purse(RUN), to_nusd(run_usd)))
    script = Scenario(rules=(Rule(turns=(Turn(text="Hello."),)),), prices={"scripted": PRICE})
    async with ScriptedServer(script) as server:
        models = make_factory(keys={"openai": "key"}, base_urls={"openai": f"{server.url}/v1"})
        ports = Ports(
            journal=journal, policy=DefaultPolicy(), treasury=treasury, models=models, toolbox=Toolbox(), clock=clock,
            mail=mail,
        )  # fmt: skip
        desks = OutsideDesks(lambda config: NativeHarness(ports), mail)
        door = McpDoor(desks)
        gateway, endpoint = make_gateway(journal, treasury, clock, lambda _: models, ground.sockets, {"/mcp": door})

        def find(agent: Agent) -> tuple[Profile, Installation]:
            raise AssertionError("the stage has one of its own")

        logins = Logins(tmp_path / "user", tmp_path / "logins")
        outside = AcpPorts(
            journal=journal, policy=DefaultPolicy(), clock=clock, gateway=gateway, desks=desks, find=find,
            socket=endpoint.open, ready=door.warm, logins=logins, patience=patience, approvals=approvals,
        )  # fmt: skip
        made = Stage(journal, gateway, desks, mail, outside, provider, views, approvals)
        try:
            yield made
        finally:
            if made.sandbox is not None:
                await made.sandbox.close()
            await desks.close_all()
            await door.close()
            await gateway.close()
            await endpoint.close()
            await models.close()
            await store.close()
            ground.destroy()


def _made(path: Path) -> Path:
    path.mkdir()
    return path
