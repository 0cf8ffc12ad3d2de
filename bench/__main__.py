"""Run the benchmarks: each in a process of its own with a deadline, one table, and `build/bench.json`.

usage: python -m bench [NAME ...]      NAME: records, steps, ... (default: all)

Rules
- A target that is missed is a result, not an error. A benchmark that crashed, hung or printed nonsense is a row with
  the reason, and the exit status is 1.
- What needs data from outside says so in its own rows; `BENCH_DATA` names the directory.
- What a benchmark has printed before it failed is kept.
- `build/bench.json` keeps the rows of benchmarks that are not run this time; each row names its own (`bench`).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULT = ROOT / "build" / "bench.json"
SECONDS = 1800.0


def found() -> list[str]:
    """The benchmarks by name."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def machine() -> str:
    """Where and when this is measured."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {python}, load {load}, {when}"


def run(name: str, seconds: float) -> tuple[list[dict[str, Any]], str]:
    """The rows of one benchmark, and what went wrong with it, if anything. Its table goes to standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"bench.bench_{name}"], cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0
    )
    wrong = ""
    try:
        text, _ = process.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, 9)  # with everything it started
        text, _ = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        wrong = f"it did not end within {seconds:.0f} s"
    if not wrong and process.returncode:
        wrong = f"it ended with exit code {process.returncode}"
    rows, nonsense = rows_of(text)
    return rows, wrong or nonsense


def rows_of(text: str) -> tuple[list[dict[str, Any]], str]:
    """The rows printed as JSON Lines, and what is wrong with them."""
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            return rows, f"it printed what is no JSON: {line[:200]}"
        if not isinstance(row, dict) or not {"name", "unit", "ours", "peers", "ratio", "target", "holds"} <= row.keys():
            return rows, f"it printed what is no figure: {line[:200]}"
        rows.append(row)
    return rows, "" if rows else "it printed no figure"


def failed(name: str, reason: str) -> dict[str, Any]:
    """The row of a benchmark that failed."""
    empty: dict[str, Any] = {"unit": "", "ours": None, "peers": {}, "ratio": {}, "target": None, "holds": None}
    return {"name": f"bench_{name}", **empty, "note": f"failed: {reason}"}


def merged(before: list[dict[str, Any]], name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows, in the order of the benchmarks: `rows` stand for what `name` had. What belongs to no benchmark goes."""
    order = {known: place for place, known in enumerate(found())}
    kept = [row for row in before if row.get("bench") in order and row["bench"] != name]
    return sorted([*kept, *({**row, "bench": name} for row in rows)], key=lambda row: order[row["bench"]])


def earlier() -> list[dict[str, Any]]:
    """The rows of before; none where there is no such file, or it is none of ours."""
    try:
        rows = json.loads(RESULT.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def summary(rows: list[dict[str, Any]]) -> str:
    """How many targets hold."""
    judged = [row for row in rows if row["holds"] is not None]
    missed = [row["name"] for row in judged if not row["holds"]]
    not_run = [f"{row['name']} ({row.get('note', '')})" for row in rows if row["ours"] is None]
    lines = [f"{len(judged) - len(missed)} of {len(judged)} targets hold"]
    lines += [f"  missed: {name}" for name in missed] + [f"  not run: {name}" for name in not_run]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(found()))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="deadline of each benchmark")
    options = parser.parse_args()
    if unknown := set(options.names) - set(found()):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found())}")
    sys.stderr.write(f"{machine()}\n")
    rows: list[dict[str, Any]] = []
    stored: list[dict[str, Any]] = []
    broken = False
    for name in options.names or found():
        sys.stderr.write(f"\n{name}\n")
        printed, wrong = run(name, options.seconds)
        if wrong:
            broken = True
            printed.append(failed(name, wrong))
            sys.stderr.write(f"FAILED bench_{name}: {wrong}\n")
        rows += printed
        stored = merged(earlier(), name, printed)
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(stored, indent=1) + "\n")
    sys.stderr.write(f"\n{summary(rows)}\n{RESULT.relative_to(ROOT)}: {len(stored)} rows\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
