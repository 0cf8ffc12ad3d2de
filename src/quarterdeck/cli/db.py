"""`db …` and `import`: the deck's database, for whoever operates it.

Rules
- Nothing is overwritten and nothing is taken out that was not named; `prune` says what goes before it goes.
- A database that cannot be trusted any more is exit code 1, and every fault is named.
"""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quarterdeck.assembly import keeping
from quarterdeck.assembly.parts import make
from quarterdeck.cli.amounts import plural
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.text import Column, Tone
from quarterdeck.kernel.failures import BadInput, Exit

if TYPE_CHECKING:
    from quarterdeck.journal.transfer import Transferred

app = typer.Typer(rich_markup_mode=None, add_completion=False)
db = typer.Typer(rich_markup_mode=None, add_completion=False, help="Keep the deck's database.")
app.add_typer(db, name="db")

_DAYS: Final = re.compile("[0-9]{1,6}d")

File = Annotated[Path, typer.Argument(help="The file.", metavar="FILE")]


@db.callback()
def _group() -> None:
    """Keep the deck's database."""


@db.command()
def upgrade(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """Bring the database up to date; every other command does that too where it has to."""
    drive(_upgrade(begin(context, json, no_input)))


async def _upgrade(call: Call) -> None:
    found = await keeping.upgrade(call.settings)
    call.emit("database", found)
    call.data(f"{found.where}: {found.dialect}, version {found.version} of the schema{_done(found)}")


def _done(found: keeping.Upgraded) -> str:
    """What was done. Pure."""
    steps = [f"{plural(laid.steps, 'step')} of {laid.name}" for laid in found.laid]
    if found.before != found.version:
        steps.insert(0, f"from version {found.before}" if found.before else "from nothing")
    return f" ({', '.join(steps)})" if steps else ", as before"


@db.command()
def check(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """Compute every chain and body anew, and ask the database what is wrong with itself."""
    raise typer.Exit(drive(_check(begin(context, json, no_input))))


async def _check(call: Call) -> int:
    where, found = await keeping.check(call.settings)
    call.emit("database", {**_shown(where), "ok": not found.faults, "faults": found.faults})
    counted = f"{plural(found.streams, 'stream')}, {plural(found.records, 'record')}"
    if not found.faults:
        call.data(f"{where.where}: intact, {counted}")
        return Exit.DONE
    rows = [(fault.stream, str(fault.seq), fault.problem) for fault in found.faults]
    call.table([Column("stream"), Column("record", right=True), Column("problem")], rows)
    call.say(f"{where.where}: {plural(len(rows), 'fault')} in {counted}", Tone.BAD)
    call.say("next: keep it as it is, and restore a copy that was made before the change: quarterdeck db restore FILE")
    return Exit.FAILED


def _shown(where: keeping.Database) -> dict[str, object]:
    return {"where": where.where, "dialect": where.dialect, "version": where.version}


@db.command()
def backup(context: typer.Context, file: File, json: Json = False, no_input: NoInput = False) -> None:
    """Copy the whole deck into one file, also while it is at work."""
    drive(_backup(begin(context, json, no_input), file.absolute()))


async def _backup(call: Call, file: Path) -> None:
    await keeping.backup(call.settings, file)
    call.emit("backup", {"file": str(file)})
    call.data(str(file))


@db.command()
def restore(context: typer.Context, file: File, json: Json = False, no_input: NoInput = False) -> None:
    """Bring a copy into an empty database."""
    drive(_restore(begin(context, json, no_input), file.absolute()))


async def _restore(call: Call, file: Path) -> None:
    _say(call, await keeping.restore(call.settings, file))


@app.command("import")
def bring(context: typer.Context, file: File, json: Json = False, no_input: NoInput = False) -> None:
    """Bring a deck that `export --all` wrote into this one; what is there already stays as it is."""
    drive(_bring(begin(context, json, no_input), file.absolute()))


async def _bring(call: Call, file: Path) -> None:
    _say(call, await keeping.bring(call.settings, file))


def _say(call: Call, found: "Transferred") -> None:
    call.emit("import", found)
    events, blobs = plural(found.events, "record"), plural(found.blobs, "body", "bodies")
    call.data(f"{events} and {blobs} brought, of {plural(found.streams, 'stream')}")
    call.say("next: quarterdeck audit verify, then quarterdeck resume RUN for what has not ended")


@db.command()
def prune(
    context: typer.Context,
    before: Annotated[
        str | None,
        typer.Option(help="Runs that ended before that day (2026-01-31), or so long ago (90d).", metavar="WHEN"),
    ] = None,
    keep: Annotated[int | None, typer.Option(help="All but the newest N ended runs.", metavar="N", min=0)] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Also remove what nothing names any more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which runs would go.")] = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Take old ended runs out of the record; what is left can still be proved."""
    drive(_prune(begin(context, json, no_input), _moment(before, time.time()), keep, bodies=bodies, trial=dry_run))


async def _prune(call: Call, before: float | None, keep: int | None, *, bodies: bool, trial: bool) -> None:
    parts = await make(call.settings)
    try:
        runs, gone = await keeping.take_out(
            parts, before=before, keep=keep, bodies=bodies, by=call.settings.user, trial=trial
        )
    finally:
        await parts.close()
    call.emit("prune", {"runs": runs, "streams": gone.streams, "records": gone.records, "blobs": gone.blobs})
    for run in runs:
        call.data(run)
    if trial:
        call.say(f"{plural(len(runs), 'run')} would go; nothing was done")
        return
    what = f"{plural(gone.runs, 'run')}, {plural(gone.records, 'record')}, {plural(gone.blobs, 'body', 'bodies')}"
    call.say(f"{what} taken out; the ends of {plural(gone.streams, 'stream')} are kept for `audit verify`")


def _moment(text: str | None, now: float) -> float | None:
    """Seconds since the epoch of a day, or of so many days ago. Raises BadInput."""
    if text is None:
        return None
    if _DAYS.fullmatch(text):
        return now - int(text[:-1]) * 86_400
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise BadInput(f"{text[:40]!r} is no day", why="a day looks like 2026-01-31", fix="--before 90d") from error
