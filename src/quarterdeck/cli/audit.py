"""`audit verify` and `export`: the record, checked and taken out.

Rules
- A broken chain is exit code 1 and names every place where it breaks.
- Export never overwrites: it writes into a new or an empty directory.
"""

from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.assembly import keeping
from quarterdeck.cli.amounts import plural
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.text import Column, Tone
from quarterdeck.journal.port import Verification
from quarterdeck.kernel.failures import UNWELL, BadInput, Conflicting, Exit

app = typer.Typer(rich_markup_mode=None, add_completion=False)
audit = typer.Typer(rich_markup_mode=None, add_completion=False, help="Check that the journal is intact.")
app.add_typer(audit, name="audit")


@audit.callback()
def _group() -> None:
    """Check that the journal is intact."""


@audit.command()
def verify(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="Only this run.  [default: everything]", metavar="RUN", show_default=False)
    ] = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Recompute every chain and hold it against the anchored heads."""
    raise typer.Exit(drive(_verify(begin(context, json, no_input), run)))


async def _verify(call: Call, run: str | None) -> int:
    async with call.deck() as deck:
        if run is None:
            found = await deck.verify()
        else:
            _, full = await deck.resolve(run)
            call.run = full.partition(".")[0]
            parts = [await deck.verify(f"run/{call.run}"), await deck.verify(f"attempt/{call.run}.")]
            found = Verification(
                sum(part.streams for part in parts),
                sum(part.records for part in parts),
                tuple(fault for part in parts for fault in part.faults),
                sum(part.pruned_streams for part in parts),
                sum(part.pruned_records for part in parts),
            )
    call.emit(
        "audit",
        {
            "ok": not found.faults,
            "streams": found.streams,
            "records": found.records,
            "pruned_streams": found.pruned_streams,
            "pruned_records": found.pruned_records,
            "faults": found.faults,
        },
    )
    checked = f"{plural(found.streams, 'stream')}, {plural(found.records, 'record')}"
    if found.pruned_streams:
        checked += f"; {plural(found.pruned_records, 'record')} of {plural(found.pruned_streams, 'stream')} were pruned"
    if not found.faults:
        call.data(f"intact: {checked}")
        return Exit.DONE
    call.table(
        [Column("stream"), Column("record", right=True), Column("problem")],
        [(fault.stream, str(fault.seq), fault.problem) for fault in found.faults],
    )
    call.say(f"the journal was changed: {plural(len(found.faults), 'fault')} in {checked}", Tone.BAD)
    call.say("next: keep the home as it is, and restore its database from a copy made before the change")
    return Exit.FAILED


@app.command()
def export(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(help="Id of the run, or its beginning; with --all the file.", metavar="RUN", show_default=False),
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="The whole deck, into the file that is named instead.")] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Directory to write into.  [default: ./RUN]", metavar="DIR", show_default=False),
    ] = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Write everything of a run as files: plan, report, events, transcripts, costs; or the whole deck into one file."""
    call = begin(context, json, no_input)
    if run is None or (whole and to is not None):
        raise BadInput("It is not said what goes where", fix="quarterdeck export RUN, or quarterdeck export --all FILE")
    drive(_export_all(call, Path(run).absolute()) if whole else _export(call, run, to))


async def _export_all(call: Call, file: Path) -> None:
    found = await keeping.export(call.settings, file)
    call.emit("export", {"file": str(file), "streams": found.streams, "records": found.events, "blobs": found.blobs})
    call.data(str(file))
    call.say(
        f"{plural(found.events, 'record')} of {plural(found.streams, 'stream')}; elsewhere: quarterdeck import {file}"
    )


async def _export(call: Call, run: str, to: Path | None) -> None:
    async with call.deck() as deck:
        kind, call.run = await deck.resolve(run)
        if kind != "run":
            raise BadInput(f"{call.run} is a {kind}, not a run", fix=f"quarterdeck export {call.run.partition('.')[0]}")
        directory = (to or Path(call.run)).absolute()
        fix = f"quarterdeck export {call.run} --to DIRECTORY"
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            what = "exists and is not empty" if directory.is_dir() else "is a file"
            raise Conflicting(f"{directory} {what}", why="nothing is overwritten", fix=fix)
        try:
            files = await deck.export(call.run, directory)
        except OSError as error:
            if error.errno in UNWELL:
                raise
            raise BadInput(f"{directory} cannot be written", why=error.strerror or str(error), fix=fix) from error
    call.emit("export", {"run": call.run, "directory": str(directory), "files": [str(file) for file in files]})
    for file in files:
        call.data(str(file))
