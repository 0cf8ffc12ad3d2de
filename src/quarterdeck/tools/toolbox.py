"""All tools by name, and the subset that one agent gets.

Rules
- An agent gets the tools its definition names, or the default set; what ends or steers its work is always there.
- What can never be permitted is not shown: `delegate` only where there is somebody to delegate to, `ask` only where
  an answer can be given to whoever comes next: a reviewer judges what it sees, a sub-agent says what it did not find.
- The order is fixed: the tool list is part of the prompt's cached prefix.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from quarterdeck.tools import desk, files, run, search
from quarterdeck.tools.port import Tool

NAMES: Final = ("read", "write", "edit", "search", "run", "todo", "note", "ask", "delegate", "submit")
"""Every built-in tool, in the order in which models see them."""

ALWAYS: Final = ("todo", "note", "ask", "submit")
"""Given to every agent, but for `ask`."""

ASKERS: Final = ("submission", "plan")
"""What agents hand in who may ask a person."""

DEFAULT: Final = ("read", "write", "edit", "search", "run", "delegate")


class Toolbox:
    """The built-in tools, and others that are added by name."""

    def __init__(self, more: Sequence[Tool] = ()) -> None:
        built_in: tuple[Tool, ...] = (
            files.Read(),
            files.Write(),
            files.Edit(),
            search.Search(),
            run.Run(),
            desk.Todo(),
            desk.Note(),
            desk.Ask(),
        )
        self._tools: dict[str, Tool] = {tool.spec.name: tool for tool in (*built_in, *more)}

    def select(
        self,
        names: Sequence[str] | None,
        *,
        expects: str,
        handoff_schema: Mapping[str, Any],
        delegates: Mapping[str, str],
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tool]:
        """The tools of one agent by name, in their fixed order.

        `names` None = the default set; `delegates`: whom it may delegate to, name to description; `without`: tools
        that make no sense where it works. Names that do not exist are left out: the roster has checked them.
        """
        wanted = frozenset(DEFAULT if names is None else names) | frozenset(ALWAYS)
        if expects not in ASKERS:
            without |= {"ask"}
        chosen = {name: tool for name, tool in self._tools.items() if name in wanted and name not in without}
        if delegates and "delegate" not in without:
            chosen["delegate"] = desk.delegate(delegates)
        chosen["submit"] = desk.submit(expects, handoff_schema)
        return chosen
