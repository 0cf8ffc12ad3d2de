"""Engines under our port's promises: what a job costs in the worker and in the server, and how soon a dead worker's job
goes on elsewhere.

usage: python -m bench.bench_engines [--rounds N] [--jobs N]

Rules
- Jobs do nothing. Each is put in and performed by one worker process; what is counted is the CPU of that process, and
  of the server beside it (PostgreSQL with all its processes).
- PostgreSQL waits for the disk at each commit. The engines take turns on the same server, each with a database of its
  own, and medians are taken.
- Takeover: a worker is killed (SIGKILL) while it holds a job; the time until another one has it in its hands, which is
  what `[workers] takeover` bounds, and until it begins there. DBOS says only the latter, of an executor that is started
  under the dead one's name: without its control plane nothing else takes anything over.
"""

import argparse
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from bench import peers
from bench.figures import Figure, Target, show
from quarterdeck.testing import postgres_server

ENGINES = ("quarterdeck", "dbos")
AT_ONCE = 50
_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE = 120.0
_LOOK = 0.02
_IN_HAND = """
SELECT j.id FROM procrastinate_jobs AS j JOIN workers AS w ON w.id = j.worker_id WHERE j.status = 'doing' AND w.pid = %s
"""


def used(pid: int) -> float:
    """CPU seconds of a process, of those below it, and of those below it that have ended."""
    total, waiting = 0.0, [pid]
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(entry)) is not None:
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    while waiting:
        fields = _fields(Path("/proc") / str(waiting[-1]))
        waiting.extend(below.get(waiting.pop(), ()))
        if fields is not None:
            total += sum(int(field) for field in fields[11:15]) / _TICK
    return total


def _fields(process: Path) -> list[str] | None:
    """What the kernel says of a process, from its state on."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def costs(server: postgres_server.Server, rounds: int, jobs: int) -> dict[str, dict[str, Any]]:
    """By engine: version, CPU microseconds a job in the worker and in the server, jobs a second."""
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            name = server.create()
            before = used(server.pid)
            one = peers.run(engine, "jobs", "--url", server.url(name), "--agents", str(AT_ONCE), "--records", str(jobs))
            one["server_us"] = (used(server.pid) - before) / jobs * 1e6
            found[engine].append(one)
            server.drop(name)
    return {
        engine: {
            "version": rows[0]["version"],
            **{key: statistics.median(row[key] for row in rows) for key in ("cpu_us", "server_us", "per_second")},
        }
        for engine, rows in found.items()
    }


def takeover(server: postgres_server.Server, engine: str, heir: str) -> tuple[float, float]:
    """Seconds from the death of the worker that holds a job until another one has it in its hands (of our engine; else
    0), and until it begins there. heir: the heir's variant."""
    name, held = server.create(), 0.0
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        doomed = _worker(server.url(name), engine, "hold", folder)
        _begun(doomed)
        waiting = _worker(server.url(name), engine, heir, folder) if engine == "quarterdeck" else None
        if waiting is not None:
            time.sleep(2.0)  # it is on record before the other one dies
        doomed.send_signal(signal.SIGKILL)
        died = time.perf_counter()
        if waiting is None:
            waiting = _worker(server.url(name), engine, heir, folder)
        else:
            _claimed(server.url(name), waiting.pid)
            held = time.perf_counter() - died
        _begun(waiting)
        took = time.perf_counter() - died
        for process in (doomed, waiting):
            process.kill()
            process.communicate()
    server.drop(name)
    return held, took


def _worker(url: str, engine: str, variant: str, folder: str) -> "subprocess.Popen[str]":
    command = [str(peers.python(engine)), str(peers.HERE / engine / "jobs.py"), "--place", folder, "--url", url]
    return subprocess.Popen(
        [*command, "--agents", str(AT_ONCE), "--variant", variant],
        env=peers.environment(Path(folder)),
        stdout=subprocess.PIPE,
        text=True,
    )


def _claimed(url: str, pid: int) -> None:
    """Wait until that process has a job in its hands."""
    end = time.monotonic() + _PATIENCE
    with psycopg.connect(url, autocommit=True) as database:
        while not database.execute(_IN_HAND, (pid,)).fetchall():
            if time.monotonic() > end:
                raise peers.PeerFailed(f"{pid} got no job")
            time.sleep(_LOOK)


def _begun(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    if not process.stdout.readline().startswith("begun"):
        raise peers.PeerFailed(f"{process.args!r} began no job")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1000)
    options = parser.parse_args()
    server = postgres_server.start(durable=True)
    try:
        found = costs(server, options.rounds, options.jobs)
        ours, theirs = found["quarterdeck"], found["dbos"]
        peer = theirs["version"]
        held, took = takeover(server, "quarterdeck", "heir")
        _, again = takeover(server, "dbos", "again")
    finally:
        server.stop()
    cpu = {peer: round(theirs["cpu_us"])}, {peer: round(theirs["server_us"])}
    alone = f"{peer} has no takeover without its control plane; another one started under its name: {again:.1f} s"
    who = "(r) takeover after SIGKILL, set to 3 s"
    note = f"jobs/s: ours {ours['per_second']:.0f}, theirs {theirs['per_second']:.0f}; ours: {ours['version']}"
    show(
        [
            Figure("(r) CPU of the worker per job", "µs", round(ours["cpu_us"]), cpu[0], note=note),
            Figure("(r) CPU of PostgreSQL per job", "µs", round(ours["server_us"]), cpu[1]),
            Figure(f"{who}: in another one's hands", "s", round(held, 2), {}, Target("ours", 3)),
            Figure(f"{who}: begun there", "s", round(took, 2), note=alone),
        ]
    )


if __name__ == "__main__":
    main()
