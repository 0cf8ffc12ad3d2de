"""What our own source says of itself, for the pages that are written from it, and how they show it.

Rules
- Docstrings are read from the source, where neither Python nor pydantic keeps them; nothing of it is run.
- The same source gives the same words, on every version of Python.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

Row = tuple[str, ...]


class Source:
    """The docstrings that pydantic and Python themselves do not keep: those below a class's attributes."""

    def __init__(self, module: ModuleType) -> None:
        self.text = Path(str(module.__file__)).read_text(encoding="utf-8")
        self.classes = {node.name: node for node in ast.parse(self.text).body if isinstance(node, ast.ClassDef)}

    def attributes(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(name, annotation as written, docstring) of the class's own attributes, in their order."""
        body = self.classes[name].body
        for node, after in zip(body, [*body[1:], None], strict=True):
            said = ast.get_docstring(ast.Module([after], [])) if isinstance(after, ast.Expr) else None
            match node:
                case ast.AnnAssign(target=ast.Name(id=attribute)):
                    yield attribute, ast.unparse(node.annotation), one_line(said)
                case ast.Assign(targets=[ast.Name(id=attribute)]):
                    yield attribute, "", one_line(said)
                case _:
                    pass

    def doc(self, name: str) -> str:
        """The class's docstring, on one line."""
        return one_line(ast.get_docstring(self.classes[name]))

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """(heading, classes) as the comments of the form `# --- heading ---` divide the module."""
        heads = [(found.start(), found[1]) for found in re.finditer(r"^# --- (.+?) -{2,}$", self.text, re.MULTILINE)]
        lines = [0]
        for line in self.text.splitlines(keepends=True):
            lines.append(lines[-1] + len(line))
        for number, (start, head) in enumerate(heads):
            end = heads[number + 1][0] if number + 1 < len(heads) else len(self.text)
            yield head, [name for name, node in self.classes.items() if start < lines[node.lineno - 1] < end]


def one_line(text: str | None) -> str:
    """A text without its line ends."""
    return " ".join((text or "").split())


def table(head: Row, rows: list[Row]) -> str:
    """A Markdown table; a column that is empty everywhere is left out."""
    keep = [number for number in range(len(head)) if number == 0 or any(row[number] for row in rows)]
    lines = [[head[number] for number in keep], ["---"] * len(keep)]
    lines += [[row[number].replace("|", "\\|") for number in keep] for row in rows]
    return "\n".join(re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join(cells)} |") for cells in lines)


def code(text: str) -> str:
    """As code in Markdown; nothing stays nothing."""
    return f"`{text}`" if text else ""
