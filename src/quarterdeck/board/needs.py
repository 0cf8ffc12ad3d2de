"""What needs a person, once for each cause, the most urgent first. Pure.

Rules
- One cause is one row, however many agents or runs it stops: a refused key that stopped twenty agents is one thing to
  mend. Causes that differ only in ids and numbers are the same.
- What explains something else hides it: a run that ended because of an incident or an empty purse is not listed again.
- `now`: nothing goes on before somebody acts. `soon`: work stands still if nobody does. `info`: worth knowing.
- Every row names the command to type.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from quarterdeck.board.agents import AgentCell
from quarterdeck.board.port import Action, ApprovalRow, NeedKind, NeedRow, Severity
from quarterdeck.board.scene import Ended, Incident, Notice, Scene, Stuck, Waiting
from quarterdeck.journal.gate_rows import RED
from quarterdeck.kernel.failures import Exit, FailureClass

MOST_RUNS: Final = 20
"""Runs that one row names."""
NEAR_CAP: Final = 0.9
"""Share of a cap at which it is worth raising."""

_BASE: Final[dict[Severity, int]] = {"now": 2000, "soon": 1000, "info": 0}
_WEIGHT: Final[dict[NeedKind, int]] = {
    "infrastructure": 90,
    "incident": 80,
    "approval": 70,
    "question": 60,
    "escalated": 50,
    "budget": 40,
    "failed": 30,
    "silent": 20,
    "notice": 10,
}
_VARIABLE: Final = re.compile(r"\br-[0-9a-z]{6,}[.0-9a-z_-]*|\b[0-9a-f]{7,64}\b|\d+(?:\.\d+)?")
_LINE: Final = 200
_DETAIL: Final = 2_000


@dataclass(slots=True)
class _Need:
    """One thing, before it is put together with others of the same cause."""

    cause: str
    kind: NeedKind
    severity: Severity
    title: str
    detail: str
    since: float
    next: str
    actions: tuple[Action, ...] = ("open",)
    run: str | None = None
    task: str | None = None
    attempt: str | None = None
    approval: str | None = None


def plain(text: str) -> str:
    """A reason without what differs from case to case: ids, hashes, numbers."""
    return _VARIABLE.sub("#", text.partition("\n")[0].lower())[:_LINE]


def needs(scene: Scene) -> tuple[NeedRow, ...]:
    """What needs a person, the highest rank first."""
    found: dict[str, list[_Need]] = {}
    for need in _all(scene):
        found.setdefault(need.cause, []).append(need)
    rows = [_row(cause, group, scene) for cause, group in found.items()]
    return tuple(sorted(rows, key=lambda row: (-row.rank, row.since, row.id)))


def _row(cause: str, group: list[_Need], scene: Scene) -> NeedRow:
    first = min(group, key=lambda need: need.since)
    runs = tuple(dict.fromkeys(need.run for need in group if need.run is not None))
    alone = len(group) == 1
    key = hashlib.sha256(cause.encode()).hexdigest()[:12]
    return NeedRow(
        id=key,
        cause=cause,
        kind=first.kind,
        severity=first.severity,
        rank=_BASE[first.severity] + _WEIGHT[first.kind] + min(len(group), 9),
        title=first.title[:_LINE],
        detail=first.detail[:_DETAIL],
        runs=runs[:MOST_RUNS],
        task=first.task if alone else None,
        attempt=first.attempt if alone else None,
        approval=first.approval,
        since=min(first.since, scene.seen.get(key, first.since)),
        count=len(group),
        # An order is about one run: of several, each is opened and looked at.
        actions=first.actions if alone else tuple(act for act in first.actions if act == "open"),
        next=first.next,
    )


def _all(scene: Scene) -> Iterator[_Need]:
    explained = {incident.run for incident in scene.inbox.incidents}
    asked = {approval.run for approval in scene.approvals}
    yield from _infrastructure(scene)
    yield from map(_incident, scene.inbox.incidents)
    yield from map(_approval, scene.approvals)
    for waiting in scene.inbox.waits:
        if waiting.wait.attempt or waiting.wait.run not in asked | explained:
            yield _question(waiting)
    yield from _money(scene)
    yield from (_ended(ended) for ended in scene.inbox.ended if ended.run not in explained)
    yield from (_stuck(stuck) for stuck in scene.stuck if stuck.run not in explained)
    yield from (_silent(agent) for agent in scene.agents if agent.silent(scene.now))
    yield from map(_notice, scene.inbox.notices)


def _infrastructure(scene: Scene) -> Iterator[_Need]:
    if scene.trouble:
        cause = f"infrastructure:{plain(scene.trouble)}"
        yield _Need(
            cause,
            "infrastructure",
            "now",
            scene.trouble,
            "No new work is started.",
            scene.now,
            "quarterdeck doctor",
            (),
        )
    going = [run for run in scene.runs if run.status.value in ("created", "planning", "running")]
    if not scene.working:
        for run in going:
            title = "Nobody works on what has not ended"
            detail = "No process owns the deck: nothing goes on before one is started."
            yield _Need(
                "infrastructure:owner",
                "infrastructure",
                "now",
                title,
                detail,
                run.updated_at,
                "quarterdeck up",
                run=run.run,
            )
    for gate in scene.gates:
        if gate.stall and gate.queue:
            title = f"The gate of {gate.branch} cannot work"
            yield _Need(
                f"infrastructure:{plain(gate.stall)}", "infrastructure", "now", title, gate.stall, gate.stalled_at,
                "quarterdeck doctor", run=next(iter(gate.queue.values())).run,
            )  # fmt: skip
    for agent in scene.agents:
        if agent.waits_on == "retry" and agent.trouble and agent.machine:
            yield _Need(
                f"infrastructure:{plain(agent.trouble)}", "infrastructure", "soon", "The machine delays work",
                agent.trouble, agent.waits_since or agent.last_at, "quarterdeck doctor",
                run=agent.run, task=agent.task, attempt=agent.attempt,
            )  # fmt: skip


def _incident(incident: Incident) -> _Need:
    if incident.failure == RED:
        return _Need(
            f"red:{incident.attempt}:{incident.subject}",
            "incident",
            "now",
            f"Red target: {incident.reason}",
            f"{incident.reason}\n{incident.fix}".strip(),
            incident.at,
            incident.fix,
            ("open",),
            run=incident.run,
        )
    detail = f"{incident.reason}\n{incident.fix}".strip()
    frozen = incident.failure == FailureClass.CONFIGURATION  # a run keeps its own: what helps stands in the fix
    return _Need(
        f"incident:{incident.failure}:{incident.subject}",
        "incident",
        "now",
        f"{incident.subject}: {_FAILURES.get(incident.failure, incident.failure)}",
        detail,
        incident.at,
        f"quarterdeck show {incident.run}" if frozen else f"quarterdeck resume {incident.run} --retry",
        ("resume", "open"),
        run=incident.run,
        task=_task_of(incident.attempt),
        attempt=incident.attempt,
    )


_FAILURES: Final = {
    "auth": "the key is refused",
    "quota": "the account's limit is reached",
    "configuration": "it is not there",
    "budget": "the budget is used up",
}


def _task_of(attempt: str) -> str | None:
    parts = attempt.split(".")
    return parts[1] if len(parts) > 1 else None


def _approval(row: ApprovalRow) -> _Need:
    return _Need(
        f"approval:{row.approval}",
        "approval",
        "now",
        row.title,
        "\n".join(row.why),
        row.since,
        f"quarterdeck approve {row.approval}",
        ("approve", "deny", "open"),
        run=row.run,
        task=row.task,
        attempt=row.attempt,
        approval=row.approval,
    )


def _question(waiting: Waiting) -> _Need:
    wait = waiting.wait
    kind: NeedKind = "escalated" if wait.what == "escalated" else "question"
    actions: tuple[Action, ...] = ("answer", "retry", "open") if kind == "escalated" else ("answer", "open")
    who = waiting.agent or "the run"
    asks = f"No agent is left for {waiting.title or wait.task}" if kind == "escalated" else f"{who} asks"
    return _Need(
        f"{kind}:{wait.attempt or wait.run}:{wait.question}",
        kind,
        "now",
        f"{asks}: {wait.question.partition(chr(10))[0]}",
        wait.question,
        wait.since,
        f"quarterdeck answer {wait.attempt or wait.run} TEXT",
        actions,
        run=wait.run,
        task=wait.task or None,
        attempt=wait.attempt or None,
    )


def _money(scene: Scene) -> Iterator[_Need]:
    cap = scene.today_cap_usd
    if cap is not None and cap > 0 and scene.today_usd >= NEAR_CAP * cap:
        used_up = scene.today_usd >= cap
        title = f"Today's budget is {'used up' if used_up else 'nearly used up'}"
        detail = f"All runs together may spend ${cap:.2f} in a day (UTC): [budget] deck_day."
        severity: Severity = "now" if used_up else "soon"
        yield _Need("budget:day", "budget", severity, title, detail, scene.now, "quarterdeck cost")
    for run, spent in scene.spent:
        if run.budget_nusd > 0 and spent >= NEAR_CAP * run.budget_nusd and run.finished_at is None:
            yield _Need(
                f"budget:{run.run}",
                "budget",
                "soon",
                f"The budget of {run.run} is nearly used up",
                run.goal.partition("\n")[0],
                run.updated_at,
                f"quarterdeck budget {run.run} USD",
                ("raise_budget", "open"),
                run=run.run,
            )


def _ended(ended: Ended) -> _Need:
    goal = ended.goal.partition("\n")[0]
    if ended.exit_code == Exit.BUDGET:
        return _Need(
            f"budget:{plain(ended.reason)}",
            "budget",
            "soon",
            f"A budget is used up: {goal}",
            ended.reason,
            ended.at,
            f"quarterdeck resume {ended.run} --budget USD",
            ("raise_budget", "open"),
            run=ended.run,
        )
    return _Need(
        f"failed:{plain(ended.reason)}",
        "failed",
        "soon",
        f"{goal}: {ended.reason.partition(chr(10))[0]}",
        ended.reason,
        ended.at,
        f"quarterdeck resume {ended.run} --retry",
        ("resume", "retry", "open") if ended.task is not None else ("resume", "open"),
        run=ended.run,
        task=ended.task,
    )


def _stuck(stuck: Stuck) -> _Need:
    return _Need(
        f"failed:{plain(stuck.reason)}",
        "failed",
        "soon",
        f"{stuck.title or stuck.task}: {stuck.reason.partition(chr(10))[0]}",
        stuck.reason,
        stuck.at,
        f"quarterdeck retry {stuck.run}.{stuck.task}",
        ("retry", "open"),
        run=stuck.run,
        task=stuck.task,
        attempt=stuck.attempt,
    )


def _silent(agent: AgentCell) -> _Need:
    on = f"{agent.waits_on} {agent.model}".strip() if agent.waits_on == "model" else agent.waits_on
    cause = f"silent:{on}" if on else f"silent:{agent.attempt}"
    what = f"Silent, waiting for {on}" if on else f"{agent.agent} is silent"
    last = f"Its last useful output: {agent.useful}" if agent.useful else "It has brought nothing useful yet."
    return _Need(
        cause,
        "silent",
        "soon",
        what,
        last,
        agent.useful_at,
        f"quarterdeck logs {agent.attempt} --follow",
        ("open",),
        run=agent.run,
        task=agent.task,
        attempt=agent.attempt,
    )


def _notice(notice: Notice) -> _Need:
    who = {"run": "This run", "agent": f"The agent {notice.name}", "day": f"The day {notice.name}"}
    return _Need(
        f"notice:{notice.about}:{notice.name}",
        "notice",
        "info",
        f"{who.get(notice.about, notice.name)} costs more than usual",
        f"${notice.spent_usd:.2f} so far; usual is ${notice.usual_usd:.2f}.",
        notice.at,
        f"quarterdeck cost {notice.run}",
        run=notice.run,
    )
