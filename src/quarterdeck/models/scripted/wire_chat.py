"""OpenAI's Chat Completions and Ollama's own chat format, as a server reads and writes them. Pure."""

import json
from typing import Any, Final

from quarterdeck.models.scripted.frames import Frame, line, pieces, sse
from quarterdeck.models.scripted.heard import Called, Ends, Format, Heard, Offered, Said, Segment, Spoken

_FINISH: Final = {
    Ends.END: "stop",
    Ends.TOOLS: "tool_calls",
    Ends.LENGTH: "length",
    Ends.WINDOW: "length",
    Ends.REFUSED: "stop",
    Ends.FILTERED: "content_filter",
    Ends.PAUSED: "stop",
}


def hear(body: dict[str, Any], wire: Format = Format.CHAT) -> Heard:
    """Read a request. Raises KeyError, TypeError, ValueError where it is not one."""
    messages = [dict(message) for message in body["messages"]]
    tools = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    options: dict[str, Any] = body.get("options") or {}
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or options.get("num_predict")
    window = options.get("num_ctx")
    return Heard(
        format=wire,
        model=str(body["model"]),
        stream=bool(body.get("stream", wire is Format.OLLAMA)),
        system="\n".join(_text(m.get("content")) for m in messages if m["role"] in ("system", "developer")),
        spoken=tuple(_spoken(m) for m in messages if m["role"] not in ("system", "developer")),
        tools=tuple(Offered(tool["name"], tool.get("parameters") or {}) for tool in tools),
        segments=tuple(Segment(json.dumps(m, sort_keys=True, ensure_ascii=False)) for m in [*tools, *messages]),
        max_output=int(limit) if limit is not None else None,
        include_usage=wire is Format.OLLAMA or bool((body.get("stream_options") or {}).get("include_usage")),
        window=int(window) if window is not None else None,
        cache_key=str(body.get("prompt_cache_key") or ""),
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [])


def _spoken(message: dict[str, Any]) -> Spoken:
    text = _text(message.get("content"))
    if message["role"] == "assistant":
        return Spoken("assistant", text=text, prompt=text, calls=len(message.get("tool_calls") or ()))
    result = message["role"] == "tool"
    return Spoken("user", text=text, prompt="" if result else text, result=result)


def _usage(said: Said) -> dict[str, Any]:
    total = said.usage.prompt
    return {
        "prompt_tokens": total,
        "completion_tokens": said.usage.output,
        "total_tokens": total + said.usage.output,
        "prompt_tokens_details": {"cached_tokens": said.usage.cache_read},
    }


def _call(call: Called, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def body(said: Said, model: str) -> dict[str, Any]:
    """The whole answer."""
    refused = said.ends is Ends.REFUSED
    message: dict[str, Any] = {"role": "assistant", "content": None if refused else said.text}
    message["refusal"] = said.text if refused else None
    if said.calls:
        message["tool_calls"] = [_call(call, call.arguments) for call in said.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[said.ends]}
    head = {"id": f"chatcmpl-{said.id}", "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": _usage(said) if said.with_usage else None}


def frames(said: Said, model: str, include_usage: bool) -> list[Frame]:
    """The answer as a stream."""
    head = {"id": f"chatcmpl-{said.id}", "object": "chat.completion.chunk", "created": 0, "model": model}

    def chunk(delta: dict[str, Any], output: int = 0, finish: str | None = None) -> Frame:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse({**head, "choices": [choice]}, output=output, final=finish is not None)

    field = "refusal" if said.ends is Ends.REFUSED else "content"
    made = [chunk({"role": "assistant", "content": ""})]
    if said.text:
        made += [chunk({field: piece}, len(piece)) for piece in pieces(said.text)]
    for index, call in enumerate(said.calls):
        made.append(chunk({"tool_calls": [{"index": index, **_call(call, "")}]}))
        for piece in pieces(call.arguments):
            part = {"index": index, "function": {"arguments": piece}}
            made.append(chunk({"tool_calls": [part]}, len(piece)))
    made.append(chunk({}, finish=_FINISH[said.ends]))
    if include_usage and said.with_usage:
        made.append(sse({**head, "choices": [], "usage": _usage(said)}, final=True))
    made.append(Frame(b"data: [DONE]\n\n", final=True))
    return made


def ollama_body(said: Said, model: str) -> dict[str, Any]:
    """The whole answer in Ollama's own format."""
    calls = [{"function": {"name": call.name, "arguments": _object(call.arguments)}} for call in said.calls]
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.thinking:
        message["thinking"] = said.thinking
    if calls:
        message["tool_calls"] = calls
    return {"model": model, "created_at": "2026-01-01T00:00:00Z", "message": message, **_ollama_end(said)}


def _ollama_end(said: Said) -> dict[str, Any]:
    reason = "length" if said.ends in (Ends.LENGTH, Ends.WINDOW) else "stop"
    end: dict[str, Any] = {"done": True, "done_reason": reason}
    if said.with_usage:
        end |= {"prompt_eval_count": said.usage.prompt, "eval_count": said.usage.output}
    return end


def ollama_frames(said: Said, model: str) -> list[Frame]:
    """The answer as Ollama's stream of lines."""
    head = {"model": model, "created_at": "2026-01-01T00:00:00Z", "done": False}

    def part(message: dict[str, Any], output: int) -> Frame:
        return line({**head, "message": {"role": "assistant", "content": "", **message}}, output)

    made = [part({"thinking": piece}, len(piece)) for piece in pieces(said.thinking)] if said.thinking else []
    made += [part({"content": piece}, len(piece)) for piece in pieces(said.text)]
    for call in said.calls:
        function = {"name": call.name, "arguments": _object(call.arguments)}
        made.append(part({"tool_calls": [{"function": function}]}, len(call.arguments)))
    end = {**head, "message": {"role": "assistant", "content": ""}, **_ollama_end(said)}
    made.append(line(end, final=True))
    return made


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}
