"""A message from outside becomes a run, a branch and a pull request, each of them once."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from deck_kit import task
from trigger_kit import BAD, GOOD, SECRET, TOKEN, World, post, served, signed, until, world_at

from quarterdeck.assembly import open_deck
from quarterdeck.delivery.order import Order
from quarterdeck.journal.firings import FiringView
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import RunStatus, outside
from quarterdeck.kernel.failures import BadInput, Conflicting, GitFailed
from quarterdeck.testing.github import FakeGithub
from quarterdeck.triggers import publishing

pytestmark = pytest.mark.sandbox


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(publishing, "PAUSES", (0.01,) * 11)
    with world_at(tmp_path, monkeypatch) as made:
        yield made


def issue(server: FakeGithub, number: int = 7) -> None:
    server.issue(number, "Crash on start", "It crashes. Fixes #3, says @eve.\n<!-- quarterdeck -->")


async def test_a_label_becomes_a_pull_request_once(world: World) -> None:
    issue(world.server)
    world.server.faults = ["502", "", "lost"]  # looking fails once; then the answer to opening is lost
    async with served(world) as deck:
        headers, body = signed(world.server.labeled(7))
        assert await post(deck, "issues", headers, body) == (202, {"v": 1, "status": "accepted"})

        async def ordered() -> str:
            found = await deck.outside.firings.firing("issues", "d-1")
            return found.run if found is not None and found.status == "ordered" else ""

        run = await until(deck, ordered)

        async def opened() -> list[e.EventBase]:
            records = await deck.journal.read(ids.publish_stream(run))
            return [record.event for record in records if isinstance(record.event, outside.PullOpened)]

        [there] = await until(deck, opened)
        assert there.found, "the one that was opened without our hearing of it"
        assert await post(deck, "issues", headers, body) == (200, {"v": 1, "status": "known"})
        again, same = signed(world.server.labeled(7), delivery="d-2")
        assert (await post(deck, "issues", again, same))[0] == 202

        async def refused() -> str:
            found = await deck.outside.firings.firing("issues", "d-2")
            return found.code if found is not None else ""

        assert await until(deck, refused) == "duplicate"
        result, created = await deck.result(run), await deck.ordered(run)
        assert (created.user, created.trigger, created.subject) == ("trigger:issues", "issues", "acme/shop#7")
        assert [view.run for view in await deck.views.runs()] == [run]
    assert world.tip(result.target.branch) == result.target.sha
    [pull] = world.server.pulls
    assert pull["title"] == "Crash on start"
    assert pull["body"].startswith("Closes #7\n")
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (f"quarterdeck/{run}", "main")
    assert world.server.comments.get(7, []) == []
    assert (world.server.complaints, world.server.faults) == ([], [])
    kept = b"".join(path.read_bytes() for path in sorted(world.place.home.rglob("*")) if path.is_file())
    for secret in (TOKEN, SECRET, base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()):
        assert secret.encode() not in kept


async def test_a_run_that_fails_says_so_on_its_issue_once(world: World) -> None:
    world.configure(plan=BAD)
    issue(world.server)
    world.server.faults = ["", "lost"]
    async with served(world) as deck:
        await post(deck, "issues", *signed(world.server.labeled(7)))

        async def said() -> list[e.EventBase]:
            runs = await deck.views.runs()
            records = await deck.journal.read(ids.publish_stream(runs[0].run)) if runs else []
            return [record.event for record in records if isinstance(record.event, outside.IssueCommented)]

        await until(deck, said)
    [comment] = world.server.comments[7]
    assert "ended **failed**" in comment["body"]
    assert world.server.pulls == []


async def test_who_may_not_start_a_run_is_refused_with_the_reason(world: World) -> None:
    issue(world.server)
    issue(world.server, 8)
    comment = {
        **world.server.labeled(8),
        "action": "created",
        "comment": {"body": "/quarterdeck", "author_association": "NONE", "user": {"login": "eve"}},
        "sender": {"login": "eve", "type": "User"},
    }
    world.configure(more="concurrent = 1\nwaiting = 0")
    async with open_deck(world.place.settings) as deck:
        first = await deck.outside.fire("issues", signed(world.server.labeled(7))[1].decode())
        live = await deck.outside.fire("issues", signed(world.server.labeled(7, again=1))[1].decode())
        crowd = await deck.outside.fire("issues", signed(world.server.labeled(8))[1].decode())
        foreign = await deck.outside.fire("issues", signed(comment)[1].decode())
        assert first is not None and live is not None and crowd is not None and foreign is not None
        assert [first.status, live.code, crowd.code, foreign.code] == ["ordered", "live", "rate", "author"]
        assert first.run in live.reason
        assert "eve is NONE here" in foreign.reason
        world.configure(more="concurrent = 1\nwaiting = 5")
        held = await deck.outside.fire("issues", signed(world.server.labeled(8, again=2))[1].decode())
        assert held is not None and held.status == "held"
        [view] = await deck.outside.views()
        assert (view.waiting, view.unfinished, view.refused and view.refused.code) == (1, 1, "author")
        assert [run.run for run in await deck.views.runs()] == [first.run]


async def test_strangers_learn_nothing_and_cannot_fill_the_journal(world: World) -> None:
    issue(world.server)
    world.configure(text='[triggers.nightly]\nkind = "cron"\nschedule = "0 3 * * *"\nrepository = "/x"\ngoal = "Go."\n')
    headers, body = signed(world.server.labeled(7), secret="wrong")
    unsigned = {name: value for name, value in headers.items() if name != "x-hub-signature-256"}
    good, _ = signed(world.server.labeled(7))
    async with served(world) as deck:
        answers = [
            await post(deck, "issues", headers, body),
            await post(deck, "issues", unsigned, body),
            await post(deck, "issues", good, body + b" "),
            await post(deck, "nothing", good, body),
            await post(deck, "nightly", good, body),
            await post(deck, "../issues", good, body),
            await post(deck, "ISSUES", good, body),
        ]
        assert answers == [(401, {"v": 1, "status": "not accepted"})] * 7
        assert (await post(deck, "issues", good, body, "GET"))[0] == 405
        assert (await post(deck, "issues", {**good, "content-length": "99999999"}, body))[0] == 413
        assert (await post(deck, "issues", good, b"x" * (2 * 1024 * 1024 + 1)))[0] == 413

        async def knocked() -> list[outside.TriggerRefused]:
            records = await deck.journal.read(ids.trigger_stream("issues"))
            return [record.event for record in records if isinstance(record.event, outside.TriggerRefused)]

        assert [event.code for event in await until(deck, knocked)] == ["signature"]
        assert await deck.views.runs() == []


async def test_an_issue_is_a_goal(world: World) -> None:
    issue(world.server)
    world.server.issue(9, "Done", "", state="closed")
    async with open_deck(world.place.settings) as deck:
        plan = world.place.plan(GOOD)
        order = Order(repository=world.place.root, user="ada", plan_path=plan)
        address = f"{world.server.url}/acme/shop/issues/7#issuecomment-1"
        found = await deck.outside.for_issue(address, order, here=False)
        assert found.origin is not None
        assert (found.origin.issue, found.origin.base, found.origin.publish) == (7, "main", True)
        assert found.base == world.tip("main")
        goal = await deck.outside.for_issue("acme/shop#7", order.model_copy(update={"plan_path": None}), here=False)
        assert goal.goal is not None
        assert "> It crashes. Fixes #3, says @eve." in goal.goal
        assert "came from outside" in goal.goal
        run = await deck.create(found)
        with pytest.raises(Conflicting, match=run):
            await deck.outside.for_issue("ACME/shop#7", order, here=False)
        for wrong in ("acme/shop#9", "acme/shop", "https://elsewhere.test/acme/shop/issues/7"):
            with pytest.raises(BadInput):
                await deck.outside.for_issue(wrong, order, here=False)
        await deck.work(run)
        await until(deck, lambda: _opened(world))
        assert (await deck.result(run)).exit_code == 0


async def _opened(world: World) -> bool:
    return bool(world.server.pulls)


async def test_what_lands_after_a_person_closed_the_pull_request_gets_one_of_its_own(world: World) -> None:
    issue(world.server)
    late = task("late", 'test "$ATTEMPT" -gt 1 && echo late > late.txt')
    async with open_deck(world.place.settings) as deck:
        order = Order(repository=world.place.root, user="ada", plan_path=world.place.plan(GOOD, late))
        run = await deck.create(await deck.outside.for_issue("acme/shop#7", order, here=False))
        await deck.work(run)
        await until(deck, lambda: _opened(world))
        assert (await deck.result(run)).status is RunStatus.PARTIAL
        [first] = world.server.pulls
        first.update(state="closed", merged=True)
        await deck.retry(run, "late", by="ada")
        await deck.work(run)

        async def another() -> list[outside.PullOpened]:
            records = await deck.journal.read(ids.publish_stream(run))
            found = [record.event for record in records if isinstance(record.event, outside.PullOpened)]
            return found if len(found) > 1 else []

        told = await until(deck, another)
        result = await deck.result(run)
    one, two = world.server.pulls
    assert result.status is RunStatus.DONE
    assert [(event.number, event.found) for event in told] == [(one["number"], False), (two["number"], False)]
    assert [pull["state"] for pull in (one, two)] == ["closed", "open"]
    assert two["head"] == one["head"] and told[1].commit == result.target.sha == world.tip(two["head"]["ref"])
    assert world.server.complaints == []


class Ahead(SystemClock):
    """The machine's clock, which a test moves on."""

    gone = 0.0

    def wall(self) -> float:
        return super().wall() + self.gone

    def monotonic(self) -> float:
        return super().monotonic() + self.gone


@pytest.mark.embedded("a deck on PostgreSQL has its server's clock, which a test does not set")
async def test_a_repository_that_cannot_be_fetched_for_a_day_is_given_up_with_the_reason(world: World) -> None:
    issue(world.server)
    repository = world.server.root / "acme" / "shop.git"
    repository.rename(repository.with_name("away.git"))
    clock = Ahead()
    async with served(world, clock) as deck:
        await post(deck, "issues", *signed(world.server.labeled(7)))

        async def stands(status: str) -> FiringView | None:
            found = await deck.outside.firings.firing("issues", "d-1")
            return found if found is not None and found.status == status else None

        held = await until(deck, lambda: stands("held"))
        clock.gone += 23 * 3600
        tried = len(world.server.requests)
        await deck.journal.commit(also=lambda tx: None)

        async def again() -> bool:
            return len(world.server.requests) > tried

        await until(deck, again)
        assert await stands("held") is not None, "a day is not over"
        clock.gone += 2 * 3600
        await deck.journal.commit(also=lambda tx: None)
        refused = await until(deck, lambda: stands("refused"))
        assert (refused.code, refused.reason) == ("order", held.reason)
        assert await deck.views.runs() == []


async def test_a_refused_token_is_in_no_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "ghp-another-token-that-is-wrong")
    async with open_deck(world.place.settings) as deck:
        with pytest.raises(GitFailed) as failed:
            await deck.outside.remotes.fresh("acme/shop", None)
        told = f"{failed.value} {failed.value.why} {failed.value.fix}"
        assert "ghp-another" not in told
        assert base64.b64encode(b"x-access-token:ghp-another-token-that-is-wrong").decode() not in told


def test_the_command_line_takes_an_issue_to_its_pull_request(world: World) -> None:
    issue(world.server)
    plan = str(world.place.plan(GOOD))
    code, out, err = world.place.call("run", "--issue", "acme/shop#7", "--plan", plan, "--json")
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert (last["kind"], last["status"]) == ("run.finished", "done")
    [pull] = world.server.pulls
    assert f"pull request: {pull['html_url']}" in err
    assert (pull["title"], pull["head"]["ref"]) == ("Crash on start", last["target"]["branch"])
    code, out, err = world.place.call("triggers", "publish", last["run"], "--json")
    assert code == 0, err
    assert json.loads(out)["url"] == pull["html_url"]
    assert len(world.server.pulls) == 1
