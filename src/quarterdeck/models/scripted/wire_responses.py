"""OpenAI's Responses format, as a server reads and writes it. Pure.

Source: the streaming events reference of developers.openai.com/api/docs.
"""

import json
from typing import Any

from quarterdeck.models.scripted.code_mode import declared
from quarterdeck.models.scripted.frames import Frame, pieces, sse
from quarterdeck.models.scripted.heard import Called, Ends, Format, Heard, Offered, Said, Segment, Spoken


def hear(body: dict[str, Any]) -> Heard:
    """Read a request. Raises KeyError, TypeError, ValueError where it is not one."""
    given = body["input"]
    items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    tools: list[dict[str, Any]] = [dict(tool) for tool in body.get("tools") or []]
    later: list[dict[str, Any]] = [
        tool for item in items if item.get("type") == "additional_tools" for tool in item.get("tools") or []
    ]
    items = [item for item in items if item.get("type") != "additional_tools"]
    spoken, told = _converse(items)
    system = "\n".join([str(body.get("instructions") or ""), *told]).strip()
    segments = [_segment(tool) for tool in (*tools, *later)]
    segments += [Segment(f"system:{system}"), *(_segment(item) for item in items)]
    limit = body.get("max_output_tokens")
    return Heard(
        format=Format.RESPONSES,
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        system=system,
        spoken=spoken,
        tools=tuple(found for tool in (*tools, *later) for found in _offered(tool)),
        segments=tuple(segments),
        max_output=int(limit) if limit is not None else None,
        cache_key=str(body.get("prompt_cache_key") or ""),
    )


def _offered(tool: dict[str, Any], group: str = "") -> tuple[Offered, ...]:
    """What a tool offers: itself, the tools of its namespace, or those that its programs can call."""
    match tool.get("type"):
        case "function":
            return (Offered(tool["name"], tool.get("parameters") or {}, group),)
        case "namespace":
            return tuple(found for inner in tool.get("tools") or () for found in _offered(inner, tool["name"]))
        case "custom":
            inside = declared(tool["name"], tool.get("description") or "")
            # Its own entry comes last, so that what its programs can call is found first.
            return (*inside, Offered(tool["name"], {}, group)) if inside else ()
        case _:
            return ()


def _segment(data: dict[str, Any]) -> Segment:
    return Segment(json.dumps(data, sort_keys=True, ensure_ascii=False))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [])


def _converse(items: list[dict[str, Any]]) -> tuple[tuple[Spoken, ...], list[str]]:
    """Items as messages: what one side says in a row is one turn of the model."""
    spoken: list[Spoken] = []
    system: list[str] = []
    for item in items:
        kind, role = item.get("type", "message"), item.get("role")
        if role in ("system", "developer"):
            system.append(_text(item.get("content")))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            spoken.append(Spoken("user", text=_text(item.get("output")), result=True))
        elif kind == "message" and role == "user":
            text = _text(item.get("content"))
            spoken.append(Spoken("user", text=text, prompt=text))
        else:
            _add_to_turn(spoken, _text(item.get("content")), int(kind in ("function_call", "custom_tool_call")))
    return tuple(spoken), system


def _add_to_turn(spoken: list[Spoken], text: str, calls: int) -> None:
    if spoken and spoken[-1].role == "assistant":
        last = spoken.pop()
        spoken.append(Spoken("assistant", text=last.text + text, prompt=last.prompt + text, calls=last.calls + calls))
    else:
        spoken.append(Spoken("assistant", text=text, prompt=text, calls=calls))


def _usage(said: Said) -> dict[str, Any]:
    total = said.usage.prompt
    return {
        "input_tokens": total,
        "input_tokens_details": {"cached_tokens": said.usage.cache_read, "cache_write_tokens": said.usage.cache_write},
        "output_tokens": said.usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total + said.usage.output,
    }


def _message(said: Said, text: str, status: str) -> dict[str, Any]:
    if said.ends is Ends.REFUSED:
        part: dict[str, Any] = {"type": "refusal", "refusal": text}
    else:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": f"msg_{said.id}", "role": "assistant", "status": status, "content": [part]}


def _call(call: Called, index: int, status: str) -> dict[str, Any]:
    kind = "custom_tool_call" if call.program else "function_call"
    head = {"type": kind, "id": f"fc_{call.id[5:]}_{index}", "call_id": call.id, "name": call.name}
    if call.group:
        head["namespace"] = call.group
    return {**head, "input" if call.program else "arguments": call.arguments, "status": status}


def _reasoning(said: Said) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "id": f"rs_{said.id}",
        "summary": [],
        "encrypted_content": said.thinking.encode().hex(),
    }


def _cut_short(said: Said) -> bool:
    return said.ends in (Ends.LENGTH, Ends.WINDOW, Ends.FILTERED)


def _why_cut(said: Said) -> dict[str, str] | None:
    if not _cut_short(said):
        return None
    return {"reason": "content_filter" if said.ends is Ends.FILTERED else "max_output_tokens"}


def _output(said: Said) -> list[dict[str, Any]]:
    status = "incomplete" if _cut_short(said) else "completed"
    output = [_reasoning(said)] if said.thinking else []
    if said.text:
        output.append(_message(said, said.text, status))
    return output + [_call(call, index, status) for index, call in enumerate(said.calls)]


def body(said: Said, model: str) -> dict[str, Any]:
    """The whole answer."""
    return {
        **_head(said, model),
        "status": "incomplete" if _cut_short(said) else "completed",
        "incomplete_details": _why_cut(said),
        "output": _output(said),
        "usage": _usage(said) if said.with_usage else None,
    }


def _head(said: Said, model: str) -> dict[str, Any]:
    return {
        "id": f"resp_{said.id}",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


class _Numbered:
    """Collects events and numbers them."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def add(self, kind: str, data: dict[str, Any], output: int = 0, final: bool = False) -> None:
        event = {"type": kind, "sequence_number": len(self.frames), **data}
        self.frames.append(sse(event, kind, output, final))


def frames(said: Said, model: str) -> list[Frame]:
    """The answer as a stream."""
    out = _Numbered()
    out.add("response.created", {"response": _head(said, model)})
    out.add("response.in_progress", {"response": _head(said, model)})
    for index, item in enumerate(_output(said)):
        match item["type"]:
            case "message":
                _stream_message(out, index, item)
            case "function_call" | "custom_tool_call":
                _stream_call(out, index, item)
            case _:
                out.add("response.output_item.added", {"output_index": index, "item": item})
                out.add("response.output_item.done", {"output_index": index, "item": item}, len(said.thinking))
    kind = "response.incomplete" if _cut_short(said) else "response.completed"
    out.add(kind, {"response": body(said, model)}, final=True)
    return out.frames


def _stream_message(out: _Numbered, index: int, item: dict[str, Any]) -> None:
    part = item["content"][0]
    kind = "refusal" if part["type"] == "refusal" else "output_text"
    field = "refusal" if kind == "refusal" else "text"
    at = {"item_id": item["id"], "output_index": index, "content_index": 0}
    empty = {**part, field: ""}
    added = {**item, "content": [], "status": "in_progress"}
    out.add("response.output_item.added", {"output_index": index, "item": added})
    out.add("response.content_part.added", {**at, "part": empty})
    for piece in pieces(part[field]):
        out.add(f"response.{kind}.delta", {**at, "delta": piece, "logprobs": []}, len(piece))
    out.add(f"response.{kind}.done", {**at, field: part[field], "logprobs": []})
    out.add("response.content_part.done", {**at, "part": part})
    out.add("response.output_item.done", {"output_index": index, "item": item})


def _stream_call(out: _Numbered, index: int, item: dict[str, Any]) -> None:
    field, event = "arguments", "response.function_call_arguments"
    if item["type"] == "custom_tool_call":
        field, event = "input", "response.custom_tool_call_input"
    at = {"item_id": item["id"], "output_index": index}
    out.add("response.output_item.added", {"output_index": index, "item": {**item, field: "", "status": "in_progress"}})
    for piece in pieces(item[field]):
        out.add(f"{event}.delta", {**at, "delta": piece}, len(piece))
    out.add(f"{event}.done", {**at, "name": item["name"], field: item[field]})
    out.add("response.output_item.done", {"output_index": index, "item": item})
