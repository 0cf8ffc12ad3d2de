"""Everything a deck is made of, wired together.

Rules
- Nothing is started and nothing outside of the deck's own directories is touched by making the parts.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from quarterdeck.agents.mail import Mail
from quarterdeck.agents.outside import OutsideDesks
from quarterdeck.assembly.agreed import Agreed, Days, Words, machine_of
from quarterdeck.assembly.bare import offered
from quarterdeck.assembly.engines import make_engine
from quarterdeck.assembly.fleet import Fleet
from quarterdeck.assembly.gateway import make_gateway
from quarterdeck.assembly.outside import make_acp
from quarterdeck.assembly.pacing import Pacing
from quarterdeck.assembly.places import Places
from quarterdeck.assembly.reacting import OperatorsFile, reactions
from quarterdeck.assembly.timing import clock_of
from quarterdeck.assembly.toolboard import OperatorAccess
from quarterdeck.delivery import jobs
from quarterdeck.delivery.briefing import Briefings
from quarterdeck.delivery.conductor import Conductor
from quarterdeck.delivery.gate.advance import Gate
from quarterdeck.delivery.nodes.approving import Approving
from quarterdeck.delivery.nodes.check import Check
from quarterdeck.delivery.nodes.ending import Endings
from quarterdeck.delivery.nodes.implement import Implement
from quarterdeck.delivery.nodes.node import Nodes
from quarterdeck.delivery.nodes.planning import Planning
from quarterdeck.delivery.nodes.revert import Revert
from quarterdeck.delivery.nodes.review import Reviews
from quarterdeck.delivery.nodes.session import Sessions
from quarterdeck.delivery.nodes.submit import Submit
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.telling import TELL, Telling
from quarterdeck.delivery.trends import Trends
from quarterdeck.delivery.validation import inspection
from quarterdeck.doors.mcp_door import McpDoor
from quarterdeck.doors.serve import Endpoint
from quarterdeck.engine.port import Engine, Handler
from quarterdeck.engine.seats import Place
from quarterdeck.gateway.gateway import ModelGateway
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.starts import Windows
from quarterdeck.journal.log import Log
from quarterdeck.journal.packs import Packs
from quarterdeck.journal.touches import Touches
from quarterdeck.journal.views import Views
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock, SystemClock
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.failures import BadConfiguration, StoreUnavailable
from quarterdeck.settings import Settings, operator_config, operator_outside
from quarterdeck.store.opening import open_store
from quarterdeck.store.port import Store
from quarterdeck.telemetry.feed import Telemetry
from quarterdeck.telemetry.where import named
from quarterdeck.tools.shed.board import Board
from quarterdeck.tools.shed.shed import Shed
from quarterdeck.tools.shed.ways import SandboxWays
from quarterdeck.workplace import objects
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.environment import Environments
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.packages import Packages
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider
from quarterdeck.workplace.proxy import Proxies


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one open deck."""

    settings: Settings
    clock: Clock
    store: Store
    journal: Log
    views: Views
    engine: Engine
    treasury: Budgets
    ground: Ground
    packages: Packages
    proxies: Proxies
    environments: Environments
    providers: Mapping[str, Provider]
    workshop: Workshop
    access: OperatorAccess
    shed: Shed
    fleet: Fleet
    gateway: ModelGateway
    endpoint: Endpoint
    mail: Mail
    desks: OutsideDesks
    """The desks of agents that are not our loop."""
    door: McpDoor
    """Their way to them."""
    briefings: Briefings
    approvals: Approvals
    conductor: Conductor
    handlers: Mapping[str, Handler]
    telemetry: Telemetry
    agreed: Agreed
    days: Days
    owner: str
    works: bool
    """This process performs work of the deck's runs, when it performs jobs."""

    async def close(self) -> None:
        """Close everything, in the order in which it is used. Idempotent."""
        await self.workshop.close()  # another process goes on with the same workspaces once the engine is closed
        await self.engine.close()
        await self.agreed.end()
        await self.telemetry.end()
        await self.desks.close_all()
        await self.door.close()
        await self.gateway.close()
        await self.endpoint.close()
        await self.shed.close()
        await self.fleet.close()
        await self.proxies.close()
        await asyncio.to_thread(objects.end_all)
        await self.store.close()


def _make_home(settings: Settings) -> None:
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.logs.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        # Somebody else's directory, or none at all, is a wrong setting; anything else is the machine's trouble.
        setting = isinstance(error, PermissionError | FileExistsError | NotADirectoryError)
        raise (BadConfiguration if setting else StoreUnavailable)(
            f"The home {settings.home} cannot be written",
            why=error.strerror or str(error),
            fix="make it writable, or set QUARTERDECK_HOME to another directory",
        ) from error


async def make(settings: Settings, clock: Clock | None = None, place: Place | None = None) -> Parts:
    """Wire a deck together. Raises StoreUnavailable, SandboxFailed, MissingPart.

    clock: None = the machine's. place: what this process takes of the work, None = everything.
    """
    _make_home(settings)
    ground = Ground(settings.home, programs=inspection.programs()).prepare()
    store = await open_store(settings)
    clock = await clock_of(store, clock or SystemClock())
    owner = ids.new_owner_id()
    engine = await make_engine(settings, store, owner, clock, place)
    configured = OperatorsFile(settings.home)
    shared = settings.database_url is not None
    journal = Log(store, clock, reactions(engine, configured, shared=shared), engine.fence)
    packages = Packages(settings.package_environment)
    proxies = Proxies(ground.sockets, packages.indexes)
    environments = Environments(ground.environments, proxies, packages)
    providers: dict[str, Provider] = {"none": offered(settings, Plain(ground)), "bubblewrap": Bubblewrap(ground)}
    workshop = Workshop(
        providers,
        ground.mirrors,
        environments,
        proxies,
        # A database elsewhere is for several homes; the one in the home is for this one alone.
        depot=Packs(store, journal) if settings.database_url is not None else None,
        seats=settings.home / "seats",
        git=settings.git_environment,
    )
    machine, alone = partial(machine_of, settings.home), settings.database_url is None
    agreed = Agreed(store, machine, clock, Words(configured), alone=alone)
    treasury, starts = Budgets(partial(agreed.now, "days")), Windows(agreed.limits)
    briefings, views = Briefings(journal), Views(store)
    approvals = Approvals(journal, views, clock, store.changed)
    mail = Mail()
    access = OperatorAccess(settings)
    shed = Shed(SandboxWays(providers, proxies), access, clock, tell=Board(settings.home).tell)
    touches, pacing = Touches(store), _pacing(settings, store, clock, owner, agreed)
    fleet = Fleet(settings, journal, treasury, clock, mail, shed, approvals, pacing, touches)
    desks = OutsideDesks(fleet.native, mail, views)
    door = McpDoor(desks)
    mounts = {"/mcp": door}
    gateway, endpoint = make_gateway(journal, treasury, clock, fleet.models, ground.sockets, mounts)
    fleet.add_acp(make_acp(settings, journal, clock, gateway, desks, endpoint, door, approvals))
    gate = Gate(journal, engine, workshop, approvals, clock)
    conductor = Conductor(
        journal, engine, briefings, treasury, starts, Trends(views, clock), approvals, gate.reverts, clock
    )
    days = Days(agreed, configured)
    told = operator_config(settings.home).config.telemetry
    telemetry = Telemetry(told, settings, store, journal, views, owner)
    await telemetry.mark()
    return Parts(
        settings=settings,
        clock=clock,
        store=store,
        journal=journal,
        views=views,
        engine=engine,
        treasury=treasury,
        ground=ground,
        packages=packages,
        proxies=proxies,
        environments=environments,
        providers=providers,
        workshop=workshop,
        access=access,
        shed=shed,
        fleet=fleet,
        gateway=gateway,
        endpoint=endpoint,
        mail=mail,
        desks=desks,
        door=door,
        briefings=briefings,
        approvals=approvals,
        conductor=conductor,
        handlers=named(
            _handlers(
                journal,
                engine,
                views,
                touches,
                workshop,
                fleet,
                briefings,
                conductor,
                gate,
                approvals,
                days,
                mail,
                clock,
            )
        ),
        telemetry=telemetry,
        agreed=agreed,
        days=days,
        owner=owner,
        works=place is None or bool(place.queues),
    )


def _pacing(settings: Settings, store: Store, clock: Clock, owner: str, agreed: Agreed) -> Pacing | None:
    """What the processes of the deck agree on about providers; None where there is one, and nothing is set."""
    told = operator_outside(settings.home).workers
    if settings.database_url is None and not told.calls_per_minute and not told.calls_at_once:
        return None
    places = Places(store, owner, clock, agreed.of("calls_at_once"))
    return Pacing(store, clock, agreed.of("calls_per_minute"), places)


def _handlers(
    journal: Log,
    engine: Engine,
    views: Views,
    touches: Touches,
    workshop: Workshop,
    fleet: Fleet,
    briefings: Briefings,
    conductor: Conductor,
    gate: Gate,
    approvals: Approvals,
    days: Days,
    mail: Mail,
    clock: Clock,
) -> Mapping[str, Handler]:
    sessions = Sessions(journal, workshop, fleet.harnesses, days, clock)
    implement = Implement(journal, views, touches, workshop, sessions, clock)
    endings = Endings(journal, views, workshop)
    nodes = Nodes(
        journal,
        engine,
        briefings,
        {
            Node.PLAN: Planning(journal, workshop, sessions),
            Node.IMPLEMENT: Revert(journal, workshop, otherwise=implement),
            Node.CHECK: Check(journal, workshop),
            Node.REVIEW: Reviews(journal, workshop, sessions),
            Node.APPROVE: Approving(journal, engine, views, workshop, approvals, clock),
            Node.GATE: Submit(journal),
            Node.REPORT: endings.report,
            Node.RETROSPECTIVE: endings.retrospective,
        },
    )
    return {
        jobs.ADVANCE: conductor.advance,
        jobs.CONTROL: conductor.control,
        TELL: Telling(journal, mail).tell,
        jobs.WORK: nodes.work,
        jobs.GATE_SUBMIT: gate.submit,
        jobs.GATE_ADVANCE: gate.advance,
        jobs.GATE_WITHDRAW: gate.withdraw,
        jobs.GATE_CHECK: gate.check,
    }
