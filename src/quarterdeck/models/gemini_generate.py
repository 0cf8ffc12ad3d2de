"""Google's generateContent format: a stream of its events to a draft. Pure.

Rules
- `promptTokenCount` includes what came from a cache (`cachedContentTokenCount`); what was thought
  (`thoughtsTokenCount`) is output that `candidatesTokenCount` does not include.
- Each event is a whole response whose usage counts from the beginning; the last one holds.
- A stream is complete with a `finishReason`, not before.
Source: ai.google.dev/api/generate-content.
"""

import json
from typing import Any, Final

from quarterdeck.kernel.entities import Usage
from quarterdeck.models import errors
from quarterdeck.models.port import Opaque, StopReason, Text
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


class GeminiFold:
    """Collects a stream of generateContent events; a whole response is a stream of one."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._parts: list[dict[str, Any]] = []
        self._finish = ""
        self._blocked = False
        self._usage: dict[str, Any] | None = None
        self._begun = False

    def add(self, event: dict[str, Any]) -> None:
        if event.get("error"):
            raise errors.failed(self._model, errors.read_body(None, event))
        self._begun = True
        self._usage = event.get("usageMetadata") or self._usage
        self._blocked = self._blocked or bool((event.get("promptFeedback") or {}).get("blockReason"))
        for candidate in (event.get("candidates") or ())[:1]:
            self._parts += (candidate.get("content") or {}).get("parts") or ()
            self._finish = candidate.get("finishReason") or self._finish

    def draft(self) -> Draft:
        stop = StopReason.REFUSED if self._blocked else _STOPS.get(self._finish)
        return Draft(tuple(self._read()), stop, self._counted(), begun=self._begun)

    def _read(self) -> list[Part]:
        parts: list[Part] = []
        said = ""
        for index, part in enumerate(self._parts):
            if isinstance(call := part.get("functionCall"), dict):
                if said:
                    parts.append(Text(text=said))
                    said = ""
                name = str(call.get("id") or f"call_{index}")
                parts.append(DraftCall(name, str(call["name"]), json.dumps(call.get("args") or {})))
            elif part.get("thought"):
                parts.append(Opaque(vendor=VENDOR, data=dict(part)))
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
