"""Git inside a sandbox: filling a workspace, and taking a change out of it (standard library of Python 3.8 only).

Rules
- The workspace gets a `.git` of its own with alternates to the mirror's objects; nothing in it is shared.
- A change is taken out with a second git directory that exists only meanwhile: its objects come from the mirror, its
  configuration is ours, and the workspace's own `.git` is not asked, whatever the agent did to it. From the agent's
  HEAD only names are taken: files it committed although they are ignored belong to the change.
- The same base, tree, author, message and time give the same commit.
- A nested repository is an error, never silently a gitlink; a file whose bytes the checkout produced is unchanged, even
  where its attributes would normalise it on the way back.
- What git may not read is made readable, and is an error where that does not help: of a directory git only warns.
- A file that is too large for a change is refused before git reads it: a sparse one costs an agent nothing.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH103, PTH112, PTH114, PTH116, PTH118, PTH120, PTH123, PTH208
from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from quarterdeck.workplace.worker_files import OID, agents_head, larger_than, make_readable

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    from typing import Any

_TIMEOUT = 300.0
_RESTORE_LIMIT = 1000
_PAST = 10
_SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.quotePath=false",
    "core.looseCompression=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "diff.ignoreSubmodules=all",
    "submodule.recurse=false",
    "advice.addEmbeddedRepo=false",
)


class GitError(ValueError):
    """A git command failed."""


class _Unreadable(ValueError):
    """Something in the workspace may not be read."""


class Cancelled(Exception):
    """The host no longer wants the answer."""


class Git:
    """Import and export over one workspace. One call at a time."""

    def __init__(self, workspace: str, objects: Sequence[str], env: dict[str, str], scratch: str) -> None:
        self._workspace = workspace
        self._objects = list(objects)
        self._env = {key: value for key, value in env.items() if not key.startswith("GIT_")}
        self._scratch = scratch
        self._index: tuple[str, bytes, int] | None = None
        self._lock = threading.Lock()

    # -- into the workspace ------------------------------------------------------------------------------------------

    def import_(self, arguments: dict[str, Any], cancelled: Callable[[], bool]) -> None:
        """Fill the empty workspace. Raises GitError, ValueError where the workspace is not empty."""
        commit, tree = str(arguments["commit"]), arguments["tree"]
        name, email = arguments["identity"]
        with self._lock:
            if os.listdir(self._workspace):
                raise ValueError("the workspace is not empty")
            directory = os.path.join(self._workspace, ".git")
            _lay_out(directory, _oid(commit), self._objects, "ref: refs/heads/work", _config(name, email, commit))
            _put(os.path.join(directory, "refs", "heads", "work"), commit + "\n")
            if arguments["shallow"]:
                _put(os.path.join(directory, "shallow"), str(arguments["shallow"]))
            git = _Private(directory, self._workspace, self._env, cancelled)
            git("read-tree", "--reset", "-u", _oid(tree) if tree else commit)
            _backdate(self._workspace)
            _refresh(git)
            index = os.path.join(directory, "index")
            with open(index, "rb") as file:
                self._index = (tree or commit, file.read(), os.stat(index).st_mtime_ns)

    # -- out of the workspace ----------------------------------------------------------------------------------------

    def export(self, arguments: dict[str, Any], cancelled: Callable[[], bool]) -> tuple[dict[str, Any], bytes]:
        """(`{"commit", "tree"}` or `{}` where nothing differs, pack). Raises GitError, ValueError."""
        with self._lock:
            directory = _scratch_directory(self._scratch)
            try:
                return self._export(directory, arguments, cancelled)
            except OSError as error:
                raise GitError(f"the change cannot be collected: {error}") from error
            finally:
                _remove(directory)

    def _export(
        self, directory: str, arguments: dict[str, Any], cancelled: Callable[[], bool]
    ) -> tuple[dict[str, Any], bytes]:
        base = _oid(str(arguments["base"]))
        excluded = [_excluding(str(pattern)) for pattern in arguments["exclude"]]
        _lay_out(directory, base, self._objects, base, _config("", "", base))
        _put(os.path.join(directory, "shallow"), base + "\n")  # what lies before the base is not asked for
        git = _Private(directory, self._workspace, self._env, cancelled)
        make_readable(self._workspace, below=False)
        self._read_base(git, directory, base)
        self._refuse_oversized(git, int(arguments["max_bytes"]))
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
        commit = _store(directory, b"commit", body, len(base))
        pack = git(
            *("pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"),
            stdin=f"{commit}\n^{base}\n".encode(),
            bound=int(arguments["max_bytes"]),
        )
        return {"commit": commit, "tree": tree}, pack

    def _refuse_oversized(self, git: _Private, limit: int) -> None:
        large = larger_than(os.fsencode(self._workspace), limit)
        literal = [b":(top,literal)" + name for name in large]
        changed = (
            git("ls-files", "-z", "-m", "-o", "--exclude-standard", "--", *map(os.fsdecode, literal)) if large else b""
        )
        if changed:
            names = ", ".join(sorted(_shown(name) for name in changed.split(b"\0")[:-1])[:5])
            raise ValueError(f"larger than {limit} bytes: {names}")

    def _collect(self, git: _Private, base: str, excluded: list[str]) -> None:
        """Bring the workspace's files into the index. Only where git was refused one are they all looked at."""
        try:
            _add(git, "-A", "--", ".", *excluded)
            self._add_committed(git, base, excluded)
        except _Unreadable:
            make_readable(self._workspace)
            _add(git, "-A", "--", ".", *excluded)
            self._add_committed(git, base, excluded)

    def _read_base(self, git: _Private, directory: str, base: str) -> None:
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

    def _add_committed(self, git: _Private, base: str, excluded: list[str]) -> None:
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

    def _head_names(self, git: _Private, head: str) -> list[bytes]:
        """Names in the agent's HEAD, read with its objects beside the mirror's in a git directory used for nothing
        else: an object forged under another's name can then only change these names."""
        own = os.path.join(self._workspace, ".git", "objects")
        if os.path.islink(os.path.dirname(own)) or os.path.islink(own) or not os.path.isdir(own):
            return []
        directory = _scratch_directory(self._scratch)
        try:
            _lay_out(directory, head, [*self._objects, own], head, _config("", "", head))
            return git.beside(directory)("ls-tree", "-r", "-z", "--name-only", "--full-tree", head).split(b"\0")[:-1]
        except GitError:  # a HEAD that cannot be read only means that there are no such names
            return []
        finally:
            _remove(directory)


_NESTED = (
    "a repository lies inside the workspace, and its files would be lost: {}. "
    "Remove its .git directory, or have it ignored"
)


class _Private:
    """git on one git directory and the workspace, with nothing else to be configured by."""

    def __init__(self, directory: str, workspace: str, env: dict[str, str], cancelled: Callable[[], bool]) -> None:
        self._workspace = workspace
        self._cancelled = cancelled
        self._base_env = env
        self._env = {
            **env,
            "GIT_DIR": directory,
            "GIT_WORK_TREE": workspace,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        self.said = ""
        """What the last command that succeeded wrote to standard error."""
        self._prefix = ["git", *(part for setting in _SAFE for part in ("-c", setting))]

    def beside(self, directory: str) -> _Private:
        return _Private(directory, self._workspace, self._base_env, self._cancelled)

    def __call__(
        self, *arguments: str, stdin: bytes = b"", bound: int | None = None, ok: tuple[int, ...] = (0,)
    ) -> bytes:
        """Standard output. Raises GitError; ValueError beyond `bound` bytes; Cancelled."""
        process = subprocess.Popen(
            [*self._prefix, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._workspace,
            env=self._env,
            start_new_session=True,
        )
        try:
            out, err = self._talk(process, stdin, bound)
        finally:
            process.kill()
            process.wait()
        if process.returncode not in ok:
            raise GitError(f"git {arguments[0]}: {err.decode('utf-8', 'replace').strip()[-2000:] or _end(process)}")
        self.said = err.decode("utf-8", "replace")
        return out

    def _talk(self, process: subprocess.Popen[bytes], stdin: bytes, bound: int | None) -> tuple[bytes, bytes]:
        if bound is not None:
            return _bounded(process, stdin, bound)
        deadline = time.monotonic() + _TIMEOUT
        send: bytes | None = stdin
        while True:
            try:
                return process.communicate(send, timeout=0.5)
            except subprocess.TimeoutExpired:
                send = None
                if self._cancelled():
                    raise Cancelled from None
                if time.monotonic() > deadline:
                    raise GitError(f"git took longer than {_TIMEOUT:.0f} s") from None


class _Change:
    """One line of a raw diff against the base."""

    def __init__(self, fields: list[bytes], path: bytes) -> None:
        self.old_mode, self.mode, self.old_oid, _, self.status = fields
        self.path = path


def commit_body(base: str, tree: str, message: str, author: str, when: int) -> bytes:
    """The bytes of the commit object. `author` is `name <email>`, `when` seconds since the epoch.

    Raises ValueError for text that cannot stand in a commit.
    """
    if "\0" in message or any(character in author for character in "\0\n"):
        raise ValueError("a commit cannot hold this message or author")
    stamp = f"{author} {when} +0000"
    text = message.rstrip("\n") + "\n"
    return f"tree {tree}\nparent {base}\nauthor {stamp}\ncommitter {stamp}\n\n{text}".encode()


def object_id(kind: bytes, body: bytes, digits: int) -> str:
    """Name of an object in a repository whose names have `digits` hex digits: 40 (SHA-1) or 64 (SHA-256)."""
    import hashlib  # noqa: PLC0415 -- see `preload`

    data = b"%s %d\0%s" % (kind, len(body), body)
    return (hashlib.sha256(data) if digits == 64 else hashlib.sha1(data)).hexdigest()


def _store(directory: str, kind: bytes, body: bytes, digits: int) -> str:
    """Write a loose object; git would take a process for it."""
    import zlib  # noqa: PLC0415 -- see `preload`

    name = object_id(kind, body, digits)
    folder = os.path.join(directory, "objects", name[:2])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name[2:]), "wb") as file:
        file.write(zlib.compress(b"%s %d\0%s" % (kind, len(body), body), 1))
    return name


def preload() -> None:
    """Load what only an export needs. Not at the top: it takes a third of the start of a sandbox."""
    import hashlib  # noqa: F401, PLC0415
    import shutil  # noqa: F401, PLC0415
    import tempfile  # noqa: F401, PLC0415
    import zlib  # noqa: F401, PLC0415


def _scratch_directory(parent: str) -> str:
    import tempfile  # noqa: PLC0415 -- see `preload`

    return tempfile.mkdtemp(prefix="quarterdeck-", dir=parent)


def _remove(directory: str) -> None:
    import shutil  # noqa: PLC0415 -- see `preload`

    shutil.rmtree(directory, ignore_errors=True)


def _oid(text: str) -> str:
    if OID.fullmatch(text) is None:
        raise ValueError(f"not an object id: {text!r}")
    return text


def _lay_out(directory: str, oid: str, objects: Sequence[str], head: str, config: str) -> None:
    """A git directory by hand: `git init` would take a process, and look for templates."""
    for part in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        os.makedirs(os.path.join(directory, part))
    _put(os.path.join(directory, "config"), config)
    _put(os.path.join(directory, "HEAD"), head + "\n")
    _put(os.path.join(directory, "objects", "info", "alternates"), "".join(path + "\n" for path in objects))


def _config(name: str, email: str, oid: str) -> str:
    long = len(oid) == 64
    lines = ["[core]", f"\trepositoryformatversion = {int(long)}", "\tfilemode = true", "\tbare = false"]
    lines += ["\tlogallrefupdates = true", "[gc]", "\tauto = 0", "[maintenance]", "\tauto = false"]
    if long:
        lines += ["[extensions]", "\tobjectformat = sha256"]
    if name:
        lines += ["[user]", f"\tname = {_quoted(name)}", f"\temail = {_quoted(email)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


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


def _refresh(git: _Private) -> None:
    """Compare files with the index by content, and note the time stamps of those that are the same."""
    git("update-index", "-q", "--refresh", ok=(0, 1))


def _end(process: subprocess.Popen[bytes]) -> str:
    """How it ended, where it said nothing itself."""
    if process.returncode == -signal.SIGKILL:
        return "it was killed, as is what needs more memory or disk than this sandbox has"
    return f"it ended with {process.returncode}"


def _add(git: _Private, *arguments: str, stdin: bytes = b"") -> None:
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


def _changes(git: _Private) -> list[_Change]:
    fields = git("diff-index", "--cached", "--raw", "-z", "--no-renames", "--full-index", "HEAD").split(b"\0")
    return [
        _Change(head[1:].split(b" "), path)
        for head, path in zip(fields[::2], fields[1::2])  # noqa: B905 -- `strict` came with Python 3.10
    ]


def _restore_normalised(git: _Private, workspace: str, changes: list[_Change]) -> int:
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


def _bounded(process: subprocess.Popen[bytes], stdin: bytes, bound: int) -> tuple[bytes, bytes]:
    """Output up to `bound` bytes. Raises ValueError beyond. Input and messages are small enough for a pipe's buffer."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    guard = threading.Timer(_TIMEOUT, process.kill)
    guard.start()
    try:
        process.stdin.write(stdin)
        process.stdin.close()
        out = process.stdout.read(bound + 1)
        if len(out) > bound:
            raise ValueError(f"the change is larger than {bound} bytes")
        return out, process.stderr.read()
    finally:
        guard.cancel()
        process.kill()
        process.stdout.close()
        process.stderr.close()


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")
