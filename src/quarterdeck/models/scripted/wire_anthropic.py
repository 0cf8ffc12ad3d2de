"""Anthropic's Messages format, as a server reads and writes it. Pure.

Source: the streaming and stop-reason pages of platform.claude.com/docs/en/build-with-claude.
"""

import json
from typing import Any, Final, Literal

from quarterdeck.models.scripted.frames import Frame, pieces, sse
from quarterdeck.models.scripted.heard import Called, Ends, Format, Heard, Offered, Said, Segment, Spoken

_STOP: Final = {
    Ends.END: "end_turn",
    Ends.TOOLS: "tool_use",
    Ends.LENGTH: "max_tokens",
    Ends.REFUSED: "refusal",
    Ends.FILTERED: "refusal",
    Ends.PAUSED: "pause_turn",
    Ends.WINDOW: "model_context_window_exceeded",
}


def hear(body: dict[str, Any]) -> Heard:
    """Read a request. Raises KeyError, TypeError, ValueError where it is not one."""
    system = _blocks(body.get("system") or [])
    messages = [(message["role"], _blocks(message["content"])) for message in body["messages"]]
    tools = list(body.get("tools") or [])
    segments = [_segment("tool", tool) for tool in tools] + [_segment("system", block) for block in system]
    segments += [_segment(role, block) for role, blocks in messages for block in blocks]
    if body.get("cache_control") and segments:
        segments[-1] = Segment(segments[-1].text, _ttl(body["cache_control"]))
    return Heard(
        format=Format.MESSAGES,
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        system="\n".join(str(block.get("text", "")) for block in system),
        spoken=tuple(_spoken(role, blocks) for role, blocks in messages),
        tools=tuple(Offered(tool["name"], tool.get("input_schema") or {}) for tool in tools if "name" in tool),
        segments=tuple(segments),
        max_output=int(body["max_tokens"]) if "max_tokens" in body else None,
    )


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else [dict(block) for block in content]


def _ttl(control: Any) -> Literal["", "5m", "1h"]:
    if not control:
        return ""
    return "1h" if control.get("ttl") == "1h" else "5m"


def _segment(role: str, block: dict[str, Any]) -> Segment:
    bare = {key: value for key, value in block.items() if key != "cache_control"}
    return Segment(f"{role}:{json.dumps(bare, sort_keys=True, ensure_ascii=False)}", _ttl(block.get("cache_control")))


def _spoken(role: str, blocks: list[dict[str, Any]]) -> Spoken:
    texts = [str(block.get("text", "")) for block in blocks if block.get("type") == "text"]
    results = [block for block in blocks if block.get("type") == "tool_result"]
    answers = [part.get("text", "") for block in results for part in _blocks(block.get("content") or "")]
    return Spoken(
        role="assistant" if role == "assistant" else "user",
        text="\n".join([*answers, *texts]),
        prompt="\n".join(texts),
        calls=sum(1 for block in blocks if block.get("type") == "tool_use"),
        result=bool(results),
    )


def _input_usage(said: Said) -> dict[str, Any]:
    return {
        "input_tokens": said.usage.input,
        "cache_creation_input_tokens": said.usage.cache_write,
        "cache_read_input_tokens": said.usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": said.usage.cache_write - said.long_write,
            "ephemeral_1h_input_tokens": said.long_write,
        },
        "service_tier": "standard",
    }


def _stop(said: Said) -> dict[str, Any]:
    stop: dict[str, Any] = {"stop_reason": _STOP[said.ends], "stop_sequence": None}
    if said.ends in (Ends.REFUSED, Ends.FILTERED):
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": "scripted"}
    return stop


def _tool_use(call: Called, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": arguments}


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def body(said: Said, model: str) -> dict[str, Any]:
    """The whole answer."""
    content: list[dict[str, Any]] = []
    if said.thinking:
        content.append({"type": "thinking", "thinking": said.thinking, "signature": f"sig_{said.id}"})
    if said.text:
        content.append({"type": "text", "text": said.text})
    content += [_tool_use(call, _object(call.arguments)) for call in said.calls]
    usage = {**_input_usage(said), "output_tokens": said.usage.output}
    head = {"id": f"msg_{said.id}", "type": "message", "role": "assistant", "model": model}
    return {**head, "content": content, **_stop(said), "usage": usage if said.with_usage else None}


def frames(said: Said, model: str) -> list[Frame]:
    """The answer as a stream."""
    start = {**_input_usage(said), "output_tokens": 1} if said.with_usage else None
    head = {"id": f"msg_{said.id}", "type": "message", "role": "assistant", "model": model, "content": []}
    message = {**head, "stop_reason": None, "stop_sequence": None, "usage": start}
    made = [sse({"type": "message_start", "message": message}, "message_start"), sse({"type": "ping"}, "ping")]
    index = 0
    if said.thinking:
        deltas = [({"type": "thinking_delta", "thinking": part}, len(part)) for part in pieces(said.thinking)]
        deltas.append(({"type": "signature_delta", "signature": f"sig_{said.id}"}, 0))
        made += _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
        index += 1
    if said.text:
        deltas = [({"type": "text_delta", "text": part}, len(part)) for part in pieces(said.text)]
        made += _block(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for call in said.calls:
        deltas = [({"type": "input_json_delta", "partial_json": part}, len(part)) for part in pieces(call.arguments)]
        made += _block(index, _tool_use(call, {}), deltas)
        index += 1
    end: dict[str, Any] = {"type": "message_delta", "delta": _stop(said)}
    end["usage"] = {"output_tokens": said.usage.output} if said.with_usage else None
    made.append(sse(end, "message_delta", final=True))
    made.append(sse({"type": "message_stop"}, "message_stop", final=True))
    return made


def _block(index: int, start: dict[str, Any], deltas: list[tuple[dict[str, Any], int]]) -> list[Frame]:
    made = [sse({"type": "content_block_start", "index": index, "content_block": start}, "content_block_start")]
    for delta, size in deltas:
        data = {"type": "content_block_delta", "index": index, "delta": delta}
        made.append(sse(data, "content_block_delta", output=size))
    made.append(sse({"type": "content_block_stop", "index": index}, "content_block_stop"))
    return made
