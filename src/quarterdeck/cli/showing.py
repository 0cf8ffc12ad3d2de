"""How a run's result and its parts are printed for people. Scripts get the values themselves.

Rules
- What was asked for is data and goes to stdout; what to do next is prose and goes to stderr.
"""

import shlex
from collections.abc import Sequence

from quarterdeck.cli.amounts import duration, tokens, usd
from quarterdeck.cli.call import Call
from quarterdeck.cli.text import Column, clean, paint, status_tone
from quarterdeck.delivery.order import RunResult, Target
from quarterdeck.kernel.entities import Usage, to_nusd
from quarterdeck.kernel.events import RunStatus, TaskStatus

_SHA = 10


def show_result(call: Call, result: RunResult, *, served: bool = False) -> None:
    """The end of a run: one JSON line, or what landed, what did not and why, and what comes next. served: a server
    goes on with it by itself."""
    call.emit(None, result)
    if call.live:
        call.say("")
    status = paint(result.status, status_tone(result.status), color=call.color_out)
    call.data(f"{result.run}  {status}  {place(result)}")
    if result.reason:
        call.data(f"  {clean(result.reason)}")
    if result.tasks:
        call.data("")
        columns = [
            Column("task"),
            Column("status", status=True),
            Column("tries", right=True),
            Column("commit", spare=True),
            Column("why"),
        ]
        rows = [(t.id, str(t.status), str(t.attempts), (t.commit or "")[:_SHA], t.reason) for t in result.tasks]
        call.table(columns, rows)
    call.data("")
    call.data(f"cost {usd(to_nusd(result.cost_usd))} · {_used(result.tokens)} · {duration(result.wall_s)}")
    for limitation in result.limitations:
        call.data(f"limitation: {clean(limitation)}")
    if hint := next_step(result, served=served):
        call.say(hint)


def place(result: RunResult) -> str:
    """Where the work is: a branch that nothing has landed on may be none, and stands where others left it."""
    if _landed(result):
        return f"{result.target.branch} at {result.target.sha[:_SHA] or '-'}"
    return f"nothing landed on {result.target.branch}{'' if result.status.finished else ' yet'}"


def next_step(result: RunResult, *, served: bool) -> str:
    """What a person would type next."""
    run = result.run
    match result.status:
        case RunStatus.DONE:
            return f"next: {_look(result.target) if _landed(result) else f'quarterdeck show {run}'}"
        case RunStatus.WAITING:
            then = "it goes on by itself" if served else f"quarterdeck resume {run}"
            return f"next: quarterdeck inbox (answer or approve what waits), then {then}"
        case RunStatus.PARTIAL | RunStatus.FAILED:
            return f"next: quarterdeck show {run} --report"
        case _:
            return f"next: quarterdeck resume {run}"


def _landed(result: RunResult) -> bool:
    return any(task.status is TaskStatus.MERGED for task in result.tasks)


def _look(target: Target) -> str:
    """The command that shows what landed: of a branch that is elsewhere, with fetching it."""
    if target.remote:
        return f"git fetch {shlex.quote(target.remote)} {target.branch} && git log --oneline FETCH_HEAD"
    return f"git log --oneline {target.branch}"


def _used(usage: Usage) -> str:
    cached = f" ({tokens(usage.cache_read)} from cache)" if usage.cache_read else ""
    return f"{tokens(usage.prompt)} tokens in{cached}, {tokens(usage.output)} out"


def pairs(call: Call, values: Sequence[tuple[str, str]]) -> None:
    """Aligned `label  value` lines; empty values are left out."""
    for label, value in values:
        if value:
            call.data(f"{label:<11}{clean(value)}")
