"""What the deck has to do with the world outside, wired together: triggers, results, messages to people.

Rules
- A message of a person's own making takes the way of all others, but for its signature.
- Each process that serves the deck looks at its own schedules.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from quarterdeck.assembly import ordering, results
from quarterdeck.assembly.configured import offering
from quarterdeck.assembly.engines import own_label
from quarterdeck.assembly.gone import Gone
from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.reacting import OperatorsFile
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.order import Order, RunResult
from quarterdeck.engine.port import Handler, Job, Later
from quarterdeck.govern.starts import Windows
from quarterdeck.journal.firings import Firings, FiringView
from quarterdeck.kernel import ids
from quarterdeck.kernel.events.outside import OutboxDelayed, OutboxFailed, PullOpened
from quarterdeck.kernel.failures import BadInput, Conflicting, NotFound, StoreUnavailable
from quarterdeck.kernel.triggers import Origin, TriggerSection, issue_subject
from quarterdeck.settings import MAX_FILE, read_secret
from quarterdeck.triggers import port, schedule
from quarterdeck.triggers.checking import flaw_of
from quarterdeck.triggers.clock import LOOK, Timekeeper, outdated
from quarterdeck.triggers.github import Github
from quarterdeck.triggers.goal import clean
from quarterdeck.triggers.messages import issue_pieces
from quarterdeck.triggers.notifying import Notifying
from quarterdeck.triggers.orders import issue_goal, issue_named
from quarterdeck.triggers.port import Clone, Received, TriggerView
from quarterdeck.triggers.publishing import FINISHED, Publishing
from quarterdeck.triggers.receiving import Receiving
from quarterdeck.triggers.taking import Taking
from quarterdeck.workplace.afar import is_remote
from quarterdeck.workplace.remote import RemoteClones

_log = logging.getLogger(__name__)

CLONES: Final = "clones"
_SETTLE_SECONDS: Final = 120.0
_FOLLOW_SECONDS: Final = 1.0


def _source(home: Path) -> str:
    """The name of that home's deck.toml, which that of no other home or machine has. It stays as long as the machine's
    name does; where each container has a new one, what others have on record of the same schedule holds."""
    return hashlib.sha256(f"{own_label()}\n{home}".encode()).hexdigest()[:16]


class _Clones:
    """The deck's clones, as triggers ask for them."""

    def __init__(self, clones: RemoteClones, workshop: Workshop) -> None:
        self._clones = clones
        self._workshop = workshop

    async def fresh(self, repository: str, base: str | None) -> Clone:
        found = await self._clones.fetch(repository, base)
        return Clone(found.path, found.commit, found.branch)

    async def push(self, repository: str, place: str, branch: str, commit: str) -> None:
        path = Path(place)
        if is_remote(place):
            mirror = await self._workshop.mirror(place)
            await mirror.fetch(commit)
            path = mirror.path
        await self._clones.push(repository, path, branch, commit)


class _Orders:
    """How triggers make runs, and ask how they stand."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, order: Order, run: str) -> None:
        if not await self._parts.journal.last(ids.run_stream(run)):
            await ordering.create(self._parts, order, run)

    async def result(self, run: str) -> RunResult:
        return await results.result(self._parts, run)

    async def report(self, run: str) -> str:
        return await results.report(self._parts, run)

    async def elsewhere(self, run: str) -> tuple[str, ...]:
        needed = (await self._parts.briefings.run(run)).config.runs_on
        return () if own_label() in needed else needed


class Outside:
    """Everything of the deck that concerns the world outside."""

    def __init__(self, parts: Parts) -> None:
        store, journal, engine, clock = parts.store, parts.journal, parts.engine, parts.clock
        self.configured = OperatorsFile(parts.settings.home)
        self._offers = offering(self.configured, read_secret)
        self.firings = Firings(store)
        self._parts, self._journal, self._engine, self._clock = parts, journal, engine, clock
        orders, starts, views = _Orders(parts), Windows(), parts.views

        def token() -> str | None:
            return read_secret(self.configured().github.token_env)

        home, variables = parts.settings.home, parts.settings.package_environment
        clones = RemoteClones(home / CLONES, lambda: self.configured().github.clones, token, variables)
        self.remotes = _Clones(clones, parts.workshop)
        self.github = Github(self.configured, read_secret, clock)
        self.receiving = Receiving(journal, engine, self.firings, self.configured, read_secret, clock)
        self.timekeeper = Timekeeper(journal, engine, self.configured, clock, _source(home))
        self._gone = Gone(store, engine, clock)
        taking = Taking(journal, self.firings, starts, orders, self.remotes, self.configured, clock)
        publishing = Publishing(journal, engine, views, orders, self.remotes, self.github)
        notifying = Notifying(journal, engine, views, self.configured, read_secret, clock)
        self.handlers: Mapping[str, Handler] = {
            **parts.handlers,
            port.TAKE: taking.take,
            port.RECORD: taking.record,
            port.CLOCK: outdated,
            port.PUBLISH: publishing.publish,
            port.LOOK: publishing.look,
            port.NOTIFY: notifying.send,
        }

    async def stand(self) -> None:
        """This process serves the deck, until cancelled: its schedules are watched, and messages that nobody takes."""
        while True:
            wait = LOOK
            try:
                wait = await self.timekeeper.look()
                await self._gone.look()
            except StoreUnavailable:  # said by the engine; what became due meanwhile is found by the next look
                wait = _FOLLOW_SECONDS
            except Exception:  # noqa: BLE001 - a bug of ours is recorded, and must not stop the clock
                _log.exception("the clock broke off; it is looked at again")
            await asyncio.sleep(wait)

    async def views(self) -> list[TriggerView]:
        """Every trigger, by name."""
        return [await self._view(name, section) for name, section in sorted(self.configured().triggers.items())]

    async def _view(self, name: str, section: TriggerSection) -> TriggerView:
        flaw, coming = flaw_of(section), None
        if section.kind == "cron" and not flaw:
            coming = schedule.next_after(section.schedule or "", section.timezone, self._clock.wall())
        return TriggerView(
            name=name,
            source=section.kind,
            repository=section.repository,
            next_at=coming,
            last=await self.firings.last(name),
            refused=await self.firings.refused(name),
            waiting=await self.firings.waiting(name),
            unfinished=await self.firings.unfinished(name),
            flaw=flaw,
        )

    async def attended(self) -> bool:
        """Whether a living process serves the deck that has one of these triggers in its file."""
        names = map(port.trigger_wanted, self.configured().triggers)
        return any([await self._engine.attended(name) for name in names])

    async def _put(self, name: str, payload: str | None) -> str:
        """Put a message of a person's own making on record, as if it had come; its name. Raises NotFound, BadInput."""
        section = self.configured().triggers.get(name)
        if section is None:
            known = ", ".join(sorted(self.configured().triggers))
            declare = "declare it as [triggers.NAME] in deck.toml of the deck's home; there is none yet"
            raise NotFound(f"there is no trigger {name}", fix=f"one of: {known}" if known else declare)
        if section.kind != "cron" and payload is None:
            raise BadInput(
                f"the trigger {name} needs a message", fix=f"quarterdeck triggers fire {name} --payload FILE"
            )
        if payload is not None and len(payload) > MAX_FILE:
            raise BadInput(f"the message is longer than {MAX_FILE} characters", fix="send a smaller one")
        event = ""
        if section.kind == "github":
            event = "issue_comment" if '"comment"' in (payload or "") else "issues"
        delivery = f"manual/{secrets.token_hex(8)}"
        received = Received(trigger=name, delivery=delivery, event=event, body=payload or "", at=self._clock.wall())
        await self.receiving.put(received)
        return delivery

    async def fire(self, name: str, payload: str | None) -> FiringView | None:
        """Try a trigger with a message of one's own; what became of it, None = that takes longer. Raises NotFound,
        BadInput."""
        delivery = await self._put(name, payload)

        async def known() -> bool:
            found = await self.firings.firing(name, delivery)
            return found is not None and found.status != "fired"

        await self._alone(known, (port.TAKE, port.RECORD), port.trigger_wanted(name))
        found = await self.firings.firing(name, delivery)
        return found if found is not None and found.status != "fired" else None

    async def publish(self, run: str) -> str:
        """Publish a run's result now; why that failed, empty = it did not. Raises NotFound, Conflicting."""
        view, stream = await self._parts.views.run(run), ids.publish_stream(run)
        if not view.status.finished:
            raise Conflicting(f"{run} has not ended", fix=f"quarterdeck show {run}")
        if not await self._parts.store.read("origin_of", run=run):
            fix = "quarterdeck run --issue OWNER/NAME#NUMBER orders runs that are"
            raise NotFound(f"{run} is not for a repository on a GitHub server", fix=fix)
        await self._journal.commit(also=lambda tx: self._engine.defer(tx, port.publish(run, FINISHED)))

        async def done() -> bool:
            rows = await self._parts.store.read("jobs_unfinished_of_lock", lock=stream)
            return not rows[0]["n"]

        if not await self._alone(done, (port.PUBLISH,), port.GITHUB):
            return "it is on record, and waits for a process that has the token of [github] and reaches the repository"
        return (await self.published(run))[1]

    async def published(self, run: str) -> tuple[str, str]:
        """Where the run's pull request is seen, and what was wrong when it was last tried; empty = there is none, and
        nothing."""
        events = [record.event for record in await self._journal.read(ids.publish_stream(run))]
        opened = [event.url for event in events if isinstance(event, PullOpened)]
        last = events[-1] if events else None
        return opened[-1] if opened else "", last.reason if isinstance(last, OutboxFailed | OutboxDelayed) else ""

    async def _alone(self, done: Callable[[], Awaitable[bool]], kinds: tuple[str, ...], wants: str) -> bool:
        """Wait until it is done; where nobody does what wants that, perform jobs of these kinds here and no others.
        Whether it was done in time."""
        engine, mark = self._engine, 0
        if self._parts.store.dialect == "postgres" and wants not in self._offers() and not await engine.attended(wants):
            return False

        async def others(job: Job) -> None:
            raise Later(_FOLLOW_SECONDS, "only what was asked for is performed now")

        serving: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                while not await done():
                    if serving is None and not await engine.attended(wants) and await engine.try_own():
                        mine = {kind: handler if kind in kinds else others for kind, handler in self.handlers.items()}
                        serving = asyncio.create_task(engine.serve(mine, until_idle=False))
                    mark = await self._parts.store.changed(mark, _FOLLOW_SECONDS)
            return True
        except TimeoutError:
            return False  # it is on record: whoever works on the deck next goes on with it
        finally:
            if serving is not None:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                await engine.close()

    async def for_issue(self, reference: str, order: Order, *, here: bool) -> Order:
        """The order for an issue. Raises BadInput, NotFound, Conflicting, OutsideFailed, GitFailed."""
        server = self.configured().github.clones
        named = issue_named(reference, server)
        if named is None:
            raise BadInput(
                f"{reference[:200]!r} names no issue", why=f"the server is {server}", fix="--issue OWNER/NAME#NUMBER"
            )
        repository, number = named
        if live := await self.firings.live(issue_subject(repository, number)):
            raise Conflicting(
                f"{live} is about {repository}#{number}, and not finished", fix=f"quarterdeck show {live}"
            )
        issue = await self.github.issue(repository, number)
        if issue.is_pull or issue.state == "closed":
            what = "is a pull request" if issue.is_pull else "is closed"
            raise BadInput(f"{repository}#{number} {what}", fix="name an open issue")
        clone = None if here else await self.remotes.fresh(repository, order.base)
        base = clone.branch if clone is not None else await self.github.default_branch(repository)
        subject, title = issue_subject(repository, number), clean(issue.title, lines=False)[:1000]
        origin = Origin(
            repository=repository,
            issue=number,
            title=title,
            by=order.user[:200],
            base=base,
            publish=True,
            subject=subject,
        )
        pieces, source = issue_pieces(repository, issue.raw), f"{server}/{repository}/issues/{number}"
        place = {} if clone is None else {"repository": clone.path, "base": clone.commit}
        goal = None if order.plan_path is not None else issue_goal(order.goal, pieces, source)
        return order.model_copy(update={"goal": goal, "origin": origin, **place})
