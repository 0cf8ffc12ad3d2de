"""Whether what a run decided to start may start now: the limits that keep one trigger from becoming a storm.

Rules
- Starts are attempts, reviews and planners; they wait, and everything else that was decided goes on.
- A run's first start waits for its turn among the runs of the same person (`limits.runs_per_hour`), each start for its
  turn among all starts of the deck (`limits.spawn_per_minute`), and for a free place: of the deck
  (`limits.agents_at_once`), of its agent (`limits.one_agent_at_once`), in its repository (`limits.repository_at_once`).
- Places are counted again in the transaction that takes them, so that no two processes take the same one.
- While more approvals and questions are open than `approve.inbox`, work that is new (a planner, a task's first attempt)
  starts one at a time, a minute apart over the whole deck: people's time to look at things is what is short then. What
  has begun goes on.
- A limit is the least of what the run was ordered with and of what the files of the deck's machines say now: one that
  is lowered holds for runs that exist too.
- Being held is on record once, with the limit and the reason, until nothing is held any more.
- A revert starts no agent, so nothing holds it.
"""

import time
from dataclasses import dataclass
from typing import Final

from quarterdeck.delivery.blueprint import BLUEPRINTS, Blueprint
from quarterdeck.delivery.dispatch import Decision
from quarterdeck.engine.port import Job
from quarterdeck.govern.agreeing import ENDLESS, number
from quarterdeck.govern.port import Start, Starts, Window
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import LimitsSection, RunConfig
from quarterdeck.kernel.events import Node, RunStatus
from quarterdeck.kernel.states import AT_WORK, RunState, task_state
from quarterdeck.store.port import Tx

MINUTE: Final = 60.0
HOUR: Final = 3600.0
SLOW: Final = Window(1, MINUTE)
"""How fast new work starts while too much waits for people."""
SLOW_LOOK: Final = 15.0
"""Seconds after which it is looked again whether so much still waits."""
LOOK_AGAIN: Final = 5.0
"""Seconds after which it is looked again whether a place is free."""

PLACES: Final = ("agents_at_once", "one_agent_at_once", "repository_at_once")
"""Limits of what is at work at the same time."""
_WHOSE: Final = {
    "agents_at_once": "of the deck",
    "one_agent_at_once": "of one agent",
    "repository_at_once": "in one repository",
}

_REVIEW: Final = ".review"


def starts_of(decision: Decision, blueprint: Blueprint) -> tuple[str, ...]:
    """What of the decision puts an agent to work, in its order: an attempt, or an attempt's review. Pure."""
    return tuple(name for event in decision.events if (name := _started(event, blueprint)) is not None)


def without(decision: Decision, held: frozenset[str], blueprint: Blueprint) -> Decision:
    """The decision without these starts. Pure."""
    return Decision(
        tuple(event for event in decision.events if _started(event, blueprint) not in held),
        tuple(job for job in decision.jobs if _worked_at(job) not in held),
    )


def _started(event: e.EventBase, blueprint: Blueprint) -> str | None:
    match event:
        case e.TaskDispatched() if blueprint.step(Node.IMPLEMENT).by == "agent":
            return event.attempt
        case e.NodeStarted(node=Node.PLAN):
            return event.attempt
        case e.NodeStarted(node=Node.REVIEW):
            return f"{event.attempt}{_REVIEW}"
        case _:
            return None


def _worked_at(job: Job) -> str | None:
    node, attempt = job.payload.get("node"), job.payload.get("attempt")
    if node == Node.REVIEW:
        return f"{attempt}{_REVIEW}"
    return str(attempt) if node in (Node.IMPLEMENT, Node.PLAN) else None


def _has_place(state: RunState, name: str) -> bool:
    """Whether it goes on where an attempt was at work: it must never wait for the place that it holds itself."""
    if name.endswith(_REVIEW):
        return True
    _, task, _ = ids.split_attempt(name)
    if task == ids.PLANNER_TASK:
        return state.status is RunStatus.PLANNING
    return task_state(state, task).status in AT_WORK


@dataclass(frozen=True, slots=True)
class Permitted:
    """What may happen now, and what keeps the rest."""

    decision: Decision
    held: e.WorkHeld | None = None


def frees_place(event: e.EventBase) -> bool:
    """Whether an attempt or a planner may not be at work any more. Pure."""
    match event:
        case e.TaskMerged() | e.TaskFailed() | e.TaskEscalated() | e.TaskCancelled() | e.RunFinished() | e.RunPaused():
            return True
        case e.NodeStarted(node=Node.APPROVE | Node.GATE) | e.NodeFinished(node=Node.PLAN) | e.RunWaiting():
            return True
        case _:
            return False


def news_of(before: e.WorkHeld | None, now: e.WorkHeld | None) -> tuple[e.EventBase, ...]:
    """What is worth recording about being held: that it begins, that another limit holds, that it is over. Pure."""
    if now is None:
        return () if before is None else (e.WorkReleased(),)
    return () if before is not None and before.limit == now.limit else (now,)


def permit(tx: Tx, starts: Starts, state: RunState, decision: Decision, config: RunConfig, now: float) -> Permitted:
    """What of the decision may happen now; moments are kept for the rest. Runs inside a transaction."""
    blueprint, run = BLUEPRINTS[config.blueprint], state.created
    names = starts_of(decision, blueprint)
    if not names or run is None:
        return Permitted(decision)
    limits = starts.limits(tx, config.deck.limits, now)
    if not state.begun:
        turn = starts.take(tx, Start("run", run.run, run.run, run.user), Window(limits.runs_per_hour, HOUR), now)
        if turn > now:
            reason = f"{limits.runs_per_hour} runs of {run.user} in an hour are the most; its turn is at {_clock(turn)}"
            return _held(decision, blueprint, names, "runs_per_hour", reason, turn)
    full = _without_place(tx, starts, state, decision, blueprint, limits)
    pace = Window(limits.spawn_per_minute, MINUTE)
    open_items = inbox(tx)
    slowed = open_items > config.deck.approve.inbox
    fresh = new_work(decision) if slowed else frozenset()
    turns = {
        name: starts.take(tx, Start("agent", name, run.run), SLOW if name in fresh else pace, now)
        for name in names
        if name not in full
    }
    early = tuple(name for name, turn in turns.items() if turn > now)
    if early and fresh.issuperset(early):
        most = config.deck.approve.inbox
        reason = (
            f"{open_items} approvals and questions wait for a person, more than {most}: new work starts one a minute"
        )
        until = min(now + SLOW_LOOK, *(turns[name] for name in early))
        return _held(decision, blueprint, (*early, *full), "inbox", reason, until)
    if early:
        reason = f"{limits.spawn_per_minute} attempts, reviews and sub-agents of the deck in a minute are the most"
        until = min(turns[name] for name in early)
        return _held(decision, blueprint, (*early, *full), "spawn_per_minute", reason, until)
    if full:
        limit = next(iter(full.values()))
        reason = f"{getattr(limits, limit)} attempts {_WHOSE[limit]} at work at the same time are the most"
        return _held(decision, blueprint, tuple(full), limit, reason, now + LOOK_AGAIN)
    return Permitted(decision)


def inbox(tx: Tx) -> int:
    """How many approvals and questions are open, over the whole deck."""
    return int(tx.run("view_inbox")[0]["n"])


def new_work(decision: Decision) -> frozenset[str]:
    """The starts that begin something: planners, and the first attempts at tasks. Pure."""
    planners = [event.attempt for event in decision.events if isinstance(event, e.NodeStarted)]
    first = [event.attempt for event in decision.events if isinstance(event, e.TaskDispatched) and event.number == 1]
    return frozenset(name for name in (*planners, *first) if name is not None)


def crowded(
    tx: Tx, starts: Starts, state: RunState, decision: Decision, config: RunConfig, now: float
) -> dict[str, str]:
    """The starts of the decision for which there is no free place, and which limit says so. Runs inside a
    transaction."""
    limits = starts.limits(tx, config.deck.limits, now)
    return _without_place(tx, starts, state, decision, BLUEPRINTS[config.blueprint], limits)


def _without_place(
    tx: Tx, starts: Starts, state: RunState, decision: Decision, blueprint: Blueprint, limits: LimitsSection
) -> dict[str, str]:
    run, most = state.created, {limit: number(getattr(limits, limit)) for limit in PLACES}
    repository = run.repository if run is not None else ""
    agents = {event.attempt: event.agent for event in decision.events if isinstance(event, e.TaskDispatched)}
    taken: dict[tuple[str, str], int] = {}
    full: dict[str, str] = {}
    for name in starts_of(decision, blueprint):
        if _has_place(state, name):
            continue
        wanted = [
            ("agents_at_once", ""),
            ("one_agent_at_once", agents.get(name, "")),
            ("repository_at_once", repository),
        ]
        places = [place for place in wanted if most[place[0]] < ENDLESS and (place[1] or place == wanted[0])]
        for limit, of in places:
            if (limit, of) not in taken:
                taken[limit, of] = _at_work(tx, starts, limit, of)
        lacking = next((place for place in places if taken[place] >= most[place[0]]), None)
        if lacking is not None:
            full[name] = lacking[0]
            continue
        for place in places:
            taken[place] += 1
    return full


def _at_work(tx: Tx, starts: Starts, limit: str, of: str) -> int:
    match limit:
        case "one_agent_at_once":
            return starts.at_work(tx, agent=of)
        case "repository_at_once":
            return starts.at_work(tx, repository=of)
        case _:
            return starts.at_work(tx)


def _held(
    decision: Decision, blueprint: Blueprint, names: tuple[str, ...], limit: str, reason: str, until: float
) -> Permitted:
    event = e.WorkHeld.model_validate({"limit": limit, "reason": reason, "until": until, "starts": names[:100]})
    return Permitted(without(decision, frozenset(names), blueprint), event)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
