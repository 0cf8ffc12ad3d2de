"""Which files a task may change."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.plans.globs import allowed, glob_matches, glob_problem, is_everything, may_overlap, outside

NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.py", "[a]", "a b", "src", "x-y"])
FILES = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERN_PARTS = st.sampled_from(["a", "b", "*", "**", "a*", "*.py", "?", "[ab]", "src", "[a]"])
PATTERNS = st.tuples(st.lists(PATTERN_PARTS, min_size=1, max_size=4).map("/".join), st.sampled_from(["", "/"])).map(
    "".join
)

DISGUISED = (".quarter\u200cdeck/deck.toml", ".quarterdeck. /x", ".QUARTERDECK::$DATA", "QUARTE~1/x", "a/.g\u200dit/x")
"""What some file system takes for one of those that never change."""


@pytest.mark.parametrize(
    ("pattern", "file", "covered"),
    [
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/sub/a.py", False),
        ("src/*", "src/sub/a.py", False),
        ("src/**", "src/sub/a.py", True),
        ("src/**", "src", False),
        ("src/", "src/sub/a.py", True),
        ("src/", "src", False),
        ("src/lib/", "other/src/lib/a.py", False),
        ("docs/", "packages/one/docs/a.md", False),
        ("README.md", "docs/README.md", False),
        ("packages/*/src", "packages/one/src/a.py", True),
        ("docs", "docs/a.md", True),
        ("src/lib", "src/lib/a.py", True),
        ("src/lib", "src/library.py", False),
        ("src/*/", "src/one/two.py", True),
        ("src/*/", "src/one", False),
        ("*.md", "docs/deep/a.md", True),
        ("*.md", "a.md/other", False),
        ("./*.md", "a.md", True),
        ("**/test_*.py", "test_a.py", True),
        ("**/test_*.py", "a/b/test_a.py", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/y/b/c", True),
        ("a/**/b*", "a/x/y/b/c", False),
        ("a/?.py", "a/bc.py", False),
        ("a/[!b].py", "a/b.py", False),
        ("a/[^b].py", "a/c.py", True),
        ("a/[^b].py", "a/b.py", False),
        ("**", "any/thing", True),
        ("a b/*", "a b/c", True),
        ("#notes", "#notes", True),
        ("a[", "a[", True),
    ],
)
def test_patterns_cover_what_gitignore_style_says(pattern: str, file: str, covered: bool) -> None:
    assert glob_matches(pattern, file) is covered
    assert allowed([pattern], file, ()) is covered


def test_an_existing_literal_name_wins_over_the_glob() -> None:
    tree = ["app/[id]/page.tsx", "app/i/page.tsx"]
    assert allowed(["app/[id]/page.tsx"], "app/[id]/page.tsx", tree)
    assert not allowed(["app/[id]/page.tsx"], "app/i/page.tsx", tree)
    assert allowed(["app/[id]/page.tsx"], "app/i/page.tsx", [])
    assert allowed(["app/[id]/"], "app/[id]/new.tsx", tree)
    assert not allowed(["app/[id]/"], "app/i/new.tsx", tree)


def test_a_spelled_out_name_is_allowed_where_the_file_is_new() -> None:
    assert allowed(["app/[slug]/page.tsx"], "app/[slug]/page.tsx", [])
    assert allowed(["app/[slug]/"], "app/[slug]/page.tsx", [])


def test_a_floating_glob_that_is_a_name_stops_floating() -> None:
    assert allowed(["[ab]"], "docs/a", [])
    assert not allowed(["[ab]"], "docs/a", ["[ab]"])


def test_git_and_our_own_directory_are_never_allowed() -> None:
    for file in (
        ".git/hooks/x",
        "sub/.git/config",
        ".GIT/config",
        ".quarterdeck/deck.toml",
        ".Quarterdeck/x",
        *DISGUISED,
    ):
        assert not allowed(["**", "*", file], file, [file])
    assert allowed(["**"], ".gitignore", [])
    assert allowed(["**"], "docs/.quarterdeck/x", [])


def test_outside_keeps_the_order_of_the_files() -> None:
    assert outside(["a", "c"], ["d", "a", "b", "c"], ["a", "b", "c", "d"]) == ("d", "b")
    assert outside([], ["a"], ["a"]) == ("a",)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("a/../b", ".."),
        ("..", ".."),
        ("a\\b", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("!a", "negation"),
        (".", "nothing"),
        ("./", "nothing"),
        ("a//b", "empty part"),
        ("a/./b", "part"),
        ("a/" * 65, "parts"),
        ("x" * 5000, "longer"),
        (".git/config", "no task may change"),
        ("sub/.git/", "no task may change"),
        (".quarterdeck/", "no task may change"),
    ],
)
def test_unusable_patterns_are_named_with_their_reason(pattern: str, says: str) -> None:
    assert says in glob_problem(pattern)


@pytest.mark.parametrize("pattern", ["a", "a/", "**", "./a", "[id]/x y", ".github/", "a/*/b", "...", "~/x"])
def test_usable_patterns_have_no_problem(pattern: str) -> None:
    assert glob_problem(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "all_"), [("**", True), ("*", True), ("**/*", True), ("a/**", False), ("*.py", False)]
)
def test_everything_is_recognised(pattern: str, all_: bool) -> None:
    assert is_everything(pattern) is all_


def test_a_hostile_pattern_is_quick() -> None:
    assert not glob_matches("*a" * 200 + "b", "a" * 255)
    assert not glob_matches("/".join(["**", "a*"] * 32) + "/b", "/".join(["a"] * 60))


def _naive(parts: list[str], names: list[str], below: bool) -> bool:
    """The same meaning as plain recursion: what the matcher is held against."""
    if not parts:
        return not names or below
    if not names:
        return False
    if parts == ["**"]:
        return True
    if parts[0] == "**":
        return _naive(parts[1:], names, below) or _naive(parts, names[1:], below)
    return fnmatch.fnmatchcase(names[0], parts[0]) and _naive(parts[1:], names[1:], below)


def _naive_match(pattern: str, file: str) -> bool:
    body = pattern.removesuffix("/")
    parts = body.split("/")
    wild = set("*?[")
    if len(parts) == 1 and body != "**" and wild & set(body):
        parts = ["**", *parts]
    literal = not wild & set(parts[-1]) and not pattern.endswith("/")
    return _naive([*parts, "**"] if pattern.endswith("/") else parts, file.split("/"), literal)


@given(PATTERNS, FILES)
def test_matching_agrees_with_plain_recursion(pattern: str, file: str) -> None:
    assert glob_matches(pattern, file) is _naive_match(pattern, file)


@given(PATTERNS, PATTERNS, FILES)
def test_patterns_that_share_a_file_overlap(one: str, other: str, file: str) -> None:
    if glob_matches(one, file) and glob_matches(other, file):
        assert may_overlap(one, other)
        assert may_overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("src/a.py", "src/a.py", True),
        ("src/a.py", "src/b.py", False),
        ("src/", "src/a.py", True),
        ("src/", "lib/a.py", False),
        ("src/*.py", "src/a.md", False),
        ("src/**/a.py", "src/x/y/a.py", True),
        ("*.py", "src/a.py", True),
        ("src/lib", "src/lib/a.py", True),
        ("src/[ab].py", "src/c.py", False),
    ],
)
def test_overlap_of_patterns(one: str, other: str, meet: bool) -> None:
    assert may_overlap(one, other) is meet


@given(st.lists(PATTERNS, max_size=3), st.lists(FILES, max_size=5), st.lists(FILES, max_size=5))
def test_nothing_is_both_allowed_and_outside(paths: list[str], files: list[str], tree: list[str]) -> None:
    left_out = outside(paths, files, tree)
    assert [file for file in files if not allowed(paths, file, tree)] == list(left_out)
