"""Every screen over a run that has been through everything: its figures are the journal's, it is drawn in both themes,
for every width and every reader, and nothing that an agent wrote does anything in it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from e2e.browser_kit import THEMES, WIDE, Deck, opened, until
from e2e.world_kit import EVIL, FILE, World, task, world_at

WIDTHS = (320, 768, 3840)


@pytest.fixture(scope="module")
def run(world: World, browser: Browser) -> Iterator[str]:
    """A run that has landed a change, asks a question, waits for an approval and has an agent at work."""
    number = world.order(task("names", paths=["*.txt"], verify=[]), task("slow"), task("asks"), task("guarded"))
    with opened(browser, world.url) as deck:
        until(deck.page, lambda: ready(world, number), "a run that waits in every way")
    yield number
    world.place.call("cancel", number)


def ready(world: World, run: str) -> bool:
    rows = world.rows("SELECT task, status FROM tasks WHERE run = ?", run)
    states = {row["task"]: row["status"] for row in rows}
    asked = [each["what"] for each in world.asked(run)]
    waits = world.rows("SELECT * FROM waits WHERE run = ?", run)
    return states.get("names") == "merged" and asked == ["tool"] and bool(waits)


def places(run: str) -> dict[str, tuple[str, str]]:
    """Every screen and every part of one that has an address, with its heading."""
    goal = f"Goal {EVIL}"
    return {
        "now": ("now", "Now"),
        "inbox": ("inbox", "Inbox"),
        "fleet": ("fleet", "Fleet"),
        "runs": ("run", "Runs"),
        "run": (f"run/{run}", goal),
        "thread": (f"run/{run}?task=names", goal),
        "change": (f"run/{run}?task=names&show=change", goal),
        "integrate": ("integrate", "Integrate"),
        "cost": ("cost", "Cost"),
        "audit": ("audit", "Audit"),
    }


@pytest.mark.parametrize("theme", THEMES)
def test_every_screen_is_drawn_fits_and_is_accessible_and_inert(
    theme: str, world: World, browser: Browser, run: str
) -> None:
    """`opened` holds that no script of an agent ran and that nothing was logged or fetched elsewhere."""
    found: list[str] = []
    with opened(browser, world.url, theme=theme) as deck:
        for name, (place, heading) in places(run).items():
            deck.go(place, heading)
            settle(deck)
            if name == "cost":  # its library comes after the screen
                expect(deck.page.locator(".chart-frame canvas")).to_be_visible()
            deck.draw(f"{name}-{theme}")
            found += [f"{name}: {violation}" for violation in deck.violations()]
            found += [f"{name} at {width}: {by} too wide" for width, by in widths(deck) if by > 0]
    assert found == []


def widths(deck: Deck) -> list[tuple[int, int]]:
    """By how many pixels the page is too wide for windows of these widths."""
    found = []
    for width in WIDTHS:
        deck.page.set_viewport_size({"width": width, "height": 800})
        found.append((width, deck.too_wide()))
    deck.page.set_viewport_size(WIDE)  # type: ignore[arg-type]  # a ViewportSize is such a dict
    return found


def settle(deck: Deck) -> None:
    """Whatever the screen reads has arrived."""
    expect(deck.page.locator("main h1, main h2").first).to_be_visible()
    expect(deck.page.get_by_text(re.compile("^(Reading|Searching|Adding up).*…$"))).to_have_count(0)


def test_what_an_agent_wrote_is_shown_as_it_wrote_it(deck: Deck, run: str) -> None:
    deck.go(f"run/{run}?task=names", f"Goal {EVIL}")
    expect(deck.page.locator(".pane")).to_contain_text(f"I write {EVIL}")
    deck.go(f"run/{run}?task=names&show=change")
    expect(deck.page.locator(".pane")).to_contain_text(FILE)
    expect(deck.page.locator(".pane")).to_contain_text(f"names {EVIL}")
    assert deck.page.locator("main img, main script").count() == 0


def test_an_open_question_is_asked_once_and_told_as_nothing_bad(deck: Deck, run: str) -> None:
    deck.go(f"run/{run}", f"Goal {EVIL}")
    why = deck.page.locator(".run-why")
    expect(why.locator(".why-line").filter(has_text="Which colour?")).to_have_count(1)
    expect(why).not_to_contain_text("First bad step")
    why.get_by_role("button", name="Go there").click()
    expect(deck.page).to_have_url(re.compile(rf"attempt={run}\.asks\.1"))


def test_a_run_that_ran_out_of_money_is_offered_more(deck: Deck, world: World) -> None:
    plan = str(world.place.plan(task("slow")))
    (ordered,) = world.call("run", "--plan", plan, "--budget", "0.01", "--detach")
    number = str(ordered["run"])
    until(deck.page, lambda: ended(world, number), "the end of its money")
    deck.go(f"run/{number}", "the goal")
    expect(deck.page.get_by_role("button", name="Raise the budget")).to_be_visible()
    deck.press("b")
    expect(deck.asked()).to_contain_text("of $0.01")


def ended(world: World, run: str) -> bool:
    return world.one("SELECT finished_at FROM runs WHERE run = ?", run)["finished_at"] is not None


def test_on_a_telephone_the_screen_that_one_is_on_is_in_sight(world: World, browser: Browser, run: str) -> None:
    with opened(browser, world.url, size={"width": 390, "height": 844}) as deck:
        for place, heading in (("audit", "Audit"), ("now", "Now"), ("cost", "Cost")):
            deck.go(place, heading)
            expect(deck.page.locator(".nav [aria-current=page]")).to_be_in_viewport(ratio=0.9)


def test_a_screen_that_could_not_be_loaded_comes_when_the_server_is_back(browser: Browser, tmp_path: Path) -> None:
    with world_at(tmp_path) as world, ExitStack() as servers, opened(browser, world.url) as deck:
        deck.go("now", "Now")
        world.server.kill()
        expect(deck.page.get_by_text("Not live.")).to_be_visible()
        deck.page.locator(".nav").get_by_role("link", name="Audit").click()
        expect(deck.page.get_by_role("heading", name="This screen cannot be shown")).to_be_visible()
        servers.enter_context(world.place.quarterdeck("up", "--port", world.url.rpartition(":")[2]))
        expect(deck.page.get_by_role("heading", level=1, name="Audit")).to_be_visible()
        deck.seen.errors.clear()  # what the browser says by itself of a server that is away


def money(text: str) -> float:
    return float(text.replace("$", "").replace(",", ""))


def test_the_figures_of_a_run_are_those_of_its_journal(deck: Deck, world: World, run: str) -> None:
    deck.go(f"run/{run}", f"Goal {EVIL}")
    page = deck.page
    (row,) = world.rows("SELECT * FROM runs WHERE run = ?", run)
    tasks = world.rows("SELECT * FROM tasks WHERE run = ?", run)
    merged = sum(task["status"] == "merged" for task in tasks)
    expect(page.locator(".run-head")).to_contain_text(f"{merged} of {len(tasks)} merged")
    expect(page.locator(".run-head")).to_contain_text(f"of ${row['budget_nusd'] / 1e9:.2f}")
    for task_row in tasks:
        expect(page.locator(".run-main")).to_contain_text(task_row["title"])

    def agrees() -> bool:
        """The run goes on: the page and the journal agree at some moment."""
        cost = world.one("SELECT cost_nusd FROM runs WHERE run = ?", run)["cost_nusd"] / 1e9
        shown = re.search(r"(\$[0-9.,]+) of \$", deck.text(".run-head"))
        return shown is not None and abs(money(shown[1]) - cost) <= 0.0051

    until(page, agrees, "the cost of the journal")
    (landed,) = [task for task in tasks if task["status"] == "merged"]
    deck.go(f"run/{run}?task=names")
    expect(page.locator(".pane-state")).to_contain_text(landed["commit_sha"][:10])


def test_now_and_inbox_name_what_waits_and_nothing_else(deck: Deck, world: World, run: str) -> None:
    deck.go("now", "Now")
    (wait,) = world.rows("SELECT * FROM waits WHERE run = ?", run)
    (asked,) = world.asked(run)
    expect(deck.page.locator(".need").filter(has_text=wait["question"])).to_have_count(1)
    expect(deck.page.locator(".need").filter(has_text=asked["title"])).to_have_count(1)
    deck.go("inbox", "Inbox")
    open_ = [line for line in world.call("inbox") if line["kind"] in ("approval", "wait")]
    expect(deck.page.locator(".inbox-line")).to_have_count(len(open_))
    deck.page.locator(f"#item-{asked['approval']}").click()
    expect(deck.page.locator(".subject code")).to_have_text(asked["action_hash"][:16])


def test_fleet_integrate_cost_and_audit_are_the_journals(deck: Deck, world: World, run: str) -> None:
    page = deck.page
    deck.go("fleet", "Fleet")
    (slow,) = world.rows("SELECT * FROM attempts WHERE run = ? AND task = 'slow' AND status = 'running'", run)
    row = page.locator(".fleet-row").filter(has_text=slow["attempt"])
    expect(row).to_contain_text(slow["agent"])
    expect(row).to_contain_text("scripted")
    asks = page.locator(".fleet-row").filter(has_text=f"{run}.guarded.1")
    expect(asks).to_contain_text("you: approval")

    deck.go("integrate", "Integrate")
    (landed,) = world.rows("SELECT * FROM tasks WHERE run = ? AND status = 'merged'", run)
    expect(page.locator(".gate").first).to_contain_text(landed["commit_sha"][:8])

    deck.go("cost/run?days=1", "Cost")
    costs = world.rows("SELECT run, cost_nusd FROM runs WHERE cost_nusd > 0")
    assert len(costs) >= 1
    expect(page.locator("main")).to_contain_text("Spent")

    deck.go(f"audit?kind=tool.done&stream=attempt%2F{run}.names", "Audit")
    done = world.events("tool.done", f"{run}.names")
    expect(page.locator(".audit-rows [role=row]").filter(has_text="tool.done")).to_have_count(len(done))


def test_everything_is_reached_by_keyboard(deck: Deck, world: World, run: str) -> None:
    page = deck.page
    deck.go("now", "Now")
    for key, heading in (
        ("i", "Inbox"),
        ("f", "Fleet"),
        ("r", "Runs"),
        ("m", "Integrate"),
        ("b", "Cost"),
        ("a", "Audit"),
    ):
        deck.press("g", key)
        expect(page.get_by_role("heading", level=1, name=heading)).to_be_visible()
    dialog = page.get_by_role("dialog")
    for _ in range(10):  # a key that is pressed as soon as a dialog is gone is for what is seen then
        deck.press("?")
        expect(dialog).to_contain_text("Show the keys")
        deck.press("Escape")
        expect(dialog).to_have_count(0)
        deck.press("Control+k")
        expect(dialog).to_be_visible()
        deck.press("Escape")
        expect(dialog).to_have_count(0)
    deck.press("Control+k")
    expect(dialog).to_be_visible()
    deck.type(run)
    expect(dialog).to_contain_text(f"Goal {EVIL}")
    deck.press("Enter")
    expect(page).to_have_url(re.compile(f"#/run/{run}"))
    grounds = set()
    for _ in range(3):  # as the system has it, dark, light
        deck.press("t")
        grounds.add(page.evaluate("getComputedStyle(document.body).color"))
    assert len(grounds) == 2
