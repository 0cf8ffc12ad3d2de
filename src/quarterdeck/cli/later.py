"""The demo, which is loaded from a package of its own.

Rules
- A version without it says so; nothing pretends.
"""

from typing import Annotated

import typer

from quarterdeck.cli import registry
from quarterdeck.cli.call import Json, NoInput, begin

app = typer.Typer(rich_markup_mode=None, add_completion=False)


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
