"""Where two sides disagree, the careful merge gives up; where they do not, nothing of either is lost or doubled."""

import re
from dataclasses import dataclass
from textwrap import dedent

import pytest

from quarterdeck.merge.lint import objections
from quarterdeck.merge.values import Lost, Resolved, Sides, Way
from quarterdeck.merge.ways import resolve

WORD = re.compile(r"\w+|[^\w\s,]")


@dataclass(frozen=True, slots=True)
class Scene:
    """`merged` None = the two sides disagree."""

    name: str
    path: str
    base: str
    ours: str
    theirs: str
    merged: str | None = None

    @property
    def sides(self) -> Sides:
        return Sides(self.path, self.base, self.ours, self.theirs)


def scene(name: str, base: str, ours: str, theirs: str, merged: str | None = None, *, path: str = "a.py") -> Scene:
    texts = [dedent(text).lstrip("\n") for text in (base, ours, theirs)]
    return Scene(name, path, texts[0], texts[1], texts[2], None if merged is None else dedent(merged).lstrip("\n"))


VALUES = [
    scene("a version as a tuple", "V = (1, 2)\n", "V = (1, 3)\n", "V = (2, 0)\n"),
    scene("a version as a text", 'V = "1.2.0"\n', 'V = "1.3.0"\n', 'V = "1.2.1"\n'),
    scene("a date", 'D = "2026-01-01"\n', 'D = "2026-02-01"\n', 'D = "2026-01-15"\n'),
    scene("arguments known by their place", "S = Point(1, 2)\n", "S = Point(3, 4)\n", "S = Point(5, 6)\n"),
    scene(
        "another argument on each side",
        "S = Point(1, 2)\n",
        "S = Point(3, 2)\n",
        "S = Point(1, 4)\n",
        "S = Point(3, 4)\n",
    ),
    scene("an argument without a name by each", "f(a)\n", "f(a, b)\n", "f(a, c)\n"),
    scene("numbers that are one value", "O = [0, 0]\n", "O = [5, 0]\n", "O = [0, 7]\n"),
    scene(
        "arguments of a type",
        "x: tuple[int, int]\n",
        "x: tuple[float, int]\n",
        "x: tuple[int, str]\n",
        "x: tuple[float, str]\n",
    ),
    scene(
        "types in no order",
        "x: Union[int, str]\n",
        "x: Union[int, str, A]\n",
        "x: Union[int, str, B]\n",
        "x: Union[int, str, A, B]\n",
    ),
    scene(
        "an entry that one side dropped and the other replaced",
        'R = ["a", "six>=1.10"]\n',
        'R = ["a"]\n',
        'R = ["a", "six>=1.16"]\n',
    ),
    scene(
        "a list that one side sorted and the other cut",
        'N = ["b", "a", "c"]\n',
        'N = ["a", "b", "c"]\n',
        'N = ["b", "c"]\n',
        'N = ["b", "c"]\n',
    ),
    scene(
        "a tuple stays one with one element",
        "T = ('a', 'b', 'c')\n",
        "T = ('a', 'b')\n",
        "T = ('b', 'c')\n",
        "T = ('b',)\n",
    ),
    scene("two factors", "x = total\n", "x = total + fee\n", "x = total * rate\n"),
    scene("two terms", "x = total\n", "x = total + fee\n", "x = total + tax\n", "x = total + fee + tax\n"),
    scene("another operator on each side", "if a:\n    b()\n", "if a and c:\n    b()\n", "if a or d:\n    b()\n"),
    scene(
        "a condition that both narrowed",
        "if a is None:\n    b()\n",
        "if a is None and c:\n    b()\n",
        "if a is None and d:\n    b()\n",
        "if a is None and c and d:\n    b()\n",
    ),
    scene("two factors of one product", "x = 5 * 60\n", "x = 10 * 60\n", "x = 5 * 30\n"),
    scene("a comparison and what is compared", "if a < 5:\n    b()\n", "if a <= 5:\n    b()\n", "if a < 9:\n    b()\n"),
    scene("two links of a chain", "x = a.b.c\n", "x = z.b.c\n", "x = a.b.d\n"),
    scene(
        "two conditions",
        "if a < 1 and b < 2:\n    c()\n",
        "if a < 9 and b < 2:\n    c()\n",
        "if a < 1 and b < 8:\n    c()\n",
        "if a < 9 and b < 8:\n    c()\n",
    ),
    scene("a type and a value", "x = 1\n", "x: int = 1\n", "x = 2\n", "x: int = 2\n"),
    scene("another value and an addition to it", "x = 1\n", "x = 2\n", "x += 1\n"),
    scene("a key set by both", "f()\n", "f()\nd['k'] = 1\n", "f()\nd['k'] = 2\n"),
    scene("calls one behind the other", "x = q\n", "x = q.filter(a)\n", "x = q.limit(b)\n"),
    scene("values without brackets", "x = a, b\n", "x = a, b, c\n", "x = a, b, d\n"),
    scene(
        "lines of a text, each with its indentation",
        'T = """\na:\nb: 1\nx:\ny: 2\n"""\n',
        'T = """\na:\n  b: 1\nx:\ny: 2\n"""\n',
        'T = """\na:\nb: 1\nx:\n  y: 2\n"""\n',
        'T = """\na:\n  b: 1\nx:\n  y: 2\n"""\n',
    ),
    scene("lines put into one text at one place", 'T = """\na\n"""\n', 'T = """\na\nb\n"""\n', 'T = """\na\nc\n"""\n'),
    scene(
        "a line of a docstring that both changed",
        'def f():\n    """Do.\n\n    This.\n    """\n',
        'def f():\n    """Do.\n\n    That.\n    """\n',
        'def f():\n    """Do.\n\n    Those.\n    """\n',
    ),
    scene(
        "a docstring that both made longer",
        'def f():\n    """Do."""\n    go()\n',
        'def f():\n    """Do.\n\n    :param a: one\n    """\n    go()\n',
        'def f():\n    """Do.\n\n    :param b: two\n    """\n    go()\n',
        'def f():\n    """Do.\n\n    :param a: one\n    :param b: two\n    """\n    go()\n',
    ),
    scene(
        "a parameter that needs its name",
        "def f(a):\n    pass\n",
        "def f(a, *, b, d=1):\n    pass\n",
        "def f(a, c):\n    pass\n",
        "def f(a, c, *, b, d=1):\n    pass\n",
    ),
    scene(
        "two ways to take the rest", "def f(a):\n    pass\n", "def f(a, *, b):\n    pass\n", "def f(a, *c):\n    pass\n"
    ),
]

STATEMENTS = [
    scene(
        "a statement moved out of a block that the other side put below a header",
        "def t(db, s, d, n):\n    s.balance = s.balance - n\n    write_audit_record(db, s, d, n)\n"
        "    d.balance = d.balance + n\n    db.commit()\n",
        "def t(db, s, d, n):\n    with db.lock():\n        s.balance = s.balance - n\n"
        "        write_audit_record(db, s, d, n)\n        d.balance = d.balance + n\n    db.commit()\n",
        "def t(db, s, d, n):\n    s.balance = s.balance - n - fee\n    d.balance = d.balance + n\n    db.commit()\n"
        "    write_audit_record(db, s, d, n)\n",
    ),
    scene(
        "a module's statement that one put below a header, and the other with its neighbour below another",
        "call(x)\nmore(y)\n",
        "with one:\n    first()\n    call(x)\n    more(y)\n",
        "with other:\n    call(x)\nmore(y)\n",
        "with one:\n    first()\n    with other:\n        call(x)\n    more(y)\n",
    ),
    scene(
        "statements that both put below headers, each below another",
        "call(x)\nmore(y)\n",
        "with one:\n    call(x)\n    more(y)\n",
        "with other:\n    first()\n    call(x)\n    more(y)\n",
    ),
    scene(
        "statements that both put below headers, one of them in another order",
        "call(1)\nfrom a import b\ncall(3)\ncall(4)\n",
        "with one:\n    call(1)\n    from a import b\ncall(3)\ncall(4)\n",
        "with other:\n    call(4)\n    from a import b\n    call(1)\ncall(3)\n",
    ),
    scene(
        "statements that both put below a header, one with a line of its own above it",
        "call(x)\nmore(y)\n",
        "with one:\n    call(x)\n    more(y)\n",
        "first()\nwith other:\n    if a:\n        call(x)\n        more(y)\n",
    ),
    scene(
        "statements that both put below one header",
        "# why\ncall(x)\nmore(y)\n",
        "# why\ntry:\n    call(x)\n    first()\n    more(y)\nexcept One:\n    a()\n",
        "# why\ntry:\n    call(x)\n    more(z)\nexcept Other:\n    b()\nfinally:\n    c()\n",
        "# why\ntry:\n    call(x)\n    first()\n    more(z)\nexcept One:\n    a()\n"
        "except Other:\n    b()\nfinally:\n    c()\n",
    ),
    scene(
        "an import that both added, each at another place",
        "import a\nimport z\n",
        "import a\nimport z\nimport json\n",
        "import a\nimport json\nuse(json)\nimport z\n",
        "import a\nimport json\nuse(json)\nimport z\n",
    ),
    scene(
        "a call that both added, each at another place",
        "def f():\n    a()\n    b()\n",
        "def f():\n    go()\n    a()\n    b()\n",
        "def f():\n    a()\n    b()\n    go()\n",
    ),
    scene(
        "a call that one added in the place of the one above it",
        "def f():\n    a(x)\n    b()\n",
        "def f():\n    go()\n    b()\n",
        "def f():\n    a(x)\n    go()\n    b()\n",
    ),
    scene(
        "an assertion that both added, each at another place",
        "def f():\n    a()\n    b()\n",
        "def f():\n    a()\n    assert ok\n    b()\n",
        "def f():\n    a()\n    b()\n    assert ok\n",
        "def f():\n    a()\n    assert ok\n    b()\n    assert ok\n",
    ),
    scene(
        "a call that both added, one of them below a condition",
        "def f():\n    a()\n",
        "def f():\n    a()\n    if x:\n        go()\n",
        "def f():\n    a()\n    go()\n",
    ),
    scene(
        "a call that both added, one of them below a header together with what stands there",
        "def f():\n    a(x, y)\n",
        "def f():\n    go()\n    a(x, z)\n",
        "def f():\n    if x:\n        go()\n        a(x, y)\n",
    ),
    scene(
        "a call that one added in front of what it put below a header, and the other below a condition",
        "def f():\n    a(x, y)\n",
        "def f():\n    if x:\n        go()\n    a(x, y)\n",
        "def f():\n    go()\n    with b:\n        a(x, y)\n",
    ),
    scene(
        "a call that both added, each below its own condition",
        "def f():\n    a()\n",
        "def f():\n    a()\n    if x:\n        go()\n",
        "def f():\n    a()\n    if y:\n        go()\n",
        "def f():\n    a()\n    if x:\n        go()\n    if y:\n        go()\n",
    ),
    scene(
        "one header above all statements and above some of them",
        "call(x)\nmore(y)\nend(z)\n",
        "with lock:\n    call(x)\n    more(y)\n    end(z)\n",
        "with lock:\n    call(x)\n    more(y)\nend(z)\n",
    ),
    scene(
        "a class that both added, one with a decorator",
        "@dataclass\nclass Old:\n    x: int = 1\n",
        "@dataclass\nclass Old:\n    x: int = 1\n\n\nclass Result:\n    ok: bool = True\n",
        "@dataclass\nclass Old:\n    x: int = 1\n\n\n@dataclass\nclass Result:\n    value: int = 0\n",
    ),
    scene(
        "the same exception caught twice",
        "try:\n    go()\nexcept ValueError:\n    a()\n",
        "try:\n    go()\nexcept ValueError:\n    a()\nexcept KeyError:\n    b()\nexcept OSError:\n    c()\n",
        "try:\n    go()\nexcept ValueError:\n    a()\nexcept KeyError:\n    d()\n",
    ),
    scene(
        "what catches everything stays last",
        "try:\n    go()\nexcept ValueError:\n    a()\n",
        "try:\n    go()\nexcept ValueError:\n    a()\nexcept Exception:\n    b()\n",
        "try:\n    go()\nexcept ValueError:\n    a()\nexcept KeyError:\n    d()\n",
        "try:\n    go()\nexcept ValueError:\n    a()\nexcept KeyError:\n    d()\nexcept Exception:\n    b()\n",
    ),
    scene(
        "one case twice",
        'match x:\n    case "a":\n        f()\n',
        'match x:\n    case "a":\n        f()\n    case "b":\n        g()\n',
        'match x:\n    case "a":\n        f()\n    case "b":\n        h()\n',
    ),
    scene(
        "the case for all the rest stays last",
        'match x:\n    case "a":\n        f()\n',
        'match x:\n    case "a":\n        f()\n    case _:\n        g()\n',
        'match x:\n    case "a":\n        f()\n    case "b":\n        h()\n',
        'match x:\n    case "a":\n        f()\n    case "b":\n        h()\n    case _:\n        g()\n',
    ),
    scene(
        "two main programs",
        "x = 1\n",
        'x = 1\n\nif __name__ == "__main__":\n    run()\n',
        'x = 1\n\nif __name__ == "__main__":\n    main()\n',
    ),
    scene(
        "imports for types alone",
        "x = 1\n",
        "x = 1\nif TYPE_CHECKING:\n    from a import b\n",
        "x = 1\nif TYPE_CHECKING:\n    from c import d\n",
        "x = 1\nif TYPE_CHECKING:\n    from a import b\n    from c import d\n",
    ),
    scene(
        "one value set by both",
        "def f():\n    go()\n",
        "def f():\n    timeout = 5\n    go(timeout)\n",
        "def f():\n    timeout = 30\n    go(timeout)\n",
    ),
    scene(
        "a branch that one side removed and the other changed, beside a new one",
        'if x:\n    a()\nelif cmd == "a":\n    handle_a(x)\nelif cmd == "b":\n    handle_b(x)\n',
        'if x:\n    a()\nelif cmd == "b":\n    handle_b(x)\nelif cmd == "c":\n    handle_c(x)\n',
        'if x:\n    a()\nelif cmd == "a":\n    handle_a(x)\n    count += 1\nelif cmd == "b":\n    handle_b(x)\n',
    ),
    scene(
        "imports from the future stand first",
        '"""Doc."""\nimport re\n',
        '"""Doc."""\nimport os\nimport re\n',
        '"""Doc."""\nfrom __future__ import annotations\nimport re\n',
        '"""Doc."""\nfrom __future__ import annotations\nimport os\nimport re\n',
    ),
    scene(
        "a docstring stands first",
        "import re\n",
        "import os\nimport re\n",
        '"""Doc."""\nimport re\n',
        '"""Doc."""\nimport os\nimport re\n',
    ),
    scene("two docstrings", "import re\n", '"""One."""\nimport re\n', '"""Other."""\nimport re\n'),
    scene(
        "overloads of one function",
        "@overload\ndef f(a: int) -> int: ...\ndef f(a): return a\n",
        "@overload\ndef f(a: int) -> int: ...\n@overload\ndef f(a: str) -> str: ...\ndef f(a): return a\n",
        "@overload\ndef f(a: int) -> int: ...\n@overload\ndef f(a: bytes) -> bytes: ...\ndef f(a): return a\n",
        "@overload\ndef f(a: int) -> int: ...\n@overload\ndef f(a: str) -> str: ...\n"
        "@overload\ndef f(a: bytes) -> bytes: ...\ndef f(a): return a\n",
    ),
    scene(
        "setter and deleter of one property",
        "class A:\n    @property\n    def x(self): ...\n",
        "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n",
        "class A:\n    @property\n    def x(self): ...\n    @x.deleter\n    def x(self): ...\n",
        "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n"
        "    @x.deleter\n    def x(self): ...\n",
    ),
    scene(
        "blocks indented by tabs, with comments at their ends",
        "def f():\n\ta()\n\t# end\n\ndef g():\n\tb()\n\t# end\n",
        "def f():\n\ta()\n\tone()\n\t# end\n\ndef g():\n\tb()\n\t# end\n",
        "def f():\n\ta()\n\t# end\n\ndef g():\n\tb()\n\t# other end\n",
        "def f():\n\ta()\n\tone()\n\t# end\n\ndef g():\n\tb()\n\t# other end\n",
    ),
]

SETTINGS = "ignore_missing_imports = True\n"
TEXTS = [
    scene(
        "sections of settings that have a line in common",
        "[mypy]\n",
        f"[mypy]\n\n[mypy-a.*]\n{SETTINGS}",
        f"[mypy]\n\n[mypy-b.*]\n{SETTINGS}",
        f"[mypy]\n\n[mypy-a.*]\n{SETTINGS}\n[mypy-b.*]\n{SETTINGS}",
        path="mypy.ini",
    ),
    scene(
        "tables",
        "x = 1\n",
        "x = 1\n\n[tool.a]\nstrict = true\n",
        "x = 1\ny = 2\n\n[tool.b]\nstrict = true\n",
        "x = 1\ny = 2\n\n[tool.a]\nstrict = true\n\n[tool.b]\nstrict = true\n",
        path="a.toml",
    ),
    scene("a setting with two values", "a = 1\n", "a = 1\nb = 5\n", "a = 1\nb = 6\n", path="a.toml"),
    scene(
        "a setting with two values at two places",
        "a = 1\nc = 2\n",
        "b = 5\na = 1\nc = 2\n",
        "a = 1\nc = 2\nb = 6\n",
        path="a.toml",
    ),
    scene("one section opened twice", "[a]\nx=1\n", "[a]\nx=1\n[b]\ny=1\n", "[a]\nx=1\n[b]\nz=1\n", path="a.ini"),
    scene("a version of a project", 'version = "1.2.0"\n', 'version = "1.3.0"\n', 'version = "1.2.1"\n', path="a.toml"),
    scene(
        "requirements over lines",
        'dependencies = [\n  "a",\n]\n',
        'dependencies = [\n  "a",\n  "b",\n]\n',
        'dependencies = [\n  "a",\n  "c",\n]\n',
        'dependencies = [\n  "a",\n  "b",\n  "c",\n]\n',
        path="pyproject.toml",
    ),
    scene(
        "two versions of one requirement",
        'dependencies = [\n  "a",\n]\n',
        'dependencies = [\n  "a",\n  "b>=1",\n]\n',
        'dependencies = [\n  "a",\n  "b>=2",\n]\n',
        path="pyproject.toml",
    ),
    scene("numbers in JSON", '{"range": [1, 2]}\n', '{"range": [1, 3]}\n', '{"range": [0, 2]}\n', path="a.json"),
    scene("a key of JSON with two values", '{"a": 1}\n', '{"a": 1, "b": 2}\n', '{"b": 3, "a": 1}\n', path="a.json"),
    scene("a setting in YAML", "a: 1\n", "a: 1\ntimeout: 5\n", "a: 1\ntimeout: 10\n", path="a.yaml"),
    scene("blocks in YAML", "x: 1\n", "x: 1\na:\n  on: true\n", "x: 1\nb:\n  on: true\n", path="a.yaml"),
    scene("variables", "A=1\n", "A=1\nPORT=1\n", "A=1\nPORT=2\n", path=".env"),
    scene(
        "functions of another language",
        "x()\n",
        "x()\nfunction f() {\n  return 1;\n}\n",
        "x()\nfunction g() {\n  return 2;\n}\n",
        path="a.js",
    ),
    scene("a rule of make", "a:\n\tb\n", "a:\n\tb\nc:\n\td\n", "a:\n\tb\ne:\n\tf\n", path="Makefile"),
    scene("requirements", "a\n", "a\nb==1\n", "a\nc\nb==1\n", "a\nb==1\nc\n", path="requirements-dev.txt"),
    scene("a requirement in two versions", "a\n", "a\nB_x==1\n", "a\nb-x==2\n", path="requirements.txt"),
    scene("rules of ignored files", "*.o\n", "*.o\n*.a\n", "*.o\n*.b\n", "*.o\n*.a\n*.b\n", path=".gitignore"),
    scene("rules that take others back", "*.o\n", "*.o\n*.a\n", "*.o\n!b.a\n", path=".gitignore"),
    scene("owners", "* @a\n", "* @a\n/x @b\n", "* @a\n/y @c\n", "* @a\n/x @b\n/y @c\n", path=".github/CODEOWNERS"),
    scene("two owners of one place", "* @a\n", "* @a\n/x @b\n", "* @a\n/x @c\n", path="CODEOWNERS"),
    scene(
        "paragraphs",
        "# A\n\ntext\n",
        "# A\n\ntext\n\nOurs, over\ntwo lines.\n",
        "# A\n\ntext\n\nTheirs.\n",
        "# A\n\ntext\n\nOurs, over\ntwo lines.\n\nTheirs.\n",
        path="README.md",
    ),
    scene("a paragraph that both go on with", "text\n", "text\nours\n", "text\ntheirs\n", path="README.md"),
    scene("sections of one name", "# A\n", "# A\n\n## B\n\nours\n", "# A\n\n## B\n\ntheirs\n", path="README.md"),
    scene(
        "code in a text",
        "# A\n\n```sh\na\n```\n",
        "# A\n\n```sh\na\n- b\n```\n",
        "# A\n\n```sh\na\n- c\n```\n",
        path="README.md",
    ),
    scene(
        "entries of a changelog with a line in common",
        "Version 2\n---------\n\n-   a\n",
        "Version 2\n---------\n\n-   a\n-   ours.\n    See below.\n",
        "Version 2\n---------\n\n-   a\n-   theirs.\n    See below.\n",
        "Version 2\n---------\n\n-   a\n-   ours.\n    See below.\n-   theirs.\n    See below.\n",
        path="CHANGES.rst",
    ),
]


@pytest.mark.parametrize("given", [*VALUES, *STATEMENTS, *TEXTS], ids=lambda given: given.name)
def test_two_changes_of_one_text(given: Scene) -> None:
    found = resolve(Way.ENTITY, given.sides)

    if given.merged is None:
        assert isinstance(found, Lost), found.text
        assert found.reason
    else:
        assert isinstance(found, Resolved), found
        assert found.text == given.merged
        assert objections(given.sides, found.text) == ()


@pytest.mark.parametrize("given", [*VALUES, *STATEMENTS, *TEXTS], ids=lambda given: given.name)
def test_the_other_way_round_the_same_is_lost_or_there(given: Scene) -> None:
    found = resolve(Way.ENTITY, Sides(given.path, given.base, given.theirs, given.ours))

    if given.merged is None:
        assert isinstance(found, Lost), found.text
    else:
        assert isinstance(found, Resolved), found
        assert sorted(WORD.findall(found.text)) == sorted(WORD.findall(given.merged))


def test_a_union_keeps_what_one_side_does_in_any_case() -> None:
    base = "def f(a):\n    start()\n    end()\n"
    ours = "def f(a):\n    start()\n    if a:\n        go()\n    end()\n"
    theirs = "def f(a):\n    start()\n    go()\n    end()\n"
    found = resolve(Way.UNION, Sides("a.py", base, ours, theirs))
    assert isinstance(found, Resolved)
    assert "    if a:\n        go()\n    go()\n" in found.text


def test_a_text_that_mixes_line_ends_is_merged_by_what_its_lines_say() -> None:
    base = "one\r\ntwo\r\nthree\r\nfour\r\nfive\r\n"
    ours = "one\ntwo\nthree\r\nfour\r\nfive\r\nsix\r\n"
    theirs = "two\r\nTHREE\r\nfour\r\nfive\r\n"
    for way in (Way.GIT, Way.UNION):
        found = resolve(way, Sides("a.rs", base, ours, theirs))
        assert found == Resolved("two\r\nTHREE\r\nfour\r\nfive\r\nsix\r\n")


def test_a_mark_and_the_line_ends_of_the_platform_stay_as_they_are() -> None:
    base, ours, theirs = "x = 1\n", "import a\nx = 1\n", "x = 1\n\n\ndef f():\n    return x\n"
    texts = [
        "\ufeff" + text.replace("\n", "\r\n") for text in (base, ours, theirs, theirs.replace("x", "import a\nx", 1))
    ]
    assert resolve(Way.ENTITY, Sides("a.py", texts[0], texts[1], texts[2])) == Resolved(texts[3])


@pytest.mark.parametrize(
    ("ours", "theirs", "united", "words"),
    [
        (
            "class A:\n    @property\n    def x(self):\n        return 1\n",
            "class A:\n    @property\n    def x(self) -> int:\n        return 2\n",
            "class A:\n    @property\n    def x(self):\n        return 1\n"
            "    @property\n    def x(self) -> int:\n        return 2\n",
            "definition of x",
        ),
        ("def f[T](x): ...\n) \n", "x = 1\n", "def f[T](x): ...\nx = 1\n", "cannot be checked"),
        (
            "def f():\n    t = 1\n",
            "def f():\n    t = 2\n",
            "def f():\n    t = 1\n    t = 2\n",
            "replaced before it is used",
        ),
        (
            "try: a()\nexcept A: b()\n",
            "try: a()\nexcept A: c()\n",
            "try: a()\nexcept A: b()\nexcept A: c()\n",
            "except A in the module stands 2",
        ),
        (
            "if a: b()\nelif c: d()\n",
            "if a: b()\nelif c: e()\n",
            "if a: b()\nelif c: d()\nelif c: e()\n",
            "elif c stands 2",
        ),
        (
            "match a:\n    case 1: b()\n",
            "match a:\n    case 1: c()\n",
            "match a:\n    case 1: b()\n    case 1: c()\n",
            "case 1 if True in the module stands 2",
        ),
        (
            "import os\n",
            "from __future__ import annotations\n",
            "import os\nfrom __future__ import annotations\n",
            "does not compile",
        ),
    ],
)
def test_what_a_union_must_not_hold(ours: str, theirs: str, united: str, words: str) -> None:
    found = objections(Sides("a.py", "", ours, theirs), united)
    assert any(words in complaint for complaint in found), found


@pytest.mark.parametrize("path", ["a.toml", "a.ini", "a.json"])
def test_a_union_of_settings_must_read_as_settings(path: str) -> None:
    texts = {
        "a.toml": ("a = 1\n", "a = 2\n"),
        "a.ini": ("[s]\na = 1\n", "[s]\na = 2\n"),
        "a.json": ('{"a": 1}\n', '{"a": 2}\n'),
    }
    sides = Sides(path, "", *texts[path])
    found = resolve(Way.UNION, sides)
    assert isinstance(found, Resolved)
    assert any("not what it should be" in complaint for complaint in objections(sides, found.text))
    assert objections(Sides(path, "", "[", "["), "[[") == ()
