"""What people say to runs that are at work: decisions, answers, another try, more money, comments.

Rules
- It is durable before it is acknowledged, in whatever process it is said: a decision and a comment are on record, the
  rest is a job of the deck. The process that works on the run obeys; where there is none, whoever goes on with it does.
- What has no meaning where the run stands is refused, with what to do instead.
"""

import json
import secrets
from typing import Final, Literal

from quarterdeck.assembly.parts import Parts
from quarterdeck.delivery import feedback, jobs
from quarterdeck.delivery.gate.reverting import RevertSubject
from quarterdeck.delivery.nodes.approving import MergeSubject
from quarterdeck.delivery.plans.plan import dump_plan
from quarterdeck.delivery.telling import tell_job
from quarterdeck.journal.views import ApprovalView, WaitView
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Feedback, Plan, to_nusd, to_usd
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import BadInput, Conflicting, NotFound
from quarterdeck.store.port import Tx

ANSWER_LIMIT: Final = 16_000
COMMENT_LIMIT: Final = 7_000
REASON_LIMIT: Final = 4_000
DIFF_LIMIT: Final = 400_000
"""Bytes of a change that a person is shown."""
_ID_BYTES: Final = 6

_TRIED_AGAIN: Final = (TaskStatus.FAILED, TaskStatus.CANCELLED)


async def control(
    parts: Parts, run: str, action: str, *, answer: str | None, budget_usd: float | None, by: str
) -> None:
    """Ask for `pause`, `resume` or `cancel`."""
    detail = None
    if action == "resume":
        told = answer_of(answer, await parts.views.waits(run)) if answer else None
        event = e.RunResumed(
            by=by,
            budget_nusd=to_nusd(budget_usd) if budget_usd is not None else None,
            answer_blob=await feedback.save(parts.journal, (), (told,)) if told is not None else None,
        )
        detail = await parts.journal.put(e.encode(event))
    await _order(parts, run, action, by, detail, secrets.token_hex(_ID_BYTES))


async def decide(
    parts: Parts, approval: str, verdict: Literal["approve", "deny"], *, action_hash: str, reason: str, by: str
) -> ApprovalView:
    """Record what a person decided; what it was about. Raises NotFound, Conflicting, BadInput."""
    reason = reason.strip()
    if len(reason) > REASON_LIMIT:
        raise BadInput(f"the reason has {len(reason)} characters", why=f"{REASON_LIMIT} are the most")
    view = await parts.views.approval(approval)
    if verdict == "deny" and not reason:
        raise BadInput(
            "there is no reason", why="whoever asked is told it", fix=f'quarterdeck deny {approval} --reason "…"'
        )
    # Whoever waits for a tool sees the decision itself; a run has to be woken, and a merge gate.
    woken_up = [] if view.what == "tool" else [jobs.advance(view.run)]
    if view.what == "revert":
        briefing = await parts.briefings.run(view.run)
        woken_up.append(jobs.gate_advance(briefing.created.target, runs_on=briefing.config.runs_on))

    def woken(tx: Tx) -> None:
        for job in woken_up:
            parts.engine.defer(tx, job)

    await parts.approvals.decide(approval, verdict, action_hash=action_hash, reason=reason, by=by, also=woken)
    return view


async def subject(parts: Parts, approval: str) -> str:
    """What is asked, whole, for a person to read: the plan as YAML, the change as a diff, the action as JSON. Raises
    NotFound."""
    view = await parts.views.approval(approval)
    body = await parts.journal.get(view.subject_blob)
    if view.what == "plan":
        return dump_plan(Plan.model_validate_json(body))
    if view.what == "tool":
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    mirror = await parts.workshop.mirror((await parts.views.run(view.run)).repository)
    if view.what == "revert":
        landed = RevertSubject.model_validate_json(body)
        await mirror.need(landed.parent, landed.commit)
        return await mirror.diff(landed.commit, landed.parent, limit=DIFF_LIMIT)
    asked = MergeSubject.model_validate_json(body)
    await mirror.need(asked.change.base, asked.change.commit)
    return await mirror.diff(asked.change.base, asked.change.commit, limit=DIFF_LIMIT)


async def answer(parts: Parts, run: str, text: str, *, attempt: str | None, by: str) -> e.QuestionAnswered:
    """Answer what was asked in that attempt; None = the only one that asks. Raises NotFound, Conflicting, BadInput."""
    text = text.strip()
    if not text:
        raise BadInput("the answer is empty", fix=f'quarterdeck answer {attempt or run} "…"')
    if len(text) > ANSWER_LIMIT:
        raise BadInput(f"the answer has {len(text)} characters", why=f"{ANSWER_LIMIT} are the most")
    await _unfinished(parts, run)
    waits = [wait for wait in await parts.views.waits(run) if attempt is None or wait.attempt == attempt]
    if not waits:
        fix = f'quarterdeck tell {attempt or run} "…"   (says something to an agent at work)'
        raise Conflicting(f"nothing is asked in {attempt or run}", fix=fix)
    if len(waits) > 1:
        asking = ", ".join(wait.attempt or run for wait in waits[:8])
        fix = f'quarterdeck answer {waits[0].attempt or run} "…"   (each has its own answer)'
        raise Conflicting(f"{len(waits)} questions are open in {run}", why=asking, fix=fix)
    piece = answer_of(text, waits)
    blob = await feedback.save(parts.journal, (), (piece,))
    event = e.QuestionAnswered(by=by, attempt=waits[0].attempt, answer_blob=blob or "")
    await _wish(parts, run, "answer", event)
    return event


def answer_of(text: str, waits: list[WaitView]) -> Feedback:
    """The answer, with what it answers: whoever reads it did not necessarily ask. Pure."""
    asked = "\n".join(f"Asked in {wait.attempt}: {wait.question}" for wait in waits)
    return Feedback(source="human", reason=text[:2000], detail=f"{text[2000:ANSWER_LIMIT]}\n{asked}"[:24_000].strip())


async def retry(parts: Parts, run: str, task: str, *, agent: str | None, by: str) -> e.TaskRetried:
    """Have a task that did not merge tried again, also after its run has ended. Raises NotFound, Conflicting."""
    briefing = await parts.briefings.run(run)
    rows = {row.task: row for row in await parts.views.tasks(run)}
    if task not in rows:
        raise NotFound(f"there is no task {task} in {run}", fix=f"quarterdeck show {run}")
    if agent is not None and agent not in briefing.config.agents:
        known = ", ".join(sorted(briefing.config.agents))
        raise NotFound(f"there is no agent {agent!r} in {run}", fix=f"--agent with one of: {known}")
    if agent is not None and briefing.created.reverts:
        raise Conflicting(f"{run} takes something back", why="no agent works on it", fix=f"quarterdeck show {run}")
    row = rows[task]
    asks = any(wait.task == task for wait in await parts.views.waits(run))
    if row.status not in _TRIED_AGAIN and not (asks and row.status is TaskStatus.WAITING):
        blocked = row.status is TaskStatus.BLOCKED
        why = row.reason if blocked else ""
        fix = "retry the task that it needs" if blocked else f"quarterdeck show {run}.{task}"
        raise Conflicting(f"{run}.{task} is {row.status}: there is nothing to try again", why=why, fix=fix)
    event = e.TaskRetried(task=task, by=by, agent=agent)
    await _wish(parts, run, "retry", event)
    return event


async def raise_budget(parts: Parts, run: str, usd: float, *, by: str) -> e.BudgetRaised:
    """Give an unfinished run more money; `usd`: its new budget. Raises NotFound, Conflicting, BadInput."""
    if not 0 <= usd <= 1e9:
        raise BadInput(f"{usd} is no budget", fix=f"quarterdeck budget {run} USD")
    view = await parts.views.run(run)
    if view.status.finished:
        fix = f"quarterdeck resume {run} --budget {usd:g}" if view.status is not RunStatus.DONE else ""
        raise Conflicting(f"{run} has ended", why=f"it is {view.status}", fix=fix or f"quarterdeck show {run}")
    if to_nusd(usd) <= view.budget_nusd:
        raise Conflicting(
            f"the budget of {run} can only be raised",
            why=f"it is ${to_usd(view.budget_nusd):.2f} now",
            fix=f"quarterdeck budget {run} with more than that",
        )
    event = e.BudgetRaised(by=by, budget_nusd=to_nusd(usd))
    await _wish(parts, run, "budget", event)
    return event


async def comment(parts: Parts, attempt: str, path: str, line: int | None, text: str, *, by: str) -> str:
    """Say something about a change; the agent at work on its task, or the one that works on it next, reads it. The
    message's id. Raises NotFound, Conflicting, BadInput."""
    text, run = text.strip(), attempt.partition(".")[0]
    if not text:
        raise BadInput("the comment is empty", fix=f'quarterdeck comment {attempt} {path or "PATH"} "…"')
    if len(text) > COMMENT_LIMIT or len(path) > 1_000:
        raise BadInput(f"the comment has {len(text)} characters", why=f"{COMMENT_LIMIT} are the most")
    if line is not None and line < 1:
        raise BadInput(f"there is no line {line}", why="lines are counted from 1")
    found = [each for each in await parts.views.attempts(run) if each.attempt == attempt]
    if not found:
        raise NotFound(f"there is no attempt {attempt}", fix=f"quarterdeck show {run}")
    rows = {row.task: row for row in await parts.views.tasks(run)}
    row = rows.get(found[0].task)
    if row is None or row.status is TaskStatus.MERGED:
        what = "its change has landed" if row is not None else "it is not about a change"
        raise Conflicting(f"nobody would read a comment on {attempt}", why=what, fix='quarterdeck run "…"')
    message = f"{attempt}/{secrets.token_hex(_ID_BYTES)}"
    where = f"{path}:{line}" if path and line is not None else path
    said = f"A comment on your change, {where}: {text}" if where else f"A comment on your change: {text}"
    event = e.MessageSent(message=message, by=by, text=said[:8_000], path=path, line=line)
    blob = await parts.journal.put(event.text.encode("utf-8", "replace"))
    job = tell_job(run, attempt, message, by=by, text_blob=blob)
    claim = await parts.journal.claim(ids.mail_stream(attempt))
    await parts.journal.append(claim, event, also=lambda tx: parts.engine.defer(tx, job))
    return message


async def _unfinished(parts: Parts, run: str) -> None:
    view = await parts.views.run(run)
    if view.status.finished:
        raise Conflicting(f"{run} has ended", why=f"it is {view.status}", fix=f"quarterdeck show {run}")


async def _wish(parts: Parts, run: str, action: str, event: e.EventBase) -> None:
    """Ask durably for what the run's stream shall record."""
    blob = await parts.journal.put(e.encode(event))
    await _order(parts, run, action, str(getattr(event, "by", parts.settings.user)), blob)


async def _order(parts: Parts, run: str, action: str, by: str, detail_blob: str | None, word: str = "") -> None:
    job = jobs.control(run, action, by=by, detail_blob=detail_blob, word=word)
    await parts.journal.commit(also=lambda tx: parts.engine.defer(tx, job))


async def overdue(parts: Parts, run: str | None = None) -> list[str]:
    """Runs with an approval, of a plan or a change, whose time is over and nobody has noted it."""
    now = parts.clock.wall()
    open_ones = await parts.views.approvals(run)
    due = [view for view in open_ones if view.expires_at is not None and now >= view.expires_at]
    return list(dict.fromkeys(view.run for view in due if view.what != "tool"))


async def recorded(parts: Parts, run: str, event: e.EventBase, after: int) -> bool:
    """Whether the run's stream has taken it over; of more money, whether it is there."""
    if isinstance(event, e.BudgetRaised):
        return (await parts.views.run(run)).budget_nusd >= event.budget_nusd
    records = await parts.journal.read(ids.run_stream(run), after=after)
    return any(record.event == event for record in records)


async def noted(parts: Parts, run: str, approval: str) -> bool:
    """Whether the run's stream knows what was decided."""
    asked = [
        record.event.approval
        for record in await parts.journal.read(ids.run_stream(run))
        if isinstance(record.event, e.ApprovalDecided)
    ]
    return approval in asked
