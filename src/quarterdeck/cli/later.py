"""Commands whose part is not built yet, and the demo, which is loaded from a package of its own.

Rules
- Each says what is missing; none pretends.
"""

from typing import Annotated

import typer

from quarterdeck.cli import registry
from quarterdeck.cli.call import Json, NoInput, begin
from quarterdeck.kernel.failures import MissingPart

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def approve(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Approval to give.", metavar="ID")],
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Allow an action that had to be asked for."""
    begin(context, json, no_input)
    raise _no_approvals()


@app.command()
def deny(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Approval to refuse.", metavar="ID")],
    reason: Annotated[str, typer.Option(help="Why; the agent is told.", metavar="TEXT")] = "",
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Refuse an action that had to be asked for."""
    begin(context, json, no_input)
    raise _no_approvals()


def _no_approvals() -> MissingPart:
    return MissingPart(
        "Actions cannot be approved yet",
        why="the default policy of this version only allows or denies",
        fix="quarterdeck resume RUN --answer TEXT   (answers what an agent asked)",
    )


@app.command()
def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the sample repository and its deck.")] = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Run the whole main job on a sample repository with a scripted model."""
    begin(context, json, no_input)
    play = registry.load("quarterdeck.demo.play", "play", "The demo is not built yet")
    raise typer.Exit(play(json=json, keep=keep))
