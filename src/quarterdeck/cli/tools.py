"""`tools`: which tool servers a repository declares, what they would be given, and the operator's word about them.

Rules
- Looking starts nothing. Only `check` starts servers, and only those that are approved.
- An approval is for the declaration as it stands at HEAD, with the variables that are named on the command line.
- What a server or a repository says is printed without anything that steers a terminal.
- What a repository declares and cannot be used, or has not committed, is said: nobody finds a server that is not there.
"""

import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli.amounts import plural
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.text import Tone, clean, paint
from quarterdeck.cli.unused import left_out
from quarterdeck.kernel.failures import Exit
from quarterdeck.kernel.servers import McpServer
from quarterdeck.settings import MCP_FILE
from quarterdeck.tools.shed.board import ServerView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
tools = typer.Typer(rich_markup_mode=None, add_completion=False, help="Tool servers of a repository.")
app.add_typer(tools, name="tools")

Repository = Annotated[Path, typer.Option("--repo", help="The git repository.", metavar="DIR")]
Name = Annotated[str, typer.Argument(help="The server's name.", metavar="NAME")]

_DECLARED = "mcp.servers."
_SHOWN = 8
"""Tools of a server that are named in the list."""


@tools.callback(invoke_without_command=True)
def listed(context: typer.Context, repo: Repository = Path(), json: Json = False, no_input: NoInput = False) -> None:
    """List the tool servers that a repository and you declare: what they are, whether they are approved, how they were
    when they last ran."""
    if context.invoked_subcommand is None:
        drive(_list(begin(context, json, no_input), repo.absolute()))


@tools.command()
def approve(
    context: typer.Context,
    name: Name,
    env: Annotated[
        list[str] | None,
        typer.Option(help="A variable of your environment that it is given; repeat for more.", metavar="VARIABLE"),
    ] = None,
    repo: Repository = Path(),
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Let a server be started, as it is declared at HEAD. Another declaration of that name needs another approval."""
    drive(_approve(begin(context, json, no_input), repo.absolute(), name, tuple(env or ())))


@tools.command()
def revoke(context: typer.Context, name: Name, json: Json = False, no_input: NoInput = False) -> None:
    """Take back every approval of that name. What runs now ends with the attempts that use it."""
    drive(_revoke(begin(context, json, no_input), name))


@tools.command()
def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Servers.  [default: all that are approved]", metavar="NAME...", show_default=False),
    ] = None,
    repo: Repository = Path(),
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Start approved servers in their sandboxes, list their tools, and end them again."""
    raise typer.Exit(drive(_check(begin(context, json, no_input), repo.absolute(), tuple(names or ()))))


async def _list(call: Call, repository: Path) -> None:
    async with call.deck() as deck:
        found = await deck.tool_servers(repository)
        _, origin = await deck.effective(repository)
    for view in found:
        _show(call, view)
    for line in unusable(origin):
        call.warn(clean(line))
    await _uncommitted(call, repository)
    if not found:
        call.say("no tool servers are declared: .mcp.json, or [mcp.servers.NAME] in deck.toml")


def unusable(origin: Iterable[str]) -> Iterator[str]:
    """What of the declarations is not used, from the lines that say where a configuration comes from. Pure."""
    return (line for line in origin if line.startswith((f"{MCP_FILE}:", _DECLARED)) and ": from " not in line)


async def _uncommitted(call: Call, repository: Path) -> None:
    for note in await left_out(repository, MCP_FILE):
        call.say(note, Tone.WARN)


async def _approve(call: Call, repository: Path, name: str, env: tuple[str, ...]) -> None:
    await _uncommitted(call, repository)
    async with call.deck() as deck:
        view = await deck.approve_tools(repository, name, env)
    _show(call, view)
    call.say(f"approved: {name}", Tone.GOOD)
    call.say(f"try it: quarterdeck tools check {name}; an agent gets its tools with `tools: [mcp:{name}]`")


async def _revoke(call: Call, name: str) -> None:
    async with call.deck() as deck:
        count = await deck.revoke_tools(name)
    call.emit("tools.revoked", {"name": name, "approvals": count})
    call.say(f"{plural(count, 'approval')} of {name} taken back")


async def _check(call: Call, repository: Path, names: tuple[str, ...]) -> int:
    await _uncommitted(call, repository)
    async with call.deck() as deck:
        for view in await deck.tool_servers(repository):
            if view.approved and (not names or view.name in names):
                call.say(f"starts {view.name}; it has {view.declaration.start:.0f} s to answer")
        failed = await deck.check_tools(repository, names)
        found = await deck.tool_servers(repository)
    for view in found:
        if view.approved if not names else view.name in names:
            _show(call, view)
    for name, why in failed.items():
        call.say(f"{name}: {why}", Tone.BAD)
    if not names and not any(view.approved for view in found):
        call.say(
            "no tool server is approved: quarterdeck tools lists them, quarterdeck tools approve NAME lets one start"
        )
    return Exit.FAILED if failed else Exit.DONE


def _show(call: Call, view: ServerView) -> None:
    call.emit("tool_server", view)
    mark, tone = ("approved", Tone.GOOD) if view.approved else ("not approved", Tone.WARN)
    call.data(f"{paint(view.name, Tone.STRONG, color=call.color_out)}  {paint(mark, tone, color=call.color_out)}")
    for line in described(view):
        call.data(f"  {clean(line)}")


def described(view: ServerView) -> list[str]:
    """What a person should know of a server, line by line."""
    lines = [*_declaration(view.declaration), f"from     {view.origin or 'an earlier configuration'}"]
    lines.append(f"hash     {view.fingerprint}")
    if view.declaration.variables:
        lines.append(f"asks for {', '.join(view.declaration.variables)} of your environment")
    if view.env:
        lines.append(f"is given {', '.join(view.env)}")
    if view.flaw:
        lines.append(f"fix      {view.flaw}")
    return [*lines, *_known(view)]


def _declaration(server: McpServer) -> list[str]:
    return [*_place(server), *(f"while down {tool} is {other}" for tool, other in sorted(server.fallback.items()))]


def _place(server: McpServer) -> list[str]:
    if server.url is not None:
        headers = f", with the headers {', '.join(server.headers)}" if server.headers else ""
        return [f"calls    {server.url} from this machine{headers}"]
    where = "beside each agent, in its workspace" if server.workspace else "in a sandbox of its own"
    network = ", ".join(server.network) or ("the agent's" if server.workspace else "none")
    return [f"runs     {shlex.join((server.command or '', *server.args))}", f"where    {where}; network: {network}"]


def _known(view: ServerView) -> list[str]:
    known = view.known
    if known is None:
        return ["started  never"]
    when = datetime.fromtimestamp(known.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    lines = [f"{known.state:<8} {when} UTC{f', protocol {known.revision}' if known.revision else ''}"]
    if known.tools:
        more = ", …" if len(known.tools) > _SHOWN else ""
        lines.append(f"tools    {len(known.tools)}: {', '.join(known.tools[:_SHOWN])}{more}")
    lines += [f"left out {text}" for text in known.left_out]
    return [*lines, f"error    {known.error}"] if known.error else lines
