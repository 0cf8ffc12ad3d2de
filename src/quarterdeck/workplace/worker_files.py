"""Files inside a sandbox (standard library of Python 3.8 only; see `worker`).

Rules
- Paths are inside paths: `/workspace/...`, `/env/...`, or relative to the workspace.
- Writing stays in the workspace after all links are resolved; only regular files are read, without ever waiting for the
  other end of a FIFO.
- Every answer is bounded, and sorted, so that the same tree gives the same answer.
- Bytes of a name that are not UTF-8 are shown as U+FFFD.
"""

# Descriptor-relative calls have no pathlib form, and pathlib would slow the start of every sandbox.
# ruff: noqa: PTH101, PTH103, PTH112, PTH115, PTH118
from __future__ import annotations

import errno
import os
import stat

from quarterdeck.workplace.worker_processes import suppress

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HEX = frozenset("0123456789abcdef")

_TEXT_LIMIT = 400
_DEPTH = 200
_SEARCH_FILE_LIMIT = 8 * 1024 * 1024
_NOCTTY = os.O_CLOEXEC | os.O_NOCTTY


class Files:
    """File operations over one workspace."""

    def __init__(self, workspace: str, places: dict[str, str], confined: bool) -> None:
        """`places` maps inside directories to real ones; `confined` refuses to read anywhere else (needed where
        nothing but this class keeps the agent in)."""
        self.workspace = os.path.realpath(workspace)
        self._places = {inside: os.path.realpath(real) for inside, real in places.items()}
        self._confined = confined

    def real(self, path: str) -> str:
        """The real path of an inside path; links are not resolved yet."""
        for inside, real in self._places.items():
            if path == inside or path.startswith(inside + "/"):
                return real + path[len(inside) :]
        return os.path.join(self.workspace, path)

    def _reachable(self, path: str) -> str:
        if "\0" in path:
            raise ValueError("a path cannot hold a NUL byte")
        real = os.path.realpath(self.real(path))
        if self._confined and not any(_within(real, place) for place in (self.workspace, *self._places.values())):
            raise PermissionError(errno.EACCES, "outside of the workspace", path)
        return real

    def _writable(self, path: str) -> str:
        real = self._reachable(path)
        if not _within(real, self.workspace) or real == self.workspace:
            raise PermissionError(errno.EACCES, "outside of the workspace", path)
        return real

    def read(self, path: str, offset: int, limit: int) -> bytes:
        """At most `limit` bytes of a regular file. Raises OSError, ValueError."""
        fd = os.open(self._reachable(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | _NOCTTY)
        try:
            _regular(os.fstat(fd).st_mode, path)
            parts, left = [], limit
            os.lseek(fd, offset, os.SEEK_SET)
            while left > 0:
                data = os.read(fd, min(left, 1024 * 1024))
                if not data:
                    break
                parts.append(data)
                left -= len(data)
            return b"".join(parts)
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes, mode: int | None) -> None:
        """Replace or create a file in one step, keeping the mode of the one it replaces. Raises OSError, ValueError."""
        real = self._writable(path)
        folder, name = os.path.split(real)
        os.makedirs(folder, exist_ok=True)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            old = _mode(name, directory)
            if old is not None:
                _regular(old, path)
            bits = mode if mode is not None else (stat.S_IMODE(old) & 0o777 if old is not None else 0o644)
            _replace(directory, name, data, bits)
        finally:
            os.close(directory)

    def stat(self, path: str) -> dict[str, Any]:
        """What `path` is, without following a link at its end."""
        folder, name = os.path.split(self.real(path).rstrip("/"))
        inside = self.real(path) in self._places.values() or name in ("", ".", "..")
        real = self._reachable(path) if inside else os.path.join(self._reachable(folder), name)
        info = os.lstat(real)
        found = {"kind": _kind(info.st_mode), "size": info.st_size, "mode": stat.S_IMODE(info.st_mode)}
        if stat.S_ISLNK(info.st_mode):
            found["target"] = _shown(os.readlink(real))
        return {**found, "mtime": info.st_mtime}

    def list(self, path: str, depth: int, limit: int, glob: str | None) -> dict[str, Any]:
        """Entries below a directory, `.git` left out. `depth` 1 = the directory itself."""
        top = self._reachable(path)
        if not os.path.isdir(top):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        entries: list[dict[str, Any]] = []
        for entry in self._walk(top, min(depth, _DEPTH)):
            shown = self._named(entry.path)
            if glob is not None and not _matches(shown, glob):
                continue
            if len(entries) >= limit:
                return {"entries": entries, "truncated": True}
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:  # removed meanwhile
                continue
            entries.append({"path": shown, "kind": _kind(info.st_mode), "size": info.st_size})
        return {"entries": entries, "truncated": False}

    def search(self, pattern: str, path: str, glob: str | None, limit: int, ignore_case: bool) -> dict[str, Any]:
        """Lines that match a regular expression. Binary files, `.git` and files above 8 MiB are left out.

        Raises ValueError for a pattern that is none.
        """
        import re  # noqa: PLC0415 -- slow to load, and a search has a process of its own

        try:
            expression = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        top = self._reachable(path)
        matches: list[dict[str, Any]] = []
        files = 0
        for name in [top] if not os.path.isdir(top) else self._regular_files(top):
            shown = self._named(name)
            if glob is not None and not _matches(shown, glob):
                continue
            text = _text(name)
            if text is None:
                continue
            files += 1
            for number, line in enumerate(text.splitlines(), start=1):
                if expression.search(line):
                    if len(matches) >= limit:
                        return {"matches": matches, "files": files, "truncated": True}
                    matches.append({"path": shown, "line": number, "text": line[:_TEXT_LIMIT]})
        return {"matches": matches, "files": files, "truncated": False}

    def _regular_files(self, top: str) -> Iterator[str]:
        for entry in self._walk(top, _DEPTH):
            if entry.is_file(follow_symlinks=False):
                yield entry.path

    def _walk(self, top: str, depth: int) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(top) as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError:  # unreadable, or removed meanwhile
            return
        for entry in entries:
            if entry.name == ".git":
                continue
            yield entry
            if entry.is_dir(follow_symlinks=False) and depth > 1:
                yield from self._walk(entry.path, depth - 1)

    def _named(self, real: str) -> str:
        for inside, place in (("", self.workspace), *self._places.items()):
            if _within(real, place):
                return _shown((inside + real[len(place) :]).lstrip("/") if not inside else inside + real[len(place) :])
        return _shown(real)


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


def _regular(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    if not stat.S_ISREG(mode):
        raise ValueError(f"not a regular file: {path}")


def _mode(name: str, directory: int) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _replace(directory: int, name: str, data: bytes, bits: int) -> None:
    new = f".{os.getpid()}-{os.urandom(6).hex()}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            os.fchmod(fd, bits)
        finally:
            os.close(fd)
        os.replace(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(new, dir_fd=directory)
        raise


def _text(path: str) -> str | None:
    """A text file's contents; None for what is binary, too large or unreadable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | _NOCTTY)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _SEARCH_FILE_LIMIT:
            return None
        data = file.read(_SEARCH_FILE_LIMIT)
    return None if b"\0" in data[:8192] else data.decode("utf-8", "replace")


def _matches(path: str, glob: str) -> bool:
    """A glob without `/` is for the name alone, as in gitignore; `**` crosses directories, and so does `*` here."""
    import fnmatch  # noqa: PLC0415 -- slow to load, and most sandboxes are asked for no glob

    return (
        fnmatch.fnmatchcase(path, glob)
        or fnmatch.fnmatchcase(path, glob.replace("**/", ""))
        or ("/" not in glob and fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], glob))
    )


def is_oid(text: str) -> bool:
    """Whether it is the full name of an object of git."""
    return len(text) in (40, 64) and _HEX.issuperset(text)


def larger_than(root: bytes, limit: int) -> tuple[list[bytes], int]:
    """Regular files under `root` of more than `limit` bytes, as paths from there, and the bytes of all of them; `.git`
    is left out."""
    found: list[bytes] = []
    total = 0
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder)))
        except OSError:
            continue  # whoever collects the files says that this one cannot be read
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting += [name] if entry.name != b".git" else []
                continue
            with suppress(OSError):  # it may have gone meanwhile
                size = entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
                total += size
                if size > limit:
                    found.append(name)
    return found[:1000], total


def agents_head(directory: str) -> str | None:
    """The commit at the agent's HEAD, from plain files; None where there is none to be read."""
    head = _line(os.path.join(directory, "HEAD"), 1024)
    if head is None or not head.startswith("ref: "):
        return head if head and is_oid(head) else None
    name = head[5:].strip()
    if not name.startswith("refs/") or ".." in name:
        return None
    found = _line(os.path.join(directory, name), 1024)
    if found is None:
        packed = _line(os.path.join(directory, "packed-refs"), 4 * 1024 * 1024) or ""
        found = next((line[: -len(name) - 1] for line in packed.splitlines() if line.endswith(" " + name)), "")
    return found if is_oid(found) else None


def _line(path: str, limit: int) -> str | None:
    """Text of a small regular file; None for anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return file.read(limit).decode("utf-8", "replace").strip()


def make_readable(root: str, *, below: bool = True) -> None:
    """Let the owner read every file and enter every directory of a workspace, its own `.git` left out.

    No link is followed. What cannot be changed is left as it is: whoever reads it next says so. `below=False`: only the
    directory itself.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError):
            _grant(folder, os.lstat(folder).st_mode, stat.S_IRWXU)
            if not below:
                return
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.path != os.path.join(root, ".git"):
                            waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        with suppress(OSError):
                            _grant(entry.path, entry.stat(follow_symlinks=False).st_mode, stat.S_IRUSR)


def _grant(path: str, mode: int, rights: int) -> None:
    if mode & rights != rights and not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode) | rights)
