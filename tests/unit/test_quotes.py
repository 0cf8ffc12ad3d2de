"""What pages quote of what is said is said."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("howto-command-agent.md", "misbehaving.md")


@pytest.fixture(scope="module")
def said() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src/quarterdeck").rglob("*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_words_in_quotes_are_those_of_the_code(page: str, said: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    quotes = re.findall(r'\*"([^"]+)"\*', text)
    assert quotes
    assert [quote for quote in quotes if quote not in said] == []
