"""Commands that show what happened: `ps`, `show`, `logs`.

Rules
- They need no lock and change nothing.
- An id may be shortened to any beginning that only one run, task or attempt has.
"""

import time
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

import typer

from quarterdeck.cli.amounts import duration, usd
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.following import as_object
from quarterdeck.cli.lines import describe, noticed
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.printed import printed
from quarterdeck.cli.reading import About, history
from quarterdeck.cli.showing import pairs
from quarterdeck.cli.text import Column, Tone, clean, fit
from quarterdeck.journal.port import Record
from quarterdeck.journal.views import CostView, NoticeView, RunView, TaskView, WaitView
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import to_usd
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import BadInput, NotFound

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SHA = 10
_HELD = 3
"""Runs whose reason for being held is said."""
Id = Annotated[str, typer.Argument(help="Id of a run, task or attempt, or its beginning.", metavar="ID")]


@app.command()
def ps(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """List runs, newest first."""
    drive(_ps(begin(context, json, no_input)))


async def _ps(call: Call) -> None:
    async with call.deck() as deck:
        runs = await deck.views.runs()
        attended = await deck.attended()
        unusual = Counter(notice.run for notice in await deck.views.notices())
    for run in runs:
        call.emit(None, {**run_object(run), "attended": attended and _going(run), "notices": unusual[run.run]})
    if runs:
        now = time.time()
        columns = [
            Column("run"),
            Column("status", status=True),
            Column("cost", right=True),
            Column("age", right=True),
            Column("branch", spare=True),
            Column("goal"),
        ]
        call.table(
            columns,
            [
                (
                    r.run,
                    _status(r, attended=attended),
                    usd(r.cost_nusd) + ("!" if unusual[r.run] else ""),
                    duration(now - r.created_at),
                    fit(r.branch, 32),
                    r.goal,
                )
                for r in runs
            ],
        )
        if seen := [run.run for run in runs if unusual[run.run]]:
            call.say(
                f"! spending left its baseline in {', '.join(seen[:3])}; see: quarterdeck show {seen[0]}", Tone.WARN
            )
        left = [run.run for run in runs if _going(run)]
        if left and not attended:
            call.say(f"no process works on {', '.join(left[:5])}; go on with: quarterdeck resume {left[0]}", Tone.WARN)
        held = [run for run in runs if attended and _going(run) and run.reason]
        for run in held[:_HELD]:
            call.say(f"{run.run} is held: {run.reason}", Tone.WARN)
        if held[_HELD:]:
            call.say(f"and {len(held) - _HELD} more are held", Tone.WARN)
    elif not call.json:
        call.say('no runs yet; start one with: quarterdeck run "GOAL"')


@app.command()
def show(
    context: typer.Context,
    id: Id,
    report: Annotated[bool, typer.Option("--report", help="The run's report, as Markdown.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="The run's plan, as YAML.")] = False,
    output: Annotated[bool, typer.Option("--output", help="What its agents and checks printed.")] = False,
    events: Annotated[int, typer.Option(help="How many of the last events.", metavar="N", min=0)] = 12,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Show one run, task or attempt with its costs, questions and last events."""
    call = begin(context, json, no_input)
    if report + plan + output > 1:
        raise BadInput("--report, --plan and --output exclude each other", fix=f"quarterdeck show {id} --report")
    if output:
        drive(_output(call, id))
    else:
        drive(_text(call, id, report=report) if report or plan else _show(call, id, events))


async def _output(call: Call, id: str) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        call.run = full.partition(".")[0]
        run = await deck.views.run(call.run)
        about = About(full)
        records = [r for r in await history(deck.journal, call.run, run.target) if kind == "run" or about(r)]
        async for each in printed(deck.journal, records):
            call.emit("output", each)
            call.data(each.lines())


async def _text(call: Call, id: str, *, report: bool) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        call.run = full.partition(".")[0]
        if kind != "run":
            raise BadInput(f"{full} is a {kind}, not a run", fix=f"quarterdeck show {call.run}")
        text = await (deck.report(full) if report else deck.plan_text(full))
    # A report repeats what others wrote; a plan has escapes of its own and is printed as it is read back.
    call.data((clean(text, lines=True) if report else text).rstrip("\n"))
    call.emit("report" if report else "plan", {"run": full, "markdown" if report else "yaml": text})


async def _show(call: Call, id: str, last: int) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        call.run = full.partition(".")[0]
        run = await deck.views.run(call.run)
        tasks = await deck.views.tasks(call.run)
        costs = [cost for cost in await deck.views.costs(call.run) if _within(cost.attempt, full)]
        waits = [wait for wait in await deck.views.waits(call.run) if kind == "run" or _within(wait.attempt, full)]
        attempts = [each for each in await deck.views.attempts(call.run) if _within(each.attempt, full)]
        about = About(full)
        records = [r for r in await history(deck.journal, call.run, run.target) if kind == "run" or about(r)]
        ordered = await deck.ordered(call.run)
        attended = await deck.attended()
        back = await _reverts(deck, full)
        notices = await deck.views.notices(call.run) if kind == "run" else []
    common: dict[str, Any] = {
        "attempts": [asdict(each) for each in attempts],
        "costs": [cost_object(cost) for cost in costs],
        "waits": [asdict(wait) for wait in waits],
        "reverted_by": back,
        "events": [as_object(record, run.run) for record in records[len(records) - last :]] if last else [],
    }
    if kind == "run":
        took = {"reverts": ordered.reverts, "config_of": ordered.config_of}
        call.emit(
            "run", {**run_object(run), **took, "tasks": [asdict(task) for task in tasks], **common, **_unusual(notices)}
        )
        _run_block(call, run, tasks, ordered, attended=attended)
        for notice in notices:
            call.say(noticed(notice), Tone.WARN)
        _told_back(call, back)
        if _going(run) and not attended:
            call.say(f"no process works on it; go on with: quarterdeck resume {run.run}", Tone.WARN)
    elif kind == "task":
        task = _task(tasks, full)
        call.emit("task", {**asdict(task), **common})
        _task_block(call, task, sum(cost.cost_nusd for cost in costs))
        _told_back(call, back)
    else:
        call.emit("attempt", {"run": run.run, "attempt": full, **common})
        pairs(call, [("attempt", full), ("cost", usd(sum(cost.cost_nusd for cost in costs)))])
    if kind != "run" and attempts:
        call.data("")
        columns = [
            Column("attempt"),
            Column("status", status=True),
            Column("agent"),
            Column("harness"),
            Column("steps", right=True),
        ]
        call.table(columns, [(a.attempt, a.status, a.agent, a.harness, str(a.steps)) for a in attempts])
    _waits(call, waits)
    _last(call, records, last)


async def _reverts(deck: DeckApi, full: str) -> list[dict[str, str]]:
    """Runs that took this run or task, its run, or tasks of it back, oldest first."""
    run = full.partition(".")[0]
    found = []
    for view in reversed(await deck.views.runs()):
        if view.goal.startswith(f"Revert {run}"):  # spares reading the order of every run there is
            of = (await deck.ordered(view.run)).reverts
            if of == run or _within(of, full):
                found.append({"run": view.run, "of": of, "status": str(view.status)})
    return found


def _unusual(notices: list[NoticeView]) -> dict[str, Any]:
    return {"notices": [notice_object(notice) for notice in notices]}


def notice_object(notice: NoticeView) -> dict[str, Any]:
    """A notice as `--json` prints it: money in USD."""
    body = asdict(notice)
    amounts = {name: to_usd(body.pop(f"{name}_nusd")) for name in ("spent", "usual", "bound")}
    return {**body, **{f"{name}_usd": amount for name, amount in amounts.items()}}


def _told_back(call: Call, back: list[dict[str, str]]) -> None:
    for each in back:
        what = f" (with all of {each['of']})" if "." not in each["of"] else f" ({each['of']})"
        pairs(call, [("taken back", f"by {each['run']}, {each['status']}{what}")])


def _within(attempt: str, id: str) -> bool:
    return attempt == id or attempt.startswith(f"{id}.")


def _task(tasks: list[TaskView], full: str) -> TaskView:
    for task in tasks:
        if f"{task.run}.{task.task}" == full:
            return task
    raise NotFound(f"There is no task {full}", fix=f"quarterdeck show {full.partition('.')[0]}")


def _going(run: RunView) -> bool:
    """Whether something should be happening in the run."""
    return not run.status.finished and run.status not in (RunStatus.PAUSED, RunStatus.WAITING)


def _status(run: RunView, *, attended: bool) -> str:
    """What a person reads: nothing runs where nobody works on it, or where a limit holds it back."""
    if not _going(run):
        return str(run.status)
    return ("held" if run.reason else str(run.status)) if attended else "interrupted"


def because(status: str, reason: str | None) -> str:
    """A status with its reason, where that says more. Pure."""
    return f"{status}, {reason}" if reason and reason != status else status


def _run_block(call: Call, run: RunView, tasks: list[TaskView], ordered: e.RunCreated, *, attended: bool) -> None:
    end = run.finished_at or time.time()
    pairs(
        call,
        [
            ("run", run.run),
            ("status", because(_status(run, attended=attended), run.reason)),
            ("goal", fit(run.goal, 400)),
            ("reverts", ordered.reverts),
            ("config of", ordered.config_of),
            ("repository", run.repository),
            ("target", f"{run.branch}{f' at {run.sha[:_SHA]}' if run.sha else ''}, from {run.base[:_SHA]}"),
            ("cost", f"{usd(run.cost_nusd)} of {usd(run.budget_nusd)}"),
            ("time", f"{duration(end - run.created_at)}, ordered by {run.user}"),
        ],
    )
    if tasks:
        call.data("")
        columns = [
            Column("task"),
            Column("status", status=True),
            Column("agent", spare=True),
            Column("tries", right=True),
            Column("commit", spare=True),
            Column("what"),
        ]
        call.table(
            columns,
            [
                (t.task, str(t.status), t.agent, str(t.attempts), (t.commit or "")[:_SHA], t.reason or t.title)
                for t in tasks
            ],
        )


def _task_block(call: Call, task: TaskView, cost_nusd: int) -> None:
    pairs(
        call,
        [
            ("task", f"{task.run}.{task.task}"),
            ("title", task.title),
            ("status", because(str(task.status), task.reason)),
            ("agent", task.agent),
            ("commit", task.commit or ""),
            ("cost", usd(cost_nusd)),
        ],
    )


def _waits(call: Call, waits: list[WaitView]) -> None:
    if waits:
        call.data("")
        for wait in waits:
            call.data(f"waits for you since {duration(time.time() - wait.since)}: {wait.attempt or wait.run}")
            pairs(call, [("", wait.question)])
        call.say(f"next: quarterdeck resume {waits[0].run} --answer TEXT")


def _last(call: Call, records: list[Record], last: int) -> None:
    shown = [record for record in records if not _taken_over(record)]
    if last and shown and not call.json:
        call.data("")
        for record in shown[-last:]:
            call.log(describe(record), out=True)


def run_object(run: RunView) -> dict[str, Any]:
    """A run as `--json` prints it: money in USD."""
    body = asdict(run)
    budget, cost = body.pop("budget_nusd"), body.pop("cost_nusd")
    return {**body, "budget_usd": to_usd(budget), "cost_usd": to_usd(cost)}


def cost_object(cost: CostView) -> dict[str, Any]:
    """A cost as `--json` prints it: money in USD."""
    body = asdict(cost)
    spent = body.pop("cost_nusd")
    return {**body, "cost_usd": to_usd(spent)}


# --- logs -----------------------------------------------------------------------------------------------------


@app.command()
def logs(
    context: typer.Context,
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Print the log of a run, task or attempt."""
    drive(_logs(begin(context, json, no_input), id, follow=follow))


async def _logs(call: Call, id: str, *, follow: bool) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        call.run = full.partition(".")[0]
        run = await deck.views.run(call.run)
        if follow and not run.status.finished:
            if _going(run) and not await deck.attended():
                call.say(f"no process works on it; go on with: quarterdeck resume {run.run}", Tone.WARN)
            await _follow(call, deck, kind, full)
            return
        about = About(full)
        for record in await history(deck.journal, call.run, run.target):
            _print(call, record, kind, about)


async def _follow(call: Call, deck: DeckApi, kind: str, full: str) -> None:
    run, about = full.partition(".")[0], About(full)
    async for record in deck.events(run):
        _print(call, record, kind, about)
        # A run that was resumed has an earlier end in its stream.
        if isinstance(record.event, e.RunFinished) and (await deck.views.run(run)).status.finished:
            return


def _taken_over(record: Record) -> bool:
    """The run's stream takes a node over from its attempt: for people one line is enough."""
    return record.stream.startswith("attempt/") and isinstance(record.event, e.NodeStarted | e.NodeFinished)


def _print(call: Call, record: Record, kind: str, about: About) -> None:
    if _taken_over(record) or (kind != "run" and not about(record)):
        return
    if call.json:
        call.emit("event", as_object(record, call.run or ""))
    else:
        call.log(describe(record), out=True)
