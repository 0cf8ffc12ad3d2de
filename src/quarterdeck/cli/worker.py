"""`worker`: one process among many that performs the jobs of a deck on PostgreSQL.

Rules
- It takes jobs until it is asked to end; then it takes no more, gives those in hand their time, and gives back the
  rest.
- A worker that was taken for dead stops at once, says so and ends with 7: whoever started it may start it again.
"""

from functools import partial
from typing import Annotated

import typer

from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.following import tell_trouble
from quarterdeck.engine.queues import QUEUES
from quarterdeck.engine.seats import Place, own_capacity
from quarterdeck.kernel.failures import BadConfiguration, BadInput, Exit, Stop
from quarterdeck.kernel.labels import labels as parsed
from quarterdeck.settings import operator_outside

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def worker(
    context: typer.Context,
    queues: Annotated[
        str, typer.Option(help=f"What it takes jobs from, by commas: {', '.join(QUEUES)}.", metavar="NAMES")
    ] = ",".join(QUEUES),
    capacity: Annotated[
        int | None,
        typer.Option(
            help="Most jobs at the same time; unset = by its cores and memory.", metavar="N", min=1, max=100_000
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option(help="What this machine has, by commas: gpu,arch=arm64.", metavar="LABELS")
    ] = "",
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Perform the jobs of a deck on PostgreSQL, as one worker among others.

    It needs the database and the git remote of its repositories, and nothing else of the other machines. It may be
    killed at any time: the other workers find that by its silence, and go on with what it had begun.
    """
    call = begin(context, json, no_input)
    place = Place(_queues(queues), _labels(labels), capacity or own_capacity())
    try:
        drive(_work(call, place))
    except Stop:
        call.say("ended in order; what had not ended was given back to the other workers")
    raise typer.Exit(Exit.DONE)


async def _work(call: Call, place: Place) -> None:
    if call.settings.database_url is None:
        raise BadConfiguration(
            "A worker needs a database that it shares with others",
            why="QUARTERDECK_DATABASE_URL is not set, and the file of a home has one owner at a time",
            fix="export QUARTERDECK_DATABASE_URL=postgresql://…   (alone, quarterdeck up does all the work itself)",
        )
    drain = operator_outside(call.settings.home).workers.drain
    async with call.deck(own=True, place=place) as deck:
        deck.on_trouble(partial(tell_trouble, call))
        told = {"queues": place.queues, "labels": place.labels, "capacity": place.capacity}
        call.emit("worker", told)
        has = f", on what needs {', '.join(place.labels)} too" if place.labels else ""
        call.say(f"working on {', '.join(place.queues)}{has}; at most {place.capacity} jobs at once; Ctrl-C ends it")
        await deck.serve(drain)


def _queues(text: str) -> tuple[str, ...]:
    named = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    if unknown := [name for name in named if name not in QUEUES]:
        raise BadInput(f"there is no queue {unknown[0][:80]}", fix=f"--queues {','.join(QUEUES)}")
    if not named:
        raise BadInput("a worker without queues would do nothing", fix=f"--queues {','.join(QUEUES)}")
    return named


def _labels(text: str) -> tuple[str, ...]:
    try:
        return parsed(filter(None, (part.strip() for part in text.split(","))))
    except ValueError as error:
        raise BadInput("the labels cannot be used", why=str(error), fix="--labels gpu,arch=arm64") from error
