"""Context windows that are known without asking. Pure.

Rules
- What is configured wins; what a server says about itself comes next; then this table; nothing is ever guessed.
- Where a provider charges a higher rate for longer prompts, the window listed here ends where the plain price does:
  list prices then hold for every call. A larger one can be configured, together with its price.
"""

import re
from typing import Final

from quarterdeck.kernel.failures import BadConfiguration

OLLAMA_CAP: Final = 32_768
"""Tokens asked of Ollama where neither configuration nor the model's own parameters say more: the memory of a window
grows with its size, and a server that runs out of it slows down without a word."""

_FAMILIES: Final = (
    ("anthropic", re.compile(r"claude-haiku-5"), 100_000),
    ("anthropic", re.compile(r"claude-(fable|mythos|opus|sonnet)-5"), 1_000_000),
    ("anthropic", re.compile(r"claude-"), 200_000),
    ("openai", re.compile(r"gpt-(5|6)"), 272_000),
    ("openai", re.compile(r"gpt-4\.1"), 1_000_000),
    ("openai", re.compile(r"o[134](-|$)"), 200_000),
    ("openai", re.compile(r"gpt-4o|chatgpt-4o"), 128_000),
    ("google", re.compile(r"gemini-(2\.5|3|3\.\d+)-pro"), 200_000),
    ("google", re.compile(r"gemini-"), 1_048_576),
)


def known(provider: str, model: str) -> int | None:
    """The context window of a hosted model in tokens; None where it is not known."""
    for name, pattern, window in _FAMILIES:
        if name == provider and pattern.match(model):
            return window
    return None


_LONGEST: Final = (
    ("anthropic", re.compile(r"claude-(fable|mythos|opus|sonnet)-5"), 128_000),
    ("anthropic", re.compile(r"claude-"), 64_000),
    ("openai", re.compile(r"gpt-(5|6)"), 128_000),
    ("openai", re.compile(r"o[134](-|$)"), 100_000),
    ("openai", re.compile(r"gpt-4\.1"), 32_768),
    ("openai", re.compile(r"gpt-4o|chatgpt-4o"), 16_384),
    ("google", re.compile(r"gemini-"), 65_536),
)


def longest(provider: str, model: str) -> int | None:
    """Tokens of the longest answer that a hosted model gives; None where that is not known."""
    for name, pattern, tokens in _LONGEST:
        if name == provider and pattern.match(model):
            return tokens
    return None


def unknown(name: str) -> BadConfiguration:
    """The error for a model whose window nobody knows."""
    return BadConfiguration(
        f"the context window of {name} is not known",
        why="its server does not say, and a guess would cut prompts off without a word",
        fix=f'set [models."{name}"] context = <tokens> in deck.toml',
    )


def of_ollama(maximum: int | None, parameter: int | None) -> int | None:
    """The window to set for a model of Ollama: what its Modelfile sets, else as much as it can have up to a cap."""
    if parameter is not None:
        return parameter if maximum is None else min(parameter, maximum)
    return None if maximum is None else min(maximum, OLLAMA_CAP)
