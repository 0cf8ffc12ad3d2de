"""The list of prices: what its file says, how old it is, and who is told."""

from datetime import UTC, datetime

import pytest
from docs import prices as price_file

from quarterdeck.agents.routing import models_of
from quarterdeck.kernel.config import DeckConfig, Price, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.price_list import DATED, LIST
from quarterdeck.kernel.prices import OLD, age, outdated
from quarterdeck.models.providers import PROVIDERS

DAY = 86_400


def test_the_list_is_what_its_file_says() -> None:
    made = price_file.module(price_file.DATA.read_text())
    assert price_file.MODULE.read_text() == made, "run `make docs` and commit what it writes"


@pytest.mark.parametrize(
    "text",
    [
        "[dated]\na = 2026-01-01\n[prices]\n",
        '[dated]\n[prices]\n"a:b" = { input = 1, output = 2 }\n',
        '[dated]\na = 2026-01-01\n[prices]\n"a:b" = { input = -1, output = 2 }\n',
        '[dated]\na = 2026-01-01\n[prices]\n"a:b" = { input = 1, output = 2, cash = 3 }\n',
        '[dated]\na = 2026-01-01\n[prices]\n"a:b" = { input = 1, output = 2 }\n[more]\n',
        "[dated\n",
    ],
)
def test_a_file_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        price_file.module(text)


def test_every_listed_provider_is_one_and_has_a_day() -> None:
    providers = {name.partition(":")[0] for name in LIST}
    assert set(DATED) == providers <= set(PROVIDERS)


def test_the_oldest_list_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATED, "openai", "2026-01-01")
    monkeypatch.setitem(DATED, "anthropic", "2026-03-01")
    now = datetime(2026, 4, 1, tzinfo=UTC).timestamp()
    assert age(("anthropic", "openai", "ollama"), now) == ("2026-01-01", 90)
    assert age(("anthropic",), now) == ("2026-03-01", 31)
    gpt, claude = "openai:gpt-5.4", "anthropic:claude-sonnet-5"
    assert outdated((gpt, claude), {}, now) == "", "not older than it may be"
    assert OLD == 90
    said = outdated((gpt, claude), {}, now + DAY)
    assert "anthropic, openai are of 2026-01-01, 91 days old" in said
    assert outdated((claude,), {}, now + DAY) == ""
    assert outdated((gpt,), {gpt: Price(input=1, output=2)}, now + DAY) == "", "its price is not the list's"
    assert outdated(("chat:mine",), {}, now + DAY) == ""


def test_every_model_that_a_run_may_ask_is_looked_at() -> None:
    agents = {"a": Agent(name="a", model="openai:x"), "b": Agent(name="b")}
    config = RunConfig(deck=DeckConfig(tiers={"hands": ("chat:y", "openai:x"), "brain": ("chat:z",)}), agents=agents)
    assert models_of(config) == {"openai:x", "chat:y", "chat:z"}
