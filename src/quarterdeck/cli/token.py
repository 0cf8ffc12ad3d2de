"""`token`: who may use the server from elsewhere.

Rules
- A token is printed once, when it is made: only its hash is kept.
- It needs no server; one that runs asks for a token from then on, and refuses one that was taken back at once.
"""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from quarterdeck.cli.call import Json, NoInput, begin
from quarterdeck.cli.text import Column
from quarterdeck.settings.tokens import Role, add_token, read_tokens, revoke_token

app = typer.Typer(rich_markup_mode=None, add_completion=False)
token = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="Make, list and take back tokens for the server.",
)
app.add_typer(token, name="token")

Name = Annotated[str, typer.Argument(help="Whose it is, or what for.", metavar="NAME")]


@token.callback()
def _group() -> None:
    """Make, list and take back tokens for the server."""


@token.command()
def add(
    context: typer.Context,
    name: Name,
    role: Annotated[
        Role, typer.Option(help="viewer looks; operator runs and steers; admin also raises budgets.", metavar="ROLE")
    ] = Role.OPERATOR,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Make a token and print it, this once. From then on the server asks for one on every port."""
    call = begin(context, json, no_input)
    secret = add_token(call.settings.home, name, role, time.time())
    call.emit("token", {"name": name, "role": role, "token": secret})
    call.data(secret)
    call.say(f"{name} is {role}; it is not shown again. Use it as `Authorization: Bearer`, or in the dashboard")


@token.command("list")
def list_(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """List the tokens, without themselves."""
    call = begin(context, json, no_input)
    tokens = read_tokens(call.settings.home)
    for each in tokens:
        call.emit("token", {"name": each.name, "role": each.role, "created_at": each.created_at})
    if tokens:
        made = [datetime.fromtimestamp(each.created_at, UTC).strftime("%Y-%m-%d %H:%M") for each in tokens]
        rows = [(each.name, str(each.role), when) for each, when in zip(tokens, made, strict=True)]
        call.table([Column("name"), Column("role"), Column("made (UTC)")], rows)
    else:
        call.say("there are no tokens: the server is used from this machine alone")


@token.command()
def revoke(context: typer.Context, name: Name, json: Json = False, no_input: NoInput = False) -> None:
    """Take a token back; a server refuses it from the next request on."""
    call = begin(context, json, no_input)
    revoke_token(call.settings.home, name)
    call.emit("token.revoked", {"name": name})
    call.say(f"{name} is taken back")
