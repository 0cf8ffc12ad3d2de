"""The import of a change that an agent made: its pack, its commit and its tree, into a real mirror with real git.

Rules
- Declared: ValueError with a reason. A bad pack is never the mirror's fault (GitFailed), and leaves nothing behind.
- What was accepted is one commit on its base that git itself can check out where HFS+ and NTFS names are protected, and
  whose changes, files and contents can be read.
- Each input finds the mirror as the first one did.
"""

import asyncio
import atexit
import hashlib
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from fuzz.shapes import Choices
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import Exported

INSTRUMENTED = ("quarterdeck.workplace",)
WORDS = (
    ".git",
    ".GIT",
    "git~1",
    ".git\u200c",
    ".gitmodules",
    ".git ",
    ".git.",
    "..",
    ".",
    "a\\.git",
    ".git:x",
    "\u0130",
    "PACK",
)

MAX_BYTES: Final = 64 * 1024
_REF: Final = "refs/quarterdeck/fuzz"
_BLOB, _TREE, _COMMIT = 3, 2, 1
_KINDS: Final = {_BLOB: b"blob", _TREE: b"tree", _COMMIT: b"commit"}
_MODES: Final = (b"100644", b"40000", b"100755", b"120000", b"160000", b"100664", b"040000", b"0", b"100000", b"777777")
_NAMES: Final = (
    *(
        b"a",
        b".git",
        b".GIT",
        b"git~1",
        b".git.",
        b".git ",
        ".g\u200cit".encode(),
        b"..",
        b".",
        b"",
        b"a/b",
        b".gitmodules",
    ),
    *(b"a\\.git\\b", b".git:x", b"\xff", b"c\nd", b".quarterdeck", b"con", b"a" * 300, b".gitattributes", b"new\tname"),
)


class Ground:
    """A mirror with one base commit, and the means to look at it from outside."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="quarterdeck-fuzz-"))
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)  # for a replay; a search clears away itself
        user = self.root / "user"
        _git(self.root, "init", "--quiet", "--initial-branch=main", str(user))
        (user / "a").write_text("one\n", encoding="utf-8")
        _git(user, "add", "a")
        _git(user, "-c", "user.name=u", "-c", "user.email=u@u", "commit", "--quiet", "--date=@1 +0000", "-m", "base")
        self.base = _git(user, "rev-parse", "HEAD")
        self.blob = _git(user, "rev-parse", "HEAD:a")
        self.mirror = self.loop.run_until_complete(self._opened(user))

    async def _opened(self, user: Path) -> Mirror:
        mirror = await Mirror.open(self.root / "mirrors", user)
        await mirror.fetch(self.base)
        return mirror

    def files(self) -> set[Path]:
        """Everything that holds objects."""
        folders = (self.mirror.path / "objects", self.mirror.path / "incoming")
        return {file for folder in folders if folder.exists() for file in folder.rglob("*") if file.is_file()}


def _git(where: Path, *arguments: str, index: Path | None = None) -> str:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(where)}
    if index is not None:
        env["GIT_INDEX_FILE"] = str(index)
    done = subprocess.run(("git", *arguments), cwd=where, env=env, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


@cache
def _ground() -> Ground:
    return Ground()


# --- packs ------------------------------------------------------------------------------------------------


def _entry(kind: int, body: bytes, packed: bytes | None = None) -> bytes:
    """One object of a pack: its kind and size, then its compressed body."""
    size = len(body)
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + (zlib.compress(body, 1) if packed is None else packed)


def _sealed(count: int, entries: bytes) -> bytes:
    body = struct.pack(">4sII", b"PACK", 2, count) + entries
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _id(kind: int, body: bytes) -> str:
    data = _KINDS[kind] + b" %d\0" % len(body) + body
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class _Made:
    """A change made out of choices, with the odds on a good one."""

    def __init__(self, choices: Choices, ground: Ground) -> None:
        self._choices = choices
        self._ground = ground
        self._objects: dict[str, bytes] = {}
        tree = self._tree(0)
        parents = (ground.base,) if choices.number() < 224 else choices.pick(((), (ground.base,) * 2, (ground.blob,)))
        body = self._commit(tree, parents)
        self.exported = Exported(
            commit=self._announced(self._kept(_COMMIT, body)),
            tree=self._announced(tree),
            pack=self._pack(),
        )

    def _kept(self, kind: int, body: bytes) -> str:
        name = _id(kind, body)
        if self._choices.number() < 240:  # else: left out of the pack
            self._objects[name] = _entry(kind, body)
        return name

    def _announced(self, name: str) -> str:
        return (
            name
            if self._choices.number() < 240
            else self._choices.pick((self._ground.base, "", name[:8], "-x", "HEAD"))
        )

    def _tree(self, depth: int) -> str:
        entries: list[tuple[bytes, bytes, str]] = []
        for _ in range(1 + self._choices.number() % 3):
            mode = self._choices.pick(_MODES)
            name = self._choices.pick(_NAMES) if self._choices.number() % 2 else self._choices.chunk()
            if mode in (b"40000", b"040000") and depth < 3:
                entries.append((name, mode, self._tree(depth + 1)))
            elif mode == b"160000":
                entries.append((name, mode, self._ground.base))
            else:
                entries.append((name, mode, self._kept(_BLOB, self._choices.chunk())))
        if self._choices.number() < 224:
            entries.sort(key=lambda entry: entry[0] + (b"/" if entry[1].endswith(b"40000") else b""))
        body = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(item) for name, mode, item in entries)
        return self._kept(_TREE, body)

    def _commit(self, tree: str, parents: Sequence[str]) -> bytes:
        who = b"a <a@b> 1 +0000" if self._choices.number() < 224 else self._choices.chunk()
        lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
        lines += [b"author " + who, b"committer " + who]
        if self._choices.number() >= 224:
            lines.insert(self._choices.number() % len(lines), self._choices.chunk())
        return b"\n".join(lines) + b"\n\n" + self._choices.chunk()

    def _pack(self) -> bytes:
        entries = list(self._objects.values())
        what = self._choices.number()
        if what >= 240:  # a delta on something, or a kind that there is not
            packed = zlib.compress(self._choices.chunk(), 1)
            kind = self._choices.pick((7, 6, 5, 0, 4))
            base = bytes.fromhex(self._ground.blob) if kind == 7 else self._choices.chunk()
            entries.append(_entry(kind, b"x" * (what - 238), base + packed))
        elif what >= 224 and entries:
            entries.append(entries[0])
        count = len(entries) if self._choices.number() < 248 else self._choices.number()
        return _sealed(count, b"".join(entries))


def one(data: bytes) -> None:
    """A choice of the form: a change made of choices, entries in a sealed pack, or the bytes of a pack as they are."""
    ground = _ground()
    choices = Choices(data)
    match choices.number() % 4:
        case 0:
            exported = Exported("2" * 40, "3" * 40, choices.rest())
        case 1:
            exported = Exported("2" * 40, "3" * 40, _sealed(choices.number(), choices.rest()))
        case _:
            exported = _Made(choices, ground).exported
    before = ground.files()
    try:
        ground.loop.run_until_complete(
            ground.mirror.import_change(exported, ref=_REF, base=ground.base, max_bytes=MAX_BYTES)
        )
    except ValueError as error:
        str(error).encode("utf-8", "replace")
        assert ground.files() == before, "a refused pack left something behind"
        return
    try:
        ground.loop.run_until_complete(_accepted(ground, exported))
    finally:
        ground.loop.run_until_complete(ground.mirror.delete_ref(_REF))
        for file in ground.files() - before:
            file.unlink()


async def _accepted(ground: Ground, exported: Exported) -> None:
    mirror = ground.mirror
    assert await mirror.read_ref(_REF) == exported.commit
    assert await mirror.tree(exported.commit) == exported.tree
    assert await mirror.ancestor(ground.base, exported.commit)
    changed = await mirror.changes(ground.base, exported.commit)
    files = await mirror.files(exported.commit)
    assert all(change.path in files or change.status == "D" for change in changed)
    await mirror.diff(ground.base, exported.commit, limit=10_000)
    for path in files:
        assert await mirror.show(exported.commit, path, 1000) is not None or "160000" in {c.new_mode for c in changed}
    protect = ("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")
    _git(mirror.path, *protect, "read-tree", exported.commit, index=ground.root / "index")


def seeds() -> Sequence[bytes]:
    """Good changes, one of each odd name and mode, packs that are none."""
    found = [
        b"\2" + bytes(30),
        b"\2\2" + b"\1" * 60,
        b"\0",
        b"\0PACK" + bytes(30),
        b"\1\0",
        b"\1\1" + _entry(_BLOB, b"x"),
    ]
    found += [b"\2\0\0\1" + bytes([number]) + b"\0\3abc" + bytes(20) for number in range(len(_NAMES))]
    found += [b"\2\0" + bytes([number]) + b"\1\0\3abc" + bytes(20) for number in range(len(_MODES))]
    found += [b"\2" + b"\0\0\1\0\0\3abc" + bytes([0] * place + [255] + [0] * 12) for place in range(10)]
    return [*dict.fromkeys(found)]
