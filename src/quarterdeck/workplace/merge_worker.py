"""Merges texts in a process of its own: a hostile text may cost that process, and nothing else.

Rules
- In: JSON on stdin, the way and the files' sides; where `given` is there, texts that another program merged.
- Out: JSON on stdout, the merged texts, or why the way is lost. A text that there is something to object to is lost.
- It reads no file and no environment, and starts nothing.
"""

import json
import sys
from typing import Any

from quarterdeck.merge.lint import objections
from quarterdeck.merge.values import Resolved, Sides, Way
from quarterdeck.merge.ways import resolve


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`{"texts": {path: text}, "notes": [...]}`, or `{"lost": reason}`."""
    way, given = Way(request["way"]), request.get("given")
    texts: dict[str, str] = {}
    notes: list[str] = []
    for path, base, ours, theirs in request["files"]:
        sides = Sides(path, base, ours, theirs)
        made = Resolved(given[path]) if given is not None else resolve(way, sides)
        if not isinstance(made, Resolved):
            return {"lost": f"{path}: {made.reason}"}
        against = objections(sides, made.text, driven=way is Way.DRIVER)
        if against:
            return {"lost": f"{path}: {'; '.join(against[:5])}"}
        texts[path] = made.text
        notes += [f"{path}: {note}" for note in made.notes]
    return {"texts": texts, "notes": notes[:20]}


def main() -> None:
    """Answer one request."""
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
