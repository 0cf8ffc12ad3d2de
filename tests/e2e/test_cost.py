"""Cost and the figures above every screen are the journal's: what each call to a model cost, added up here again."""

import json
import re
import time
from collections import Counter, defaultdict
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from e2e.browser_kit import Deck, opened, until
from e2e.world_kit import World, task

READ = """() => [...document.querySelectorAll('.cost-rows tbody tr')].map(row => ({
    key: (row.querySelector('th .mono') ?? row.querySelector('th span')).textContent,
    cells: [...row.querySelectorAll('td')].map(cell => ({
        text: cell.textContent, title: cell.title || (cell.querySelector('[title]')?.title ?? '')}))}))"""

Sums = dict[str, Counter[str]]


def journal(world: World) -> list[dict[str, Any]]:
    rows = world.rows("SELECT s.name, e.at, e.body FROM events e JOIN streams s ON s.id = e.stream ORDER BY e.id")
    return [{"stream": row["name"], "at": row["at"], **json.loads(row["body"])} for row in rows]


def added_up(world: World, by: str) -> Sums:
    """Calls, USD times a thousand million, tokens and landed changes by key, out of the records alone."""
    users, agents, found = dict[str, str](), dict[str, str](), defaultdict[str, Counter[str]](Counter)

    def key(attempt: str, event: dict[str, Any]) -> str:
        run = attempt.partition(".")[0]
        day = time.strftime("%Y-%m-%d", time.gmtime(event["at"]))
        return {"user": users[run], "agent": agents[attempt], "run": run, "day": day}.get(by) or event["model"]

    for event in journal(world):
        kind, name = event["kind"], event["stream"].partition("/")[2]
        if kind == "run.created":
            users[name] = event["user"]
        elif kind == "attempt.started":
            agents[name] = event["agent"]
        elif kind == "model.answered":
            usage = event["usage"]
            cached = usage.get("cache_read", 0)
            into = usage.get("input", 0) + cached + usage.get("cache_write", 0)
            one = Counter(calls=1, nusd=event["cost_nusd"], into=into, out=usage.get("output", 0))
            found[key(name, event)].update(one)
        elif kind == "task.merged" and by != "model":
            found[key(event["attempt"], event)].update(changes=1)
    return found


def shown(deck: Deck, by: str) -> Sums:
    """The same out of the table on the screen."""
    found: Sums = {}
    for row in deck.page.evaluate(READ):
        cost, _, *rest = row["cells"]
        changes = int(rest.pop(0)["text"]) if by != "model" else 0
        if by != "model":
            each = rest.pop(0)
            assert (each["text"] == "–") == (changes == 0)
            if changes:
                assert float(each["title"][1:]) == pytest.approx(float(cost["title"][1:]) / changes, abs=1e-8)
        calls, into, _, out = rest
        nusd = round(float(cost["title"].removeprefix("$")) * 1e9)
        found[row["key"]] = Counter(
            calls=int(calls["text"]), nusd=nusd, into=int(into["title"]), out=int(out["title"]), changes=changes
        )
    return found


def between(before: Sums, seen: Sums, after: Sums) -> bool:
    """Agents of other tests may be at work: what is shown is the journal of some moment between two looks at it."""
    return before.keys() <= seen.keys() <= after.keys() and all(
        before.get(key, Counter()) <= counted <= after[key] for key, counted in seen.items()
    )


@pytest.fixture(scope="module")
def landed(world: World, browser: Browser) -> str:
    """A run that has ended, of an author and a reviewer each for two tasks."""
    run = world.order(task("planned"), task("names", paths=["*.txt"], verify=[]))

    def done() -> bool:
        return bool(world.one("SELECT status FROM runs WHERE run = ?", run)["status"] == "done")

    with opened(browser, world.url) as deck:
        until(deck.page, done, "the end of the run")
    return run


def test_every_sum_of_cost_is_what_the_calls_in_the_journal_add_up_to(deck: Deck, world: World, landed: str) -> None:
    page = deck.page
    for by, heading in (("user", "Person"), ("agent", "Agent"), ("model", "Model"), ("run", "Run"), ("day", "Day")):
        before = added_up(world, by)
        deck.go(f"cost/{by}?days=1", "Cost")
        expect(page.get_by_role("columnheader", name=heading)).to_be_visible()
        seen = shown(deck, by)
        assert between(before, seen, added_up(world, by)), (before, seen, added_up(world, by))
        facts = page.locator(".cost > .facts, .cost dl").first
        total = sum((counted for counted in seen.values()), Counter[str]())
        spent = facts.locator("strong.sum [title]").get_attribute("title") or ""
        assert round(float(spent.removeprefix("$")) * 1e9) == pytest.approx(total["nusd"], abs=1)
        expect(facts).to_contain_text(re.compile(rf"Calls\s*{total['calls']}(?![0-9])"))
        if by == "run":
            assert seen[landed] == added_up(world, by)[landed], "what has ended is exact"
            assert seen[landed]["changes"] == 2


@pytest.mark.usefixtures("landed")
def test_the_burn_the_caps_and_the_line_above_every_screen_say_the_same(deck: Deck, world: World) -> None:
    page = deck.page
    today = time.strftime("%Y-%m-%d", time.gmtime())

    def total() -> int:
        return sum(counted["nusd"] for day, counted in added_up(world, "day").items() if day == today)

    before = total()
    deck.go("cost/day?days=1", "Cost")
    purse = page.locator(".purse").filter(has_text="The whole deck")
    settled = purse.locator("[title]").first.get_attribute("title") or ""
    assert before <= round(float(settled.removeprefix("$")) * 1e9) <= total()
    cap = world.one("SELECT cap FROM purses WHERE purse = ?", f"deck/{today}")["cap"]
    if cap is not None:
        expect(purse).to_contain_text(f"of ${cap / 1e9:.2f}")
    label = page.locator(".chart").get_attribute("aria-label") or ""
    told = re.search(r"\$([0-9.,]+) on the last day", label)
    assert told is not None and before / 1e9 - 0.006 <= float(told[1]) <= total() / 1e9 + 0.006, label

    def agrees() -> bool:
        said = page.locator(".readout").filter(has_text="Spent today").locator("[title]").first.get_attribute("title")
        return said is not None and before <= round(float(said.removeprefix("$")) * 1e9) <= total()

    until(page, agrees, "what today has cost")
    merged = len([event for event in journal(world) if event["kind"] == "task.merged"])
    unread = page.locator(".readout").filter(has_text="Landed unreviewed")
    expect(unread).to_have_attribute("title", re.compile(rf" of {merged} changes?$"))
