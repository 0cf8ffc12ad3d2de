"""Git inside a sandbox: filling a workspace, and taking a change out of it (standard library of Python 3.8 only; see
`worker`).

Rules
- The workspace gets a `.git` of its own with alternates to the mirror's objects; nothing in it is shared.
- A change is taken out with a second git directory that exists only meanwhile: its objects come from the mirror, its
  configuration is ours, and the workspace's own `.git` is not asked, whatever the agent did to it. From the agent's
  HEAD only names are taken: files it committed although they are ignored belong to the change.
- A nested repository is an error, never silently a gitlink; a file whose bytes the checkout produced is unchanged, even
  where its attributes would normalise it on the way back.
- What git may not read is made readable, and is an error where that does not help: of a directory git only warns.
- A file that is too large for a change is refused before git reads it: a sparse one costs an agent nothing. So are many
  that are too large together.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH112, PTH114, PTH116, PTH118, PTH120, PTH123, PTH208
from __future__ import annotations

import _thread
import os
import stat
import time

from quarterdeck.workplace.worker_files import agents_head, larger_than, make_readable
from quarterdeck.workplace.worker_git_command import GitError, PrivateGit
from quarterdeck.workplace.worker_git_directory import (
    checked,
    commit_body,
    configuration,
    lay_out,
    preload,
    put,
    remove,
    scratch_directory,
    store,
)
from quarterdeck.workplace.worker_processes import begin, suppress

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_RESTORE_LIMIT = 1000
_PAST = 10
_MANY = 64 * 1024 * 1024
"""Bytes in a workspace up to which its files are not added up: to read them takes less than a second."""


class _Unreadable(ValueError):
    """Something in the workspace may not be read."""


class Git:
    """Import and export over one workspace. One call at a time."""

    def __init__(self, workspace: str, objects: Sequence[str], env: dict[str, str], scratch: str) -> None:
        self._workspace = workspace
        self._objects = list(objects)
        self._env = {key: value for key, value in env.items() if not key.startswith("GIT_")}
        self._scratch = scratch
        self._index: tuple[str, bytes, int] | None = None
        self._lock = _thread.allocate_lock()

    # -- into the workspace ------------------------------------------------------------------------------------------

    def import_(self, arguments: dict[str, Any], cancelled: Callable[[], bool]) -> None:
        """Fill the empty workspace. Raises GitError, ValueError where the workspace is not empty."""
        commit, tree = checked(str(arguments["commit"])), arguments["tree"]
        name, email = arguments["identity"]
        with self._lock:
            if os.listdir(self._workspace):
                raise ValueError("the workspace is not empty")
            directory = os.path.join(self._workspace, ".git")
            lay_out(directory, self._objects, "ref: refs/heads/work", configuration(name, email, commit))
            put(os.path.join(directory, "refs", "heads", "work"), commit + "\n")
            if arguments["shallow"]:
                put(os.path.join(directory, "shallow"), str(arguments["shallow"]))
            git = PrivateGit(directory, self._workspace, self._env, cancelled)
            git("read-tree", "--reset", "-u", checked(tree) if tree else commit)
            _backdate(self._workspace)
            _refresh(git)
            index = os.path.join(directory, "index")
            with open(index, "rb") as file:
                self._index = (tree or commit, file.read(), os.stat(index).st_mtime_ns)

    # -- out of the workspace ----------------------------------------------------------------------------------------

    def export(self, arguments: dict[str, Any], cancelled: Callable[[], bool]) -> tuple[dict[str, Any], bytes]:
        """(`{"commit", "tree"}` or `{}` where nothing differs, pack). Raises GitError, ValueError."""
        with self._lock:
            with suppress(RuntimeError):  # no thread is left: it is loaded when it is needed
                begin(preload)
            directory = scratch_directory(self._scratch)
            try:
                return self._export(directory, arguments, cancelled)
            except OSError as error:
                raise GitError(f"the change cannot be collected: {error}") from error
            finally:
                remove(directory)

    def _export(
        self, directory: str, arguments: dict[str, Any], cancelled: Callable[[], bool]
    ) -> tuple[dict[str, Any], bytes]:
        base = checked(str(arguments["base"]))
        excluded = [_excluding(str(pattern)) for pattern in arguments["exclude"]]
        lay_out(directory, self._objects, base, configuration("", "", base))
        put(os.path.join(directory, "shallow"), base + "\n")  # what lies before the base is not asked for
        git = PrivateGit(directory, self._workspace, self._env, cancelled)
        make_readable(self._workspace, below=False)
        self._read_base(git, directory, base)
        self._refuse_oversized(git, int(arguments["max_bytes"]), excluded)
        self._collect(git, base, excluded)
        changes = _changes(git)
        if _restore_normalised(git, self._workspace, changes):
            changes = _changes(git)
        if not changes:
            return {}, b""
        nested = sorted(_shown(change.path) for change in changes if change.mode == b"160000")
        if nested:
            raise ValueError(_NESTED.format(", ".join(nested[:5])))
        tree = git("write-tree", "--missing-ok").decode().strip()  # the host looks whether all is there
        body = commit_body(base, tree, str(arguments["message"]), str(arguments["author"]), int(arguments["when"]))
        commit = store(directory, b"commit", body, len(base))
        pack = git(
            *("pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"),
            stdin=f"{commit}\n^{base}\n".encode(),
            bound=int(arguments["max_bytes"]),
        )
        return {"commit": commit, "tree": tree}, pack

    def _refuse_oversized(self, git: PrivateGit, limit: int, excluded: list[str]) -> None:
        large, total = larger_than(os.fsencode(self._workspace), limit)
        literal = [b":(top,literal)" + name for name in large]
        changed = (
            git("ls-files", "-z", "-m", "-o", "--exclude-standard", "--", *map(os.fsdecode, literal)) if large else b""
        )
        if changed:
            names = ", ".join(sorted(_shown(name) for name in changed.split(b"\0")[:-1])[:5])
            raise ValueError(f"larger than {limit} bytes: {names}")
        if total > max(limit, _MANY):
            listed = git("ls-files", "-z", "-m", "-o", "--exclude-standard", "--", ".", *excluded).split(b"\0")[:-1]
            together = sum(_size(os.path.join(os.fsencode(self._workspace), name)) for name in set(listed))
            if together > limit:
                raise ValueError(f"larger than {limit} bytes: {len(set(listed))} changed files of {together} bytes")

    def _collect(self, git: PrivateGit, base: str, excluded: list[str]) -> None:
        """Bring the workspace's files into the index. Only where git was refused one are they all looked at."""
        try:
            _add(git, "-A", "--", ".", *excluded)
            self._add_committed(git, base, excluded)
        except _Unreadable:
            make_readable(self._workspace)
            _add(git, "-A", "--", ".", *excluded)
            self._add_committed(git, base, excluded)

    def _read_base(self, git: PrivateGit, directory: str, base: str) -> None:
        """The base's tree in the index; with the time stamps of the checkout where it was ours, so that unchanged files
        need not be read. The index's own time stamp is kept too: git distrusts entries that are not older than it."""
        if self._index is not None and self._index[0] == base:
            path = os.path.join(directory, "index")
            with open(path, "wb") as file:
                file.write(self._index[1])
            os.utime(path, ns=(self._index[2], self._index[2]))
            return
        git("read-tree", base)
        _refresh(git)

    def _add_committed(self, git: PrivateGit, base: str, excluded: list[str]) -> None:
        """Add ignored files that the agent's own HEAD holds, where that can be read at all."""
        head = agents_head(os.path.join(self._workspace, ".git"))
        if head is None or head == base:
            return
        names = self._head_names(git, head)
        known = set(git("ls-files", "-z").split(b"\0")) if names else set()
        missing = [name for name in names if name not in known and _plain(self._workspace, name)]
        if missing:
            specs = [b":(top,literal)" + name for name in missing] + [os.fsencode(spec) for spec in excluded]
            _add(git, "-f", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=b"\0".join(specs))

    def _head_names(self, git: PrivateGit, head: str) -> list[bytes]:
        """Names in the agent's HEAD, read with its objects beside the mirror's in a git directory used for nothing
        else: an object forged under another's name can then only change these names."""
        own = os.path.join(self._workspace, ".git", "objects")
        if os.path.islink(os.path.dirname(own)) or os.path.islink(own) or not os.path.isdir(own):
            return []
        directory = scratch_directory(self._scratch)
        try:
            lay_out(directory, [*self._objects, own], head, configuration("", "", head))
            return git.beside(directory)("ls-tree", "-r", "-z", "--name-only", "--full-tree", head).split(b"\0")[:-1]
        except GitError:  # a HEAD that cannot be read only means that there are no such names
            return []
        finally:
            remove(directory)


_NESTED = (
    "a repository lies inside the workspace, and its files would be lost: {}. "
    "Remove its .git directory, or have it ignored"
)


class _Change:
    """One line of a raw diff against the base."""

    def __init__(self, fields: list[bytes], path: bytes) -> None:
        self.old_mode, self.mode, self.old_oid, _, self.status = fields
        self.path = path


def _size(path: bytes) -> int:
    """Bytes of a regular file; 0 = it is none, or it has gone."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _excluding(pattern: str) -> str:
    magic = "glob" if any(character in pattern for character in "*?[") else "literal"
    return f":(exclude,top,{magic}){pattern.strip('/')}"


def _backdate(workspace: str) -> None:
    """Make the files of a checkout older than its index: git reads every file again that is not, and as it may not
    touch the mirror's objects to mark them as used, it would also write a copy of each."""
    past = int(time.time()) - _PAST
    for folder, directories, files in os.walk(workspace):
        if folder == workspace:
            directories.remove(".git")
        for name in files:
            os.utime(os.path.join(folder, name), (past, past), follow_symlinks=False)


def _refresh(git: PrivateGit) -> None:
    """Compare files with the index by content, and note the time stamps of those that are the same."""
    git("update-index", "-q", "--refresh", ok=(0, 1))


def _add(git: PrivateGit, *arguments: str, stdin: bytes = b"") -> None:
    try:
        git("add", *arguments, stdin=stdin)
    except GitError as error:
        if "does not have a commit checked out" in str(error):
            raise ValueError(_NESTED.format(error)) from error
        _refuse_unreadable(str(error))
        raise
    _refuse_unreadable(git.said)


def _refuse_unreadable(said: str) -> None:
    """Raises _Unreadable where git says that it could not read something: the rest alone is not the change."""
    lines = [line.strip() for line in said.splitlines()]
    denied = [line for line in lines if line.endswith(": Permission denied") or "could not open directory" in line]
    if denied:
        raise _Unreadable(f"files of the workspace cannot be read, and would be lost: {'; '.join(denied[:5])}")


def _changes(git: PrivateGit) -> list[_Change]:
    fields = git("diff-index", "--cached", "--raw", "-z", "--no-renames", "--full-index", "HEAD").split(b"\0")
    return [
        _Change(head[1:].split(b" "), path)
        for head, path in zip(fields[::2], fields[1::2])  # noqa: B905 -- `strict` came with Python 3.10
    ]


def _restore_normalised(git: PrivateGit, workspace: str, changes: list[_Change]) -> int:
    """Put back the base's blob of each file that still has the bytes a checkout gives it; how many."""
    files = (b"100644", b"100755")
    lines: list[bytes] = []
    for change in changes:
        if change.status != b"M" or change.old_mode not in files or change.mode not in files:
            continue
        if len(lines) >= _RESTORE_LIMIT or not _has_attributes(workspace, change.path):
            continue
        with open(os.path.join(os.fsencode(workspace), change.path), "rb") as file:
            content = file.read()
        if git("cat-file", "--filters", f"--path={os.fsdecode(change.path)}", change.old_oid.decode()) == content:
            lines.append(b"%s %s\t%s\0" % (change.mode, change.old_oid, change.path))
    if lines:
        git("update-index", "-z", "--index-info", stdin=b"".join(lines))
    return len(lines)


def _has_attributes(workspace: str, path: bytes) -> bool:
    folder = os.path.dirname(path)
    while True:
        if os.path.lexists(os.path.join(os.fsencode(workspace), folder, b".gitattributes")):
            return True
        if not folder:
            return False
        folder = os.path.dirname(folder)


def _plain(workspace: str, name: bytes) -> bool:
    """Whether `name` is a file or a link that git can add: no `.git` in it, no link on the way."""
    parts = name.split(b"/")
    if any(part.lower() in (b"", b".", b"..", b".git") for part in parts):
        return False
    path = os.fsencode(workspace)
    for part in parts[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path):
            return False
    try:
        mode = os.lstat(os.path.join(path, parts[-1])).st_mode
    except PermissionError as error:
        raise _Unreadable(f"files of the workspace cannot be read, and would be lost: {_shown(name)}") from error
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")
