"""`build/bench.json` as a table in Markdown, for docs/benchmarks.md.

usage: python -m bench.table [FILE]
"""

import json
import sys
from pathlib import Path
from typing import Any

from bench.__main__ import RESULT

HEAD = ("figure", "ours", "target", "holds", "beside")


def line(row: dict[str, Any]) -> str:
    """One row. Ratios are ours by theirs."""
    if row["ours"] is None:
        return _cells(row["name"], "not run", row["target"] or "", "", row.get("note", ""))
    beside = "; ".join(
        f"{name} {value:,g}" + (f" (x {row['ratio'][name]:.3g})" if name in row["ratio"] else "")
        for name, value in row["peers"].items()
    )
    holds = {True: "yes", False: "**no**", None: ""}[row["holds"]]
    return _cells(row["name"], f"{row['ours']:,g} {row['unit']}", row["target"] or "", holds, beside)


def table(rows: list[dict[str, Any]]) -> str:
    return "\n".join([_cells(*HEAD), _cells(*["---"] * len(HEAD)), *map(line, rows)])


def _cells(*texts: str) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT
    sys.stdout.write(table(json.loads(path.read_text())) + "\n")


if __name__ == "__main__":
    main()
