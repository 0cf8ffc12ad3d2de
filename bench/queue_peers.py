"""Other ways to run a merge queue, beside which the gate's is measured (`bench_queue`)."""

from collections.abc import Iterator
from typing import Final

from bench.queue_world import Fleet, Outcome, clock

BATCH: Final = 16
"""Changes of one batch at most."""


def serial(what: Fleet, slots: int) -> Outcome:
    """One change after the other; a red one is checked once more, then it is out."""
    del slots
    out, times, ground = Outcome(), clock(what), frozenset[str]()
    for name, arrival in zip(what.names, what.arrivals, strict=True):
        out.makespan = max(out.makespan, arrival)
        ground = _one(what, out, times, ground, name)
    return out


def _one(what: Fleet, out: Outcome, times: Iterator[float], ground: frozenset[str], name: str) -> frozenset[str]:
    good = what.good(ground | {name})
    _spend(out, times)
    if good:
        out.landed[name] = out.makespan
        return ground | {name}
    _spend(out, times)
    out.evicted[name] = out.makespan
    return ground


def _spend(out: Outcome, times: Iterator[float]) -> None:
    took = next(times)
    out.makespan += took
    out.cost += took
    out.checks += 1


def batch(what: Fleet, slots: int) -> Outcome:
    """What waits is one batch, one at a time; while it is red it is halved."""
    del slots
    out, times, ground = Outcome(), clock(what), frozenset[str]()
    coming = list(zip(what.arrivals, what.names, strict=True))
    while coming:
        out.makespan = max(out.makespan, coming[0][0])
        waiting = [name for arrival, name in coming if arrival <= out.makespan][:BATCH]
        coming = coming[len(waiting) :]
        parts = [waiting]
        while parts:
            part = parts.pop(0)
            if len(part) == 1:
                ground = _one(what, out, times, ground, part[0])
                continue
            _spend(out, times)
            if what.good(ground.union(part)):
                ground = ground.union(part)
                out.landed.update(dict.fromkeys(part, out.makespan))
            else:
                parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
    return out


def window(what: Fleet, slots: int) -> Outcome:
    """As many as there are slots are checked on top of each other; behind one that fails all begin anew without it."""
    out, times, ground, now = Outcome(), clock(what), frozenset[str](), 0.0
    coming = list(zip(what.arrivals, what.names, strict=True))[::-1]
    chain: list[list[object]] = []  # name, when it ends, when it began, tries
    while coming or chain:
        while coming and len(chain) < slots and coming[-1][0] <= now:
            chain.append([coming.pop()[1], now + next(times), now, 1])
            out.checks += 1
        if not chain:
            now = coming[-1][0]
            continue
        name, end, began, tried = chain[0]
        assert isinstance(name, str) and isinstance(end, float) and isinstance(began, float) and isinstance(tried, int)
        if end > now and coming and len(chain) < slots and now < coming[-1][0] < end:
            now = coming[-1][0]
            continue
        now = max(now, end)
        out.cost += end - began
        chain.pop(0)
        if what.good(ground | {name}):
            ground |= {name}
            out.landed[name] = now
        elif tried == 1:
            chain.insert(0, [name, now + next(times), now, 2])
            out.checks += 1
        else:
            out.evicted[name] = now
            for place, behind in enumerate(chain):
                stopped, started = behind[1], behind[2]
                assert isinstance(stopped, float) and isinstance(started, float)
                out.cost += min(now, stopped) - started
                chain[place] = [behind[0], now + next(times), now, 1]
                out.checks += 1
    out.makespan = now
    return out
