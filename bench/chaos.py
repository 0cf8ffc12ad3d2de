"""Chaos: workers on PostgreSQL that share no file system, runs of scripted agents, and faults of every kind.

Rules
- Every run is held against the tree, the branch, the journal and the money that an undisturbed run leaves; the deck's
  limits against what was committed, in the order in which it was; the hosts against nothing left. A fault counts as
  survived where every run that was unfinished when it began is without a violation.
- It is bounded: 10 minutes with its ordinary options.
- What was injected is counted, never assumed: fewer than wanted is a row that is missed.

usage: python -m bench.chaos [--seconds 360] [--faults 200] [--each 15] [--runs 100] [--seed 1]
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.__main__ import ROOT, machine
from bench.chaos_campaign import CAPS, MEMBERS, Campaign, Options, campaign_of
from bench.chaos_judging import judge_all
from bench.figures import Figure, Target, show
from quarterdeck.testing.chaos.caps import allowed_calls
from quarterdeck.testing.chaos.faults import Kind
from quarterdeck.testing.chaos.hosts import apart, told
from quarterdeck.testing.postgres_server import start

RESULT = ROOT / "build" / "chaos.json"
_MODULE = "bench.chaos"


def figures(campaign: Campaign, options: Options) -> list[Figure]:
    """What came of it, as a benchmark's rows."""
    none = Target("ours", 0)
    rows = [
        Figure(
            f"chaos: {kind}, not survived",
            "faults",
            campaign.told.injected[kind] - campaign.survived(kind),
            target=none,
            note=f"{campaign.told.injected[kind]} injected, {campaign.survived(kind)} survived"
            f"{_how(kind, campaign)}; {campaign.told.begun[kind]} begun",
        )
        for kind in Kind
    ]
    few = sum(max(0, options.each - campaign.told.injected[kind]) for kind in Kind)
    short = f"{campaign.told.total} injected of {options.faults} wanted, {options.each} of each kind"
    missing = max(few, options.faults - campaign.told.total)
    wrong = "nothing lost, merged twice or done again; caps kept; chains verified; nothing left on any host"
    if campaign.violations:
        wrong = campaign.violations[0][:300]
    return [
        *rows,
        Figure("chaos: faults missing", "faults", missing, target=none, note=short),
        *_of_runs(campaign, options),
        *_of_caps(campaign),
        Figure("chaos: violations", "violations", len(campaign.violations), target=none, note=wrong),
    ]


def _how(kind: Kind, campaign: Campaign) -> str:
    """What such a fault was here."""
    if kind is Kind.PARTITION:
        where = "the cable of its network namespace pulled" if campaign.apart else "held back by a proxy"
        return f" ({where}: database, git remote and model)"
    if kind is Kind.CLOCK:
        return " (its whole process and its git)" if campaign.skewed else " (Quarterdeck's own wall clock)"
    return ""


def _of_runs(campaign: Campaign, options: Options) -> list[Figure]:
    none, good = Target("ours", 0), sum(story.good for story in campaign.stories)
    verdicts = [story.verdict for story in campaign.stories if story.verdict is not None]
    work = f"{good} of {len(campaign.stories)} runs, {sum(story.short for story in campaign.stories)} of them without "
    work += f"enough money, {sum(verdict.attempts for verdict in verdicts)} attempts, "
    work += f"{sum(verdict.redone.total for verdict in verdicts)} steps cut off and done again, "
    work += f"{campaign.starts} starts of {len(MEMBERS)} workers, {campaign.working:.0f} s at work of "
    work += f"{campaign.seconds:.0f} s"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    first, *during = campaign.loads
    load = f"load average {first:.1f} before, {sum(during) / max(1, len(during)):.1f} on average during it; "
    load += f"{os.cpu_count()} CPUs; {used.ru_utime + used.ru_stime:.0f} s of CPU in workers and their children"
    return [
        Figure("chaos: runs not as they should be", "runs", len(campaign.stories) - good, target=none, note=work),
        Figure("chaos: runs missing", "runs", max(0, options.runs - len(campaign.stories)), target=none, note=load),
    ]


def _of_caps(campaign: Campaign) -> list[Figure]:
    most = campaign.peaks
    seen = (
        ("agents at work at once", "agents", most.agents, CAPS.agents),
        ("attempts of one agent at once", "agents", most.one_agent, CAPS.one_agent),
        ("agents in one repository at once", "agents", most.repository, CAPS.repository),
        ("starts in a minute", "starts", campaign.starts_a_minute, CAPS.starts),
        ("model calls in a minute", "calls", campaign.calls_a_minute, allowed_calls(CAPS, len(MEMBERS))),
    )
    return [
        Figure(f"chaos: {name}, at most", unit, value, target=Target("ours", cap)) for name, unit, value, cap in seen
    ]


def exit_code(rows: Sequence[Figure]) -> int:
    """1 where one of them is missed: a campaign without its faults shows nothing."""
    return int(any(row.holds is False for row in rows))


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def main(argv: list[str] | None = None) -> int:
    """Run the campaign; 1 where a row is missed: anything was violated, or less was injected than wanted."""
    given = sys.argv[1:] if argv is None else argv
    alone = apart(given, _MODULE)
    parser = argparse.ArgumentParser(prog="chaos", description="Workers on PostgreSQL, and everything that goes wrong.")
    parser.add_argument("--seconds", type=float, default=360.0, help="in which runs are begun and faults injected")
    parser.add_argument("--grace", type=float, default=60.0, help="for what is unfinished then")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--each", type=int, default=15, help="faults of each kind at least")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--width", type=int, default=20, help="runs at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work here and leave everything, to look at it")
    chosen = vars(parser.parse_args(told(given)))
    keep = chosen.pop("keep")
    options = Options(**chosen)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        folder = (keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        server = start(port=free_port(), durable=True, settings={"track_commit_timestamp": "on"})
        try:
            campaign = asyncio.run(campaign_of(folder, server, options, judge_all, apart=alone))
        finally:
            server.stop()
    rows = figures(campaign, options)
    show(rows)
    RESULT.parent.mkdir(exist_ok=True)
    kept = [{**row.as_json(), "bench": "chaos", "machine": machine(), "seed": options.seed} for row in rows]
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    for violation in campaign.violations:
        sys.stderr.write(f"VIOLATION {violation}\n")
    return exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())
