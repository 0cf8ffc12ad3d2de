"""Replays a repository's real history through Quarterdeck and verifies the result from outside.

Rules
- The plan is made by `history_plan`; the run is an ordinary one in a fresh home, with the repository's tests as gate.
- Nothing is believed that the run says of itself: branch, commits, notes, checkout and objects are read with git,
  landed trees are looked up in the exported journal, and the gate's commands run once more on the result.
- `--kill` ends the run's process (not its children) with SIGKILL after so many seconds of each life, then resumes it.
- The clone is changed as by any run: one branch and one note. Use one that you can spare.

Usage: python -m bench.real_history REPOSITORY --gate 'python -m pytest -q' [--commits 15] [--kill 20 --kill 15]
"""

import argparse
import asyncio
import hashlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.history_plan import Repository, depth, make_plan, needs, reduced, write_home
from quarterdeck.assembly.parts import make
from quarterdeck.delivery.gate.merging import RUN_TRAILER, TASK_TRAILER
from quarterdeck.delivery.validation.checks import passed, run_checks
from quarterdeck.kernel.config import RunConfig
from quarterdeck.settings import load_settings
from quarterdeck.workplace.ground import Ground

_QUARTERDECK: Final = (sys.executable, "-P", "-m", "quarterdeck.cli.main")
_DEADLINE: Final = 3600.0
NOTES: Final = "refs/notes/quarterdeck"


# --- the user's side ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything of the user's checkout and repository that a run has to leave alone."""

    head: str
    index: str
    status: str
    files: str
    settings: str
    refs: Mapping[str, str]
    complaints: frozenset[str]
    """What `git fsck` says."""


def snapshot(repository: Repository, path: Path) -> Snapshot:
    """As it is now; reading it changes nothing."""
    git_dir = Path(repository.text("rev-parse", "--absolute-git-dir"))
    lines = repository.text("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    fsck = subprocess.run(["git", "-C", str(path), "fsck", "--full", "--no-dangling"], capture_output=True, check=False)
    return Snapshot(
        head=(git_dir / "HEAD").read_text(),
        index=_digest(git_dir / "index"),
        status=repository.text("--no-optional-locks", "status", "--porcelain", "--untracked-files=all"),
        files=hashlib.sha256("\0".join(sorted(_files(path))).encode("utf-8", "surrogateescape")).hexdigest(),
        settings=_digest(git_dir / "config"),
        refs=dict(line.split(" ", 1) for line in lines),
        complaints=frozenset((fsck.stdout + fsck.stderr).decode("utf-8", "replace").splitlines()),
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _files(path: Path) -> Iterator[str]:
    """Name, size and time of change of every file of the checkout."""
    for folder, names, files in os.walk(path):
        names[:] = [name for name in names if name != ".git"]
        for name in files:
            found = (Path(folder) / name).lstat()
            yield f"{folder}/{name} {found.st_size} {found.st_mtime_ns}"


def differences(before: Snapshot, after: Snapshot, branch: str) -> list[str]:
    """What of the user's changed; [] = nothing but the target and the notes."""
    names = ("head", "index", "status", "files", "settings")
    found = [f"{name} changed" for name in names if getattr(before, name) != getattr(after, name)]
    ours = {f"refs/heads/{branch}", NOTES}
    others = sorted((before.refs.keys() | after.refs.keys()) - ours)
    found += [f"{ref} changed" for ref in others if before.refs.get(ref) != after.refs.get(ref)]
    return [*found, *(f"fsck: {line}" for line in sorted(after.complaints - before.complaints))]


# --- the run --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ran:
    """What a run printed."""

    result: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    wall: float = 0.0
    """Seconds, all lives together."""
    kills: int = 0


def run(arguments: Sequence[str], home: Path, kills: Sequence[float]) -> Ran:
    """Run to the end, killing it after each of `kills` seconds. Exits where it cannot be brought to its end."""
    environment = {**os.environ, "QUARTERDECK_HOME": str(home)}
    ran, began = Ran({}), time.monotonic()
    command = [*_QUARTERDECK, "run", *arguments, "--json"]
    for limit in (*kills, None):
        lines, killed, complaint = _life(command, environment, limit)
        ran.kills += killed
        ran.events += [line for line in lines if line.get("kind") == "event"]
        ran.result = next((line for line in lines if line.get("kind") == "run.finished"), ran.result)
        if not killed:
            break
        # Killed before it was stored, there is no run yet: it is ordered again.
        if stored := quarterdeck(home, "ps", "--json"):
            command = [*_QUARTERDECK, "resume", json.loads(stored.splitlines()[0])["run"], "--json"]
    ran.wall = time.monotonic() - began
    if not ran.result:
        sys.exit(f"`{shlex.join(command)}` gave no result: {complaint}")
    return ran


def _life(command: Sequence[str], environment: Mapping[str, str], limit: float | None) -> tuple[list[Any], bool, str]:
    """(what it printed, whether it was killed, its last words)"""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err, start_new_session=True)
        try:
            process.wait(limit or _DEADLINE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        out.seek(0)
        err.seek(0)
        text = out.read().decode("utf-8", "replace")
        # A killed process may leave half a line.
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return lines, process.returncode == -signal.SIGKILL, err.read().decode("utf-8", "replace")[-2000:]


# --- what it took -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, summed over everything that ran side by side."""

    environments: float
    agents: float
    verify: float
    gate: float
    gate_checks: int
    dropped: int
    check: float
    """The median gate check."""


def times(events: Sequence[Mapping[str, Any]], home: Path) -> Times:
    """Where the time went."""
    agents = verify = 0.0
    begun: dict[str, float] = {}
    checks: list[float] = []
    dropped = 0
    for record in {(r["stream"], r["seq"]): r for r in events}.values():
        event, stream, at = record["event"], str(record["stream"]), float(record["at"])
        match event["kind"]:
            case "harness.started":
                begun[stream] = at
            case "harness.finished":
                agents += at - begun.pop(stream, at)
            case "check.ran":
                verify += event["seconds"]
            case "gate.check.started":
                begun[event["check"]] = at
            case "gate.check.finished":
                dropped += event["cancelled"]
                checks.append(at - begun.pop(event["check"], at))
    built = [json.loads(file.read_text())["seconds"] for file in Ground(home).environments.glob("*.json")]
    middle = statistics.median(checks) if checks else 0.0
    return Times(sum(built), agents, verify, sum(checks), len(checks), dropped, middle)


# --- the verification -------------------------------------------------------------------------------------------


def unmerged(result: Mapping[str, Any]) -> list[str]:
    """Tasks that did not merge, with their reason; one without a reason is said to have none."""
    tasks = [task for task in result["tasks"] if task["status"] != "merged"]
    return [f"{task['id']} is {task['status']}: {task['reason'] or 'NO REASON'}" for task in tasks]


def commits(repository: Repository, base: str, result: Mapping[str, Any]) -> list[str]:
    """What is wrong with the commits and notes of the target; [] = one commit for each merged task, in one line."""
    form = (
        f"%H %P%x09%(trailers:key={TASK_TRAILER},valueonly,separator=%x2C)%x09%(trailers:key={RUN_TRAILER},valueonly)"
    )
    found, wrong, parent = {}, [], base
    for line in repository.text("log", "--reverse", f"--format={form}%x00", f"{base}..{result['target']['sha']}").split(
        "\0"
    ):
        if not line.strip():
            continue
        ids, task, run = line.strip("\n").split("\t")
        commit, *parents = ids.split()
        if parents != [parent]:
            wrong.append(f"{commit} has the parents {parents}, not {parent}")
        if run.strip() != result["run"]:
            wrong.append(f"{commit} names the run {run.strip()!r}")
        if f"task {task}" not in repository.text("notes", "--ref", "quarterdeck", "show", commit).splitlines():
            wrong.append(f"the note of {commit} does not lead to its task")
        found[task.strip()], parent = commit, commit
    merged = {task["id"]: task["commit"] for task in result["tasks"] if task["status"] == "merged"}
    return wrong if found == merged else [*wrong, f"the commits are of {sorted(found)}, merged are {sorted(merged)}"]


def untested(repository: Repository, directory: Path, base: str, sha: str) -> list[str]:
    """Commits at which the target stood although their tree has no passed check in the exported journal.

    What landed in one step with others is tested with them: the target never stood within a step.
    """
    green, steps = set(), []
    for file in (directory / "gate").glob("*.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)["event"]
            if event["kind"] == "gate.check.finished" and event["passed"]:
                green.add(event["tree"])
            elif event["kind"] == "landing.intended":
                steps.append(event)
    trees = dict(line.split() for line in repository.text("log", "--format=%H %T", f"{base}..{sha}").splitlines())
    within = {commit for step in steps if step["new"] in trees for commit in step["commits"][:-1]}
    return [f"{commit} landed untested" for commit, tree in trees.items() if tree not in green and commit not in within]


async def gate_again(home: Path, repository: Path, run: str, sha: str) -> tuple[bool, str]:
    """Run the gate's commands once more on a fresh checkout of `sha`: whether they pass, and their last line."""
    parts = await make(load_settings({**os.environ, "QUARTERDECK_HOME": str(home)}))
    try:
        config: RunConfig = (await parts.briefings.run(run)).config
        mirror = await parts.workshop.mirror(str(repository))
        await mirror.fetch(sha)
        async with parts.workshop.checking(config, mirror, f"bench-{os.getpid()}", sha) as sandbox:
            results = await run_checks(sandbox, config.deck.checks.gate, timeout=config.deck.checks.timeout)
    finally:
        await parts.close()
    words = results[-1].output.strip().splitlines() if results else []
    return passed(results), words[-1] if words else ""


def quarterdeck(home: Path, *arguments: str) -> str:
    """stdout of another command on that home; what is wrong where it fails."""
    environment = {**os.environ, "QUARTERDECK_HOME": str(home)}
    done = subprocess.run([*_QUARTERDECK, *arguments], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"FAILED: {done.stderr.strip()}"


# --- all of it ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was verified."""

    name: str
    wrong: Sequence[str]


def verify(
    chosen: argparse.Namespace, home: Path, ran: Ran, before: Snapshot, base: str, upstream: str
) -> list[Finding]:
    """Everything that can be known from outside."""
    path: Path = chosen.repository.resolve()
    repository, result = Repository(path), ran.result
    sha, left = result["target"]["sha"], unmerged(result)
    export = home.parent / "export"
    quarterdeck(home, "export", result["run"], "--to", str(export))
    same = repository.tree(sha) == upstream
    tree = [] if same else [f"it differs: git diff {upstream} {sha}"] if not left else []
    green, words = asyncio.run(gate_again(home, path, result["run"], sha))
    audit = quarterdeck(home, "audit", "verify")
    return [
        Finding("all merged, or a reason", [line for line in left if line.endswith("NO REASON")]),
        Finding("the tree is the history's" if not left else "the tree (not all merged)", tree),
        Finding("one commit a task, with trailers and note", commits(repository, base, result)),
        Finding("every landed tree was tested", untested(repository, export, base, sha)),
        Finding(f"the gate by itself: {words}", [] if green else ["it fails on the result"]),
        Finding(
            "checkout, index, refs, fsck", differences(before, snapshot(repository, path), result["target"]["branch"])
        ),
        Finding(f"audit: {audit}", [audit] if "FAILED" in audit else []),
    ]


def summary(name: str, ran: Ran, took: Times, chain: int, findings: Sequence[Finding]) -> str:
    """The tables."""
    tasks = ran.result["tasks"]
    merged = sum(task["status"] == "merged" for task in tasks)
    tries = sum(task["attempts"] for task in tasks)
    conflicts = sum(
        record["event"]["kind"] == "change.returned" and record["event"]["outcome"] == "conflict"
        for record in {(r["stream"], r["seq"]): r for r in ran.events}.values()
    )
    serial = took.environments + took.agents + took.verify + took.check * merged
    head = ("repository", "tasks", "merged", "conflicts", "attempts", "kills", "wall s", "chain")
    row = (name, len(tasks), merged, conflicts, tries, ran.kills, f"{ran.wall:.0f}", chain)
    wide = [max(len(str(part)) for part in pair) for pair in zip(head, row, strict=True)]
    lines = ["  ".join(f"{part!s:>{width}}" for part, width in zip(each, wide, strict=True)) for each in (head, row)]
    lines += [
        "",
        f"side by side: environments {took.environments:.0f} s, agents {took.agents:.0f} s, verify {took.verify:.0f} s,"
        f" gate {took.gate:.0f} s in {took.gate_checks} checks ({took.dropped} dropped), median {took.check:.1f} s",
        f"one after the other, with these times: about {serial:.0f} s",
        "",
        *(f"{'ok  ' if not finding.wrong else 'BAD '} {finding.name}" for finding in findings),
        *(f"     {line}" for finding in findings for line in finding.wrong),
        *(f"left: {line}" for line in unmerged(ran.result)),
    ]
    return "\n".join(lines)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("--gate", action="append", required=True, help="command of the repository's tests; repeatable")
    parser.add_argument("--commits", type=int, default=15)
    parser.add_argument("--until", default="HEAD", help="the last commit")
    parser.add_argument("--merges", choices=("avoid", "squash"), default="avoid")
    parser.add_argument("--setup", action="append", help="command that builds the environment; '' = none")
    parser.add_argument("--verify", action="append", help="command that each task must pass (default: true)")
    parser.add_argument("--max-parallel", type=int, default=4)
    parser.add_argument(
        "--kill", action="append", type=float, default=[], metavar="SECONDS", help="SIGKILL after; repeatable"
    )
    parser.add_argument(
        "--out", type=Path, help="keep plan, home and export here (default: a directory that is removed)"
    )
    return parser.parse_args(arguments)


def replay(chosen: argparse.Namespace, out: Path) -> bool:
    """Plan, run, verify, print; whether all is well."""
    path: Path = chosen.repository.resolve()
    repository = Repository(path)
    steps = [repository.step(*pair) for pair in repository.window(chosen.until, chosen.commits, chosen.merges)]
    steps = [step for step in steps if step.files]
    graph = reduced(needs(steps))
    plan, home = out / "plan.json", out / "home"
    write_home(home, chosen.gate, chosen.setup, chosen.max_parallel)
    made = make_plan(repository, steps, graph, chosen.verify or ["true"])
    plan.write_text(made.model_dump_json(exclude_none=True), encoding="utf-8")
    before, base = snapshot(repository, path), steps[0].parent
    ran = run(["--plan", str(plan), "--repo", str(path), "--base", base], home, chosen.kill)
    findings = verify(chosen, home, ran, before, base, repository.tree(steps[-1].commit))
    print(summary(path.name, ran, times(ran.events, home), depth(graph), findings))
    return not any(finding.wrong for finding in findings)


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    chosen = _arguments(arguments)
    out = Path(chosen.out or tempfile.mkdtemp(prefix="quarterdeck-history-")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        well = replay(chosen, out)
    finally:
        if chosen.out is None:
            Ground(out / "home").destroy()
            shutil.rmtree(out)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
