"""The check node: the change's structure, then the task's verify commands on a fresh checkout of it.

Rules
- Structure first: a change that may not go on is not worth a run of its tests.
- The checkout holds the change and nothing else: what the agent left lying in its workspace cannot help.
"""

import time

from pydantic import TypeAdapter

from quarterdeck.delivery.checks import deadly, headline, outlived, passed, run_checks, summary
from quarterdeck.delivery.node import Duty, Result
from quarterdeck.delivery.validate import SYMLINK, structure_problems
from quarterdeck.delivery.workshop import Workshop
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.entities import Change, CheckResult, Feedback, Task
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import BadConfiguration, FailureClass, SandboxDied
from quarterdeck.workplace.mirror import Mirror

RESULTS = TypeAdapter(tuple[CheckResult, ...])


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
            await self._workshop.discard(config, duty.state.started.workspace)
        problems = await self._structure(duty, duty.task, change, mirror)
        if problems:
            reason = f"the change is not acceptable: {problems[0]}"
            pieces = Feedback(source="structure", reason=reason[:2000], detail="\n".join(problems)[:24_000])
            return Result(Outcome.FAILED, reason=reason, failure=FailureClass.HANDOFF, feedback=(pieces,))
        return await self._verify(duty, duty.task, change, mirror)

    async def _structure(self, duty: Duty, task: Task, change: Change, mirror: Mirror) -> tuple[str, ...]:
        changes = await mirror.changes(change.base, change.commit)
        links = {
            item.path: (await mirror.show(change.commit, item.path, 4096) or b"").decode("utf-8", "replace")
            for item in changes
            if item.new_mode == SYMLINK
        }
        existing = frozenset(await mirror.files(change.base))
        return structure_problems(task, changes, existing, links, duty.briefing.config.deck.limits)

    async def _verify(self, duty: Duty, task: Task, change: Change, mirror: Mirror) -> Result:
        if not task.verify:
            return Result(Outcome.OK)
        config = duty.briefing.config
        began = time.monotonic()

        async def announce(commands: tuple[str, ...]) -> None:
            await self._journal.append(duty.claim, e.EnvironmentBuilding.of(commands))

        async def checked() -> tuple[CheckResult, ...]:
            place = self._workshop.checking(config, mirror, f"{duty.attempt}-check", change.commit, announce)
            async with place as sandbox:
                return await run_checks(sandbox, task.verify, timeout=config.deck.checks.timeout)

        try:
            results = await outlived(checked)
        except SandboxDied as death:
            results = deadly(death)
        except BadConfiguration as error:
            piece = Feedback(source="verify", reason=str(error)[:2000], detail=error.fix)
            return Result(Outcome.FAILED, reason=str(error), failure=FailureClass.TOOL, feedback=(piece,))
        probes.hit("attempt.checked")
        blob = await self._journal.put(RESULTS.dump_json(results))
        event = e.CheckRan(results_blob=blob, passed=passed(results), seconds=round(time.monotonic() - began, 3))
        await self._journal.append(duty.claim, event)
        if passed(results):
            return Result(Outcome.OK, result_blob=blob)
        reason = headline(results)
        piece = Feedback(source="verify", reason=reason[:2000], detail=summary(results, 20_000))
        return Result(
            Outcome.FAILED, reason=reason, failure=FailureClass.TOOL, feedback=(piece,), result_blob=blob, change=change
        )
