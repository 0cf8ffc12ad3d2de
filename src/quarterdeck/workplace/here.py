"""The user's repository on this machine.

Rules
- Only three things change in it: objects are added, one branch moves forward, one note is written. A checked-out branch
  moves only where the caller names the work tree, and then git moves its files.
- Its locks are waited for, named and left alone.
"""

import asyncio
import shlex
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import BadInput, BadRepository, Conflicting, GitFailed
from quarterdeck.workplace import fetching, refs
from quarterdeck.workplace.git import Git
from quarterdeck.workplace.lock import held
from quarterdeck.workplace.notes import NOTES, note_of, note_stream
from quarterdeck.workplace.origin import inside
from quarterdeck.workplace.repository import Checkout, check_writable, clean, holders, unfetchable

_TRIES: Final = 20
_LOCK_TRIES: Final = 20
_LOCK_PAUSE: Final = 0.25


class Here:
    """A work tree or bare repository at `place`. `common_dir`: real path of its git directory, shared by all its work
    trees."""

    def __init__(self, place: Path, common_dir: Path) -> None:
        self.place = place
        self.common_dir = common_dir
        self._git = Git("-C", str(place))

    @property
    def name(self) -> str:
        """The work tree's path."""
        return str(self.place)

    @property
    def identity(self) -> str:
        """The git directory's path."""
        return str(self.common_dir)

    def check_writable(self) -> None:
        """Raises BadRepository where nothing could land in it."""
        check_writable(self.place, self.common_dir)

    async def resolve(self, rev: str) -> str:
        """The commit that `rev` names in this repository. Raises BadInput."""
        if rev and not rev.startswith("-") and "\0" not in rev:
            done = await self._git.run("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}", ok=range(256))
            if done.exit_code == 0 and done.text:
                return done.text
        if rev == "HEAD":
            head = await self._git.run("symbolic-ref", "--quiet", "--short", "HEAD", ok=range(256))
            raise BadRepository(
                f"there is nothing to start from in {self.place}",
                why=f"HEAD is the branch {head.text}, which has no commit yet" if head.text else "HEAD is no commit",
                fix="commit something there, or name another start with --base",
            )
        raise BadInput(f"{rev[:100]!r} names no commit in {self.place}", fix="see `git log --oneline --all`")

    async def remote_url(self, name: str) -> str | None:
        """The address of a git remote, a path made absolute; None = there is no remote of that name."""
        done = await self._git.run("config", "--get", f"remote.{name}.url", ok=range(256))
        if done.exit_code != 0 or not done.text:
            return None
        relative = "://" not in done.text and ":" not in done.text.partition("/")[0]
        return str((self.place / done.text).resolve()) if relative else done.text

    async def tip(self, branch: str) -> str | None:
        """The commit of a branch; None = no such branch."""
        return await self._ref(f"refs/heads/{branch}")

    async def _ref(self, ref: str) -> str | None:
        if (found := refs.loose(self.common_dir / ref)) is not None or refs.absent(self.common_dir, ref):
            return found
        return await refs.read(self._git, ref)

    async def in_the_way(self, branch: str) -> str | None:
        """A branch beside which this one cannot exist: git keeps `a/b` below `a`."""
        first = branch.partition("/")[0]
        listing = await self._git.text("for-each-ref", "--format=%(refname:lstrip=2)", f"refs/heads/{first}")
        names = listing.split("\n")
        return next((name for name in names if inside(branch, name) or inside(name, branch)), None)

    async def checkouts(self, branch: str) -> tuple[Checkout, ...]:
        """The work trees in which a branch is checked out."""
        return tuple([Checkout(path, await clean(path)) for path in await holders(self._git, branch)])

    async def fetch(self, mirror: Path, commit: str, pin: str) -> None:
        """Bring a commit with its history into the mirror and pin it. Raises BadRepository where objects are missing
        here."""
        # The other side is the user's repository and needs the user's configuration to trust its directory.
        git = Git(f"--git-dir={mirror}", umask=fetching.READABLE)
        async with held(mirror / "fetch.lock", timeout=fetching.TIMEOUT):
            fetch = partial(
                git.run,
                *fetching.FETCH,
                "--update-shallow",
                f"--upload-pack={fetching.upload_pack()}",
                str(self.common_dir),
                f"{commit}:{pin}",
                settings=fetching.SETTINGS,
                ok=range(256),
                timeout=fetching.TIMEOUT,
            )
            done = await refs.despite_the_dead(mirror / f"{pin}.lock", fetch)
        if done.exit_code != 0:
            raise unfetchable(self.place, commit, done.complaint)

    async def land(self, mirror: Path, branch: str, old: str | None, new: str, into_checkout: Path | None) -> None:
        """Move a branch from `old` (None = it must not exist) to `new`, which the mirror holds.

        `into_checkout`: the clean work tree, holding the branch, that is fast-forwarded with it. Raises Conflicting
        where the branch is somewhere else, BadRepository where it cannot be moved before the user does something.
        """
        tip = await self.tip(branch)
        if tip == new:
            return
        if tip != old:
            raise Conflicting(f"the branch {branch} moved", why=f"it is at {tip}, not at {old}")
        await self._take(mirror, new)
        for _ in range(_TRIES):
            holding = await holders(self._git, branch)
            if into_checkout is not None and _among(into_checkout, holding):
                if await _fast_forward(into_checkout, branch, new):
                    return
                continue  # the user has switched to another branch just now
            if holding:
                raise BadRepository(
                    f"the branch {branch} is checked out in {holding[0]}",
                    fix="switch that work tree to another branch, or name the branch with --into while it is clean",
                )
            await self._move(branch, old, new)
            return
        raise Conflicting(f"the branch {branch} is checked out in {into_checkout} and then again it is not")

    async def _take(self, mirror: Path, commit: str) -> None:
        await self._git.run(
            *fetching.FETCH,
            f"--upload-pack={fetching.upload_pack()}",
            str(mirror),
            commit,
            settings=fetching.SETTINGS,
            timeout=fetching.TIMEOUT,
        )

    async def _move(self, branch: str, old: str | None, new: str) -> None:
        ref = f"refs/heads/{branch}"
        done = await refs.update(self._git, ref, new, old, "--create-reflog", "-m", "quarterdeck: landed")
        if done.exit_code == 0:
            return
        tip = await self.tip(branch)
        if tip not in (old, new):
            raise Conflicting(f"the branch {branch} moved", why=f"it is at {tip}, not at {old}")
        if tip != new:
            raise BadRepository(
                f"the branch {branch} cannot be written", why=done.complaint, fix="choose another branch with --into"
            )

    async def note(self, mirror: Path, commit: str, text: str) -> None:
        """Write the note of a commit, in place of an older one of ours. Raises GitFailed."""
        if await self._ref(NOTES) is not None and await note_of(self._git, commit) == text.strip():
            return
        for _ in range(_TRIES):
            old = await self._ref(NOTES)
            # fast-import writes its ref by compare-and-swap, which `git notes` does not.
            stream = note_stream(commit, text, old)
            done = await self._git.run("fast-import", "--quiet", "--date-format=now", stdin=stream, ok=range(256))
            if done.exit_code == 0 and await note_of(self._git, commit) == text.strip():
                return
            await asyncio.sleep(0.05)
        raise GitFailed(f"the note of {commit} cannot be written", why=done.complaint)


def _among(path: Path, others: Iterable[Path]) -> bool:
    return path.resolve() in {other.resolve() for other in others}


async def _fast_forward(checkout: Path, branch: str, new: str) -> bool:
    """Move the branch and its work tree; False where the branch is not checked out there any more."""
    git = Git("-C", str(checkout), environment={"GIT_REFLOG_ACTION": "quarterdeck"})
    if not await clean(checkout):
        raise BadRepository(
            f"the branch {branch} is checked out in {checkout}, which is not clean",
            fix=f"git -C {shlex.quote(str(checkout))} stash --include-untracked",
        )
    for _ in range(_LOCK_TRIES):
        # The user may be just switching branches, which is what the lock is held for: what is merged into is HEAD.
        if (await git.run("symbolic-ref", "--quiet", "HEAD", ok=range(256))).text != f"refs/heads/{branch}":
            return False
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
            timeout=fetching.TIMEOUT,
        )
        if b"index.lock': File exists" not in done.stderr:
            break
        await asyncio.sleep(_LOCK_PAUSE)  # the user works there: git itself does not wait for this lock
    if done.exit_code != 0 or await git.text("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}") != new:
        why = " ".join(done.complaint.split())
        if "would be overwritten" in why:
            raise BadRepository(f"files in {checkout} are in the way", why=why, fix="move them, or land elsewhere")
        raise Conflicting(f"the branch {branch} cannot be fast-forwarded in {checkout}", why=why)
    return True
