"""The wire formats that pass the gateway, and what it reads of a request. Pure.

Rules
- A format is known by its path; what stands before the version (`/anthropic`, `/openai`, ...) is passed over.
- A request is read, never rewritten, with three exceptions, each made only where it must: the model's name where the
  deck routes to another one; `stream_options.include_usage` of a Chat Completions stream that did not ask for its
  usage (the chunk that comes of it is kept from the client); an output limit where only a smaller answer is covered by
  what money is left.
- What would be charged beside tokens, or at another price than the list says, is refused: it could not be metered.
Sources: the API references of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote


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
    """Which models there are: answered by the gateway."""


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
_LISTS: Final = re.compile(r"(/[a-z]+)?(/v1(beta|alpha)?)?/models(/[^/:]+)?/?")
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
    if method in ("GET", "HEAD") and _LISTS.fullmatch(path):
        return Place(Wire.GEMINI if "/v1beta" in path else Wire.CHAT, Operation.LIST)
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

    @property
    def wire(self) -> Wire:
        return self.place.wire

    @property
    def model(self) -> str:
        """The model's name as the client wrote it."""
        return self.place.model or str(self.body.get("model") or "")

    @property
    def streams(self) -> bool:
        return self.place.streams or (self.wire is not Wire.GEMINI and bool(self.body.get("stream")))

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
        return json.dumps([system, self.body.get("tools") or []], separators=(",", ":"), default=str).encode()

    @property
    def elsewhere(self) -> bool:
        """Whether a part of the prompt does not stand in the request: an earlier answer that the provider keeps, a
        file or picture behind a reference."""
        if any(self.body.get(key) for key in ("previous_response_id", "conversation", "prompt", "cachedContent")):
            return True
        if not any(mark in self.raw for mark in _REFERENCES):
            return False
        return any(_refers(found) for key, found in self.body.items() if key != "tools")

    @property
    def long_cache(self) -> bool:
        """Whether the prompt may be written to a cache that is kept for an hour."""
        return self.wire is Wire.MESSAGES and b'"1h"' in self.raw

    def output_limit(self) -> int | None:
        """Tokens that the answer may have at most, over all its choices; None where the request does not say."""
        match self.wire:
            case Wire.MESSAGES:
                found, times = self.body.get("max_tokens"), 1
            case Wire.RESPONSES:
                found, times = self.body.get("max_output_tokens"), 1
            case Wire.CHAT:
                found = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
                times = _count(self.body.get("n"))
            case Wire.GEMINI:
                config = _object(self.body.get("generationConfig") or self.body.get("generation_config"))
                found, times = config.get("maxOutputTokens"), _count(config.get("candidateCount"))
        return found * times if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None

    def choices(self) -> int:
        """How many answers are asked for."""
        config = _object(self.body.get("generationConfig"))
        return _count(self.body.get("n")) if self.wire is Wire.CHAT else _count(config.get("candidateCount"))


_REFERENCES: Final = (b'"file_id"', b'"file_url"', b'"image_url"', b'"fileUri"', b'"file_uri"', b'"url"')
"""A look at the bytes, which is quick, says where a look at the values is worth it."""

_REFERRING: Final = frozenset({"file_id", "file_url", "image_url", "fileUri", "file_uri"})
_TOOLS: Final = "additional_tools"
"""An item that offers tools: what their schemas call things refers to nothing."""


def _refers(found: Any) -> bool:
    """Whether something in it stands for what lies elsewhere. What lies in it as `data:` does not."""
    if isinstance(found, list):
        return any(_refers(item) for item in found)
    if not isinstance(found, dict) or found.get("type") == _TOOLS:
        return False
    if found.get("type") == "url":
        return True
    for key, value in found.items():
        if key in _REFERRING and not _inline(value):
            return True
        if isinstance(value, dict | list) and _refers(value):
            return True
    return False


def _inline(value: Any) -> bool:
    url = value.get("url") if isinstance(value, dict) else value
    return not url or (isinstance(url, str) and url.startswith("data:"))


def _count(found: Any) -> int:
    return found if isinstance(found, int) and found > 1 else 1


def _object(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def read(where: Place, raw: bytes, query: str = "") -> Asked:
    """The request. `query`: as it came. Raises ValueError where its body is no JSON object."""
    try:
        body = json.loads(raw)
    except RecursionError as error:
        raise ValueError("the body is nested too deep") from error
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")
    kept = "&".join(part for part in query.split("&") if part and not part.startswith("key="))
    return Asked(where, body, raw, kept)


# --- what cannot be metered -------------------------------------------------------------------------------

_CHARGED_TOOLS: Final = re.compile(
    r"web_search|code_execution|file_search|code_interpreter|image_generation|tool_search_hosted|x_search", re.I
)
_CHARGED_GEMINI: Final = (
    "googleSearch",
    "google_search",
    "googleSearchRetrieval",
    "google_search_retrieval",
    "googleMaps",
    "google_maps",
    "fileSearch",
    "file_search",
)
_TIERS: Final = ("priority", "fast", "scale")


def unmetered(asked: Asked) -> str:
    """Why what the request asks for could not be metered, for the one who asks; empty = it can."""
    body = asked.body
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        kind = str(tool.get("type") or "")
        if asked.wire is Wire.GEMINI:
            if found := next((name for name in _CHARGED_GEMINI if name in tool), None):
                return f"the tool {found} runs at the provider and is charged beside the tokens"
        elif kind not in ("", "function", "custom") and _CHARGED_TOOLS.search(kind):
            return f"the tool {kind} runs at the provider and is charged beside the tokens"
    if body.get("service_tier") in _TIERS or body.get("speed") == "fast":
        return "a faster service is charged at another price than the list's"
    if body.get("inference_geo") not in (None, "", "global"):
        return "a chosen region is charged at another price than the list's"
    if body.get("background"):
        return "an answer in the background comes when nobody meters it"
    return ""


# --- what has to be rewritten -----------------------------------------------------------------------------


def wants_usage(asked: Asked) -> bool:
    """Whether a Chat Completions stream has to be asked for its usage."""
    if asked.wire is not Wire.CHAT or not asked.streams:
        return False
    return not _object(asked.body.get("stream_options")).get("include_usage")


def rewritten(asked: Asked, model: str, limit: int | None = None) -> bytes:
    """The body to send: as it came, unless the `model` is another one, the usage must be asked for, or the answer has
    to be held to `limit` tokens."""
    changes: dict[str, Any] = {}
    if asked.wire is not Wire.GEMINI and model != asked.model:
        changes["model"] = model
    if wants_usage(asked):
        changes["stream_options"] = {**_object(asked.body.get("stream_options")), "include_usage": True}
    if limit is not None:
        changes |= _limited(asked, limit)
    if not changes:
        return asked.raw
    # ASCII, because half a surrogate pair can stand in JSON as an escape and in no other way.
    return json.dumps({**asked.body, **changes}, separators=(",", ":")).encode()


def _limited(asked: Asked, limit: int) -> dict[str, Any]:
    match asked.wire:
        case Wire.MESSAGES:
            return {"max_tokens": limit}
        case Wire.RESPONSES:
            return {"max_output_tokens": limit}
        case Wire.CHAT:
            key = "max_tokens" if "max_tokens" in asked.body else "max_completion_tokens"
            return {key: limit // asked.choices()}
        case Wire.GEMINI:
            config = _object(asked.body.get("generationConfig"))
            return {"generationConfig": {**config, "maxOutputTokens": limit // asked.choices()}}


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
