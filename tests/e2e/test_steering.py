"""What a person does in the dashboard happens: each act is held against the journal, most of them by keyboard alone."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from e2e.browser_kit import Deck, until
from e2e.world_kit import ANSWER, DECK, EVIL, FINISH, QUESTION, World, task

GOAL = f"A goal {EVIL}"


@pytest.fixture
def told(world: World, request: pytest.FixtureRequest) -> Iterator[None]:
    """The operator sets more under a section of deck.toml, for runs that are ordered meanwhile."""
    section, line = request.param
    file = world.place.home / "deck.toml"
    file.write_text(DECK.replace(f"[{section}]\n", f"[{section}]\n{line}\n"))
    yield
    file.write_text(DECK)


def operator(section: str, line: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("told", [(section, line)], indirect=True, ids=[line])


@operator("approve", 'plan = "always"')
@pytest.mark.usefixtures("told")
def test_a_run_is_started_approved_and_watched_to_its_end(deck: Deck, world: World) -> None:
    page = deck.page
    deck.go("now", "Now")
    deck.press("c")
    deck.asked()
    deck.type(GOAL)
    page.get_by_label("Repository").fill(str(world.place.repository))
    deck.press("Enter")
    expect(page).to_have_url(re.compile(r"#/run/r-"))
    run = page.url.rpartition("/")[2]
    expect(page.get_by_role("heading", level=1, name=GOAL)).to_be_visible()

    # The plan waits for a person: the exact action is shown, and approved by one key.
    expect(page.get_by_text("Waits for your approval")).to_be_visible()
    deck.press("g", "i")
    expect(page.get_by_role("heading", level=1, name="Inbox")).to_be_visible()
    (asked,) = world.asked(run)
    assert asked["what"] == "plan"
    page.locator(f"#item-{asked['approval']}").click()
    expect(page.locator(".subject code")).to_have_text(asked["action_hash"][:16])
    assert "planned.txt" in deck.text(".subject pre")
    deck.press("a")
    expect(page.locator(f"#item-{asked['approval']}")).to_have_count(0)
    decided = decision(world, asked["approval"])
    assert (decided["verdict"], decided["action_hash"]) == ("approve", asked["action_hash"])
    assert decided["by"] == world.one("SELECT user FROM runs WHERE run = ?", run)["user"]

    # It goes on by itself, and the page sees it through without being loaded again.
    deck.press("g", "r")
    page.get_by_role("link", name=GOAL).first.click()
    expect(page.locator(".run-crumb")).to_contain_text("done", ignore_case=True)
    expect(page.locator(".run-main").get_by_text("1 of 1 merged")).to_be_visible()
    (landed,) = world.rows("SELECT * FROM tasks WHERE run = ?", run)
    assert landed["status"] == "merged"
    deck.press("j")  # the next task, which is its only one
    expect(page.locator(".pane-state")).to_contain_text(landed["commit_sha"][:10])


def decision(world: World, approval: str) -> dict[str, object]:
    return next(each for each in world.events("approval.decided", "") if each["approval"] == approval)


def test_a_tool_is_approved_once_and_then_denied_with_a_reason(deck: Deck, world: World) -> None:
    run = world.order(task("guarded"))
    page = deck.page
    deck.go("inbox", "Inbox")
    line = page.locator(".inbox-line").filter(has_text="search")
    expect(line).to_be_visible()
    line.click()
    (asked,) = world.asked(run)
    expect(page.locator(".subject code")).to_have_text(asked["action_hash"][:16])
    assert EVIL in page.locator(".subject pre").inner_text().replace('\\"', '"'), "what is asked is shown whole"
    deck.press("a")
    until(page, lambda: len(world.asked(run)) == 2, "the second question")
    second = world.asked(run)[1]
    page.locator(f"#item-{second['approval']}").click()
    expect(page.locator(".subject code")).to_have_text(second["action_hash"][:16])
    deck.press("d")
    deck.type("read the file instead")
    page.get_by_role("button", name="Deny").click()
    until(page, lambda: status(world, run) == "done", "the run's end")
    verdicts = [decision(world, each) for each in (asked["approval"], second["approval"])]
    assert [each["verdict"] for each in verdicts] == ["approve", "deny"]
    assert verdicts[1]["reason"] == "read the file instead"
    searched = [each for each in world.events("tool.done", run) if each["tool"] == "search"]
    assert [each["ok"] for each in searched] == [True, False], "the one was performed, the other was not"


def status(world: World, run: str) -> str:
    return str(world.one("SELECT status FROM runs WHERE run = ?", run)["status"])


def test_a_question_is_answered_by_keyboard_alone(deck: Deck, world: World) -> None:
    run = world.order(task("asks"))
    page = deck.page
    deck.go("now", "Now")
    expect(page.locator(".need").filter(has_text="Which colour?")).to_be_visible()
    deck.press("g", "i")
    own = page.locator(".inbox-line").filter(has_text=f"{run}.asks.1")
    expect(own).to_be_visible()
    for _ in range(page.locator(".inbox-line").count()):
        if own.get_attribute("aria-current") == "true":
            break
        deck.press("j")
    expect(own).to_have_attribute("aria-current", "true")
    expect(page.locator(".inbox-question")).to_contain_text(QUESTION)
    deck.press("a")
    deck.type(ANSWER)
    deck.press("Control+Enter")
    expect(own).to_have_count(0)
    until(page, lambda: status(world, run) == "done", "the run's end")
    assert world.rows("SELECT * FROM waits WHERE run = ?", run) == []


def test_an_agent_at_work_is_seen_told_paused_and_goes_on(deck: Deck, world: World) -> None:
    run = world.order(task("slow"))
    page = deck.page
    deck.go("fleet", "Fleet")
    row = page.locator(".fleet-row").filter(has_text=f"{run}.slow.1")
    expect(row).to_be_visible()

    # It is alive: what is shown grows by itself, as the journal does.
    turns = row.locator(".num").last
    before = int(turns.inner_text().partition("/")[0])
    until(page, lambda: int(turns.inner_text().partition("/")[0]) > before, "another turn")
    shown = int(turns.inner_text().partition("/")[0])
    assert before < shown <= len(world.events("model.asked", run))

    row.click()
    deck.press("p")
    until(page, lambda: status(world, run) == "paused", "the pause")
    deck.go(f"run/{run}", f"Goal {EVIL}")
    expect(page.locator(".run-crumb")).to_contain_text("paused", ignore_case=True)
    page.get_by_role("button", name="Resume").click()
    until(page, lambda: status(world, run) == "running", "the run going on")

    page.get_by_role("button", name="Raise the budget").click()
    page.get_by_label("New budget").fill("7.5")
    deck.press("Enter")
    until(page, lambda: budget(world, run) == 7_500_000_000, "the new budget")
    expect(page.locator(".run-head")).to_contain_text("$7.50")

    deck.go("fleet", "Fleet")
    page.locator(".fleet-row").filter(has_text=f"{run}.slow").first.click()
    deck.press("m")
    deck.asked()
    deck.type(FINISH)
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    until(page, lambda: status(world, run) == "done", "the run's end")
    (sent,) = world.events("message.sent", run)
    (reached,) = world.events("message.delivered", run)
    assert (sent["text"], reached["text"]) == (FINISH, FINISH)
    expect(page.get_by_text("No agent is at work")).to_be_visible()


def budget(world: World, run: str) -> int:
    return int(world.one("SELECT budget_nusd FROM runs WHERE run = ?", run)["budget_nusd"])


def test_an_order_holds_for_what_its_person_saw_and_what_changed_meanwhile_is_said(deck: Deck, world: World) -> None:
    run = world.order(task("slow"))
    page = deck.page
    deck.go(f"run/{run}", f"Goal {EVIL}")
    bound: list[str | None] = []
    page.on("request", lambda sent: bound.append(sent.headers.get("if-match")) if sent.method == "POST" else None)
    page.get_by_role("button", name="Raise the budget").click()
    dialog = deck.asked()
    code, _, err = world.place.call("budget", run, "900")
    assert code == 0, err
    until(page, lambda: budget(world, run) == 900_000_000_000, "somebody else's budget")
    page.get_by_label("New budget").fill("1000")
    deck.press("Enter")
    refused = dialog.get_by_role("alert")
    expect(refused).to_contain_text(re.compile(r"Nothing was done.*The budget is \$900\.00 now; you saw \$[0-9.]+"))
    assert budget(world, run) == 900_000_000_000
    # Who still wants it says so again, and then it is for what is there now.
    dialog.get_by_role("button", name="Raise").click()
    expect(dialog).to_have_count(0)
    until(page, lambda: budget(world, run) == 1_000_000_000_000, "the new budget")
    assert len(bound) == 2 and all(bound) and bound[0] != bound[1]
    assert len(deck.seen.refused) == 1
    world.place.call("cancel", run)


def test_a_run_is_cancelled_after_a_second_look(deck: Deck, world: World) -> None:
    run = world.order(task("slow"))
    page = deck.page
    deck.go(f"run/{run}", f"Goal {EVIL}")
    page.get_by_role("button", name="Cancel").click()
    dialog = deck.asked()
    deck.press("Escape")
    expect(dialog).to_have_count(0)
    assert status(world, run) == "running"
    page.get_by_role("button", name="Cancel").click()
    deck.asked().get_by_role("button", name="Cancel the run").click()
    until(page, lambda: status(world, run) == "cancelled", "the end")
    expect(page.locator(".run-crumb")).to_contain_text("cancelled", ignore_case=True)
    assert world.events("run.cancelled", run)


@operator("approve", 'merge = "always"')
@pytest.mark.usefixtures("told")
def test_a_change_is_commented_denied_approved_and_taken_back(deck: Deck, world: World) -> None:
    run = world.order(task("planned"))
    page = deck.page
    until(page, lambda: len(world.asked(run)) == 1, "the question about the change")
    (first,) = world.asked(run)
    assert first["what"] == "merge"

    # A comment on a line of the change is on record with its place.
    open_task(deck, run)
    deck.press("v")
    page.get_by_role("button", name="Comment on line 1").click()
    deck.type(f"say why {EVIL}")
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    until(page, lambda: world.events("message.sent", run) != [], "the comment")
    (sent,) = world.events("message.sent", run)
    assert (sent["path"], sent["line"]) == ("planned.txt", 1) and f"say why {EVIL}" in sent["text"]

    # Denied, it goes back to its author, who reads the reason and the comment; the next one is approved and lands.
    decide(deck, first["approval"], "Deny", reason="too long")
    until(page, lambda: len(world.asked(run)) == 2, "the question about the next change")
    second = world.asked(run)[1]
    assert second["attempt"] == f"{run}.planned.2"
    read = page.request.get(f"{deck.url}/api/v1/attempts/{second['attempt']}/thread").json()["entries"]
    told = " ".join(entry["text"] for entry in read if entry["kind"] in ("prompt", "human"))
    assert "too long" in told and "say why" in told
    decide(deck, second["approval"], "Approve")
    until(page, lambda: status(world, run) == "done", "the run's end")
    assert [decision(world, each["approval"])["verdict"] for each in (first, second)] == ["deny", "approve"]
    landed = world.one("SELECT * FROM tasks WHERE run = ?", run)

    # Taken back by a run of its own: who orders it has said yes to it.
    open_task(deck, run)
    page.locator(".pane-state").get_by_role("button", name="Take back").click()
    deck.asked().get_by_role("button", name="Take back").click()
    expect(page).not_to_have_url(re.compile(run))
    back = page.url.rpartition("/")[2].partition("?")[0]
    until(page, lambda: status(world, back) == "done", "the end of taking it back")
    (queued,) = [each for each in world.events("change.queued", "") if each["change"]["run"] == back]
    assert queued["reverts"] == landed["commit_sha"]


def open_task(deck: Deck, run: str) -> None:
    """The pane of the run's only task."""
    deck.go(f"run/{run}", f"Goal {EVIL}")
    expect(deck.page.locator(".run-main").get_by_text(re.compile("of 1 merged"))).to_be_visible()
    deck.press("j")
    expect(deck.page.locator(".pane-state")).to_be_visible()


def decide(deck: Deck, approval: str, verdict: str, reason: str = "") -> None:
    """Decide about what waits in the inbox."""
    deck.go("inbox", "Inbox")
    deck.page.locator(f"#item-{approval}").click()
    if reason:
        deck.page.get_by_label("Reason").fill(reason)
    deck.page.locator(".inbox-decide").get_by_role("button", name=re.compile(verdict)).click()
    expect(deck.page.locator(f"#item-{approval}")).to_have_count(0)


@operator("limits", "attempts = 1")
@pytest.mark.usefixtures("told")
def test_a_failed_task_is_tried_again_by_another_agent(deck: Deck, world: World) -> None:
    run = world.order(task("planned", verify=["test -s nothing.txt"]))
    page = deck.page
    until(page, lambda: task_of(world, run)["status"] in ("failed", "waiting"), "the failure")
    open_task(deck, run)
    expect(page.locator(".pane-reason")).to_contain_text("is not done after")
    deck.press("r")
    deck.type("tester")
    page.get_by_role("dialog").get_by_role("button", name="Try again").click()
    until(
        page, lambda: [each["agent"] for each in world.events("task.dispatched", run)][-1] == "tester", "the next try"
    )
    (retried,) = world.events("task.retried", run)
    assert retried["agent"] == "tester"


def task_of(world: World, run: str) -> dict[str, object]:
    return world.one("SELECT * FROM tasks WHERE run = ?", run)
