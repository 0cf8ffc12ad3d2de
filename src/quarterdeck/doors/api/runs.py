"""Runs over HTTP: ordered, looked at, steered."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import ValidationError

from quarterdeck.board.answers import RunDetail, Timeline
from quarterdeck.delivery.order import Order, RevertOrder, RunResult
from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import CREATES, MUTATES, Asking, Behind, Deck, Reserved, RunId, TaskName, require
from quarterdeck.doors.api.machine import MOST_RECORDS, configured
from quarterdeck.doors.api.port import Served
from quarterdeck.doors.api.trust import Person
from quarterdeck.kernel.complaints import complaint
from quarterdeck.kernel.entities import to_nusd, to_usd
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import BadInput, Conflicting, NotFound
from quarterdeck.settings.tokens import Role

router: Final = APIRouter(prefix="/runs", tags=["runs"])
tasks: Final = APIRouter(prefix="/tasks", tags=["runs"])


@router.post("", status_code=201, dependencies=CREATES)
async def create(
    order: shapes.NewRun, deck: Deck, person: Asking, reserved: Reserved, response: Response
) -> shapes.Started:
    """Order a run. It is stored when this answers, and is worked on by whoever owns the deck."""
    if order.goal is None and order.plan is None:
        raise BadInput("there is neither a goal nor a plan", fix="send `goal` or `plan`")
    if order.goal is not None and not order.goal.strip():
        raise BadInput("the goal is empty", fix="send `goal`")
    if not person.may(Role.ADMIN):
        await _within(order, deck, person)
    run = await _once(deck, reserved, lambda: deck.create(_order(order, person.name), run=reserved))
    response.headers["location"] = f"/api/v1/runs/{run}"
    return shapes.Started(run=run)


async def _once(deck: Served, reserved: str | None, make: Callable[[], Awaitable[str]]) -> str:
    """The run that a request is for: the one that an earlier try of it made, else a new one."""
    if reserved is not None and await _there(deck, reserved):
        return reserved
    try:
        return await make()
    except Conflicting:
        if reserved is None or not await _there(deck, reserved):
            raise
        return reserved  # another server was given the same request, and was faster


async def _within(order: shapes.NewRun, deck: Served, person: Person) -> None:
    """A sandbox, and no more money than the configuration gives a run: more is an admin's. Raises NotAllowed."""
    budget = order.budget_usd
    if order.sandbox == "none":
        require(person, Role.ADMIN)
    if order.config_of is not None:
        taken = (await deck.frozen(order.config_of)).deck
        if order.sandbox is None and taken.sandbox.backend == "none":
            require(person, Role.ADMIN)
        budget = taken.budget.run if budget is None else budget
    if budget is not None:
        allowed, _ = await deck.effective(Path(order.repository))
        if budget > allowed.budget.run:
            require(person, Role.ADMIN)


async def _unconfined(deck: Served, run: str) -> bool:
    return (await deck.frozen(run)).deck.sandbox.backend == "none"


def _order(asked: shapes.NewRun, user: str) -> Order:
    """Raises BadInput."""
    try:
        return Order(
            goal=asked.goal,
            plan_text=asked.plan,
            plan_path=Path(asked.plan_name) if asked.plan is not None else None,
            repository=Path(asked.repository),
            base=asked.base,
            into=asked.into,
            agent=asked.agent,
            budget_usd=asked.budget_usd,
            max_parallel=asked.max_parallel,
            sandbox=asked.sandbox,
            plan_only=asked.plan_only,
            config_of=asked.config_of,
            user=user,
        )
    except ValidationError as error:
        raise BadInput("the order cannot be used", why=complaint(error.errors()[0])) from error


async def _there(deck: Served, run: str) -> bool:
    try:
        await deck.views.run(run)
    except NotFound:
        return False
    return True


@router.get("/{run}")
async def run(run: RunId, behind: Behind, response: Response) -> RunDetail:
    """One run with everything that is not live; `ETag` is its version."""
    found = await behind.shown.readings.run(run)
    response.headers["etag"] = f'"{found.run.version}"'
    return found


@router.get("/{run}/timeline")
async def timeline(
    run: RunId,
    behind: Behind,
    after: Annotated[int, Query(ge=0, le=MOST_RECORDS, description="`next` of the answer before.")] = 0,
) -> Timeline:
    """What the run did and when, by column; ask again behind `next`."""
    return await behind.shown.timelines.timeline(run, after)


@router.get("/{run}/plan")
async def plan(run: RunId, deck: Deck) -> shapes.PlanText:
    """The plan as YAML; 404 before the run is planned."""
    await deck.views.run(run)
    return shapes.PlanText(run=run, yaml=await deck.plan_text(run))


@router.get("/{run}/report")
async def report(run: RunId, deck: Deck) -> shapes.ReportText:
    """Report and retrospective as Markdown; 404 before the run has ended."""
    await deck.views.run(run)
    return shapes.ReportText(run=run, markdown=await deck.report(run))


@router.get("/{run}/result")
async def result(run: RunId, deck: Deck) -> RunResult:
    """Where the run stands; of a finished run, how it ended: what `run --json` prints last."""
    await deck.views.run(run)
    return await deck.result(run)


@router.post("/{run}/pause", status_code=202, dependencies=MUTATES)
async def pause(run: RunId, asked: shapes.Nothing, deck: Deck, person: Asking) -> shapes.Asked:
    """Stop starting new work in the run; what is being worked on is finished first."""
    await _going(deck, run, RunStatus.PAUSED)
    await deck.control(run, "pause", by=person.name)
    return shapes.Asked(run=run, action="pause")


@router.post("/{run}/cancel", status_code=202, dependencies=MUTATES)
async def cancel(run: RunId, asked: shapes.Nothing, deck: Deck, person: Asking) -> shapes.Asked:
    """Stop the run; what is merged stays, the state is kept."""
    await _going(deck, run, RunStatus.CANCELLED)
    await deck.control(run, "cancel", by=person.name)
    return shapes.Asked(run=run, action="cancel")


@router.post("/{run}/resume", status_code=202, dependencies=MUTATES)
async def resume(run: RunId, asked: shapes.Resuming, deck: Deck, person: Asking) -> shapes.Asked:
    """Go on with a run that was paused, cancelled or waits; with `retry` also with one that has ended."""
    status = (await deck.views.run(run)).status
    if status is RunStatus.DONE:
        raise Conflicting(f"{run} is done", why="there is nothing left to go on with", fix=f"quarterdeck show {run}")
    if status.finished and status is not RunStatus.CANCELLED and not asked.retry:
        fix = f"quarterdeck resume {run} --retry"
        raise Conflicting(f"{run} has ended", why=f"it is {status}; `retry` tries again what did not merge", fix=fix)
    await deck.control(run, "resume", by=person.name)
    return shapes.Asked(run=run, action="resume")


@router.post("/{run}/answer", status_code=202, dependencies=MUTATES)
async def answer(run: RunId, asked: shapes.Answering, deck: Deck, person: Asking) -> shapes.Asked:
    """Answer what waits in the run."""
    await deck.answer(run, asked.text, attempt=asked.attempt or None, by=person.name)
    return shapes.Asked(run=run, action="answer")


@router.post("/{run}/budget", status_code=202, dependencies=MUTATES)
async def budget(run: RunId, asked: shapes.Budgeting, deck: Deck, person: Asking) -> shapes.Asked:
    """Raise the run's budget to so many USD; needs the role admin."""
    require(person, Role.ADMIN)
    view = await deck.views.run(run)
    if view.status.finished:  # it goes on with what it is given
        if view.status is RunStatus.DONE or to_nusd(asked.usd) <= view.budget_nusd:
            why = f"it is {view.status}, with {to_usd(view.budget_nusd):g} USD"
            raise Conflicting(f"{run} needs no such budget", why=why, fix=f"quarterdeck show {run}")
        await deck.control(run, "resume", budget_usd=asked.usd, by=person.name)
    else:
        await deck.raise_budget(run, asked.usd, by=person.name)
    return shapes.Asked(run=run, action="budget")


@router.post("/{run}/revert", status_code=201, dependencies=MUTATES)
async def revert(
    run: RunId, asked: shapes.Reverting, deck: Deck, person: Asking, reserved: Reserved, response: Response
) -> shapes.Started:
    """Take back what the run, or one of its tasks, landed: a run of its own, through the same gate."""
    if asked.sandbox == "none" or (asked.sandbox is None and await _unconfined(deck, run)):
        require(person, Role.ADMIN)
    await deck.views.run(run)
    order = RevertOrder(
        of=run if asked.task is None else f"{run}.{asked.task}",
        with_dependents=asked.with_dependents,
        into=asked.into,
        sandbox=asked.sandbox,
        user=person.name,
    )
    new = await _once(deck, reserved, lambda: deck.revert(order, run=reserved))
    response.headers["location"] = f"/api/v1/runs/{new}"
    return shapes.Started(run=new)


@router.post("/{run}/messages", status_code=202, dependencies=MUTATES)
async def tell(run: RunId, asked: shapes.RunMessage, deck: Deck, person: Asking) -> shapes.Told:
    """Say something to the agent that is at work in the run, or at one of its tasks."""
    about = ("run", run) if asked.task is None else ("task", f"{run}.{asked.task}")
    whom, message = await deck.tell(*about, asked.text, by=person.name)
    return shapes.Told(attempt=whom.attempt, agent=whom.agent, message=message)


@tasks.post("/{run}/{task}/retry", status_code=202, dependencies=MUTATES)
async def retry(run: RunId, task: TaskName, asked: shapes.Retrying, deck: Deck, person: Asking) -> shapes.Asked:
    """Have a task that did not merge tried again; a run that has ended goes on."""
    await deck.retry(run, task, agent=asked.agent, by=person.name)
    return shapes.Asked(run=run, action="retry")


@router.get("/{run}/config")
async def config(run: RunId, deck: Deck) -> shapes.Configured:
    """The configuration that the run was ordered with; without what is secret."""
    return configured(await deck.frozen(run))


async def _going(deck: Served, run: str, wanted: RunStatus) -> None:
    """Raises NotFound, Conflicting where the run has ended otherwise."""
    status = (await deck.views.run(run)).status
    if status.finished and status is not wanted:
        raise Conflicting(f"{run} is already {status}", fix=f"quarterdeck show {run}")
