"""The check node: the change's structure, what its files tell, then the task's verify commands on a fresh checkout.

Rules
- Structure first: a change that may not go on is not worth a run of its tests. Then what can be found by reading it.
- The checkout holds the change and nothing else: what the agent left lying in its workspace cannot help.
- A verify command that fails is run once more on a fresh checkout, unless it was stopped by a limit. If all pass then,
  the check is flaky: that is recorded and reported, and the author is not blamed.
- New tests have to fail without the change, and edited ones must not be bent to fit: that is tried last, and only where
  everything else holds. A test that hangs without the change has failed; how long it may take is told by how long the
  checks took with it.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.validation import builds, inspection, proof
from quarterdeck.delivery.validation import judges as gatefiles
from quarterdeck.delivery.validation.checks import deadly, headline, outlived, passed, run_checks, summary
from quarterdeck.delivery.validation.findings import (
    REMARKS,
    Remark,
    Rule,
    Survey,
    blocking,
    levelled,
    listed,
    pins,
    remarks,
    tried_out,
)
from quarterdeck.delivery.validation.validate import SYMLINK, encoding_problems, structure_problems
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.config import ChecksSection
from quarterdeck.kernel.entities import Change, CheckResult, Feedback, Task
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import BadConfiguration, FailureClass, SandboxDied
from quarterdeck.workplace.history import FileChange
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import Sandbox

RESULTS = TypeAdapter(tuple[CheckResult, ...])

LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""How the file begins that stands for one that Git LFS keeps (its specification, version 1)."""

ATTRIBUTES_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a `.gitattributes` that are looked at: more than a change may hold."""

BUILD_BYTES: Final = 256 * 1024
"""Of a `package.json` and its like that is longer it cannot be told whether it does the same."""

AGAIN_SECONDS: Final = 300.0
"""A check that took longer than this is not run again to find out whether it is flaky."""


PATIENCE: Final = 60.0
"""Seconds that any command may take without the change."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out of one checkout."""

    survey: Survey
    found: tuple[Remark, ...]
    results: tuple[CheckResult, ...] = ()


def change_of(duty: Duty) -> Change:
    """The change that the attempt handed in."""
    change = duty.state.nodes[Node.IMPLEMENT].change
    assert change is not None, "an attempt that implemented without a change does not get here"
    return change


class Check:
    """Performs the check node."""

    def __init__(self, journal: Journal, workshop: Workshop) -> None:
        self._journal = journal
        self._workshop = workshop

    async def __call__(self, duty: Duty) -> Result:
        assert duty.task is not None
        change = change_of(duty)
        config = duty.briefing.config
        mirror = await self._workshop.mirror(duty.briefing.created.repository)
        # What is recorded is recorded: the workspace is not needed any more.
        if duty.state.started is not None:
            await self._workshop.leave(config, duty.state.started.workspace, discard=True)
        await mirror.fetch(change.base)
        if not await mirror.pinned(change.commit):
            reason = "the change was lost with the mirror that held it; it is made again"
            return Result(Outcome.FAILED, reason=reason, failure=FailureClass.INFRASTRUCTURE)
        changes = await mirror.changes(change.base, change.commit)
        existing = frozenset(await mirror.files(change.base))
        problems = await self._structure(duty, duty.task, change, changes, mirror, existing)
        if problems:
            reason = f"the change is not acceptable: {problems[0]}"
            pieces = Feedback(source="structure", reason=reason[:2000], detail="\n".join(problems)[:24_000])
            return Result(Outcome.FAILED, reason=reason, failure=FailureClass.HANDOFF, feedback=(pieces,))
        gate = config.deck.checks.gate
        seen = tried_out(duty.task, changes, gatefiles.may_judge(gate, existing))
        seen += proof.unwatched((*gate, *duty.task.verify), duty.task, changes)
        examination = Examination(
            duty,
            duty.task,
            change,
            changes,
            mirror,
            self._journal,
            self._workshop,
            levelled(seen, config.deck.validation),
        )
        try:
            return await examination.result()
        except BadConfiguration as error:
            piece = Feedback(source="verify", reason=str(error)[:2000], detail=error.fix)
            return Result(Outcome.FAILED, reason=str(error), failure=FailureClass.TOOL, feedback=(piece,))

    async def _structure(
        self,
        duty: Duty,
        task: Task,
        change: Change,
        changes: Sequence[FileChange],
        mirror: Mirror,
        existing: frozenset[str],
    ) -> tuple[str, ...]:
        links = {
            item.path: (await mirror.show(change.commit, item.path, 4096) or b"").decode("utf-8", "replace")
            for item in changes
            if item.new_mode == SYMLINK
        }
        deck = duty.briefing.config.deck
        judges = gatefiles.deciding(deck, existing) - await _same_builds(mirror, change, changes)
        started = duty.state.started
        author = duty.briefing.config.agents.get(started.agent) if started is not None else None
        problems = structure_problems(task, changes, existing, links, deck.limits, judges, author)
        problems += encoding_problems(task, await _attributes(mirror, change, changes))
        return problems or await _of_lfs(mirror, change, changes, existing)


async def _attributes(mirror: Mirror, change: Change, changes: Sequence[FileChange]) -> dict[str, tuple[str, str]]:
    """What changed files of git's attributes said, and say now."""
    found = {}
    for item in changes:
        if item.path.rpartition("/")[2] == ".gitattributes" and item.new_mode.startswith("100"):
            old = await mirror.show(change.base, item.old_path or item.path, ATTRIBUTES_LIMIT) or b""
            new = await mirror.show(change.commit, item.path, ATTRIBUTES_LIMIT) or b""
            found[item.path] = (old.decode("utf-8", "replace"), new.decode("utf-8", "replace"))
    return found


async def _same_builds(mirror: Mirror, change: Change, changes: Sequence[FileChange]) -> set[str]:
    """The packages and builds among these changes that do what they did before."""
    found = set()
    for item in changes:
        if item.path.rpartition("/")[2] in builds.KNOWN and item.status == "M":
            before, after = [await _whole(mirror, at, item.path) for at in (change.base, change.commit)]
            if builds.same_build(item.path, before, after):
                found.add(item.path)
    return found


async def _whole(mirror: Mirror, commit: str, path: str) -> bytes | None:
    """What a file holds; None where there is none, and where it is longer than what is read."""
    found = await mirror.show(commit, path, BUILD_BYTES + 1)
    return None if found is None or len(found) > BUILD_BYTES else found


async def _is_pointer(mirror: Mirror, commit: str, path: str) -> bool:
    return await mirror.show(commit, path, len(LFS_POINTER)) == LFS_POINTER


async def _of_lfs(
    mirror: Mirror, change: Change, changes: Sequence[FileChange], existing: frozenset[str]
) -> tuple[str, ...]:
    """No filter runs where an agent works: what Git LFS should keep elsewhere would land in the repository itself."""
    if not any(path.rpartition("/")[2] == ".gitattributes" for path in existing):
        return ()
    written = [item.path for item in changes if item.new_mode.startswith("100")]
    kept = await mirror.attributed(change.commit, "filter", "lfs", written)
    found = [path for path in kept if not await _is_pointer(mirror, change.commit, path)]
    if not found:
        return ()
    return (f"Git LFS keeps these files, and agents cannot store anything there: {', '.join(found[:20])}",)


@dataclass(frozen=True, slots=True)
class Examination:
    """One change, looked at in sandboxes."""

    duty: Duty
    task: Task
    change: Change
    changes: Sequence[FileChange]
    mirror: Mirror
    journal: Journal
    workshop: Workshop
    seen: tuple[Remark, ...] = ()
    """What was found before anything was run."""

    async def result(self) -> Result:
        """How the check ends. Raises BadConfiguration where the environment cannot be built."""
        levels = self.duty.briefing.config.deck.validation
        look = inspection.worth_a_look(self.changes, levels)
        if not look and not self.task.verify:
            return Result(Outcome.OK, findings_blob=await self._named(self.seen) if self.seen else None)
        began = time.monotonic()
        checked = await self._checked("check", look)
        flake: tuple[Remark, ...] = ()
        if _may_be_flaky(checked.results):
            again = await self._checked("again", False)
            if passed(again.results):
                flake = (await self._flaky(headline(checked.results)),)
                checked = Checked(checked.survey, checked.found, again.results)
        probes.hit("attempt.checked")
        blob = await self._recorded(checked.results, time.monotonic() - began) if checked.results else None
        found = (*checked.found, *self.seen, *flake)
        if passed(checked.results) and not blocking(found):
            found += await self._tried(checked.survey, _patience(checked.results))
        named = await self._named(found) if found else None
        if not passed(checked.results):
            return self._failed(checked.results, blob, named)
        if blocking(found):
            return self._sent_back(found, blob, named)
        return Result(Outcome.OK, result_blob=blob, findings_blob=named)

    async def _checked(self, name: str, look: bool) -> Checked:
        """The survey, and the verify commands unless it speaks against the change, in a fresh checkout."""
        config = self.duty.briefing.config

        async def once() -> Checked:
            async with self._place(name, self.change.commit) as sandbox:
                told = await inspection.survey(sandbox, self.change, self.changes) if look else Survey()
                found = remarks(told, self.task, config.deck.validation)
                if blocking(found):
                    return Checked(told, found)
                return Checked(
                    told, found, await run_checks(sandbox, self.task.verify, timeout=config.deck.checks.timeout)
                )

        try:
            return await outlived(once)
        except SandboxDied as death:
            return Checked(Survey(), (), deadly(death))

    async def _announce(self, commands: tuple[str, ...]) -> None:
        await self.journal.append(self.duty.claim, e.EnvironmentBuilding.of(commands))

    async def _tried(self, told: Survey, patience: float) -> tuple[Remark, ...]:
        """Whether the new tests fail without the rest of the change. `patience`: seconds that a command may take."""
        config = self.duty.briefing.config
        levels = config.deck.validation
        trials = inspection.wanted_trials(self.task, told, levels)
        rest = proof.rest([path for item in self.changes for path in (item.path, item.old_path) if path])
        meant = pins(self.task, rest)
        idle = () if meant else inspection.idle_tests(self.task, told, levels)
        idle += proof.unrun(self.task.verify, told.tests)
        if meant:
            trials = ()
        alone = bool(trials) and not rest
        counting = [test for test in told.tests if test.counts]
        empty = (proof.vacuous(counting, sure=any(trial.exact for trial in trials)),) if alone else ()
        edited = inspection.wanted_fits(self.task, told, levels)
        if not edited and (alone or not trials):
            return levelled((*empty, *idle), levels)

        checks = config.deck.checks
        checks = checks.model_copy(update={"timeout": min(checks.timeout, patience)})

        async def once() -> tuple[tuple[Remark, ...], inspection.Suspects | None]:
            async with self._place("proof", self.change.commit) as sandbox:
                found = empty or await inspection.tried(sandbox, self.change, self.changes, trials, checks)
                return found, await inspection.fitted(sandbox, self.change, self.changes, edited, checks)

        try:
            found, suspects = await outlived(once)
        except SandboxDied:  # without the change its tests bring a sandbox down: they do not pass
            return levelled((*empty, *idle), levels)
        untried = (inspection.UNTRIED,) if suspects is None else ()
        bent = await self._bent(suspects, checks) if suspects else ()
        return levelled(tuple(dict.fromkeys((*bent, *untried, *found, *idle))), levels)

    async def _bent(self, suspects: inspection.Suspects, checks: ChecksSection) -> tuple[Remark, ...]:
        """What is to be said of tests that seem to be bent, after another look in fresh checkouts of the base."""

        async def failing() -> inspection.Suspects:
            async with self._place("base", self.change.base) as sandbox:
                return await inspection.failing(sandbox, suspects, checks)

        async def passing() -> inspection.Suspects:
            async with self._place("fit", self.change.base) as sandbox:
                return await inspection.passing_with_tests(sandbox, self.change, self.changes, again, checks)

        try:
            again = await outlived(failing)
            again = await outlived(passing) if again else ()
        except (SandboxDied, BadConfiguration):
            again = ()
        return (proof.bent([test for _, tests in again or suspects for test in tests], sure=bool(again)),)

    def _place(self, name: str, commit: str) -> AbstractAsyncContextManager[Sandbox]:
        """A fresh checkout of a commit."""
        config = self.duty.briefing.config
        return self.workshop.checking(config, self.mirror, f"{self.duty.attempt}-{name}", commit, self._announce)

    async def _flaky(self, said: str) -> Remark:
        reason = f"{said}: it failed and then passed on the same tree"
        event = e.FlakeSeen(tree=self.change.tree, check=self.duty.attempt, reason=said[:2000])
        await self.journal.append(self.duty.claim, event)
        return Remark(rule=Rule.FLAKY_CHECK, problem=reason)

    async def _recorded(self, results: tuple[CheckResult, ...], seconds: float) -> str:
        blob = await self.journal.put(RESULTS.dump_json(results))
        event = e.CheckRan(results_blob=blob, passed=passed(results), seconds=round(seconds, 3))
        await self.journal.append(self.duty.claim, event)
        return blob

    async def _named(self, found: tuple[Remark, ...]) -> str:
        blob = await self.journal.put(REMARKS.dump_json(found))
        grave = len(blocking(found))
        first = str((blocking(found) or found)[0])[:1000]
        event = e.ChangeInspected(findings_blob=blob, blocking=grave, warnings=len(found) - grave, first=first)
        await self.journal.append(self.duty.claim, event)
        return blob

    def _failed(self, results: tuple[CheckResult, ...], blob: str | None, named: str | None) -> Result:
        reason = headline(results)
        piece = Feedback(source="verify", reason=reason[:2000], detail=summary(results, 20_000))
        return Result(
            Outcome.FAILED,
            reason=reason,
            failure=FailureClass.TOOL,
            feedback=(piece,),
            result_blob=blob,
            findings_blob=named,
            change=self.change,
        )

    def _sent_back(self, found: tuple[Remark, ...], blob: str | None, named: str | None) -> Result:
        reason = f"the change is not acceptable: {blocking(found)[0]}"
        piece = Feedback(source="structure", reason=reason[:2000], detail=listed(found)[:24_000])
        return Result(
            Outcome.FAILED,
            reason=reason,
            failure=FailureClass.HANDOFF,
            feedback=(piece,),
            result_blob=blob,
            findings_blob=named,
            change=self.change,
        )


def _patience(results: Sequence[CheckResult]) -> float:
    """Seconds after which a command hangs that passed within these results."""
    return PATIENCE + 5 * max((result.seconds for result in results), default=0.0)


def _may_be_flaky(results: Sequence[CheckResult]) -> bool:
    """Whether it is worth finding out: it failed by itself, and not after a long time."""
    failing = [result for result in results if not result.passed]
    own = all(result.exit_code is not None and not result.reason for result in failing)
    return bool(failing) and own and sum(result.seconds for result in results) <= AGAIN_SECONDS
