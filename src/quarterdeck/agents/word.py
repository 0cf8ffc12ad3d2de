"""A person's word about one action of an agent: asked for, waited for, found again after a crash.

Rules
- The approval is bound to the hash of exactly this action; the same action of the same attempt finds the same approval
  again, so that nobody is asked twice about it, and what was approved once is done once.
- The attempt's wall time stands still while a person is waited for.
- A denial, and a time that is over, are told to the agent with the reason. What was denied is not asked about again.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.agents.port import Assignment
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.port import Action, Decision
from quarterdeck.journal.views import ApprovalView
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock

_SHOWN: Final = 120
_HIGH: Final = ("execute",)


class Stopwatch:
    """How long people were waited for, seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._whole = 0.0
        self._since: list[float] = []

    def begin(self) -> None:
        """Somebody begins to wait."""
        self._since.append(self._clock.monotonic())

    def end(self) -> None:
        """And has his answer. Of several who wait at once, the longest counts."""
        if len(self._since) == 1:
            self._whole += self._clock.monotonic() - self._since[0]
            self._since.clear()
        else:
            self._since.pop()

    @property
    def waits(self) -> bool:
        return bool(self._since)

    @property
    def seconds(self) -> float:
        return self._whole + (self._clock.monotonic() - self._since[0] if self._since else 0.0)


@dataclass(frozen=True, slots=True)
class Word:
    """What came of asking."""

    decision: Decision
    approval: str | None = None
    by: str | None = None


class Asking:
    """Asks people about the actions of one attempt."""

    def __init__(self, assignment: Assignment, approvals: Approvals, clock: Clock, watch: Stopwatch) -> None:
        self._assignment = assignment
        self._approvals = approvals
        self._clock = clock
        self.watch = watch

    async def word(
        self,
        action: Action,
        decision: Decision,
        action_hash: str,
        occasions: Callable[[int], str],
        record: Callable[[e.ApprovalAsked], Awaitable[None]],
        put: Callable[[bytes], Awaitable[str]],
        used: Collection[str] = (),
    ) -> Word:
        """Wait for a person's word about that action. `occasions`: names the n-th time, from 0, that it is asked about;
        one whose approval is `used` is over. `record` and `put` keep an event and a body."""
        number = 0
        while True:
            approval = ids.approval_id(action.attempt, action_hash, occasions(number))
            view = await self._approvals.find(approval)
            if approval not in used:
                break
            number += 1
        asked = _asked(action, decision, action_hash, approval, self._expires(view))
        if view is None or (view.status != "open" and await self._approvals.decided(action.run, approval) is None):
            blob = await put(_subject(action))
            asked = asked.model_copy(update={"subject_blob": blob})
            await record(asked)
        self.watch.begin()
        try:
            decided = await self._approvals.wait(asked)
        finally:
            self.watch.end()
        return Word(_answered(decision, decided), approval, decided.by)

    def _expires(self, view: ApprovalView | None) -> float:
        if view is not None and view.status == "open" and view.expires_at is not None:
            return view.expires_at
        return self._clock.wall() + self._assignment.config.deck.approve.expires


def _asked(action: Action, decision: Decision, action_hash: str, approval: str, expires: float) -> e.ApprovalAsked:
    return e.ApprovalAsked(
        approval=approval,
        what="tool",
        run=action.run,
        task=action.task,
        attempt=action.attempt,
        agent=action.agent,
        action_hash=action_hash,
        title=f"{action.agent} wants to use {action.tool}: {_shown(action.arguments)}"[:300],
        subject_blob="",
        risk="high" if action.effect in _HIGH else "medium" if action.effect == "write" else "low",
        why=(decision.reason[:500],) if decision.reason else (),
        expires_at=expires,
    )


def _subject(action: Action) -> bytes:
    """The exact action, as it is stored."""
    document = {"tool": action.tool, "effect": action.effect, "arguments": action.arguments}
    return json.dumps(document, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _shown(arguments: Mapping[str, Any]) -> str:
    first = next((arguments[key] for key in ("command", "path", "url", "title") if arguments.get(key)), None)
    text = " ".join((str(first) if first is not None else json.dumps(arguments, default=str)).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _answered(decision: Decision, decided: e.ApprovalDecided) -> Decision:
    if decided.verdict == "approve":
        return Decision("allow", (*decision.rules, "approved"), f"approved by {decided.by}")
    if decided.verdict == "deny":
        return Decision("deny", (*decision.rules, "denied-by-person"), f"{decided.by} said no: {decided.reason}")
    return Decision("deny", (*decision.rules, "expired"), "nobody approved it in time")
