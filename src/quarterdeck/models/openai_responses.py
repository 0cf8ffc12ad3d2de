"""OpenAI's Responses format. Pure: request to body, events to draft.

Rules
- Nothing is stored at the provider; encrypted reasoning is asked for where a model reasons, and sent back unchanged.
- Input tokens include cached ones over the wire; `Usage` keeps them apart.
Source: developers.openai.com/api/docs, Responses and its streaming events.
"""

import json
import re
from typing import Any, Final

from quarterdeck.kernel.entities import Usage
from quarterdeck.models import errors
from quarterdeck.models.port import Block, Opaque, Request, StopReason, Text, ToolCall, ToolOutcome
from quarterdeck.models.reply import Draft, DraftCall, Part, overlapping

VENDOR: Final = "openai"
_LEAST_OUTPUT: Final = 16
_WITHOUT_REASONING: Final = re.compile(r"gpt-[34]|chatgpt|.*-chat")


def body(request: Request, model: str) -> dict[str, Any]:
    """The request's body."""
    made: dict[str, Any] = {
        "model": model,
        "input": [item for message in request.messages for b in message.blocks for item in _items(message.role, b)],
        "store": False,
        "max_output_tokens": max(_LEAST_OUTPUT, request.max_output),
    }
    if request.system:
        made["instructions"] = request.system
    if _WITHOUT_REASONING.match(model) is None:
        made["include"] = ["reasoning.encrypted_content"]
    if request.tag:
        made["prompt_cache_key"] = request.tag
    if request.tools:
        made["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in request.tools
        ]
    return made


def _items(role: str, block: Block) -> list[dict[str, Any]]:
    match block:
        case Text():
            return [{"role": role, "content": block.text}] if block.text else []
        case ToolCall():
            arguments = json.dumps(block.arguments)
            return [{"type": "function_call", "call_id": block.id, "name": block.name, "arguments": arguments}]
        case ToolOutcome():
            text = f"Error: {block.text}" if block.error else block.text
            return [{"type": "function_call_output", "call_id": block.id, "output": text}]
        case Opaque():
            return [dict(block.data)] if block.vendor == VENDOR else []


class ResponsesFold:
    """Collects a stream of Responses events."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._items: dict[int, dict[str, Any]] = {}
        self._last: dict[str, Any] | None = None
        self._begun = False

    def add(self, event: dict[str, Any]) -> None:
        self._begun = True
        match event.get("type"):
            case "error":
                raise errors.failed(self._model, errors.read_body(None, event))
            case "response.failed":
                self._last = event["response"]  # what failed may have been billed, and then it says so
                raise errors.failed(self._model, errors.read_body(None, event["response"].get("error") or {}))
            case "response.output_item.done":
                if not isinstance(event["item"], dict):
                    raise TypeError("an item is an object")
                self._items[event["output_index"]] = event["item"]
            case "response.completed" | "response.incomplete":
                self._last = event["response"]
            case _:
                if event.get("error"):
                    raise errors.failed(self._model, errors.read_body(None, event))

    def draft(self) -> Draft:
        refused = False
        parts: list[Part] = []
        for _, item in sorted(self._items.items()):
            match item.get("type"):
                case "message":
                    for content in item.get("content") or ():
                        refused = refused or content.get("type") == "refusal"
                        parts.append(Text(text=content.get("text") or content.get("refusal") or ""))
                case "function_call":
                    parts.append(DraftCall(item["call_id"], item["name"], item["arguments"]))
                case "reasoning" if item.get("encrypted_content"):
                    kept = ("type", "id", "summary", "encrypted_content")
                    parts.append(Opaque(vendor=VENDOR, data={key: item[key] for key in kept if key in item}))
                case _:
                    continue
        return Draft(tuple(parts), self._stop(refused), self._usage(), begun=self._begun, ended=self._status)

    @property
    def _status(self) -> str:
        return "" if self._last is None else str(self._last.get("status") or "completed")

    def _stop(self, refused: bool) -> StopReason | None:
        if self._last is None or self._status == "failed":
            return None
        if self._status == "incomplete":
            reason = (self._last.get("incomplete_details") or {}).get("reason")
            return StopReason.REFUSED if reason == "content_filter" else StopReason.LENGTH
        return StopReason.REFUSED if refused else StopReason.END

    def _usage(self) -> Usage | None:
        usage = (self._last or {}).get("usage")
        if not usage:
            return None
        details = usage.get("input_tokens_details") or {}
        read, write = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        return overlapping(usage["input_tokens"], read, write, usage["output_tokens"])
