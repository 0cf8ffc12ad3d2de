"""A real deck behind `quarterdeck up`, a scripted model in a process of its own, and runs whose agents wait for people.

Rules
- Everything on a screen comes from the journal of these runs; what is expected is read from the database or from the
  command line's `--json`, never written down here.
- An agent waits for a person by working on (it looks around, step by step) until its prompts say what it waits for:
  nothing depends on time.
- Whatever an agent says or writes tries to run as a script in the page that shows it.
"""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deck_kit import Place, place_at

from quarterdeck.kernel.config import Price
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act
from quarterdeck.testing.forked import FORKS, MODEL, Process

EVIL: Final = '<img src=x onerror="window.__ran=1"><script>window.__ran=2</script>'
"""Runs where a page takes it for markup."""
FILE: Final = "<img src=x onerror=window.__ran=3>.txt"
FINISH: Final = "finish now"
"""What the waiting agent is told."""
ANSWER: Final = "blue, and not red"
QUESTION: Final = f"Which colour? {EVIL}"
PRICE: Final = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)

DECK: Final = """\
[tiers]
brain = ["anthropic:scripted"]
hands = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = { input = 3, output = 15, cache_read = 0.3, cache_write = 3.75 }
[models."anthropic:scripted"]
context = 100000
max_output = 4096
[limits]
turns = 2000
[approve]
tools = ["search"]
"""
ACCEPT: Final = Turn(
    text=f"Fine {EVIL}", actions=(act("submit", verdict="accept", summary=f"fine {EVIL}", findings=[]),)
)
HAND_IN: Final = Turn(actions=(act("submit", summary=f"done {EVIL}", limitations=[f"only text {EVIL}"]),))
WAITS: Final = Turn(text="Still looking.", actions=(act("run", command="date +%s%N; sleep 0.2"),))


def writes(name: str, text: str) -> Turn:
    return Turn(text=f"I write {EVIL}", actions=(act("write", path=name, content=f"{text} {EVIL}\n"),))


def rule(first: str, *turns: Turn, said: str = "", repeat: bool = False) -> Rule:
    return Rule(match=Match(first=first, said=said), turns=turns, repeat=repeat)


def scenario() -> Scenario:
    """What the model does, by the task and role of who asks."""
    work = r"Task: {}\nRole: implementer"
    asks = Turn(text="I have to ask.", actions=(act("ask", question=QUESTION),))
    finishes = Turn(actions=(*writes("slow.txt", "slow").actions, *HAND_IN.actions))
    looks = Turn(text="I look.", actions=(act("search", pattern=EVIL),))
    again = Turn(text="I look again.", actions=(act("search", pattern="two"),))
    rules = (
        rule(
            "Role: planner",
            Turn(
                actions=(
                    act(
                        "submit",
                        tasks=[
                            {
                                "id": "planned",
                                "title": f"Planned {EVIL}",
                                "instructions": f"do it {EVIL}",
                                "needs": [],
                                "paths": ["planned.txt"],
                                "verify": ["test -s planned.txt"],
                            }
                        ],
                        design=f"plain {EVIL}",
                    ),
                )
            ),
        ),
        rule("Role: reviewer", ACCEPT),
        rule(work.format("planned"), writes("planned.txt", "planned"), HAND_IN),
        rule(
            work.format("names"), writes(FILE, "names"), Turn(actions=(act("run", command=f"echo '{EVIL}'"),)), HAND_IN
        ),
        rule(work.format("slow"), finishes, said=FINISH, repeat=True),
        rule(work.format("slow"), WAITS, repeat=True),
        rule(r"(?s)" + work.format("asks") + f".*{ANSWER}", writes("asks.txt", "answered"), HAND_IN),
        rule(work.format("asks"), asks),
        rule(work.format("guarded"), looks, again, writes("guarded.txt", "guarded"), HAND_IN),
    )
    return Scenario(rules=rules, prices={"scripted": PRICE})


def task(name: str, **fields: Any) -> dict[str, Any]:
    plain = {"id": name, "title": f"{name.title()} {EVIL}", "instructions": f"do {name} {EVIL}"}
    return {**plain, "paths": [f"{name}.txt"], "verify": [f"test -s {name}.txt"], **fields}


@dataclass
class World:
    place: Place
    url: str
    server: Process

    def call(self, *arguments: str) -> list[dict[str, Any]]:
        """A command's `--json` lines. It has to succeed."""
        code, out, err = self.place.call(*arguments, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def order(self, *tasks: dict[str, Any]) -> str:
        """Start a run of these tasks and leave it to the server; its id."""
        plan = self.place.plan(*tasks)
        text = json.loads(plan.read_text())
        plan.write_text(json.dumps({**text, "goal": f"Goal {EVIL}"}))
        code, out, err = self.place.call(
            "run", "--plan", str(plan), "--repo", str(self.place.repository), "--detach", "--json"
        )
        assert code == 0, err
        return str(json.loads(out.splitlines()[-1])["run"])

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """The database's own word."""
        with sqlite3.connect(f"file:{self.place.home / 'deck.db'}?mode=ro", uri=True) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values)]

    def one(self, sql: str, *values: Any) -> dict[str, Any]:
        (row,) = self.rows(sql, *values)
        return row

    def events(self, kind: str, run: str) -> list[dict[str, Any]]:
        """Records of a kind that belong to a run, in their order."""
        rows = self.rows(
            "SELECT s.name, e.body FROM events e JOIN streams s ON s.id = e.stream WHERE s.name LIKE ? ORDER BY e.id",
            f"%{run}%",
        )
        found = [{"stream": row["name"], **json.loads(row["body"])} for row in rows]
        return [event for event in found if event["kind"] == kind]

    def asked(self, run: str) -> list[dict[str, Any]]:
        """The approvals that were asked for, each once."""
        return list({each["approval"]: each for each in self.events("approval.asked", run)}.values())


@contextmanager
def model_at(root: Path, said: Scenario) -> Iterator[str]:
    """The scripted model, in a process of its own; its address."""
    file = root / "scenario.json"
    file.write_text(said.model_dump_json())
    process = FORKS.start(MODEL, ("--scenario", str(file)), stdin=subprocess.PIPE, env=os.environ)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def world_at(root: Path, said: Scenario | None = None, deck: str = DECK) -> Iterator[World]:
    """A deck that is served, with nothing in it yet."""
    with place_at(root) as place, model_at(root, said or scenario()) as model:
        place.url, place.keys = model, {"ANTHROPIC_API_KEY": "a-key-of-the-test"}
        place.home.mkdir()
        (place.home / "deck.toml").write_text(deck)
        place.begin(deck='[review]\nagent = "reviewer"\n[sandbox]\nsetup = []\n')
        with place.quarterdeck("up", "--port", "0", "--json") as server:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, server.communicate()[1]
            yield World(place, json.loads(line)["url"], server)
