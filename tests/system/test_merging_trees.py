"""What the gate asks git about merges, in real repositories: whose base is whose, and pairs that cannot be merged."""

import subprocess
from pathlib import Path

import pytest

from quarterdeck.workplace.git import Git
from quarterdeck.workplace.history import History
from quarterdeck.workplace.merging_trees import MergingTrees
from quarterdeck.workplace.objects import Objects

LINES = "".join(f"line {number}\n" for number in range(20))


class Repository:
    """A bare repository, and commits in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "-q", "--bare")

    def git(self, *arguments: str, stdin: str = "") -> str:
        environment = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
        environment |= {"GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self.path)}
        command = ["git", f"--git-dir={self.path}", *arguments]
        done = subprocess.run(command, env=environment, input=stdin.encode(), capture_output=True, check=True)
        return done.stdout.decode().strip()

    def commit(self, files: dict[str, str], *parents: str) -> str:
        blobs = {name: self.git("hash-object", "-w", "--stdin", stdin=text) for name, text in files.items()}
        tree = self.git("mktree", stdin="".join(f"100644 blob {blob}\t{name}\n" for name, blob in blobs.items()))
        return self.git("commit-tree", "-m", "m", tree, *(f"-p{parent}" for parent in parents))


def history_of(repository: Repository) -> History:
    git = Git(f"--git-dir={repository.path}")
    return History(git, Objects(git, repository.path))


def trees_of(repository: Repository) -> MergingTrees:
    git = Git(f"--git-dir={repository.path}")
    return MergingTrees(git, Objects(git, repository.path))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository.git")


async def test_a_file_that_both_renamed_is_not_taken_for_one_that_both_added(repository: Repository) -> None:
    base = repository.commit({"utils.py": f"import a\n{LINES}def old(): pass\n"})
    ours = repository.commit({"helpers.py": f"import b\n{LINES}"}, base)
    theirs = repository.commit({"helpers.py": f"import c\n{LINES}def old(): pass\n"}, base)
    merge = await history_of(repository).merge(ours, theirs)
    assert merge.conflicts == ("helpers.py",)
    assert merge.added == ()
    trees = trees_of(repository)
    assert await trees.sides(base, ours, theirs, merge.conflicts, merge.added) == "helpers.py: renamed on both sides"


async def test_a_file_that_both_added_has_no_base(repository: Repository) -> None:
    base = repository.commit({"a": "a\n"})
    ours = repository.commit({"a": "a\n", "new.md": "- one\n"}, base)
    theirs = repository.commit({"a": "a\n", "new.md": "- two\n"}, base)
    merge = await history_of(repository).merge(ours, theirs)
    assert (merge.conflicts, merge.added) == (("new.md",), ("new.md",))
    files = await trees_of(repository).sides(base, ours, theirs, merge.conflicts, merge.added)
    assert not isinstance(files, str)
    (file,) = files
    assert (file.sides.base, file.sides.ours, file.sides.theirs) == (None, "- one\n", "- two\n")


async def test_what_both_made_the_same_is_in_nobody_s_way(repository: Repository) -> None:
    base = repository.commit({"gone": "g\n", "kept": LINES})
    ours = repository.commit({"kept": f"one\n{LINES}"}, base)
    theirs = repository.commit({"kept": f"{LINES}two\n"}, base)
    files = await trees_of(repository).sides(base, ours, theirs, ("gone", "kept"))
    assert not isinstance(files, str)
    assert [file.sides.path for file in files] == ["kept"]
    assert await trees_of(repository).sides(base, ours, theirs, ("gone",)) == ()


async def test_a_pair_that_git_cannot_merge_hides_no_other(repository: Repository) -> None:
    base = repository.commit({"a": "1\n"})
    one, other = repository.commit({"a": "2\n"}, base), repository.commit({"a": "3\n"}, base)
    stranger = repository.commit({"a": "4\n"})
    trees = trees_of(repository)
    pairs = [(one, other), (one, stranger), (one, base), (stranger, other), (other, one)]
    assert await trees.clashes(pairs) == (True, False, False, False, True)
    assert await trees.clashes([(stranger, one)] * 9 + [(one, other)]) == (False,) * 10
    assert await trees.clashes(()) == ()
