"""What comes of a change in the queue: it lands, or it goes back to its run.

Rules
- An intent before the target moves, the landings after; whether it moved is read from the branch, never assumed.
- What became of a change, the news of it for the run, and the job that tells the run are stored together.
"""

from pathlib import Path

from quarterdeck.delivery import feedback, jobs
from quarterdeck.delivery.gate import candidates, merging
from quarterdeck.delivery.gate.checking import Book
from quarterdeck.delivery.gate.ledger import GateState, Queued
from quarterdeck.delivery.gate.orders import Land, Return
from quarterdeck.delivery.gate.reverting import Reverts
from quarterdeck.journal.port import Claim, Entry, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.entities import Feedback
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import BadRepository, Conflicting
from quarterdeck.workplace.mirror import Mirror


class Endings:
    """Lands changes and gives them back. All of it may be done again after a crash."""

    def __init__(self, journal: Journal, book: Book, reverts: Reverts) -> None:
        self._journal = journal
        self._book = book
        self._reverts = reverts

    async def land(self, claim: Claim, state: GateState, mirror: Mirror, command: Land) -> None:
        landing = [queued for queued in state.queue if queued.attempt in command.stack]
        intent = e.LandingIntended(
            attempt=command.stack[-1],
            old=command.old or "",
            new=command.new,
            tree=command.tree,
            stack=command.stack,
            commits=command.commits,
        )
        await self._journal.append(claim, intent)
        probes.hit("gate.intended")
        checkout = next((Path(queued.checkout) for queued in landing if queued.checkout), None)
        try:
            await mirror.land(state.branch, command.old, command.new, into_checkout=checkout)
        except (Conflicting, BadRepository) as error:
            if await mirror.tip(state.branch) == command.old:
                reason = f"the target cannot be moved: {error}" + (f" ({error.fix})" if error.fix else "")
                for queued in landing:
                    await self.give_back(claim, queued, Return(queued.attempt, Outcome.HELD, reason[:2000]))
            # Else somebody was quicker: the next look at the branch shows it.
            return
        probes.hit("gate.moved")
        old = command.old or ""
        for attempt, commit in intent.landing:
            await self.landed(claim, state, attempt, old, commit)
            old = commit

    async def landed(self, claim: Claim, state: GateState, attempt: str, old: str, new: str) -> None:
        queued = state.find(attempt)
        assert queued is not None
        if ids.is_revert(attempt):
            await self._reverts.record(claim, state, queued, old, new)
            return
        change = queued.change
        landed = e.ChangeLanded(attempt=attempt, old=old, new=new)
        await self.tell(Outcome.OK, change.run, change.task, attempt, Entry(claim, (landed,)), commit=new, base=old)
        probes.hit("gate.landed")

    async def give_back(
        self,
        claim: Claim,
        queued: Queued,
        command: Return,
        piece: Feedback | None = None,
        against: tuple[str, ...] = (),
        base: str | None = None,
    ) -> None:
        change = queued.change
        reason = piece.reason if piece is not None else merging.readable(command.reason)[:2000]
        returned = e.ChangeReturned(
            attempt=command.attempt,
            outcome=command.outcome,
            reason=reason,
            against=against,
            lost=candidates.losses(command.lost),
        )
        if ids.is_revert(command.attempt):
            await self._journal.append(claim, returned)
            return
        await self.tell(
            command.outcome,
            change.run,
            change.task,
            change.attempt,
            Entry(claim, (returned,)),
            reason=reason,
            base=base,
            feedback_blob=await feedback.save(self._journal, (), (piece,)) if piece else None,
        )

    async def hold_all(self, claim: Claim, state: GateState, reason: str) -> None:
        for queued in state.queue:
            await self.give_back(claim, queued, Return(queued.attempt, Outcome.HELD, reason))

    async def tell(
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
        also = self._book.deferring(jobs.advance(run))
        await self._journal.commit(*entries, Entry(claim, (news,)), also=also)
