"""Commands that say something to runs at work: `answer`, `retry`, `budget`, `comment`.

Rules
- What is acknowledged is durable. Where no process works on the run, the next command to type is said.
"""

from typing import Annotated

import typer

from quarterdeck.cli.amounts import number
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.runs import run_id
from quarterdeck.kernel.failures import BadInput

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Run = Annotated[str, typer.Argument(help="Id of the run, or its beginning.", metavar="RUN")]


@app.command()
def answer(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Run or attempt that asks, or its beginning.", metavar="RUN|ATTEMPT")],
    text: Annotated[str, typer.Argument(help="The answer.", metavar="TEXT")],
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Answer what an agent asks; name the attempt where several ask."""
    drive(_answer(begin(context, json, no_input), id, text))


@app.command()
def retry(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The task that did not merge.", metavar="RUN.TASK")],
    agent: Annotated[
        str | None, typer.Option(help="Agent that tries it now.", metavar="NAME", show_default=False)
    ] = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Try a task again that did not merge, with another agent if you like; a run that has ended goes on."""
    drive(_retry(begin(context, json, no_input), id, agent))


@app.command()
def budget(
    context: typer.Context,
    run: Run,
    usd: Annotated[float, typer.Argument(help="The run's new budget.", metavar="USD", callback=number)],
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Raise the budget of a run while it works."""
    drive(_budget(begin(context, json, no_input), run, usd))


@app.command()
def comment(
    context: typer.Context,
    attempt: Annotated[str, typer.Argument(help="Attempt whose change it is about.", metavar="ATTEMPT")],
    text: Annotated[str, typer.Argument(help="What to say.", metavar="TEXT")],
    at: Annotated[
        str, typer.Option("--at", help="The file, and the line if you like.", metavar="PATH[:LINE]", show_default=False)
    ] = "",
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Comment on a change; the agent at work on the task, or the next one, reads it."""
    drive(_comment(begin(context, json, no_input), attempt, at, text))


async def _answer(call: Call, id: str, text: str) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        run = call.run = full.partition(".")[0]
        attempt = full if kind == "attempt" else None
        if kind == "task":
            asking = [wait.attempt for wait in await deck.views.waits(run) if f"{run}.{wait.task}" == full]
            attempt = asking[0] if asking else full
        await deck.answer(run, text, attempt=attempt, by=call.settings.user)
        await _said(call, deck, "question.answered", run, {"attempt": attempt or ""}, f"{full} is answered")


async def _retry(call: Call, id: str, agent: str | None) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        if kind == "run":
            fix = f"quarterdeck resume {full} --retry   (tries everything again that did not merge)"
            raise BadInput(f"{full} is a run", why="one of its tasks is tried again", fix=fix)
        run, task, *_ = full.split(".")
        call.run = run
        await deck.retry(run, task, agent=agent, by=call.settings.user)
        whom = f" with {agent}" if agent else ""
        await _said(
            call, deck, "task.retried", run, {"task": task, "agent": agent}, f"{run}.{task} is tried again{whom}"
        )


async def _budget(call: Call, given: str, amount: float) -> None:
    async with call.deck() as deck:
        run = call.run = await run_id(deck, given)
        await deck.raise_budget(run, amount, by=call.settings.user)
        await _said(call, deck, "budget.raised", run, {"budget_usd": amount}, f"{run} may spend ${amount:.2f}")


async def _comment(call: Call, id: str, at: str, text: str) -> None:
    path, _, number = at.rpartition(":")
    if not path or not number.isdecimal():
        path, number = at, ""
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        run = call.run = full.partition(".")[0]
        if kind == "task":
            # Of those that began: what the next attempt reads is said about the one before.
            begun = [each for each in await deck.views.attempts(run) if each.attempt == f"{full}.{each.number}"]
            full = max(begun, key=lambda each: each.number).attempt if begun else full
        line = int(number) if number else None
        await deck.comment(full, path, line, text, by=call.settings.user)
        body = {"attempt": full, "path": path, "line": line}
        call.emit("agent.commented", {"run": run, **body})
        call.say(f"{full}: on record; the agent at work on its task reads it before its next step, or the next attempt")


async def _said(call: Call, deck: DeckApi, kind: str, run: str, body: dict[str, object], words: str) -> None:
    await deck.settle()
    attended = await deck.attended()
    call.emit(kind, {"run": run, **body, "attended": attended})
    call.say(words if attended else f"{words}; nobody works on it now, go on with: quarterdeck resume {run}")
