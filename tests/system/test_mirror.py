"""The mirror against real git: fetch, import, merge, land, notes, and what it must refuse."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from quarterdeck.kernel.failures import BadInput, BadRepository, Conflicting
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import Exported

ENVIRONMENT = {
    "PATH": os.defpath,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "@1700000000 +0000",
    "GIT_COMMITTER_DATE": "@1700000000 +0000",
}
LIMIT = 2_000_000


def git(where: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", "-C", str(where), *arguments], input=stdin, env=ENVIRONMENT, capture_output=True, check=True
    )
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def make(path: Path, *arguments: str) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main", *arguments)
    (path / "a.txt").write_text("one\ntwo\nthree\n")
    (path / "sub").mkdir()
    (path / "sub" / "b.txt").write_text("b\n")
    git(path, "add", ".")
    git(path, "commit", "-qm", "Start")
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make(tmp_path / "user")


@pytest.fixture
async def mirror(tmp_path: Path, repository: Path) -> Mirror:
    return await Mirror.open(tmp_path / "mirrors", repository)


def export(repository: Path, change: Callable[[Path], None], base: str = "HEAD") -> tuple[Exported, str]:
    """What a sandbox would hand out: a commit made in a clone that the mirror does not know."""
    clone = repository.parent / f"clone-{os.urandom(4).hex()}"
    git(repository, "clone", "-q", "--no-local", str(repository), str(clone))
    git(clone, "checkout", "-q", base)
    sha = git(clone, "rev-parse", "HEAD")
    change(clone)
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "Change")
    return pack(clone, sha), sha


def packed(repository: Path, objects: str, *arguments: str) -> bytes:
    command = ["git", "-C", str(repository), "pack-objects", "--stdout", "-q", *arguments]
    return subprocess.run(command, input=objects.encode(), env=ENVIRONMENT, capture_output=True, check=True).stdout


def pack(clone: Path, base: str, commit: str = "HEAD") -> Exported:
    sha = git(clone, "rev-parse", commit)
    data = packed(clone, f"{sha}\n^{base}\n", "--revs", "--thin")
    return Exported(sha, git(clone, "rev-parse", f"{sha}^{{tree}}"), data)


def contents(repository: Path) -> dict[Path, bytes]:
    """Every file except git's objects."""
    return {p: p.read_bytes() for p in repository.rglob("*") if p.is_file() and "objects" not in p.parts}


def edit(text: str, name: str = "a.txt") -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)

    return change


async def test_the_mirror_gets_one_commit_and_not_the_other_branches(mirror: Mirror, repository: Path) -> None:
    base = await mirror.resolve("HEAD")
    git(repository, "checkout", "-qb", "private")
    (repository / "secret").write_text("s\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Private")
    secret = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    await mirror.fetch(base)
    assert await mirror.files(base) == ("a.txt", "sub/b.txt")
    assert await mirror.refs("refs/quarterdeck") == {f"refs/quarterdeck/base/{base}": base}
    with pytest.raises(subprocess.CalledProcessError):
        git(mirror.path, "cat-file", "-e", secret)
    assert await mirror.fsck() == []
    assert mirror.objects[0].stat().st_mode & 0o555 == 0o555


@pytest.mark.parametrize("arguments", [(), ("--object-format=sha256",)])
@pytest.mark.parametrize("name", ["plain", "with space", "ünï'cödé $x"])
async def test_any_path_and_object_format_works(tmp_path: Path, name: str, arguments: tuple[str, ...]) -> None:
    repository = make(tmp_path / name, *arguments)
    mirror = await Mirror.open(tmp_path / "a mirror", repository)
    base = await mirror.resolve("HEAD")
    await mirror.fetch(base)
    exported, _ = export(repository, edit("one\nTWO\nthree\n"))
    await mirror.import_change(exported, ref="refs/quarterdeck/c/1", base=base, max_bytes=LIMIT)
    await mirror.land("out", None, exported.commit)
    assert git(repository, "rev-parse", "out") == exported.commit
    assert await mirror.fsck() == []


async def test_a_repository_made_anew_in_another_format_is_told_from_the_one_before(tmp_path: Path) -> None:
    first = make(tmp_path / "repository")
    await Mirror.open(tmp_path / "m", first)
    first.rename(tmp_path / "former")
    second = make(tmp_path / "repository", "--object-format=sha256")
    with pytest.raises(BadRepository, match="another object format"):
        await Mirror.open(tmp_path / "m", second)


async def test_a_branch_is_found_however_it_is_kept(tmp_path: Path, repository: Path) -> None:
    mirror = await Mirror.open(tmp_path / "m", repository)
    base = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", "a/b")
    git(repository, "branch", "other")
    git(repository, "symbolic-ref", "refs/heads/link", "refs/heads/a/b")
    for packed in (False, True):
        if packed:
            git(repository, "pack-refs", "--all")
            assert not (repository / ".git" / "refs" / "heads" / "a" / "b").exists()
        assert [await mirror.tip(name) for name in ("a/b", "other", "link")] == [base] * 3
        assert [await mirror.tip(name) for name in ("a", "b", "a/b/c", "othe", "heads/other", "gone")] == [None] * 6
    git(repository, "branch", "-D", "other")
    assert await mirror.tip("other") is None
    git(repository, "commit", "-q", "--allow-empty", "-m", "Second")
    git(repository, "branch", "-f", "a/b")
    assert await mirror.tip("a/b") == await mirror.tip("link") == git(repository, "rev-parse", "HEAD") != base


async def test_commits_that_are_no_tips_detached_heads_and_linked_work_trees(tmp_path: Path, repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Second")
    tree = tmp_path / "linked tree"
    git(repository, "worktree", "add", "-q", "--detach", str(tree), first)
    (tree / "c").write_text("c\n")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "Detached")
    mirror = await Mirror.open(tmp_path / "m", tree)
    assert mirror.path == (await Mirror.open(tmp_path / "m", repository)).path
    head = await mirror.resolve("HEAD")
    assert head == git(tree, "rev-parse", "HEAD") != git(repository, "rev-parse", "HEAD")
    await mirror.fetch(head)
    assert await mirror.ancestor(first, head)
    assert not await mirror.ancestor(head, first)


async def test_bare_and_shallow_repositories_work(tmp_path: Path, repository: Path) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "Second")
    bare, shallow = tmp_path / "bare.git", tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(bare))
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))
    for place in (bare, shallow):
        mirror = await Mirror.open(tmp_path / "m", place)
        base = await mirror.resolve("HEAD")
        await mirror.fetch(base)
        assert mirror.shallow == (place == shallow)
        exported, _ = export(repository, edit("x\n"))
        await mirror.import_change(exported, ref="refs/quarterdeck/c/1", base=base, max_bytes=LIMIT)
        await mirror.land("out", None, exported.commit)
        assert git(place, "rev-parse", "out") == exported.commit
        assert [e.subject for e in await mirror.log(base, exported.commit)] == ["Change"]
        assert git(place, "fsck") == ""


async def test_what_cannot_be_used_is_refused_with_a_fix(tmp_path: Path) -> None:
    empty, nothing = tmp_path / "empty", tmp_path / "nothing"
    empty.mkdir()
    nothing.mkdir()
    git(empty, "init", "-q")
    for path in (empty, nothing, tmp_path / "absent"):
        with pytest.raises(BadRepository) as caught:
            await Mirror.open(tmp_path / "m", path)
        assert caught.value.fix


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
async def test_a_repository_of_another_user_is_refused_with_a_fix(tmp_path: Path, repository: Path) -> None:
    os.chown(repository, 12345, 12345)
    os.chown(repository / ".git", 12345, 12345)
    with pytest.raises(BadRepository, match="another user") as caught:
        await Mirror.open(tmp_path / "m", repository)
    assert "safe.directory" in caught.value.fix


async def test_unknown_revisions_are_bad_input(mirror: Mirror) -> None:
    for rev in ("no-such", "--all", "HEAD:a.txt", ""):
        with pytest.raises(BadInput):
            await mirror.resolve(rev)


async def test_many_processes_open_and_import_at_once(tmp_path: Path, repository: Path) -> None:
    made = [export(repository, edit(f"{i}\n", f"f{i}.txt")) for i in range(35)]
    base = made[0][1]

    async def one(i: int) -> None:
        mirror = await Mirror.open(tmp_path / "m", repository)
        await mirror.fetch(base)
        await mirror.import_change(made[i][0], ref=f"refs/quarterdeck/c/{i}", base=base, max_bytes=LIMIT)

    await asyncio.gather(*(one(i) for i in range(35)))
    mirror = await Mirror.open(tmp_path / "m", repository)
    assert await mirror.refs("refs/quarterdeck/c") == {f"refs/quarterdeck/c/{i}": made[i][0].commit for i in range(35)}
    merged = await asyncio.gather(*(mirror.merge(made[0][0].commit, made[i][0].commit) for i in range(1, 35)))
    assert all(merge.tree for merge in merged)
    assert await mirror.fsck() == []


# --- import -----------------------------------------------------------------------------------------------


async def test_an_import_is_idempotent_and_never_replaces_another_commit(mirror: Mirror, repository: Path) -> None:
    exported, base = export(repository, edit("x\n"))
    other, _ = export(repository, edit("y\n"))
    await mirror.fetch(base)
    for _ in range(2):
        await mirror.import_change(exported, ref="refs/quarterdeck/c/1", base=base, max_bytes=LIMIT)
    with pytest.raises(Conflicting):
        await mirror.import_change(other, ref="refs/quarterdeck/c/1", base=base, max_bytes=LIMIT)
    with pytest.raises(ValueError, match="refs/quarterdeck"):
        await mirror.import_change(other, ref="refs/heads/main", base=base, max_bytes=LIMIT)
    assert await mirror.read_ref("refs/quarterdeck/c/1") == exported.commit


async def refused(mirror: Mirror, exported: Exported, base: str, reason: str, max_bytes: int = LIMIT) -> None:
    packs = set((mirror.path / "objects").rglob("*"))
    with pytest.raises(ValueError, match=reason):
        await mirror.import_change(exported, ref="refs/quarterdeck/c/bad", base=base, max_bytes=max_bytes)
    assert await mirror.read_ref("refs/quarterdeck/c/bad") is None
    assert set((mirror.path / "objects").rglob("*")) == packs, "objects of a refused pack stayed in the mirror"
    assert list((mirror.path / "incoming").glob("*")) == []


async def test_broken_and_lying_packs_are_refused(mirror: Mirror, repository: Path) -> None:
    exported, base = export(repository, edit("x\n" * 1000))
    await mirror.fetch(base)
    (mirror.path / "incoming").mkdir()
    good = exported.pack
    await refused(mirror, Exported(exported.commit, exported.tree, good[:-30]), base, "refuses the pack")
    flipped = good[:40] + bytes([good[40] ^ 0xFF]) + good[41:]
    await refused(mirror, Exported(exported.commit, exported.tree, flipped), base, "refuses the pack")
    await refused(mirror, Exported(exported.commit, exported.tree, b""), base, "refuses the pack")
    await refused(mirror, Exported(exported.commit, exported.tree, good), base, "more than 10", max_bytes=10)
    await refused(mirror, Exported("1" * 40, exported.tree, good), base, "not in the pack")
    await refused(mirror, Exported(exported.commit, base, good), base, "tree is not")
    await refused(mirror, Exported("--all", exported.tree, good), base, "not an object id")


async def test_a_commit_that_is_not_one_step_on_its_base_is_refused(mirror: Mirror, repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    (mirror.path / "incoming").mkdir()

    def two(clone: Path) -> None:
        edit("x\n")(clone)
        git(clone, "commit", "-qam", "First")
        edit("y\n")(clone)

    exported, _ = export(repository, two)
    await refused(mirror, exported, base, "parents")
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    orphan = git(repository, "commit-tree", "-m", "Orphan", tree)
    await refused(mirror, pack(repository, base, orphan), base, "parents")


async def test_a_pack_with_missing_objects_is_refused(mirror: Mirror, repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    (mirror.path / "incoming").mkdir()
    listing = f"100644 blob {'1' * 40}\tmissing\n".encode()
    tree = git(repository, "mktree", "--missing", stdin=listing)
    commit = git(repository, "commit-tree", "-m", "x", "-p", base, tree)
    data = packed(repository, f"{commit}\n{tree}\n")
    await refused(mirror, Exported(commit, tree, data), base, "refuses the pack|missing")


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit"])
async def test_a_tree_with_a_git_directory_in_it_is_refused(mirror: Mirror, repository: Path, name: str) -> None:
    base = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    (mirror.path / "incoming").mkdir()
    blob = git(repository, "hash-object", "-w", "--stdin", stdin=b"x")
    inner = git(repository, "mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    raw = b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner)
    tree = git(repository, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    commit = git(repository, "commit-tree", "-m", "x", "-p", base, tree)
    await refused(mirror, pack(repository, base, commit), base, "refuses the pack|git directory")


async def test_a_new_submodule_is_refused_and_a_known_one_is_not(tmp_path: Path, repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")

    def link(target: str) -> str:
        listing = git(repository, "ls-tree", base) + f"\n160000 commit {target * 40}\tvendored\n"
        return git(repository, "mktree", "--missing", stdin=listing.encode())

    mirror = await Mirror.open(tmp_path / "m", repository)
    await mirror.fetch(base)
    (mirror.path / "incoming").mkdir()
    commit = git(repository, "commit-tree", "-m", "x", "-p", base, link("1"))
    await refused(mirror, pack(repository, base, commit), base, "submodule")
    git(repository, "update-ref", "refs/heads/main", commit)
    await mirror.fetch(commit)
    bump = git(repository, "commit-tree", "-m", "y", "-p", commit, link("2"))
    await mirror.import_change(pack(repository, commit, bump), ref="refs/quarterdeck/c/2", base=commit, max_bytes=LIMIT)


# --- reading and merging ----------------------------------------------------------------------------------


async def imported(mirror: Mirror, repository: Path, change: Callable[[Path], None], name: str) -> tuple[str, str]:
    exported, base = export(repository, change)
    await mirror.fetch(base)
    await mirror.import_change(exported, ref=f"refs/quarterdeck/c/{name}", base=base, max_bytes=LIMIT)
    return exported.commit, base


async def test_changes_diff_show_and_files_read_strange_names(mirror: Mirror, repository: Path) -> None:
    strange = "neu\nzeile ü\t'\".txt"

    def change(clone: Path) -> None:
        (clone / strange).write_bytes(b"\x00\x01binary")
        (clone / "link").symlink_to("/etc/passwd")
        (clone / "sub" / "b.txt").unlink()
        (clone / "a.txt").rename(clone / "renamed.txt")
        (clone / ":(glob)*").write_text("literal\n")

    commit, base = await imported(mirror, repository, change, "1")
    changes = {change.path: change for change in await mirror.changes(base, commit)}
    assert set(changes) == {strange, "link", "sub/b.txt", "renamed.txt", ":(glob)*"}
    assert changes[strange].size == 8
    assert (changes["link"].new_mode, changes["link"].status) == ("120000", "A")
    assert (changes["sub/b.txt"].status, changes["sub/b.txt"].new_mode, changes["sub/b.txt"].size) == ("D", "000000", 0)
    assert (changes["renamed.txt"].status, changes["renamed.txt"].old_path) == ("R", "a.txt")
    assert strange in await mirror.files(commit)
    assert await mirror.show(commit, strange, 3) == b"\x00\x01b"
    assert await mirror.show(commit, "link", 100) == b"/etc/passwd"
    for absent in ("no", "sub", "a.txt", "../x", "*", "sub/"):
        assert await mirror.show(commit, absent, 100) is None
    diff = await mirror.diff(base, commit, paths=(":(glob)*",), limit=10_000)
    assert "+literal" in diff
    assert "renamed" not in diff
    assert "[cut: the diff is longer than 20 bytes]" in await mirror.diff(base, commit, limit=20)


async def test_merges_are_clean_or_name_the_conflict(mirror: Mirror, repository: Path) -> None:
    ours, base = await imported(mirror, repository, edit("ONE\ntwo\nthree\n"), "1")
    theirs, _ = await imported(mirror, repository, edit("1\ntwo\nthree\n"), "2")
    apart, _ = await imported(mirror, repository, edit("c\n", "sub/c.txt"), "3")
    conflict = await mirror.merge(ours, theirs)
    assert conflict.tree is None
    assert conflict.conflicts == ("a.txt",)
    assert "CONFLICT" in conflict.detail
    merge = await mirror.merge(ours, apart)
    assert merge.tree is not None
    assert merge == await mirror.merge(ours, apart)
    message = "Title\n\nBody\n\nQuarterdeck-Run: r-1\nQuarterdeck-Task: x\n"
    made = [
        await mirror.commit(merge.tree, (ours, apart), message, author=("Ä", "a@b"), when=1_700_000_000) for _ in "ab"
    ]
    assert made[0] == made[1]
    assert await mirror.tree(made[0]) == merge.tree
    entries = await mirror.log(base, made[0])
    assert [e.subject for e in entries[-1:]] == ["Title"]
    assert entries[-1].trailers == {"Quarterdeck-Run": "r-1", "Quarterdeck-Task": "x"}
    assert entries[-1].parents == (ours, apart)
    assert len(entries) == 3


async def test_the_repository_may_ask_for_union_merges(mirror: Mirror, repository: Path) -> None:
    (repository / ".gitattributes").write_text("CHANGES merge=union\n")
    (repository / "CHANGES").write_text("top\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Attributes")
    ours, _ = await imported(mirror, repository, edit("top\nours\n", "CHANGES"), "1")
    theirs, _ = await imported(mirror, repository, edit("top\ntheirs\n", "CHANGES"), "2")
    merge = await mirror.merge(ours, theirs)
    assert merge.tree is not None
    made = await mirror.commit(merge.tree, (ours, theirs), "m", author=("a", "b"), when=1)
    assert await mirror.show(made, "CHANGES", 100) == b"top\nours\ntheirs\n"


# --- landing ----------------------------------------------------------------------------------------------


async def test_landing_moves_only_the_branch(mirror: Mirror, repository: Path) -> None:
    for hook in ("reference-transaction", "post-merge", "post-update", "pre-auto-gc"):
        path = repository / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {repository}/hook-ran\nexit 1\n")
        path.chmod(0o755)
    commit, base = await imported(mirror, repository, edit("x\n"), "1")
    before = contents(repository)
    await mirror.land("feature/x", None, commit)
    await mirror.land("feature/x", None, commit)
    after = contents(repository)
    new = sorted(str(p.relative_to(repository)) for p in after if before.get(p) != after[p])
    assert new == [".git/logs/refs/heads/feature/x", ".git/refs/heads/feature/x"]
    assert git(repository, "fsck") == ""
    assert "quarterdeck: landed" in git(repository, "reflog", "show", "feature/x")
    assert await mirror.tip("feature/x") == commit
    assert await mirror.tip("feature") is None
    assert base == git(repository, "rev-parse", "HEAD")


async def test_landing_is_compare_and_swap_and_only_forward(mirror: Mirror, repository: Path) -> None:
    one, base = await imported(mirror, repository, edit("x\n"), "1")
    two, _ = await imported(mirror, repository, edit("y\n"), "2")
    await mirror.land("out", None, one)
    with pytest.raises(Conflicting):
        await mirror.land("out", None, two)
    with pytest.raises(Conflicting):
        await mirror.land("out", base, two)
    with pytest.raises(ValueError, match="descend"):
        await mirror.land("out", one, two)
    with pytest.raises(BadRepository):
        await mirror.land("out/below", None, two)
    assert await mirror.tip("out") == one


async def test_a_checked_out_branch_moves_only_when_named_and_clean(mirror: Mirror, repository: Path) -> None:
    commit, base = await imported(mirror, repository, edit("x\n"), "1")
    assert [(c.path, c.clean) for c in await mirror.checkouts("main")] == [(repository, True)]
    assert await mirror.checkouts("other") == ()
    with pytest.raises(BadRepository, match="checked out"):
        await mirror.land("main", base, commit)
    (repository / "untracked").write_text("mine\n")
    assert [c.clean for c in await mirror.checkouts("main")] == [False]
    with pytest.raises(BadRepository, match="not clean"):
        await mirror.land("main", base, commit, into_checkout=repository)
    assert (repository / "a.txt").read_text() == "one\ntwo\nthree\n"
    (repository / "untracked").unlink()
    await mirror.land("main", base, commit, into_checkout=repository)
    await mirror.land("main", base, commit, into_checkout=repository)
    assert (repository / "a.txt").read_text() == "x\n"
    assert git(repository, "status", "--porcelain") == ""


async def test_a_branch_that_the_user_switches_to_meanwhile_is_not_moved(mirror: Mirror, repository: Path) -> None:
    commit, base = await imported(mirror, repository, edit("x\n", "new.txt"), "1")
    git(repository, "branch", "mine")
    # A filter of the user's runs when the work tree is looked at: in that moment another branch is switched to.
    git(
        repository,
        "config",
        "filter.switch.clean",
        f"git --git-dir={repository}/.git symbolic-ref HEAD refs/heads/mine; cat",
    )
    (repository / ".git" / "info" / "attributes").write_text("a.txt filter=switch\n")
    os.utime(repository / "a.txt", (1, 1))
    await mirror.land("main", base, commit, into_checkout=repository)
    assert git(repository, "rev-parse", "mine") == base
    assert not (repository / "new.txt").exists()
    assert git(repository, "rev-parse", "main") == commit, "nothing holds it any more"


async def test_concurrent_landings_lose_cleanly(mirror: Mirror, repository: Path) -> None:
    made = [await imported(mirror, repository, edit(f"{i}\n"), str(i)) for i in range(8)]
    outcome = await asyncio.gather(*(mirror.land("out", None, c) for c, _ in made), return_exceptions=True)
    assert sum(result is None for result in outcome) == 1
    assert all(isinstance(result, Conflicting) for result in outcome if result is not None)
    assert await mirror.tip("out") in {commit for commit, _ in made}


async def test_notes_survive_concurrent_writers(mirror: Mirror, repository: Path) -> None:
    commits = [git(repository, "commit-tree", "-m", str(i), "HEAD^{tree}") for i in range(6)]
    await asyncio.gather(*(mirror.note(commit, f"note {commit}") for commit in commits))
    await mirror.note(commits[0], f"note {commits[0]}")
    for commit in commits:
        assert git(repository, "notes", "--ref=quarterdeck", "show", commit) == f"note {commit}"
    await mirror.note(commits[0], "newer\n\nlines")
    assert git(repository, "notes", "--ref=quarterdeck", "show", commits[0]) == "newer\n\nlines"
    assert not [path for path in contents(repository) if path.name.startswith("fast_import_crash")]


async def test_refs_move_by_compare_and_swap(mirror: Mirror, repository: Path) -> None:
    one, base = await imported(mirror, repository, edit("x\n"), "1")
    ref = "refs/quarterdeck/gate/x"
    await mirror.set_ref(ref, base, None)
    await mirror.set_ref(ref, base, None)
    with pytest.raises(Conflicting):
        await mirror.set_ref(ref, one, None)
    await mirror.set_ref(ref, one, base)
    assert await mirror.read_ref(ref) == one
    await mirror.delete_ref(ref)
    await mirror.delete_ref(ref)
    assert await mirror.read_ref(ref) is None


async def test_branch_names(mirror: Mirror) -> None:
    assert await mirror.valid_branch("quarterdeck/r-1")
    for name in ("-x", "a..b", "a b", "HEAD", "", "a.lock", "@{-1}", "a~1"):
        assert not await mirror.valid_branch(name)


async def test_branches_that_cannot_stand_beside_each_other(mirror: Mirror, repository: Path) -> None:
    git(repository, "branch", "team/work")
    assert await mirror.in_the_way("main/fix") == "main"
    assert await mirror.in_the_way("team") == "team/work"
    for name in ("main", "main-2", "team/work", "team/work-2", "other/main"):
        assert await mirror.in_the_way(name) is None


async def test_an_ignored_file_of_the_user_is_not_overwritten(mirror: Mirror, repository: Path) -> None:
    (repository / ".git" / "info" / "exclude").write_text("secret.txt\n")
    (repository / "secret.txt").write_text("mine\n")
    commit, base = await imported(mirror, repository, edit("theirs\n", "secret.txt"), "1")
    with pytest.raises(BadRepository, match="in the way") as caught:
        await mirror.land("main", base, commit, into_checkout=repository)
    assert "secret.txt" in caught.value.why
    assert (repository / "secret.txt").read_text() == "mine\n"
    assert git(repository, "rev-parse", "main") == base
