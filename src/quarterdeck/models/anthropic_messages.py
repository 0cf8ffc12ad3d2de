"""Anthropic's Messages format. Pure: request to body, events to draft.

Rules
- Four cache breakpoints at most: tools, system, the last message that will be sent again, and the user message before
  it, where the previous request of this conversation had its last one.
- Thinking comes back exactly as it was sent; blocks of other vendors are left out.
- A stream is complete with its `message_stop`, not before.
Source: platform.claude.com/docs/en/build-with-claude/streaming and /prompt-caching.
"""

from typing import Any, Final

from quarterdeck.kernel.entities import Usage
from quarterdeck.models import errors
from quarterdeck.models.growing import Growing
from quarterdeck.models.port import Block, Message, Opaque, Request, StopReason, Text, ToolCall, ToolOutcome
from quarterdeck.models.reply import Draft, DraftCall, Part

VENDOR: Final = "anthropic"
_CACHED: Final = {"type": "ephemeral"}
_STOPS: Final = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.END,
    "tool_use": StopReason.TOOLS,
    "max_tokens": StopReason.LENGTH,
    "refusal": StopReason.REFUSED,
    "pause_turn": StopReason.PAUSED,
    "model_context_window_exceeded": StopReason.LENGTH,
}
_THINKING: Final = ("thinking", "redacted_thinking")


def body(request: Request, model: str) -> dict[str, Any]:
    """The request's body."""
    marks = _marks(request)
    messages = []
    for index, message in enumerate(request.messages):
        content = _content(message)
        if content:
            if index in marks:
                _mark(content)
            messages.append({"role": message.role, "content": content})
    made: dict[str, Any] = {"model": model, "max_tokens": request.max_output, "messages": messages}
    if request.system:
        made["system"] = [{"type": "text", "text": request.system, "cache_control": _CACHED}]
    if request.tools:
        made["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        made["tools"][-1]["cache_control"] = _CACHED
    return made


def _marks(request: Request) -> set[int]:
    last = min(request.cache_until, len(request.messages)) - 1
    if last < 0:
        return set()
    earlier = [index for index in range(last) if request.messages[index].role == "user"]
    return {last, *earlier[-1:]}


def _mark(content: list[dict[str, Any]]) -> None:
    for index in range(len(content) - 1, -1, -1):
        if content[index]["type"] not in _THINKING:
            content[index] = {**content[index], "cache_control": _CACHED}
            return


def _content(message: Message) -> list[dict[str, Any]]:
    # The API wants tool results before anything else of the same message.
    ordered = sorted(message.blocks, key=lambda block: not isinstance(block, ToolOutcome))
    return [made for block in ordered if (made := _block(block)) is not None]


def _block(block: Block) -> dict[str, Any] | None:
    match block:
        case Text():
            return {"type": "text", "text": block.text} if block.text else None
        case ToolCall():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.arguments}
        case ToolOutcome():
            return {"type": "tool_result", "tool_use_id": block.id, "content": block.text, "is_error": block.error}
        case Opaque():
            return dict(block.data) if block.vendor == VENDOR else None


class _Block:
    """A block of the answer, as far as it came."""

    def __init__(self, begun: dict[str, Any]) -> None:
        self._begun = begun
        self._grown: dict[str, Growing] = {}

    def grow(self, delta: dict[str, Any]) -> None:
        match delta.get("type"):
            case "text_delta":
                self._add("text", delta["text"])
            case "input_json_delta":
                self._add("json", delta["partial_json"])
            case "thinking_delta":
                self._add("thinking", delta["thinking"])
            case "signature_delta":
                self._begun["signature"] = delta["signature"]
            case _:
                return

    def _add(self, name: str, piece: str) -> None:
        if name not in self._grown:
            self._grown[name] = Growing()
            self._grown[name].add(self._begun.get(name, "") if name != "json" else "")
        self._grown[name].add(piece)

    def part(self) -> Part | None:
        grown = {name: str(text) for name, text in self._grown.items()}
        arguments, block = grown.pop("json", ""), {**self._begun, **grown}
        match block.get("type"):
            case "text":
                return Text(text=block.get("text", ""))
            case "tool_use":
                return DraftCall(block["id"], block["name"], arguments)
            case "thinking" | "redacted_thinking":
                return Opaque(vendor=VENDOR, data=block)
            case _:
                return None


class MessagesFold:
    """Collects a stream of Messages events."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._stop = ""
        self._ended = False
        self._begun = False
        self._stopped = False

    def add(self, event: dict[str, Any]) -> None:
        self._begun = True
        match event.get("type"):
            case "error":
                raise errors.failed(self._model, errors.read_body(None, event))
            case "message_start":
                self._count(event.get("message", {}).get("usage"))
            case "content_block_start":
                self._blocks[event["index"]] = _Block(dict(event["content_block"]))
            case "content_block_delta":
                self._blocks[event["index"]].grow(event["delta"])
            case "message_delta":
                self._stop = event.get("delta", {}).get("stop_reason") or self._stop
                self._count(event.get("usage"), final=True)
            case "message_stop":
                self._stopped = True
            case _:
                return

    def _count(self, usage: Any, final: bool = False) -> None:
        if isinstance(usage, dict):
            self._usage |= {key: value for key, value in usage.items() if value is not None}
            self._ended = self._ended or final

    def draft(self) -> Draft:
        return Draft(
            parts=tuple(part for _, block in sorted(self._blocks.items()) if (part := block.part()) is not None),
            stop=_STOPS.get(self._stop) if self._stopped else None,
            usage=self._counted(),
            over_window=self._stopped and self._stop == "model_context_window_exceeded",
            begun=self._begun,
            ended=str(self._stop) if self._stopped else "",
        )

    def _counted(self) -> Usage | None:
        # Without the closing message_delta the output count is that of the first token: an estimate is better.
        if not self._ended or "input_tokens" not in self._usage:
            return None
        return Usage(
            input=self._usage["input_tokens"],
            cache_read=self._usage.get("cache_read_input_tokens", 0),
            cache_write=self._usage.get("cache_creation_input_tokens", 0),
            output=self._usage["output_tokens"],
            long_write=(self._usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens", 0),
        )
