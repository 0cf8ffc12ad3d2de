"""Google's generateContent format. Pure: request to body, events to draft.

Rules
- `promptTokenCount` includes what came from a cache (`cachedContentTokenCount`); what was thought
  (`thoughtsTokenCount`) is output that `candidatesTokenCount` does not include.
- Each event is a whole response whose usage counts from the beginning; the last one holds.
- A stream is complete with a `finishReason`, not before.
- A signature belongs to the part it came with and goes back with it: it is kept as an opaque block before that part.
  From Gemini 3 on calls without one are refused: those that another vendor's model made are marked as such.
- A call is answered by its name and, where the model gave one, its id; other ids are made from the turn and stay here.
Sources: ai.google.dev/api/generate-content, ai.google.dev/gemini-api/docs/thought-signatures.
"""

import json
import re
from typing import Any, Final

from quarterdeck.kernel.entities import Usage
from quarterdeck.models import errors
from quarterdeck.models.port import Message, Opaque, Request, StopReason, Text, ToolCall, ToolOutcome
from quarterdeck.models.reply import Draft, DraftCall, Part, overlapping

VENDOR: Final = "google"
_STOPS: Final = {
    "STOP": StopReason.END,
    "MAX_TOKENS": StopReason.LENGTH,
    "SAFETY": StopReason.REFUSED,
    "RECITATION": StopReason.REFUSED,
    "LANGUAGE": StopReason.REFUSED,
    "BLOCKLIST": StopReason.REFUSED,
    "PROHIBITED_CONTENT": StopReason.REFUSED,
    "SPII": StopReason.REFUSED,
    "MALFORMED_FUNCTION_CALL": StopReason.END,
    "UNEXPECTED_TOOL_CALL": StopReason.END,
    "OTHER": StopReason.END,
}
_SIGNED: Final = "thoughtSignature"
_UNSIGNED: Final = "skip_thought_signature_validator"
"""What stands for the signature of a call that this model did not make."""
_WITHOUT_SIGNATURES: Final = re.compile(r"gemini-[12](\.|-)")
_OURS: Final = "qd_"
"""How ids begin that the model did not give."""


def body(request: Request, model: str) -> dict[str, Any]:
    """The request's body, and under `model` what belongs into its path."""
    signs = _WITHOUT_SIGNATURES.match(model) is None
    names = {call.id: call.name for message in request.messages for call in message.calls}
    contents = [
        {"role": "model" if message.role == "assistant" else "user", "parts": parts}
        for message in request.messages
        if (parts := _parts(message, names, signs))
    ]
    made: dict[str, Any] = {
        "model": model,
        "contents": contents,
        "generationConfig": {"maxOutputTokens": request.max_output},
    }
    if request.system:
        made["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
            for tool in request.tools
        ]
        made["tools"] = [{"functionDeclarations": declared}]
    return made


def _parts(message: Message, names: dict[str, str], signs: bool) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    signature: dict[str, Any] = {}
    # The API wants what the tools gave before anything else of the same message.
    for block in sorted(message.blocks, key=lambda block: not isinstance(block, ToolOutcome)):
        match block:
            case Text() if block.text:
                made.append({"text": block.text, **signature})
            case ToolCall():
                call = {"name": block.name, "args": block.arguments, **_id(block.id)}
                made.append({"functionCall": call, **signature})
            case ToolOutcome():
                given = {"error" if block.error else "output": block.text}
                answer = {"name": names.get(block.id, ""), "response": given, **_id(block.id)}
                made.append({"functionResponse": answer})
            case Opaque() if block.vendor == VENDOR:
                if set(block.data) == {_SIGNED}:
                    signature = dict(block.data)
                    continue
                made.append(dict(block.data))
            case _:
                continue
        signature = {}
    if signature:
        made.append({"text": "", **signature})
    calls = [part for part in made if "functionCall" in part]
    if signs and calls and not any(_SIGNED in part for part in calls):
        calls[0][_SIGNED] = _UNSIGNED
    return made


def _id(name: str) -> dict[str, str]:
    return {} if name.startswith(_OURS) else {"id": name}


class GeminiFold:
    """Collects a stream of generateContent events; a whole response is a stream of one."""

    def __init__(self, model: str, turn: int = 0) -> None:
        """`turn` makes the ids that the model does not give unique."""
        self._model = model
        self._turn = turn
        self._parts: list[dict[str, Any]] = []
        self._finish = ""
        self._blocked = False
        self._usage: dict[str, Any] | None = None
        self._begun = False

    def add(self, event: dict[str, Any]) -> None:
        self._begun = True
        if event.get("error"):
            raise errors.failed(self._model, errors.read_body(None, event))
        self._usage = event.get("usageMetadata") or self._usage
        self._blocked = self._blocked or bool((event.get("promptFeedback") or {}).get("blockReason"))
        for candidate in (event.get("candidates") or ())[:1]:
            self._parts += (candidate.get("content") or {}).get("parts") or ()
            self._finish = candidate.get("finishReason") or self._finish

    def draft(self) -> Draft:
        stop = StopReason.REFUSED if self._blocked else _STOPS.get(self._finish)
        ended = str(self._finish) or ("blocked" if self._blocked else "")
        return Draft(tuple(self._read()), stop, self._counted(), begun=self._begun, ended=ended)

    def _read(self) -> list[Part]:
        parts: list[Part] = []
        said = ""
        for index, part in enumerate(self._parts):
            signature = part.get(_SIGNED)
            call = part.get("functionCall")
            if said and (signature or call is not None or part.get("thought")):
                parts.append(Text(text=said))
                said = ""
            if part.get("thought"):
                parts.append(Opaque(vendor=VENDOR, data=dict(part)))
                continue
            if signature:
                parts.append(Opaque(vendor=VENDOR, data={_SIGNED: signature}))
            if call is not None:
                name = call.get("id") or f"{_OURS}{self._turn}_{index}"
                parts.append(DraftCall(name, call["name"], json.dumps(call.get("args") or {})))
            elif signature:
                parts.append(Text(text=part.get("text") or ""))
            else:
                said += part.get("text") or ""
        return [*parts, Text(text=said)] if said else parts

    def _counted(self) -> Usage | None:
        usage = self._usage
        if usage is None or not (self._finish or self._blocked):
            return None
        output = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
        prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
        return overlapping(prompt, usage.get("cachedContentTokenCount") or 0, 0, output)
