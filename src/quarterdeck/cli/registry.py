"""Which module holds which command. The one lazy registry of the command line.

Rules
- A command's module is imported when the command is asked for, so that `--help` stays fast.
- The line of help stands here, because `--help` shows it without loading the command.
- A part that is not built yet is an error that names what is missing, never a stub that pretends.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.kernel.failures import MissingPart


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `quarterdeck`."""

    name: str
    module: str
    """Below `quarterdeck.cli`; its `app` holds the command."""
    help: str
    group: str


_RUNS: Final = "Runs"
_INBOX: Final = "Your word"
_LOOK: Final = "What happened"
_DECK: Final = "This deck"

COMMANDS: Final = (
    Command("run", "runs", "Carry a goal or a plan to merged commits.", _RUNS),
    Command("plan", "runs", "Plan a goal and print the plan; nothing is changed.", _RUNS),
    Command("resume", "runs", "Go on with a run: after a crash, a pause, a question or an ended budget.", _RUNS),
    Command("pause", "runs", "Stop starting new work in a run.", _RUNS),
    Command("cancel", "runs", "Stop a run and keep its state.", _RUNS),
    Command("tell", "tell", "Say something to an agent at work.", _RUNS),
    Command("retry", "steering", "Try a task again that did not merge, with another agent if you like.", _RUNS),
    Command("budget", "steering", "Raise the budget of a run while it works.", _RUNS),
    Command("revert", "undo", "Take back what a run or task landed, through the same gate.", _RUNS),
    Command("inbox", "inbox", "List what waits for a human; show one of them whole.", _INBOX),
    Command("approve", "inbox", "Allow a plan, a change or an action that waits for it.", _INBOX),
    Command("deny", "inbox", "Refuse a plan, a change or an action, and say why.", _INBOX),
    Command("answer", "steering", "Answer what an agent asks.", _INBOX),
    Command("comment", "steering", "Comment on a change; its agent reads it.", _INBOX),
    Command("ps", "look", "List runs, newest first.", _LOOK),
    Command("show", "look", "Show one run, task or attempt.", _LOOK),
    Command("logs", "look", "Print the log of a run, task or attempt.", _LOOK),
    Command("cost", "money", "Show what was spent, by run, agent, model or task.", _LOOK),
    Command("export", "audit", "Write everything of a run as files, or the whole deck into one.", _LOOK),
    Command("import", "db", "Bring a deck that was exported into this one.", _LOOK),
    Command("audit", "audit", "Check that the journal is intact.", _LOOK),
    Command("init", "deck", "Write .quarterdeck/ with defaults detected from the repository.", _DECK),
    Command("doctor", "deck", "Check this machine; every problem comes with its fix.", _DECK),
    Command("demo", "later", "Run the whole main job on a sample repository with a scripted model.", _DECK),
    Command("config", "config", "Print the effective configuration, or the one that a run used.", _DECK),
    Command("triggers", "triggers", "List what may start runs from outside; try one.", _DECK),
    Command("tools", "tools", "List the tool servers of a repository; approve them.", _DECK),
    Command("agents", "agents", "List the agents of a repository.", _DECK),
    Command("gateway", "gateway", "Serve the model gateway to your own tools, with a key and a budget.", _DECK),
    Command("up", "up", "Start the server: engine, HTTP API, dashboard, model gateway.", _DECK),
    Command("worker", "worker", "Perform jobs of a deck on PostgreSQL, as one worker among others.", _DECK),
    Command("db", "db", "Upgrade, check, copy, restore and prune the deck's database.", _DECK),
    Command("token", "token", "Make, list and take back tokens for the server.", _DECK),
)

_BY_NAME: Final = {command.name: command for command in COMMANDS}
HIDDEN: Final = {"_serve": Command("_serve", "runs", "Work on a detached run.", _RUNS)}


def find(name: str) -> Command | None:
    """The command of that name."""
    return _BY_NAME.get(name) or HIDDEN.get(name)


def load(module: str, attribute: str, missing: str) -> Any:
    """`attribute` of `module`. Raises MissingPart, saying `missing`, where this version has no such module."""
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        # A missing third-party module is a broken installation, not a part that was left out.
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise MissingPart(missing, why=f"this version has no {error.name}", fix="quarterdeck --help") from error
