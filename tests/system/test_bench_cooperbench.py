"""The benchmark of pairs of features, on a task made here: real git, real tests, no network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import bench_cooperbench
from bench.bench_cooperbench import Outcome, figures, measure
from bench.paired_features import PLACES, without_tests

from quarterdeck.merge.values import ORDER, Way

NAME = "samuelcolvin_dirty_equals_task/task43"
BASE = "__all__ = ['one']\n\n\ndef one():\n    return 1\n"
TEST = "from code_here import {name}\n\n\ndef test_it():\n    assert {name}() == '{name}'\n"


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment).stdout


def feature(repository: Path, folder: Path, name: str, *, works: bool = True) -> None:
    """A feature whose patches are those of the repository's working tree."""
    code, test = repository / "code_here.py", repository / "tests" / "test_code.py"
    folder.mkdir(parents=True)
    added = f"\n\ndef {name}():\n    return '{name if works else ''}'\n"
    code.write_text(BASE.replace("]", f", '{name}']") + added)
    (folder / "feature.patch").write_text(git(repository, "diff"))
    git(repository, "checkout", "-q", ".")
    test.write_text(TEST.format(name=name))
    (folder / "tests.patch").write_text(git(repository, "diff"))
    git(repository, "checkout", "-q", ".")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    repository = tmp_path / "repos" / PLACES[NAME].repository
    (repository / "tests").mkdir(parents=True)
    (repository / "code_here.py").write_text(BASE)
    (repository / "tests" / "test_code.py").write_text("")
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "base")
    task = tmp_path / "cooperbench" / "dataset" / NAME
    for number, name in enumerate(("two", "three"), 1):
        feature(repository, task / f"feature{number}", name)
    feature(repository, task / "feature3", "four", works=False)
    base = git(repository, "rev-parse", "HEAD").strip()
    (task / "setup.sh").write_text(f'BASE_COMMIT="{base}"\n')
    (task / "run_tests.sh").write_text("python -m pytest tests/test_code.py -v\n")
    return tmp_path


def test_a_pair_counts_when_both_work_alone_and_is_won_by_the_first_way_whose_tree_passes(
    data: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "kept" / "environments" / NAME.replace("/", "-")
    (environment / "bin").mkdir(parents=True)
    (environment / "made").touch()
    # Not a link: Python finds its packages by where its own program lies.
    (environment / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (environment / "bin" / "python").chmod(0o755)

    outcomes, every = measure(NAME, data, 2, kept=tmp_path / "kept")

    assert every == 3
    (outcome,) = outcomes
    assert outcome.pair == (1, 2)
    assert outcome.won is Way.ENTITY
    assert "code_here.py" in outcome.lost[Way.GIT]
    assert Way.UNION not in outcome.passed, "one list named twice would be no success"


def test_shares_are_of_the_pairs_that_count() -> None:
    outcomes = [
        Outcome("task", (1, 2), (Way.GIT,), {}),
        Outcome("task", (1, 3), (Way.ENTITY, Way.UNION), {}),
        Outcome("task", (2, 3), (Way.ENTITY_UNION,), {}),
        Outcome("task", (2, 4), (), {}),
    ]
    (figure,) = figures("title", outcomes, 6, bench_cooperbench.TARGET)
    assert figure.ours == 25.0
    assert figure.peers == {"git's merge": 75.0, "git's merge, then union": 50.0, "git's merge, then entity": 50.0}
    assert figure.target is None, "too few pairs for a target"
    assert "4 of 6 pairs count; integrated 75.0%" in figure.note
    assert [outcome.won for outcome in outcomes] == [Way.GIT, Way.ENTITY, Way.ENTITY_UNION, None]
    assert ORDER.index(Way.ENTITY) < ORDER.index(Way.UNION)


def test_the_test_files_of_a_features_patch_are_left_out() -> None:
    code = "diff --git a/src/a.py b/src/a.py\n--- a/src/a.py\n+++ b/src/a.py\n@@ -1 +1 @@\n-a\n+b\n"
    test = "diff --git a/tests/test_a.py b/tests/test_a.py\n--- a/tests/test_a.py\n+++ b/tests/test_a.py\n"
    assert without_tests(code + test) == code
    assert without_tests(test) == ""
