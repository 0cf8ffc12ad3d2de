"""`cost`: what was spent.

Rules
- Sums are over exact nano-USD; what rests on an estimate is marked, never hidden.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import typer

from quarterdeck.cli.amounts import tokens, usd
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.text import Column
from quarterdeck.journal.views import CostView
from quarterdeck.kernel.entities import Usage, to_usd
from quarterdeck.kernel.failures import BadInput
from quarterdeck.kernel.prices import outdated
from quarterdeck.settings import operator_config

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class By(StrEnum):
    """What costs are summed over."""

    RUN = "run"
    AGENT = "agent"
    MODEL = "model"
    TASK = "task"


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
    """Costs summed over `by`, the dearest first."""
    found: dict[str, Sum] = {}
    for cost in costs:
        name = _KEY[by](cost)
        found[name] = found.get(name, Sum(name)).plus(cost)
    return sorted(found.values(), key=lambda total: (-total.cost_nusd, total.name))


@app.command()
def cost(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(help="Only this run.", metavar="RUN", show_default=False)] = None,
    by: Annotated[By, typer.Option(help="What to sum over.")] = By.RUN,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Show what was spent, by run, agent, model or task."""
    drive(_cost(begin(context, json, no_input), run, by))


async def _cost(call: Call, run: str | None, by: By) -> None:
    async with call.deck() as deck:
        if run is not None:
            kind, call.run = await deck.resolve(run)
            if kind != "run":
                raise BadInput(f"{call.run} is a {kind}, not a run", fix="quarterdeck cost --by task")
        costs = await deck.views.costs(call.run)
    totals = sums(costs, by)
    for total in totals:
        call.emit(
            None,
            {
                by.value: total.name,
                "calls": total.calls,
                "estimated_calls": total.estimated_calls,
                "tokens": total.usage,
                "cost_usd": to_usd(total.cost_nusd),
            },
        )
    if not totals:
        if not call.json:
            call.say("nothing was spent")
        return
    names = [by.value, "calls", "in", "cached", "out", "cost"]
    columns = [Column(name, right=number > 0) for number, name in enumerate(names)]
    call.table(columns, [_row(total) for total in [*totals, _all(totals)]])
    priced = operator_config(call.settings.home).config.prices
    if old := outdated({cost.model for cost in costs}, priced, time.time()):
        call.warn(old)
    if any(total.estimated_calls for total in totals):
        call.say("~ rests in part on estimates: the provider sent no usage for some calls")


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
