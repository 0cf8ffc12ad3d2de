"""The merge gate at work: performs what `queue.decide` says, in git, in sandboxes and in the journal.

Rules
- The holder of the gate stream's claim is the only one that writes it, merges for it and moves its target.
- Results of checks are taken over from their own streams (see `checking.py`).
- Everything here may be done again after a crash: merged commits come out the same, an intent is settled by looking at
  the branch, a note that stands is left alone.
- What comes of a change is stored with the news of it for its run (see `landing.py`).
- What concerns the machine (git, the database) is tried again later, blames nobody and is on record. When it lasts, or
  the repository has gone, the changes are held.
- A note that cannot be written does not stand in the way of landing.
- Runs that wait until it is clear what they landed are woken when it is (`unsettled`).
"""

from collections.abc import Awaitable, Sequence
from typing import Final, TypeGuard

from quarterdeck.delivery import jobs
from quarterdeck.delivery.gate import candidates, clashing, conflicts, merging
from quarterdeck.delivery.gate.checking import MACHINE, MACHINE_PAUSE, Book, Checker, Workshop, check_stream
from quarterdeck.delivery.gate.landing import Endings
from quarterdeck.delivery.gate.ledger import GateState, Queued, checks_key
from quarterdeck.delivery.gate.noting import Noting, look_later
from quarterdeck.delivery.gate.orders import (
    Clash,
    Command,
    DropCheck,
    Land,
    Merged,
    NeedMerge,
    RecordLanded,
    RecordMove,
    Return,
    StartCheck,
    View,
    Wait,
)
from quarterdeck.delivery.gate.overlaps import Graph
from quarterdeck.delivery.gate.queue import decide, delayed
from quarterdeck.delivery.gate.reverting import Reverts
from quarterdeck.engine.port import Engine, Job, Later
from quarterdeck.govern.approvals import Approvals
from quarterdeck.journal.port import Claim, Journal, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import BadRepository, StaleClaim, StoreUnavailable
from quarterdeck.workplace.mirror import Mirror

Merges = dict[tuple[str, str], Merged | Clash]
"""(commit, attempt) to what came of merging that attempt's change onto the commit."""


_OVERTAKEN_PAUSE: Final = 0.5


class Gate:
    """Handlers of the gate's jobs."""

    def __init__(
        self, journal: Journal, engine: Engine, workshop: Workshop, approvals: Approvals, clock: Clock
    ) -> None:
        self._journal = journal
        self._workshop = workshop
        self._clock = clock
        self._book = Book(journal, engine)
        self._notes = Noting(journal, self._book)
        self.reverts = Reverts(journal, self._book, approvals, clock)
        self._endings = Endings(journal, self._book, self.reverts)
        self._merges: dict[str, Merges] = {}
        self._graphs: dict[tuple[str, str], Graph] = {}
        self._epochs: dict[str, int] = {}
        """By target, that of this process's last claim."""
        self._worked: set[str] = set()
        """Targets whose gate came to rest since its last trouble with the machine."""
        self._checker = Checker(journal, self._book, workshop)
        self.check = self._checker.check
        """Handler of `gate.check`."""

    # --- handlers -----------------------------------------------------------------------------------------

    async def submit(self, job: Job) -> None:
        """Handler of `gate.submit`: put a change into the queue."""
        await _unless_overtaken(self._submit(job))

    async def _submit(self, job: Job) -> None:
        target = str(job.payload["target"])
        event = e.decode(await self._journal.get(str(job.payload["queued_blob"])))
        assert isinstance(event, e.ChangeQueued)
        claim = await self._claimed(target)
        state = await self._book.state(target)
        attempt = event.change.attempt
        last = await self._journal.last(ids.attempt_stream(attempt))
        if attempt in state.landed:
            await self._tell_landed(event, state.landed[attempt], last)
            return
        if _withdrawn(last) and last.epoch >= int(job.payload.get("epoch") or 0):
            return  # its run was cancelled while it was on its way
        if state.find(attempt) is None and await self._book.cancelled(event.change.run):
            # The last record may be of an earlier visit, when it was held.
            await self._endings.tell(
                Outcome.CANCELLED, event.change.run, event.change.task, attempt, reason="cancelled"
            )
            return
        config = await self._book.config(event.config_blob)
        reach = config.runs_on
        events: list[e.EventBase] = []
        if not state.branch or (not state.queue and state.base != event.base):
            opened = e.GateOpened(repository=event.repository, branch=event.branch, base=event.base, runs_on=reach)
            events.append(opened)
        if state.find(attempt) is None:
            events.append(event.model_copy(update={"checks": checks_key(config)}))
        also = self._book.deferring(jobs.gate_advance(target, runs_on=reach))
        await self._journal.append(claim, *events, also=also)
        probes.hit("gate.queued")

    async def advance(self, job: Job) -> None:
        """Handler of `gate.advance`: decide and perform until only waiting is left."""
        target = str(job.payload["target"])
        await _unless_overtaken(self._advance(target, await self._claimed(target)))

    async def withdraw(self, job: Job) -> None:
        """Handler of `gate.withdraw`: a cancelled run leaves the queue, save for what is landing."""
        await _unless_overtaken(self._withdraw(job))

    async def _withdraw(self, job: Job) -> None:
        target, run = str(job.payload["target"]), str(job.payload["run"])
        claim = await self._claimed(target)
        state = await self._book.state(target)
        for queued in state.queue:
            landing = state.intent is not None and queued.attempt in dict(state.intent.landing)
            if queued.change.run == run and not landing and not ids.is_revert(queued.attempt):
                await self._endings.give_back(claim, queued, Return(queued.attempt, Outcome.CANCELLED, "cancelled"))
        for attempt in str(job.payload.get("coming") or "").split():
            if state.find(attempt) is None:
                await self._stop_on_the_way(run, attempt)
        await self._advance(target, claim)

    async def _stop_on_the_way(self, run: str, attempt: str) -> None:
        """A change that is not queued yet will not be."""
        last = await self._journal.last(ids.attempt_stream(attempt))
        if last is None or not isinstance(last.event, e.NodeFinished) or last.event.node is not Node.GATE:
            await self._endings.tell(Outcome.CANCELLED, run, ids.split_attempt(attempt)[1], attempt, reason="cancelled")

    async def _tell_landed(self, event: e.ChangeQueued, commit: str, last: Record | None) -> None:
        """The job came again after the landing: the run is told, unless it was."""
        run = event.change.run
        if last is None or not isinstance(last.event, e.NodeFinished) or last.event.commit != commit:
            await self._endings.tell(Outcome.OK, run, event.change.task, event.change.attempt, commit=commit)
            return
        await self._journal.commit(also=self._book.deferring(jobs.advance(run)))

    async def _claimed(self, target: str) -> Claim:
        """The claim of the gate's stream. Where another process had it since, what that left undone is picked up."""
        claim = await self._journal.claim(ids.gate_stream(target))
        if self._epochs.get(target) != claim.epoch - 1:
            self._merges.pop(target, None)
        self._epochs[target] = claim.epoch
        return claim

    # --- advancing ----------------------------------------------------------------------------------------

    async def _advance(self, target: str, claim: Claim) -> None:
        try:
            try:
                await self._until_at_rest(target, claim)
                self._worked.add(target)
            except BaseException:
                # Merges are forgotten with everything else, so that the next try picks up like a new process.
                self._merges.pop(target, None)
                raise
        except MACHINE as error:
            try:
                await self._delay(target, claim, merging.readable(f"{type(error).__name__}: {error}")[:1900])
            except StoreUnavailable as away:
                raise Later(MACHINE_PAUSE, f"{type(away).__name__}: {away}") from away

    async def _delay(self, target: str, claim: Claim, reason: str) -> None:
        """The machine stands in the way: say so and try again later, or give the changes back."""
        state = await self._book.state(target)
        if not state.queue:
            if state.last_landed:
                await self._notes.owe(target, state)  # nobody waits but for the notes of what landed last
            return
        gone = await merging.unusable(state.repository)
        event = delayed(state, self._clock.wall(), reason, worked=target in self._worked)
        self._worked.discard(target)
        if gone or event is None:
            await self._endings.hold_all(claim, state, gone or f"not judged: the merge gate cannot work: {reason}")
            return
        later = look_later(target, event.seconds, state)
        await self._journal.append(claim, event, also=self._book.deferring(later))

    async def _until_at_rest(self, target: str, claim: Claim) -> None:
        first, owed = target not in self._merges, self._notes.owes(target)
        merges = self._merges.setdefault(target, {})
        while True:
            state = await self._take_over(target, claim)
            if not state.branch:
                return
            if await self.reverts.follow(target, claim, state):
                continue
            try:
                mirror = await self._workshop.mirror(state.repository)
            except BadRepository as error:
                await self._endings.hold_all(claim, state, str(error))
                return
            for queued in state.queue:
                await mirror.need(queued.change.base, queued.change.commit)
            if first:
                await self._pick_up(target, claim, state, mirror)
                first = False
            elif owed and not state.queue:
                owed = False  # one try each time: what fails now would fail again
                await self._notes.write(target, claim, mirror)
            self._forget(state, merges)
            commands = await self._decide(state, mirror, merges)
            if clashes := clashing.news(state, merges):
                await self._journal.append(claim, *clashes)
            pauses = [command.delay for command in commands if isinstance(command, Wait)]
            if len(pauses) == len(commands):
                later = [look_later(target, min(pauses), state)] if pauses else []
                if work := [*later, *await self.reverts.waiting_runs(target, state)]:
                    await self._journal.commit(also=self._book.deferring(*work))
                return
            for command in commands:
                await self._perform(command, target, claim, state, mirror, merges)
            if any(isinstance(command, Land | RecordLanded) for command in commands):
                await self._notes.write(target, claim, mirror)

    async def _decide(self, state: GateState, mirror: Mirror, merges: Merges) -> Sequence[Command]:
        """What is to be done now; merges, which only this process needs to know of, are made on the way."""
        view = await self._look(
            state, mirror, merges, self._graphs.setdefault((state.repository, state.branch), Graph())
        )
        while True:
            commands = decide(state, view)
            needed = [command for command in commands if isinstance(command, NeedMerge)]
            if not needed:
                return commands
            for need in needed:
                queued = state.find(need.attempt)
                assert queued is not None
                bench = await self._bench(state, mirror, queued, need.onto)
                before = merges.get((need.onto, need.attempt)) if need.beyond is not None else None
                merges[need.onto, need.attempt] = (
                    await candidates.after(bench, before, view.tree)
                    if isinstance(before, Merged)
                    else await candidates.first(bench)
                )

    async def _bench(self, state: GateState, mirror: Mirror, queued: Queued, onto: str) -> candidates.Bench:
        deck = (await self._book.config(queued.config_blob)).deck
        return candidates.Bench(mirror, state, queued, onto, deck.merge, deck.checks.gate, self._book.commands)

    async def _look(self, state: GateState, mirror: Mirror, merges: Merges, graph: Graph) -> View:
        found = await mirror.tip(state.branch)
        tip = found or state.base
        moved = tip != state.tip
        if moved or tip == state.base or mirror.depot is not None:
            await mirror.fetch(tip)
        intent = state.intent
        landed = intent is not None and found is not None and await mirror.holds(intent.new, found)
        return View(
            now=self._clock.wall(),
            tip=tip,
            tree=await mirror.tree(tip),
            exists=found is not None,
            slots=max([(await self._book.config(q.config_blob)).deck.checks.parallel for q in state.queue], default=1),
            merges=merges,
            overlaps=await graph.look(mirror, state.queue),
            intent_landed=landed,
            arrived=await merging.arrival(mirror, state, tip) if moved and found is not None else None,
        )

    async def _take_over(self, target: str, claim: Claim) -> GateState:
        """The state, with the results of checks that have ended meanwhile."""
        state = await self._book.state(target)
        events: list[e.EventBase] = []
        for check, started in state.running.items():
            last = await self._journal.last(check_stream(check))
            if last is None or not isinstance(last.event, e.GateCheckFinished):
                continue
            events.append(last.event)
            failing = state.failing.get((started.tree, started.checks))
            if last.event.passed and failing is not None:
                events.append(e.FlakeSeen(tree=started.tree, check=check, reason=failing.reason[:2000]))
        if events:
            await self._journal.append(claim, *events)
        return await self._book.state(target) if events else state

    async def _pick_up(self, target: str, claim: Claim, state: GateState, mirror: Mirror) -> None:
        """What an earlier process may have left undone: notes, checks whose job got lost."""
        waiting = [jobs.gate_check(target, check, started.runs_on) for check, started in state.running.items()]
        if waiting:
            await self._journal.commit(also=self._book.deferring(*waiting))
        await self._notes.write(target, claim, mirror)

    def _forget(self, state: GateState, merges: Merges) -> None:
        present = {queued.attempt for queued in state.queue}
        for key in [key for key in merges if key[1] not in present]:
            del merges[key]

    # --- performing ---------------------------------------------------------------------------------------

    async def _perform(
        self,
        command: Command,
        target: str,
        claim: Claim,
        state: GateState,
        mirror: Mirror,
        merges: Merges,
    ) -> None:
        match command:
            case StartCheck():
                await self._checker.begin(target, claim, command, mirror)
            case DropCheck(check):
                tree = state.running[check].tree
                dropped = e.GateCheckFinished(check=check, tree=tree, passed=False, cancelled=True)
                await self._journal.append(claim, dropped)
            case Land():
                await self._resolve(claim, state, command, merges)
                await self._endings.land(claim, state, mirror, command)
            case RecordLanded(attempt, old, new):
                await self._endings.landed(claim, state, attempt, old, new)
            case RecordMove(old, new):
                await self._journal.append(claim, e.TipMoved(old=old, new=new))
            case Return(attempt):
                queued = state.find(attempt)
                assert queued is not None
                piece, against = await conflicts.explained(mirror, state, queued, command, self._journal.get)
                await self._endings.give_back(claim, queued, command, piece, against, state.tip)
            case NeedMerge() | Wait():
                raise AssertionError(command)
            case _:
                await self.reverts.perform(command, claim, state, mirror)

    async def _resolve(self, claim: Claim, state: GateState, command: Land, merges: Merges) -> None:
        """Say which way of merging counts, where there was more than one."""
        if events := candidates.resolved(state, command, merges):
            await self._journal.append(claim, *events)
            probes.hit("gate.resolved")


def _withdrawn(last: Record | None) -> TypeGuard[Record]:
    """Whether the attempt's newest record says that its change was withdrawn."""
    return last is not None and isinstance(last.event, e.NodeFinished) and last.event.outcome is Outcome.CANCELLED


async def _unless_overtaken(work: Awaitable[None]) -> None:
    """Do it; where another worker took a stream over meanwhile, look again a moment later. Raises Later."""
    try:
        await work
    except StaleClaim as error:
        raise Later(_OVERTAKEN_PAUSE, str(error)) from error
