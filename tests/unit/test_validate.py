"""Which changes may go on, as far as their structure tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.validation.validate import encoding_problems, structure_problems
from quarterdeck.kernel.config import LimitsSection
from quarterdeck.kernel.entities import Task
from quarterdeck.workplace.history import FileChange

TASK = Task(id="a", title="A", paths=("src/", "link"))


def change(path: str, status: str = "M", **fields: object) -> FileChange:
    plain = {"path": path, "status": status, "old_path": None, "size": 10, "old_mode": "100644", "new_mode": "100644"}
    return FileChange(**{**plain, **fields})  # type: ignore[arg-type]  # a test's shorthand


def problems(*changes: FileChange, links: dict[str, str] | None = None, **limits: int) -> tuple[str, ...]:
    return structure_problems(
        TASK, changes, frozenset({"src/old.py", "other.py"}), links or {}, LimitsSection(**limits)
    )


def test_what_the_task_declares_may_change() -> None:
    assert problems(change("src/a.py"), change("src/old.py", "D"), change("src/deep/b.py", "A")) == ()


@pytest.mark.parametrize("path", [".git/config", "src/.git/hooks/x", ".quarterdeck/deck.toml", "src/.GIT/config"])
def test_some_files_never_change(path: str) -> None:
    (problem,) = problems(change(path))
    assert problem == f"these must never change: {path}"


def test_a_rename_touches_both_ends_and_a_copy_one() -> None:
    (problem,) = problems(change("src/new.py", "R", old_path="other.py"))
    assert problem == "outside of the task's paths (src/, link): other.py"
    assert problems(change("src/new.py", "C", old_path="other.py")) == ()


def test_what_the_gate_runs_changes_only_where_it_is_named() -> None:
    def judged(path: str, *paths: str, status: str = "M") -> tuple[str, ...]:
        task = Task(id="a", title="A", paths=paths)
        existing = frozenset({"check.sh", "tools/old.py"})
        return structure_problems(task, [change(path, status)], existing, {}, LimitsSection(), {"check.sh"})

    (problem,) = judged("check.sh", "**")
    assert (
        problem
        == "the gate or its setup runs this, so that the task's paths must name it where it is to change: check.sh"
    )
    assert judged("check.sh", "*.sh", status="D") == (problem,)
    assert judged("check.sh", "src/", "check.sh") == ()
    assert judged("tools/old.py", "**") == ()


@pytest.mark.parametrize(
    ("path", "poses"),
    [
        ("unittest.py", True),
        ("pytest/__init__.py", True),
        ("src/unittest.py", True),
        ("tests/unittest/test_a.py", False),
        ("src/a/pytest.py", False),
        ("my_pytest.py", False),
        ("unittest.pyc", True),
        ("difflib.py", True),
        ("pluggy/__init__.py", True),
        ("traceback.cpython-311-x86_64-linux-gnu.so", True),
        ("sitecustomize.py", True),
        ("app/types.py", False),
        ("types.txt", False),
        ("packaging/notes.md", False),
    ],
)
def test_nothing_new_poses_as_a_test_runner(path: str, poses: bool) -> None:
    task = Task(id="a", title="A", paths=("**",))
    found = structure_problems(task, [change(path, "A")], frozenset(), {}, LimitsSection())
    assert found == (
        (f"this would be imported instead of the test runner, or of what it is made of: {path}",) if poses else ()
    )
    assert structure_problems(task, [change(path)], frozenset({path}), {}, LimitsSection()) == ()


def test_every_problem_is_named_at_once() -> None:
    found = problems(
        change("other.py", size=50), change(".git/x"), change("src/sub", new_mode="160000"),
        change_files=2, change_bytes=60,
    )  # fmt: skip
    assert [text.split(":")[0] for text in found] == [
        "these must never change",
        "outside of the task's paths (src/, link)",
        "3 files changed, at most 2 may",
        "70 bytes in changed files, at most 60 may be",
        "a submodule was added, changed or removed",
    ]


def test_a_removed_submodule_is_a_change_of_it() -> None:
    (problem,) = problems(change("src/sub", "D", old_mode="160000", new_mode="000000"))
    assert problem.endswith("removed: src/sub")


def test_very_many_paths_are_counted() -> None:
    (problem,) = problems(*(change(f"x{number:03}.py") for number in range(50)))
    assert problem.endswith("x019.py and 30 more")


@pytest.mark.parametrize(
    ("path", "target", "leads_out"),
    [
        ("link", "src/a.py", False),
        ("src/link", "../other.py", False),
        ("src/deep/link", "../../src/./a.py", False),
        ("link", ".", False),
        ("link", "/etc/passwd", True),
        ("link", "..", True),
        ("link", "../x", True),
        ("src/link", "../../x", True),
        ("src/link", "deep/../../..", True),
        ("link", "src/../other.py", True),
        ("link", ".git/config", True),
        ("src/link", "../.quarterdeck", True),
    ],
)
def test_links_stay_inside(path: str, target: str, leads_out: bool) -> None:
    found = problems(change(path, "A", new_mode="120000"), links={path: target})
    assert bool(found) is leads_out, found


@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), max_size=6), st.integers(0, 2))
def test_a_link_that_is_allowed_never_climbs_above_the_root(parts: list[str], depth: int) -> None:
    path = "/".join(["src", *"d" * depth, "link"])
    if problems(change(path, "A", new_mode="120000"), links={path: "/".join(parts)}):
        return
    height = depth + 1
    for part in parts:
        height += {"..": -1, ".": 0, "": 0}.get(part, 1)
        assert height >= 0


@pytest.mark.parametrize(
    ("old", "new", "paths", "sent_back"),
    [
        ("", "*.txt working-tree-encoding=UTF-16\n", ("**",), True),
        ("", "*.txt working-tree-encoding=UTF-16\n", (".gitattributes",), False),
        ("*.a text\n*.txt working-tree-encoding=UTF-16\n", "*.txt working-tree-encoding=UTF-16\n", ("**",), False),
        ("*.txt working-tree-encoding=UTF-16\n", "*.* working-tree-encoding=UTF-16\n", ("**",), True),
        ("", "# no working-tree-encoding here\n*.txt text\n", ("**",), False),
    ],
)
def test_files_in_another_encoding_are_asked_for(old: str, new: str, paths: tuple[str, ...], sent_back: bool) -> None:
    found = encoding_problems(Task(id="a", title="A", paths=paths), {".gitattributes": (old, new)})
    assert bool(found) == sent_back
    assert not found or found[0].endswith("where it is to say so: .gitattributes")
