"""Mirrors of a remote, and what they take from and give to each other by packs."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from deck_kit import git

from quarterdeck.assembly.triggering import _Clones
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.kernel.failures import BadRepository, Conflicting, GitFailed
from quarterdeck.kernel.packs import Pack, Snapshot
from quarterdeck.workplace.afar import BRANCHES, Afar, url_of
from quarterdeck.workplace.environment import Environments
from quarterdeck.workplace.here import Here
from quarterdeck.workplace.history import COMMITTER
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.proxy import Proxies
from quarterdeck.workplace.remote import RemoteClones

pytestmark = pytest.mark.slow


@dataclass
class Shelf:
    """A depot in memory."""

    packs: dict[str, Pack] = field(default_factory=dict)

    async def find(self, commit: str) -> Pack | None:
        return self.packs.get(commit)

    async def snapshot(self, workspace: str) -> Snapshot | None:
        return None

    def keep(self, pack: Pack) -> None:
        self.packs[pack.commit] = pack


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose remote has all of it."""
    where = tmp_path / "clone"
    git(tmp_path, "init", "-q", str(where))
    (where / "a.txt").write_text("a\n")
    git(where, "add", "-A")
    git(where, "commit", "-qm", "first")
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "remote.git"))
    git(where, "remote", "add", "origin", "../remote.git")
    git(where, "push", "-q", "origin", "HEAD:refs/heads/main")
    return where


def commit(where: Path, name: str, text: str = "text\n") -> str:
    (where / name).write_text(text)
    git(where, "add", "-A")
    git(where, "commit", "-qm", name)
    return git(where, "rev-parse", "HEAD")


async def mirror(root: Path, shelf: Shelf | None = None) -> Mirror:
    return await Mirror.of_remote(root, Afar(url_of(str(root.parent / "remote.git")), {}), shelf)


async def made(mirror: Mirror, base: str, message: str) -> str:
    """A commit that only this mirror has."""
    tree = await mirror.tree(base)
    return await mirror.commit(tree, (base,), message, author=COMMITTER, when=1)


async def test_what_one_mirror_made_another_one_takes_with_all_it_builds_on(clone: Path, tmp_path: Path) -> None:
    shelf, base = Shelf(), git(clone, "rev-parse", "HEAD")
    one, other = await mirror(tmp_path / "one", shelf), await mirror(tmp_path / "other", shelf)
    await one.fetch(base)
    first = await made(one, base, "first")
    second = await made(one, first, "second")
    shelf.keep(await one.packed(first, (base,)))
    shelf.keep(await one.packed(second, (first,)))
    await other.need(second)
    assert await other.ancestor(base, second)
    assert await other.fsck() == []
    assert await other.holds(first, second)
    assert not await other.holds("0" * 40, second)
    with pytest.raises((GitFailed, BadRepository)):
        await other.need("1" * 40)


async def test_a_pack_that_is_not_whole_enters_no_mirror(clone: Path, tmp_path: Path) -> None:
    shelf, base = Shelf(), git(clone, "rev-parse", "HEAD")
    one, other = await mirror(tmp_path / "one", shelf), await mirror(tmp_path / "other", shelf)
    await one.fetch(base)
    first = await made(one, base, "first")
    second = await made(one, first, "second")
    pack = await one.packed(second, (first,))
    shelf.keep(Pack(second, (base,), pack.data))
    with pytest.raises(GitFailed, match="not whole"):
        await other.need(second)
    assert not await other.has(second)
    shelf.keep(Pack(second, (base,), pack.data[:-30]))
    with pytest.raises(GitFailed, match="not whole"):
        await other.need(second)


async def test_with_one_home_nothing_is_looked_for(clone: Path, tmp_path: Path) -> None:
    alone = await Mirror.open(tmp_path / "mirrors", clone)
    await alone.need("1" * 40)
    assert not await alone.pinned("1" * 40)


async def test_a_branch_of_a_remote_moves_only_from_where_it_was(clone: Path, tmp_path: Path) -> None:
    base = git(clone, "rev-parse", "HEAD")
    one = await mirror(tmp_path / "one")
    await one.fetch(base)
    new = await made(one, base, "new")
    await one.land("work", None, new)
    await one.land("work", None, new)
    assert (await one.tip("work"), await one.tip("main"), await one.tip("wor")) == (new, base, None)
    assert await one.in_the_way("work/deeper") == "work"
    other = await made(one, base, "other")
    with pytest.raises(Conflicting, match="moved"):
        await one.land("work", base, other)
    with pytest.raises(Conflicting, match="moved"):
        await one.land("work", None, other)
    await one.note(new, "run r\n")
    await one.note(new, "run r\n")
    assert git(tmp_path / "remote.git", "notes", "--ref=quarterdeck", "show", new) == "run r"


async def test_the_note_of_a_commit_is_written_by_a_worker_that_never_had_it(clone: Path, tmp_path: Path) -> None:
    """Whoever landed it was lost before its note was written."""
    base = git(clone, "rev-parse", "HEAD")
    one, other = await mirror(tmp_path / "one", Shelf()), await mirror(tmp_path / "other", Shelf())
    await one.fetch(base)
    new = await made(one, base, "new")
    await one.land("work", None, new)
    await other.note(new, "run r\n")
    assert git(tmp_path / "remote.git", "notes", "--ref=quarterdeck", "show", new) == "run r"
    with pytest.raises(BadRepository):
        await other.note("1" * 40, "run r\n")


async def test_a_remote_that_refuses_a_branch_is_told_from_one_that_is_away(clone: Path, tmp_path: Path) -> None:
    base = git(clone, "rev-parse", "HEAD")
    hook = tmp_path / "remote.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'no pushes on Saturdays' >&2\nexit 1\n")
    hook.chmod(0o755)
    one = await mirror(tmp_path / "one")
    await one.fetch(base)
    with pytest.raises(BadRepository, match="does not take") as refused:
        await one.land("work", None, await made(one, base, "new"))
    assert "Saturdays" in refused.value.why
    (tmp_path / "remote.git").rename(tmp_path / "away")
    with pytest.raises(GitFailed, match="cannot be reached"):
        await one.tip("work")


async def test_a_base_that_is_not_pushed_yet_is_what_the_remote_does_not_have(clone: Path, tmp_path: Path) -> None:
    pushed, local = git(clone, "rev-parse", "HEAD"), await Mirror.open(tmp_path / "local", clone)
    unpushed = commit(clone, "later.txt")
    one = await mirror(tmp_path / "one")
    assert isinstance(one.origin, Afar)
    assert isinstance(local.origin, Here)
    assert await local.origin.remote_url("origin") == str(tmp_path / "remote.git")
    assert await local.origin.remote_url("upstream") is None
    await one.origin.branches(one.path)
    assert await one.beyond(pushed, BRANCHES) is None
    await local.fetch(unpushed)
    await one.borrow(local, unpushed)
    assert await one.beyond(unpushed, BRANCHES) == (pushed,)
    shelf = Shelf()
    shelf.keep(await one.packed(unpushed, (pushed,)))
    other = await mirror(tmp_path / "other", shelf)
    await other.fetch(unpushed)
    assert await other.show(unpushed, "later.txt", 100) == b"text\n"
    with pytest.raises(ValueError, match="larger than"):
        await one.packed(unpushed, (), max_bytes=10)


async def test_a_repository_has_one_mirror_however_it_is_spelled(clone: Path, tmp_path: Path) -> None:
    base, url = git(clone, "rev-parse", "HEAD"), f"file://{tmp_path}/remote.git"
    one = await mirror(tmp_path / "one")
    await one.fetch(base)
    new = await made(one, base, "new")
    await one.set_ref("refs/quarterdeck/kept", new, None)
    for spelling in (f"{url}/", url.removesuffix(".git")):
        other = await Mirror.of_remote(tmp_path / "one", Afar(spelling, {}))
        assert (other.path, await other.tip("main")) == (one.path, base)
        assert await other.read_ref("refs/quarterdeck/kept") == new


async def test_a_mirror_from_before_is_kept_with_what_only_it_holds(clone: Path, tmp_path: Path) -> None:
    """It was named by the spelling of its URL."""
    base = git(clone, "rev-parse", "HEAD")
    before = await mirror(tmp_path / "one")
    await before.fetch(base)
    new = await made(before, base, "new")
    ours = Afar("git@host.invalid:o/r.git", {})
    former = tmp_path / "one" / hashlib.sha256(b"git@host.invalid:o/r").hexdigest()[:16]
    before.path.rename(former)
    now = await Mirror.of_remote(tmp_path / "one", ours)
    assert now.path != former
    assert await now.has(new)
    assert (former / "objects").samefile(now.objects[0]), "what was made on it finds it"
    again = await Mirror.of_remote(tmp_path / "one", Afar("https://host.invalid/o/r", {}))
    assert again.path == now.path


@dataclass
class Watched(Shelf):
    """It counts what was looked for."""

    looked: list[str] = field(default_factory=list)

    async def find(self, commit: str) -> Pack | None:
        self.looked.append(commit)
        return await super().find(commit)


async def test_a_new_mirror_takes_from_the_remote_what_has_landed(clone: Path, tmp_path: Path) -> None:
    """Each landing left a pack that leads from the one before."""
    shelf, base = Watched(), git(clone, "rev-parse", "HEAD")
    one, other = await mirror(tmp_path / "one", shelf), await mirror(tmp_path / "other", shelf)
    await one.fetch(base)
    tip = base
    for number in range(12):
        made_now = await made(one, tip, f"landed {number}")
        shelf.keep(await one.packed(made_now, (tip,)))
        await one.land("main", tip, made_now)
        tip = made_now
    above = await made(one, tip, "not landed")
    shelf.keep(await one.packed(above, (tip,)))
    await other.need(above)
    assert shelf.looked == [above, above], "once for the way, once to take it"
    await other.need(tip)
    newcomer = await mirror(tmp_path / "newcomer", shelf)
    shelf.looked.clear()
    await newcomer.fetch(tip)
    assert shelf.looked == []
    assert (newcomer.path / f"refs/quarterdeck/base/{tip}").exists()
    assert await newcomer.fsck() == []


async def test_what_two_packs_stand_on_is_taken_once_and_first(clone: Path, tmp_path: Path) -> None:
    shelf, base = Watched(), git(clone, "rev-parse", "HEAD")
    one, other = await mirror(tmp_path / "one", shelf), await mirror(tmp_path / "other", shelf)
    await one.fetch(base)
    below = await made(one, base, "below")
    left = await made(one, below, "left")
    right = await made(one, left, "right")
    tree = await one.tree(base)
    both = await one.commit(tree, (left, right), "both", author=COMMITTER, when=1)
    for commit_made, onto in ((below, (base,)), (left, (below,)), (right, (left,)), (both, (right, left))):
        shelf.keep(await one.packed(commit_made, onto))
    await other.need(both)
    assert await other.ancestor(below, both)
    assert len(shelf.looked) == 8
    shelf.packs.pop(below)
    with pytest.raises(GitFailed, match="nowhere"):
        await (await mirror(tmp_path / "third", shelf)).need(both)


async def test_what_landed_on_a_remote_is_published_from_there(clone: Path, tmp_path: Path) -> None:
    """By a worker that has never seen it."""
    landed, server = git(clone, "rev-parse", "HEAD"), tmp_path / "server" / "owner" / "name.git"
    server.mkdir(parents=True)
    git(server, "init", "-q", "--bare")
    workshop = Workshop({}, tmp_path / "mirrors", cast("Environments", None), cast("Proxies", None))
    remotes = RemoteClones(tmp_path / "clones", lambda: f"file://{tmp_path}/server", lambda: None, {})
    await _Clones(remotes, workshop).push("owner/name", url_of(str(tmp_path / "remote.git")), "work", landed)
    assert git(server, "rev-parse", "work") == landed
    await _Clones(remotes, workshop).push("owner/name", str(clone), "again", landed)
    assert git(server, "rev-parse", "again") == landed
