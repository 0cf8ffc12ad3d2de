"""The private copy of a repository that runs work on, and the only door back into it.

Rules
- The mirror holds the history of the commits that runs started from and what was made on top of them, nothing else:
  a branch that no run was started from is not in it.
- Nothing is ever pruned from it, each base commit is pinned by a ref, and its configuration is written once.
- Every ref moves by compare-and-swap. Doing a step again that is already done succeeds.
- The repository itself is reached through its `Origin` alone.
- What agents made enters only through `incoming`. What another worker made is found in the depot; with one home there
  is none, and everything that was made is here.
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import Final

from quarterdeck.kernel import probes
from quarterdeck.kernel.events.packs import ONTO_LIMIT
from quarterdeck.kernel.failures import BadRepository, Conflicting, GitFailed
from quarterdeck.kernel.packs import Pack, Snapshot
from quarterdeck.workplace import fetching, folders, refs
from quarterdeck.workplace.afar import Afar
from quarterdeck.workplace.depot import Depot
from quarterdeck.workplace.git import NO_CONFIGURATION, Git, encode
from quarterdeck.workplace.here import Here
from quarterdeck.workplace.history import History
from quarterdeck.workplace.incoming import receive, receive_pack
from quarterdeck.workplace.leading import pack_of, way
from quarterdeck.workplace.lock import held
from quarterdeck.workplace.merging_trees import MergingTrees
from quarterdeck.workplace.objects import Objects
from quarterdeck.workplace.origin import Origin
from quarterdeck.workplace.port import Exported
from quarterdeck.workplace.repository import Checkout, examine, is_text

_NAMESPACE: Final = "refs/quarterdeck/"
_LONGEST_BRANCH: Final = 1_000
_LONGEST_PART: Final = 240
"""Bytes; a file name may have 255, and git appends `.lock`."""
_PLAIN: Final = re.compile(r"[a-z0-9]+(?:[-_/][a-z0-9]+)*")
"""A branch's name about which git need not be asked: those of runs are all like that."""
_KNOWN: Final = 10_000
"""How many commits are remembered as being here."""
PACK_BYTES: Final = 64 * 1024 * 1024
"""Largest pack that is kept for other workers."""


class Mirror(History):
    """A private bare repository for one repository. Made by `Mirror.open` and `Mirror.of_remote`.

    `path`: the mirror. `origin`: what it is a mirror of. `objects`: directories that sandboxes mount read-only.
    `depot`: where objects that other workers made are found; None = nobody else makes any.
    """

    def __init__(self, path: Path, origin: Origin, depot: Depot | None = None) -> None:
        self.path = path
        self.origin = origin
        self.depot = depot
        self.objects: tuple[Path, ...] = (path / "objects",)
        self._own = Git(f"--git-dir={path}", environment=NO_CONFIGURATION, umask=fetching.READABLE)
        objects = Objects(self._own, path)
        self.trees = MergingTrees(self._own, objects)
        """For merging file by file."""
        self._here: dict[str, None] = {}
        """Commits known to be here, whole."""
        super().__init__(self._own, objects)

    # --- opening ------------------------------------------------------------------------------------------

    @classmethod
    async def open(cls, root: Path, repository: Path, depot: Depot | None = None) -> "Mirror":
        """The mirror of a repository of this machine below the directory `root`; it is created the first time.

        Raises BadRepository, with the fix, where this is no repository that can be used.
        """
        place, common_dir, object_format = await examine(repository)
        mirror = cls(root / folders.name_of(os.fsencode(common_dir)), Here(place, common_dir), depot)
        made = await mirror._made(root, object_format)
        if not made and await mirror._own.text("rev-parse", "--show-object-format") != object_format:
            raise BadRepository(
                f"{repository} has another object format than when it was used before",
                fix=f"if no run of the old repository is unfinished, remove {mirror.path}",
            )
        return mirror

    @classmethod
    async def of_remote(cls, root: Path, origin: Afar, depot: Depot | None = None) -> "Mirror":
        """The mirror of a repository that is reached through git's protocols. Raises GitFailed where it cannot be."""
        mirror = cls(root / folders.name_of(encode(origin.identity)), origin, depot)
        if not mirror.path.exists():
            former = root / folders.name_of(encode(origin.spelling))
            if former.is_dir():
                async with held(root / f"{mirror.path.name}.lock", timeout=fetching.TIMEOUT):
                    folders.adopt(former, mirror.path)
            else:
                await mirror._made(root, await origin.object_format())
        return mirror

    async def _made(self, root: Path, object_format: str) -> bool:
        """Whether it was made now."""
        if self.path.exists():
            return False
        folders.make_root(root)
        async with held(root / f"{self.path.name}.lock", timeout=fetching.TIMEOUT):
            if self.path.exists():
                return False
            await folders.create(self.path, self.origin.identity, object_format)
            return True

    @property
    def shallow(self) -> bool:
        """The history ends somewhere, because the user's clone is shallow."""
        return (self.path / "shallow").exists()

    # --- the repository -----------------------------------------------------------------------------------

    def check_writable(self) -> None:
        """Raises BadRepository where nothing could land in the repository."""
        self.origin.check_writable()

    async def resolve(self, rev: str) -> str:
        """The commit that `rev` names in the repository. Raises BadInput, BadRepository, GitFailed."""
        return await self.origin.resolve(rev)

    async def tip(self, branch: str) -> str | None:
        """The commit of a branch of the repository; None = no such branch."""
        return await self.origin.tip(branch)

    async def valid_branch(self, name: str) -> bool:
        """Whether a branch can have this name, also as a file on disk, and be named on git's command line."""
        if name.startswith(("-", "refs/")) or name in ("HEAD", "@") or "\0" in name or not is_text(name):
            return False
        if len(encode(name)) > _LONGEST_BRANCH or any(len(encode(part)) > _LONGEST_PART for part in name.split("/")):
            return False
        if _PLAIN.fullmatch(name):
            return True
        return (await self._own.run("check-ref-format", f"refs/heads/{name}", ok=range(256))).exit_code == 0

    async def in_the_way(self, branch: str) -> str | None:
        """A branch beside which this one cannot exist: git keeps `a/b` below `a`."""
        return await self.origin.in_the_way(branch)

    async def checkouts(self, branch: str) -> tuple[Checkout, ...]:
        """The work trees in which a branch is checked out."""
        return await self.origin.checkouts(branch)

    async def fetch(self, commit: str) -> None:
        """Bring a commit of the repository, with its history, into the mirror and pin it.

        Raises BadRepository where objects are missing there, GitFailed.
        """
        pin = f"{_NAMESPACE}base/{commit}"
        if refs.stands_in(self.path / pin, commit) or await self.read_ref(pin) == commit:
            return
        if self.depot is None:
            here = await self._whole(commit)
        else:
            here = await self.has(commit)
        if not here:
            try:
                await self.origin.fetch(self.path, commit, pin)
                return
            except (BadRepository, GitFailed):
                if self.depot is None or not await self._from_depot(self.depot, commit):
                    raise
        await self.set_ref(pin, commit, None)

    async def _whole(self, commit: str) -> bool:
        """Whether a commit is here with all that it needs: asked of git, because a fetch that was cut off leaves parts
        behind. What was made here needs no other process to be brought."""
        (found,) = await self._objects.look(f"{commit}^{{commit}}")
        if found is None:
            return False
        walk = await self._own.run("rev-list", "--objects", "--quiet", commit, "--not", "--all", ok=range(256))
        return walk.exit_code == 0

    async def land(self, branch: str, old: str | None, new: str, *, into_checkout: Path | None = None) -> None:
        """Move a branch of the repository from `old` (None = it must not exist) forward to `new`.

        A branch that is at `new` already is fine. `into_checkout`: the clean work tree, holding the branch, that is
        fast-forwarded with it. Raises Conflicting where the branch is somewhere else than at `old`, BadRepository
        where it cannot be moved before the user does something, ValueError where `new` does not descend from `old`.
        """
        if old is not None and not await self.ancestor(old, new):
            raise ValueError(f"{new} does not descend from {old}")
        await self.origin.land(self.path, branch, old, new, into_checkout)

    async def note(self, commit: str, text: str) -> None:
        """Write the note of a commit of the repository, in place of an older one of ours.

        Raises GitFailed, BadRepository where the commit is nowhere to be found.
        """
        await self.need(commit)  # whoever landed it may have died, and another worker owes its note
        await self.origin.note(self.path, commit, text)

    # --- what other workers made --------------------------------------------------------------------------

    async def has(self, commit: str) -> bool:
        """Whether a commit is in the mirror, with its history: nothing enters it in part."""
        if commit in self._here:
            return True
        (found,) = await self._objects.look(f"{commit}^{{commit}}")
        if found is not None:
            self._note_here(commit)
        return found is not None

    async def need(self, *commits: str) -> None:
        """See to it that these commits are here, whoever made them. Raises GitFailed where one is nowhere to be found.

        With one home they are here, or gone with the mirror that held them; then this does nothing.
        """
        if self.depot is None:
            return
        for commit in commits:
            if not await self.has(commit) and not await self._from_depot(self.depot, commit):
                await self.fetch(commit)

    async def pinned(self, commit: str) -> bool:
        """Whether a change that was recorded can be had: it may be lost with the mirror that held it."""
        if self.depot is None:
            return (await self._objects.look(commit))[0] is not None
        return await self.has(commit) or await self._from_depot(self.depot, commit)

    async def take(self, kept: Snapshot, max_bytes: int) -> str:
        """Bring what a workspace held into the mirror, which has its base; its tree. Raises GitFailed."""
        if kept.commit == kept.base:
            return await self.tree(kept.base)
        exported = Exported(kept.commit, kept.tree, kept.data)
        try:
            await self.import_change(
                exported, ref=f"{_NAMESPACE}left/{kept.commit}", base=kept.base, max_bytes=max_bytes
            )
        except ValueError as error:
            raise GitFailed("what was kept of a workspace cannot be taken", why=str(error)) from error
        return kept.tree

    async def holds(self, commit: str, tip: str) -> bool:
        """Whether the history of `tip`, which is here, holds `commit`, which may be unknown here."""
        return await self.has(commit) and await self.ancestor(commit, tip)

    async def packed(self, commit: str, onto: tuple[str, ...], max_bytes: int = PACK_BYTES) -> Pack:
        """The pack that leads from `onto` to `commit`, for other workers. Raises ValueError where it is larger than
        `max_bytes`."""
        listing = "".join(f"{line}\n" for line in (commit, *(f"^{known}" for known in onto)))
        done = await self._own.run(
            *("pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"),
            stdin=listing.encode("ascii"),
            limit=max_bytes,
            may_cut=True,
            timeout=fetching.TIMEOUT,
        )
        if done.cut:
            raise ValueError(f"what leads to {commit[:12]} is larger than {max_bytes} bytes")
        return Pack(commit, onto, done.stdout)

    async def beyond(self, commit: str, prefix: str) -> tuple[str, ...] | None:
        """Which commits below the refs of `prefix` the rest of a commit's history stands on; None = there is no rest.

        Raises ValueError where they are too many to name.
        """
        listed = (await self._own.text("rev-list", "--boundary", commit, "--not", f"--glob={prefix}")).split()
        if not listed:
            return None
        found = tuple(line[1:] for line in listed if line.startswith("-"))
        if len(found) > ONTO_LIMIT:
            raise ValueError(f"the history of {commit[:12]} stands on {len(found)} others")
        return found

    async def borrow(self, other: "Mirror", commit: str) -> None:
        """Take a commit with its history from another mirror of this home, and pin it."""
        await self._own.run(
            *fetching.FETCH,
            "--update-shallow",
            f"--upload-pack={fetching.upload_pack()}",
            str(other.path),
            f"{commit}:{_NAMESPACE}base/{commit}",
            settings=fetching.SETTINGS,
            timeout=fetching.TIMEOUT,
        )

    async def _from_depot(self, depot: Depot, commit: str) -> bool:
        """Take the commit from the depot, with what it builds on; False where it is not there."""
        found = await way(depot, commit, self.has, self._from_origin)
        for one in found:
            pack = await pack_of(depot, one)
            if pack is None:
                raise GitFailed(f"the pack of {one[:12]} is gone")
            try:
                await receive_pack(self.path, self._own, pack, max_bytes=PACK_BYTES)
            except ValueError as error:
                raise GitFailed(f"the pack of {one[:12]} is not whole", why=str(error)) from error
            self._note_here(one)
        return bool(found) or await self.has(commit)

    async def _from_origin(self, commit: str) -> bool:
        try:
            await self.origin.fetch(self.path, commit, f"{_NAMESPACE}base/{commit}")
        except (BadRepository, GitFailed):
            return False
        return True

    def _note_here(self, commit: str) -> None:
        if len(self._here) >= _KNOWN:
            self._here.clear()
        self._here[commit] = None

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
        if (found := refs.loose(self.path / ref)) is not None or refs.absent(self.path, ref):
            return found
        return await refs.read(self._own, ref)

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
        done = await refs.despite_the_dead(lock, partial(refs.update, self._own, ref, new, old))
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
            "fsck", "--full", "--no-dangling", "--no-progress", ok=range(256), timeout=fetching.TIMEOUT
        )
        if done.exit_code == 0:
            return []
        lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
        return [line for line in lines if not line.startswith(("warning", "notice"))] or ["git fsck failed"]


# --- steps ------------------------------------------------------------------------------------------------


def _ours(ref: str) -> str:
    if not ref.startswith(_NAMESPACE):
        raise ValueError(f"{ref!r} is not below {_NAMESPACE}")
    return ref
