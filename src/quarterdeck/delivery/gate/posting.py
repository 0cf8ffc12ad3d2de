"""How each event of a merge gate's stream changes what its ledger says. Pure.

Rules
- What is known of trees, tips, doubts and pairs follows the rules of `ledger`.
- The state is the same whether the records come at once or in pieces, before or after a restart.
- What is remembered is bounded: the oldest is forgotten.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from quarterdeck.delivery.gate.culprits import Search
from quarterdeck.delivery.gate.ledger import (
    FLAKED,
    MOVED,
    TRIES,
    Colour,
    Failing,
    GateState,
    Key,
    Queued,
    Stood,
    Trouble,
)
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Outcome

REMEMBERED: Final = 4000
"""Verdicts of each colour, landings and the like that are kept."""

K = TypeVar("K")
V = TypeVar("V")


def fold(records: Iterable[Record], state: GateState | None = None) -> GateState:
    """The state after `records`, which follow those of `state`."""
    state = state or GateState()
    for record in records:
        state = replace(_apply(state, record.event, record.at), seq=record.seq)
    return state


def _apply(state: GateState, event: e.EventBase, at: float) -> GateState:
    match event:
        case e.GateOpened():
            tip = state.tip if state.landed else event.base
            tips = frozenset((tip,))
            opened = replace(state, repository=event.repository, reach=event.runs_on, branch=event.branch)
            return replace(opened, base=event.base, tip=tip, tips=tips)
        case e.ChangeQueued():
            return replace(state, queue=(*state.queue, _queued(event, at)))
        case e.GateCheckStarted():
            running = _with(state.running, event.check, event)
            return replace(state, running=running, checks=state.checks + 1, stall=None)
        case e.GateCheckFinished():
            return _checked(state, event, at)
        case e.LandingIntended():
            return replace(state, intent=event)
        case e.ChangeLanded():
            queued = state.find(event.attempt)
            state = _landed(state, event, queued, at)
            if queued is not None:
                state = replace(state, settled=_with(state.settled, queued.task, queued))
            return _without(state, event.attempt)
        case e.ChangeReturned():
            intent = None if state.intent and event.attempt in dict(state.intent.landing) else state.intent
            blamed = int(event.outcome is Outcome.FAILED)
            state = replace(state, intent=intent, failed=state.failed + blamed, row=state.row + blamed)
            if event.outcome is Outcome.CONFLICT and len(event.against) == 1:
                state = _paired(state, event.attempt, event.against[0])
            if ids.is_revert(event.attempt) and event.outcome is not Outcome.CANCELLED:
                state = replace(state, search=None)
            return _without(state, event.attempt)
        case e.MergeResolved():
            return replace(state, resolved=_with(state.resolved, event.attempt, event))
        case e.ChangeClashed():
            rest = {attempt: against for attempt, against in state.clashing.items() if attempt != event.attempt}
            if len(event.against) == 1:
                state = _paired(state, event.attempt, event.against[0])
            return replace(state, clashing={**rest, event.attempt: event.against} if event.against else rest)
        case e.TipMoved():
            state = replace(state, tip=event.new, tips=frozenset((event.new,)), intent=None, row=0, tested={}, stood={})
            return replace(state, doubt=MOVED, doubted_at=at, search=None, looked="")
        case e.FlakeSeen():
            return replace(state, flaked=_with(state.flaked, event.tree, True))
        case e.TipFoundRed():
            search = Search(event, at) if event.suspects else None
            return replace(state, looked=event.tip, search=search, doubt="")
        case e.CulpritFound():
            return _accused(state, event)
        case e.ApprovalAsked() | e.ApprovalDecided():
            return _asked(state, event)
        case e.ChangeReverted():
            return replace(state, reverted=_with(state.reverted, event.attempt, event.by))
        case e.TipMended():
            return replace(state, told=None)
        case e.GateDelayed():
            since = state.stall.since if state.stall is not None and event.number > 1 else at
            return replace(state, stall=Trouble(since, at, event.reason, event.number))
        case e.NoteFailed() | e.NoteWritten():
            return replace(state, unnoted=_unnoted(state, event))
        case _:
            return state


def _accused(state: GateState, event: e.CulpritFound) -> GateState:
    if event.action == "tell":
        return replace(state, search=None, told=event)
    return replace(state, search=replace(state.search, found=event)) if state.search is not None else state


def _asked(state: GateState, event: e.ApprovalAsked | e.ApprovalDecided) -> GateState:
    search = state.search
    if search is None or search.found is None:
        return state
    if isinstance(event, e.ApprovalAsked):
        return replace(state, search=replace(search, asked=event))
    if event.verdict != "approve":
        return state  # what people are told instead is on record next
    found = search.found.model_copy(update={"action": "revert"})
    return replace(state, search=replace(search, found=found, asked=None))


def _paired(state: GateState, attempt: str, other: str) -> GateState:
    """These two do not go together."""
    tasks = [queued.task for queued in (*state.queue, *state.settled.values()) if queued.attempt in (attempt, other)]
    pair = frozenset(tasks)
    return replace(state, pairs=_with(state.pairs, pair, True)) if len(pair) == 2 else state


def _landed(state: GateState, event: e.ChangeLanded, queued: Queued | None, at: float) -> GateState:
    steps = state.intent.landing if state.intent is not None else ()
    # Several changes land in one step: it is over with the last of them.
    places = [attempt for attempt, _ in steps]
    together = event.attempt in places
    intent = state.intent if together and event.attempt != places[-1] else None
    before = state.last_landed if together and event.attempt != places[0] else ()
    last = (*before, (queued, event.new)) if queued is not None else state.last_landed
    landed = _with(state.landed, event.attempt, event.new)
    if together and intent is None:
        doubt = FLAKED if state.intent is not None and state.intent.tree in state.flaked else ""
        state = replace(state, doubt=doubt, doubted_at=at)
    tips = state.tips | {event.new}
    state = replace(state, landed=landed, last_landed=last, tip=event.new, tips=tips, intent=intent, stall=None)
    return replace(state, landings=state.landings + 1, search=None, looked="")


def _queued(event: e.ChangeQueued, at: float) -> Queued:
    return Queued(
        event.change,
        event.title,
        event.agent,
        event.checks,
        event.config_blob,
        event.checkout,
        at,
        event.reverts,
        event.verify_blob,
        event.intent_blob,
        event.runs_on,
    )


def _unnoted(state: GateState, event: e.NoteFailed | e.NoteWritten) -> Mapping[str, tuple[Queued, str]]:
    if isinstance(event, e.NoteWritten):
        return {attempt: landed for attempt, landed in state.unnoted.items() if attempt != event.attempt}
    landing = next((landing for landing in state.last_landed if landing[0].attempt == event.attempt), None)
    return state.unnoted if landing is None else _with(state.unnoted, event.attempt, landing)


def _checked(state: GateState, event: e.GateCheckFinished, at: float) -> GateState:
    started = state.running.get(event.check)
    if started is None:
        return state
    state = replace(state, running={check: s for check, s in state.running.items() if check != event.check})
    key = (started.tree, started.checks)
    if event.cancelled:
        return state
    if event.infrastructure:
        before = state.trouble or Trouble(at, at, "", 0)
        return replace(state, trouble=Trouble(before.since, at, event.reason, before.number + 1))
    state = replace(state, trouble=None)
    if started.stack and started.tip in state.tips:
        tested = {of: what for of, what in state.tested.items() if of != key}
        state = replace(state, tested=_with(tested, key, started))
        if event.passed:
            stood: Stood = (started.tip, frozenset(started.stack), started.checks)
            state = replace(state, stood=_with(state.stood, stood, started.commits[-1]))
    if state.search is not None and not started.stack and started.checks == state.search.red.checks:
        state = replace(state, search=state.search.told(started.tree, passed=event.passed))
    if event.passed:
        state = _trusted(state, started)
    if started.gate_checks not in ("", started.checks) and (event.passed or event.verify):
        state = _passed(state, (started.tree, started.gate_checks))  # they ran first
    if event.passed:
        return _learnt(replace(_passed(state, key), row=0), started)
    times = state.failing[key].times + 1 if key in state.failing else 1
    failing = Failing(times, event.reason, event.results_blob, event.verify)
    if times >= TRIES and not started.stack:
        known = [{of: True for of in verdicts if of != key} for verdicts in (state.green, state.sure)]
        state = replace(state, green=known[0], sure=known[1])
    return _learnt(replace(state, failing=_with(state.failing, key, failing)), started)


def _trusted(state: GateState, started: e.GateCheckStarted) -> GateState:
    """A commit that has landed passed once more: by itself, or below what was put on it."""
    tree = started.under if started.stack else started.tree
    if tree:
        state = replace(state, sure=_with(state.sure, (tree, started.gate_checks or started.checks), True))
    return replace(state, doubt="") if started.tip == state.tip else state


def _learnt(state: GateState, started: e.GateCheckStarted) -> GateState:
    """Which waiting changes are red together though each has passed without the other, as far as this check tells."""
    tasks = {queued.attempt: queued.task for queued in state.queue}
    together = frozenset(tasks[attempt] for attempt in started.stack if attempt in tasks)
    if state.colour((started.tree, started.checks)) is Colour.GREEN and state.pairs:
        kept = {pair: known for pair, known in state.pairs.items() if not pair <= together}
        state = replace(state, pairs=kept) if len(kept) < len(state.pairs) else state
    for key, other in state.tested.items():
        if state.colour(key) is not Colour.RED:
            continue
        waiting = [attempt for attempt in other.stack if attempt in tasks]
        pair = frozenset(tasks[attempt] for attempt in waiting)
        if len(pair) == 2 and pair not in state.pairs and not together.isdisjoint(pair) and _apart(state, *waiting):
            state = replace(state, pairs=_with(state.pairs, pair, True))
    return state


def _apart(state: GateState, one: str, other: str) -> bool:
    """Whether each has passed without the other."""
    passed = [names for _, names, _ in state.stood]
    return any(one in names and other not in names for names in passed) and any(
        other in names and one not in names for names in passed
    )


def _passed(state: GateState, key: Key) -> GateState:
    failing = {k: v for k, v in state.failing.items() if k != key}
    return replace(state, green=_with(state.green, key, True), failing=failing)


def _without(state: GateState, attempt: str) -> GateState:
    queue = tuple(queued for queued in state.queue if queued.attempt != attempt)
    if not queue:
        tips = frozenset((state.tip,))
        state = replace(state, queue=(), clashing={}, failing={}, tips=tips, tested={}, stood={})
        return replace(state, trouble=None, stall=None)
    waiting = {queued.attempt for queued in queue}
    tested = {key: started for key, started in state.tested.items() if not waiting.isdisjoint(started.stack)}
    clashing = {name: against for name, against in state.clashing.items() if name != attempt}
    return replace(state, queue=queue, tested=tested, clashing=clashing)


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    grown = {**mapping, key: value}
    if len(grown) > REMEMBERED:
        del grown[next(iter(grown))]
    return grown
