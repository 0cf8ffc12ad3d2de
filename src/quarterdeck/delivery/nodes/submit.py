"""The gate node of an attempt: its change is handed to the merge gate of its target.

Rules
- The node ends when the gate says so, not here: the gate records the outcome in the attempt's stream.
"""

import json
from typing import Final

from quarterdeck.delivery import jobs
from quarterdeck.delivery.nodes.check import change_of
from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.revert import taken_back_by
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Outcome

INTENT: Final = 4_000
"""Characters of a task's instructions that are told to whoever conflicts with it."""


def _author(duty: Duty) -> str:
    started = duty.state.started
    return started.agent if started is not None else duty.briefing.config.default_agent


class Submit:
    """Performs the gate node."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def __call__(self, duty: Duty) -> Result:
        assert duty.task is not None
        created = duty.briefing.created
        landed = await taken_back_by(self._journal, duty)
        event = e.ChangeQueued(
            change=change_of(duty),
            title=duty.task.title,
            config_blob=created.config_blob,
            repository=created.repository,
            branch=created.into,
            base=created.base,
            agent="" if landed is not None else _author(duty),
            checkout=created.checkout,
            reverts=landed.commit if landed is not None else "",
            verify_blob=await self._journal.put(json.dumps(duty.task.verify).encode()) if duty.task.verify else None,
            runs_on=duty.task.runs_on,
            intent_blob=await self._journal.put(duty.task.instructions[:INTENT].encode("utf-8", "replace")),
        )
        blob = await self._journal.put(e.encode(event))
        return Result(Outcome.OK, waking=jobs.gate_submit(created.target, duty.attempt, blob, duty.claim.epoch))
