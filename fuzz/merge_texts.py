"""Three texts of two agents' changes, on their way through every way of merging.

Rules
- Nothing is raised: a way without a result says why.
- A side that is like the base gives the other side; a Python text that is returned as merged parses.
- What is found wrong with a result is a bounded list of sentences.
"""

from collections.abc import Sequence

from quarterdeck.merge.lint import objections
from quarterdeck.merge.naming import entities, touched
from quarterdeck.merge.python_tree import syntax, tree
from quarterdeck.merge.values import Lost, Resolved, Sides, Way
from quarterdeck.merge.ways import resolve

INSTRUMENTED = ("quarterdeck.merge",)
WORDS = (
    *(
        "def f(a, b=1):\n",
        "class A(B):\n",
        "    return a\n",
        "if a:\n",
        "elif b:\n",
        "else:\n",
        "try:\n",
        "except A:\n",
    ),
    *(
        "from a import (b, c)\n",
        "import a\n",
        "@a\n",
        '"""a"""',
        "f'{a}'",
        "\\\n",
        "\r\n",
        "# a\n",
        "lambda: 0",
        "async ",
    ),
    *(
        "__all__ = ['a', 'b']\n",
        "\t",
        "match a:\n",
        "case b:\n",
        "with a as b:\n",
        "\x00\x00",
        "- a\n",
        "## a\n",
        "[a]\n",
    ),
)
_PATHS = ("a.py", "a.md", "a.toml", "a.json", "a.c")
_BETWEEN = b"\0\0"


def one(data: bytes) -> None:
    """Merge it every way, in both directions."""
    path = _PATHS[data[0] % len(_PATHS)] if data else _PATHS[0]
    parts = [part.decode("utf-8", "surrogateescape") for part in data[1:].split(_BETWEEN)[:3]]
    base, ours, theirs = (*parts, "", "", "")[:3]
    for sides in (Sides(path, base, ours, theirs), Sides(path, base, theirs, ours), Sides(path, None, ours, theirs)):
        for way in Way:
            _check(way, sides)
    for text in (base, ours, theirs):
        found = tree(text)
        assert isinstance(found, str) or found.text == text
        entities(path, text)
    touched(path, base, ours)


def _check(way: Way, sides: Sides) -> None:
    found = resolve(way, sides)
    if isinstance(found, Lost):
        assert found.reason
        return
    assert isinstance(found, Resolved)
    if sides.ours == sides.base and way is not Way.DRIVER:
        assert found.text == sides.theirs
    if way in (Way.ENTITY,) and sides.path == "a.py" and sides.ours not in (sides.base, sides.theirs, None):
        plain = found.text.removeprefix("\ufeff")
        assert sides.theirs == (sides.base or "") or not isinstance(syntax(plain), str)
    assert len(objections(sides, found.text)) <= 10


def seeds() -> Sequence[bytes]:
    """Conflicts of each kind."""
    texts = [
        ("from a import b\n", "from a import b, c\n", "from a import b, d\n"),
        (
            "def f(a):\n    return a\n",
            "def f(a, b):\n    go(b)\n    return a\n",
            "def f(a, c=1):\n    x = c\n    return a\n",
        ),
        ("f(a)\ng(a)\n", "with f(a) as b:\n    g(a)\n", "f(a, 1)\ng(a, 2)\n"),
        ("x = 1\n", 'x = 1\n\n\nclass A:\n    """A."""\n    x = 1\n', "x = 1\n\n\n@b\nclass A:\n    y = 2\n"),
        (
            "if a:\n    b()\nelse:\n    c()\n",
            "if a:\n    b()\nelif d:\n    e()\nelse:\n    c()\n",
            "if a and f:\n    b()\nelse:\n    g()\n",
        ),
        ("- a\n", "- a\n- b\n", "- a\n- c\n"),
        ('a = ["b"]\n', 'a = ["b", "c"]\n', 'a = ["d", "b"]\n'),
        ('{"a": 1}', '{"a": 1, "b": [2]}', '{"a": {"c": 3}}'),
    ]
    return [
        bytes([number]) + _BETWEEN.join(text.encode() for text in trio)
        for number in range(len(_PATHS))
        for trio in texts
    ]
