"""`config`: the configuration that holds, the one that a run used, what differs, and the way back to it.

Rules
- What a run used is the value that was frozen when it was created: checks, limits, prices, agents and their prompts.
- A comparison is against what a new run in the repository would get today.
- Writing back restores the repository's own files as the run saw them, and no edit that is not committed is lost. The
  operator's file is not touched.
"""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.runs import run_id
from quarterdeck.cli.starter import effective
from quarterdeck.cli.text import Tone, clean
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadInput, BadRepository, Conflicting, NotFound
from quarterdeck.settings import DECK_FILE
from quarterdeck.workplace.afar import is_remote
from quarterdeck.workplace.git import Git, decode
from quarterdeck.workplace.repository import examine

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_FOLDER: Final = ":(top).quarterdeck"


@app.command()
def config(
    context: typer.Context,
    repo: Annotated[
        Path | None,
        typer.Option("--repo", help="The git repository.  [default: ., with --of the run's]", metavar="DIR"),
    ] = None,
    of: Annotated[
        str | None, typer.Option(help="The configuration that this run used.", metavar="RUN", show_default=False)
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="With --of: how it differs from today's.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="With --of: write the repository's .quarterdeck/ back to it.")
    ] = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Print the effective configuration and where it comes from, or the one that a run used."""
    call = begin(context, json, no_input)
    if of is None and (diff or write):
        raise BadInput("--diff and --write need --of RUN", fix="quarterdeck config --of RUN --diff")
    if diff and write:
        raise BadInput("--diff and --write exclude each other", fix=f"quarterdeck config --of {of} --diff")
    if of is None:
        drive(_today(call, (repo or Path()).absolute()))
    else:
        drive(_of(call, of, repo.absolute() if repo else None, diff=diff, write=write))


async def _today(call: Call, repository: Path) -> None:
    async with call.deck() as deck:
        found, origin = await deck.effective(repository)
    call.emit("config", {"home": str(call.settings.home), "config": found, "origin": origin})
    call.data(effective(found, origin))
    call.say(f"the operator's file is {call.settings.home / DECK_FILE}")


async def _of(call: Call, given: str, repository: Path | None, *, diff: bool, write: bool) -> None:
    async with call.deck() as deck:
        call.run = run = await run_id(deck, given)
        used = await deck.frozen(run)
        recorded = (await deck.ordered(run)).repository
        if repository is None and (diff or write) and is_remote(recorded):
            raise BadInput(f"{run} worked on {recorded}", why="a clone of it is needed here", fix="--repo PATH")
        place = repository or Path(recorded)
        if diff:
            lines = difference(used, await deck.current(place))
            call.emit("config.diff", {"run": run, "repository": str(place), "lines": lines})
            for line in lines:
                call.data(clean(line))
            if not lines:
                call.say(f"a new run in {place} would use the same configuration as {run}")
            return
        if write:
            await _write_back(call, deck, run, place)
            return
    call.emit("config", {"run": run, "config": used.deck, "origin": used.origin, "used": used})
    for line in document(used, used.origin):
        call.data(clean(line))  # prompts are text of the repository's
    call.say(f"use it again: quarterdeck run GOAL --config-of {run}")


# --- as text --------------------------------------------------------------------------------------------------


def document(config: RunConfig, origin: tuple[str, ...] = ()) -> list[str]:
    """A run's whole configuration, line by line."""
    lines = effective(config.deck, origin).splitlines()
    named = "  # named with the order: no owner takes a task from it" if config.agent_named else ""
    lines += ["", "[run]", f'agent = "{config.default_agent}"{named}', f'blueprint = "{config.blueprint}"']
    if config.runs_on:
        lines += [f"runs_on = {json.dumps(config.runs_on)}  # where the repository is"]
    if own := config.narrowed.model_dump(exclude_none=True):
        lines += ["", "[budget of the repository]", *(f"{key} = {usd!r}" for key, usd in own.items())]
    for name in sorted(config.agents):
        lines += ["", f"[agent {name}]", *_agent(config.agents[name])]
    if config.guide:
        lines += ["", "[AGENTS.md]", *config.guide.splitlines()]
    return lines


def _agent(agent: Agent) -> Iterator[str]:
    # What is left at its default says nothing; the prompt is text and stands last.
    fields = agent.model_dump(mode="json", exclude_defaults=True, exclude={"name", "prompt"})
    for key, value in fields.items():
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    yield from agent.prompt.splitlines()


def difference(used: RunConfig, today: RunConfig) -> list[str]:
    """What a new run would have different, as a unified diff from `used` to `today`; empty = nothing.

    Where the repository is shall not differ: it is told when a run is ordered.
    """
    today = today.model_copy(update={"runs_on": used.runs_on})
    lines = difflib.unified_diff(document(used), document(today), "used by the run", "today", n=2, lineterm="")
    return list(lines)


# --- writing back ---------------------------------------------------------------------------------------------


async def _write_back(call: Call, deck: DeckApi, run: str, repository: Path) -> None:
    ordered = await deck.ordered(run)
    while ordered.config_of:
        ordered = await deck.ordered(ordered.config_of)
    place, common_directory, _ = await examine(repository)
    if place == common_directory:
        raise BadRepository(f"{place} has no work tree", fix="run this in a clone that has one")
    git = Git("-C", str(place))
    held = await git.run("cat-file", "-e", f"{ordered.base}^{{commit}}", ok=range(256))
    if held.exit_code != 0:
        raise NotFound(f"{place} does not hold {ordered.base}, the commit that {run} started from", fix="git fetch")
    changed = await _names(git, "diff", "--name-only", ordered.base)
    if not changed and not await _names(git, "ls-files", "--others", "--exclude-standard"):
        call.emit("config.written", {"run": run, "base": ordered.base, "files": changed})
        call.say(f".quarterdeck/ is as {run} found it")
        return
    status = await git.run("status", "--porcelain", "--untracked-files=all", "--", _FOLDER)
    if status.stdout:
        raise Conflicting(
            f"{place / '.quarterdeck'} has edits that are not committed",
            why=", ".join(line[3:] for line in status.text.splitlines()[:5]),
            fix="commit them, or git stash -u -- .quarterdeck",
        )
    await git.run("restore", f"--source={ordered.base}", "--worktree", "--", _FOLDER)
    call.emit("config.written", {"run": run, "base": ordered.base, "files": changed})
    for name in changed:
        call.data(clean(name))
    call.say("next: git add .quarterdeck && git commit   (a run reads it from the commit that it starts from)")
    left = _elsewhere(await deck.frozen(run))
    if left:
        call.say(f"not in the repository, and left as it is: {', '.join(left)}", Tone.WARN)


async def _names(git: Git, *command: str) -> list[str]:
    """The files in the repository's folder that a git command lists."""
    listing = await git.run(*command, "-z", "--", _FOLDER)
    return [decode(name) for name in listing.stdout.split(b"\0") if name]


def _elsewhere(config: RunConfig) -> list[str]:
    """Keys that the run had from somewhere else than the repository: the operator's file."""
    keys = (line.partition(": from ") for line in config.origin)
    return [key for key, _, origin in keys if origin.startswith("/") and origin.endswith(DECK_FILE)]
