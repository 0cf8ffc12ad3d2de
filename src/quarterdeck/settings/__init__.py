"""One typed settings object and deck.toml: what this process was told, by its environment and by files."""

from quarterdeck.settings.environment import ProbeAction, ProbeSpec, Settings, child_environment, load_settings
from quarterdeck.settings.files import (
    DECK_FILE,
    MAX_FILE,
    Partial,
    decode_text,
    known_keys,
    operator_config,
    parse_deck_toml,
    read_text,
)
from quarterdeck.settings.merging import merge, wider

__all__ = [
    "DECK_FILE",
    "MAX_FILE",
    "Partial",
    "ProbeAction",
    "ProbeSpec",
    "Settings",
    "child_environment",
    "decode_text",
    "known_keys",
    "load_settings",
    "merge",
    "operator_config",
    "parse_deck_toml",
    "read_text",
    "wider",
]
