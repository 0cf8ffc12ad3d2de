"""What a merge of files needs from git: the texts on both sides, and a tree with the merged ones.

Rules
- Only plain text files that all sides have under the same name and mode are read: everything else is a reason. A file
  that the base does not have was added by both sides, or both renamed another one to it: then its base is elsewhere.
- What both sides made the same is merged already.
- What a repository's `.gitattributes` keep from being merged as text is not merged in another way either.
- Files, bytes and paths are bounded; what is beyond the bounds is a reason, too.
- The same texts on the same tree give the same tree.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.merge.values import Sides
from quarterdeck.workplace.git import Git, decode, encode
from quarterdeck.workplace.objects import Objects

MOST_FILES: Final = 40
"""Files of one merge."""
MOST_BYTES: Final = 1_000_000
"""Of one side of one file."""
MOST_BYTES_IN_ALL: Final = 8_000_000

_PLAIN: Final = ("100644", "100755")
_MOST_BROKEN: Final = 5
"""Pairs without a common ancestor after which no more are asked about in one look."""
_USAGE: Final = 129
"""Exit code of a git that does not know an option."""
_LITERAL: Final = {"GIT_LITERAL_PATHSPECS": "1"}
_MERGED_AS_TEXT: Final = ("unspecified", "set", "text", "union")
"""Values of the attribute `merge`."""


@dataclass(frozen=True, slots=True)
class FileSides:
    """A file that both sides changed, to be merged."""

    sides: Sides
    mode: str
    """git's, of all sides."""


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    blob: str


class MergingTrees:
    """Texts out of one repository of ours, and trees into it."""

    def __init__(self, git: Git, objects: Objects) -> None:
        self._git = git
        self._objects = objects

    async def touched(self, base: str, commit: str) -> tuple[str, ...]:
        """Every path that differs, a renamed file under both names."""
        done = await self._git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, commit)
        return tuple(decode(name) for name in done.stdout.split(b"\0") if name)

    async def clashes(self, pairs: Sequence[tuple[str, str]]) -> tuple[bool, ...]:
        """Which of these pairs of commits git's own merge leaves in conflict, found out by one process if it can be.

        A pair that git cannot merge at all (without a common ancestor) is none, and the others are asked again; after
        a few of those all that are left are none. So are all of a git that cannot do several merges in one process
        (before 2.39). Raises GitFailed.
        """
        found: list[bool] = []
        for _ in range(_MOST_BROKEN + 1):
            left = pairs[len(found) :]
            if not left:
                break
            listing = "".join(f"{one} {other}\n" for one, other in left).encode("ascii")
            done = await self._git.run(
                "merge-tree", "--write-tree", "--stdin", "--no-messages", "--name-only", stdin=listing, ok=range(256)
            )
            if done.exit_code == 0:
                found += parse_clashes(done.stdout, len(left))
            elif done.exit_code == _USAGE:
                break
            else:
                found += [*answered(done.stdout), False]  # it stopped at the one behind its last answer
        return (*found[: len(pairs)], *(False,) * (len(pairs) - len(found)))

    async def sides(
        self, base: str, ours: str, theirs: str, paths: Sequence[str], added: Sequence[str] = ()
    ) -> tuple[FileSides, ...] | str:
        """The texts of `paths` at three commits, to be merged, but for those that both sides made the same; or why they
        cannot be. `added`: paths of which git says that both sides added them."""
        if len(paths) > MOST_FILES:
            return f"{len(paths)} files, of which at most {MOST_FILES} are merged one by one"
        entries = [await self._entries(commit, paths) for commit in (base, ours, theirs)]
        paths = [path for path in paths if entries[1].get(path) != entries[2].get(path)]
        for path in paths:
            if reason := _unfit(*(found.get(path) for found in entries), added=path in added):
                return f"{_shown(path)}: {reason}"
        entries = [{path: found[path] for path in paths if path in found} for found in entries]
        if reason := await self._kept_apart(ours, paths):
            return reason
        ids = sorted({entry.blob for found in entries for entry in found.values()})
        texts = await self._texts(ids)
        if isinstance(texts, _TooLarge):
            path = next(path for path in paths if any(texts.blob == _blob(found, path) for found in entries))
            return f"{_shown(path)}: larger than is merged"
        out = []
        for path in paths:
            found = [texts.get(_blob(each, path) or "") for each in entries]
            if any(text is None and path in each for text, each in zip(found, entries, strict=True)):
                return f"{_shown(path)}: no text"
            out.append(FileSides(Sides(path, *found), entries[1][path].mode))
        return tuple(out)

    async def with_texts(self, tree: str, files: Sequence[FileSides], texts: Mapping[str, str]) -> str:
        """A tree like `tree` with these texts in place of what is there."""
        with tempfile.TemporaryDirectory(prefix="quarterdeck-merge-") as folder:
            names = []
            for number, file in enumerate(files):
                names.append(Path(folder) / str(number))
                names[-1].write_bytes(texts[file.sides.path].encode())
            listing = "".join(f"{name}\n" for name in names).encode()
            done = await self._git.run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listing)
            env = {"GIT_INDEX_FILE": f"{folder}/index"}
            await self._git.run("read-tree", tree, env=env)
            lines = [
                f"{file.mode} {blob}\t".encode() + encode(file.sides.path) + b"\0"
                for file, blob in zip(files, done.text.split(), strict=True)
            ]
            await self._git.run("update-index", "-z", "--index-info", stdin=b"".join(lines), env=env)
            return await self._git.text("write-tree", env=env)

    async def _entries(self, commit: str, paths: Sequence[str]) -> dict[str, _Entry]:
        done = await self._git.run("ls-tree", "-z", "--full-tree", commit, "--", *paths, env=_LITERAL)
        found = {}
        for line in done.stdout.split(b"\0"):
            head, tab, name = line.partition(b"\t")
            if tab:
                mode, _, blob = head.decode("ascii").split(" ")
                found[decode(name)] = _Entry(mode, blob)
        return found

    async def _kept_apart(self, commit: str, paths: Sequence[str]) -> str:
        """Which of `paths` must not be merged as text, by the commit's own attributes; empty = none."""
        with tempfile.TemporaryDirectory(prefix="quarterdeck-") as folder:
            env = {"GIT_INDEX_FILE": f"{folder}/index"}
            await self._git.run("read-tree", commit, env=env)
            names = b"".join(encode(path) + b"\0" for path in paths)
            done = await self._git.run("check-attr", "--cached", "-z", "--stdin", "merge", stdin=names, env=env)
        fields = [decode(field) for field in done.stdout.split(b"\0")]
        for path, value in zip(fields[::3], fields[2::3], strict=False):
            if value not in _MERGED_AS_TEXT:
                return f"{_shown(path)}: .gitattributes say that it is not merged as text"
        return ""

    async def _texts(self, ids: Sequence[str]) -> "dict[str, str] | _TooLarge":
        """Blob to its text, without those that are none."""
        total = 0
        for blob, found in zip(ids, await self._objects.look(*ids), strict=True):
            if found is None:
                raise GitFailed(f"{blob} cannot be read")
            total += found.size
            if found.size > MOST_BYTES or total > MOST_BYTES_IN_ALL:
                return _TooLarge(blob)
        texts = {}
        for blob, data in zip(ids, await self._objects.all_contents(ids, MOST_BYTES), strict=True):
            if data is not None and (text := as_text(data)) is not None:
                texts[blob] = text
        return texts


@dataclass(frozen=True, slots=True)
class _TooLarge:
    blob: str


def _blob(entries: Mapping[str, _Entry], path: str) -> str | None:
    entry = entries.get(path)
    return entry.blob if entry is not None else None


def _unfit(base: _Entry | None, ours: _Entry | None, theirs: _Entry | None, *, added: bool) -> str:
    """Why a file is not merged as text; empty = it is."""
    if ours is None or theirs is None:
        return "deleted or renamed on one side"
    if base is None and not added:
        return "renamed on both sides"
    there = [entry for entry in (base, ours, theirs) if entry is not None]
    if any(entry.mode not in _PLAIN for entry in there):
        return "no plain file on every side"
    if len({entry.mode for entry in there}) > 1:
        return "its mode changed"
    return ""


def as_text(data: bytes) -> str | None:
    """What these bytes say; None = they are no text."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _shown(path: str) -> str:
    return path.encode("utf-8", "replace").decode("utf-8")[:300]


def parse_clashes(output: bytes, number: int) -> tuple[bool, ...]:
    """What `answered` says of this many merges. Raises GitFailed where some have no answer."""
    found = answered(output)
    if len(found) != number:
        raise GitFailed(f"`git merge-tree` answered {len(found)} of {number} merges")
    return found


def answered(output: bytes) -> tuple[bool, ...]:
    """`merge-tree --stdin --no-messages --name-only`: for each merge its status, its tree, names, and nothing."""
    fields = iter(output.split(b"\0"))
    found = []
    for status in fields:
        if not status:
            break
        if list(iter(fields.__next__, b"")):
            found.append(status == b"0")
    return tuple(found)
