"""The wire formats that pass the gateway, and what it reads of a request. Pure.

Rules
- A format is known by its path; what stands before the version (`/anthropic`, `/openai`, ...) is passed over.
- A request is read, never rewritten, with three exceptions, each made only where it must: the model's name where the
  deck routes to another one; `stream_options.include_usage` of a Chat Completions stream that did not ask for its
  usage (the chunk that comes of it is kept from the client); an output limit where only a smaller answer is covered by
  what money is left.
- What would be charged beside tokens, or at another price than the list says, is refused: it could not be metered.
- So is what lets whoever stands behind us (LiteLLM, OpenRouter) ask another model, or somewhere else: a key names the
  models that it may ask.
Sources: the API references of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import gc
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from quarterdeck.gateway import bodies
from quarterdeck.models import documents


class Wire(StrEnum):
    MESSAGES = "messages"
    RESPONSES = "responses"
    CHAT = "chat"
    GEMINI = "gemini"


class Operation(StrEnum):
    CALL = "call"
    """A model answers, and is paid for it."""
    COUNT = "count"
    """Counts a prompt's tokens; free."""
    LIST = "list"
    """Which models there are, or what one is: answered by the gateway."""


SPEAKERS: Final[Mapping[Wire, tuple[str, ...]]] = {
    Wire.MESSAGES: ("anthropic",),
    Wire.RESPONSES: ("openai",),
    Wire.CHAT: ("openai", "chat"),
    Wire.GEMINI: ("google",),
}
"""Providers that speak a format."""

_GEMINI: Final = re.compile(
    r"(?P<before>.*?)/v1(beta|alpha)?/models/(?P<model>[^/:]+):(?P<verb>generateContent|streamGenerateContent|countTokens)"
)
_ENDINGS: Final = (
    ("/messages/count_tokens", Wire.MESSAGES, Operation.COUNT),
    ("/messages", Wire.MESSAGES, Operation.CALL),
    ("/responses", Wire.RESPONSES, Operation.CALL),
    ("/chat/completions", Wire.CHAT, Operation.CALL),
)
_LISTS: Final = re.compile(r"(/[a-z]+)?(/v1(beta|alpha)?)?/models(/(?P<model>.*))?")
_KNOWN_FRONTS: Final = re.compile(r"(/(anthropic|openai|google|gemini))?(/v1)?")


@dataclass(frozen=True, slots=True)
class Place:
    """What a path asks for."""

    wire: Wire
    operation: Operation
    model: str = ""
    """Where the path names it."""
    streams: bool = False
    """Where the path says so."""


def place(method: str, path: str) -> Place | None:
    """What a request is, by its method and path (without query); None where the gateway does not serve it."""
    if method in ("GET", "HEAD") and (match := _LISTS.fullmatch(path)):
        return Place(Wire.GEMINI if "/v1beta" in path else Wire.CHAT, Operation.LIST, unquote(match["model"] or ""))
    if method != "POST":
        return None
    if match := _GEMINI.fullmatch(path):
        verb = match["verb"]
        operation = Operation.COUNT if verb == "countTokens" else Operation.CALL
        return Place(Wire.GEMINI, operation, unquote(match["model"]), verb == "streamGenerateContent")
    for ending, wire, operation in _ENDINGS:
        if path.endswith(ending):
            front = path.removesuffix(ending)
            return Place(wire, operation) if _KNOWN_FRONTS.fullmatch(front) else None
    return None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the gateway sees it."""

    place: Place
    body: Mapping[str, Any]
    raw: bytes
    """The body as it came."""
    query: str = ""
    """What stands behind the path, without a key; goes on as it is."""
    wire: Wire = field(init=False)
    model: str = field(init=False)
    """The model's name as the client wrote it."""
    streams: bool = field(init=False)
    configs: tuple[Mapping[str, Any], ...] = field(init=False, repr=False)
    """The objects that limit the answer."""
    counts: tuple[Any, ...] = field(init=False, repr=False)
    """What it says of how many answers it wants, as it stands there."""
    _known: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)
    """What was looked for in all of the body, and found or not: that is done once."""

    def __post_init__(self) -> None:
        """What is asked again and again is read once."""
        wire, body, known = self.place.wire, self.body, partial(object.__setattr__, self)
        known("wire", wire)
        known("model", self.place.model or str(body.get("model") or ""))
        known("streams", self.place.streams or (wire is not Wire.GEMINI and bool(body.get("stream"))))
        said = (body.get(key) for key in _CONFIGS) if wire is Wire.GEMINI else (body,)
        configs = tuple(config for config in said if isinstance(config, dict))
        known("configs", configs)
        counts = (config.get(key) for config in configs for key in _COUNTS.get(wire, ()))
        known("counts", tuple(count for count in counts if count is not None))

    @property
    def messages(self) -> int:
        """How many messages (or items) the prompt has."""
        for key in ("messages", "input", "contents"):
            if isinstance(found := self.body.get(key), list):
                return len(found)
        return 1

    @property
    def prefix(self) -> bytes:
        """What stands before the conversation: system prompt and tools, canonical."""
        config = self.body.get("systemInstruction") or self.body.get("system_instruction")
        system = self.body.get("system") or self.body.get("instructions") or config or ""
        return _CANONICAL.encode([system, self.body.get("tools") or []]).encode()

    @property
    def elsewhere(self) -> bool:
        """Whether a part of the prompt does not stand in the request."""
        return self._once("elsewhere", bodies.refers)

    @property
    def long_cache(self) -> bool:
        """Whether the prompt may be written to a cache that is kept for an hour."""
        return self.wire is Wire.MESSAGES and self._once("long cache", bodies.kept_an_hour)

    def look_through(self) -> None:
        """Look now for what is looked for in all of the body: that takes as long as it has values."""
        _ = self.elsewhere, self.long_cache

    def _once(self, what: str, look: Callable[[Mapping[str, Any]], bool]) -> bool:
        if what not in self._known:
            self._known[what] = look(self.body)
        return self._known[what]

    def output_limit(self) -> int | None:
        """Tokens that the answer may have at most, over all its choices; None where the request does not say."""
        limits = [bodies.largest(config.get(key) for key in _LIMITS[self.wire]) for config in self.configs]
        known = [limit for limit in limits if limit is not None]
        return max(known) * self.choices() if known and len(known) == len(limits) else None

    def choices(self) -> int:
        """How many answers are asked for."""
        return max((bodies.number(found) or 1 for found in self.counts), default=1)


_CANONICAL: Final = json.JSONEncoder(separators=(",", ":"), default=str)
_CONFIGS: Final = ("generationConfig", "generation_config")
_LIMITS: Final[Mapping[Wire, tuple[str, ...]]] = {
    Wire.MESSAGES: ("max_tokens",),
    Wire.RESPONSES: ("max_output_tokens",),
    Wire.CHAT: ("max_completion_tokens", "max_tokens"),
    Wire.GEMINI: ("maxOutputTokens", "max_output_tokens"),
}
"""All names of the limit; the first one is written where none stands there."""
_COUNTS: Final[Mapping[Wire, tuple[str, ...]]] = {Wire.CHAT: ("n",), Wire.GEMINI: ("candidateCount", "candidate_count")}


DEEPEST: Final = 200
"""Levels of a request's body: what is read is read again and written again, where the stack may be deeper."""


MOST: Final = 1_000_000
"""Values of a request's body, more than the longest prompt that a model takes has: read in a part of a second."""
_MANY: Final = 1024 * 1024
"""Bytes of a body that may have very many."""


def values(raw: bytes) -> int:
    """How many values a body has at most, about: by the marks with which one begins, or another one follows. In a text
    they count, too."""
    return len(raw) - len(raw.translate(None, b"{[,"))


def read(where: Place, raw: bytes, query: str = "") -> Asked:
    """The request. `query`: as it came. Raises ValueError where its body is no JSON object, or has too many values."""
    if len(raw) > MOST and values(raw) > MOST:
        raise ValueError("the body has more values than any model takes")
    try:
        body = documents.read(raw, DEEPEST) if len(raw) <= _MANY else _read(raw)
    except RecursionError as error:
        raise ValueError("the body is nested too deep") from error
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")
    kept = "&".join(part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) != "key")
    return Asked(where, body, raw, kept)


def _read(raw: bytes) -> Any:
    """A large body. Nothing in it can be garbage yet: to look for some over and over takes longer than to read it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return documents.read(raw, DEEPEST)
    finally:
        if collecting:
            gc.enable()


# --- what cannot be metered -------------------------------------------------------------------------------

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
_MODALITIES: Final = ("modalities", "responseModalities", "response_modalities")


def unmetered(asked: Asked) -> str:
    """Why what the request asks for could not be metered, for the one who asks; empty = it can."""
    body = asked.body
    for kind in _kinds(asked):
        if not _OWN_TOOLS[asked.wire].fullmatch(kind):
            return f"the tool {kind} runs at the provider and is charged beside the tokens"
    for name in (*_CHARGED_FIELDS[asked.wire], *_CHARGED_ANYWHERE):
        if body.get(name) not in (None, [], ""):
            return f"what {name} brings is charged beside the tokens"
    for name in _ELSEWHERE:
        if body.get(name) not in (None, [], {}, ""):
            return f"{name} chooses another model or another place, and nobody here knows its price"
    if why := _worked_on(body):
        return why
    if any(str(mode).lower() != "text" for mode in _modes(asked)):
        return "an answer that is not text is charged at another price than the list's"
    if asked.wire is Wire.GEMINI and len(asked.configs) > 1:
        return "the generation config stands there twice"
    if any(bodies.number(found) is None for found in asked.counts):
        return "the number of answers cannot be read"
    tiers = (body.get(key) for key in ("service_tier", "serviceTier"))
    if any(str(tier or "").lower() not in _TIERS for tier in tiers) or body.get("speed") == "fast":
        return "a faster service is charged at another price than the list's"
    if body.get("inference_geo") not in (None, "", "global"):
        return "a chosen region is charged at another price than the list's"
    if body.get("background"):
        return "an answer in the background comes when nobody meters it"
    return ""


def _worked_on(body: Mapping[str, Any]) -> str:
    """Why the provider may work on the request more often than once; empty = it does not."""
    found = [bodies.mapping(one) for one in bodies.listed(body.get("context_management"))]
    edits = [*found, *(bodies.mapping(edit) for one in found for edit in bodies.listed(one.get("edits")))]
    if body.get("compaction") or any(str(edit.get("type")).startswith("compact") for edit in edits):
        return "a prompt that the provider shortens is charged beside the usage that it tells"
    if (team := body.get("multi_agent")) and bodies.mapping(team).get("enabled", True):
        return "how many agents the provider starts for it, and what they use, nothing in the request bounds"
    if bodies.mapping(body.get("reasoning")).get("mode") not in (None, "", "standard"):
        return "how often the provider has it worked on in that reasoning mode nothing in the request bounds"
    return ""


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


def _modes(asked: Asked) -> list[Any]:
    return [mode for found in asked.configs for key in _MODALITIES for mode in bodies.listed(found.get(key))]


# --- what has to be rewritten -----------------------------------------------------------------------------


def wants_usage(asked: Asked) -> bool:
    """Whether a Chat Completions stream has to be asked for its usage."""
    if asked.wire is not Wire.CHAT or not asked.streams:
        return False
    return not bodies.mapping(asked.body.get("stream_options")).get("include_usage")


def rewritten(asked: Asked, model: str, limit: int | None = None) -> bytes:
    """The body to send: as it came, unless the `model` is another one, the usage must be asked for, or the answer has
    to be held to `limit` tokens."""
    changes: dict[str, Any] = {}
    if asked.wire is not Wire.GEMINI and model != asked.model:
        changes["model"] = model
    if wants_usage(asked):
        changes["stream_options"] = {**bodies.mapping(asked.body.get("stream_options")), "include_usage": True}
    if limit is not None:
        changes |= _limited(asked, limit)
    if not changes:
        return asked.raw
    # ASCII, because half a surrogate pair can stand in JSON as an escape and in no other way.
    return json.dumps({**asked.body, **changes}, separators=(",", ":")).encode()


def _limited(asked: Asked, limit: int) -> dict[str, Any]:
    """What holds the answer to `limit` tokens over all its choices: each name under which it stands there."""
    each = limit // asked.choices()
    if asked.wire is not Wire.GEMINI:
        return _held(asked.body, _LIMITS[asked.wire], each)
    found = [key for key in _CONFIGS if isinstance(asked.body.get(key), dict)] or [_CONFIGS[0]]
    configs = {key: bodies.mapping(asked.body.get(key)) for key in found}
    return {key: {**config, **_held(config, _LIMITS[asked.wire], each)} for key, config in configs.items()}


def _held(config: Mapping[str, Any], names: tuple[str, ...], each: int) -> dict[str, int]:
    stand = [name for name in names if config.get(name) is not None] or [
        next((name for name in reversed(names) if name in config), names[0])
    ]
    return {name: min(each, bodies.number(config.get(name)) or each) for name in stand}


def upstream_path(asked: Asked, model: str) -> str:
    """The path and query below the provider's base address (which ends in `/v1` for OpenAI's)."""
    return _path(asked, model) + (f"?{asked.query}" if asked.query else "")


def _path(asked: Asked, model: str) -> str:
    counting = asked.place.operation is Operation.COUNT
    match asked.wire:
        case Wire.MESSAGES:
            return "/v1/messages/count_tokens" if counting else "/v1/messages"
        case Wire.RESPONSES:
            return "/responses"
        case Wire.CHAT:
            return "/chat/completions"
        case Wire.GEMINI:
            verb = "countTokens" if counting else "streamGenerateContent" if asked.streams else "generateContent"
            return f"/v1beta/models/{model}:{verb}"
