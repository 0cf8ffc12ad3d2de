"""How agents that people already use are started in a sandbox: one file a CLI, pure data and pure functions."""

from collections.abc import Mapping
from typing import Final

from quarterdeck.agents.profiles import claude, codex, gemini, generic, opencode
from quarterdeck.agents.profiles.port import Profile

PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile for profile in (claude.PROFILE, codex.PROFILE, opencode.PROFILE, gemini.PROFILE)
}
"""The CLIs that are known, by name; an agent of that name and harness `acp` needs no definition."""

GENERIC: Final[Profile] = generic.PROFILE
"""For any other agent that speaks ACP: its definition names the command."""
