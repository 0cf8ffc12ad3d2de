"""A Python text as a tree of statements that spells the text exactly.

Rules
- Every character belongs to one place: joined again, the tree is the text.
- A statement owns the blank lines and comments above it, its decorators, and the comment at the end of its line.
- Clauses (`elif`, `except`, …) are parts of the statement that they go on with.
- What is no Python, or nests deeper than the limits, has no tree: the reason is said.
- Nothing recurses over what the text decides, but for the nesting of blocks and brackets, which is bounded.
"""

import ast
import keyword
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from quarterdeck.merge.lines import split
from quarterdeck.merge.nesting import CLOSING, DEEPEST_BRACKET, LONGEST_CHAIN, OPENING, surely_flat

DEEPEST_BLOCK: Final = 40

_TOKEN: Final = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<string>[rRbBuUfFtT]{0,2}(?:
          \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
        | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
        | "[^"\\\n]*(?:\\.[^"\\\n]*)*"
        | '[^'\\\n]*(?:\\.[^'\\\n]*)*'))
    | (?P<joined>\\\r?\n)
    | (?P<newline>\r?\n)
    | (?P<space>[ \t\f]+)
    | (?P<word>\w+)
    | (?P<op>\\.|\*\*=|//=|>>=|<<=|\.\.\.|->|:=|\*\*|//|>>|<<|[-+*/%@&|^=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_WARNINGS: Final = threading.Lock()
"""Held while the process's list of filters is another one."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the language, with what stands between it and the word before."""

    text: str
    before: str = ""
    is_string: bool = False

    @property
    def whole(self) -> str:
        return self.before + self.text


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line."""

    lead: str
    """Blank lines and comments above it."""
    indent: str
    tokens: tuple[Token, ...]
    end: str
    """What follows the last token: a comment, the line feed."""
    number: int
    """Of its first token's physical line, from 1."""

    @property
    def text(self) -> str:
        return self.lead + self.code + self.end

    @property
    def code(self) -> str:
        return self.indent + "".join(token.whole for token in self.tokens)

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)


@dataclass(slots=True)
class Part:
    """One clause: its decorators, its header and its block."""

    decorators: list[Line]
    header: Line
    body: "list[Statement] | None" = None
    rest: str = ""
    """Comments and blank lines at the end of the block."""


@dataclass(slots=True)
class Statement:
    """A statement; several parts where it has clauses."""

    parts: list[Part]
    kind: str
    name: str
    _text: str | None = None
    _key: str | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = "".join(_spelled(self))
        return self._text

    @property
    def key(self) -> str:
        """The same for two statements that differ in white space and comments alone."""
        if self._key is None:
            self._key = "\0".join(_words(self))
        return self._key

    @property
    def first(self) -> Line:
        return self.parts[0].decorators[0] if self.parts[0].decorators else self.parts[0].header

    @property
    def lead(self) -> str:
        return self.first.lead

    @property
    def bare(self) -> str:
        """Its text without what stands above it."""
        return self.text[len(self.lead) :]

    def without_lead(self) -> "Statement":
        """The statement that spells `bare`."""
        part = self.parts[0]
        first = replace(self.first, lead="")
        heads = [first, *part.decorators[1:]] if part.decorators else []
        header = part.header if part.decorators else first
        return Statement([Part(heads, header, part.body, part.rest), *self.parts[1:]], self.kind, self.name)


@dataclass(slots=True)
class Module:
    """A whole text."""

    body: list[Statement] = field(default_factory=list)
    rest: str = ""

    @property
    def text(self) -> str:
        return "".join(statement.text for statement in self.body) + self.rest


def _spelled(statement: Statement) -> Iterator[str]:
    for part in statement.parts:
        for line in part.decorators:
            yield line.text
        yield part.header.text
        for inner in part.body or ():
            yield inner.text
        yield part.rest


def _words(statement: Statement) -> Iterator[str]:
    for part in statement.parts:
        for line in (*part.decorators, part.header):
            yield from line.words
            yield "\n"
        for inner in part.body or ():
            yield inner.key
        yield "\t"


def within(statement: Statement) -> Iterator[Statement]:
    """All that stands in its blocks, however deep."""
    for part in statement.parts:
        for inner in part.body or ():
            yield inner
            yield from within(inner)


# --- reading ----------------------------------------------------------------------------------------------


def syntax(text: str) -> ast.Module | str:
    """The compiler's own tree, or why there is none."""
    if "\r" in text.replace("\r\n", ""):
        return "a carriage return that ends no line"
    reason = too_deep(text)
    if reason:
        return reason
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the text's author may hear is none of ours to print
            return ast.parse(text)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"it cannot be parsed: {str(error) or type(error).__name__}"


def compiles(text: str) -> str:
    """Why the compiler refuses a text; empty = it takes it. Nothing of it is run."""
    found = syntax(text)
    if isinstance(found, str):
        return found
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "merged", "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"it cannot be compiled: {str(error) or type(error).__name__}"
    return ""


def tree(text: str) -> Module | str:
    """The tree of a text, or why it has none."""
    problem = syntax(text)
    if isinstance(problem, str):
        return problem
    lines, rest = logical(text)
    return _build(lines, rest)


def logical(text: str) -> tuple[list[Line], str]:
    """The logical lines of a text that parses, and what stands after the last one."""
    lines: list[Line] = []
    lead: list[str] = []
    tokens: list[Token] = []
    between: list[str] = []
    indent, depth, number, start = "", 0, 1, 1
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group()
        if kind == "newline" and depth == 0:
            if tokens:
                lines.append(Line("".join(lead), indent, tuple(tokens), "".join(between) + word, start))
                lead = []
            else:
                lead += [*between, word]
            tokens, between = [], []
        elif kind in ("space", "comment", "joined", "newline"):
            between.append(word)
        else:
            if not tokens:
                indent, start = "".join(between), number
                between = []
            tokens.append(Token(word, "".join(between), kind == "string"))
            between = []
            depth += (word in OPENING) - (word in CLOSING) if kind == "op" else 0
        number += word.count("\n")
    if tokens:
        lines.append(Line("".join(lead), indent, tuple(tokens), "".join(between), start))
        lead, between = [], []
    return lines, "".join([*lead, *between])


def too_deep(text: str) -> str:
    """Why the compiler shall not see this text: it would recurse as deep as the text says."""
    if surely_flat(text):
        return ""
    depth = chain = 0
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group()
        if kind == "op" and word in OPENING:
            depth, chain = depth + 1, 0
            if depth > DEEPEST_BRACKET:
                return f"brackets nest deeper than {DEEPEST_BRACKET}"
        elif kind == "op" and word in CLOSING:
            depth = max(depth - 1, 0)
            chain += 1
        elif (kind == "op" and word == ",") or (kind == "newline" and depth == 0):
            chain = 0
        elif kind in ("op", "word", "string"):
            chain += 1
        if chain > LONGEST_CHAIN:
            return f"an expression of more than {LONGEST_CHAIN} words"
    return ""


_CONTINUES: Final = frozenset({"elif", "else", "except", "finally"})
_COMPOUND: Final = frozenset({"if", "for", "while", "try", "with", "match", "case"})


@dataclass(slots=True)
class _Open:
    """A block that is being read."""

    width: int
    body: list[Statement]
    owner: Part | None


def _build(lines: Sequence[Line], rest: str) -> Module | str:
    module = Module()
    blocks = [_Open(0, module.body, None)]
    decorators: list[Line] = []
    for at, line in enumerate(lines):
        width = len(line.indent.expandtabs(8))
        lead = line.lead
        while width < blocks[-1].width:
            lead = _close(blocks.pop(), lead)
        if lead != line.lead:
            line = Line(lead, line.indent, line.tokens, line.end, line.number)
        if line.tokens[0].text == "@":
            decorators.append(line)
            continue
        part = Part(decorators, line)
        decorators = []
        here = blocks[-1].body
        if line.tokens[0].text in _CONTINUES and here:
            here[-1].parts.append(part)
        else:
            here.append(Statement([part], *_named(line)))
        deeper = at + 1 < len(lines) and len(lines[at + 1].indent.expandtabs(8)) > width
        if deeper and line.tokens[-1].text == ":":
            part.body = []
            if len(blocks) > DEEPEST_BLOCK:
                return f"blocks nest deeper than {DEEPEST_BLOCK}"
            blocks.append(_Open(len(lines[at + 1].indent.expandtabs(8)), part.body, part))
    while len(blocks) > 1:
        rest = _close(blocks.pop(), rest)
    module.rest = rest
    return module


def _close(block: _Open, lead: str) -> str:
    """Give the block what is indented like it of the lines that follow it; returns the others."""
    lines = split(lead)
    last = 0
    for number, line in enumerate(lines, 1):
        columns = line.expandtabs(8)
        if line.strip() and len(columns) - len(columns.lstrip(" \f")) >= block.width:
            last = number
    if block.owner is not None:
        block.owner.rest += "".join(lines[:last])
    return "".join(lines[last:])


def _named(line: Line) -> tuple[str, str]:
    """Kind and name of the statement that begins with this line."""
    words = line.words
    first = words[1] if words[0] == "async" and len(words) > 1 else words[0]
    after = words.index(first) + 1
    if first in ("def", "class"):
        return ("function" if first == "def" else "class"), words[after] if after < len(words) else ""
    if first == "import":
        return "import", "import " + "".join(words[1:])
    if first == "from":
        until = words.index("import") if "import" in words else len(words)
        return "import", "from " + "".join(words[1:until])
    if first in _COMPOUND and (words[-1] == ":" or keyword.iskeyword(first)):
        return first, ""
    if keyword.iskeyword(words[0]):
        return "simple", words[0]
    if all(token.is_string for token in line.tokens):
        return "text", ""
    target = _target(line.tokens)
    if target:
        return "assignment", target
    return "simple", ""


def _target(tokens: Sequence[Token]) -> str:
    """What an assignment assigns to; empty = it is none."""
    depth = 0
    name: list[str] = []
    annotated = False
    for token in tokens:
        if token.text in ("lambda",) and not token.is_string and depth == 0:
            return ""
        if depth == 0 and not token.is_string:
            if token.text == "=":
                return "".join(name)
            if token.text.endswith("=") and token.text not in ("==", "!=", "<=", ">=", ":="):
                return "".join(name) + token.text
            if token.text == ":":
                annotated = True
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if not annotated:
            name.append(token.text)
    return "".join(name) if annotated else ""
