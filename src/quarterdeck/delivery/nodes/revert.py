"""The implement node of a run that takes something back.

Rules
- A revert is a run like any other, save that git makes its changes: one task for each commit taken back, the newest
  first, each merged, checked and landed by the gate.
"""

from quarterdeck.delivery.changes import CHANGES, shown
from quarterdeck.delivery.gate.taking_back import BY, inverse
from quarterdeck.delivery.keeping import keep
from quarterdeck.delivery.nodes.node import Duty, Performer, Result
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.entities import Change, Landed, Reverting, Submission, Task
from quarterdeck.kernel.events import Outcome


async def taken_back_by(journal: Journal, duty: Duty) -> Landed | None:
    """The commit that this attempt takes back; None where its run carries out a goal."""
    blob = duty.briefing.created.reverts_blob
    if blob is None or duty.task is None:
        return None
    return Reverting.model_validate_json(await journal.get(blob)).commits[duty.task.id]


class Revert:
    """Performs the implement node of a run that takes something back; that of every other run is left to `otherwise`.

    Doing it again makes the same commit.
    """

    def __init__(self, journal: Journal, workshop: Workshop, otherwise: Performer) -> None:
        self._journal = journal
        self._workshop = workshop
        self._otherwise = otherwise

    async def __call__(self, duty: Duty) -> Result:
        landed = await taken_back_by(self._journal, duty)
        if landed is None or duty.task is None:
            return await self._otherwise(duty)
        created = duty.briefing.created
        mirror = await self._workshop.mirror(created.repository)
        await mirror.fetch(created.base)
        await mirror.need(landed.commit)
        commit = await inverse(mirror, landed, duty.task.title, await self._begin(duty, duty.task, landed))
        await mirror.set_ref(f"{CHANGES}/{duty.attempt}", commit, None)
        probes.hit("change.pinned")
        change = duty.state.exported or Change(
            run=duty.run,
            task=duty.task.id,
            attempt=duty.attempt,
            base=landed.commit,
            commit=commit,
            tree=await mirror.tree(commit),
            files=shown(tuple(item.path for item in await mirror.changes(landed.commit, commit))),
        )
        if duty.state.exported is None:
            kept: tuple[e.EventBase, ...] = ()
            if mirror.depot is not None:
                kept = (await keep(self._journal, await mirror.packed(commit, (landed.commit,))),)
            await self._journal.append(duty.claim, *kept, e.ChangeExported(change=change, pack_bytes=0))
        said = Submission(summary=f"Takes back {landed.commit} (task {landed.task} of {landed.run}).")
        blob = await self._journal.put(said.model_dump_json().encode())
        return Result(Outcome.OK, change=change, result_blob=blob)

    async def _begin(self, duty: Duty, task: Task, landed: Landed) -> int:
        """Say once that the attempt has begun; returns when, in seconds since the epoch."""
        if duty.state.started is not None:
            return int(duty.state.started_at)
        event = e.AttemptStarted(
            run=duty.run,
            task=task.id,
            number=duty.number,
            agent=BY,
            harness=None,
            incarnation=1,
            base=landed.commit,
            workspace="",
        )
        await self._journal.append(duty.claim, event)
        record = await self._journal.last(duty.claim.stream)
        return int(record.at) if record is not None else 0
