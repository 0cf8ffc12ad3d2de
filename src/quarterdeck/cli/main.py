"""The entry point of `quarterdeck` and `qd`: finds the command, runs it, and turns whatever happens into an exit code.

Rules
- Commands are loaded when they are asked for (`registry`).
- Nothing leaves here as a bare trace: a foreseen error is explained, an unforeseen one is written to a file and named.
- A standard stream that was closed (`>&-`) goes nowhere: else the next file that is opened takes its number, and what
  is printed lands in it.
"""

import difflib
import gc
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from quarterdeck import __version__
from quarterdeck.cli import faults, registry
from quarterdeck.cli.call import Call
from quarterdeck.cli.leaving import promptly
from quarterdeck.kernel.failures import UNWELL, BadInput, Exit, QuarterdeckError, Stop


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and loads one when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in registry.COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = registry.find(cmd_name)
        if command is None:
            close = difflib.get_close_matches(cmd_name, self.list_commands(ctx), n=1)
            raise BadInput(f"There is no command {cmd_name}", fix=f"quarterdeck {close[0] if close else '--help'}")
        app = registry.load(f"quarterdeck.cli.{command.module}", "app", f"`{cmd_name}` cannot be loaded")
        loaded = get_command(app)
        return loaded.commands.get(cmd_name) if isinstance(loaded, TyperGroup) else loaded

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group in dict.fromkeys(command.group for command in registry.COMMANDS):
            with formatter.section(group):
                formatter.write_dl([(each.name, each.help) for each in registry.COMMANDS if each.group == group])


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def quarterdeck(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Fleets of AI agents on real software: tested as merged, merged only when green.

    Try `quarterdeck doctor`, then `quarterdeck init` and `quarterdeck run "GOAL"` in a git repository.
    """
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    gc.disable()  # until everything is loaded: nothing of that is garbage, and looking for some takes a sixth of it
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        gc.enable()


def process() -> NoReturn:
    """The command line as a process of its own: what the installed programs are."""
    promptly(main)


def _main(given: list[str]) -> int:
    _standard_streams()
    call = Call()
    call.json = "--json" in given  # until the command has read its own options, for errors in them
    try:
        group = get_command(app)
        with group.make_context("quarterdeck", given, obj=call) as context:
            group.invoke(context)
        call.stdout.flush()
    except typer.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        _hush()
        return Exit.FAILED
    except (KeyboardInterrupt, Stop):
        return _tell(call, faults.of_interrupt(call.run))
    except QuarterdeckError as error:
        return _tell(call, faults.of_error(error, call.run))
    except typer.TyperException as error:
        return _tell(call, _of_usage(error))
    except OSError as error:
        if error.errno in UNWELL:
            return _tell(call, faults.of_machine(error, call.run))
        return _tell(call, faults.of_bug(error, call.run, _record(call, error)))
    except Exception as error:  # noqa: BLE001 - the edge: it is recorded in a file and reported
        return _tell(call, faults.of_bug(error, call.run, _record(call, error)))
    return Exit.DONE


def _standard_streams() -> None:
    """Open those that are closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open(encoding="utf-8")
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")


def _of_usage(error: typer.TyperException) -> faults.Fault:
    """What is said about options and arguments that cannot be used."""
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", None) or "quarterdeck"
    # The library names its own classes and methods in what it says about a value.
    message = re.sub(r"Value error, |Input |, unable to parse string as an? \w+", "", error.format_message())
    if "unexpected extra argument" in message and path.endswith((" run", " plan")):
        why, fix = "a goal of several words needs quotes", f'{path} "GOAL"   (or {path} --help)'
        return faults.Fault(message=message, why=why, fix=fix, exit_code=Exit.USAGE)
    commands = getattr(getattr(context, "command", None), "commands", None)
    if commands and message.startswith("Missing command"):
        there = ", ".join(commands)
        return faults.Fault(
            message=f"`{path}` alone does nothing",
            why=f"its commands: {there}",
            fix=f"{path} --help",
            exit_code=Exit.USAGE,
        )
    return faults.Fault(message=message, fix=f"{path} --help", exit_code=Exit.USAGE)


def _record(call: Call, error: Exception) -> faults.Written:
    try:
        logs = call.settings.logs
    except Exception:  # noqa: BLE001 - the settings may be what failed, and that is what is reported
        return faults.Written(None)
    return faults.write_trace(error, logs, time.time())


def _tell(call: Call, fault: faults.Fault) -> int:
    try:
        call.fault(fault)
        call.stdout.flush()
    except OSError:  # nobody reads it any more, the terminal is gone, or the disk that it goes to is full
        _hush()
    return fault.exit_code


def _hush() -> None:
    """Nobody reads stdout any more: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    process()
