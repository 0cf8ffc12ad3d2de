"""`cost`: what was spent, and what of each budget is left.

Rules
- Sums are over exact nano-USD; what rests on an estimate is marked, never hidden.
- A purse holds what was spent and what is set aside for calls under way. The caps of days are those that hold over the
  deck now; a day that is over has none.
- People see everything at once, scripts one list: the keys of a line say what it is about.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.amounts import tokens, usd
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.lines import noticed
from quarterdeck.cli.text import Column, Tone
from quarterdeck.govern.chain import DayCaps, day_of, run_purse
from quarterdeck.govern.days import held
from quarterdeck.journal.views import CostView, PurseView
from quarterdeck.kernel.entities import Usage, to_usd
from quarterdeck.kernel.failures import BadInput
from quarterdeck.kernel.prices import outdated
from quarterdeck.settings import operator_config

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_NOTICES = 5
"""How many of the newest notices a person is shown; `show` has all of a run."""

_DAYS = 14
"""How many days a person is shown."""


class By(StrEnum):
    """What costs are summed over."""

    RUN = "run"
    AGENT = "agent"
    MODEL = "model"
    TASK = "task"
    USER = "user"
    DAY = "day"
    KEY = "key"


_OF_ALL: Final = (By.DAY, By.USER, By.KEY)
"""What is not of one run."""

_KEY: dict[By, Callable[[CostView], str]] = {
    By.RUN: lambda cost: cost.run,
    By.AGENT: lambda cost: cost.agent,
    By.MODEL: lambda cost: cost.model,
    By.TASK: lambda cost: f"{cost.run}.{cost.task}",
}


@dataclass(frozen=True, slots=True)
class Sum:
    """What was spent by one agent, on one model, ..."""

    name: str
    calls: int = 0
    estimated_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_nusd: int = 0

    def plus(self, cost: CostView) -> "Sum":
        return Sum(
            self.name,
            self.calls + cost.calls,
            self.estimated_calls + cost.estimated_calls,
            self.usage + cost.usage,
            self.cost_nusd + cost.cost_nusd,
        )


def sums(costs: Iterable[CostView], by: By) -> list[Sum]:
    """Costs summed over `by` (a run, agent, model or task), the dearest first."""
    found: dict[str, Sum] = {}
    for cost in costs:
        name = _KEY[by](cost)
        found[name] = found.get(name, Sum(name)).plus(cost)
    return sorted(found.values(), key=lambda total: (-total.cost_nusd, total.name))


@app.command()
def cost(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(help="Only this run.", metavar="RUN", show_default=False)] = None,
    by: Annotated[
        By | None,
        typer.Option(help="What to sum over.  [default: everything; with --json: run]", show_default=False),
    ] = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Show what was spent and what is left, by day, user, run, agent, model, task or key of the gateway."""
    drive(_cost(begin(context, json, no_input), run, by))


async def _cost(call: Call, run: str | None, by: By | None) -> None:
    if run is not None and by in _OF_ALL:
        raise BadInput(f"{by} is not of one run", fix=f"quarterdeck cost --by {by}")
    async with call.deck() as deck:
        if run is not None:
            kind, call.run = await deck.resolve(run)
            if kind != "run":
                raise BadInput(f"{call.run} is a {kind}, not a run", fix="quarterdeck cost --by task")
        costs = await deck.views.costs(call.run)
        purses = {purse.purse: purse for purse in await deck.views.purses()}
        notices = await deck.views.notices(call.run)
        caps = await deck.day_caps()
    if by is not None:
        wanted = [by]
    elif call.json:
        wanted = [By.RUN]
    else:
        wanted = [By.RUN, By.AGENT, By.MODEL] if run is not None else [*_OF_ALL, By.RUN, By.AGENT, By.MODEL]
    unusual = {(notice.about, notice.name) for notice in notices}
    shown = [_shown(call, one, costs, purses, caps, unusual) for one in wanted]
    if not any(shown) and not call.json:
        keys = By.KEY not in wanted and run is None and _keys(purses)
        call.say("no run has spent anything: quarterdeck cost --by key" if keys else "nothing was spent")
    for notice in notices[:_NOTICES]:
        call.say(f"{notice.run}: {noticed(notice)}", Tone.WARN)
    priced = operator_config(call.settings.home).config.prices
    if old := outdated({cost.model for cost in costs}, priced, time.time()):
        call.warn(old)
    if any(each.estimated_calls for each in costs):
        call.say("~ rests in part on estimates: the provider sent no usage for some calls")


def _shown(
    call: Call,
    by: By,
    costs: list[CostView],
    purses: Mapping[str, PurseView],
    caps: DayCaps,
    unusual: Set[tuple[str, str]],
) -> bool:
    """Show one list; whether there was anything in it."""
    match by:
        case By.USER | By.DAY:
            return _of_days(call, by, purses, caps, unusual)
        case By.KEY:
            return _of_keys(call, _keys(purses))
        case _:
            return _sums(call, by, costs, purses, unusual)


def _keys(purses: Mapping[str, PurseView]) -> list[PurseView]:
    """The purses of keys of the gateway alone that spent anything, the dearest first."""
    keys = [one for one in purses.values() if one.purse.startswith("key/") and (one.settled_nusd or one.reserved_nusd)]
    return sorted(keys, key=lambda one: (-one.settled_nusd, one.purse))


def _of_keys(call: Call, keys: list[PurseView]) -> bool:
    """Show keys of the gateway alone; whether there were any. What their budget was is known to their process only."""
    rows = []
    for one in keys:
        name = one.purse.partition("/")[2]
        call.emit(None, {"key": name, **_money(one.settled_nusd, one.reserved_nusd, one.cap_nusd)})
        rows.append([name, *_amounts(one.settled_nusd, one.reserved_nusd, None)[:2]])
    if rows:
        call.table([Column("key"), Column("cost", right=True), Column("reserved", right=True)], rows)
        call.data("")
    return bool(rows)


def _of_days(call: Call, by: By, purses: Mapping[str, PurseView], caps: DayCaps, unusual: Set[tuple[str, str]]) -> bool:
    """Show days, or people's days; whether there were any."""
    today = day_of(time.time())
    rows = [one for one in held(purses.values(), caps, today) if bool(one.user) == (by is By.USER)]
    for one in rows:
        whose = {"user": one.user} if by is By.USER else {"noticed": ("day", one.day) in unusual}
        body: dict[str, Any] = {"day": one.day, **whose}
        call.emit(None, {**body, **_money(one.settled_nusd, one.reserved_nusd, one.cap_nusd)})
    kept = rows if by is By.DAY else [one for one in rows if one.day == rows[0].day]
    if kept:
        who = [Column("user")] if by is By.USER else []
        columns = [*who, Column("day (UTC)"), *(Column(name, right=True) for name in ("cost", "reserved", "cap"))]
        call.table(
            columns,
            [
                [*([one.user] if who else []), one.day, *_amounts(one.settled_nusd, one.reserved_nusd, one.cap_nusd)]
                for one in kept[:_DAYS]
            ],
        )
        call.data("")
    return bool(rows)


def _sums(
    call: Call,
    by: By,
    costs: list[CostView],
    purses: Mapping[str, PurseView],
    unusual: Set[tuple[str, str]],
) -> bool:
    """Show sums of costs, of runs with what their budget holds; whether there were any."""
    totals = sums(costs, by)
    of = {total.name: purses.get(run_purse(total.name)) if by is By.RUN else None for total in totals}
    for total in totals:
        body: dict[str, Any] = {
            by.value: total.name,
            "calls": total.calls,
            "estimated_calls": total.estimated_calls,
            "tokens": total.usage,
            "cost_usd": to_usd(total.cost_nusd),
            "noticed": (by.value, total.name) in unusual,
        }
        if (purse := of[total.name]) is not None:
            body = {**body, **_money(purse.settled_nusd, purse.reserved_nusd, purse.cap_nusd, cost=False)}
        call.emit(None, body)
    if not totals:
        return False
    names = [by.value, "calls", "in", "cached", "out", "cost", *(["reserved", "cap"] if by is By.RUN else [])]
    columns = [Column(name, right=number > 0) for number, name in enumerate(names)]
    more = {name: _amounts(0, purse.reserved_nusd, purse.cap_nusd)[1:] for name, purse in of.items() if purse}
    rest = [""] * (len(columns) - len(_row(_all(totals))))
    rows = [_row(total) + more.get(total.name, rest) for total in totals]
    call.table(columns, [*rows, _row(_all(totals)) + rest])
    call.data("")
    return True


def _money(settled: int, reserved: int, cap: int | None, *, cost: bool = True) -> dict[str, float | None]:
    body: dict[str, float | None] = {
        "settled_usd": to_usd(settled),
        "reserved_usd": to_usd(reserved),
        "cap_usd": None if cap is None else to_usd(cap),
    }
    return {"cost_usd": to_usd(settled), **body} if cost else body


def _amounts(settled: int, reserved: int, cap: int | None) -> list[str]:
    return [usd(settled), usd(reserved) if reserved else "", "" if cap is None else usd(cap)]


def _all(totals: list[Sum]) -> Sum:
    return Sum(
        "all",
        sum(total.calls for total in totals),
        sum(total.estimated_calls for total in totals),
        sum((total.usage for total in totals), Usage()),
        sum(total.cost_nusd for total in totals),
    )


def _row(total: Sum) -> list[str]:
    used = total.usage
    about = "~" if total.estimated_calls else ""
    return [
        total.name,
        str(total.calls),
        tokens(used.prompt),
        tokens(used.cache_read),
        tokens(used.output),
        about + usd(total.cost_nusd),
    ]
