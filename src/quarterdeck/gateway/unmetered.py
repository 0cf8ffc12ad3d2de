"""What a request may not ask for, because it could not be metered. Pure.

Rules
- What would be charged beside tokens, or at another price than the list says, is refused.
- So is what lets whoever stands behind us (LiteLLM, OpenRouter) ask another model, or somewhere else: a key names the
  models that it may ask.
- Each rule names the fields of a request that it reads: where none of them stands there, it has nothing to say.
Sources: the API references of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from quarterdeck.gateway import bodies
from quarterdeck.gateway.wires import CONFIGS, COUNTS, Asked, Wire

_OWN_TOOLS: Final[Mapping[Wire, re.Pattern[str]]] = {
    Wire.MESSAGES: re.compile(r"|custom|(bash|text_editor|computer|memory)_\d{8}"),
    Wire.RESPONSES: re.compile(
        r"|function|custom|namespace|local_shell|shell|apply_patch|computer|computer_use_preview|tool_search"
    ),
    Wire.CHAT: re.compile(r"|function|custom"),
    Wire.GEMINI: re.compile(r"functionDeclarations|function_declarations|computerUse|computer_use"),
}
"""Tools that the client carries out. Any other one runs at the provider: it is charged by the use, or makes the prompt
longer than what was sent."""

_CHARGED_FIELDS: Final[Mapping[Wire, tuple[str, ...]]] = {
    Wire.MESSAGES: ("mcp_servers", "container"),
    Wire.RESPONSES: ("prompt",),
    Wire.CHAT: ("audio", "prediction"),
    Wire.GEMINI: (),
}
"""Fields that bring such tools, an answer that is not text, or what no limit of the answer bounds."""

_CHARGED_ANYWHERE: Final = ("web_search_options", "search_parameters", "plugins")
"""Such fields of vendors and proxies that speak several formats."""

_ELSEWHERE: Final = (
    *("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "models", "model_list", "route", "provider"),
    *("user_config", "custom_llm_provider", "api_base", "base_url", "api_key", "deployment_id", "extra_body"),
    *("preset", "prompt_id", "router_settings_override"),
)
"""Fields of proxies, in no vendor's own format, by which a client chooses another model or another place."""

_TIERS: Final = ("", "auto", "default", "standard", "standard_only", "flex")
_TIER_FIELDS: Final = ("service_tier", "serviceTier")
_MODALITIES: Final = ("modalities", "responseModalities", "response_modalities")


def unmetered(asked: Asked) -> str:
    """Why what the request asks for could not be metered, for the one who asks; empty = it can."""
    for kind in _kinds(asked):
        if not _OWN_TOOLS[asked.wire].fullmatch(kind):
            return f"the tool {kind} runs at the provider and is charged beside the tokens"
    if _READ.isdisjoint(asked.body):
        return ""
    return next((why for _, rule in _RULES if (why := rule(asked))), "")


# --- tools ------------------------------------------------------------------------------------------------


def _kinds(asked: Asked) -> Iterator[str]:
    """The kinds of tools that are offered, wherever they stand."""
    left = [*bodies.listed(asked.body.get("tools"))]
    if asked.wire is Wire.RESPONSES:
        items = (bodies.mapping(item) for item in bodies.listed(asked.body.get("input")))
        left += [tool for item in items for tool in bodies.listed(item.get("tools"))]
    while left:
        tool = left.pop()
        if not isinstance(tool, dict):
            yield f"{tool!r:.40}"
            continue
        if asked.wire is Wire.GEMINI:
            yield from (key for key, value in tool.items() if value is not None)
            continue
        kind = str(tool.get("type") or "")
        if kind == "namespace":
            left += bodies.listed(tool.get("tools"))
        yield f"{kind} of the provider" if _hosted(kind, tool) else kind


def _hosted(kind: str, tool: Mapping[str, Any]) -> bool:
    """Whether a tool that can run on either side is to run at the provider."""
    if kind == "shell":
        return bodies.mapping(tool.get("environment")).get("type") != "local"
    return kind == "tool_search" and tool.get("execution") != "client"


# --- fields -----------------------------------------------------------------------------------------------


def _charged(asked: Asked) -> str:
    for name in (*_CHARGED_FIELDS[asked.wire], *_CHARGED_ANYWHERE):
        if asked.body.get(name) not in (None, [], ""):
            return f"what {name} brings is charged beside the tokens"
    return ""


def _elsewhere(asked: Asked) -> str:
    for name in _ELSEWHERE:
        if asked.body.get(name) not in (None, [], {}, ""):
            return f"{name} chooses another model or another place, and nobody here knows its price"
    return ""


def _worked_on(asked: Asked) -> str:
    """Why the provider may work on the request more often than once."""
    body = asked.body
    found = bodies.objects(body.get("context_management"))
    edits = [*found, *(edit for one in found for edit in bodies.objects(one.get("edits")))]
    if body.get("compaction") or any(str(edit.get("type")).startswith("compact") for edit in edits):
        return "a prompt that the provider shortens is charged beside the usage that it tells"
    if (team := body.get("multi_agent")) and bodies.mapping(team).get("enabled", True):
        return "how many agents the provider starts for it, and what they use, nothing in the request bounds"
    if bodies.mapping(body.get("reasoning")).get("mode") not in (None, "", "standard"):
        return "how often the provider has it worked on in that reasoning mode nothing in the request bounds"
    return ""


def _other_than_text(asked: Asked) -> str:
    modes = (mode for found in asked.configs for key in _MODALITIES for mode in bodies.listed(found.get(key)))
    if any(str(mode).lower() != "text" for mode in modes):
        return "an answer that is not text is charged at another price than the list's"
    return ""


def _numbered(asked: Asked) -> str:
    if asked.wire is Wire.GEMINI and len(asked.configs) > 1:
        return "the generation config stands there twice"
    if any(bodies.number(found) is None for found in asked.counts):
        return "the number of answers cannot be read"
    return ""


def _dearer(asked: Asked) -> str:
    body = asked.body
    if any(str(body.get(key) or "").lower() not in _TIERS for key in _TIER_FIELDS) or body.get("speed") == "fast":
        return "a faster service is charged at another price than the list's"
    if body.get("inference_geo") not in (None, "", "global"):
        return "a chosen region is charged at another price than the list's"
    return ""


def _unseen(asked: Asked) -> str:
    return "an answer in the background comes when nobody meters it" if asked.body.get("background") else ""


_RULES: Final[tuple[tuple[tuple[str, ...], Callable[[Asked], str]], ...]] = (
    ((*(name for names in _CHARGED_FIELDS.values() for name in names), *_CHARGED_ANYWHERE), _charged),
    (_ELSEWHERE, _elsewhere),
    (("context_management", "compaction", "multi_agent", "reasoning"), _worked_on),
    ((*_MODALITIES, *CONFIGS), _other_than_text),
    ((*(name for names in COUNTS.values() for name in names), *CONFIGS), _numbered),
    ((*_TIER_FIELDS, "speed", "inference_geo"), _dearer),
    (("background",), _unseen),
)
"""The fields of a request, and what is to be said of them."""
_READ: Final = frozenset(name for names, _ in _RULES for name in names)
