"""A gate at which changes meet, in a browser: what is tested on top of what while it is, and afterwards what landed by
which way, together with what, and what was sent back and to whom; all of it held against the gate's journal."""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, expect

from e2e.browser_kit import THEMES, WIDE, Deck, opened, until
from e2e.world_kit import EVIL, HAND_IN, World, rule, scenario, task, world_at
from quarterdeck.models.scripted.scenario import Turn, act

APP: Final = 'import os\n\n__all__ = ["first"]\n\n\ndef first() -> str:\n    return os.sep\n'
JOINED: Final = "left right\ntwo\nthree\n"
SIDES: Final = ("side1", "side2", "side3", "side4")


def adds(name: str, module: str) -> dict[str, Any]:
    """A task that adds a function where another one adds one too: no way of git's merges them."""
    text = APP.replace("import os\n", f"import os\nimport {module}\n").replace('"first"', f'"first", "{name}"')
    text += f"\n\ndef {name}() -> str:\n    return {module}.__name__\n"
    return by_shell(name, f"cat > app.py <<'E'\n{text}E", ["app.py"], [f"python3 -c 'import app; app.{name}()'"])


def renames(name: str) -> dict[str, Any]:
    """A task that wants the first line for itself: no way at all merges it with the other one that does."""
    script = f"sed -i '1s/.*/{name}/' lines.txt"
    return by_shell(name, script, ["lines.txt"], [f"grep -q {name} lines.txt && test $(wc -l < lines.txt) = 3"])


def by_shell(name: str, script: str, paths: list[str], verify: list[str]) -> dict[str, Any]:
    return task(name, instructions=script, paths=paths, verify=verify, agent="shell")


TASKS: Final = (
    adds("second", "re"),
    adds("third", "sys"),
    renames("left"),
    renames("right"),
    *(by_shell(name, f"echo {name} > {name}.txt", [f"{name}.txt"], []) for name in SIDES),
    by_shell("red", 'test "$ATTEMPT" -gt 1 || touch BAD; echo red > red.txt', ["red.txt", "BAD"], []),
)


@dataclass
class Gate:
    """A run whose changes are all at the gate; its checks wait until they may go on."""

    world: World
    run: str
    hold: Path

    def records(self) -> list[dict[str, Any]]:
        """The gate's journal."""
        rows = self.world.rows(
            "SELECT e.body FROM events e JOIN streams s ON s.id = e.stream WHERE s.name LIKE 'gate/%' ORDER BY e.id"
        )
        return [json.loads(row["body"]) for row in rows]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.records() if event["kind"] == kind]

    def queued(self) -> list[str]:
        """Attempts in the queue now, in its order."""
        left = {event["attempt"] for event in (*self.of("change.landed"), *self.of("change.returned"))}
        attempts = [event["change"]["attempt"] for event in self.of("change.queued")]
        return [attempt for attempt in attempts if attempt not in left]

    def checking(self) -> list[list[str]]:
        """The trees that are being checked, by what lies on the tip."""
        ended = {event["check"] for event in self.of("gate.check.finished")}
        return [event["stack"] for event in self.of("gate.check.started") if event["check"] not in ended]


@pytest.fixture(scope="module")
def gate(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """In a deck of its own: nothing else is at work in it."""
    said = scenario()
    joins = rule(
        r"(?s)Task: (left|right)\nRole: integrator",
        Turn(text=f"I join them {EVIL}", actions=(act("write", path="lines.txt", content=JOINED),)),
        HAND_IN,
    )
    root = tmp_path_factory.mktemp("gate")
    # Checks run with fewer rights than a test: where they look has to be open to them.
    with (
        tempfile.TemporaryDirectory(prefix="quarterdeck-test-", dir="/var/tmp") as shared,
        world_at(root, said.model_copy(update={"rules": (joins, *said.rules)})) as world,
    ):
        hold = Path(shared, "hold")
        Path(shared).chmod(0o711)
        files = {
            "app.py": APP,
            "lines.txt": "one\ntwo\nthree\n",
            "check.sh": f"while test -e '{hold}'; do sleep 0.05; done; test ! -e BAD\n",
            ".quarterdeck/deck.toml": '[checks]\ngate = ["sh check.sh"]\nparallel = 4\n',
        }
        world.place.commit(files)
        hold.touch()
        plan = world.place.plan(*TASKS)
        order = ("--repo", str(world.place.repository), "--into", "work", "--max-parallel", "9", "--sandbox", "none")
        started = world.call("run", "--plan", str(plan), "--detach", *order)[-1]
        yield Gate(world, str(started["run"]), hold)
        hold.unlink(missing_ok=True)
        world.place.call("cancel", str(started["run"]))


def name_of(attempt: str) -> str:
    return attempt.split(".")[1]


def pictures(browser: Browser, gate: Gate, name: str) -> list[str]:
    """The screen in both themes and as narrow as it gets; what axe finds, and by how much it is too wide."""
    found = []
    for theme in THEMES:
        with opened(browser, gate.world.url, theme=theme) as deck:
            deck.go("integrate", "Integrate")
            expect(deck.page.locator(".gate")).to_have_count(1)
            deck.draw(f"integrate-{name}-{theme}")
            found += [f"{theme}: {violation}" for violation in deck.violations()]
            deck.page.set_viewport_size({"width": 320, "height": 1400})
            deck.draw(f"integrate-{name}-320-{theme}")
            found += [f"{theme}: {deck.too_wide()} pixels too wide"] if deck.too_wide() > 0 else []
            deck.page.set_viewport_size(WIDE)  # type: ignore[arg-type]  # a ViewportSize is such a dict
    return found


def test_what_is_tested_on_top_of_what_is_what_the_gate_does(browser: Browser, gate: Gate) -> None:
    with opened(browser, gate.world.url) as deck:
        page = deck.page
        until(page, lambda: len(gate.queued()) == len(TASKS) and len(gate.checking()) == 4, "everything at the gate")
        deck.go("integrate", "Integrate")
        rows = page.locator(".queue tbody tr:not(.queue-tip)")
        expect(rows).to_have_count(len(TASKS))
        for row, attempt in zip(rows.all(), gate.queued(), strict=True):
            expect(row.locator(".queue-title")).to_contain_text(f"{name_of(attempt).title()} {EVIL}")
        stacks = gate.checking()
        expect(page.locator(".lattice-head")).to_have_count(len(stacks))
        expect(page.locator(".queue td.lattice.running.in")).to_have_count(sum(map(len, stacks)))
        for stack in stacks:
            tree = " + ".join(["the tip", *map(name_of, stack)])
            expect(page.locator(f'.lattice-head[title="{tree}"]')).to_have_count(1)
        assert page.locator(".gate-counts").inner_text().startswith(f"{len(TASKS)} queued")
    assert pictures(browser, gate, "queue") == []


def test_what_landed_and_what_was_sent_back_is_what_the_gate_did(browser: Browser, gate: Gate) -> None:
    gate.hold.unlink(missing_ok=True)
    with opened(browser, gate.world.url) as deck:
        page = deck.page
        until(page, lambda: ended(gate) == "done", "the end of the run")
        deck.go("integrate", "Integrate")
        landed = gate.of("change.landed")
        assert len(landed) == len(TASKS)
        for more in page.locator(".changes-more > summary").all():
            more.click()
        lines = page.locator("li.landed")
        expect(lines).to_have_count(len(landed))
        for line, event in zip(lines.all(), reversed(landed), strict=True):
            expect(line).to_contain_text(f"{name_of(event['attempt']).title()} {EVIL}")
            expect(line.locator("code").first).to_have_text(event["new"][:8])
        assert_merged(deck, gate)
        assert_returned(deck, gate)
    assert pictures(browser, gate, "landed") == []


def ended(gate: Gate) -> str:
    return str(gate.world.one("SELECT status FROM runs WHERE run = ?", gate.run)["status"])


def line_of(deck: Deck, attempt: str) -> Any:
    return deck.page.locator("li.landed").filter(has_text=f"{name_of(attempt).title()} <img")


def assert_merged(deck: Deck, gate: Gate) -> None:
    """By which way, why not by another one, and together with how many."""
    resolved = {event["attempt"]: event for event in gate.of("merge.resolved") if event["way"] != "git"}
    assert any(event["way"] == "entity" for event in resolved.values())
    landed = {event["attempt"] for event in gate.of("change.landed")}
    for attempt in resolved.keys() & landed:
        event, line = resolved[attempt], line_of(deck, attempt)
        expect(line.locator(".way")).to_contain_text(f"merged by {event['way']}")
        for lost in event["lost"]:
            expect(line.locator(".way")).to_contain_text(f"{lost['way']}: {lost['reason']}")
    steps = [step["stack"] or [step["attempt"]] for step in gate.of("landing.intended")]
    for stack in steps:
        for attempt in stack:
            count = re.compile(f"1 of {len(stack)} in one step")
            expect(line_of(deck, attempt).get_by_text(count)).to_have_count(1 if len(stack) > 1 else 0)


def assert_returned(deck: Deck, gate: Gate) -> None:
    returned = gate.of("change.returned")
    assert {event["outcome"] for event in returned} == {"failed", "conflict"}
    lines = deck.page.locator("li.returned")
    expect(lines).to_have_count(len(returned))
    for line, event in zip(lines.all(), reversed(returned), strict=True):
        expect(line).to_contain_text(f"{name_of(event['attempt']).title()} {EVIL}")
        expect(line.locator(".returned-why").first).to_contain_text(event["reason"].partition("\n")[0][:60])
        expect(line).to_contain_text("landed since")
        for against in event["against"]:
            expect(line).to_contain_text(f"{name_of(against).title()} {EVIL}")
        for lost in event["lost"]:
            expect(line.locator(".way")).to_contain_text(f"{lost['way']}: {lost['reason'].splitlines()[0]}")
    # What no way merged was handed to the integrator, and landed.
    (back,) = [event for event in returned if event["outcome"] == "conflict"]
    tried = [
        event for event in gate.world.events("task.dispatched", gate.run) if event["task"] == name_of(back["attempt"])
    ]
    assert [event["agent"] for event in tried] == ["shell", "integrator"]
