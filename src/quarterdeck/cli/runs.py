"""Commands that order, steer and carry on runs.

Rules
- A run exists once it is stored; from then on every way out names it and how to go on.
- The exit code is the run's own. Being interrupted changes nothing of the run.
- `resume` of a finished run repeats its last line and its exit code, unless it was cancelled, gets a larger budget or
  an answer, or `--retry` asks for what did not merge to be tried again.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from quarterdeck.agents.routing import models_of
from quarterdeck.cli.amounts import money, plural, usd
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.following import follow
from quarterdeck.cli.inbox import told_to_wait
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.showing import show_result
from quarterdeck.cli.text import Tone
from quarterdeck.cli.unused import left_out, unused
from quarterdeck.delivery.order import Order
from quarterdeck.kernel.complaints import complaint
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import to_nusd
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import BadConfiguration, BadInput, BadRepository, Conflicting, Exit
from quarterdeck.kernel.prices import outdated
from quarterdeck.settings import DECK_FILE, wider
from quarterdeck.tools.shed.needs import WITHOUT

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Goal = Annotated[
    str | None, typer.Argument(help="What is wanted, in your own words.", metavar="GOAL", show_default=False)
]
Repository = Annotated[Path, typer.Option("--repo", help="The git repository to work on.", metavar="DIR")]
Run = Annotated[str, typer.Argument(help="Id of the run, or its beginning.", metavar="RUN")]
Budget = Annotated[float | None, money("What the run may spend at most.")]
Base = Annotated[
    str | None, typer.Option(help="Revision to start from.  [default: HEAD]", metavar="REV", show_default=False)
]
Into = Annotated[
    str | None,
    typer.Option(help="Branch to land on.  [default: quarterdeck/RUN]", metavar="BRANCH", show_default=False),
]
AgentName = Annotated[
    str | None, typer.Option(help="Agent of the tasks that name none.", metavar="NAME", show_default=False)
]
Sandbox = Annotated[
    str | None, typer.Option(help="How agents are fenced in; none = not at all.", metavar="NAME", show_default=False)
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the run goes on without a terminal.")]


_STANDARD_INPUT: Final = Path("/dev/stdin")


@app.command()
def run(
    context: typer.Context,
    goal: Goal = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="Plan file, - is standard input; skips the planner.", metavar="FILE", show_default=False),
    ] = None,
    issue: Annotated[
        str | None,
        typer.Option(
            help="Issue of a GitHub server as the goal; its pull request is opened at the end.",
            metavar="OWNER/NAME#N",
            show_default=False,
        ),
    ] = None,
    repo: Repository = Path(),
    base: Base = None,
    into: Into = None,
    agent: AgentName = None,
    budget: Budget = None,
    max_parallel: Annotated[
        int | None, typer.Option(help="Attempts at the same time.", metavar="N", min=1, max=1000, show_default=False)
    ] = None,
    sandbox: Sandbox = None,
    config_of: Annotated[
        str | None,
        typer.Option(
            help="Use the configuration of that run: checks, agents, prompts, prices.",
            metavar="RUN",
            show_default=False,
        ),
    ] = None,
    detach: Detach = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Carry a goal or a plan to merged commits."""
    call = begin(context, json, no_input)
    if goal is None and plan is None and issue is None:
        raise BadInput(
            "There is neither a goal nor a plan", fix='quarterdeck run "GOAL"   or   quarterdeck run --plan FILE'
        )
    order = _order(
        goal=_wanted(goal, "run"),
        plan_path=_file(plan) if plan else None,
        repository=repo.absolute(),
        base=base,
        into=into,
        agent=agent,
        budget_usd=budget,
        max_parallel=max_parallel,
        sandbox=sandbox,
        user=call.settings.user,
    )
    # Without --repo the deck keeps a clone of an issue's repository: the directory one is in need not be it.
    source = context.get_parameter_source("repo")
    here = source is not None and source.name != "DEFAULT"
    raise typer.Exit(drive(_run(call, order, config_of, issue, here=here, detach=detach)))


def _file(plan: Path) -> Path:
    return _STANDARD_INPUT if plan == Path("-") else plan.absolute()


async def _run(call: Call, order: Order, config_of: str | None, issue: str | None, *, here: bool, detach: bool) -> int:
    async with call.deck() as deck:
        if issue is not None:
            order = await deck.outside.for_issue(issue, order, here=here)
        if config_of is not None:
            order = order.model_copy(update={"config_of": await run_id(deck, config_of)})
        call.run = await _stored(call, deck, order)
        if order.config_of is not None:
            await _warn_wider(call, deck, order.config_of, order.repository)
        await _note(call, deck, call.run, order.repository)
        if call.settings.database_url is not None and not await deck.attended():
            call.say("no worker is alive, so this process works on it; quarterdeck worker starts one, on any machine")
        if not detach:
            code = await carry(call, deck, call.run)
            if order.origin is not None:
                await show_published(call, deck, call.run)
            return code
        served = await deck.served()
    detached(call, call.run, served=served)
    return Exit.DONE


async def _stored(call: Call, deck: DeckApi, order: Order) -> str:
    """The new run. What an order lacks may lie in the work tree and only not be committed: then that is said."""
    try:
        return await deck.create(order)
    except BadRepository:
        raise
    except BadInput:
        for line in await left_out(order.repository):
            call.say(line, Tone.WARN)
        raise


@app.command()
def plan(
    context: typer.Context,
    goal: Goal = None,
    repo: Repository = Path(),
    base: Base = None,
    agent: AgentName = None,
    budget: Budget = None,
    sandbox: Sandbox = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Plan a goal and print the plan; nothing is changed."""
    call = begin(context, json, no_input)
    if goal is None:
        raise BadInput("There is no goal to plan", fix='quarterdeck plan "GOAL"')
    order = _order(
        goal=_wanted(goal, "plan"),
        repository=repo.absolute(),
        base=base,
        agent=agent,
        budget_usd=budget,
        sandbox=sandbox,
        plan_only=True,
        user=call.settings.user,
    )
    raise typer.Exit(drive(_plan(call, order)))


async def _plan(call: Call, order: Order) -> int:
    async with call.deck() as deck:
        call.run = await _stored(call, deck, order)
        await _note(call, deck, call.run, order.repository)
        await follow(call, deck, call.run)
        result = await deck.result(call.run)
        if result.exit_code == Exit.DONE:
            text = await deck.plan_text(call.run)
            call.data(text.rstrip("\n"))
            call.emit("plan", {"run": call.run, "yaml": text})
        else:
            show_result(call, result)
        return result.exit_code


@app.command()
def resume(
    context: typer.Context,
    run: Run,
    answer: Annotated[
        str | None, typer.Option(help="Answer to what the run asks.", metavar="TEXT", show_default=False)
    ] = None,
    budget: Annotated[float | None, money("New budget of the run.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what did not merge in a finished run.")] = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Go on with a run: after a crash, a pause, a question or an ended budget."""
    call = begin(context, json, no_input)
    raise typer.Exit(drive(_resume(call, run, answer, budget, retry=retry)))


async def _resume(call: Call, run: str, answer: str | None, budget: float | None, *, retry: bool) -> int:
    async with call.deck() as deck:
        call.run = run = await run_id(deck, run)
        view = await deck.views.run(run)
        status, asked = view.status, answer is not None or budget is not None or retry
        if status is RunStatus.DONE and asked:
            raise Conflicting(
                f"{run} is done", why="there is nothing left to go on with", fix=f"quarterdeck show {run}"
            )
        if status.finished and status is not RunStatus.CANCELLED and not asked:
            result = await deck.result(run)
            show_result(call, result)
            if status is not RunStatus.DONE:
                call.say(f"finished already; to try again what did not merge: quarterdeck resume {run} --retry")
            return result.exit_code
        if asked or status.finished or status in (RunStatus.PAUSED, RunStatus.WAITING):
            if budget is not None and to_nusd(budget) < view.budget_nusd:
                call.warn(f"the budget of {run} stays {usd(view.budget_nusd)}: it can only be raised")
            await deck.control(run, "resume", answer=answer, budget_usd=budget)
        _warn_unfenced(call, await deck.frozen(run))
        tasks = await deck.views.tasks(run)
        merged = sum(task.status is TaskStatus.MERGED for task in tasks)
        far = f", {merged} of {plural(len(tasks), 'task')} merged" if tasks else ""
        call.say(f"{run} goes on{far}")
        return await carry(call, deck, run, since=time.time())


@app.command()
def pause(context: typer.Context, run: Run, json: Json = False, no_input: NoInput = False) -> None:
    """Stop starting new work in a run; what is being worked on is finished first."""
    drive(_control(begin(context, json, no_input), run, "pause", RunStatus.PAUSED))


@app.command()
def cancel(context: typer.Context, run: Run, json: Json = False, no_input: NoInput = False) -> None:
    """Stop a run; what is merged stays, the state is kept, and `resume` goes on."""
    drive(_control(begin(context, json, no_input), run, "cancel", RunStatus.CANCELLED))


async def _control(call: Call, run: str, action: str, wanted: RunStatus) -> None:
    async with call.deck() as deck:
        call.run = run = await run_id(deck, run)
        view = await deck.views.run(run)
        status = view.status
        if status.finished and status is not wanted:
            raise Conflicting(f"{run} is already {status}", fix=f"quarterdeck show {run}")
        # Also where it is so by now: the contrary may have been said, and not been heard yet.
        if view.finished_at is None or await deck.attended():
            await deck.control(run, action)
            await deck.settle()
            status = (await deck.views.run(run)).status
        call.emit("run.control", {"run": run, "action": action, "status": status})
        said = str(wanted) if status is wanted else f"{action} is asked for; the process that works on it obeys shortly"
        call.say(f"{run}: {said}; go on with: quarterdeck resume {run}")


@app.command("_serve", hidden=True)
def serve(context: typer.Context, run: Run) -> None:
    """Work on a detached run; progress goes to stderr."""
    call = begin(context, json=False)
    raise typer.Exit(drive(_serve(call, run)))


async def _serve(call: Call, run: str) -> int:
    async with call.deck(own=True) as deck:
        call.run = run
        return await carry(call, deck, run)


# --- shared ---------------------------------------------------------------------------------------------------


async def carry(call: Call, deck: DeckApi, run: str, *, since: float = 0.0) -> int:
    """Work on the run until it is finished, waiting or paused, showing what happens; its exit code. Where somebody
    watches, what waits for a person's word is waited for."""
    await follow(call, deck, run, since=since)
    while call.attached and (approvals := await deck.views.approvals(run)):
        told_to_wait(call, approvals)
        shown = time.time()
        await deck.moved(run)
        await follow(call, deck, run, since=shown)
    result = await deck.result(run)
    show_result(call, result, served=result.status is RunStatus.WAITING and await deck.served())
    return result.exit_code


async def show_published(call: Call, deck: DeckApi, run: str) -> None:
    """Say where the run's pull request is, or why there is none yet."""
    url, wrong = await deck.outside.published(run)
    if url:
        call.say(f"pull request: {url}", Tone.GOOD)
    if wrong:
        call.warn(f"not published yet: {wrong}; quarterdeck triggers publish {run}")


async def run_id(deck: DeckApi, given: str) -> str:
    """The full id of a run. Raises NotFound, BadInput."""
    kind, full = await deck.resolve(given)
    if kind != "run":
        raise BadInput(f"{full} is a {kind}, not a run", fix=f"quarterdeck show {full}")
    return full


def _wanted(goal: str | None, command: str) -> str | None:
    if goal is not None and not goal.strip():
        raise BadInput("The goal is empty", fix=f'quarterdeck {command} "GOAL"')
    return goal


def _order(**fields: Any) -> Order:
    """The order as a value. Raises BadInput for what cannot be used."""
    try:
        return Order(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if name == "goal":
            fix = "put the long part into a file of the repository and name that file in the goal"
            raise BadInput("The goal cannot be used", why=complaint(first), fix=fix) from error
        raise BadInput(f"--{name.replace('_', '-')} cannot be used", why=complaint(first)) from error


async def _note(call: Call, deck: DeckApi, run: str, repository: Path) -> None:
    """What a person should know before it starts: what was detected, and what of the work tree is not used."""
    config = await deck.frozen(run)
    from_file = any(line.startswith(f".quarterdeck/{DECK_FILE} is read") for line in config.origin)
    if not any(line.startswith("checks.gate: from ") and "shows" not in line for line in config.origin):
        call.say(f"checks (detected): {'; '.join(config.deck.checks.gate) or 'none'}")
    _warn_unfenced(call, config)
    for line in config.origin:
        if line.startswith(WITHOUT):
            call.warn(line.removeprefix(WITHOUT))
    if old := outdated(models_of(config), config.deck.prices, time.time()):
        call.warn(old)
    for line in await unused(repository, from_file=from_file):
        call.say(line, Tone.WARN)


async def _warn_wider(call: Call, deck: DeckApi, run: str, repository: Path) -> None:
    """Name what the configuration of an earlier run allows beyond today's."""
    try:
        today = await deck.current(repository)
    except BadConfiguration as error:
        call.warn(f"today's configuration cannot be used, so that of {run} is not compared with it: {error}")
        return
    for line in wider((await deck.frozen(run)).deck, today.deck):
        call.warn(f"the configuration of {run} allows more than today's: {line}")


def _warn_unfenced(call: Call, config: RunConfig) -> None:
    if config.deck.sandbox.backend == "none":
        call.warn("sandbox none: agents run with all your rights and can read and change everything you can")


def detached(call: Call, run: str, *, served: bool = False) -> None:
    """Start a process of its own that works on the run, with its output in the deck's logs; `served`: a server does."""
    if served:
        call.data(run)
        call.emit("run.detached", {"run": run, "pid": None, "log": None})
        call.say(f"the server works on it; follow it with: quarterdeck logs {run} --follow")
        return
    log = call.settings.logs / f"{run}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            # -P: the directory it is started in is somebody's repository, not a place to import from
            [sys.executable, "-P", "-m", "quarterdeck.cli.main", "_serve", run],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    call.data(run)
    call.emit("run.detached", {"run": run, "pid": process.pid, "log": str(log)})
    call.say(f"works in the background (process {process.pid}); follow it with: quarterdeck logs {run} --follow")
