"""Sandboxes that lost their launcher while they were being made.

Rules
- bwrap's child waits until its parent has mapped its user ids, and asks to die with its parent only after that. A
  parent that is killed at that moment leaves it waiting for ever: nothing was recorded of it, and nothing runs in it.
- Such a child is known by its arguments, which name a workspace of ours, and by a parent that is no bwrap of the same
  workspace. In a sandbox that is well, the parent is.
"""

import os
from pathlib import Path

from quarterdeck.workplace.namespaces import first_of, parent


def strays(workspaces: Path) -> list[int]:
    """Process ids of such children below the directory of workspaces; none where there is no /proc."""
    mark = f"{workspaces}/".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        place = _place(pid, mark)
        if place is not None and first_of(pid) == pid and _place(parent(pid), mark) != place:
            found.append(pid)
    return found


def _place(pid: int, mark: bytes) -> bytes | None:
    """The workspace in the arguments of a bwrap process."""
    try:
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if os.path.basename(program) != b"bwrap":  # noqa: PTH119 - bytes, which Path does not take
        return None
    return next((argument for argument in arguments if argument.startswith(mark)), None)
