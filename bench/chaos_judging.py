"""Holds what a chaos campaign left behind against what there should be."""

import json
from subprocess import CalledProcessError

from bench.chaos_campaign import CAPS, MEMBERS, Campaign
from quarterdeck.assembly import Deck
from quarterdeck.assembly.parts import Parts
from quarterdeck.testing.chaos.caps import (
    MINUTE,
    Committed,
    Purse,
    costs,
    most_within,
    of_calls,
    of_money,
    of_peaks,
    of_starts,
    peaks,
)
from quarterdeck.testing.chaos.history import committed
from quarterdeck.testing.chaos.leftovers import of_repository
from quarterdeck.testing.chaos.processes import Line
from quarterdeck.testing.chaos.scene import Scene
from quarterdeck.testing.chaos.verdict import Redone, Streams, Verdict, judged, read_all


async def judge_all(parts: Parts, campaign: Campaign, url: str) -> None:
    """Every run, the limits of the deck, and what is left behind."""
    streams, audit = await read_all(parts.store)
    deck = Deck(parts)
    shown: dict[str, int] = {}
    for story in campaign.stories:
        result: Line | None = None
        if story.ended is not None:
            result = json.loads((await deck.result(story.run)).model_dump_json())
        try:
            story.verdict = judged(story.scene, story.run, result, streams, delays=True, short=story.short)
        except (KeyError, CalledProcessError) as error:
            story.verdict = Verdict((f"it cannot be judged: {error!r}",), 0, Redone(), 0)
        shown[story.run] = (await deck.views.run(story.run)).cost_nusd
        campaign.violations += [f"{story.run}: {text}" for text in story.verdict.violations]
        if not story.good:
            write_down(story.scene, story.run, streams)
    history = committed(url, streams)
    await _judge_limits(parts, campaign, history, shown)
    for scene in {story.scene.folder: story.scene for story in campaign.stories}.values():
        campaign.violations += of_repository(scene)
    if audit.faults:
        campaign.violations.append(f"the journal is not intact: {audit}")
    for row in await parts.store.read("left_reservations"):
        campaign.violations.append(f"still reserved: {dict(row)}")
    if left := await parts.engine.unfinished():
        campaign.violations.append(f"{left} jobs are left")
    for job, trace in await parts.engine.failed():
        campaign.violations.append(f"a job failed: {job.kind} {job.key}: {trace[-1500:]}")


async def _judge_limits(parts: Parts, campaign: Campaign, history: list[Committed], shown: dict[str, int]) -> None:
    runs = [record for record in history if record.stream.startswith("run/")]
    kept = {
        str(row["name"]): float(row["at"]) for row in await parts.store.read("starts_all") if row["kind"] == "agent"
    }
    reserved = {str(row["purse"]): int(row["reserved"]) for row in await parts.store.read("left_reserved")}
    purses = {
        str(row["purse"]): Purse(row["cap"], row["settled"], reserved.get(row["purse"], 0))
        for row in await parts.store.read("purses_all")
    }
    campaign.peaks = peaks(runs)
    campaign.starts_a_minute = most_within([*kept.values()], MINUTE)
    campaign.calls_a_minute = most_within(campaign.asked, MINUTE)
    campaign.violations += [
        *of_peaks(campaign.peaks, CAPS),
        *of_starts(runs, kept, CAPS),
        *of_calls(campaign.asked, CAPS, len(MEMBERS)),
        *of_money(purses, costs(history), shown),
    ]


def write_down(scene: Scene, run: str, streams: Streams) -> None:
    """What the journal has of a run, for whoever looks at it afterwards (`--keep`)."""
    gates = {
        name for name, found in streams.items() if name.startswith("gate/") and any(_of(run, r.event) for r in found)
    }
    theirs = [record for name, found in streams.items() if run in name or name in gates for record in found]
    lines = [f"{r.at:.3f} {r.stream} {r.seq} {r.epoch} {r.event.model_dump_json()}" for r in theirs]
    (scene.folder / f"{run}.journal").write_text("\n".join(lines) + "\n")


def _of(run: str, event: object) -> bool:
    return f"{run}." in repr(event)
