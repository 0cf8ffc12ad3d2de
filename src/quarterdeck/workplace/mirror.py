"""The private copy of a user's repository that runs work on, and the only door back into the user's repository.

Rules
- The mirror holds the history of the commits that runs started from and what was made on top of them, nothing else:
  a branch that no run was started from is not in it.
- Nothing is ever pruned from it, each base commit is pinned by a ref, and its configuration is written once.
- A lock that a killed git left in the mirror is removed once git has waited for it in vain; in the user's repository
  locks are waited for, named and left alone.
- Every ref moves by compare-and-swap. Doing a step again that is already done succeeds.
- In the user's repository only three things change: objects are added, one branch moves forward, one note is written.
  A checked-out branch moves only where the caller names the work tree, and then git moves its files.
- What agents made enters only through `incoming.receive`.
"""

import asyncio
import hashlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from quarterdeck.kernel import probes
from quarterdeck.kernel.failures import BadInput, BadRepository, Conflicting, GitFailed
from quarterdeck.workplace.git import NO_CONFIGURATION, Completed, Git, encode, options
from quarterdeck.workplace.history import COMMITTER, ID, History
from quarterdeck.workplace.incoming import receive
from quarterdeck.workplace.lock import held
from quarterdeck.workplace.port import Exported
from quarterdeck.workplace.repository import Checkout, check_writable, clean, examine, holders, is_text, unfetchable

_NAMESPACE: Final = "refs/quarterdeck/"
_NOTES: Final = "refs/notes/quarterdeck"
_FETCH: Final = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-prune",
)
_FETCH_SETTINGS: Final = ("fetch.writeCommitGraph=false", "fetch.unpackLimit=1")
_READABLE: Final = 0o022
"""Sandboxes may run under another user id: what the mirror creates is readable."""
_FETCH_TIMEOUT: Final = 900.0
_TRIES: Final = 20
_LONGEST_BRANCH: Final = 1_000
_LONGEST_PART: Final = 240
"""Bytes; a file name may have 255, and git appends `.lock`."""
_LOCK_TRIES: Final = 20
_LOCK_PAUSE: Final = 0.25


class Mirror(History):
    """A private bare repository for one repository of the user. Made by `Mirror.open`.

    `path`: the mirror. `repository`: the user's work tree (or bare repository). `common_dir`: real path of its git
    directory, shared by all its work trees. `objects`: directories that sandboxes mount read-only.
    """

    def __init__(self, path: Path, repository: Path, common_dir: Path) -> None:
        self.path = path
        self.repository = repository
        self.common_dir = common_dir
        self.objects: tuple[Path, ...] = (path / "objects",)
        self._own = Git(f"--git-dir={path}", environment=NO_CONFIGURATION, umask=_READABLE)
        self._user = Git("-C", str(repository))
        super().__init__(self._own)

    # --- opening ------------------------------------------------------------------------------------------

    @classmethod
    async def open(cls, root: Path, repository: Path) -> "Mirror":
        """The mirror of `repository` below the directory `root`; it is created the first time.

        Raises BadRepository, with the fix, where this is no repository that can be used.
        """
        place, common_dir, object_format = await examine(repository)
        mirror = cls(root / hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:16], place, common_dir)
        if not mirror.path.exists():
            _make_root(root)
            async with held(root / f"{mirror.path.name}.lock", timeout=_FETCH_TIMEOUT):
                if not mirror.path.exists():
                    await _create(mirror.path, common_dir, object_format)
        if await mirror._own.text("rev-parse", "--show-object-format") != object_format:
            raise BadRepository(
                f"{repository} has another object format than when it was used before",
                fix=f"if no run of the old repository is unfinished, remove {mirror.path}",
            )
        return mirror

    @property
    def shallow(self) -> bool:
        """The history ends somewhere, because the user's clone is shallow."""
        return (self.path / "shallow").exists()

    # --- the user's repository ----------------------------------------------------------------------------

    def check_writable(self) -> None:
        """Raises BadRepository where nothing could land in the user's repository."""
        check_writable(self.repository, self.common_dir)

    async def resolve(self, rev: str) -> str:
        """The commit that `rev` names in the user's repository. Raises BadInput."""
        if rev and not rev.startswith("-") and "\0" not in rev:
            done = await self._user.run("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}", ok=range(256))
            if done.exit_code == 0 and done.text:
                return done.text
        if rev == "HEAD":
            head = await self._user.run("symbolic-ref", "--quiet", "--short", "HEAD", ok=range(256))
            raise BadRepository(
                f"there is nothing to start from in {self.repository}",
                why=f"HEAD is the branch {head.text}, which has no commit yet" if head.text else "HEAD is no commit",
                fix="commit something there, or name another start with --base",
            )
        raise BadInput(f"{rev[:100]!r} names no commit in {self.repository}", fix="see `git log --oneline --all`")

    async def tip(self, branch: str) -> str | None:
        """The commit of a branch of the user's repository; None = no such branch."""
        ref = f"refs/heads/{branch}"
        return _loose(self.common_dir / ref) or await _read(self._user, ref)

    async def valid_branch(self, name: str) -> bool:
        """Whether a branch can have this name, also as a file on disk, and be named on git's command line."""
        if name.startswith(("-", "refs/")) or name in ("HEAD", "@") or "\0" in name or not is_text(name):
            return False
        if len(encode(name)) > _LONGEST_BRANCH or any(len(encode(part)) > _LONGEST_PART for part in name.split("/")):
            return False
        return (await self._own.run("check-ref-format", f"refs/heads/{name}", ok=range(256))).exit_code == 0

    async def in_the_way(self, branch: str) -> str | None:
        """A branch beside which this one cannot exist: git keeps `a/b` below `a`."""
        first = branch.partition("/")[0]
        names = (await self._user.text("for-each-ref", "--format=%(refname:lstrip=2)", f"refs/heads/{first}")).split(
            "\n"
        )
        return next((name for name in names if _inside(branch, name) or _inside(name, branch)), None)

    async def checkouts(self, branch: str) -> tuple[Checkout, ...]:
        """The work trees in which a branch is checked out."""
        return tuple([Checkout(path, await clean(path)) for path in await holders(self._user, branch)])

    async def fetch(self, commit: str) -> None:
        """Bring a commit of the user's repository, with its history, into the mirror and pin it.

        Raises BadRepository where objects are missing there.
        """
        pin = f"{_NAMESPACE}base/{commit}"
        if _stands_in(self.path / pin, commit) or await self.read_ref(pin) == commit:
            return
        # The other side is the user's repository and needs the user's configuration to trust its directory.
        git = Git(f"--git-dir={self.path}", umask=_READABLE)
        async with held(self.path / "fetch.lock", timeout=_FETCH_TIMEOUT):
            fetch = partial(
                git.run,
                *_FETCH,
                "--update-shallow",
                f"--upload-pack={_upload_pack()}",
                str(self.common_dir),
                f"{commit}:{pin}",
                settings=_FETCH_SETTINGS,
                ok=range(256),
                timeout=_FETCH_TIMEOUT,
            )
            done = await _despite_the_dead(self.path / f"{pin}.lock", fetch)
        if done.exit_code != 0:
            raise unfetchable(self.repository, commit, done.complaint)

    async def land(self, branch: str, old: str | None, new: str, *, into_checkout: Path | None = None) -> None:
        """Move a branch of the user's repository from `old` (None = it must not exist) forward to `new`.

        A branch that is at `new` already is fine. `into_checkout`: the clean work tree, holding the branch, that is
        fast-forwarded with it. Raises Conflicting where the branch is somewhere else than at `old`, BadRepository
        where it cannot be moved before the user does something, ValueError where `new` does not descend from `old`.
        """
        if old is not None and not await self.ancestor(old, new):
            raise ValueError(f"{new} does not descend from {old}")
        tip = await self.tip(branch)
        if tip == new:
            return
        if tip != old:
            raise Conflicting(f"the branch {branch} moved", why=f"it is at {tip}, not at {old}")
        await self._send(new)
        holding = await holders(self._user, branch)
        if into_checkout is not None and _among(into_checkout, holding):
            await _fast_forward(into_checkout, branch, new)
        elif holding:
            raise BadRepository(
                f"the branch {branch} is checked out in {holding[0]}",
                fix="switch that work tree to another branch, or name the branch with --into while it is clean",
            )
        else:
            await self._move(branch, old, new)

    async def _send(self, commit: str) -> None:
        await self._user.run(
            *_FETCH,
            f"--upload-pack={_upload_pack()}",
            str(self.path),
            commit,
            settings=_FETCH_SETTINGS,
            timeout=_FETCH_TIMEOUT,
        )

    async def _move(self, branch: str, old: str | None, new: str) -> None:
        ref = f"refs/heads/{branch}"
        done = await _update(self._user, ref, new, old, "--create-reflog", "-m", "quarterdeck: landed")
        if done.exit_code == 0:
            return
        tip = await self.tip(branch)
        if tip not in (old, new):
            raise Conflicting(f"the branch {branch} moved", why=f"it is at {tip}, not at {old}")
        if tip != new:
            raise BadRepository(
                f"the branch {branch} cannot be written", why=done.complaint, fix="choose another branch with --into"
            )

    async def note(self, commit: str, text: str) -> None:
        """Write the note of a commit of the user's repository, in place of an older one of ours."""
        if await self._note_of(commit) == text.strip():
            return
        for _ in range(_TRIES):
            old = await _read(self._user, _NOTES)
            # fast-import writes its ref by compare-and-swap, which `git notes` does not.
            stream = _note_stream(commit, text, old)
            done = await self._user.run("fast-import", "--quiet", "--date-format=now", stdin=stream, ok=range(256))
            if done.exit_code == 0 and await self._note_of(commit) == text.strip():
                return
            await asyncio.sleep(0.05)
        raise GitFailed(f"the note of {commit} cannot be written", why=done.complaint)

    async def _note_of(self, commit: str) -> str | None:
        done = await self._user.run("notes", f"--ref={_NOTES}", "show", commit, ok=range(256))
        return done.stdout.decode("utf-8", "replace").strip() if done.exit_code == 0 else None

    # --- the mirror ---------------------------------------------------------------------------------------

    async def import_change(self, exported: Exported, *, ref: str, base: str, max_bytes: int) -> None:
        """Take the commit that an attempt made on `base` and pin it with `ref`.

        Raises ValueError with the reason where the pack is bad, Conflicting where `ref` is another commit already.
        """
        _ours(ref)
        if await self.read_ref(ref) == exported.commit:
            return
        await receive(self.path, self._own, exported, base=base, max_bytes=max_bytes)
        probes.hit("change.exported")
        await self.set_ref(ref, exported.commit, None)

    async def read_ref(self, ref: str) -> str | None:
        """The commit of a ref of the mirror; None = no such ref."""
        return await _read(self._own, ref)

    async def refs(self, prefix: str) -> dict[str, str]:
        """The refs of the mirror below `prefix` (whole path components), with their commits."""
        listing = await self._own.text("for-each-ref", "--format=%(refname)%00%(objectname)", prefix.rstrip("/"))
        pairs = (line.split("\0") for line in listing.splitlines())
        return dict(pairs)

    async def set_ref(self, ref: str, new: str, old: str | None) -> None:
        """Move a ref of the mirror from `old` (None = it must not exist) to `new`; at `new` already is fine.

        Raises Conflicting where it is somewhere else.
        """
        lock = self.path / f"{_ours(ref)}.lock"
        done = await _despite_the_dead(lock, partial(_update, self._own, ref, new, old))
        if done.exit_code == 0:
            return
        found = await self.read_ref(ref)
        if found == old:
            raise GitFailed(f"{ref} cannot be written", why=done.complaint)
        if found != new:
            raise Conflicting(f"{ref} moved", why=f"it is at {found}, not at {old}")

    async def delete_ref(self, ref: str) -> None:
        """Remove a ref of the mirror. The objects stay."""
        await self._own.run("update-ref", "-d", _ours(ref))

    async def fsck(self) -> list[str]:
        """What is wrong with the mirror's objects and refs; empty = nothing."""
        done = await self._own.run(
            "fsck", "--full", "--no-dangling", "--no-progress", ok=range(256), timeout=_FETCH_TIMEOUT
        )
        if done.exit_code == 0:
            return []
        lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
        return [line for line in lines if not line.startswith(("warning", "notice"))] or ["git fsck failed"]


# --- steps ------------------------------------------------------------------------------------------------


def _make_root(root: Path) -> None:
    # Where we are root, sandboxes run under another user id that has to reach what it is given, but not list it.
    root.mkdir(parents=True, exist_ok=True, mode=0o711 if os.getuid() == 0 else 0o700)


def _among(path: Path, others: Iterable[Path]) -> bool:
    return path.resolve() in {other.resolve() for other in others}


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


async def _create(path: Path, common_dir: Path, object_format: str) -> None:
    work = Path(tempfile.mkdtemp(prefix=f"{path.name}-", dir=path.parent))
    try:
        git = Git(environment=NO_CONFIGURATION, umask=_READABLE)
        await git.run("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(work))
        with (work / "config").open("a", encoding="utf-8") as config:
            config.write(_SETTINGS)
        _publish(work, path, common_dir)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, path: Path, common_dir: Path) -> None:
    (work / "description").write_text(f"{common_dir}\n", encoding="utf-8", errors="surrogateescape")
    work.chmod(0o711)
    work.rename(path)


def _upload_pack() -> str:
    # Given on the command line because git hands no other setting to the process on the other side.
    return shlex.join(("git", *options("uploadpack.allowAnySHA1InWant=true"), "upload-pack"))


def _ours(ref: str) -> str:
    if not ref.startswith(_NAMESPACE):
        raise ValueError(f"{ref!r} is not below {_NAMESPACE}")
    return ref


def _stands_in(loose: Path, commit: str) -> bool:
    """Whether a ref's own file says so: true for nearly every pin, and no process has to be started for it."""
    try:
        return loose.read_text(encoding="ascii") == f"{commit}\n"
    except (OSError, ValueError):
        return False  # packed, or kept in another way: git knows


def _loose(path: Path) -> str | None:
    """The commit that a ref's own file names: no process has to be started for it. None = git has to be asked.

    Only where two names that differ in case are two files: elsewhere the file may be another ref's.
    """
    if sys.platform != "linux":
        return None
    try:
        found = path.read_text(encoding="ascii").removesuffix("\n")
    except (OSError, ValueError):
        return None
    return found if ID.fullmatch(found) else None


async def _read(git: Git, ref: str) -> str | None:
    # for-each-ref, because its exit code tells "no such ref" from "cannot read".
    listing = await git.text("for-each-ref", "--format=%(refname) %(objectname)", ref)
    for line in listing.splitlines():
        name, commit = line.rsplit(" ", 1)
        if name == ref:
            return commit
    return None


async def _despite_the_dead(lock: Path, act: Callable[[], Awaitable[Completed]]) -> Completed:
    """`act`, and again without the lock file where that was left behind: git holds one for milliseconds, and has just
    waited for this one for seconds."""
    before = _identity(lock)
    done = await act()
    if done.exit_code == 0 or before is None or before != _identity(lock):
        return done
    _remove(lock)
    return await act()


def _remove(lock: Path) -> None:
    lock.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns


async def _update(git: Git, ref: str, new: str, old: str | None, *arguments: str) -> Completed:
    expected = old if old is not None else "0" * len(new)
    return await git.run("update-ref", *arguments, ref, new, expected, ok=range(256))


def _inside(name: str, folder: str) -> bool:
    return bool(folder) and name.startswith(f"{folder}/")


async def _fast_forward(checkout: Path, branch: str, new: str) -> None:
    git = Git("-C", str(checkout), environment={"GIT_REFLOG_ACTION": "quarterdeck"})
    if not await clean(checkout):
        raise BadRepository(
            f"the branch {branch} is checked out in {checkout}, which is not clean",
            fix=f"git -C {shlex.quote(str(checkout))} stash --include-untracked",
        )
    for _ in range(_LOCK_TRIES):
        done = await git.run(
            "merge",
            "--quiet",
            "--ff-only",
            "--no-stat",
            "--no-autostash",
            "--no-overwrite-ignore",
            new,
            settings=("submodule.recurse=false",),
            ok=range(256),
            timeout=_FETCH_TIMEOUT,
        )
        if b"index.lock': File exists" not in done.stderr:
            break
        await asyncio.sleep(_LOCK_PAUSE)  # the user works there: git itself does not wait for this lock
    if done.exit_code != 0 or await git.text("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}") != new:
        why = " ".join(done.complaint.split())
        if "would be overwritten" in why:
            raise BadRepository(f"files in {checkout} are in the way", why=why, fix="move them, or land elsewhere")
        raise Conflicting(f"the branch {branch} cannot be fast-forwarded in {checkout}", why=why)


def _note_stream(commit: str, text: str, old: str | None) -> bytes:
    body = text.strip().encode("utf-8", "replace") + b"\n"
    message = b"Notes of Quarterdeck"
    name, mail = COMMITTER
    head = f"commit {_NOTES}\ncommitter {name} <{mail}> now\n".encode()
    parent = f"from {old}\n".encode() if old is not None else b""
    data = b"data %d\n%s\n" % (len(message), message)
    return head + data + parent + b"N inline %s\ndata %d\n%s\n" % (commit.encode("ascii"), len(body), body) + b"done\n"
