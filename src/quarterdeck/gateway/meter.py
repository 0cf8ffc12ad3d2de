"""What an answer that passes through was: its usage, its stop reason, its text. Pure.

Rules
- The bytes go on to the client as they came; the meter reads a copy. It never changes and never delays them.
- A stream is read by the portion: a piece of a few words costs a call of its own otherwise.
- The wire is the truth: usage comes from it, or is an estimate that says so, and then it is the bound: a model may have
  thought, and been paid for, what nobody saw. What a stream said about its prompt before it broke is kept.
- Usage on the way is not the last word: it counts once the answer has stopped.
- An answer without a stop reason was cut off, whatever the connection says. One with a reason that is not known here
  has ended all the same: what it says of its usage counts. So does what a failed answer says of it.
- What the meter does not understand costs nothing but the estimate: the client gets it all the same.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.gateway import bodies
from quarterdeck.gateway.wires import Wire
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.models import documents, reply, sound, sse
from quarterdeck.models.anthropic_messages import MessagesFold
from quarterdeck.models.gemini_generate import GeminiFold
from quarterdeck.models.openai_chat import ChatFold
from quarterdeck.models.openai_responses import ResponsesFold
from quarterdeck.models.port import Message, StopReason
from quarterdeck.models.reply import Draft, Fold

KEPT: Final = 16 * 1024 * 1024
"""Bytes of an answer in one piece that are read."""

_PORTION: Final = 4096
"""Bytes of a stream that are read together."""

_NONSENSE: Final = (KeyError, TypeError, AttributeError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Metered:
    """An answer, as far as it came."""

    usage: Usage
    estimated: bool
    stop: StopReason | None
    """None = it was cut off."""
    message: Message
    begun: bool
    """Anything of an answer came at all."""
    error: ModelFailed | None = None
    """What the stream said went wrong."""
    model: str = ""
    """The model that it says it is of, as its provider calls it; empty = it does not say."""
    prompt_counted: bool = True
    """The prompt is what the wire said, and not the bound."""


class Meter:
    """Reads one answer."""

    def __init__(self, wire: Wire, model: str, *, streams: bool, hide_usage: bool = False) -> None:
        """`hide_usage`: the client did not ask for the chunk with the usage and does not get it."""
        self._wire = wire
        self._fold = _fold(wire, model)
        self._events = sse.Events() if streams else None
        self._whole = bytearray()
        self._portion = bytearray()
        self._hide = hide_usage
        self._error: ModelFailed | None = None
        self._spoke = False
        self._prompt: Usage | None = None
        self._model = ""

    def read(self, chunk: bytes) -> bytes:
        """Take in what came; returns what the client gets of it."""
        if self._events is None:
            self._whole += chunk[: max(0, KEPT - len(self._whole))]
            return chunk
        self._portion += chunk
        if not self._hide and len(self._portion) < _PORTION:
            return chunk
        shown = self._read_portion()
        return shown if self._hide else chunk

    def _read_portion(self) -> bytes:
        """Read what has come; the part of it that is not to be hidden, as far as its events are whole."""
        portion, self._portion = bytes(self._portion), bytearray()
        if self._events is None:
            return portion
        try:
            sent = self._events.feed(portion)
        except ValueError:  # nothing is read any more, and the client still gets all of it
            kept, self._events = self._events.rest, None
            return kept
        return b"".join([one.raw for one in sent if not self._take(one)])

    def rest(self) -> bytes:
        """What the client has not got yet, at the end of the stream."""
        return self._events.rest if self._hide and self._events is not None else b""

    def _take(self, sent: sse.Sent) -> bool:
        """Read one event; whether it is to be hidden."""
        if not sent.data or sent.data == b"[DONE]":
            return False
        try:
            event = documents.read(sent.data)
        except (ValueError, RecursionError):
            return False
        return isinstance(event, dict) and self._add(event)

    def _add(self, event: dict[str, Any]) -> bool:
        if self._error is not None:
            return False
        try:
            self._spoke = self._spoke or any(True for _ in _deltas(self._wire, event))
            self._prompt = _prompt(self._wire, event) or self._prompt
            self._model = self._model or _model(self._wire, event)
            self._fold.add(event)
        except ModelFailed as error:
            self._error = error
        except _NONSENSE:
            pass
        return self._hide and bool(event.get("usage")) and not event.get("choices")

    def finish(self, prompt: int, output: int) -> Metered:
        """What it was. `prompt`, `output`: tokens that they have at most, for the estimate."""
        self._read_portion()
        if self._whole:
            self._read_whole()
        try:
            draft = self._fold.draft()
        except _NONSENSE:
            draft = Draft(begun=True)
        counted = sound.usage(draft.usage) if draft.ended else None
        known = sound.usage(self._prompt)
        begun = draft.begun or self._spoke or self._prompt is not None
        return Metered(
            usage=counted or (_estimate(known, prompt, output) if begun else Usage()),
            estimated=counted is None,
            stop=None if self._error is not None else draft.stop or (StopReason.END if draft.ended else None),
            message=_message(draft),
            begun=begun,
            error=self._error,
            model=self._model,
            prompt_counted=counted is not None or known is not None,
        )

    def _read_whole(self) -> None:
        try:
            body = documents.read(bytes(self._whole))
        except (ValueError, RecursionError):
            return
        for item in body if isinstance(body, list) else [body]:
            if isinstance(item, dict):
                for event in _as_events(self._wire, item):
                    self._add(event)


def _estimate(known: Usage | None, prompt: int, output: int) -> Usage:
    entry = known or Usage(input=prompt)
    return entry.model_copy(update={"output": max(output, entry.output, 1)})


def _fold(wire: Wire, model: str) -> Fold:
    match wire:
        case Wire.MESSAGES:
            return MessagesFold(model)
        case Wire.RESPONSES:
            return ResponsesFold(model)
        case Wire.CHAT:
            return ChatFold(model, 0)
        case Wire.GEMINI:
            return GeminiFold(model)


def _message(draft: Draft) -> Message:
    try:
        return reply.message(draft)
    except _NONSENSE:
        return Message(role="assistant", blocks=())


def _model(wire: Wire, event: dict[str, Any]) -> str:
    """The model that an event names."""
    match wire:
        case Wire.MESSAGES:
            named = event["message"].get("model") if event.get("type") == "message_start" else ""
        case Wire.RESPONSES:
            named = event["response"].get("model") if "response" in event else ""
        case Wire.CHAT:
            named = event.get("model")
        case Wire.GEMINI:
            named = event.get("modelVersion")
    return named if isinstance(named, str) else ""


def _prompt(wire: Wire, event: dict[str, Any]) -> Usage | None:
    """What an early event says about the prompt."""
    if wire is not Wire.MESSAGES or event.get("type") != "message_start":
        return None
    usage = event["message"]["usage"]
    return Usage(
        input=usage["input_tokens"],
        cache_read=usage.get("cache_read_input_tokens") or 0,
        cache_write=usage.get("cache_creation_input_tokens") or 0,
        long_write=(usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0,
        output=usage.get("output_tokens") or 0,
    )


def _deltas(wire: Wire, event: dict[str, Any]) -> Iterator[str]:
    """Texts of an event that are output."""
    match wire:
        case Wire.MESSAGES:
            if event.get("type") == "content_block_delta":
                delta = event["delta"]
                yield from (delta[key] for key in ("text", "partial_json", "thinking") if key in delta)
        case Wire.RESPONSES:
            if str(event.get("type")).endswith(".delta") and isinstance(event.get("delta"), str):
                yield event["delta"]
        case Wire.CHAT:
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {}
                yield from (delta[key] for key in ("content", "refusal", "reasoning_content") if delta.get(key))
                for call in delta.get("tool_calls") or ():
                    yield (call.get("function") or {}).get("arguments") or ""
        case Wire.GEMINI:
            for candidate in event.get("candidates") or ():
                for part in (candidate.get("content") or {}).get("parts") or ():
                    yield part.get("text") or json.dumps(part.get("functionCall") or "")


def _as_events(wire: Wire, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An answer in one piece, as the events that a stream of it would have."""
    if body.get("error"):
        failed = wire is Wire.RESPONSES and body.get("status") == "failed"
        yield {"type": "response.failed", "response": body} if failed else {"type": "error", **body}
        return
    match wire:
        case Wire.MESSAGES:
            usage = body.get("usage") or {}
            yield {"type": "message_start", "message": {"usage": usage, "model": body.get("model")}}
            for index, block in enumerate(bodies.listed(body.get("content"))):
                yield {"type": "content_block_start", "index": index, "content_block": block}
                if bodies.mapping(block).get("type") == "tool_use":
                    delta = {"type": "input_json_delta", "partial_json": json.dumps(block.get("input") or {})}
                    yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "message_delta", "delta": {"stop_reason": body.get("stop_reason")}, "usage": usage}
            yield {"type": "message_stop"}
        case Wire.RESPONSES:
            for index, item in enumerate(bodies.listed(body.get("output"))):
                yield {"type": "response.output_item.done", "output_index": index, "item": item}
            yield {"type": "response.completed", "response": body}
        case Wire.CHAT:
            choices = [bodies.mapping(choice) for choice in bodies.listed(body.get("choices"))]
            choices = [{**choice, "delta": choice.get("message")} for choice in choices]
            yield {**body, "choices": choices}
        case Wire.GEMINI:
            yield body
