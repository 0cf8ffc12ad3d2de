"""One typed settings object and deck.toml: what this process was told, by its environment and by files."""

from quarterdeck.settings.approvals import APPROVED_FILE, Approval, Approvals, read_approvals, write_approvals
from quarterdeck.settings.environment import (
    ProbeAction,
    ProbeSpec,
    Settings,
    child_environment,
    load_settings,
    read_secret,
    withheld,
)
from quarterdeck.settings.files import (
    DECK_FILE,
    MAX_FILE,
    Partial,
    decode_text,
    known_keys,
    operator_config,
    operator_outside,
    parse_deck_toml,
    read_text,
)
from quarterdeck.settings.merging import merge, wider
from quarterdeck.settings.servers import MCP_FILE, parse_mcp_json

__all__ = [
    "APPROVED_FILE",
    "DECK_FILE",
    "MAX_FILE",
    "MCP_FILE",
    "Approval",
    "Approvals",
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
    "operator_outside",
    "parse_deck_toml",
    "parse_mcp_json",
    "read_approvals",
    "read_secret",
    "read_text",
    "wider",
    "withheld",
    "write_approvals",
]
