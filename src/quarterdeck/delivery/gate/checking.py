"""Checks of merged trees, beside the gate.

Rules
- A check writes its result to a stream of its own (`check/…`), from which the gate takes it over: so checks run beside
  the gate and need none of its claim.
- That the environment of a merged tree has to be built is said there too: it can take minutes.
- A finished check is not run again. One that nobody wants any more is stopped.
- What the machine could not do is no verdict: the gate tries again and blames nobody. An environment that cannot be
  built from the tree is the tree's fault, and so is a check that kills every sandbox it is given.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from pydantic import TypeAdapter

from quarterdeck.delivery import jobs
from quarterdeck.delivery.gate import merging
from quarterdeck.delivery.gate.ledger import GateState
from quarterdeck.delivery.gate.orders import StartCheck
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.delivery.keeping import keep
from quarterdeck.delivery.routing import checked_on
from quarterdeck.delivery.validation.checks import bounded, deadly, headline, outlived, passed, run_checks
from quarterdeck.engine.port import Engine, Job, Later
from quarterdeck.journal.port import Also, Claim, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import CheckResult
from quarterdeck.kernel.failures import (
    BadConfiguration,
    GitFailed,
    QuarterdeckError,
    SandboxDied,
    SandboxFailed,
    StoreUnavailable,
)
from quarterdeck.store.port import Tx
from quarterdeck.workplace.environment import Announce
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import Sandbox

MACHINE_PAUSE: Final = 5.0
"""Seconds before work goes on after git or the database failed."""

MACHINE: Final = (GitFailed, SandboxFailed, StoreUnavailable, OSError)
"""What is the machine's fault."""

RESULTS: Final = TypeAdapter(tuple[CheckResult, ...])
COMMANDS: Final = TypeAdapter(tuple[str, ...])


class Workshop(Protocol):
    """Where merged trees are checked."""

    async def mirror(self, repository: str) -> Mirror:
        """The mirror of the user's repository. Raises BadRepository, GitFailed."""
        ...

    def checking(
        self, run_config: RunConfig, mirror: Mirror, sandbox_id: str, commit: str, announce: Announce | None = None
    ) -> AbstractAsyncContextManager[Sandbox]:
        """A sandbox with the commit's files and their environment, discarded afterwards.

        `announce` is told the commands before an environment is built.
        Raises SandboxFailed (nobody is blamed) and BadConfiguration (the environment of this tree cannot be built:
        the tree counts as failed).
        """
        ...


def check_stream(check: str) -> str:
    return f"check/{check}"


def started_by(
    command: StartCheck, check: str, verify_blob: str | None, runs_on: tuple[str, ...]
) -> e.GateCheckStarted:
    """The event that a check begins. `verify_blob`: its verify commands, stored. `runs_on`: the labels it needs."""
    return e.GateCheckStarted(
        check=check,
        tip=command.tip,
        stack=command.stack,
        commits=command.commits,
        tree=command.tree,
        number=command.number,
        config_blob=command.config_blob,
        checks=command.checks,
        verify_blob=verify_blob,
        gate_checks=command.gate,
        under=command.under,
        runs_on=runs_on,
        why=command.why,
    )


class Book:
    """What the gate and its checks read: the gates' states and the runs' configurations."""

    def __init__(self, journal: Journal, engine: Engine) -> None:
        self._journal = journal
        self._engine = engine
        self._states: dict[str, GateState] = {}
        self._configs: dict[str, RunConfig] = {}
        self._commands: dict[str, tuple[str, ...]] = {}
        self._cancelled: dict[str, tuple[int, bool]] = {}
        """Run to the last record looked at and what was known by then."""

    async def state(self, target: str) -> GateState:
        """Where the gate stands."""
        state = self._states.get(target) or GateState()
        while records := await self._journal.read(ids.gate_stream(target), after=state.seq):
            state = fold(records, state)
        self._states[target] = state
        return state

    async def cancelled(self, run: str) -> bool:
        """Whether the run is cancelled, and nothing made it go on since."""
        seq, found = self._cancelled.get(run, (0, False))
        while records := await self._journal.read(ids.run_stream(run), after=seq):
            for record in records:
                if isinstance(record.event, e.RunCancelled | e.RunResumed | e.TaskRetried):
                    found = isinstance(record.event, e.RunCancelled)
            seq = records[-1].seq
        if len(self._cancelled) >= 100:
            self._cancelled.clear()
        self._cancelled[run] = seq, found
        return found

    async def ended(self, run: str) -> bool:
        """Whether the run has ended. One that was taken out of the record had."""
        stream = ids.run_stream(run)
        last = await self._journal.last(stream)
        if last is None:
            return (await self._journal.lengths(stream)).get(stream, 0) > 0
        if not isinstance(last.event, e.TaskReverted):
            return isinstance(last.event, e.RunFinished)
        # That may be heard of after the end, which stands somewhere before it then.
        ended, after = False, 0
        while records := await self._journal.read(stream, after=after):
            for record in records:
                if isinstance(record.event, e.RunFinished | e.RunResumed | e.TaskRetried):
                    ended = isinstance(record.event, e.RunFinished)
            after = records[-1].seq
        return ended

    def deferring(self, *work: Job) -> Also:
        """Defers these jobs in the transaction of a commit."""

        def also(tx: Tx) -> None:
            for job in work:
                self._engine.defer(tx, job)

        return also

    async def config(self, blob: str) -> RunConfig:
        """A frozen configuration."""
        if blob not in self._configs:
            if len(self._configs) >= 100:
                self._configs.clear()
            self._configs[blob] = RunConfig.model_validate_json(await self._journal.get(blob))
        return self._configs[blob]

    async def commands(self, blob: str | None) -> tuple[str, ...]:
        """A stored list of commands; none for None."""
        if blob is None:
            return ()
        if blob not in self._commands:
            if len(self._commands) >= 1000:
                self._commands.clear()
            self._commands[blob] = COMMANDS.validate_json(await self._journal.get(blob))
        return self._commands[blob]


class Checker:
    """Handler of `gate.check`."""

    def __init__(self, journal: Journal, book: Book, workshop: Workshop) -> None:
        self._journal = journal
        self._book = book
        self._workshop = workshop

    async def begin(self, target: str, claim: Claim, command: StartCheck, mirror: Mirror) -> None:
        """Have a merged tree checked; `claim`: of the gate. Raises GitFailed, StoreUnavailable, StaleClaim."""
        state = await self._book.state(target)
        check = f"{target}.{state.checks + 1}"
        blob = await self._journal.put(json.dumps(command.verify).encode()) if command.verify else None
        verifying = [queued.runs_on for queued in state.queue if queued.attempt in command.stack and command.verify]
        runs_on = checked_on(await self._book.config(command.config_blob), verifying)
        started = started_by(command, check, blob, runs_on)
        kept: tuple[e.EventBase, ...] = ()
        if mirror.depot is not None and command.commits:
            # Another worker may check it, or land it.
            kept = (await keep(self._journal, await mirror.packed(command.commits[-1], (command.tip,))),)
        also = self._book.deferring(jobs.gate_check(target, check, runs_on))
        await self._journal.append(claim, *kept, started, also=also)

    async def check(self, job: Job) -> None:
        """Handler of `gate.check`: check one merged tree."""
        target, check = str(job.payload["target"]), str(job.payload["check"])
        claim = await self._journal.claim(check_stream(check))
        state = await self._book.state(target)
        started = state.running.get(check)
        last = await self._journal.last(check_stream(check))
        if started is None or (last is not None and isinstance(last.event, e.GateCheckFinished)):
            return
        try:
            finished = await self._run(target, state, started, claim)
        except MACHINE as error:
            raise Later(MACHINE_PAUSE, f"{type(error).__name__}: {error}") from error
        if finished is None:
            return
        probes.hit("gate.checked")
        also = self._book.deferring(jobs.gate_advance(target, runs_on=state.reach))
        await self._journal.append(claim, finished, also=also)

    async def _run(
        self, target: str, state: GateState, started: e.GateCheckStarted, claim: Claim
    ) -> e.GateCheckFinished | None:
        """Run the check; None = meanwhile nobody wanted its result any more."""

        async def announce(commands: tuple[str, ...]) -> None:
            await self._journal.append(claim, e.EnvironmentBuilding.of(commands))

        async def checked() -> tuple[CheckResult, ...] | None:
            async with self._workshop.checking(config, mirror, sandbox_id, commit, announce) as sandbox:
                return await self._unless_dropped(target, state.seq, started.check, _all(sandbox, config, verify))

        sandbox_id = f"{started.check}-{claim.epoch}"
        commit = started.commits[-1] if started.commits else started.tip
        broken, verify = "", tuple[str, ...]()
        results: tuple[CheckResult, ...] | None = ()
        try:
            config = await self._book.config(started.config_blob)
            verify = await self._book.commands(started.verify_blob)
            mirror = await self._workshop.mirror(state.repository)
            await mirror.need(started.tip, commit)
            results = await outlived(checked)
        except SandboxDied as death:
            results = deadly(death)
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
            verify=bool(verify) and not broken and _beyond_the_gate(results, config.deck.checks.gate),
            reason=merging.readable(bounded(broken or headline(results), 1000)),
            results_blob=await self._journal.put(RESULTS.dump_json(results)),
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


async def _all(sandbox: Sandbox, config: RunConfig, verify: tuple[str, ...]) -> tuple[CheckResult, ...]:
    checks = config.deck.checks
    return await run_checks(sandbox, (*checks.gate, *verify), timeout=checks.timeout)


def _beyond_the_gate(results: Sequence[CheckResult], gate: Sequence[str]) -> bool:
    """Whether what failed came after the checks of the gate, which passed."""
    return not passed(results) and len(results) > len(gate)


def _environment_failed(error: BadConfiguration) -> CheckResult:
    return CheckResult(
        command="(building the environment)",
        exit_code=None,
        seconds=0.0,
        output=bounded(error.why, 12_000),
        reason=bounded(error.message, 500),
    )
