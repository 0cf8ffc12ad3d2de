"""Ollama's own chat format. Pure: request to body, lines to draft.

Rules
- Ollama's OpenAI-compatible endpoint takes no context window and cuts longer prompts to its default (2,048 or 4,096
  tokens) without a word; its own endpoint takes `num_ctx` with every request. So its own endpoint is spoken.
- It gives tool calls no ids; they are made from the turn.
Source: github.com/ollama/ollama, docs/api.md.
"""

import json
from typing import Any

from quarterdeck.kernel.entities import Usage
from quarterdeck.models import errors, openai_chat
from quarterdeck.models.growing import Growing
from quarterdeck.models.port import Message, Request, StopReason, Text, ToolCall, ToolOutcome
from quarterdeck.models.reply import Draft, DraftCall, Part


def body(request: Request, model: str, window: int) -> dict[str, Any]:
    """The request's body. `window`: context window to set, in tokens."""
    names = {call.id: call.name for message in request.messages for call in message.calls}
    messages: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        messages += _spoken(message, names)
    made: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "options": {"num_ctx": window, "num_predict": request.max_output},
    }
    if request.tools:
        made["tools"] = openai_chat.tools(request)
    return made


def _spoken(message: Message, names: dict[str, str]) -> list[dict[str, Any]]:
    if message.role == "assistant":
        made: dict[str, Any] = {"role": "assistant", "content": message.text}
        if message.calls:
            made["tool_calls"] = [_call(call) for call in message.calls]
        return [made] if message.text or message.calls else []
    results = [
        {
            "role": "tool",
            "tool_name": names.get(block.id, ""),
            "content": f"Error: {block.text}" if block.error else block.text,
        }
        for block in message.blocks
        if isinstance(block, ToolOutcome)
    ]
    return [*results, {"role": "user", "content": message.text}] if message.text else results


def _call(call: ToolCall) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": call.arguments}}


class OllamaFold:
    """Collects a stream of lines."""

    def __init__(self, model: str, turn: int) -> None:
        self._model = model
        self._turn = turn
        self._text = Growing()
        self._calls: list[ToolCall] = []
        self._last: dict[str, Any] | None = None
        self._begun = False

    def add(self, event: dict[str, Any]) -> None:
        if event.get("error"):
            raise errors.failed(self._model, errors.read_body(None, event))
        self._begun = True
        message = event.get("message") or {}
        self._text.add(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            name = f"call_{self._turn}_{len(self._calls)}"
            self._calls.append(ToolCall(id=name, name=function["name"], arguments=function.get("arguments") or {}))
        if event.get("done"):
            self._last = event

    def draft(self) -> Draft:
        parts: list[Part] = [Text(text=str(self._text))]
        parts += [DraftCall(call.id, call.name, _text(call.arguments)) for call in self._calls]
        return Draft(tuple(parts), self._stop(), self._usage(), begun=self._begun, ended="done" if self._last else "")

    def _stop(self) -> StopReason | None:
        if self._last is None:
            return None
        return StopReason.LENGTH if self._last.get("done_reason") == "length" else StopReason.END

    def _usage(self) -> Usage | None:
        if self._last is None or "eval_count" not in self._last:
            return None
        return Usage(input=self._last.get("prompt_eval_count", 0), output=self._last["eval_count"])


def _text(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments)
