"""From a request and its turn to an answer, and from an answer to bytes. Pure."""

from dataclasses import replace
from typing import Any

from quarterdeck.kernel.entities import Usage
from quarterdeck.models.scripted import actions, heard, wire_anthropic, wire_chat, wire_gemini, wire_responses
from quarterdeck.models.scripted.cache import Counted
from quarterdeck.models.scripted.faults import Fault, distort
from quarterdeck.models.scripted.frames import Frame, disturb
from quarterdeck.models.scripted.heard import Ends, Format, Heard, Said
from quarterdeck.models.scripted.scenario import Scenario, Turn


def hear(wire: Format, body: dict[str, Any]) -> Heard:
    """Read a request. Raises KeyError, TypeError, ValueError where it is not one."""
    match wire:
        case Format.MESSAGES:
            return wire_anthropic.hear(body)
        case Format.RESPONSES:
            return wire_responses.hear(body)
        case Format.GEMINI:
            return wire_gemini.hear(body)
        case _:
            return wire_chat.hear(body, wire)


def compose(scenario: Scenario, turn: Turn, request: Heard, fault: Fault | None) -> Said:
    """What is said, input tokens not yet counted. Raises BadInput."""
    name = heard.answer_id(request)
    calls = actions.calls(turn.actions, request, name)
    said = Said(
        id=name,
        text=turn.text,
        thinking=turn.thinking,
        calls=calls,
        ends=Ends.TOOLS if calls else Ends.END,
        usage=Usage(),
    )
    return distort(fault, said) if fault is not None else said


def output_characters(said: Said) -> int:
    """Characters of output, as they are counted while streaming."""
    return len(said.text) + len(said.thinking) + sum(len(call.arguments) for call in said.calls)


def tokens(characters: int, chars_per_token: int) -> int:
    """Output tokens; even an empty answer costs two."""
    return max(2, -(-characters // chars_per_token))


def metered(said: Said, counted: Counted, chars_per_token: int) -> Said:
    """The answer with its usage."""
    output = tokens(output_characters(said), chars_per_token)
    usage = Usage(
        input=counted.input,
        cache_read=counted.read,
        cache_write=counted.write,
        output=output,
        long_write=counted.long_write,
    )
    thought = min(output, -(-len(said.thinking) // chars_per_token))
    return replace(said, usage=usage, long_write=counted.long_write, thought=thought)


def as_json(said: Said, request: Heard) -> dict[str, Any]:
    """The answer as one body."""
    match request.format:
        case Format.MESSAGES:
            return wire_anthropic.body(said, request.model)
        case Format.RESPONSES:
            return wire_responses.body(said, request.model)
        case Format.CHAT:
            return wire_chat.body(said, request.model)
        case Format.OLLAMA:
            return wire_chat.ollama_body(said, request.model)
        case Format.GEMINI:
            return wire_gemini.body(said, request.model)


def as_frames(said: Said, request: Heard, fault: Fault | None) -> list[Frame]:
    """The answer as the stream that is sent."""
    match request.format:
        case Format.MESSAGES:
            frames = wire_anthropic.frames(said, request.model)
        case Format.RESPONSES:
            frames = wire_responses.frames(said, request.model)
        case Format.CHAT:
            frames = wire_chat.frames(said, request.model, request.include_usage)
        case Format.OLLAMA:
            frames = wire_chat.ollama_frames(said, request.model)
        case Format.GEMINI:
            frames = wire_gemini.frames(said, request.model)
    return disturb(frames, fault, request.format)
