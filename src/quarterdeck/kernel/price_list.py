"""The list prices of prices.toml, written by `make docs`. Change them there."""

from collections.abc import Mapping
from typing import Final

from quarterdeck.kernel.config import LongPrice, Price

DATED: Final[Mapping[str, str]] = {
    "anthropic": "2026-11-01",
    "openai": "2026-11-01",
    "google": "2026-11-21",
}
"""By provider, the day on which its prices were last compared with what it publishes."""

LIST: Final[dict[str, Price]] = {
    "anthropic:claude-opus-5-5": Price(input=4, output=20, cache_read=0.2, cache_write=5),
    "anthropic:claude-opus-5": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-8": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-7": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-6": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-5": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-sonnet-5-5": Price(input=2, output=10, cache_read=0.2, cache_write=2.5),
    "anthropic:claude-sonnet-5": Price(input=2, output=10, cache_read=0.2, cache_write=2.5),
    "anthropic:claude-sonnet-4-6": Price(input=3, output=15, cache_read=0.3, cache_write=3.75),
    "anthropic:claude-sonnet-4-5": Price(
        input=3,
        output=15,
        cache_read=0.3,
        cache_write=3.75,
        long=LongPrice(above=200000, until=1000000, input=6, output=22.5, cache_read=0.6, cache_write=7.5),
    ),
    "anthropic:claude-haiku-5-5": Price(
        input=0.1,
        output=0.5,
        cache_read=0.01,
        cache_write=0.125,
        long=LongPrice(above=100000, until=1000000, input=0.5, output=2.5, cache_read=0.05, cache_write=0.625),
    ),
    "anthropic:claude-haiku-4-5": Price(input=1, output=5, cache_read=0.1, cache_write=1.25),
    "anthropic:claude-fable-5-1": Price(input=10, output=50, cache_read=1, cache_write=12.5),
    "openai:gpt-6-astra": Price(
        input=10,
        output=50,
        cache_read=1,
        cache_write=12.5,
        long=LongPrice(above=272000, until=1050000, input=20, output=75, cache_read=2, cache_write=25),
    ),
    "openai:gpt-6.1-sol": Price(
        input=2,
        output=10,
        cache_read=0.1,
        cache_write=2.5,
        long=LongPrice(above=272000, until=1050000, input=4, output=15, cache_read=0.2, cache_write=5),
    ),
    "openai:gpt-6-sol": Price(
        input=2,
        output=10,
        cache_read=0.2,
        cache_write=2.5,
        long=LongPrice(above=272000, until=1050000, input=4, output=15, cache_read=0.4, cache_write=5),
    ),
    "openai:gpt-6-luna": Price(
        input=0.1,
        output=0.5,
        cache_read=0.01,
        cache_write=0.125,
        long=LongPrice(above=272000, until=1050000, input=0.2, output=0.75, cache_read=0.02, cache_write=0.25),
    ),
    "openai:gpt-5.6-sol": Price(
        input=4,
        output=20,
        cache_read=0.4,
        cache_write=5,
        long=LongPrice(above=272000, until=1050000, input=8, output=30, cache_read=0.8, cache_write=10),
    ),
    "openai:gpt-5.6-terra": Price(
        input=2,
        output=12,
        cache_read=0.2,
        cache_write=2.5,
        long=LongPrice(above=272000, until=1050000, input=4, output=18, cache_read=0.4, cache_write=5),
    ),
    "openai:gpt-5.6-luna": Price(
        input=0.2,
        output=1.2,
        cache_read=0.02,
        cache_write=0.25,
        long=LongPrice(above=272000, until=1050000, input=0.4, output=1.8, cache_read=0.04, cache_write=0.5),
    ),
    "openai:gpt-5.5": Price(
        input=5,
        output=30,
        cache_read=0.5,
        long=LongPrice(above=272000, until=1050000, input=10, output=45, cache_read=1),
    ),
    "openai:gpt-5.4": Price(
        input=2.5,
        output=15,
        cache_read=0.25,
        long=LongPrice(above=272000, until=1050000, input=5, output=22.5, cache_read=0.5),
    ),
    "openai:gpt-5.4-mini": Price(input=0.75, output=4.5, cache_read=0.075),
    "google:gemini-4-argon": Price(input=4, output=20, cache_read=0.2),
    "google:gemini-3.8-flash": Price(input=1.5, output=7.5, cache_read=0.15),
    "google:gemini-3.7-flash": Price(input=1.5, output=7.5, cache_read=0.15),
    "google:gemini-3.6-flash": Price(input=1.5, output=7.5, cache_read=0.15),
    "google:gemini-3.5-flash": Price(input=1.5, output=9, cache_read=0.15),
    "google:gemini-3.1-pro-preview": Price(
        input=2,
        output=12,
        cache_read=0.2,
        long=LongPrice(above=200000, until=1048576, input=4, output=18, cache_read=0.4),
    ),
    "google:gemini-3.1-flash-lite": Price(input=0.25, output=1.5, cache_read=0.025),
    "google:gemini-3-pro-preview": Price(
        input=2,
        output=12,
        cache_read=0.2,
        long=LongPrice(above=200000, until=1048576, input=4, output=18, cache_read=0.4),
    ),
    "google:gemini-3-flash-preview": Price(input=0.5, output=3, cache_read=0.05),
    "google:gemini-2.5-pro": Price(
        input=1.25,
        output=10,
        cache_read=0.125,
        long=LongPrice(above=200000, until=1048576, input=2.5, output=15, cache_read=0.25),
    ),
    "google:gemini-2.5-flash": Price(input=0.3, output=2.5, cache_read=0.03),
    "google:gemini-2.5-flash-lite": Price(input=0.1, output=0.4, cache_read=0.01),
}
"""By `provider:model`, USD per million tokens."""
