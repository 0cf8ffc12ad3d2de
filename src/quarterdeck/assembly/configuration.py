"""The configuration and the agents that hold for a repository at one commit.

Rules
- The operator's files win. What the repository says is read at the base commit, never from a work tree or an agent's
  change. What nobody says is detected there. Symbolic links are followed inside of the commit, never out of it.
- What was not written for us (AGENTS.md, `.claude/agents/`, `.mcp.json`) is used as far as it can be and never refuses
  a run.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.agents.acp_asked import SERVER
from quarterdeck.agents.acp_permissions import DONE_OUTSIDE
from quarterdeck.agents.outside_task import TASK
from quarterdeck.agents.roster import build_roster, parse_agent, shipped_agents
from quarterdeck.delivery.detect import detect, reading
from quarterdeck.delivery.plans.ownership import check_owners
from quarterdeck.govern.policy import names_nothing
from quarterdeck.kernel.config import DayBudget, DeckConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings import (
    DECK_FILE,
    MAX_FILE,
    MCP_FILE,
    Partial,
    decode_text,
    merge,
    operator_config,
    parse_deck_toml,
    parse_mcp_json,
    read_text,
)
from quarterdeck.tools.shed.tools import FIND, USE
from quarterdeck.tools.toolbox import NAMES
from quarterdeck.workplace.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Found:
    """What holds at one commit of one repository."""

    deck: DeckConfig
    agents: Mapping[str, Agent]
    guide: str
    """AGENTS.md."""
    narrowed: DayBudget
    """What the repository says about days."""
    origin: tuple[str, ...]


async def configuration(home: Path, mirror: Mirror, commit: str) -> Found:
    """What holds at `commit`, which the mirror has. Raises BadConfiguration."""
    files = await mirror.files(commit)
    operator = operator_config(home)
    name = f".quarterdeck/{DECK_FILE}"
    repository = await _repository(mirror, commit, name) if name in files else None
    wanted = reading(files)
    contents = {path: await mirror.show(commit, path, MAX_FILE) if path in wanted else None for path in files}
    detected = detect(contents)
    declared, told = await _declared(mirror, commit) if MCP_FILE in files else (None, ())
    deck, lines = merge(operator, repository, detected.partial(), declared)
    agents, warnings = await _agents(home, mirror, commit, files)
    guide = (await _data(mirror, commit, "AGENTS.md")).decode("utf-8", "replace") if "AGENTS.md" in files else ""
    read = () if repository is None else (f"{name} is read at {commit[:12]}",)
    why = () if _gated(operator, repository) else detected.lines
    origin = (*read, *lines, *told, *why, *warnings, *unmeant(deck))
    return Found(deck, agents, guide[:40_000], _narrowed(repository), origin)


def _gated(*layers: Partial | None) -> bool:
    """Whether somebody says what the checks of the gate are: what would have been proposed then holds for nothing."""
    return any("gate" in layer.config.checks.model_fields_set for layer in layers if layer is not None)


def unmeant(deck: DeckConfig) -> tuple[str, ...]:
    """What waits for a person's word by its name, and no tool has it. Pure."""
    known = (*NAMES, FIND, USE, *DONE_OUTSIDE, SERVER, TASK)
    idle = names_nothing(deck.approve.tools, known, tuple(deck.mcp.servers))
    return tuple(f"[approve] tools: {word!r} means no tool, so nothing waits because of it" for word in idle)


async def _declared(mirror: Mirror, commit: str) -> tuple[Partial, tuple[str, ...]]:
    """Tool servers of the repository's `.mcp.json`, which was not written for us."""
    data = await _data(mirror, commit, MCP_FILE)
    if len(data) > MAX_FILE:
        return Partial(MCP_FILE), (f"{MCP_FILE}: not used, it is longer than the {MAX_FILE} bytes that are read",)
    return parse_mcp_json(data.decode("utf-8", "replace"))


def _narrowed(repository: Partial | None) -> DayBudget:
    if repository is None:
        return DayBudget()
    said = repository.config.budget
    return DayBudget.model_validate(said.model_dump(include=said.model_fields_set & DayBudget.model_fields.keys()))


async def _agents(
    home: Path, mirror: Mirror, commit: str, files: tuple[str, ...]
) -> tuple[Mapping[str, Agent], tuple[str, ...]]:
    own = {str(path): _own(path) for path in sorted((home / "agents").glob("*.md"))}
    taken = {parse_agent(text, origin).name for origin, text in own.items()}
    theirs = {path: await _text(mirror, commit, path) for path in files if _below(path, ".quarterdeck/agents/")}
    with _committed():
        kept = {path: text for path, text in theirs.items() if parse_agent(text, path).name not in taken}
    claude = {path: await _data(mirror, commit, path) for path in files if _below(path, ".claude/agents/")}
    foreign = {path: data.decode("utf-8", "replace") for path, data in claude.items()}
    roster = build_roster(shipped_agents(), foreign, {**kept, **own})
    check_owners(roster.agents)
    check_logins(roster.agents, taken, home)
    return roster.agents, roster.warnings


def check_logins(agents: Mapping[str, Agent], operators: Collection[str], home: Path) -> None:
    """A repository does not decide over a person's login. Raises BadConfiguration."""
    for name, agent in agents.items():
        if agent.login == "own" and name not in operators:
            raise BadConfiguration(
                f"the agent `{name}` cannot be used",
                why="login: a repository cannot hand out the login of a person",
                fix=f"move its file to {home / 'agents'}, or leave out `login: own`",
            )


async def _repository(mirror: Mirror, commit: str, name: str) -> Partial:
    text = await _text(mirror, commit, name)
    with _committed():
        return parse_deck_toml(text, name)


@contextmanager
def _committed() -> Iterator[None]:
    """What is wrong with a file of the repository has to be committed after it was mended."""
    try:
        yield
    except BadConfiguration as error:
        raise BadConfiguration(error.message, why=error.why, fix=f"{error.fix}; then commit the file") from error


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder) and path.endswith(".md") and "/" not in path.removeprefix(folder)


def _own(path: Path) -> str:
    try:
        return read_text(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadConfiguration(f"{path} leads nowhere", why=str(error.strerror), fix=f"remove {path}") from error


async def _text(mirror: Mirror, commit: str, path: str) -> str:
    if await mirror.followed(commit, path) is None:
        why = "a symbolic link is followed inside of the commit only"
        raise BadConfiguration(f"{path} is not a file at {commit[:12]}", why=why, fix=f"commit {path} as a file")
    data = await _data(mirror, commit, path)
    with _committed():
        return decode_text(data, path)


async def _data(mirror: Mirror, commit: str, path: str) -> bytes:
    """The beginning of a file of ours; empty where it is a link that leads nowhere."""
    file = await mirror.followed(commit, path)
    data = await mirror.show(commit, file, MAX_FILE + 1) if file is not None else None
    return data or b""
