"""Paths as an agent writes them.

Rules
- Relative paths are relative to the workspace; absolute ones are inside paths of the sandbox.
- Only the workspace can be written, and nothing in its `.git` by the file tools. What else the agent may reach is the
  sandbox's decision, not this file's.
"""

import posixpath
from typing import Final

from quarterdeck.workplace.port import WORKSPACE

_PROTECTED: Final = ".git"


def inside(path: str) -> str:
    """The absolute inside path."""
    return posixpath.normpath(posixpath.join(WORKSPACE, path))


def shown(path: str) -> str:
    """The path as an agent should use it: relative where it lies in the workspace."""
    absolute = inside(path)
    return absolute.removeprefix(WORKSPACE + "/") if absolute != WORKSPACE else "."


def unwritable(path: str) -> str | None:
    """Why the file tools do not write there; None = they do."""
    absolute = inside(path)
    if "\0" in path or not path.strip():
        return "the path is empty or holds a NUL byte"
    if absolute == WORKSPACE or path.endswith("/"):
        return f"`{path}` is a directory"
    if not absolute.startswith(WORKSPACE + "/"):
        return f"`{path}` lies outside of the workspace"
    if _PROTECTED in absolute.removeprefix(WORKSPACE + "/").split("/"):
        return f"`{path}` lies in git's own directory; use git commands with `run`"
    return None
