"""The merge gate at work: performs what `queue.decide` says, in git, in sandboxes and in the journal.

Rules
- The holder of the gate stream's claim is the only one that writes it, merges for it and moves its target.
- A check writes its result to a stream of its own (`check/…`), from which the gate takes it over: so checks run beside
  the gate and need none of its claim.
- Everything here may be done again after a crash: merged commits come out the same, an intent is settled by looking at
  the branch, a finished check is not run again, a note that stands is left alone.
- A landing, the news of it for the run, and the job that tells the run are stored together.
- What concerns the machine (git, the database, a sandbox) is tried again later and blames nobody.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import TypeAdapter

from quarterdeck.delivery import feedback, jobs, merging
from quarterdeck.delivery.checks import bounded, headline, passed, run_checks, summary
from quarterdeck.delivery.queue import (
    Clash,
    Command,
    DropCheck,
    GateState,
    Land,
    Merged,
    NeedMerge,
    Queued,
    RecordLanded,
    RecordMove,
    Return,
    StartCheck,
    View,
    Wait,
    checks_key,
    decide,
    fold,
)
from quarterdeck.engine.port import Engine, Job, Later
from quarterdeck.journal.port import Also, Claim, Entry, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import CheckResult, Feedback
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import (
    BadConfiguration,
    BadRepository,
    Conflicting,
    GitFailed,
    QuarterdeckError,
    SandboxFailed,
    StoreUnavailable,
)
from quarterdeck.store.port import Tx
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import Sandbox

MACHINE_PAUSE: Final = 5.0
"""Seconds before the gate goes on after git or the database failed."""

MACHINE: Final = (GitFailed, SandboxFailed, StoreUnavailable, OSError)
"""What is the machine's fault."""

_RESULTS: Final = TypeAdapter(tuple[CheckResult, ...])


class Workshop(Protocol):
    """Where merged trees are checked."""

    async def mirror(self, repository: str) -> Mirror:
        """The mirror of the user's repository. Raises BadRepository, GitFailed."""
        ...

    def checking(
        self, run_config: RunConfig, mirror: Mirror, sandbox_id: str, commit: str
    ) -> AbstractAsyncContextManager[Sandbox]:
        """A sandbox with the commit's files and their environment, discarded afterwards.

        Raises SandboxFailed (nobody is blamed) and BadConfiguration (the environment of this tree cannot be built:
        the tree counts as failed).
        """
        ...


def check_stream(check: str) -> str:
    return f"check/{check}"


class Gate:
    """Handlers of the gate's jobs."""

    def __init__(self, journal: Journal, engine: Engine, workshop: Workshop, clock: Clock) -> None:
        self._journal = journal
        self._engine = engine
        self._workshop = workshop
        self._clock = clock
        self._states: dict[str, GateState] = {}
        self._merges: dict[str, dict[tuple[str, str], Merged | Clash]] = {}
        self._configs: dict[str, RunConfig] = {}

    # --- handlers -----------------------------------------------------------------------------------------

    async def submit(self, job: Job) -> None:
        """Handler of `gate.submit`: put a change into the queue."""
        target = str(job.payload["target"])
        event = e.decode(await self._journal.get(str(job.payload["queued_blob"])))
        assert isinstance(event, e.ChangeQueued)
        claim = await self._journal.claim(ids.gate_stream(target))
        state = await self.state(target)
        attempt = event.change.attempt
        if attempt in state.landed:
            await self._tell(Outcome.OK, event.change.run, event.change.task, attempt, commit=state.landed[attempt])
            return
        events: list[e.EventBase] = []
        if not state.branch or (not state.queue and state.base != event.base):
            events.append(e.GateOpened(repository=event.repository, branch=event.branch, base=event.base))
        if state.find(attempt) is None:
            key = checks_key(await self._config(event.config_blob))
            events.append(event.model_copy(update={"checks": key}))
        await self._journal.append(claim, *events, also=self._deferring(jobs.gate_advance(target)))
        probes.hit("gate.queued")

    async def advance(self, job: Job) -> None:
        """Handler of `gate.advance`: decide and perform until only waiting is left."""
        target = str(job.payload["target"])
        await self._advance(target, await self._journal.claim(ids.gate_stream(target)))

    async def withdraw(self, job: Job) -> None:
        """Handler of `gate.withdraw`: a cancelled run leaves the queue, save for what is landing."""
        target, run = str(job.payload["target"]), str(job.payload["run"])
        claim = await self._journal.claim(ids.gate_stream(target))
        state = await self.state(target)
        for queued in state.queue:
            landing = state.intent is not None and state.intent.attempt == queued.attempt
            if queued.change.run == run and not landing:
                await self._record_return(claim, queued, Return(queued.attempt, Outcome.CANCELLED, "cancelled"))
        await self._advance(target, claim)

    async def check(self, job: Job) -> None:
        """Handler of `gate.check`: check one merged tree."""
        target, check = str(job.payload["target"]), str(job.payload["check"])
        claim = await self._journal.claim(check_stream(check))
        state = await self.state(target)
        started = state.running.get(check)
        if started is None or await self._journal.last(check_stream(check)) is not None:
            return
        try:
            finished = await self._run(target, state, started, f"{check}-{claim.epoch}")
        except MACHINE as error:
            raise Later(MACHINE_PAUSE, f"{type(error).__name__}: {error}") from error
        if finished is None:
            return
        probes.hit("gate.checked")
        await self._journal.append(claim, finished, also=self._deferring(jobs.gate_advance(target)))

    async def state(self, target: str) -> GateState:
        """Where the gate stands."""
        state = self._states.get(target) or GateState()
        while records := await self._journal.read(ids.gate_stream(target), after=state.seq):
            state = fold(records, state)
        self._states[target] = state
        return state

    # --- checking -----------------------------------------------------------------------------------------

    async def _run(
        self, target: str, state: GateState, started: e.GateCheckStarted, sandbox_id: str
    ) -> e.GateCheckFinished | None:
        """Run the check; None = meanwhile nobody wanted its result any more."""
        commit = started.commits[-1] if started.commits else started.tip
        broken = ""
        results: tuple[CheckResult, ...] | None = ()
        try:
            config = await self._config(started.config_blob)
            mirror = await self._workshop.mirror(state.repository)
            async with self._workshop.checking(config, mirror, sandbox_id, commit) as sandbox:
                results = await self._unless_dropped(target, state.seq, started.check, _all(sandbox, config))
        except BadConfiguration as error:
            results = (_environment_failed(error),)
        except (*MACHINE, QuarterdeckError) as error:
            broken = f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 - recorded, and tried again; the gate must not wait for it for ever
            broken = f"bug: {type(error).__name__}: {error}"
        if results is None:
            return None
        return e.GateCheckFinished(
            check=started.check,
            tree=started.tree,
            passed=passed(results) and not broken,
            infrastructure=bool(broken),
            reason=merging.readable(bounded(broken or headline(results), 1000)),
            results_blob=await self._journal.put(_RESULTS.dump_json(results)),
        )

    async def _unless_dropped(
        self, target: str, seq: int, check: str, commands: Coroutine[Any, Any, tuple[CheckResult, ...]]
    ) -> tuple[CheckResult, ...] | None:
        """Run the commands, but no longer than somebody wants to know."""
        work = asyncio.ensure_future(commands)
        dropped = asyncio.ensure_future(self._dropped(target, seq, check))
        try:
            await asyncio.wait({work, dropped}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            dropped.result()
            return None
        finally:
            for task in (work, dropped):
                task.cancel()
            await asyncio.gather(work, dropped, return_exceptions=True)

    async def _dropped(self, target: str, seq: int, check: str) -> None:
        # Through the journal and not within this process, because the gate may be at work in another one.
        async for record in self._journal.follow(ids.gate_stream(target), after=seq):
            if isinstance(record.event, e.GateCheckFinished) and record.event.check == check:
                return

    # --- advancing ----------------------------------------------------------------------------------------

    async def _advance(self, target: str, claim: Claim) -> None:
        try:
            await self._until_at_rest(target, claim)
        except MACHINE as error:
            # Merges are forgotten with everything else, so that the next try picks up like a new process.
            self._merges.pop(target, None)
            raise Later(MACHINE_PAUSE, f"{type(error).__name__}: {error}") from error

    async def _until_at_rest(self, target: str, claim: Claim) -> None:
        first = target not in self._merges
        merges = self._merges.setdefault(target, {})
        while True:
            state = await self._take_over(target, claim)
            if not state.branch:
                return
            try:
                mirror = await self._workshop.mirror(state.repository)
            except BadRepository as error:
                await self._hold_all(claim, state, str(error))
                return
            if first:
                await self._pick_up(target, state, mirror)
                first = False
            self._forget(state, merges)
            commands = await self._decide(state, mirror, merges)
            pauses = [command.delay for command in commands if isinstance(command, Wait)]
            if len(pauses) == len(commands):
                if pauses:
                    await self._wake_later(target, min(pauses))
                return
            for command in commands:
                await self._perform(command, target, claim, state, mirror, merges)

    async def _decide(
        self, state: GateState, mirror: Mirror, merges: dict[tuple[str, str], Merged | Clash]
    ) -> Sequence[Command]:
        """What is to be done now; merges, which only this process needs to know of, are made on the way."""
        view = await self._look(state, mirror, merges)
        while True:
            commands = decide(state, view)
            needed = [command for command in commands if isinstance(command, NeedMerge)]
            if not needed:
                return commands
            for need in needed:
                queued = state.find(need.attempt)
                assert queued is not None
                merges[need.onto, need.attempt] = await merging.merge(mirror, queued, need.onto)

    async def _look(self, state: GateState, mirror: Mirror, merges: dict[tuple[str, str], Merged | Clash]) -> View:
        found = await mirror.tip(state.branch)
        tip = found or state.base
        moved = tip != state.tip
        if moved or tip == state.base:
            await mirror.fetch(tip)
        intent = state.intent
        landed = intent is not None and found is not None and await mirror.ancestor(intent.new, found)
        return View(
            now=self._clock.wall(),
            tip=tip,
            tree=await mirror.tree(tip),
            exists=found is not None,
            slots=max([(await self._config(q.config_blob)).deck.checks.parallel for q in state.queue], default=1),
            merges=merges,
            intent_landed=landed,
            arrived=await merging.arrival(mirror, state, tip) if moved and found is not None else None,
        )

    async def _take_over(self, target: str, claim: Claim) -> GateState:
        """The state, with the results of checks that have ended meanwhile."""
        state = await self.state(target)
        events: list[e.EventBase] = []
        for check, started in state.running.items():
            last = await self._journal.last(check_stream(check))
            if last is None or not isinstance(last.event, e.GateCheckFinished):
                continue
            events.append(last.event)
            if last.event.passed and (started.tree, started.checks) in state.failing:
                events.append(e.FlakeSeen(tree=started.tree, check=check))
        if events:
            await self._journal.append(claim, *events)
        return await self.state(target) if events else state

    async def _pick_up(self, target: str, state: GateState, mirror: Mirror) -> None:
        """What an earlier process may have left undone: the last note, checks whose job got lost."""
        waiting = [jobs.gate_check(target, check) for check in state.running]
        if waiting:
            await self._journal.commit(also=self._deferring(*waiting))
        if state.last_landed is not None:
            queued, commit = state.last_landed
            await mirror.note(commit, merging.note(queued))

    def _forget(self, state: GateState, merges: dict[tuple[str, str], Merged | Clash]) -> None:
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
        merges: dict[tuple[str, str], Merged | Clash],
    ) -> None:
        match command:
            case StartCheck():
                await self._start(target, claim, command)
            case DropCheck(check):
                tree = state.running[check].tree
                dropped = e.GateCheckFinished(check=check, tree=tree, passed=False, cancelled=True)
                await self._journal.append(claim, dropped)
            case Land():
                await self._land(claim, state, mirror, command)
            case RecordLanded(attempt, old, new):
                await self._record_landed(claim, state, mirror, attempt, old, new)
            case RecordMove(old, new):
                await self._journal.append(claim, e.TipMoved(old=old, new=new))
            case Return(attempt):
                queued = state.find(attempt)
                assert queued is not None
                clash = merges.get((state.tip, attempt))
                piece, against = await self._explain(state, mirror, queued, command, clash)
                await self._record_return(claim, queued, command, piece, against, state.tip)
            case NeedMerge() | Wait():
                raise AssertionError(command)

    async def _start(self, target: str, claim: Claim, command: StartCheck) -> None:
        state = await self.state(target)
        check = f"{target}.{state.checks + 1}"
        started = e.GateCheckStarted(
            check=check,
            tip=command.tip,
            stack=command.stack,
            commits=command.commits,
            tree=command.tree,
            number=command.number,
            config_blob=command.config_blob,
            checks=command.checks,
        )
        await self._journal.append(claim, started, also=self._deferring(jobs.gate_check(target, check)))

    async def _land(self, claim: Claim, state: GateState, mirror: Mirror, command: Land) -> None:
        queued = state.find(command.attempt)
        assert queued is not None
        intent = e.LandingIntended(attempt=command.attempt, old=command.old or "", new=command.new, tree=command.tree)
        await self._journal.append(claim, intent)
        probes.hit("gate.intended")
        checkout = Path(queued.checkout) if queued.checkout else None
        try:
            await mirror.land(state.branch, command.old, command.new, into_checkout=checkout)
        except (Conflicting, BadRepository) as error:
            if await mirror.tip(state.branch) == command.old:
                reason = f"the target cannot be moved: {error}" + (f" ({error.fix})" if error.fix else "")
                await self._record_return(claim, queued, Return(command.attempt, Outcome.HELD, reason[:2000]))
            # Else somebody was quicker: the next look at the branch shows it.
            return
        probes.hit("gate.moved")
        await self._record_landed(claim, state, mirror, command.attempt, command.old or "", command.new)

    async def _record_landed(
        self, claim: Claim, state: GateState, mirror: Mirror, attempt: str, old: str, new: str
    ) -> None:
        queued = state.find(attempt)
        assert queued is not None
        change = queued.change
        landed = e.ChangeLanded(attempt=attempt, old=old, new=new)
        await self._tell(Outcome.OK, change.run, change.task, attempt, Entry(claim, (landed,)), commit=new, base=old)
        probes.hit("gate.landed")
        await mirror.note(new, merging.note(queued))

    async def _explain(
        self, state: GateState, mirror: Mirror, queued: Queued, command: Return, clash: Merged | Clash | None
    ) -> tuple[Feedback | None, tuple[str, ...]]:
        """What the author of a returned change has to know, and the attempts that it conflicts with."""
        reason = merging.readable(command.reason)[:2000]
        if command.outcome is Outcome.FAILED and command.results_blob is not None:
            results = _RESULTS.validate_json(await self._journal.get(command.results_blob))
            return Feedback(source="gate", reason=reason, detail=summary(results)), ()
        if command.outcome is Outcome.CONFLICT and isinstance(clash, Clash):
            detail, commits = await merging.other_side(mirror, queued, state.tip, clash)
            against = tuple(attempt for attempt, commit in state.landed.items() if commit in commits)
            return Feedback(source="conflict", reason=reason, detail=detail), against
        return None, ()

    async def _record_return(
        self,
        claim: Claim,
        queued: Queued,
        command: Return,
        piece: Feedback | None = None,
        against: tuple[str, ...] = (),
        base: str | None = None,
    ) -> None:
        change = queued.change
        reason = merging.readable(command.reason)[:2000]
        returned = e.ChangeReturned(attempt=command.attempt, outcome=command.outcome, reason=reason, against=against)
        await self._tell(
            command.outcome,
            change.run,
            change.task,
            change.attempt,
            Entry(claim, (returned,)),
            reason=reason,
            base=base,
            feedback_blob=await feedback.save(self._journal, (), (piece,)) if piece else None,
        )

    async def _hold_all(self, claim: Claim, state: GateState, reason: str) -> None:
        for queued in state.queue:
            await self._record_return(claim, queued, Return(queued.attempt, Outcome.HELD, reason))

    # --- storing ------------------------------------------------------------------------------------------

    async def _tell(
        self,
        outcome: Outcome,
        run: str,
        task: str,
        attempt: str,
        *entries: Entry,
        reason: str = "",
        commit: str | None = None,
        base: str | None = None,
        feedback_blob: str | None = None,
    ) -> None:
        """Store `entries` together with the news for the run."""
        news = e.NodeFinished(
            node=Node.GATE,
            outcome=outcome,
            task=task,
            attempt=attempt,
            reason=reason,
            commit=commit,
            base=base,
            feedback_blob=feedback_blob,
        )
        claim = await self._journal.claim(ids.attempt_stream(attempt))
        also = self._deferring(jobs.advance(run))
        await self._journal.commit(*entries, Entry(claim, (news,)), also=also)

    async def _wake_later(self, target: str, delay: float) -> None:
        # Under a key of its own, so that it does not stand in the way of an earlier one.
        job = replace(jobs.gate_advance(target, delay), key=f"gate/{target}/later")
        await self._journal.commit(also=self._deferring(job))

    def _deferring(self, *work: Job) -> Also:
        def also(tx: Tx) -> None:
            for job in work:
                self._engine.defer(tx, job)

        return also

    async def _config(self, blob: str) -> RunConfig:
        if blob not in self._configs:
            if len(self._configs) >= 100:
                self._configs.clear()
            self._configs[blob] = RunConfig.model_validate_json(await self._journal.get(blob))
        return self._configs[blob]


async def _all(sandbox: Sandbox, config: RunConfig) -> tuple[CheckResult, ...]:
    checks = config.deck.checks
    return await run_checks(sandbox, checks.gate, timeout=checks.timeout)


def _environment_failed(error: BadConfiguration) -> CheckResult:
    return CheckResult(
        command="(building the environment)",
        exit_code=None,
        seconds=0.0,
        output=bounded(error.why, 12_000),
        reason=bounded(error.message, 500),
    )
