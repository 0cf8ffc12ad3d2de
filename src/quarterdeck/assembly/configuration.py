"""The configuration and the agents that hold for a repository at one commit.

Rules
- The operator's files win. What the repository says is read at the base commit, never from a work tree or an agent's
  change. What nobody says is detected there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.agents.roster import build_roster, parse_agent, shipped_agents
from quarterdeck.delivery.detect import detect, reads
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings import DECK_FILE, merge, operator_config, parse_deck_toml
from quarterdeck.workplace.mirror import Mirror

_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """What holds at one commit of one repository."""

    deck: DeckConfig
    agents: Mapping[str, Agent]
    guide: str
    """AGENTS.md."""
    origin: tuple[str, ...]


async def configuration(home: Path, mirror: Mirror, commit: str) -> Found:
    """What holds at `commit`, which the mirror has. Raises BadConfiguration."""
    files = await mirror.files(commit)
    operator = operator_config(home)
    name = f".quarterdeck/{DECK_FILE}"
    text = await _text(mirror, commit, name) if name in files else None
    repository = None if text is None else parse_deck_toml(text, name)
    contents = {path: await mirror.show(commit, path, _LIMIT) if reads(path) else None for path in files}
    detected = detect(contents)
    deck, lines = merge(operator, repository, detected.partial())
    agents, warnings = await _agents(home, mirror, commit, files)
    guide = await _text(mirror, commit, "AGENTS.md") if "AGENTS.md" in files else ""
    read = () if repository is None else (f"{name} is read at {commit[:12]}",)
    return Found(deck, agents, guide[:40_000], (*read, *lines, *detected.lines, *warnings))


async def _agents(
    home: Path, mirror: Mirror, commit: str, files: tuple[str, ...]
) -> tuple[Mapping[str, Agent], tuple[str, ...]]:
    own = {str(path): _read(path) for path in sorted((home / "agents").glob("*.md"))}
    taken = {parse_agent(text, origin).name for origin, text in own.items()}
    theirs = {path: await _text(mirror, commit, path) for path in files if _below(path, ".quarterdeck/agents/")}
    kept = {path: text for path, text in theirs.items() if parse_agent(text, path).name not in taken}
    claude = {path: await _text(mirror, commit, path) for path in files if _below(path, ".claude/agents/")}
    roster = build_roster(shipped_agents(), claude, {**kept, **own})
    return roster.agents, roster.warnings


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder) and path.endswith(".md") and "/" not in path.removeprefix(folder)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path} cannot be read", why=str(error), fix=f"check {path}") from error


async def _text(mirror: Mirror, commit: str, path: str) -> str:
    data = await mirror.show(commit, path, _LIMIT)
    try:
        return (data or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadConfiguration(f"{path} is not UTF-8 text", fix=f"correct {path} and commit it") from error
