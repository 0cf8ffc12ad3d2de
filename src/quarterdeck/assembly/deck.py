"""An open deck: what the command line and the server talk to.

Rules
- Nothing is decided here: each method hands what was asked to the file that does it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from quarterdeck.assembly import (
    clis,
    doctor,
    late,
    naming,
    ordering,
    results,
    standalone,
    steering,
    telling,
    toolboard,
    undoing,
)
from quarterdeck.assembly.configuration import Found, configuration
from quarterdeck.assembly.descriptors import as_many_as_allowed
from quarterdeck.assembly.parts import Parts, make
from quarterdeck.assembly.probed import install
from quarterdeck.assembly.settling import Settling
from quarterdeck.assembly.timing import followed
from quarterdeck.assembly.triggering import Outside
from quarterdeck.assembly.working import Working
from quarterdeck.delivery.order import Check, Cli, Order, RevertOrder, RunResult
from quarterdeck.doors.hooks import Hooks
from quarterdeck.doors.serve import Serving
from quarterdeck.engine.seats import Place
from quarterdeck.gateway.port import Metering, Standing
from quarterdeck.govern.chain import DayCaps
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Record, Verification
from quarterdeck.journal.views import ApprovalView, AttemptView, Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.settings import Settings
from quarterdeck.tools.shed.board import ServerView


class Deck:
    """One open deck."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._outside = Outside(parts)
        self._working = Working(parts, self._outside)
        self._settling = Settling(parts, self._outside.handlers)

    @property
    def settings(self) -> Settings:
        return self._parts.settings

    @property
    def views(self) -> Views:
        return self._parts.views

    @property
    def journal(self) -> Log:
        return self._parts.journal

    @property
    def outside(self) -> Outside:
        """Triggers, issues and where results go."""
        return self._outside

    def on_trouble(self, tell: Callable[[QuarterdeckError | None], None]) -> None:
        """Call `tell` when the database keeps the work from going on, and with None when it goes on again."""
        self._parts.engine.illness.told = tell

    # --- runs ---------------------------------------------------------------------------------------------

    async def create(self, order: Order, *, run: str | None = None) -> str:
        """Store the run; returns its id. `run`: the id it gets, None = a new one."""
        return await ordering.create(self._parts, order, run)

    async def revert(self, order: RevertOrder, *, run: str | None = None) -> str:
        """Store a run that takes back what landed; returns its id. Raises Conflicting, NotFound, as `create`."""
        return await undoing.create(self._parts, order, run)

    async def ordered(self, run: str) -> e.RunCreated:
        """The run as it was ordered. Raises NotFound."""
        return (await self._parts.briefings.run(run)).created

    async def frozen(self, run: str) -> RunConfig:
        """The configuration that the run was created with."""
        return (await self._parts.briefings.run(run)).config

    async def work(self, run: str) -> None:
        """Work on the run until it is finished, waits or is paused; where another process does, follow it."""
        await self._working.work(run)

    async def serve(self, drain: float = 0.0) -> None:
        """Perform whatever comes until cancelled; what has begun by then gets `drain` seconds. Raises StoreUnavailable
        where the database stays away, Fenced."""
        await self._working.serve(drain)

    def serving(self, host: str, port: int, names: Sequence[str] = ()) -> AbstractAsyncContextManager[Serving]:
        """The API, the dashboard and the gateway on a port. Raises BadConfiguration."""
        return late.server()(self, self._parts, host, port, names, {"/hooks": Hooks(self._outside.receiving)})

    async def control(
        self,
        run: str,
        action: str,
        *,
        answer: str | None = None,
        budget_usd: float | None = None,
        by: str | None = None,
    ) -> None:
        """Ask durably for `pause`, `resume` or `cancel`. `by`: who asks, None = the user of this process."""
        by = by or self.settings.user
        await steering.control(self._parts, run, action, answer=answer, budget_usd=budget_usd, by=by)
        self._settling.asked(run, partial(self._settling.obeyed, run, action))

    async def tell(self, kind: str, id: str, text: str, *, by: str | None = None) -> tuple[AttemptView, str]:
        """Say something to an agent at work, durably: (whom, the message's id)."""
        return await telling.tell(self._parts, kind, id, text, by=by or self.settings.user)

    async def served(self) -> bool:
        """Whether a server works on the deck's runs, which this process should leave to it."""
        return False

    async def attended(self) -> bool:
        """Whether a living process works on the deck's runs."""
        return await self._parts.engine.attended()

    async def day_caps(self) -> DayCaps:
        """What may be spent in a day now, by what holds over the deck."""
        await self._parts.agreed.look()
        return self._parts.days.now()

    # --- steering -----------------------------------------------------------------------------------------

    async def approvals(self, *, open: bool = True) -> list[ApprovalView]:
        """What waits for a person's word, longest first; not only `open`: also what was decided."""
        return await self.views.approvals(open=open)

    async def decide(
        self, approval: str, verdict: Literal["approve", "deny"], *, action_hash: str, reason: str, by: str
    ) -> None:
        """Record a person's word about exactly that. Raises NotFound, BadInput; Conflicting where the hash is stale,
        somebody has decided, or the time is over."""
        view = await steering.decide(self._parts, approval, verdict, action_hash=action_hash, reason=reason, by=by)
        if view.what in ("plan", "merge"):
            self._settling.asked(view.run, partial(steering.noted, self._parts, view.run, approval))

    async def subject(self, approval: str) -> str:
        """What is asked, whole: the plan as YAML, the change as a diff, the action as JSON. Raises NotFound."""
        return await steering.subject(self._parts, approval)

    async def moved(self, run: str) -> None:
        """Until a run that waits, or is paused, has something to do, or has ended."""
        await self._working.moved(run)

    async def settle(self) -> None:
        """Perform what was asked for if nobody owns the deck. The work of runs is left alone."""
        await self._settling.settle()

    async def answer(self, run: str, text: str, *, attempt: str | None = None, by: str) -> None:
        """Answer a question; `attempt`: which one, where several are open. Raises NotFound, Conflicting, BadInput."""
        await self._wish(run, steering.answer(self._parts, run, text, attempt=attempt, by=by))

    async def retry(self, run: str, task: str, *, agent: str | None = None, by: str) -> None:
        """Have a task tried again, also after its run has ended. Raises NotFound, Conflicting."""
        await self._wish(run, steering.retry(self._parts, run, task, agent=agent, by=by))

    async def raise_budget(self, run: str, usd: float, *, by: str) -> None:
        """Give an unfinished run more money; `usd`: its new budget. Raises NotFound, Conflicting, BadInput."""
        await self._wish(run, steering.raise_budget(self._parts, run, usd, by=by))

    async def comment(self, attempt: str, path: str, line: int | None, text: str, *, by: str) -> None:
        """Say something about a change to whoever works on its task, or will. Raises NotFound, Conflicting,
        BadInput."""
        await steering.comment(self._parts, attempt, path, line, text, by=by)

    async def _wish(self, run: str, asking: Awaitable[e.EventBase]) -> None:
        last = await self.journal.last(ids.run_stream(run))
        event = await asking
        seq = last.seq if last is not None else 0
        self._settling.asked(run, partial(steering.recorded, self._parts, run, event, seq))

    def standing(
        self, models: Sequence[str], usd: float, host: str, port: int
    ) -> AbstractAsyncContextManager[Standing]:
        """The gateway alone, with one key. Raises BadConfiguration."""
        return standalone.standing(self._parts, models, usd, host, port)

    def standing_used(self, standing: Standing) -> Metering:
        """What the calls of that key came to so far."""
        return standalone.metering(self._parts, standing)

    # --- looking ------------------------------------------------------------------------------------------

    def events(self, run: str) -> AsyncIterator[Record]:
        """The run's records with its attempts' and its gate's, from the beginning. Follows; never ends by itself."""
        return results.events(self._parts, run)

    async def result(self, run: str) -> RunResult:
        """Where the run stands; of a finished run, how it ended."""
        return await results.result(self._parts, run)

    async def report(self, run: str) -> str:
        """Report and retrospective as Markdown."""
        return await results.report(self._parts, run)

    async def plan_text(self, run: str) -> str:
        """The plan as YAML."""
        return await results.plan_text(self._parts, run)

    async def export(self, run: str, directory: Path) -> list[Path]:
        """Write everything of a run as files; returns them."""
        return await results.export(self._parts, run, directory)

    async def verify(self, prefix: str = "") -> Verification:
        """Recompute the journal's chains."""
        return await self._parts.journal.verify(prefix)

    async def probe(self) -> list[Check]:
        """What `doctor` looks at."""
        return await doctor.probe(self._parts)

    async def clis(self) -> tuple[Cli, ...]:
        """The command lines of agents that are known here, and what of them is on this machine."""
        return await clis.known(self._parts.settings)

    async def effective(self, repository: Path) -> tuple[DeckConfig, tuple[str, ...]]:
        """The configuration for a repository, and where its parts come from."""
        found = await self._found(repository)
        return found.deck, found.origin

    async def current(self, repository: Path) -> RunConfig:
        """The configuration that a new run in that repository would get now."""
        return ordering.fresh(await self._found(repository))

    # --- tool servers -------------------------------------------------------------------------------------

    async def tool_servers(self, repository: Path) -> list[ServerView]:
        """The tool servers that are declared for a repository, and what is known of them."""
        found = await self._found(repository)
        return toolboard.views(self.settings, found.deck, found.origin)

    async def check_tools(self, repository: Path, names: Sequence[str]) -> dict[str, str]:
        """Start these servers (none named = all that are approved), list their tools, end them again. By name, what
        went wrong. Raises NotFound."""
        found = await self._found(repository)
        every = [view.name for view in toolboard.views(self.settings, found.deck, ()) if view.approved]
        return await toolboard.check(self._parts.shed, found.deck, names or every)

    async def approve_tools(self, repository: Path, name: str, env: Sequence[str]) -> ServerView:
        """Let a declared server be started. Raises NotFound, BadInput."""
        found = await self._found(repository)
        toolboard.approve(self.settings, found.deck, name, env)
        views = toolboard.views(self.settings, found.deck, found.origin)
        return next(view for view in views if view.name == name)

    async def revoke_tools(self, name: str) -> int:
        """Take back every approval of that name; how many there were. Raises NotFound."""
        return toolboard.revoke(self.settings, name)

    async def _found(self, repository: Path) -> Found:
        mirror = await self._parts.workshop.mirror(str(repository))
        head = await mirror.resolve("HEAD")
        await mirror.fetch(head)
        return await configuration(self.settings.home, mirror, head)

    async def resolve(self, id: str) -> tuple[str, str]:
        """(`run`, `task` or `attempt`, full id) of a full id or a unique beginning. Raises NotFound, Conflicting."""
        return await naming.resolve(self.views, id)


@asynccontextmanager
async def open_deck(settings: Settings, clock: Clock | None = None, place: Place | None = None) -> AsyncIterator[Deck]:
    """The deck in `settings.home`. Raises StoreUnavailable, SandboxFailed, BadConfiguration, MissingPart.

    clock: None = the machine's. place: what this process takes of the work, None = everything.
    """
    install(settings)
    as_many_as_allowed()
    parts = await make(settings, clock, place)
    try:
        async with followed(parts.store, parts.clock):
            yield Deck(parts)
    finally:
        await parts.close()
