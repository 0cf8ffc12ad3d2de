"""The merge gate's work on a target that is red: who made it so, what takes that back, who is told.

Rules
- Everything here may be done again after a crash: what is decided is on record before anything is done, the change that
  takes something back comes out the same, and it stands in the queue once.
- Suspects are the commits since the oldest one that landed, by the checks that fail now, for a run that goes on; of a
  merge the first parent counts.
- Nobody's commit but ours is taken back. Whose people are told: the culprit's run, else that of the newest change.
- That a change is taken back, the news of it for its run, and the job that tells the run are stored together.
"""

from collections.abc import Collection
from typing import Final, Literal

from quarterdeck.delivery import feedback, jobs
from quarterdeck.delivery.changes import CHANGES, shown
from quarterdeck.delivery.gate.checking import RESULTS, Book
from quarterdeck.delivery.gate.ledger import GateState, Queued
from quarterdeck.delivery.gate.mending import Unsettled, over, unsettled
from quarterdeck.delivery.gate.merging import readable
from quarterdeck.delivery.gate.orders import Accuse, FindCulprit, GiveUp, Mending, TakeBack
from quarterdeck.delivery.gate.taking_back import inverse, revert_title
from quarterdeck.delivery.keeping import keep
from quarterdeck.delivery.validation.checks import summary
from quarterdeck.engine.port import Job
from quarterdeck.govern.approvals import Approvals
from quarterdeck.journal.port import Claim, Entry, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.entities import Change, Feedback, Landed, Value
from quarterdeck.workplace.mirror import Mirror

_SUSPECTS: Final = 100
_SUBJECT: Final = 60
_SHA: Final = 12
_BY: Final = "the merge gate"


class RevertSubject(Value):
    """What is asked about a landed change that made its target red: that it is taken back."""

    run: str
    task: str
    commit: str
    """What it landed as."""
    parent: str
    """What it landed on."""
    branch: str
    reason: str
    """What fails with it."""


class Reverts:
    """Performs what is decided about a red target. Its methods raise GitFailed, StoreUnavailable, StaleClaim."""

    def __init__(self, journal: Journal, book: Book, approvals: Approvals, clock: Clock) -> None:
        self._journal = journal
        self._book = book
        self._approvals = approvals
        self._clock = clock
        self._doubted: set[str] = set()
        """Targets of which runs may wait to know whether they are green."""

    async def perform(self, command: Mending, claim: Claim, state: GateState, mirror: Mirror) -> None:
        """Perform one command."""
        match command:
            case FindCulprit():
                await self._search(command, claim, state, mirror)
            case Accuse(culprit):
                await self._accuse(culprit, claim, state, mirror)
            case TakeBack(attempt, commit):
                await self._queue(attempt, commit, claim, state, mirror)
            case GiveUp(attempt, outcome, reason):
                returned = e.ChangeReturned(attempt=attempt, outcome=outcome, reason=readable(reason)[:2000])
                await self._journal.append(claim, returned, _gives_up(state, reason))

    async def follow(self, target: str, claim: Claim, state: GateState) -> bool:
        """Take over what a person decided, and that a red target is one no more; whether there was anything."""
        if state.doubt or state.search is not None:
            self._doubted.add(target)
        events: list[e.EventBase] = [event] if (event := over(state)) is not None else []
        asked = state.search.asked if state.search is not None else None
        if asked is not None:
            decided = await self._approvals.settled(asked)
            if decided is None and await self._book.cancelled(asked.run):
                decided = await self._approvals.withdraw(asked, "the run was cancelled")
            if decided is not None:
                events.append(decided)
                if decided.verdict != "approve":
                    events.append(_gives_up(state, f"{decided.by}: {decided.reason}"))
        if events:
            await self._journal.append(claim, *events)
        return bool(events)

    async def unsettled(self, target: str, attempts: Collection[str]) -> Unsettled | None:
        """Whether a run whose tasks are merged by these attempts has to wait before it ends; None = it need not."""
        return unsettled(await self._book.state(target), attempts, self._clock.wall())

    async def asked(self, target: str) -> e.ApprovalAsked | None:
        """What a person is asked before the gate goes on with what waits there."""
        search = (await self._book.state(target)).search
        return search.asked if search is not None else None

    async def waiting_runs(self, target: str, state: GateState) -> list[Job]:
        """Wakes the runs that may wait for what is clear now."""
        if target not in self._doubted or state.doubt or state.search is not None:
            return []
        self._doubted.discard(target)
        runs = dict.fromkeys(ids.split_attempt(attempt)[0] for attempt in state.landed)
        return [jobs.advance(run) for run in runs if not await self._book.ended(run)]

    # --- who it was ---------------------------------------------------------------------------------------

    async def _search(self, command: FindCulprit, claim: Claim, state: GateState, mirror: Mirror) -> None:
        failing = state.failing[(command.tree, command.checks)]
        red = e.TipFoundRed(
            tip=state.tip,
            tree=command.tree,
            checks=command.checks,
            config_blob=command.config_blob,
            reason=failing.reason[:2000],
            results_blob=failing.results_blob,
            suspects=await self._suspects(state, mirror, command.checks),
        )
        await self._journal.append(claim, red)

    async def _suspects(self, state: GateState, mirror: Mirror, checks: str) -> tuple[e.Suspect, ...]:
        """The commits that may have made the tip red, oldest first, and what they stand on; none where nothing of ours
        is among them."""
        history = await mirror.newest(state.tip, _SUSPECTS)
        ours: dict[str, str] = {}
        ended: dict[str, bool] = {}
        for attempt, commit in state.landed.items():
            if attempt in state.reverted or ids.is_revert(attempt):
                continue
            run, task, _ = ids.split_attempt(attempt)
            settled = state.settled.get((run, task))
            if settled is None or settled.attempt != attempt or settled.checks != checks:
                continue
            if run not in ended:
                ended[run] = await self._book.ended(run)
            if not ended[run]:
                ours[commit] = attempt
        places = [place for place, entry in enumerate(history) if entry.commit in ours]
        if not places:
            return ()
        return tuple(
            [
                e.Suspect(
                    commit=entry.commit,
                    tree=await mirror.tree(entry.commit),
                    attempt=ours.get(entry.commit, ""),
                    subject=_printable(entry.subject),
                )
                for entry in reversed(history[: places[-1] + 2])
            ]
        )

    async def _accuse(self, culprit: e.Suspect | None, claim: Claim, state: GateState, mirror: Mirror) -> None:
        if culprit is None or not culprit.attempt:
            await self._journal.append(claim, _told(state, culprit))
            return
        assert state.search is not None
        red, attempt = state.search.red, culprit.attempt
        landed = _landed(state, attempt)
        run, task, _ = ids.split_attempt(attempt)
        deck = (await self._book.config(landed.config_blob)).deck
        found = e.CulpritFound(
            tip=red.tip,
            run=run,
            commit=culprit.commit,
            attempt=attempt,
            subject=culprit.subject,
            action=_ACTIONS[deck.merge.revert],
            reason=f"{task} ({culprit.commit[:_SHA]}) made {state.branch} red: {red.reason}"[:2000],
            fix=_by_hand(run, task) if deck.merge.revert == "never" else "",
        )
        asking: tuple[e.EventBase, ...] = ()
        waiting: tuple[str, ...] = ()
        if found.action == "ask":
            asking = (await self._question(state, found, mirror, self._clock.wall() + deck.approve.expires),)
            waiting = tuple(dict.fromkeys((run, *(queued.change.run for queued in state.queue))))
        also = self._book.deferring(*(jobs.advance(each) for each in waiting))
        await self._journal.append(claim, found, *asking, also=also)
        probes.hit("gate.accused")

    async def _question(
        self, state: GateState, found: e.CulpritFound, mirror: Mirror, expires_at: float
    ) -> e.ApprovalAsked:
        landed = _landed(state, found.attempt)
        subject = RevertSubject(
            run=found.run,
            task=landed.change.task,
            commit=found.commit,
            parent=await _parent(mirror, found.commit),
            branch=state.branch,
            reason=found.reason,
        )
        name = ids.digest(f"revert\n{found.attempt}\n{found.commit}\n{found.tip}\n{state.branch}".encode())
        return e.ApprovalAsked(
            approval=ids.approval_id(found.attempt, name, found.tip),
            what="revert",
            run=found.run,
            task=landed.change.task,
            attempt=found.attempt,
            agent=landed.agent,
            action_hash=name,
            title=f"Taking {landed.change.task} back: {landed.title}"[:300],
            subject_blob=await self._journal.put(subject.model_dump_json().encode()),
            risk="medium",
            why=(found.reason,),
            expires_at=expires_at,
        )

    # --- taking it back -----------------------------------------------------------------------------------

    async def _queue(self, attempt: str, commit: str, claim: Claim, state: GateState, mirror: Mirror) -> None:
        """The change that takes a landed one back goes into the queue."""
        assert state.search is not None
        red, landed = state.search.red, _landed(state, attempt)
        run, task, _ = ids.split_attempt(attempt)
        undone = Landed(run=run, task=task, commit=commit, parent=await _parent(mirror, commit))
        title = revert_title(landed.title, again=bool(landed.reverts))
        back = await inverse(mirror, undone, title, int(state.search.since))
        name = ids.revert_attempt(attempt)
        await mirror.set_ref(f"{CHANGES}/{name}", back, None)
        kept: tuple[e.EventBase, ...] = ()
        if mirror.depot is not None:
            kept = (await keep(self._journal, await mirror.packed(back, (commit,))),)
        queued = e.ChangeQueued(
            change=Change(
                run=run,
                task=ids.split_attempt(name)[1],
                attempt=name,
                base=commit,
                commit=back,
                tree=await mirror.tree(back),
                files=shown(tuple(item.path for item in await mirror.changes(commit, back))),
            ),
            title=title,
            config_blob=red.config_blob,
            repository=state.repository,
            branch=state.branch,
            base=state.base,
            checkout=landed.checkout,
            checks=red.checks,
            reverts=commit,
        )
        await self._journal.append(claim, *kept, queued)
        probes.hit("gate.reverting")

    async def record(self, claim: Claim, state: GateState, queued: Queued, old: str, new: str) -> None:
        """The target was moved onto the change that takes another one back: that one's run is told."""
        attempt = ids.reverted_attempt(queued.attempt)
        run, task, _ = ids.split_attempt(attempt)
        red = state.search.red if state.search is not None else None
        reason = f"it landed, {state.branch} was red with it, and it was taken back: {red.reason if red else ''}"[:2000]
        piece = Feedback(source="gate", reason=reason, detail=await self._failing(red))
        told = e.TaskReverted(
            task=task,
            attempt=attempt,
            commit=queued.reverts,
            by=new,
            reason=reason,
            feedback_blob=await feedback.save(self._journal, (), (piece,)),
        )
        job = jobs.control(run, "revert", by=_BY, detail_blob=await self._journal.put(e.encode(told)))
        landed = e.ChangeLanded(attempt=queued.attempt, old=old, new=new)
        reverted = e.ChangeReverted(attempt=attempt, commit=queued.reverts, by=new, reason=red.reason if red else "")
        await self._journal.commit(Entry(claim, (landed, reverted)), also=self._book.deferring(job))
        probes.hit("gate.reverted")

    async def _failing(self, red: e.TipFoundRed | None) -> str:
        if red is None or red.results_blob is None:
            return ""
        return readable(summary(RESULTS.validate_json(await self._journal.get(red.results_blob))))


_ACTIONS: Final[dict[str, Literal["revert", "ask", "tell"]]] = {"auto": "revert", "ask": "ask", "never": "tell"}


def _landed(state: GateState, attempt: str) -> Queued:
    """The change that this attempt landed."""
    run, task, _ = ids.split_attempt(attempt)
    return state.settled[run, task]


def _told(state: GateState, culprit: e.Suspect | None) -> e.CulpritFound:
    """What people are told where nothing of ours is at fault."""
    assert state.search is not None
    red = state.search.red
    newest = next(suspect for suspect in reversed(red.suspects) if suspect.attempt)
    run = ids.split_attempt(newest.attempt)[0]
    if culprit is None:
        ground = red.suspects[0]
        reason = (
            f"{state.branch} is red without what landed, at {ground.commit[:_SHA]} ({ground.subject}): {red.reason}"
        )
        fix = f"mend {state.branch} or what its checks need, then: quarterdeck resume {run} --retry"
        return e.CulpritFound(tip=red.tip, run=run, action="tell", reason=reason[:2000], fix=fix)
    earlier = next((attempt for attempt, commit in state.landed.items() if commit == culprit.commit), None)
    whose = f"of {earlier}, whose run has ended" if earlier is not None else "which is not from here"
    reason = f"{culprit.commit[:_SHA]} ({culprit.subject}), {whose}, made {state.branch} red: {red.reason}"
    fix = (
        f"quarterdeck revert {earlier.rpartition('.')[0]}"
        if earlier is not None and not ids.is_revert(earlier)
        else f"mend {state.branch}, or on it: git revert {culprit.commit[:_SHA]}"
    )
    return e.CulpritFound(
        tip=red.tip,
        run=run,
        commit=culprit.commit,
        subject=culprit.subject,
        action="tell",
        reason=reason[:2000],
        fix=f"{fix}; then: quarterdeck resume {run} --retry",
    )


def _gives_up(state: GateState, reason: str) -> e.CulpritFound:
    """What people are told where the culprit is not taken back."""
    assert state.search is not None
    assert state.search.found is not None
    found = state.search.found
    run, task, _ = ids.split_attempt(found.attempt)
    said = f"{found.reason}; it is not taken back: {readable(reason)}"[:2000]
    return found.model_copy(update={"action": "tell", "reason": said, "fix": _by_hand(run, task)})


def _by_hand(run: str, task: str) -> str:
    return f"once {run} has ended: quarterdeck revert {run}.{task} --with-dependents"


async def _parent(mirror: Mirror, commit: str) -> str:
    (entry,) = await mirror.newest(commit, 1)
    return entry.parents[0]


def _printable(subject: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in subject)[:_SUBJECT]
