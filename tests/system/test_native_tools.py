"""The tools, called on a real workspace: what the agent did wrong is a result, never an exception."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agent_kit import Kit, kit

from quarterdeck.kernel.entities import TodoItem
from quarterdeck.tools.port import Surroundings, ToolResult
from quarterdeck.tools.schema import problems
from quarterdeck.tools.toolbox import Toolbox

TOOLS = Toolbox().select(None, expects="answer", handoff_schema={"type": "object"}, delegates={"scout": "looks"})


class NoDesk:
    """File tools need no desk; reaching it is an error."""

    async def todo(self, items: tuple[TodoItem, ...]) -> ToolResult:
        raise AssertionError

    async def note(self, text: str) -> ToolResult:
        raise AssertionError

    async def submit(self, handoff: Any) -> ToolResult:
        raise AssertionError

    async def ask(self, question: str) -> ToolResult:
        raise AssertionError

    async def delegate(self, call: str, agent: str, task: str) -> ToolResult:
        raise AssertionError


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


async def call(deck: Kit, tool: str, **arguments: Any) -> ToolResult:
    where = Surroundings(sandbox=deck.sandbox, desk=NoDesk(), call="1.0", timeout=20.0)
    assert problems(TOOLS[tool].spec.parameters, arguments) == []
    return await TOOLS[tool].call(arguments, where)


async def happened(deck: Kit, **arguments: Any) -> bool | None:
    return await TOOLS["edit"].happened(arguments, Surroundings(sandbox=deck.sandbox, desk=NoDesk(), call="1.0"))


async def test_write_read_edit(deck: Kit) -> None:
    assert (await call(deck, "write", path="src/a.py", content="one\ntwo\nthree\n")).ok
    assert (await call(deck, "read", path="src/a.py")).text == "1\tone\n2\ttwo\n3\tthree"
    part = await call(deck, "read", path="/workspace/src/a.py", offset=2, limit=1)
    assert part.text == "2\ttwo\n[3 lines in all; go on with offset: 3]"
    assert (
        await call(deck, "edit", path="src/a.py", old="two", new="2")
    ).text == "Changed `src/a.py`, first at line 2."
    assert await deck.file("src/a.py") == "one\n2\nthree\n"


async def test_edit_says_what_is_wrong(deck: Kit) -> None:
    await call(deck, "write", path="a.py", content="def f():\n    return 1\n\ndef g():\n    return 1\n")
    twice = await call(deck, "edit", path="a.py", old="return 1", new="return 2")
    assert not twice.ok
    assert "2 times" in twice.text
    assert "lines 2, 5" in twice.text
    assert (await call(deck, "edit", path="a.py", old="return 1", new="return 2", all=True)).ok
    white = await call(deck, "edit", path="a.py", old="def f():\n  return 2", new="x")
    assert "only in whitespace from lines 1-2" in white.text
    assert "line numbers" in (await call(deck, "edit", path="a.py", old="1\tdef f():", new="x")).text
    assert "nearest is around line 4" in (await call(deck, "edit", path="a.py", old="def gg():", new="x")).text
    assert "are the same" in (await call(deck, "edit", path="a.py", old="def f", new="def f")).text
    assert await deck.file("a.py") == "def f():\n    return 2\n\ndef g():\n    return 2\n"


async def test_no_edit_makes_a_file_that_is_too_large(deck: Kit) -> None:
    """Each of two million letters would become four thousand: that must not be tried in the deck's memory."""
    text = "a" * 2_000_000
    assert (await call(deck, "write", path="a.txt", content=text)).ok
    grown = await call(deck, "edit", path="a.txt", old="a", new="b" * 4_000, all=True)
    assert not grown.ok
    assert "would be larger" in grown.text
    assert await deck.sandbox.read("a.txt", limit=4_000_000) == text.encode()
    wide = await call(deck, "edit", path="a.txt", old="a", new="\u4e2d\u4e2d", all=True)
    assert not wide.ok
    assert "more than" in wide.text
    assert "first at line 1" in (await call(deck, "edit", path="a.txt", old="a", new="b", all=True)).text


async def test_edit_keeps_the_line_ends_of_the_file(deck: Kit) -> None:
    await deck.sandbox.write("dos.txt", b"one\r\ntwo\r\n")
    assert (await call(deck, "edit", path="dos.txt", old="one\ntwo", new="1\n2")).ok
    assert await deck.sandbox.read("dos.txt") == b"1\r\n2\r\n"


async def test_edit_finds_out_whether_it_happened(deck: Kit) -> None:
    await call(deck, "write", path="a.txt", content="alpha\n")
    assert await happened(deck, path="a.txt", old="alpha", new="beta") is False
    await call(deck, "edit", path="a.txt", old="alpha", new="beta")
    assert await happened(deck, path="a.txt", old="alpha", new="beta") is True
    assert await happened(deck, path="none.txt", old="alpha", new="beta") is None


MISTAKES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("read", {"path": "none"}, "no file"),
    ("read", {"path": "."}, "is a directory"),
    ("read", {"path": "/etc/shadow"}, "cannot be read"),
    ("read", {"path": "a\0b"}, "cannot be read"),
    ("write", {"path": "../x", "content": ""}, "outside"),
    ("write", {"path": "/etc/x", "content": ""}, "outside"),
    ("write", {"path": ".git/config", "content": ""}, "git's own"),
    ("write", {"path": "a/", "content": ""}, "directory"),
    ("write", {"path": "x", "content": "\ud800"}, "surrogate"),
    ("edit", {"path": "none", "old": "a", "new": "b"}, "no file"),
    ("search", {"pattern": "("}, "not a regular expression"),
    ("search", {"pattern": "x", "path": "none"}, "Nothing matches"),
    ("run", {"command": "a\0b"}, "NUL"),
)


async def test_mistakes_are_results(deck: Kit) -> None:
    for tool, arguments, says in MISTAKES:
        result = await call(deck, tool, **arguments)
        assert says in result.text
        assert result.ok is (says == "Nothing matches")


async def test_files_that_are_not_text(deck: Kit) -> None:
    await deck.sandbox.write("b.bin", b"\0\1\2")
    await deck.sandbox.write("latin.txt", b"caf\xe9\n")
    await deck.sandbox.write("empty.txt", b"")
    assert "not a text file" in (await call(deck, "read", path="b.bin")).text
    assert (await call(deck, "read", path="latin.txt")).text == "1\tcaf\ufffd"
    assert "not UTF-8" in (await call(deck, "edit", path="latin.txt", old="c", new="d")).text
    assert "is empty" in (await call(deck, "read", path="empty.txt")).text
    assert "only 1 lines" in (await call(deck, "read", path="latin.txt", offset=5)).text


async def test_long_files_are_shown_in_whole_lines(deck: Kit) -> None:
    await deck.sandbox.write("long.txt", b"".join(b"line %d %s\n" % (n, b"x" * 90) for n in range(1000)))
    first = await call(deck, "read", path="long.txt")
    assert first.flags == ("truncated",)
    assert len(first.text.encode()) <= 16 * 1024
    last = first.text.splitlines()[-1]
    following = int(last.rsplit(" ", 1)[1].rstrip("]"))
    assert (await call(deck, "read", path="long.txt", offset=following)).text.startswith(f"{following}\tline")


async def test_search(deck: Kit) -> None:
    for name in ("src/a.py", "src/b.py", "doc/c.md"):
        await call(deck, "write", path=name, content=f"# {name}\nneedle = 1\n")
    found = await call(deck, "search", pattern="NEEDLE", glob="*.py", ignore_case=True)
    assert found.text == "src/a.py:2: needle = 1\nsrc/b.py:2: needle = 1"
    assert (await call(deck, "search", pattern="needle", path="doc")).text == "doc/c.md:2: needle = 1"
    assert (await call(deck, "search", glob="*.md")).text == "doc/c.md"
    assert "src/a.py" in (await call(deck, "search")).text
    await call(deck, "write", path="many.txt", content="hit\n" * 500)
    many = await call(deck, "search", pattern="hit")
    assert "truncated" in many.flags
    assert "only the first 200 hits" in many.text


async def test_run(deck: Kit) -> None:
    good = await call(deck, "run", command="echo out; echo err >&2")
    assert good.ok
    assert good.text == "out\n[stderr]\nerr\n[exit code 0]"
    bad = await call(deck, "run", command="printf 'a\\0b\\033[31mred'; exit 3")
    assert not bad.ok
    assert bad.text == "a\ufffdbred\n[exit code 3]"


async def test_run_is_bounded_in_time_and_output(deck: Kit) -> None:
    slow = await call(deck, "run", command="echo begun; sleep 60", timeout=1)
    assert slow.flags == ("timeout",)
    assert slow.text.startswith("begun\n[stopped after 1 s")
    loud = await call(deck, "run", command="seq 1 200000; echo the end")
    assert "truncated" in loud.flags
    assert loud.text.startswith("1\n2\n")
    assert "the end\n[exit code 0]" in loud.text
    assert len(loud.text.encode()) <= 16 * 1024
