"""Commits and trees as values: what changed, what merges, what a commit says.

Rules
- Nothing here depends on the machine or on who runs it: the same arguments give the same ids.
- Path names are taken apart only at NUL bytes; they may contain anything else.
- No external diff, text conversion or merge driver ever runs.
- What a commit that is named by its id holds never changes: it is read once, and some of it is kept.
"""

import posixpath
import re
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.workplace.git import Git, decode, encode
from quarterdeck.workplace.objects import Objects

T = TypeVar("T")

COMMITTER: Final = ("Quarterdeck", "quarterdeck@localhost")
SYMLINK: Final = "120000"
GITLINK: Final = "160000"
ABSENT: Final = "000000"

_MAX_LINKS: Final = 10
ID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEPT: Final = 256
_KEPT_LISTS: Final = 8
_LARGEST_KEPT: Final = 64 * 1024
"""Bytes, or paths."""
_RENAMES: Final = ("-M", "-l1000")
_LOG_FORMAT: Final = "--format=tformat:%H%x00%P%x00%s%x00%(trailers:only=true,unfold=true)"
_MERGE_SETTINGS: Final = (
    "merge.conflictStyle=merge",
    "merge.renames=true",
    "merge.renameLimit=7000",
    "merge.directoryRenames=conflict",
    "diff.algorithm=histogram",
)


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that differs between two commits."""

    path: str
    old_path: str
    """Differs from `path` in a rename or copy."""
    status: str
    """git's letter: A added, M modified, D deleted, R renamed, C copied, T type changed."""
    old_mode: str
    new_mode: str
    """Octal; `000000` = absent, `120000` = symbolic link, `160000` = submodule."""
    size: int
    """Bytes of the new content; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Merge:
    """The result of merging two commits."""

    tree: str | None
    """None = conflict."""
    conflicts: tuple[str, ...] = ()
    """Paths in conflict."""
    detail: str = ""
    """git's own words about them."""
    left: str = ""
    """Of a conflict: the tree with all that merges, and with git's marks where it does not."""
    kinds: tuple[str, ...] = ()
    """git's names for what kinds of conflict there are."""
    added: tuple[str, ...] = ()
    """Of the paths in conflict, those that have no common ancestor: both sides added them."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit of a history."""

    commit: str
    parents: tuple[str, ...]
    subject: str
    trailers: dict[str, str]
    """`Key: value` lines at the end of the message; of a repeated key the last."""


def parse_raw(output: bytes) -> tuple[tuple[FileChange, str], ...]:
    """`diff-tree --raw -z` as changes (with size 0), each with the id of its new content."""
    fields = iter(output.split(b"\0"))
    return tuple(_raw_entries(fields))


def _raw_entries(fields: Iterator[bytes]) -> Iterator[tuple[FileChange, str]]:
    for head in fields:
        if not head.startswith(b":"):
            continue
        old_mode, new_mode, _, new_id, status = head[1:].decode("ascii").split(" ")
        old_path = decode(next(fields))
        path = decode(next(fields)) if status[0] in "RC" else old_path
        yield FileChange(path, old_path, status[0], old_mode, new_mode, 0), new_id


def parse_merge(exit_code: int, output: bytes) -> Merge:
    """`merge-tree --write-tree -z` as a value."""
    tree, _, rest = output.partition(b"\0")
    if exit_code == 0:
        return Merge(tree.decode("ascii"))
    listed, _, messages = rest.partition(b"\0\0")
    stages: dict[str, set[str]] = {}
    for line in listed.split(b"\0"):
        head, tab, name = line.partition(b"\t")
        if tab:
            stages.setdefault(decode(name), set()).add(head.decode("ascii").rpartition(" ")[2])
    said = list(_merge_messages(iter(messages.split(b"\0"))))
    kinds = tuple(dict.fromkeys(kind for kind, _ in said if kind.startswith("CONFLICT")))
    added = tuple(path for path, found in stages.items() if "1" not in found)
    return Merge(None, tuple(stages), "".join(text for _, text in said), tree.decode("ascii"), kinds, added)


def _merge_messages(fields: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Kind and text of each."""
    # Each message: number of paths, the paths, a kind, the text.
    for count in fields:
        if not count.strip():
            continue
        for _ in range(int(count)):
            next(fields)
        kind = next(fields).decode("utf-8", "replace")
        yield kind, next(fields).decode("utf-8", "replace")


def parse_trailers(text: str) -> dict[str, str]:
    """`Key: value` lines as a dictionary."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


class Kept(Generic[T]):
    """What commits were read to hold: it never changes, and each look at it is a process. The oldest is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[tuple[str | int, ...], T] = OrderedDict()

    async def of(self, commits: tuple[str, ...], more: tuple[str | int, ...], read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives for these commits and `more`; kept where every commit is named by its id."""
        key = (*commits, *more)
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        found = await read()
        large = isinstance(found, bytes | tuple | Mapping) and len(found) > _LARGEST_KEPT
        if not large and all(ID.fullmatch(commit) for commit in commits):
            self._found[key] = found
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        return found

    def known(self, *commits: str) -> T | None:
        """What is kept of these commits, None = nothing is."""
        return self._found.get(commits)


class History:
    """Reading and making commits in one repository of ours."""

    def __init__(self, git: Git, objects: Objects) -> None:
        self._git = git
        self._objects = objects
        self._modes = Kept[Mapping[str, str]](_KEPT_LISTS)
        self._trees = Kept[str](_KEPT)
        self._changes = Kept[tuple[FileChange, ...]](_KEPT_LISTS)
        self._logs = Kept[tuple[LogEntry, ...]](_KEPT_LISTS)
        self._shown = Kept[bytes | None](_KEPT)
        self._followed = Kept[str | None](_KEPT)

    async def tree(self, commit: str) -> str:
        """Id of the commit's tree."""
        return await self._trees.of((commit,), (), partial(self._tree, commit))

    async def _tree(self, commit: str) -> str:
        (found,) = await self._objects.look(f"{commit}^{{tree}}")
        if found is None:
            raise GitFailed(f"there is no commit {commit}")
        return found.id

    async def merge(self, ours: str, theirs: str) -> Merge:
        """Merge two commits without a work tree; the merge base comes from their ancestry.

        The root `.gitattributes` of `ours` decides about `merge=union` and the like. Raises GitFailed where the two
        have no common ancestor.
        """
        attributes = await self.show(ours, ".gitattributes", 256 * 1024)
        if attributes is None or b"merge" not in attributes:
            return await self._merge(ours, theirs, ())
        with tempfile.TemporaryDirectory(prefix="quarterdeck-attributes-") as folder:
            path = Path(folder) / "attributes"
            path.write_bytes(attributes)
            return await self._merge(ours, theirs, (f"core.attributesFile={path}",))

    async def _merge(self, ours: str, theirs: str, settings: Sequence[str]) -> Merge:
        done = await self._git.run(
            "merge-tree",
            "--write-tree",
            "--messages",
            "-z",
            ours,
            theirs,
            ok=(0, 1),
            settings=(*_MERGE_SETTINGS, *settings),
        )
        return parse_merge(done.exit_code, done.stdout)

    async def commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        *,
        author: tuple[str, str],
        when: int,
        committer: tuple[str, str] = COMMITTER,
    ) -> str:
        """Make a commit object; the same arguments give the same id. `when`: seconds since the epoch."""
        env = {
            "GIT_AUTHOR_NAME": author[0],
            "GIT_AUTHOR_EMAIL": author[1],
            "GIT_AUTHOR_DATE": f"@{when} +0000",
            "GIT_COMMITTER_NAME": committer[0],
            "GIT_COMMITTER_EMAIL": committer[1],
            "GIT_COMMITTER_DATE": f"@{when} +0000",
        }
        arguments = [part for parent in parents for part in ("-p", parent)]
        text = message.encode("utf-8", "replace") or b"\n"
        done = await self._git.run("commit-tree", *arguments, "-F", "-", tree, stdin=text, env=env)
        return done.text

    async def changes(self, base: str, commit: str) -> tuple[FileChange, ...]:
        """Every path that differs, renames found, in git's order."""
        return await self._changes.of((base, commit), (), partial(self._changed, base, commit))

    async def _changed(self, base: str, commit: str) -> tuple[FileChange, ...]:
        done = await self._git.run("diff-tree", "-r", "-z", "--raw", "--no-abbrev", *_RENAMES, base, commit)
        entries = parse_raw(done.stdout)
        ids = [new for change, new in entries if change.new_mode not in (ABSENT, GITLINK)]
        sizes = dict(zip(ids, await self._sizes(ids), strict=True))
        return tuple(
            FileChange(c.path, c.old_path, c.status, c.old_mode, c.new_mode, sizes.get(new, 0)) for c, new in entries
        )

    async def _sizes(self, ids: Sequence[str]) -> list[int]:
        found = await self._objects.look(*ids)
        if None in found:
            raise GitFailed("an object is missing", why=ids[found.index(None)])
        return [one.size for one in found if one is not None]

    async def diff(self, a: str, b: str, *, paths: Sequence[str] = (), limit: int) -> str:
        """A unified diff of everything or of the literal `paths`; beyond `limit` bytes it is cut and says so."""
        done = await self._git.run(
            "diff-tree",
            "-r",
            "-p",
            *_RENAMES,
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            a,
            b,
            "--",
            *paths,
            env={"GIT_LITERAL_PATHSPECS": "1"},
            limit=limit,
            may_cut=True,
        )
        text = done.stdout.decode("utf-8", "replace")
        return f"{text}\n[cut: the diff is longer than {limit} bytes]\n" if done.cut else text

    async def show(self, commit: str, path: str, limit: int) -> bytes | None:
        """The first `limit` bytes of a file at a commit (of a symbolic link: its target); None = no such file."""
        return await self._shown.of((commit,), (path, limit), partial(self._show, commit, path, limit))

    async def _show(self, commit: str, path: str, limit: int) -> bytes | None:
        if any(part in ("", ".", "..") for part in path.split("/")):
            return None
        if "\n" in path or not ID.fullmatch(commit):
            return await self._shown_by_listing(commit, path, limit)
        (found,) = await self._objects.look(f"{commit}:{path}")
        if found is None or found.kind != "blob":
            return None
        return (
            await self._head(found.id, limit) if found.size > limit else await self._objects.contents(found.id, limit)
        )

    async def _shown_by_listing(self, commit: str, path: str, limit: int) -> bytes | None:
        listing = await self._git.run("ls-tree", "-z", commit, "--", path, env={"GIT_LITERAL_PATHSPECS": "1"})
        head, _, name = listing.stdout.rstrip(b"\0").partition(b"\t")
        if name != encode(path) or b" blob " not in head:
            return None
        blob = head.split(b" ")[2].decode("ascii")
        return await self._head(blob, limit)

    async def _head(self, blob: str, limit: int) -> bytes:
        return (await self._git.run("cat-file", "blob", blob, limit=limit, may_cut=True)).stdout

    async def followed(self, commit: str, path: str) -> str | None:
        """The path of the file that `path` is or, through symbolic links inside the tree, leads to; None = none."""
        return await self._followed.of((commit,), (path,), partial(self._follow, commit, path))

    async def _follow(self, commit: str, path: str) -> str | None:
        for _ in range(_MAX_LINKS):
            mode = await self._mode(commit, path)
            if mode != SYMLINK:
                return path if mode.startswith("100") else None
            target = decode(await self.show(commit, path, 4096) or b"")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if path.startswith(("/", "../")) or path in (".", ".."):
                return None
        return None

    async def _mode(self, commit: str, path: str) -> str:
        """What a path is at a commit, as git says it in six digits; empty = nothing, or (where the listing of all files
        is known) a directory."""
        if (modes := self._modes.known(commit)) is not None:
            return modes.get(path, "")
        listing = await self._git.run("ls-tree", "-z", commit, "--", path, env={"GIT_LITERAL_PATHSPECS": "1"})
        return listing.stdout[:6].decode("ascii")

    async def ancestor(self, a: str, b: str) -> bool:
        """Whether `a` is `b` or one of its ancestors."""
        if a == b and ID.fullmatch(a):
            return True
        return (await self._git.run("merge-base", "--is-ancestor", a, b, ok=(0, 1))).exit_code == 0

    async def files(self, commit: str) -> tuple[str, ...]:
        """Every path of a commit's tree."""
        return tuple(await self._modes.of((commit,), (), partial(self._listed, commit)))

    async def _listed(self, commit: str) -> Mapping[str, str]:
        """Every path, and what it is."""
        done = await self._git.run("ls-tree", "-r", "-z", "--full-tree", commit)
        lines = (line.partition(b"\t") for line in done.stdout.split(b"\0") if line)
        return {decode(name): sys.intern(head[:6].decode("ascii")) for head, _, name in lines}

    async def attributed(self, commit: str, attribute: str, value: str, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of `paths` to which the commit's `.gitattributes` give this attribute."""
        with tempfile.TemporaryDirectory(prefix="quarterdeck-") as folder:
            env = {"GIT_INDEX_FILE": f"{folder}/index"}
            await self._git.run("read-tree", commit, env=env)
            names = b"".join(encode(path) + b"\0" for path in paths)
            done = await self._git.run("check-attr", "--cached", "-z", "--stdin", attribute, stdin=names, env=env)
        fields = [decode(field) for field in done.stdout.split(b"\0")]
        return tuple(path for path, found in zip(fields[::3], fields[2::3], strict=False) if found == value)

    async def log(self, old: str | None, new: str, paths: Sequence[str] = ()) -> tuple[LogEntry, ...]:
        """The commits of `new` that `old` does not have (None = all), oldest first; those that changed one of the
        literal `paths`, where any are given."""
        if old is None or paths:
            return await self._between(old, new, *paths)
        return await self._logs.of((old, new), (), partial(self._between, old, new))

    async def _between(self, old: str | None, new: str, *paths: str) -> tuple[LogEntry, ...]:
        return await self._logged("--topo-order", "--reverse", new if old is None else f"{old}..{new}", "--", *paths)

    async def newest(self, commit: str, most: int) -> tuple[LogEntry, ...]:
        """A commit and those before it, newest first, `most` at most; of a merge the first parent counts."""
        return await self._logged("--first-parent", f"--max-count={most}", commit, "--")

    async def _logged(self, *arguments: str) -> tuple[LogEntry, ...]:
        done = await self._git.run("log", "-z", _LOG_FORMAT, *arguments, env={"GIT_LITERAL_PATHSPECS": "1"})
        fields = done.stdout.decode("utf-8", "replace").split("\0")
        if len(fields) % 4 != 1:
            raise GitFailed("`git log` gave an answer that cannot be read")
        return tuple(
            LogEntry(fields[i], tuple(fields[i + 1].split()), fields[i + 2], parse_trailers(fields[i + 3]))
            for i in range(0, len(fields) - 1, 4)
        )
