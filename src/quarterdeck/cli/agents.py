"""The command `agents`: who there is, on what it runs, what it owns, whom it gives work to.

Rules
- What is shown is what a run in that repository would have now; a file that is not committed is named as not used.
- Of an agent that works on a command line of this machine, its version is shown, or that it is not installed.
- `--probe` really puts an agent to work, on a repository made for it: nothing else proves that it can work here.
- What is worth a look (owners that overlap, circles, an agent without a model) is a warning, never an error.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from quarterdeck.agents.escalation import successor
from quarterdeck.agents.roster import HUMAN
from quarterdeck.agents.routing import equipped
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.probing import probe_agents
from quarterdeck.cli.text import Column, Tone
from quarterdeck.cli.unused import left_out
from quarterdeck.delivery.plans.ownership import fleet_warnings
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Harness
from quarterdeck.kernel.failures import Exit

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Repository = Annotated[Path, typer.Option("--repo", help="The git repository.", metavar="DIR")]

Probe = Annotated[
    str | None,
    typer.Option(
        help="Put this agent to work once, on a repository of its own; `all`: every one that is installed.",
        metavar="NAME",
        show_default=False,
    ),
]


@app.command()
def agents(
    context: typer.Context,
    repo: Repository = Path(),
    probe: Probe = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """List the agents of a repository, or try one."""
    call = begin(context, json, no_input)
    raise typer.Exit(drive(_agents(call, repo.absolute(), probe)))


async def _agents(call: Call, repository: Path, probe: str | None) -> int:
    for note in await left_out(repository):
        call.say(note, Tone.WARN)
    if probe is not None:
        return await probe_agents(call, repository, probe)
    async with call.deck() as deck:
        config, clis = await deck.current(repository), {cli.profile: cli for cli in await deck.clis()}
    for agent in config.agents.values():
        call.emit("agent", agent_object(agent, config))
    for cli in clis.values():
        call.emit("cli", cli)
    names = ("agent", "harness", "runs on", "owns", "delegates to", "escalates to", "description")
    rows = [
        (
            agent.name,
            str(agent.harness),
            clis[agent.profile].label if agent.profile in clis else runs_on(agent, config),
            ", ".join(agent.owns),
            ", ".join(agent.delegates_to),
            " -> ".join(line(agent, config)),
            agent.description,
        )
        for agent in config.agents.values()
    ]
    call.table([Column(name, spare=name in ("owns", "delegates to", "escalates to")) for name in names], rows)
    for text in warnings(config):
        call.warn(text)
    return Exit.DONE


def runs_on(agent: Agent, config: RunConfig) -> str:
    """The program, the model, or the tier with its first model."""
    if agent.command:
        return " ".join(agent.command[:1])
    if agent.harness is not Harness.NATIVE or agent.model:
        return agent.model or ""
    models = config.deck.tiers.get(agent.tier, ())
    return f"{agent.tier}: {models[0] if models else 'no model'}"


def line(agent: Agent, config: RunConfig) -> tuple[str, ...]:
    """Whom its work goes to, one after the other, after it has had its attempts."""
    found: list[str] = []
    while HUMAN not in found:
        had = (agent.name, *found)
        to = successor(had[-1], had, config.agents, config.deck, agent.expects)
        if to is None:
            break
        found.append(to)
    return tuple(found)


def warnings(config: RunConfig) -> Iterator[str]:
    """What is worth a look in these agents together."""
    yield from fleet_warnings(config.agents)
    idle: dict[str, list[str]] = {}
    for name, agent in sorted(config.agents.items()):
        if not equipped(agent, config.deck):
            idle.setdefault(agent.tier, []).append(name)
    for tier, names in idle.items():
        yield f"[tiers] {tier} names no model: {', '.join(names)} cannot work; nobody escalates or delegates to them"


def agent_object(agent: Agent, config: RunConfig) -> dict[str, Any]:
    """An agent as `--json` prints it."""
    models = [agent.model] if agent.model else list(config.deck.tiers.get(agent.tier, ()))
    native = agent.harness is Harness.NATIVE
    return {**agent.model_dump(mode="json"), "models": models if native else [], "escalation": line(agent, config)}
