"""What tools decide without a workspace: bounds, schemas, the probe of an edit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.tools.bounds import bounded, readable
from quarterdeck.tools.files import lines_of, not_found, replaced
from quarterdeck.tools.schema import problems, standalone
from quarterdeck.tools.toolbox import Toolbox


@pytest.mark.parametrize(
    ("content", "old", "new", "answer"),
    [
        ("ab", "a", "aa", False),
        ("aab", "a", "aa", True),
        ("x", "a", "", True),
        ("a", "a", "", False),
        ("neither", "old", "new!", None),
        ("old new!", "old", "new!", None),
    ],
)
def test_replaced(content: str, old: str, new: str, answer: bool | None) -> None:
    assert replaced(content, old, new) is answer


@given(st.text("ab\n ", max_size=40), st.text("ab\n ", min_size=1, max_size=8))
def test_not_found_never_fails(content: str, old: str) -> None:
    assert "does not occur" in not_found(content, old, "x")


@given(st.text("ab\n", max_size=60), st.text("ab\n", min_size=1, max_size=3), st.integers(1, 5))
def test_places_of_a_text(content: str, old: str, most: int) -> None:
    starts, start = [], content.find(old)
    while start >= 0:
        starts.append(start)
        start = content.find(old, start + len(old))
    assert lines_of(content, old, most) == [content.count("\n", 0, start) + 1 for start in starts[:most]]


@given(
    st.lists(st.text("ab ", max_size=3), min_size=1, max_size=8),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3),
)
def test_what_differs_only_in_whitespace_is_shown(lines: list[str], wanted: list[str]) -> None:
    content, old = "\n".join(lines), "\n".join(f"   {line}  " for line in wanted)
    stripped = [line.strip() for line in lines]
    places = [n for n in range(len(lines)) if stripped[n : n + len(wanted)] == wanted]
    said = not_found(content, old, "x")
    assert ("only in whitespace" in said) is bool(places)
    if places:
        assert f"lines {places[0] + 1}-{places[0] + len(wanted)}:" in said


MANY = 2_000_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("content", "old"),
    [
        pytest.param("," * MANY, ",", id="many places"),
        pytest.param("\n" * MANY, "x\n" + "\n" * 20_000 + "y", id="many lines, and many wanted"),
        pytest.param(
            "ab" * 50 + "\n" + ("ba" * 5_000 + "\n") * 100, "ba" * 4_000 + "c", id="long lines that are alike"
        ),
        pytest.param(
            "\n".join(f'"{n:08}": "{n * 2654435761 % 2**64:064x}",' for n in range(20_000)), "f" * 80, id="data"
        ),
    ],
)
def test_a_text_is_looked_for_in_a_time_in_proportion_to_the_file(content: str, old: str) -> None:
    assert len(lines_of(content, old)) <= 20
    assert "does not occur" in not_found(content, old, "x")


@given(st.text(max_size=300), st.integers(0, 200))
def test_bounded_keeps_its_promise(text: str, limit: int) -> None:
    short, cut = bounded(text, limit)
    assert len(short.encode()) <= limit
    assert cut == (len(text.encode("utf-8", "replace")) > limit)


@given(st.binary(max_size=200))
def test_readable_is_printable(data: bytes) -> None:
    text = readable(data)
    text.encode()
    assert not any(ord(char) < 32 and char not in "\n\t\r" for char in text)


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "count": {"type": "integer", "minimum": 1, "maximum": 3},
        "kind": {"enum": ["a", "b"]},
        "items": {"type": "array", "maxItems": 1, "items": {"type": "boolean"}},
        "line": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"name": "ab", "count": 3.0, "line": None, "items": [True]}, ""),
        ({}, "name: is missing"),
        ({"name": "a"}, "at least 2 characters"),
        ({"name": "ab", "count": True}, "count: must be integer, not boolean"),
        ({"name": "ab", "count": 9}, "at most 3"),
        ({"name": "ab", "kind": "c"}, "one of 'a', 'b'"),
        ({"name": "ab", "items": [1]}, "items[0]: must be boolean"),
        ({"name": "ab", "items": [True, True]}, "at most 1 items"),
        ({"name": "ab", "line": "x"}, "integer or null"),
        ({"name": "ab", "more": 1}, "more: is not known"),
        ([], "must be object, not array"),
    ],
)
def test_schema(value: Any, says: str) -> None:
    found = problems(SCHEMA, value)
    assert bool(found) == bool(says)
    assert says in "\n".join(found)


def test_standalone_has_no_references() -> None:
    schema = standalone(
        {
            "$defs": {"T": {"type": "object", "title": "T", "properties": {"title": {"type": "string", "title": "X"}}}},
            "properties": {"t": {"$ref": "#/$defs/T"}},
        }
    )
    assert schema == {"properties": {"t": {"type": "object", "properties": {"title": {"type": "string"}}}}}


def test_an_agent_sees_its_tools_only() -> None:
    box = Toolbox()
    few = box.select(("read",), expects="plan", handoff_schema={}, delegates={}, without=frozenset({"note"}))
    assert list(few) == ["read", "todo", "ask", "submit"]
    all_of_them = box.select(None, expects="answer", handoff_schema={}, delegates={"x": "y"})
    assert list(all_of_them)[-2:] == ["delegate", "submit"]
    assert "- x: y" in all_of_them["delegate"].spec.description


@pytest.mark.parametrize(
    ("expects", "asks"), [("submission", True), ("plan", True), ("review", False), ("answer", False)]
)
def test_only_who_can_be_answered_may_ask(expects: str, asks: bool) -> None:
    for names in (None, ("read", "ask")):
        chosen = Toolbox().select(names, expects=expects, handoff_schema={}, delegates={})
        assert ("ask" in chosen) == asks
