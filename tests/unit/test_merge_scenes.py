"""Conflicts as they happen between two changes of real Python code, and what they are put together to."""

import re
from dataclasses import dataclass
from textwrap import dedent

import pytest

from quarterdeck.merge.lint import objections
from quarterdeck.merge.values import Lost, Resolved, Sides, Way
from quarterdeck.merge.ways import resolve


@dataclass(frozen=True, slots=True)
class Scene:
    """`merged` None = the two changes cannot be put together without guessing."""

    name: str
    base: str
    ours: str
    theirs: str
    merged: str | None
    path: str = "a.py"


def scene(name: str, base: str, ours: str, theirs: str, merged: str | None, path: str = "a.py") -> Scene:
    texts = [dedent(text).lstrip("\n") for text in (base, ours, theirs)]
    return Scene(name, texts[0], texts[1], texts[2], None if merged is None else dedent(merged).lstrip("\n"), path)


SCENES = [
    scene(
        "names imported from one module",
        "from .other import FunctionCheck, IsJson\n",
        "from .other import FunctionCheck, IsIP, IsJson\n",
        "from .other import FunctionCheck, IsJson, IsUrl\n",
        "from .other import FunctionCheck, IsIP, IsJson, IsUrl\n",
    ),
    scene(
        "names that are in no order stay where they were put",
        "from .other import FunctionCheck, IsJson\n",
        "from .other import FunctionCheck, IsMac, IsJson\n",
        "from .other import FunctionCheck, IsJson, IsIP\n",
        "from .other import FunctionCheck, IsMac, IsJson, IsIP\n",
    ),
    scene(
        "one side turned the import into lines",
        "from os import path, sep\n",
        "from os import (\n    getcwd,\n    path,\n    sep,\n)\n",
        "from os import name, path, sep\n",
        "from os import (\n    getcwd,\n    name,\n    path,\n    sep,\n)\n",
    ),
    scene(
        "two modules imported at one place",
        "import json\n\nx = 1\n",
        "import json\nimport re\n\nx = 1\n",
        "import json\nimport sys\n\nx = 1\n",
        "import json\nimport re\nimport sys\n\nx = 1\n",
    ),
    scene(
        "the same import added by both",
        "import json\n\nx = 1\n",
        "import json\nimport re\n\nx = 1\ny = 2\n",
        "import json\nimport re\nimport sys\n\nx = 1\n",
        "import json\nimport re\nimport sys\n\nx = 1\ny = 2\n",
    ),
    scene(
        "a new import of one module by both",
        "import json\n",
        "import json\nfrom typing import Any\n",
        "import json\nfrom typing import Final\n",
        "import json\nfrom typing import Any, Final\n",
    ),
    scene(
        "entries of __all__",
        """
        __all__ = (
            # base
            'A',
            # other
            'B',
            'C',
        )
        """,
        """
        __all__ = (
            # base
            'A',
            # other
            'B',
            'C',
            'D',
        )
        """,
        """
        __all__ = (
            # base
            'A',
            # other
            'B',
            'C',
            'E',
        )
        """,
        """
        __all__ = (
            # base
            'A',
            # other
            'B',
            'C',
            'D',
            'E',
        )
        """,
    ),
    scene(
        "a list on one line",
        "NAMES = ['a', 'z']\n",
        "NAMES = ['a', 'b', 'z']\n",
        "NAMES = ['a', 'c', 'z']\n",
        "NAMES = ['a', 'b', 'c', 'z']\n",
    ),
    scene(
        "entries of a dictionary",
        "CODES = {\n    'a': 1,\n}\n",
        "CODES = {\n    'a': 1,\n    'b': 2,\n}\n",
        "CODES = {\n    'a': 1,\n    'c': 3,\n}\n",
        "CODES = {\n    'a': 1,\n    'b': 2,\n    'c': 3,\n}\n",
    ),
    scene(
        "one side changed an entry that the other's new one stands beside",
        "CODES = {\n    'a': 1,\n    'z': 9,\n}\n",
        "CODES = {\n    'a': 10,\n    'z': 9,\n}\n",
        "CODES = {\n    'a': 1,\n    'b': 2,\n    'z': 9,\n}\n",
        "CODES = {\n    'a': 10,\n    'b': 2,\n    'z': 9,\n}\n",
    ),
    scene(
        "the same key with two values",
        "CODES = {'a': 1}\n",
        "CODES = {'a': 1, 'b': 2}\n",
        "CODES = {'a': 1, 'b': 3}\n",
        None,
    ),
    scene(
        "two functions at the end of a file",
        "def one():\n    return 1\n",
        "def one():\n    return 1\n\n\ndef two():\n    return 2\n",
        "def one():\n    return 1\n\n\ndef three():\n    return 3\n",
        "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n",
    ),
    scene(
        "two functions of one name",
        "x = 1\n",
        "x = 1\n\n\ndef two():\n    return 2\n",
        "x = 1\n\n\ndef two():\n    return 3\n",
        None,
    ),
    scene(
        "methods added to one class",
        "class A:\n    def a(self):\n        pass\n\n\nx = 1\n",
        "class A:\n    def a(self):\n        pass\n\n    def b(self):\n        return 1\n\n\nx = 1\n",
        "class A:\n    def a(self):\n        pass\n\n    def c(self):\n        return 2\n\n\nx = 1\n",
        "class A:\n    def a(self):\n        pass\n\n    def b(self):\n        return 1\n\n    def c(self):\n"
        "        return 2\n\n\nx = 1\n",
    ),
    scene(
        "a class added by both with other methods",
        "x = 1\n",
        "x = 1\n\n\nclass A:\n    def b(self):\n        return 1\n",
        "x = 1\n\n\nclass A:\n    def c(self):\n        return 2\n",
        "x = 1\n\n\nclass A:\n    def b(self):\n        return 1\n    def c(self):\n        return 2\n",
    ),
    scene(
        "bases of a class",
        "class A(B):\n    x = 1\n",
        "class A(B, C):\n    x = 1\n",
        "class A(B, D):\n    x = 1\n",
        "class A(B, C, D):\n    x = 1\n",
    ),
    scene(
        "parameters of one function",
        "def f(a, *, b=1):\n    pass\n",
        "def f(a, *, b=1, c=2):\n    pass\n",
        "def f(a, *, b=1, d: int = 3) -> None:\n    pass\n",
        "def f(a, *, b=1, c=2, d: int = 3) -> None:\n    pass\n",
    ),
    scene(
        "a parameter without a default and one with",
        "def f(a):\n    pass\n",
        "def f(a, b=1):\n    pass\n",
        "def f(a, c):\n    pass\n",
        "def f(a, c, b=1):\n    pass\n",
    ),
    scene(
        "parameters over lines",
        "def f(\n    a,\n    b=None,\n) -> None:\n    pass\n",
        "def f(\n    a,\n    b=None,\n    c=None,\n) -> None:\n    pass\n",
        "def f(\n    a,\n    b=None,\n    d=None,\n) -> None:\n    pass\n",
        "def f(\n    a,\n    b=None,\n    c=None,\n    d=None,\n) -> None:\n    pass\n",
    ),
    scene(
        "one side put the parameters on lines",
        "def f(a, b):\n    pass\n",
        "def f(\n    a,\n    b,\n    long_name=None,\n):\n    pass\n",
        "def f(a, b, c=1):\n    pass\n",
        "def f(\n    a,\n    b,\n    long_name=None,\n    c=1,\n):\n    pass\n",
    ),
    scene(
        "arguments of one call",
        "x = f(a, b=1)\n",
        "x = f(a, b=1, c=2)\n",
        "x = f(a, b=1, d=3)\n",
        "x = f(a, b=1, c=2, d=3)\n",
    ),
    scene(
        "the name that is called and its arguments",
        "x = f(a)\n",
        "x = g(a)\n",
        "x = f(a, b)\n",
        "x = g(a, b)\n",
    ),
    scene(
        "both changed the same argument",
        "x = f(a=1)\n",
        "x = f(a=2)\n",
        "x = f(a=3)\n",
        None,
    ),
    scene(
        "decorators of one function",
        "@a\ndef f():\n    pass\n",
        "@a\n@b\ndef f():\n    pass\n",
        "@a\n@c\ndef f():\n    return 1\n",
        "@a\n@b\n@c\ndef f():\n    return 1\n",
    ),
    scene(
        "lines added at one place of a function",
        "def f(x):\n    a(x)\n    return x\n",
        "def f(x):\n    a(x)\n    b(x)\n    return x\n",
        "def f(x):\n    a(x)\n    c(x)\n    return x\n",
        "def f(x):\n    a(x)\n    b(x)\n    c(x)\n    return x\n",
    ),
    scene(
        "a line in front of one that the other side replaced",
        "def f(x):\n    start()\n    run(x)\n",
        "def f(x):\n    start()\n    check(x)\n    run(x)\n",
        "def f(x):\n    start()\n    if x:\n        go_on(x)\n    else:\n        stop()\n",
        "def f(x):\n    start()\n    check(x)\n    if x:\n        go_on(x)\n    else:\n        stop()\n",
    ),
    scene(
        "what ends the block stays last",
        "def f(x):\n    a(x)\n",
        "def f(x):\n    a(x)\n    return x\n",
        "def f(x):\n    a(x)\n    log(x)\n",
        "def f(x):\n    a(x)\n    log(x)\n    return x\n",
    ),
    scene(
        "two ends of one block",
        "def f(x):\n    a(x)\n",
        "def f(x):\n    a(x)\n    return 1\n",
        "def f(x):\n    a(x)\n    return 2\n",
        None,
    ),
    scene(
        "a block put below a new header while the other side changed it",
        "def f(args):\n    ctx = make(args, deep=True)\n    while args:\n        step(ctx)\n"
        "        args = ctx.args\n    return ctx\n",
        "def f(args):\n    with make(args, deep=True) as ctx:\n        while args:\n            step(ctx)\n"
        "            args = ctx.args\n    return ctx\n",
        "def f(args):\n    limit = None\n    ctx = make(args, deep=True, limit=limit)\n    while args:\n"
        "        check(ctx)\n        step(ctx)\n        args = ctx.args\n    return ctx\n",
        "def f(args):\n    limit = None\n    with make(args, deep=True, limit=limit) as ctx:\n        while args:\n"
        "            check(ctx)\n            step(ctx)\n            args = ctx.args\n    return ctx\n",
    ),
    scene(
        "a block put below try while the other side changed it",
        "def f(a):\n    one(a)\n    two(a)\n    three(a)\n",
        "def f(a):\n    try:\n        one(a)\n        two(a)\n        three(a)\n    except OSError:\n        pass\n",
        "def f(a):\n    one(a)\n    two(a, again=True)\n    three(a)\n",
        "def f(a):\n    try:\n        one(a)\n        two(a, again=True)\n        three(a)\n"
        "    except OSError:\n        pass\n",
    ),
    scene(
        "clauses of one condition",
        "if a:\n    x()\nelse:\n    z()\n",
        "if a:\n    x()\nelif b:\n    y()\nelse:\n    z()\n",
        "if a:\n    x()\nelif c:\n    w()\nelse:\n    z()\n",
        "if a:\n    x()\nelif b:\n    y()\nelif c:\n    w()\nelse:\n    z()\n",
    ),
    scene(
        "a condition that both made narrower",
        "def f(a):\n    if a:\n        x()\n",
        "def f(a):\n    if a and b:\n        x()\n",
        "def f(a):\n    if a:\n        x()\n        y()\n",
        "def f(a):\n    if a and b:\n        x()\n        y()\n",
    ),
    scene(
        "both changed a function that one of them renamed",
        "def old(a):\n    one(a)\n    two(a)\n    three(a)\n    return a\n",
        "def new(a):\n    one(a)\n    two(a)\n    three(a)\n    return a\n",
        "def old(a):\n    one(a)\n    two(a)\n    three(a, 1)\n    return a\n",
        "def new(a):\n    one(a)\n    two(a)\n    three(a, 1)\n    return a\n",
    ),
    scene(
        "a function that one side moved and the other changed",
        "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n",
        "def two():\n    return 2\n\n\ndef three():\n    return 3\n\n\ndef one():\n    return 1\n",
        "def one():\n    return 10\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n",
        "def two():\n    return 2\n\n\ndef three():\n    return 3\n\n\ndef one():\n    return 10\n",
    ),
    scene(
        "a function that one side removed and the other changed",
        "def one():\n    return 1\n\n\ndef two():\n    return 2\n",
        "def two():\n    return 2\n",
        "def one():\n    return 10\n\n\ndef two():\n    return 2\n",
        None,
    ),
    scene(
        "sections of a docstring",
        'def f(a):\n    """Do it.\n\n    :param a: what\n    """\n    go(a)\n',
        'def f(a, b=1):\n    """Do it.\n\n    :param a: what\n    :param b: how\n    """\n    go(a)\n',
        'def f(a, c=2):\n    """Do it.\n\n    :param a: what\n    :param c: where\n    """\n    go(a)\n',
        'def f(a, b=1, c=2):\n    """Do it.\n\n    :param a: what\n    :param b: how\n    :param c: where\n    """\n'
        "    go(a)\n",
    ),
    scene(
        "comments belong to what stands below them",
        "x = 1\n\n# about y\ny = 2\n",
        "x = 1\n\n# about a\na = 3\n\n# about y\ny = 2\n",
        "x = 1\n\n# about b\nb = 4\n\n# about y\ny = 2\n",
        "x = 1\n\n# about a\na = 3\n\n# about b\nb = 4\n\n# about y\ny = 2\n",
    ),
    scene(
        "a comment behind a line and the line itself",
        "x = 1\n",
        "x = 1  # one\n",
        "x = 2\n",
        "x = 2  # one\n",
    ),
    scene(
        "both formatted the same, each with an addition",
        "def f(a):\n    assert (\n        a\n    ), 'why'\n    go(a)\n",
        "def f(a):\n    assert a, (\n        'why'\n    )\n    go(a)\n    on(a)\n",
        "def f(a):\n    first(a)\n    assert a, (\n        'why'\n    )\n    go(a)\n",
        "def f(a):\n    first(a)\n    assert a, (\n        'why'\n    )\n    go(a)\n    on(a)\n",
    ),
    scene(
        "new values of one class",
        "class A(Enum):\n    X = 1\n",
        "class A(Enum):\n    X = 1\n    Y = 2\n",
        "class A(Enum):\n    X = 1\n    Z = 3\n",
        "class A(Enum):\n    X = 1\n    Y = 2\n    Z = 3\n",
    ),
    scene(
        "a type that both widened",
        "def f(a: int | None = None):\n    pass\n",
        "def f(a: int | str | None = None):\n    pass\n",
        "def f(a: int | None = None, b: int = 0):\n    pass\n",
        "def f(a: int | str | None = None, b: int = 0):\n    pass\n",
    ),
    scene(
        "entries of a changelog",
        "# Changes\n\n## Unreleased\n\n- first\n\n## 1.0\n\n- start\n",
        "# Changes\n\n## Unreleased\n\n- first\n- ours\n\n## 1.0\n\n- start\n",
        "# Changes\n\n## Unreleased\n\n- first\n- theirs\n\n## 1.0\n\n- start\n",
        "# Changes\n\n## Unreleased\n\n- first\n- ours\n- theirs\n\n## 1.0\n\n- start\n",
        "CHANGELOG.md",
    ),
    scene(
        "a section of a changelog that both opened",
        "# Changes\n\n## 1.0\n",
        "# Changes\n\n## Unreleased\n\n- ours\n\n## 1.0\n",
        "# Changes\n\n## Unreleased\n\n- theirs\n\n## 1.0\n",
        "# Changes\n\n## Unreleased\n\n- ours\n\n- theirs\n\n## 1.0\n",
        "CHANGELOG.md",
    ),
    scene(
        "requirements on one line",
        'dependencies = ["a"]\n',
        'dependencies = ["a", "b"]\n',
        'dependencies = ["a", "c"]\n',
        'dependencies = ["a", "b", "c"]\n',
        "pyproject.toml",
    ),
    scene(
        "keys of a JSON text",
        '{\n  "a": 1\n}\n',
        '{\n  "a": 1,\n  "b": [1, 2]\n}\n',
        '{\n  "a": 1,\n  "c": {"d": 2}\n}\n',
        '{\n  "a": 1,\n  "b": [1, 2],\n  "c": {"d": 2}\n}\n',
        "a.json",
    ),
    scene("a sentence that both changed", "one two\n", "one 2\n", "1 two\n", None, "README.md"),
]


@pytest.mark.parametrize("given", SCENES, ids=lambda given: given.name)
def test_two_changes_of_one_text(given: Scene) -> None:
    found = resolve(Way.ENTITY, Sides(given.path, given.base, given.ours, given.theirs))

    if given.merged is None:
        assert isinstance(found, Lost)
        assert found.reason
    else:
        assert isinstance(found, Resolved), found
        assert found.text == given.merged
        assert objections(Sides(given.path, given.base, given.ours, given.theirs), found.text) == ()


@pytest.mark.parametrize("given", SCENES, ids=lambda given: given.name)
def test_the_other_way_round_the_same_things_are_there(given: Scene) -> None:
    found = resolve(Way.ENTITY, Sides(given.path, given.base, given.theirs, given.ours))

    if given.merged is None:
        assert isinstance(found, Lost)
    else:
        assert isinstance(found, Resolved), found
        words = [sorted(re.findall(r"\w+|[^\w\s,]", text)) for text in (found.text, given.merged)]
        assert words[0] == words[1]
