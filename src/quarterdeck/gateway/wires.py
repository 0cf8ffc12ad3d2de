"""The wire formats that pass the gateway, and what it reads of a request. Pure.

Rules
- A format is known by its path; what stands before the version (`/anthropic`, `/openai`, ...) is passed over.
- A request is read, never rewritten, with three exceptions, each made only where it must: the model's name where the
  deck routes to another one; `stream_options.include_usage` of a Chat Completions stream that did not ask for its
  usage (the chunk that comes of it is kept from the client); an output limit where only a smaller answer is covered by
  what money is left.
- A request that gives a name two values where it is read is refused: its provider may take the other one.
Sources: the API references of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import gc
import json
import re
from collections.abc import Callable, Mapping
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
        said = (body.get(key) for key in CONFIGS) if wire is Wire.GEMINI else (body,)
        configs = tuple(config for config in said if isinstance(config, dict))
        known("configs", configs)
        counts = (config.get(key) for config in configs for key in COUNTS.get(wire, ()))
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
CONFIGS: Final = ("generationConfig", "generation_config")
"""Where Gemini's requests limit the answer."""
_LIMITS: Final[Mapping[Wire, tuple[str, ...]]] = {
    Wire.MESSAGES: ("max_tokens",),
    Wire.RESPONSES: ("max_output_tokens",),
    Wire.CHAT: ("max_completion_tokens", "max_tokens"),
    Wire.GEMINI: ("maxOutputTokens", "max_output_tokens"),
}
"""All names of the limit; the first one is written where none stands there."""
COUNTS: Final[Mapping[Wire, tuple[str, ...]]] = {Wire.CHAT: ("n",), Wire.GEMINI: ("candidateCount", "candidate_count")}
"""Fields that say how many answers are wanted."""


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
        body = documents.read_plain(raw, DEEPEST) if len(raw) <= _MANY else _read(raw)
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
        return documents.read_plain(raw, DEEPEST)
    finally:
        if collecting:
            gc.enable()


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
    found = [key for key in CONFIGS if isinstance(asked.body.get(key), dict)] or [CONFIGS[0]]
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
