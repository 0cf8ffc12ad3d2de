"""The folders in which mirrors lie.

Rules
- A mirror's folder is named by what the repository's identity is, and appears under its name when it is whole.
- Its configuration is written once: no hooks, nothing is ever pruned or packed anew behind our back.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from quarterdeck.workplace import fetching
from quarterdeck.workplace.git import NO_CONFIGURATION, Git


def name_of(identity: bytes) -> str:
    """The folder of the mirror of what has that identity."""
    return hashlib.sha256(identity).hexdigest()[:16]


def make_root(root: Path) -> None:
    """Where the mirrors of a home lie."""
    # Where we are root, sandboxes run under another user id that has to reach what it is given, but not list it.
    root.mkdir(parents=True, exist_ok=True, mode=0o711 if os.getuid() == 0 else 0o700)


_SETTINGS: Final = """\
[core]
	repositoryFormatVersion = 1
	logAllRefUpdates = false
	hooksPath = /dev/null
[extensions]
	preciousObjects = true
[gc]
	auto = 0
[maintenance]
	auto = false
"""
"""Added to what git writes itself; a later value counts. Version 1 is needed for extensions."""


async def create(path: Path, identity: str, object_format: str) -> None:
    """Make an empty mirror. Raises GitFailed, OSError."""
    work = Path(tempfile.mkdtemp(prefix=f"{path.name}-", dir=path.parent))
    try:
        git = Git(environment=NO_CONFIGURATION, umask=fetching.READABLE)
        await git.run("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(work))
        with (work / "config").open("a", encoding="utf-8") as config:
            config.write(_SETTINGS)
        _publish(work, path, identity)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def adopt(former: Path, path: Path) -> None:
    """Have a mirror from before spellings did not matter under its name of now, with all that only it holds. Its old
    name leads there: workspaces may have been made on it."""
    if not path.exists():
        former.rename(path)
        former.symlink_to(path.name)


def _publish(work: Path, path: Path, identity: str) -> None:
    (work / "description").write_text(f"{identity}\n", encoding="utf-8", errors="surrogateescape")
    work.chmod(0o711)
    work.rename(path)
