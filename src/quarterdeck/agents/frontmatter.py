"""The front matter of an agent file: a small YAML mapping between two `---` lines, and the prompt below it.

Rules
- Bounded before it is built: bytes, nesting and parts. Aliases, tags and duplicate keys are refused.
- Values keep their plain YAML types; whoever reads them says what they must be.
- Files written for Claude Code are often not valid YAML (a colon in a description); they may be read leniently, line
  by line, as that program does.
"""

import re
from typing import Any, Final

import yaml

from quarterdeck.kernel.failures import BadConfiguration

MAX_BYTES: Final = 256 * 1024
MAX_NESTING: Final = 10
MAX_NODES: Final = 10_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FENCE: Final = re.compile(r"^---[ \t]*$", re.MULTILINE)
_LINE: Final = re.compile(r"^([A-Za-z][\w-]*):[ \t]*(.*)$")


def refuse(origin: str, reason: str) -> BadConfiguration:
    """The error for an agent file that cannot be used."""
    return BadConfiguration(f"the agent file {origin} cannot be used", why=reason, fix=f"mend {origin}")


def split(text: str, origin: str, *, lenient: bool = False) -> tuple[dict[str, Any], str]:
    """(front matter, prompt) of an agent file. Raises BadConfiguration with the place and the reason."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise refuse(origin, f"it is larger than {MAX_BYTES} bytes")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.startswith("---"):
        raise refuse(origin, "line 1: it must begin with `---` and front matter")
    fences = list(_FENCE.finditer(text))
    if len(fences) < 2 or fences[0].start() != 0:
        raise refuse(origin, "line 1: the front matter has no closing `---` line")
    head = text[fences[0].end() : fences[1].start()]
    prompt = text[fences[1].end() :].strip()
    try:
        return _mapping(head, origin), prompt
    except BadConfiguration:
        if not lenient:
            raise
        return _line_by_line(head, origin), prompt


def _mapping(head: str, origin: str) -> dict[str, Any]:
    try:
        _bounded(head, origin)
        node = yaml.compose(head, Loader=_Loader)
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise refuse(origin, "line 2: the front matter must be a mapping of keys to values")
        _unique_keys(node, origin)
        value = yaml.load(head, Loader=_Loader)  # the safe loader, in C where there is one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise refuse(origin, f"line {_line(mark)}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        raise refuse(origin, f"not valid YAML: {str(error).splitlines()[0]}") from error
    return {str(key): item for key, item in value.items()}


def _line(mark: Any) -> int:
    """Line of the file: the front matter's first line stands below the `---`."""
    return 1 if mark is None else int(mark.line) + 1


def _bounded(head: str, origin: str) -> None:
    """Walk the parser's events, which needs no recursion, before anything is built from them."""
    depth = nodes = 0
    for event in yaml.parse(head, Loader=_Loader):
        line = _line(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise refuse(origin, f"line {line}: aliases (`*name`) are not allowed")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise refuse(origin, f"line {line}: the tag `{tag}` is not allowed")
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > MAX_NODES:
            raise refuse(origin, f"line {line}: more than {MAX_NODES} parts")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                raise refuse(origin, f"line {line}: nested deeper than {MAX_NESTING}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unique_keys(node: yaml.Node, origin: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = _line(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise refuse(origin, f"line {line}: a key must be a word")
            if key.value in seen:
                raise refuse(origin, f"line {line}: the key `{key.value}` stands twice")
            seen.add(key.value)
            _unique_keys(value, origin)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _unique_keys(item, origin)


def _line_by_line(head: str, origin: str) -> dict[str, Any]:
    """`key: the rest of the line`; indented lines go on with the key above."""
    found: dict[str, Any] = {}
    key = ""
    for line in head.splitlines():
        if match := _LINE.match(line):
            key = match[1]
            found[key] = match[2].strip().strip("\"'")
        elif key and line.strip():
            found[key] = f"{found[key]} {line.strip()}".strip()
    if not found:
        raise refuse(origin, "line 2: the front matter holds no `key: value` line")
    return found
