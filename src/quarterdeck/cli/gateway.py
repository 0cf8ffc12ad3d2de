"""`gateway`: the model gateway alone, for tools of a person's own.

Rules
- The key and the addresses are data; what is said about them is prose.
- It serves until it is stopped; what was spent is said in the end.
"""

import asyncio
from typing import Annotated

import typer

from quarterdeck.cli.amounts import number, plural, usd
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.kernel.entities import to_nusd
from quarterdeck.kernel.failures import Exit

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def gateway(
    context: typer.Context,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model that may be asked, provider:model; again for more.  [default: those of all tiers]"),
    ] = None,
    budget: Annotated[float, typer.Option(help="What may be spent, USD.", metavar="USD", callback=number)] = 5.0,
    host: Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 = any.", metavar="N", min=0, max=65535)] = 7374,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Serve Anthropic Messages, OpenAI Responses and Chat Completions, and Gemini to your own tools.

    Every call is priced before it leaves and paid from the budget, your day and the deck's; the tools never see a
    provider's key.
    """
    raise typer.Exit(drive(_serve(begin(context, json, no_input), tuple(model or ()), budget, host, port)))


async def _serve(call: Call, models: tuple[str, ...], budget: float, host: str, port: int) -> int:
    async with call.deck() as deck, deck.standing(models, budget, host, port) as standing:
        call.emit(
            "gateway", {"name": standing.name, "url": standing.url, "key": standing.key, "models": standing.models}
        )
        if not call.json:
            for line in _settings(standing.url, standing.key):
                call.data(line)
        offer = f"serving {plural(len(standing.models), 'model')}, {usd(to_nusd(budget))} for {standing.name}"
        call.say(f"{offer}; Ctrl-C ends it")
        try:
            await asyncio.Event().wait()
        finally:
            used = deck.standing_used(standing)
            call.say(f"{plural(used.calls, 'call')}, {usd(used.nusd)} spent by {standing.name}")
    return Exit.DONE


def _settings(url: str, key: str) -> list[str]:
    """What a shell needs so that the vendors' tools come here."""
    return [
        f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}",
        f"export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}",
        f"export GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY={key}",
    ]
