"""`agents --probe`: whether an agent can really work here.

Rules
- A probe is an ordinary run with one small task, in a repository made for it and removed afterwards: the same sandbox,
  gateway, login and checks as any other run, and on record like it.
- It may spend little, has one attempt, and ends without asking anybody.
- The repository's own definitions of agents are taken over, so that what is tried is what would work there. An agent
  whose program is a file of the repository is not tried: without the rest it fails, which says nothing about it.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from quarterdeck.cli.amounts import usd
from quarterdeck.cli.call import Call
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.text import Tone
from quarterdeck.delivery.order import Order, RunResult
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Harness, to_nusd
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import BadConfiguration, BadInput, Exit, NotFound, QuarterdeckError
from quarterdeck.workplace.git import NO_CONFIGURATION, Git

ALL: Final = "all"
BUDGET: Final = 2.0
"""USD that one probe may spend."""
_DEFINITIONS: Final = (Path(".quarterdeck/agents"), Path(".claude/agents"))
_DECK: Final = """[checks]
gate = ["test -s ready.txt"]
[limits]
attempts = 1
wall = "5m"
turns = 12
"""
_PLAN: Final = """v: 1
goal: Probe of {agent}
tasks:
  - id: probe
    title: Say that you can work here
    instructions: Write the word "ready" into the file ready.txt, then submit. Do nothing else.
    paths: [ready.txt]
    agent: {agent}
    verify: ["test -s ready.txt"]
"""


async def probe_agents(call: Call, repository: Path, name: str) -> int:
    """Put an agent to work, or all that are installed; 0 where every one could."""
    async with call.deck() as deck:
        names = await _names(deck, await deck.current(repository), repository, name)
        bad = [agent for agent in names if not await _probed(call, deck, repository, agent)]
    return Exit.FAILED if bad else Exit.DONE


async def _names(deck: DeckApi, config: RunConfig, repository: Path, name: str) -> list[str]:
    if name != ALL:
        if name not in config.agents:
            raise NotFound(f"There is no agent {name}", fix="quarterdeck agents")
        if config.agents[name].expects != "submission":
            raise BadInput(f"{name} does not carry out tasks", fix="quarterdeck agents")
        if (file := own_file(config.agents[name], repository)) is not None:
            raise BadInput(
                f"{name} cannot be tried apart from its repository",
                why=f"its command needs {file}, and a probe has a repository of its own",
                fix=f"quarterdeck run --plan FILE, with a small task for {name}",
            )
        return [name]
    there = {cli.profile for cli in await deck.clis() if cli.installed}
    found = [agent.name for agent in config.agents.values() if agent.harness is Harness.ACP and agent.profile in there]
    if not found:
        raise BadConfiguration("None of the known command lines is installed", fix="quarterdeck doctor")
    return found


def own_file(agent: Agent, repository: Path) -> str | None:
    """The file of the repository that an agent's command names; None where it names none."""
    named = agent.command if agent.harness is Harness.COMMAND else ()
    return next((word for word in named if not Path(word).is_absolute() and _is_file(repository / word)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name, such as a script that stands in the command itself
        return False


async def _probed(call: Call, deck: DeckApi, repository: Path, agent: str) -> bool:
    """Try one; whether it can work. What keeps it from even beginning is said, not raised: others may work."""
    began = time.monotonic()
    result, why = None, ""
    with _place() as place:
        try:
            await _prepare(place, repository, agent)
            result = await _ran(deck, place, agent, call.settings.user)
            why = "" if result.status is RunStatus.DONE else result.tasks[0].reason or str(result.status)
        except QuarterdeckError as error:
            why = ", ".join(part for part in (str(error), error.fix) if part)
    seconds = time.monotonic() - began
    cost = result.cost_usd if result is not None else 0.0
    run = result.run if result is not None else ""
    told = {"agent": agent, "ok": not why, "why": why, "seconds": round(seconds, 1), "cost_usd": cost, "run": run}
    call.emit("probe", told)
    if why:
        call.data(f"{agent}: cannot work here: {why}" + (f" (quarterdeck logs {run})" if run else ""))
    else:
        call.data(f"{agent}: works, {seconds:.0f} s, {usd(to_nusd(cost))}")
        call.say(f"{agent} is ready", Tone.GOOD)
    return not why


@contextmanager
def _place() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="quarterdeck-probe-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _prepare(place: Path, repository: Path, agent: str) -> None:
    folder = place / "repository"
    for definitions in _DEFINITIONS:
        if (repository / definitions).is_dir():
            shutil.copytree(repository / definitions, folder / definitions)
    (folder / ".quarterdeck").mkdir(parents=True, exist_ok=True)
    (folder / ".quarterdeck" / "deck.toml").write_text(_DECK, encoding="utf-8")
    (place / "plan.yaml").write_text(_PLAN.format(agent=agent), encoding="utf-8")
    await Git(environment=NO_CONFIGURATION).run("init", "--quiet", "--initial-branch=main", str(folder))
    git = Git("-C", str(folder), environment=NO_CONFIGURATION)
    who = {
        f"GIT_{role}_{key}": "quarterdeck@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    await git.run("add", "--all")
    await git.run("commit", "--quiet", "--message=Probe", env=who)


async def _ran(deck: DeckApi, place: Path, agent: str, user: str) -> RunResult:
    order = Order(
        plan_path=place / "plan.yaml", repository=place / "repository", agent=agent, budget_usd=BUDGET, user=user
    )
    run = await deck.create(order)
    await deck.work(run)
    if not (await deck.views.run(run)).status.finished:  # nobody is asked about a probe
        result = await deck.result(run)
        await deck.control(run, "cancel")
        await deck.work(run)
        return result
    return await deck.result(run)
