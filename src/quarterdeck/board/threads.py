"""The thread of an attempt: what an agent was told, said and did, entry by entry. Pure.

Rules
- One record is at most a few entries; records that say nothing to people are none.
- Texts are bounded; what is cut says so.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from quarterdeck.agents import transcript
from quarterdeck.board.answers import EntryKind, ThreadEntry
from quarterdeck.board.runs import tokens_of
from quarterdeck.delivery.nodes.check import RESULTS
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import to_usd
from quarterdeck.models.port import Message, Opaque

TEXT: Final = 16_000
"""Characters of one text."""

Bodies = Mapping[str, bytes]
"""Blobs by digest, as far as they are there."""


def blobs_of(event: e.EventBase) -> tuple[str, ...]:
    """The blobs that the entries of an event are made of."""
    match event:
        case e.TranscriptExtended() | e.ModelAnswered():
            return (event.message_blob,)
        case e.ToolIntended():
            return (event.arguments_blob,)
        case e.ToolDone():
            return (event.result_blob,)
        case e.AgentPrompted():
            return (event.prompt_blob,)
        case e.AgentSaid():
            return (event.text_blob,)
        case e.AgentActing():
            return (event.input_blob,) if event.input_blob else ()
        case e.AgentActed():
            return (event.output_blob,) if event.output_blob else ()
        case e.HarnessFinished():
            return (event.output_blob,) if event.output_blob else ()
        case e.CheckRan():
            return (event.results_blob,)
        case _:
            return ()


def entries(record: Record, bodies: Bodies) -> Iterator[ThreadEntry]:
    """What people are shown of a record of an attempt's stream."""
    event = record.event
    match event:
        case e.TranscriptExtended() | e.ModelAnswered() | e.ModelErred():
            yield from _talk(record, event, bodies)
        case e.ToolIntended() | e.ToolDone() | e.PermissionDecided() | e.AgentActing() | e.AgentActed():
            yield _act(record, event, bodies)
        case e.AgentPrompted():
            kind: EntryKind = "human" if event.why == "message" else "prompt"
            yield _entry(record, kind, _text(bodies, event.prompt_blob))
        case e.AgentSaid():
            yield _entry(record, "thought" if event.thought else "said", _text(bodies, event.text_blob))
        case e.NoteRecorded():
            yield _entry(record, "note", event.text)
        case e.QuestionAsked():
            yield _entry(record, "said", event.question)
        case e.MessageDelivered():
            yield _entry(record, "human", event.text)
        case e.HarnessFinished():
            said = f"it ended{'' if event.ok else f': {event.reason}'}"
            output = _text(bodies, event.output_blob) if event.output_blob else ""
            yield _entry(record, "event", f"{said}\n{output}".strip(), ok=event.ok)
        case e.CheckRan():
            yield _entry(record, "event", _checked(event, bodies), ok=event.passed, seconds=event.seconds)
        case _:
            text = _words(event)
            if text:
                yield _entry(record, "event", text)


def _entry(record: Record, kind: EntryKind, text: str, **more: Any) -> ThreadEntry:
    arguments = more.pop("arguments", "")
    values: dict[str, Any] = {
        "seq": record.seq,
        "at": record.at,
        "kind": kind,
        "step": getattr(record.event, "step", 0),
        "text": text[:TEXT],
        "cut": len(text) > TEXT or len(arguments) > TEXT,
        "tool": "",
        "arguments": arguments[:TEXT],
        "ok": None,
        "decision": "",
        "rules": (),
        "flags": (),
        "seconds": 0.0,
        "model": "",
        "tokens": None,
        "cost_usd": 0.0,
        "context_tokens": 0,
    }
    return ThreadEntry(**(values | more))


def _talk(
    record: Record, event: e.TranscriptExtended | e.ModelAnswered | e.ModelErred, bodies: Bodies
) -> Iterator[ThreadEntry]:
    match event:
        case e.TranscriptExtended():
            if event.why != "person":  # `message.delivered` shows it as it was said
                message = _message(bodies, event.message_blob)
                yield _entry(record, "prompt" if event.why == "task" else "event", message.text if message else "")
        case e.ModelAnswered():
            message = _message(bodies, event.message_blob)
            thought = _thought(message)
            if thought:
                yield _entry(record, "thought", thought, model=event.model)
            yield _entry(
                record,
                "said",
                message.text if message else "",
                model=event.model,
                seconds=event.seconds,
                tokens=tokens_of(event.usage),
                cost_usd=to_usd(event.cost_nusd),
                context_tokens=event.usage.prompt,
                flags=("estimated",) if event.estimated else (),
            )
        case e.ModelErred():
            yield _entry(
                record,
                "event",
                f"{event.model} failed ({event.failure}): {event.reason}",
                ok=False,
                model=event.model,
                tokens=tokens_of(event.usage),
                cost_usd=to_usd(event.cost_nusd),
            )


def _act(
    record: Record,
    event: e.ToolIntended | e.ToolDone | e.PermissionDecided | e.AgentActing | e.AgentActed,
    bodies: Bodies,
) -> ThreadEntry:
    more: dict[str, Any] = {}
    match event:
        case e.ToolIntended():
            more |= {"tool": event.tool, "decision": event.decision, "rules": event.rules}
            return _entry(record, "call", "", arguments=_text(bodies, event.arguments_blob), **more)
        case e.ToolDone():
            more |= {"tool": event.tool, "ok": event.ok, "flags": event.flags, "seconds": event.seconds}
            return _entry(record, "result", _text(bodies, event.result_blob), **more)
        case e.PermissionDecided():
            text = f"asked whether it may; the answer was {event.answer}"
            more |= {"tool": event.tool, "decision": event.decision, "rules": event.rules}
            return _entry(record, "event", text, **more)
        case e.AgentActing():
            arguments = _text(bodies, event.input_blob) if event.input_blob else ""
            return _entry(record, "call", "", tool=event.title or event.tool_kind, arguments=arguments)
        case e.AgentActed():
            text = _text(bodies, event.output_blob) if event.output_blob else ""
            more |= {"ok": event.ok, "flags": event.flags}
            return _entry(record, "result", text, tool=event.title or event.tool_kind, **more)


def _text(bodies: Bodies, digest: str) -> str:
    body = bodies.get(digest)
    return "(its text is not stored)" if body is None else body.decode("utf-8", "replace")


def _message(bodies: Bodies, digest: str) -> Message | None:
    body = bodies.get(digest)
    if body is None:
        return None
    try:
        return transcript.decode(body)
    except (ValidationError, json.JSONDecodeError):
        return None  # a provider's own form, which no reader of ours knows


def _checked(event: e.CheckRan, bodies: Bodies) -> str:
    """How the checks of a change ended, with what those said that failed."""
    said = [f"its checks {'passed' if event.passed else 'failed'}"]
    try:
        results = RESULTS.validate_json(bodies.get(event.results_blob, b"[]"))
    except ValidationError:
        results = ()
    for result in results:
        why = f", {result.reason}" if result.reason else ""
        said.append(f"$ {result.command}   (exit {result.exit_code}{why})")
        if not result.passed:
            said.append(result.output)
    return "\n".join(said)


def _thought(message: Message | None) -> str:
    """What its vendor shows of a model's reasoning."""
    if message is None:
        return ""
    blocks = [block.data for block in message.blocks if isinstance(block, Opaque)]
    shown = [text for data in blocks if isinstance(text := data.get("thinking"), str)]
    return "\n".join(shown)


def warned(event: e.AttemptWarned) -> str:
    """What an agent was warned of, with what it was told of the other task."""
    place = f"`{event.entity}` in {event.path}" if event.entity else event.path
    state = {"working": "works on it too", "coming": "has changed it too", "landed": "changed it, and has landed"}
    told = "its next attempt is told" if event.how == "feedback" else "is told"
    said = f"{told} about {place}: {event.other} ({event.title}) {state[event.state]}"
    return f"{said}\n{event.intent}".strip()


def _words(event: e.EventBase) -> str:
    """What other records say, in words; empty = nothing that belongs into a thread."""
    match event:
        case e.AttemptStarted():
            again = f", incarnation {event.incarnation}" if event.incarnation > 1 else ""
            return f"{event.agent} begins{again}{f' ({event.routed})' if event.routed else ''}"
        case e.EnvironmentBuilding():
            return "waits for its environment to be built"
        case e.AgentConnected():
            return f"{event.name} {event.version} connected"
        case e.AgentTurned():
            return f"turn {event.number} ended: {event.stop}"
        case e.HandoffRefused():
            return f"its {event.expects} was refused ({event.number}): {event.reason}"
        case e.ToolFellBack():
            return f"{event.tool} failed ({event.reason}); {event.to} is used instead"
        case e.Delegated():
            return f"delegated to {event.agent}: {event.child}"
        case e.ContextCompacted():
            return f"its context was compacted from {event.before_tokens} to {event.after_tokens} tokens"
        case e.AttemptTouched():
            names = ", ".join(name for name in event.entities if name)
            return f"changes {event.path}{f': {names}' if names else ''}" if event.entities else ""
        case e.AttemptWarned():
            return warned(event)
        case e.LimitReached():
            return f"a limit was reached: {event.limit}, {event.used:g} of {event.allowed:g}"
        case e.IncidentOpened():
            return f"{event.subject}: {event.reason}\n{event.fix}".strip()
        case e.ChangeExported():
            return f"a change of {len(event.change.files)} files: {event.change.commit[:12]}"
        case e.ChangeInspected():
            return f"validation names {event.blocking + event.warnings} things: {event.first}".rstrip(": ")
        case e.NodeDelayed():
            return f"{event.node} is delayed: {event.reason}"
        case e.NodeFinished():
            return f"{event.node}: {event.outcome}{f', {event.reason}' if event.reason else ''}"
        case _:
            return ""
