"""A repository that is reached through git's protocols alone.

Rules
- Who may read and write it is decided by git's own configuration on this machine: credential helpers, ssh keys,
  `insteadOf`. Nobody is ever asked, every call has a deadline, and no secret stands in a URL that is recorded.
- Branches and notes move by compare-and-swap: a push names what it replaces and is refused where that is not there.
- Whether a push happened is told by the branch, not by the push: the answer may be lost on its way.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quarterdeck.kernel import remotes
from quarterdeck.kernel.failures import BadInput, BadRepository, Conflicting, GitFailed
from quarterdeck.workplace import fetching, refs
from quarterdeck.workplace.git import NO_CONFIGURATION, Completed, Git
from quarterdeck.workplace.history import ID
from quarterdeck.workplace.lock import held
from quarterdeck.workplace.notes import NOTES, note_of, note_stream
from quarterdeck.workplace.origin import inside
from quarterdeck.workplace.repository import Checkout

BRANCHES: Final = "refs/quarterdeck/remote/heads"
"""Where a mirror keeps what the branches of its remote were when it last looked."""
_PROTOCOLS: Final = "file:git:http:https:ssh"
_ASKING: Final = 60.0
"""Seconds that a question about refs may take."""
_PUSH_SETTINGS: Final = ("push.gpgSign=false", "push.followTags=false", "push.recurseSubmodules=no")
_REFUSED: Final = ("[remote rejected]", "hook declined", "protected branch", "denied", "unpack failed")
_STALE: Final = ("stale info", "cannot lock ref", "failed to update ref", "non-fast-forward", "fetch first")
_TRIES: Final = 8


def url_of(remote: str) -> str:
    """A remote as git knows it (URL, `host:path` or a path) as the URL that is recorded.

    Raises BadConfiguration where something stands in it that may be a secret.
    """
    if remote.startswith("/"):
        return f"file://{remote}"
    remotes.check_recordable(remote)
    return remote


def is_remote(repository: str) -> bool:
    """Whether a recorded repository is a URL and not a path of this machine."""
    return not repository.startswith("/")


class Afar:
    """The repository at `url`. `variables`: environment of the git processes that speak with it."""

    def __init__(self, url: str, variables: Mapping[str, str]) -> None:
        self._url = url
        self._variables = {**variables, "GIT_ALLOW_PROTOCOL": _PROTOCOLS}

    @property
    def name(self) -> str:
        """The URL."""
        return self._url

    @property
    def identity(self) -> str:
        """The same, however its URL is spelled."""
        return remotes.identity(self._url)

    @property
    def spelling(self) -> str:
        """What mirrors were named by before spellings did not matter."""
        return self._url.rstrip("/").removesuffix(".git")

    def check_writable(self) -> None:
        """Whether one may push is known when one pushes."""

    async def object_format(self) -> str:
        """`sha1` or `sha256`. Raises GitFailed where it cannot be reached."""
        listed = await self._refs()
        return "sha256" if any(len(commit) == 64 for commit in listed.values()) else "sha1"

    async def resolve(self, rev: str) -> str:
        """The commit of a branch, a tag or HEAD there. Raises BadInput, GitFailed."""
        if ID.fullmatch(rev):
            return rev
        found = await self._refs("HEAD", f"refs/heads/{rev}", f"refs/tags/{rev}", f"refs/tags/{rev}^{{}}")
        names = ("HEAD",) if rev == "HEAD" else (f"refs/heads/{rev}", f"refs/tags/{rev}^{{}}", f"refs/tags/{rev}")
        for name in names:
            if name in found:
                return found[name]
        raise BadInput(f"{rev[:100]!r} names no commit in {self._url}", fix=f"see `git ls-remote {self._url}`")

    async def tip(self, branch: str) -> str | None:
        """The commit of a branch; None = no such branch. Raises GitFailed."""
        ref = f"refs/heads/{branch}"
        return (await self._refs(ref)).get(ref)

    async def in_the_way(self, branch: str) -> str | None:
        """A branch beside which this one cannot exist."""
        first = branch.partition("/")[0]
        found = await self._refs(f"refs/heads/{first}", f"refs/heads/{first}/*")
        names = [ref.removeprefix("refs/heads/") for ref in found]
        return next((name for name in names if inside(branch, name) or inside(name, branch)), None)

    async def checkouts(self, branch: str) -> tuple[Checkout, ...]:
        """None that could be moved from here."""
        return ()

    async def fetch(self, mirror: Path, commit: str, pin: str) -> None:
        """Bring a commit with its history into the mirror and pin it. Raises BadRepository, GitFailed."""
        async with held(mirror / "fetch.lock", timeout=fetching.TIMEOUT):
            done = await self._fetch(mirror, f"{commit}:{pin}")
            if done.exit_code == 0:
                return
            # Not every server gives out a commit by its id; what its branches hold, every server gives out.
            heads = await self._fetch(mirror, f"+refs/heads/*:{BRANCHES}/*")
            if heads.exit_code != 0:
                raise GitFailed(f"{self._url} cannot be read", why=_said(heads))
            git = Git(f"--git-dir={mirror}", environment=NO_CONFIGURATION, umask=fetching.READABLE)
            if (await git.run("cat-file", "-e", f"{commit}^{{commit}}", ok=range(256))).exit_code != 0:
                raise BadRepository(
                    f"{self._url} does not have {commit[:12]}", why=_said(done), fix="push it there: git push"
                )
            await git.run("update-ref", pin, commit)

    async def branches(self, mirror: Path) -> None:
        """Bring the history of every branch into the mirror, below `BRANCHES`. Raises GitFailed."""
        async with held(mirror / "fetch.lock", timeout=fetching.TIMEOUT):
            done = await self._fetch(mirror, f"+refs/heads/*:{BRANCHES}/*")
        if done.exit_code != 0:
            raise GitFailed(f"{self._url} cannot be read", why=_said(done))

    async def land(self, mirror: Path, branch: str, old: str | None, new: str, into_checkout: Path | None) -> None:
        """Push `new` onto a branch that is at `old` (None = it must not exist).

        Raises Conflicting where the branch is somewhere else, BadRepository where the other side refuses, GitFailed.
        """
        tip = await self.tip(branch)
        if tip == new:
            return
        if tip != old:
            raise Conflicting(f"the branch {branch} moved", why=f"it is at {tip}, not at {old}")
        done = await self._push(mirror, f"refs/heads/{branch}", old, new)
        if done.exit_code == 0:
            return
        tip, why = await self.tip(branch), _said(done)
        if tip == new:
            return
        if tip != old or any(sign in why for sign in _STALE):
            raise Conflicting(f"the branch {branch} moved", why=f"it is at {tip}, not at {old}; {why}")
        if any(sign in why for sign in _REFUSED):
            raise BadRepository(
                f"{self._url} does not take the branch {branch}",
                why=why,
                fix="let this machine's git push there, or choose another branch with --into",
            )
        raise GitFailed(f"pushing to {self._url} failed", why=why)

    async def note(self, mirror: Path, commit: str, text: str) -> None:
        """Write the note of a commit there, in place of an older one of ours. Raises GitFailed."""
        git = Git(f"--git-dir={mirror}", environment=NO_CONFIGURATION, umask=fetching.READABLE)
        why = ""
        for _ in range(_TRIES):
            async with held(mirror / "notes.lock", timeout=fetching.TIMEOUT):
                old = await self._notes(mirror)
                if old is not None and await note_of(git, commit) == text.strip():
                    return
                stream = note_stream(commit, text, old)
                await git.run("fast-import", "--quiet", "--force", "--date-format=now", stdin=stream)
                new = await refs.read(git, NOTES)
                done = await self._push(mirror, NOTES, old, new or "")
            if done.exit_code == 0:
                return
            why = _said(done)
            await asyncio.sleep(0.05)
        raise GitFailed(f"the note of {commit} cannot be written", why=why)

    async def _notes(self, mirror: Path) -> str | None:
        """The notes there, brought into the mirror."""
        old = (await self._refs(NOTES)).get(NOTES)
        if old is not None:
            done = await self._fetch(mirror, f"+{NOTES}:{NOTES}")
            if done.exit_code != 0:
                raise GitFailed(f"the notes of {self._url} cannot be read", why=_said(done))
        return old

    def _git(self, *place: str) -> Git:
        return Git(*place, environment=self._variables, umask=fetching.READABLE)

    async def _refs(self, *names: str) -> dict[str, str]:
        done = await self._git().run("ls-remote", "--quiet", self._url, *names, ok=range(256), timeout=_ASKING)
        if done.exit_code != 0:
            raise GitFailed(
                f"{self._url} cannot be reached",
                why=_said(done),
                fix=f"let this machine's git reach it: git ls-remote {self._url}",
            )
        lines = (line.partition("\t") for line in done.text.splitlines())
        return {name: commit for commit, _, name in lines}

    async def _fetch(self, mirror: Path, spec: str) -> Completed:
        return await self._git(f"--git-dir={mirror}").run(
            *fetching.FETCH,
            self._url,
            spec,
            settings=fetching.SETTINGS,
            ok=range(256),
            timeout=fetching.TIMEOUT,
        )

    async def _push(self, mirror: Path, ref: str, old: str | None, new: str) -> Completed:
        return await self._git(f"--git-dir={mirror}").run(
            "push",
            "--quiet",
            "--no-verify",
            "--atomic",
            f"--force-with-lease={ref}:{old or ''}",
            self._url,
            f"{new}:{ref}",
            settings=_PUSH_SETTINGS,
            ok=range(256),
            timeout=fetching.TIMEOUT,
        )


def _said(done: Completed) -> str:
    return " ".join(done.complaint.split())
