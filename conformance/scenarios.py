"""Which scenarios of the conformance tool apply to us, and why the others do not.

Rules
- Every scenario that the tool lists stands here, once: a new version of the tool brings no scenario unseen.
- A scenario that applies has to pass in every revision named. A single check in it that cannot apply is excused by
  name, with the reason; one that passes all the same is excused no longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

OLD: Final = "2025-11-25"
NEW: Final = "2026-07-28"
BOTH: Final = (OLD, NEW)

Side = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One that applies."""

    name: str
    revisions: tuple[str, ...] = BOTH
    excused: Mapping[str, str] = field(default_factory=dict)
    """Id of a check to why it does not apply."""


_NO_LIST: Final = "we have tools alone: there is no such list"
_NO_NEED: Final = "it calls a tool that needs a capability of the client; none of ours needs any"

APPLY: Final[Mapping[Side, tuple[Scenario, ...]]] = {
    "server": (
        Scenario("server-initialize", (OLD,)),
        Scenario("server-session-lifecycle", (OLD,)),
        Scenario("ping", (OLD,)),
        Scenario(
            "server-stateless",
            (NEW,),
            {
                "sep-2575-server-rejects-undeclared-capability": _NO_NEED,
                "sep-2575-missing-capability-http-400": _NO_NEED,
            },
        ),
        Scenario("tools-list"),
        Scenario("tools-call-simple-text"),
        Scenario("tools-call-error"),
        Scenario("json-schema-2020-12"),
        Scenario("server-sse-multiple-streams"),
        Scenario("dns-rebinding-protection"),
        Scenario(
            "caching",
            (NEW,),
            {
                "sep-2549-prompts-list-caching-hints": _NO_LIST,
                "sep-2549-resources-list-caching-hints": _NO_LIST,
                "sep-2549-resources-templates-list-caching-hints": _NO_LIST,
            },
        ),
        Scenario("http-header-validation", (NEW,)),
        Scenario("http-custom-header-server-validation", (NEW,)),
        Scenario("input-required-result-unsupported-methods", (NEW,)),
    ),
    "client": (
        Scenario("initialize", (OLD,)),
        Scenario("tools_call"),
        Scenario("sse-retry", (OLD,)),
        Scenario("request-metadata", (NEW,)),
        Scenario("http-standard-headers", (NEW,)),
        Scenario("http-custom-headers", (NEW,)),
        Scenario("http-invalid-tool-headers", (NEW,)),
        Scenario("json-schema-ref-no-deref", (NEW,)),
        Scenario("json-schema-2020-12-preservation"),
    ),
}

_RESOURCES: Final = "we offer no resources"
_PROMPTS: Final = "we offer no prompts"
_TEXT: Final = "our tools answer with text and data, never with images, sound or resources"
_INPUT: Final = "no tool of ours asks the client for input; a question to a person ends the attempt instead"
_TASKS: Final = "an extension that we do not offer"

DO_NOT: Final[Mapping[Side, Mapping[str, str]]] = {
    "server": {
        "completion-complete": "we have no prompts or resources whose arguments could be completed",
        "logging-set-level": "logging is deprecated, and we send no log messages",
        "tools-call-with-logging": "logging is deprecated, and we send no log messages",
        "tools-call-with-progress": "our tools are quick, and a sub-agent's progress cannot be measured",
        "tools-call-image": _TEXT,
        "tools-call-audio": _TEXT,
        "tools-call-embedded-resource": _TEXT,
        "tools-call-mixed-content": _TEXT,
        "tools-call-sampling": _INPUT,
        "tools-call-elicitation": _INPUT,
        "elicitation-*": _INPUT,
        "input-required-result-*": _INPUT,
        "server-sse-polling": "we never close a stream in the middle of a call; a lost answer is asked for again",
        "resources-*": _RESOURCES,
        "sep-2164-resource-not-found": _RESOURCES,
        "prompts-*": _PROMPTS,
        "sep-2640-*": _TASKS,
        "tasks-*": _TASKS,
    },
    "client": {
        "auth/*": "there is no OAuth: what an address gets are the headers that the operator declares",
        "elicitation-sep1034-client-defaults": "a server's questions are refused: it answers, it does not ask",
        "sep-2322-client-request-state": "it asks for input, which is refused; state without a question is sent back",
        "sep-2640-*": "an extension that we do not use",
    },
}
"""Scenarios, or the beginnings of their names, to why they do not apply."""


def reason(side: Side, name: str) -> str | None:
    """Why a scenario does not apply; None = nothing is said about it."""
    rules = DO_NOT[side]
    if name in rules:
        return rules[name]
    for rule, why in rules.items():
        if rule.endswith("*") and name.startswith(rule[:-1]):
            return why
    return None


def unknown(side: Side, listed: list[str]) -> list[str]:
    """Scenarios about which nothing is said here, and those said to apply that are not there any more. Pure."""
    apply = [scenario.name for scenario in APPLY[side]]
    return [name for name in listed if name not in apply and reason(side, name) is None] + [
        name for name in apply if name not in listed
    ]
