"""What needs no git process starts none: each costs a run some milliseconds of the machine."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deck_kit import git

from quarterdeck.kernel.failures import BadRepository
from quarterdeck.workplace.mirror import Mirror


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subcommands of git that were started one by one; to be cleared before what is asked about."""
    said: list[str] = []
    start = asyncio.create_subprocess_exec

    async def noted(*words: str, **options: Any) -> asyncio.subprocess.Process:
        if words[0] == "git":
            own = [word for at, word in enumerate(words) if at and "-c" not in (word, words[at - 1])]
            own = [word for at, word in enumerate(own) if "-C" not in (word, own[at - 1])]
            said.append(next(word for word in own if not word.startswith("-")))
        return await start(*words, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return said


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    where = tmp_path / "repository"
    git(tmp_path, "init", "-q", str(where))
    (where / "folder").mkdir()
    (where / "folder" / "file.md").write_text("text\n")
    (where / "link.md").symlink_to("folder/file.md")
    (where / "astray.md").symlink_to("../outside.md")
    git(where, "add", "-A")
    git(where, "commit", "-qm", "Start")
    return where


@pytest.fixture
async def mirror(tmp_path: Path, repository: Path) -> Mirror:
    return await Mirror.open(tmp_path / "mirrors", repository)


async def test_a_repository_is_looked_at_by_two_processes_and_its_mirror_by_one(
    tmp_path: Path, repository: Path, mirror: Mirror, started: list[str]
) -> None:
    assert (await Mirror.open(tmp_path / "mirrors", repository)).path == mirror.path
    assert started == ["rev-parse", "for-each-ref", "rev-parse"]  # the last one: how the mirror was made
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
    started.clear()
    bare = await Mirror.open(tmp_path / "mirrors", tmp_path / "bare.git")
    assert started == ["rev-parse", "for-each-ref", "init"]
    assert bare.origin.name == str(tmp_path / "bare.git")


async def test_without_a_ref_a_commit_is_looked_for(tmp_path: Path, repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    git(repository, "update-ref", "-d", "refs/heads/main")
    assert await (await Mirror.open(tmp_path / "mirrors", repository)).resolve("HEAD")
    git(tmp_path, "init", "-q", "empty")
    with pytest.raises(BadRepository, match="no commits"):
        await Mirror.open(tmp_path / "mirrors", tmp_path / "empty")


async def test_where_files_are_listed_none_is_asked_for(mirror: Mirror, repository: Path, started: list[str]) -> None:
    base = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    asked = ("folder/file.md", "link.md", "astray.md", "folder", "missing.md")
    other = Mirror(mirror.path, mirror.origin)
    alone = [await other.followed(base, path) for path in asked]
    started.clear()
    assert await mirror.files(base) == ("astray.md", "folder/file.md", "link.md")
    assert [await mirror.followed(base, path) for path in asked] == alone
    assert alone == ["folder/file.md", "folder/file.md", None, None, None]
    assert started == ["ls-tree"]


def put_commit_alone(repository: Path, mirror: Mirror, commit: str) -> None:
    """As a fetch that was cut off leaves it: the commit is there, and what it holds is not."""
    read = ("git", "-C", str(repository), "cat-file", "commit", commit)
    put = ("git", f"--git-dir={mirror.path}", "hash-object", "-t", "commit", "-w", "--stdin")
    body = subprocess.run(read, capture_output=True, check=True).stdout
    subprocess.run(put, input=body, capture_output=True, check=True)


async def test_what_is_here_is_not_fetched_again_and_what_is_here_in_part_is(
    mirror: Mirror, repository: Path, started: list[str]
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    made = await mirror.commit(await mirror.tree(base), (base,), "Made here", author=("A", "a@example.org"), when=1)
    started.clear()
    await mirror.fetch(made)
    assert started == ["rev-list", "update-ref"]
    assert await mirror.read_ref(f"refs/quarterdeck/base/{made}") == made
    (repository / "new.md").write_text("new\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "With a file")
    half = git(repository, "rev-parse", "HEAD")
    put_commit_alone(repository, mirror, half)
    await mirror.fetch(half)
    assert await mirror.show(half, "new.md", 100) == b"new\n"
    assert await mirror.fsck() == []


async def test_a_landing_asks_git_only_what_no_file_says(mirror: Mirror, repository: Path, started: list[str]) -> None:
    base = git(repository, "rev-parse", "HEAD")
    await mirror.fetch(base)
    started.clear()
    assert await mirror.ancestor(base, base)
    assert await mirror.valid_branch("quarterdeck/r-1ng6as2mdbp")
    assert started == []
    assert not await mirror.valid_branch("a..b")
    assert await mirror.valid_branch("Größe")
    assert started == ["check-ref-format"] * 2
    started.clear()
    await mirror.note(base, "first")
    assert started == ["fast-import", "notes"]
    await asyncio.gather(mirror.note(base, "first"), mirror.note(base, "first"))
    assert started[2:] == ["notes", "notes"]
    assert git(repository, "notes", "--ref=quarterdeck", "show", base) == "first"
    log = await mirror.log(base, base)
    started.clear()
    assert await mirror.log(base, base) == log
    assert started == []
