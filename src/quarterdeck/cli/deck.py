"""Commands about the deck itself: `init`, `doctor`.

Rules
- `init` writes into the work tree and overwrites nothing.
- `doctor` ends with 1 if nothing can work as things are; every problem is printed with its fix.
"""

from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli import registry
from quarterdeck.cli.amounts import plural
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.starter import AGENTS_README, starter
from quarterdeck.cli.text import Tone, cells, clean, pad, paint
from quarterdeck.delivery.detect import Detected, detect, reading
from quarterdeck.delivery.order import Check
from quarterdeck.kernel.failures import (
    BadConfiguration,
    BadRepository,
    Conflicting,
    Exit,
    MissingPart,
    StoreUnavailable,
)
from quarterdeck.settings import DECK_FILE
from quarterdeck.workplace.git import Git, decode
from quarterdeck.workplace.repository import examine

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_READ_BYTES = 1024 * 1024
Repository = Annotated[Path, typer.Option("--repo", help="The git repository.", metavar="DIR")]


# --- init -----------------------------------------------------------------------------------------------------


@app.command()
def init(context: typer.Context, repo: Repository = Path(), json: Json = False, no_input: NoInput = False) -> None:
    """Write .quarterdeck/ with working defaults detected from the repository."""
    drive(_init(begin(context, json, no_input), repo.absolute()))


async def _init(call: Call, repository: Path) -> None:
    place, common_directory, _ = await examine(repository)
    if place == common_directory:
        raise BadRepository(f"{place} has no work tree", fix="run this in a clone that has one")
    folder = place / ".quarterdeck"
    for existing in (folder / DECK_FILE, folder / "agents" / "README"):
        if existing.exists() or existing.is_symlink():
            raise Conflicting(f"{existing} exists", why="nothing is overwritten", fix=f"edit {existing}, or remove it")
    found = await _look(place)
    written = [folder / DECK_FILE, folder / "agents" / "README"]
    try:
        (folder / "agents").mkdir(parents=True, exist_ok=True)
        for file, text in zip(written, (starter(found), AGENTS_README), strict=True):
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        fix = f"look at {folder}, which has to be a directory that you can write"
        raise BadRepository(f"{folder} cannot be written", why=error.strerror or str(error), fix=fix) from error
    call.emit("init", {"files": [str(file) for file in written], "gate": found.gate, "languages": found.languages})
    for file in written:
        call.data(str(file))
    for line in found.lines:
        call.say(f"found {line}")
    if not found.gate:
        call.warn(f"no checks were detected; set [checks] gate in {written[0]}")
    call.say("next: git add .quarterdeck && git commit -m 'Add Quarterdeck'")
    call.say('then: quarterdeck run --plan FILE, or with models under [tiers] and a key: quarterdeck run "GOAL"')


async def _look(place: Path) -> Detected:
    listing = await Git("-C", str(place)).run("ls-files", "-z")
    paths = [decode(path) for path in listing.stdout.split(b"\0") if path]
    wanted = reading(paths)
    return detect({path: _read(place / path) if path in wanted else None for path in paths})


def _read(file: Path) -> bytes | None:
    if not file.is_file() or file.stat().st_size > _READ_BYTES:
        return None
    return file.read_bytes()


# --- doctor ---------------------------------------------------------------------------------------------------


@app.command()
def doctor(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """Check this machine; every problem comes with its fix."""
    raise typer.Exit(drive(_doctor(begin(context, json, no_input))))


async def _doctor(call: Call) -> int:
    settings = call.settings
    try:
        async with call.deck() as deck:
            checks = await deck.probe()
    except (StoreUnavailable, BadConfiguration, MissingPart) as error:
        look = registry.load("quarterdeck.assembly", "probe_unopened", "The machine cannot be looked at")
        checks = await look(settings, error)
    for check in checks:
        call.emit("check", check)
    for line in report(checks, color=call.color_out):
        call.data(line)
    broken = [check for check in checks if not check.ok and check.level == "error"]
    if broken:
        call.say(f"{plural(len(broken), 'problem')} to fix before anything can run", Tone.BAD)
        return Exit.FAILED
    call.say("ready", Tone.GOOD)
    return Exit.DONE


_MARK = {"error": ("✗", Tone.BAD), "warning": ("!", Tone.WARN), "info": ("·", Tone.QUIET)}


def report(checks: list[Check], *, color: bool) -> list[str]:
    """One line a check, the fix below what is wrong."""
    width = max((cells(check.name) for check in checks), default=0)
    out = []
    for check in checks:
        mark, tone = ("✓", Tone.GOOD) if check.ok else _MARK[check.level]
        out.append(f"{paint(mark, tone, color=color)} {pad(check.name, width)}  {clean(check.detail)}".rstrip())
        if not check.ok and check.fix:
            out.append(f"  {pad('', width)}  fix: {paint(clean(check.fix), Tone.STRONG, color=color)}")
    return out
