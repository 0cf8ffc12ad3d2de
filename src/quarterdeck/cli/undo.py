"""`revert`: take back what a run or one of its tasks landed.

Rules
- A revert is a run: it is followed, resumed, printed and exits like one.
- What only a person can judge (tasks that need what is taken back) is asked for by an option, never by a prompt.
"""

from typing import Annotated

import typer

from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.runs import Detach, Sandbox, carry, detached
from quarterdeck.delivery.order import RevertOrder
from quarterdeck.kernel.failures import Conflicting, Exit

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def revert(
    context: typer.Context,
    id: Annotated[
        str, typer.Argument(help="Id of the run or the task (RUN.TASK), or its beginning.", metavar="RUN|TASK")
    ],
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Also take back the tasks that need it.")
    ] = False,
    into: Annotated[
        str | None,
        typer.Option(
            help="Branch to take it back on.  [default: the one it landed on]", metavar="BRANCH", show_default=False
        ),
    ] = None,
    sandbox: Sandbox = None,
    detach: Detach = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Take back what a run or task landed, through the same gate.

    This is a run of its own: one commit for each that is taken back, the newest first, each merged onto the branch as
    it is now, checked and landed. To take a revert back, revert its run.
    """
    call = begin(context, json, no_input)
    raise typer.Exit(drive(_revert(call, id, into, sandbox, with_dependents=with_dependents, detach=detach)))


async def _revert(
    call: Call, id: str, into: str | None, sandbox: str | None, *, with_dependents: bool, detach: bool
) -> int:
    async with call.deck() as deck:
        kind, full = await deck.resolve(id)
        call.run = full.partition(".")[0]
        if kind == "attempt":
            full = await _task_of(deck, full)
        order = RevertOrder(
            of=full, with_dependents=with_dependents, into=into, sandbox=sandbox, user=call.settings.user
        )
        call.run = await deck.revert(order)
        if not detach:
            return await carry(call, deck, call.run)
        served = await deck.served()
    detached(call, call.run, served=served)
    return Exit.DONE


async def _task_of(deck: DeckApi, attempt: str) -> str:
    """The task that this attempt landed for. Raises Conflicting where it did not."""
    run = attempt.partition(".")[0]
    for task in await deck.views.tasks(run):
        if task.commit is not None and task.attempt == attempt:
            return f"{run}.{task.task}"
    raise Conflicting(f"{attempt} never landed", fix=f"quarterdeck show {attempt}")
