"""What there is to know about the user's repository before anything is done with it.

Rules
- Reading only: nothing of the user's repository is changed here, not even its index.
- What cannot be used is refused with the reason and the command that mends it.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import BadRepository, GitFailed
from quarterdeck.workplace.git import Git, decode

_EXAMINED: Final = re.compile(r"(.*)\n(true|false)\n(sha[0-9]+)(?:\n(.*))?", re.DOTALL)
"""Its git directory, whether it is bare, its object format, its work tree."""
_HEAD: Final = "HEAD^{commit}"
_BROKEN: Final = ("bad object", "missing blob", "missing tree", "missing commit", "is corrupt", "unable to read")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A work tree that has a branch checked out."""

    path: Path
    clean: bool
    """Nothing modified, staged or untracked."""


def parse_worktrees(listing: bytes, branch: str) -> tuple[Path, ...]:
    """Work trees of `worktree list --porcelain -z` that have `branch` checked out and still exist."""
    found = []
    for block in listing.split(b"\0\0"):
        lines = [decode(line) for line in block.split(b"\0") if line]
        keys = {line.partition(" ")[0] for line in lines}
        if f"branch refs/heads/{branch}" in lines and "prunable" not in keys:
            found.append(Path(lines[0].removeprefix("worktree ")))
    return tuple(found)


async def examine(repository: Path) -> tuple[Path, Path, str]:
    """(work tree or git directory, real path of the common git directory, object format) of a usable repository.

    Raises BadRepository with the fix.
    """
    repository = _directory(repository)
    git = Git("-C", str(repository))
    asked = ("--path-format=absolute", "--git-common-dir", "--is-bare-repository", "--show-object-format")
    done = await git.run("rev-parse", *asked, "--show-toplevel", ok=range(256))
    told = _EXAMINED.fullmatch(done.text)  # where there is no work tree, that alone is not answered
    if told is None:
        raise _unusable(repository, done.complaint)
    directory, bare, object_format, top = told.groups()
    common_dir = _real(directory)
    place = common_dir if bare == "true" or done.exit_code != 0 else Path(top)
    if not _exists(place):
        fix = f"git --git-dir={shlex.quote(str(common_dir))} config --unset core.worktree"
        raise BadRepository(f"the work tree of {repository} should be {place}, which does not exist", fix=fix)
    refs = await git.run("for-each-ref", "--count=1", ok=range(256))
    if refs.exit_code != 0 or "broken ref" in refs.complaint:
        raise _damaged(repository, refs.complaint)
    if not refs.stdout and (await git.run("rev-parse", "--verify", "--quiet", _HEAD, ok=range(256))).exit_code != 0:
        fix = f"git -C {shlex.quote(str(repository))} commit --allow-empty -m 'Start'"
        raise BadRepository(f"{repository} has no commits", fix=fix)
    return place, common_dir, object_format


def _directory(path: Path) -> Path:
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise BadRepository(f"{path} {what}", fix="put it back there, or order a run of another with --repo")
    if not is_text(os.fspath(path)):
        raise BadRepository(
            f"the path {os.fsencode(path)!r} is not UTF-8 text", why="it could not be recorded", fix="rename it"
        )
    return path.absolute()


def check_writable(repository: Path, common_dir: Path) -> None:
    """Raises BadRepository where no commit could be written: better said now than when work is to land."""
    for folder in (common_dir, common_dir / "objects", common_dir / "refs"):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BadRepository(
                f"{repository} cannot be written",
                why=f"{folder} is read-only for this user, and what a run lands has to be stored there",
                fix="make it writable, or use a clone of it with --repo",
            )


def _damaged(repository: Path, complaint: str) -> BadRepository:
    """With a ref that leads nowhere git refuses to take in new objects: better said now than when work is to land."""
    place = f"git -C {shlex.quote(str(repository))}"
    broken = complaint.partition("broken ref ")[2].partition("\n")[0]
    fix = f"{place} update-ref --no-deref -d {shlex.quote(broken)}" if broken else f"{place} fsck"
    return BadRepository(f"{repository} has a ref that leads nowhere", why=" ".join(complaint.split()), fix=fix)


def is_text(name: str) -> bool:
    """Whether a name can be recorded: it came from bytes that are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unusable(repository: Path, complaint: str) -> BadRepository:
    if "dubious ownership" in complaint:
        fix = f"git config --global --add safe.directory {shlex.quote(str(repository))}"
        return BadRepository(f"{repository} belongs to another user", why="git does not trust it", fix=fix)
    if "not a git repository" in complaint:
        why = "" if "(or any" in complaint else " ".join(complaint.split())
        inside, fix = repository / ".git", "git init, then commit; or use --repo"
        if os.path.lexists(inside):  # `git init` over what is left of one would hide what is wrong with it
            fix = f"mend {inside}, which git cannot use as it is; or use --repo"
        return BadRepository(f"{repository} is not a git repository", why=why, fix=fix)
    return BadRepository(f"git cannot use {repository}", why=complaint, fix=f"git -C {repository} status")


def unfetchable(repository: Path, commit: str, complaint: str) -> BadRepository | GitFailed:
    """The error for a repository from which the history of a commit cannot be had: its own fault, or the machine's."""
    place = shlex.quote(str(repository))
    if "promisor" in complaint or "lazy fetching" in complaint:
        return BadRepository(
            f"{repository} is a partial clone, and objects of {commit[:12]} are missing in it",
            why="nothing is fetched from another machine on your behalf",
            fix=f"git -C {place} fetch --refetch --no-filter",
        )
    what, why, fix = (
        f"{commit[:12]} cannot be read from {repository}",
        " ".join(complaint.split()),
        f"git -C {place} fsck",
    )
    if any(sign in complaint for sign in _BROKEN):
        return BadRepository(what, why=why, fix=fix)
    return GitFailed(what, why=why, fix=fix)


def _exists(path: Path) -> bool:
    return path.is_dir()


def _real(path: str) -> Path:
    return Path(path).resolve()


async def holders(git: Git, branch: str) -> tuple[Path, ...]:
    """The work trees that have `branch` checked out."""
    return parse_worktrees((await git.run("worktree", "list", "--porcelain", "-z")).stdout, branch)


async def clean(checkout: Path) -> bool:
    """Whether a work tree has nothing modified, staged or untracked.

    Raises BadRepository where git cannot tell, for example because a filter program of the user's is missing.
    """
    return not await _status(checkout, "--untracked-files=normal")


async def uncommitted(checkout: Path, *places: str) -> tuple[str, ...]:
    """Files of a work tree, below folders or by name, that are not as they are committed. Raises BadRepository as
    `clean`."""
    said = await _status(checkout, "--untracked-files=all", "--no-renames", "--", *places)
    return tuple(entry[3:].decode("utf-8", "replace") for entry in said.split(b"\0") if len(entry) > len("?? "))


async def _status(checkout: Path, *arguments: str) -> bytes:
    try:
        done = await Git("-C", str(checkout)).run(
            "status", "--porcelain", "-z", *arguments, limit=1 << 16, may_cut=True
        )
    except GitFailed as error:
        raise BadRepository(
            f"git cannot tell whether {checkout} has changes",
            why=" ".join(error.why.split()),
            fix=f"git -C {shlex.quote(str(checkout))} status",
        ) from error
    return done.stdout
