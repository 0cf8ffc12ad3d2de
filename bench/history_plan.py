"""Makes a plan out of a repository's real history: one task for each of N consecutive commits.

Rules
- A task's agent is a program that applies the commit's own difference by a three-way merge; it needs no model.
- A task needs the earlier commits whose lines it touches, found by following every hunk through the commits between.
  A file that was created, renamed or deleted on the way is needed as well.
- The repository is only read. What the deck must know (agent, gate, setup) goes to a home directory of its own.
- `--check` merges everything once in the order of the needs and says how much of it applies.

Usage: python bench/history_plan.py REPOSITORY --out DIRECTORY --gate 'python -m pytest -q' [--commits 30] [--check]
"""

import argparse
import base64
import heapq
import json
import lzma
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quarterdeck.kernel.entities import Plan, Task

MARK: Final = "-- change (base64 of xz of JSON) --"
AGENT: Final = "apply-commit"
_INSTRUCTIONS_LIMIT: Final = 195_000
_WHOLE: Final = 1 << 40

PROGRAM: Final = f"""
import base64, json, lzma, subprocess, sys

def git(*arguments, data):
    return subprocess.run(["git", *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

task = json.load(sys.stdin)["task"]
change = json.loads(lzma.decompress(base64.b64decode(task["instructions"].split({MARK!r})[1])))
for blob in change["blobs"]:
    git("hash-object", "-w", "--stdin", "--no-filters", data=base64.b64decode(blob))
done = git("apply", "--3way", "--whitespace=nowarn", "-", data=base64.b64decode(change["patch"]))
if done.returncode:
    sys.exit(done.stderr.decode("utf-8", "replace")[-2000:])
print(json.dumps({{"summary": task["title"], "limitations": []}}))
"""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines [old_start, old_end) of the old file became [new_start, new_end) of the new one; counted from 0."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


@dataclass(frozen=True, slots=True)
class FileDiff:
    """What one commit does to one file. An empty path = it is not there."""

    old_path: str
    new_path: str
    hunks: tuple[Hunk, ...]
    """Of a binary file: one that covers everything."""


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of the history."""

    commit: str
    parent: str
    subject: str
    files: tuple[FileDiff, ...]


@dataclass(slots=True)
class Lines:
    """Which commits touched which lines of one file, in its present form, and who made or moved the file."""

    touched: list[tuple[int, int, int]] = field(default_factory=list)
    """(start, end, commit): half-open; start = end where lines were removed."""
    born: int | None = None


def parse_hunks(text: str) -> tuple[Hunk, ...]:
    """The `@@` lines of a diff without context."""
    found = []
    for match in re.finditer(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", text, re.MULTILINE):
        old, old_count, new, new_count = (int(part) if part is not None else 1 for part in match.groups())
        # An empty side is named by the line before it.
        old_start, new_start = old - (old_count > 0), new - (new_count > 0)
        found.append(Hunk(old_start, old_start + old_count, new_start, new_start + new_count))
    return tuple(found)


def follow(start: int, end: int, hunks: Sequence[Hunk]) -> tuple[int, int]:
    """Where lines [start, end) of the old file are in the new one; what a hunk replaced counts as all it put there."""
    new_start, new_end = start, end
    for hunk in hunks:
        shift = (hunk.new_end - hunk.new_start) - (hunk.old_end - hunk.old_start)
        if hunk.old_end <= start:
            new_start += shift
        elif hunk.old_start < start:
            new_start = hunk.new_start
        if hunk.old_start < end:
            new_end = new_end + shift if hunk.old_end <= end else hunk.new_end
    return new_start, max(new_start, new_end)


def needs(steps: Sequence[Step], context: int = 1) -> tuple[frozenset[int], ...]:
    """For each step the earlier ones that it cannot do without.

    `context`: lines around a hunk that count as touched by it; 1 is what a merge cannot tell apart.
    """
    files: dict[str, Lines] = {}
    gone: dict[str, int] = {}
    answer = []
    for number, step in enumerate(steps):
        wanted: set[int] = set()
        for diff in step.files:
            wanted |= _wanted(diff, files, gone, context)
        for diff in step.files:
            _advance(number, diff, files, gone)
        answer.append(frozenset(wanted - {number}))
    return tuple(answer)


def _wanted(diff: FileDiff, files: Mapping[str, Lines], gone: Mapping[str, int], context: int) -> set[int]:
    if not diff.old_path:
        return {gone[diff.new_path]} if diff.new_path in gone else set()
    lines = files.get(diff.old_path, Lines())
    wanted = {lines.born} if lines.born is not None else set()
    if diff.new_path != diff.old_path:
        # Removed or renamed: as it was in the end.
        wanted |= {commit for _, _, commit in lines.touched}
        wanted |= {gone[diff.new_path]} if diff.new_path in gone else set()
    for hunk in diff.hunks:
        low, high = hunk.old_start - context, hunk.old_end + context
        wanted |= {commit for start, end, commit in lines.touched if start < high and end > low}
    return wanted


def _advance(number: int, diff: FileDiff, files: dict[str, Lines], gone: dict[str, int]) -> None:
    lines = files.pop(diff.old_path, Lines()) if diff.old_path else Lines()
    if diff.old_path and diff.new_path != diff.old_path:
        gone[diff.old_path] = number
    if not diff.new_path:
        return
    gone.pop(diff.new_path, None)
    moved = [(*follow(start, end, diff.hunks), commit) for start, end, commit in lines.touched]
    own = [(hunk.new_start, hunk.new_end, number) for hunk in diff.hunks]
    born = lines.born if diff.new_path == diff.old_path else number
    files[diff.new_path] = Lines([*moved, *own], born)


def reduced(graph: Sequence[frozenset[int]]) -> tuple[frozenset[int], ...]:
    """The same order with no edge that others imply."""
    above: list[set[int]] = []
    answer = []
    for wanted in graph:
        implied: set[int] = set().union(*(above[number] for number in wanted)) if wanted else set()
        answer.append(frozenset(wanted - implied))
        above.append(implied | wanted)
    return tuple(answer)


def depth(graph: Sequence[frozenset[int]]) -> int:
    """Tasks on the longest chain."""
    levels: list[int] = []
    for wanted in graph:
        levels.append(1 + max((levels[number] for number in wanted), default=0))
    return max(levels, default=0)


def latest_first(graph: Sequence[frozenset[int]]) -> tuple[int, ...]:
    """An order that keeps the needs and is otherwise as far from the original one as it can be."""
    waiting = {number: set(wanted) for number, wanted in enumerate(graph)}
    ready = [-number for number, wanted in waiting.items() if not wanted]
    heapq.heapify(ready)
    order = []
    while ready:
        number = -heapq.heappop(ready)
        order.append(number)
        for other, wanted in waiting.items():
            if number in wanted:
                wanted.discard(number)
                if not wanted:
                    heapq.heappush(ready, -other)
    return tuple(order)


def glob_of(path: str) -> str:
    """A pattern of a plan that stands for this path; a letter that no pattern may hold is matched by `?`."""
    return re.sub(r"^!|[\\\x00-\x1f\x7f]", "?", path)


def task_id(number: int, subject: str) -> str:
    """`c07-fix-the-parser`: a legal task id."""
    words = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:40].strip("-")
    return f"c{number + 1:02d}-{words}".strip("-")


class Repository:
    """Reading one repository with git."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def git(self, *arguments: str, stdin: bytes = b"", ok: Iterable[int] = (0,)) -> bytes:
        """stdout of a git command. Exits with its complaint where it fails."""
        command = ["git", "-C", str(self._path), "-c", "core.quotePath=false", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode not in ok:
            sys.exit(f"`{shlex.join(command)}` failed: {done.stderr.decode('utf-8', 'replace').strip()}")
        return done.stdout

    def text(self, *arguments: str) -> str:
        return self.git(*arguments).decode("utf-8", "surrogateescape").strip()

    def window(self, until: str, count: int, merges: str) -> list[tuple[str, str]]:
        """The newest `count` consecutive (commit, parent) pairs at or before `until`, oldest first."""
        lines = self.text("rev-list", "--first-parent", "--parents", until).splitlines()
        found: list[tuple[str, str]] = []
        for line in lines:
            commit, *parents = line.split()
            if not parents or (len(parents) > 1 and merges == "avoid"):
                found.clear()
                continue
            found.append((commit, parents[0]))
            if len(found) == count:
                return found[::-1]
        hint = "; try --merges squash" if merges == "avoid" else ""
        sys.exit(f"there are no {count} consecutive commits without a merge{hint}")

    def step(self, commit: str, parent: str) -> Step:
        """What one commit does."""
        raw = self.git("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "-M", parent, commit).split(b"\0")
        files, at = [], 0
        while at < len(raw) - 1:
            old_mode, new_mode, old, new, status = raw[at][1:].decode("ascii").split()
            if "160000" in (old_mode, new_mode):
                sys.exit(f"{commit} changes a submodule; choose another range with --until")
            renamed = status[0] in "RC"
            old_path, new_path = (raw[at + 1 + part].decode("utf-8") for part in ((0, 1) if renamed else (0, 0)))
            at += 3 if renamed else 2
            hunks = self._hunks(old, new) if status[0] not in "AD" else (Hunk(0, _WHOLE, 0, _WHOLE),)
            files.append(FileDiff("" if status == "A" else old_path, "" if status == "D" else new_path, hunks))
        return Step(commit, parent, self.text("log", "-1", "--format=%s", commit), tuple(files))

    def _hunks(self, old: str, new: str) -> tuple[Hunk, ...]:
        if old == new:
            return ()
        diff = self.git("diff", "--no-ext-diff", "--no-textconv", "-U0", old, new, ok=(0, 1)).decode("latin-1")
        return parse_hunks(diff) or (Hunk(0, _WHOLE, 0, _WHOLE),)

    def instructions(self, step: Step) -> str:
        """The commit's message and, for the program, its difference and the contents that it starts from."""
        patch = self.git("diff-tree", "-p", "-M", "--binary", "--full-index", "--no-ext-diff", step.parent, step.commit)
        before = sorted({diff.old_path for diff in step.files if diff.old_path})
        blobs = [self.git("cat-file", "blob", f"{step.parent}:{path}") for path in before]
        message = self.git("log", "-1", "--format=%B", step.commit).decode("utf-8", "replace").replace(MARK, "")
        for chosen in (blobs, []):
            change = {"patch": _text(patch), "blobs": [_text(blob) for blob in chosen]}
            packed = _text(lzma.compress(json.dumps(change).encode("ascii"), preset=9))
            text = f"{message.strip()}\n\n{MARK}\n{packed}\n"
            if len(text) <= _INSTRUCTIONS_LIMIT:
                return text
        sys.exit(f"{step.commit} is too large for one task ({len(text)} characters); choose another range with --until")

    def merged(self, base: str, ours: str, theirs: str) -> str | None:
        """The tree that merges two trees over a third; None = conflict. All are ids of trees."""
        root = self._commit(base, ())
        sides = [self._commit(tree, (root,)) for tree in (ours, theirs)]
        done = self.git("merge-tree", "--write-tree", "--name-only", *sides, ok=(0, 1)).decode("utf-8", "replace")
        # A conflict is followed by names and messages, a clean merge by nothing.
        return done.strip() if len(done.strip().splitlines()) == 1 else None

    def tree(self, commit: str) -> str:
        return self.text("rev-parse", f"{commit}^{{tree}}")

    def _commit(self, tree: str, parents: Sequence[str]) -> str:
        who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        arguments = [part for parent in parents for part in ("-p", parent)]
        return self.text(*who, "commit-tree", "-m", "bench", *arguments, tree)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of merging every step once."""

    alone: int
    """Steps that apply to the base without any other."""
    applied: int
    """Steps that apply in the order of their needs."""
    failed: tuple[int, ...]
    same: bool
    """The tree in the end is the one of the history."""


def simulate(repository: Repository, steps: Sequence[Step], graph: Sequence[frozenset[int]]) -> Outcome:
    """Merge every step, latest first as far as the needs allow."""
    base = repository.tree(steps[0].parent)
    trees = [(repository.tree(step.parent), repository.tree(step.commit)) for step in steps]
    alone = sum(repository.merged(before, base, after) is not None for before, after in trees)
    state, failed = base, []
    for number in latest_first(graph):
        before, after = trees[number]
        merged = repository.merged(before, state, after)
        if merged is None:
            failed.append(number)
        else:
            state = merged
    return Outcome(alone, len(steps) - len(failed), tuple(sorted(failed)), state == trees[-1][1])


def make_plan(
    repository: Repository, steps: Sequence[Step], graph: Sequence[frozenset[int]], verify: Sequence[str]
) -> Plan:
    """The plan of these steps."""
    names = [task_id(number, step.subject) for number, step in enumerate(steps)]
    tasks = []
    for number, step in enumerate(steps):
        paths = sorted({glob_of(path) for diff in step.files for path in (diff.old_path, diff.new_path) if path})
        tasks.append(
            Task(
                id=names[number],
                title=step.subject[:200] or step.commit,
                instructions=repository.instructions(step),
                paths=tuple(paths),
                needs=tuple(names[other] for other in sorted(graph[number])),
                agent=AGENT,
                verify=tuple(verify),
            )
        )
    return Plan(goal=f"Replay {len(steps)} commits up to {steps[-1].commit}", tasks=tuple(tasks))


def write_home(
    home: Path,
    gate: Sequence[str],
    setup: Sequence[str] | None,
    parallel: int,
    *,
    work: float = 0.0,
    checks: int | None = None,
) -> None:
    """The deck's home that the plan runs with: its agent and its deck.toml.

    `work`: seconds that an agent takes before it applies its commit. `checks`: trees checked at the same time.
    """
    agents = home / "agents"
    agents.mkdir(parents=True, exist_ok=True)
    program = ["python3", "-c", PROGRAM]
    command = json.dumps(["sh", "-c", f'sleep {work}; exec "$@"', "sh", *program] if work else program)  # JSON is YAML
    front = (
        f"name: {AGENT}\ndescription: Applies the commit that its task carries\nharness: command\ncommand: {command}\n"
    )
    (agents / f"{AGENT}.md").write_text(
        f"---\n{front}---\nApplies the commit that its task carries.\n", encoding="utf-8"
    )
    lines = ["[deck]", f"max_parallel = {parallel}", "[checks]", f"gate = {json.dumps(list(gate))}"]
    if checks is not None:
        lines.append(f"parallel = {checks}")
    # Nobody waits for a turn here: what is measured is the gate.
    lines += ["[limits]", "spawn_per_minute = 100000", 'agents_at_once = "none"']
    # People wrote these commits: what validation thinks of them is named, and not theirs to mend.
    lines += ["[validation]", *(f'{rule} = "warn"' for rule in ("new_tests", "weakened_tests", "unrelated_hunks"))]
    if setup is not None:
        lines += ["[sandbox]", f"setup = {json.dumps([command for command in setup if command])}"]
    (home / "deck.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="directory for the plan and the deck's home")
    parser.add_argument("--commits", type=int, default=30)
    parser.add_argument("--until", default="HEAD", help="the last commit")
    parser.add_argument("--merges", choices=("avoid", "squash"), default="avoid", help="squash = a merge is one change")
    parser.add_argument(
        "--gate", action="append", required=True, help="command that the merged tree must pass; repeatable"
    )
    parser.add_argument("--setup", action="append", help="command that builds the environment; repeatable, '' = none")
    parser.add_argument("--verify", action="append", help="command that each task must pass (default: true)")
    parser.add_argument("--context", type=int, default=1, help="lines around a change that count as touched")
    parser.add_argument("--max-parallel", type=int, default=4)
    parser.add_argument("--check", action="store_true", help="merge everything once and say how much applies")
    chosen = parser.parse_args(arguments)
    repository = Repository(chosen.repository.resolve())
    pairs = repository.window(chosen.until, chosen.commits, chosen.merges)
    steps = [step for step in (repository.step(*pair) for pair in pairs) if step.files]
    graph = reduced(needs(steps, chosen.context))
    plan = make_plan(repository, steps, graph, chosen.verify or ["true"])
    out: Path = chosen.out.resolve()
    write_home(out / "home", chosen.gate, chosen.setup, chosen.max_parallel)
    (out / "plan.json").write_text(plan.model_dump_json(indent=1, exclude_none=True), encoding="utf-8")
    edges = sum(map(len, graph))
    print(f"{len(steps)} tasks, {edges} needs, longest chain {depth(graph)}: {out / 'plan.json'}")
    print(f"base {steps[0].parent}, history's tree {repository.tree(steps[-1].commit)}")
    if chosen.check:
        outcome = simulate(repository, steps, graph)
        print(f"apply to the base alone: {outcome.alone} of {len(steps)}")
        failed = f" (not: {', '.join(plan.tasks[number].id for number in outcome.failed)})" if outcome.failed else ""
        print(f"apply in the order of their needs, latest first: {outcome.applied} of {len(steps)}{failed}")
        print(f"the tree in the end is the history's: {'yes' if outcome.same else 'no'}")
    place = shlex.quote(str(chosen.repository.resolve()))
    print("\nNext:")
    print(f"  export QUARTERDECK_HOME={shlex.quote(str(out / 'home'))}")
    print(
        f"  quarterdeck run --plan {shlex.quote(str(out / 'plan.json'))} --repo {place} --base {steps[0].parent} --json"
    )


if __name__ == "__main__":
    main()
