"""OpenAI's Chat Completions format, which vLLM, llama.cpp and many more speak. Pure: request to body, chunks to draft.

Rules
- Usage is asked for explicitly, else a stream brings none.
- OpenAI itself wants `max_completion_tokens`; everybody else still understands `max_tokens`.
- Tool calls are put together by index; a server that gives no ids gets them from us.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck.kernel.entities import Usage
from quarterdeck.models import errors
from quarterdeck.models.growing import Growing
from quarterdeck.models.port import Message, Request, StopReason, Text, ToolCall, ToolOutcome
from quarterdeck.models.reply import Draft, DraftCall, Part, overlapping

_STOPS: Final = {
    "stop": StopReason.END,
    "tool_calls": StopReason.TOOLS,
    "function_call": StopReason.TOOLS,
    "length": StopReason.LENGTH,
    "content_filter": StopReason.REFUSED,
}


def body(request: Request, model: str, *, hosted: bool) -> dict[str, Any]:
    """The request's body. `hosted`: the endpoint is OpenAI's own."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        messages += spoken(message)
    made: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if hosted else "max_tokens": request.max_output,
    }
    if hosted and request.tag:
        made["prompt_cache_key"] = request.tag
    if request.tools:
        made["tools"] = tools(request)
    return made


def tools(request: Request) -> list[dict[str, Any]]:
    """The offered tools, as functions."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in request.tools
    ]


def spoken(message: Message) -> list[dict[str, Any]]:
    """One of our messages as the messages of this format: each tool result is one of its own."""
    if message.role == "assistant":
        made: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        if message.calls:
            made["tool_calls"] = [_call(call) for call in message.calls]
        return [made] if message.text or message.calls else []
    results = [
        {"role": "tool", "tool_call_id": block.id, "content": f"Error: {block.text}" if block.error else block.text}
        for block in message.blocks
        if isinstance(block, ToolOutcome)
    ]
    return [*results, {"role": "user", "content": message.text}] if message.text else results


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


@dataclass(slots=True)
class _Call:
    """A tool call, as far as it came."""

    id: str = ""
    name: str = ""
    arguments: Growing = field(default_factory=Growing)


class ChatFold:
    """Collects a stream of chunks. `turn` makes the ids that the server does not give unique.

    What is nonsense raises where it stands: the end and the usage are known all the same.
    """

    def __init__(self, model: str, turn: int) -> None:
        self._model = model
        self._turn = turn
        self._text = Growing()
        self._refusal = Growing()
        self._calls: dict[int, _Call] = {}
        self._finish = ""
        self._usage: dict[str, Any] | None = None
        self._begun = False

    def add(self, event: dict[str, Any]) -> None:
        self._begun = True
        if event.get("error"):
            raise errors.failed(self._model, errors.read_body(None, event))
        self._usage = event.get("usage") or self._usage
        for choice in event.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            if text := delta.get("content"):
                self._text.add(text)
            if text := delta.get("refusal"):
                self._refusal.add(text)
            for position, call in enumerate(delta.get("tool_calls") or ()):
                self._grow(call.get("index", position), call)

    def _grow(self, index: int, part: dict[str, Any]) -> None:
        call, function = self._calls.get(index) or _Call(), part.get("function") or {}
        known, name = call.id or part.get("id") or "", call.name or function.get("name") or ""
        if not isinstance(known, str) or not isinstance(name, str):
            raise TypeError("a tool call's id and name are texts")
        call.arguments.add(function.get("arguments") or "")
        call.id, call.name = known, name
        self._calls[index] = call

    def draft(self) -> Draft:
        refusal = str(self._refusal)
        parts: list[Part] = [Text(text=str(self._text) or refusal)]
        for index, call in sorted(self._calls.items()):
            parts.append(DraftCall(call.id or f"call_{self._turn}_{index}", call.name, str(call.arguments)))
        stop = _STOPS.get(self._finish)
        if stop is StopReason.END and refusal:
            stop = StopReason.REFUSED
        return Draft(tuple(parts), stop, self._counted(), begun=self._begun, ended=str(self._finish))

    def _counted(self) -> Usage | None:
        if self._usage is None:
            return None
        details = self._usage.get("prompt_tokens_details") or {}
        read, write = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        return overlapping(self._usage["prompt_tokens"], read, write, self._usage["completion_tokens"])
