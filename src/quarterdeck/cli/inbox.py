"""The command `inbox`: what waits for a human, over all runs, longest first.

Rules
- It needs no lock and changes nothing; each question comes with the command that answers it.
"""

import time
from dataclasses import asdict

import typer

from quarterdeck.cli.amounts import duration
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.text import clean

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def inbox(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """List what waits for a human."""
    drive(_inbox(begin(context, json, no_input)))


async def _inbox(call: Call) -> None:
    async with call.deck() as deck:
        waits = await deck.views.waits()
    for wait in waits:
        answer = f"quarterdeck resume {wait.run} --answer TEXT"
        call.emit("wait", {**asdict(wait), "answer": answer})
        call.data(f"{wait.attempt or wait.run}, for {duration(time.time() - wait.since)}")
        for line in clean(wait.question, lines=True).splitlines():
            call.data(f"  {line}")
        call.data(f"  answer: {answer}")
    if not waits and not call.json:
        call.say("nothing waits for you")
