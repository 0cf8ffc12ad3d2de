"""Takes objects that an agent made into a repository of ours.

Rules
- A pack is unpacked and judged beside the repository; its objects enter only when everything about it is right.
- git checks form and links of every object (`index-pack --strict`); what a tree may contain is decided here as well.
- The commit is one step on its base: exactly one parent, the tree that was announced, nothing missing.
- A tree never holds a name that some file system takes for `.git`, nor a submodule that its base did not have.
"""

import errno
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.kernel.packs import Pack
from quarterdeck.workplace.git import Git, decode, encode
from quarterdeck.workplace.history import GITLINK, FileChange, parse_raw
from quarterdeck.workplace.port import Exported

_MEMORY: Final = 4 * 1024 * 1024 * 1024
_SETTINGS: Final = (
    "pack.threads=1",
    # Large contents are streamed, and old packs are mapped in small windows: a bounded process can still read them.
    "core.bigFileThreshold=16m",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=512m",
)
_UNWELL: Final = (*map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)), "Out of diskspace")
"""How git words the machine's own trouble."""
_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NTFS_SHORT: Final = re.compile(r"git~\d+")


def is_git_directory_name(component: str) -> bool:
    """Whether some file system (HFS+, NTFS) takes this path component for `.git`.

    Sources: git's fsck rules `hasDotgit`, `is_hfs_dotgit`, `is_ntfs_dotgit` (CVE-2014-9390, CVE-2019-1352).
    """
    return any(name == ".git" or _NTFS_SHORT.fullmatch(name) for name in taken_for(component))


def taken_for(component: str) -> Iterator[str]:
    """The names that some file system (HFS+, NTFS) takes this path component for, folded to one case."""
    # HFS+ ignores format characters and compares without case; NTFS ignores what follows a colon, and trailing dots
    # and spaces, and takes a backslash for a separator.
    visible = "".join(c for c in component if unicodedata.category(c) != "Cf")
    for part in unicodedata.normalize("NFC", visible).split("\\"):
        yield part.split(":", 1)[0].rstrip(". ").casefold()


def forbidden(changes: Iterable[FileChange]) -> str | None:
    """Why a change with these paths must not be imported; None = it may."""
    for change in changes:
        try:
            f"{change.path}{change.old_path}".encode()
        except UnicodeEncodeError:
            return f"the path {encode(change.path)!r} is not UTF-8 text and could not be recorded; rename it"
        if change.new_mode == "000000":
            continue
        if any(is_git_directory_name(part) for part in change.path.split("/")):
            return f"the path {change.path!r} stands for a git directory"
        if change.new_mode == GITLINK and change.old_mode != GITLINK:
            return f"the path {change.path!r} is a new submodule"
    return None


async def receive(mirror: Path, git: Git, exported: Exported, *, base: str, max_bytes: int) -> None:
    """Check a pack and move its objects into the mirror. Does not set a ref.

    `base`: the commit that the change was made on; the mirror has it. `max_bytes`: of the pack.
    Raises ValueError with the reason where the pack is bad, GitFailed where the mirror is.
    """
    for name in (exported.commit, exported.tree, base):
        if not _OBJECT_ID.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is not an object id")
    if len(exported.pack) > max_bytes:
        raise ValueError(f"the pack has {len(exported.pack)} bytes, more than {max_bytes}")
    async with _quarantined(mirror, git) as (folder, quarantine):
        await _index(quarantine, exported.pack, max_bytes)
        await _judge(quarantine, exported, base)
        _adopt(folder / "pack", mirror / "objects" / "pack")


async def receive_pack(mirror: Path, git: Git, pack: Pack, *, max_bytes: int) -> None:
    """Check a pack that another worker kept and move its objects into the mirror, which has what it builds on.

    Raises ValueError with the reason where the pack is not whole, GitFailed where the mirror is not.
    """
    if len(pack.data) > max_bytes:
        raise ValueError(f"the pack has {len(pack.data)} bytes, more than {max_bytes}")
    async with _quarantined(mirror, git) as (folder, quarantine):
        await _index(quarantine, pack.data, max_bytes)
        known = [f"^{commit}" for commit in pack.onto]
        walk = await quarantine.run(
            "rev-list", "--objects", "--quiet", pack.commit, *known, ok=range(256), settings=_SETTINGS
        )
        if walk.exit_code != 0:
            raise ValueError(f"objects are missing: {walk.complaint}")
        _adopt(folder / "pack", mirror / "objects" / "pack")


@asynccontextmanager
async def _quarantined(mirror: Path, git: Git) -> AsyncIterator[tuple[Path, Git]]:
    """A place beside the mirror's objects, and git that writes only there."""
    incoming = mirror / "incoming"
    incoming.mkdir(exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=incoming))
    environment = {
        **git.environment,
        "GIT_OBJECT_DIRECTORY": str(folder),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(mirror / "objects"),
    }
    try:
        (folder / "pack").mkdir()
        yield folder, Git(*git.place, environment=environment, umask=git.umask)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _index(git: Git, pack: bytes, max_bytes: int) -> None:
    done = await git.run(
        "index-pack",
        "--stdin",
        "--strict",
        "--fix-thin",
        f"--max-input-size={max_bytes}",
        stdin=pack,
        settings=_SETTINGS,
        memory=_MEMORY,
        ok=range(256),
    )
    if any(sign in done.complaint for sign in _UNWELL):
        raise GitFailed("a pack cannot be taken in", why=done.complaint)
    if done.exit_code != 0:
        raise ValueError(f"git refuses the pack: {done.complaint or 'no reason given'}")


async def _judge(git: Git, exported: Exported, base: str) -> None:
    done = await git.run("cat-file", "commit", exported.commit, ok=range(256), limit=1024 * 1024)
    if done.exit_code != 0:
        raise ValueError("the announced commit is not in the pack")
    header = decode(done.stdout).partition("\n\n")[0].splitlines()
    parents = [line.removeprefix("parent ") for line in header if line.startswith("parent ")]
    if parents != [base]:
        raise ValueError(f"the commit's parents are {parents}, not the base {base}")
    if header[0] != f"tree {exported.tree}":
        raise ValueError("the commit's tree is not the announced one")
    # Walks everything that is new, contents included; what the base has is known to be whole.
    walk = await git.run(
        "rev-list", "--objects", "--quiet", exported.commit, f"^{base}", ok=range(256), settings=_SETTINGS
    )
    if walk.exit_code != 0:
        raise ValueError(f"objects are missing: {walk.complaint}")
    try:
        raw = await git.run("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", base, exported.commit)
    except GitFailed as error:
        raise ValueError(f"the change cannot be read: {error}") from error
    reason = forbidden(change for change, _ in parse_raw(raw.stdout))
    if reason is not None:
        raise ValueError(reason)


def _adopt(source: Path, target: Path) -> None:
    # The index goes last: a pack without one is not seen, so a kill in between leaves nothing half known.
    files = sorted(source.glob("pack-*"), key=lambda file: file.suffix == ".idx")
    for file in files:
        file.replace(target / file.name)
