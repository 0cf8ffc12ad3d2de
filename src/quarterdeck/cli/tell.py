"""`tell`: say something to an agent at work.

Rules
- What is acknowledged is on record and will be read; what cannot be heard is refused, with what to do instead.
"""

from typing import Annotated

import typer

from quarterdeck.cli.call import Call, Json, NoInput, begin, drive

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def tell(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Id of the run, the task or the attempt, or its beginning.", metavar="ID")],
    message: Annotated[str, typer.Argument(help="What to say.", metavar="MESSAGE")],
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Say something to an agent at work; it reads it before its next step.

    It holds for the task: later attempts at it are told too. An agent that runs as a plain command cannot be told
    anything. To answer what an agent asked, use `quarterdeck resume RUN --answer`.
    """
    drive(_tell(begin(context, json, no_input), id, message))


async def _tell(call: Call, id: str, message: str) -> None:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        call.run = full.partition(".")[0]
        whom, name = await deck.tell(kind, full, message)
        call.emit("agent.told", {"run": call.run, "attempt": whom.attempt, "agent": whom.agent, "message": name})
        call.say(f"{whom.attempt}: {whom.agent} is told before its next step; see quarterdeck logs {whom.attempt}")
