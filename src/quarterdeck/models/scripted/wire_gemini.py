"""Google's generateContent format, as a server reads and writes it. Pure.

Rules
- The model and whether the answer streams stand in the URL; the server adds both to the body before it is heard.
- A function call is never cut into pieces: what is not valid JSON comes as the finish reason that says so.
- `promptTokenCount` holds what came from the cache too; thoughts are counted apart from the candidate.

Source: ai.google.dev/api/generate-content.
"""

import json
from typing import Any, Final

from quarterdeck.models.scripted.frames import Frame, pieces, sse
from quarterdeck.models.scripted.heard import Called, Ends, Format, Heard, Offered, Said, Segment, Spoken

_FINISH: Final = {
    Ends.END: "STOP",
    Ends.TOOLS: "STOP",
    Ends.LENGTH: "MAX_TOKENS",
    Ends.WINDOW: "MAX_TOKENS",
    Ends.REFUSED: "PROHIBITED_CONTENT",
    Ends.FILTERED: "SAFETY",
    Ends.PAUSED: "STOP",
}


def hear(body: dict[str, Any]) -> Heard:
    """Read a request. Raises KeyError, TypeError, ValueError where it is not one."""
    system = _parts(body.get("systemInstruction") or body.get("system_instruction"))
    contents = [_content(item) for item in _listed(body["contents"])]
    tools = [declared for tool in body.get("tools") or [] for declared in _declared(tool)]
    limit = (body.get("generationConfig") or {}).get("maxOutputTokens")
    told = [Segment(json.dumps(item, sort_keys=True, ensure_ascii=False)) for item in (*tools, *system)]
    said = [Segment(f"{role}:{json.dumps(part, sort_keys=True)}") for role, parts in contents for part in parts]
    return Heard(
        format=Format.GEMINI,
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        system="\n".join(str(part.get("text", "")) for part in system),
        spoken=tuple(_spoken(role, parts) for role, parts in contents),
        tools=tuple(Offered(tool["name"], _schema(tool)) for tool in tools),
        segments=(*told, *said),
        max_output=int(limit) if limit is not None else None,
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _parts(content: Any) -> list[dict[str, Any]]:
    if not content:
        return []
    if isinstance(content, str):
        return [{"text": content}]
    return [dict(part) for part in _listed(content["parts"])]


def _content(content: Any) -> tuple[str, list[dict[str, Any]]]:
    return str(content.get("role") or "user"), _parts(content)


def _declared(tool: dict[str, Any]) -> list[dict[str, Any]]:
    return list(tool.get("functionDeclarations") or tool.get("function_declarations") or [])


def _schema(declared: dict[str, Any]) -> dict[str, Any]:
    given = declared.get("parametersJsonSchema") or declared.get("parameters") or {}
    return _lower(given)


def _lower(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with the types of JSON Schema: Google's own dialect writes them in capitals."""
    made: dict[str, Any] = dict(schema)
    if isinstance(schema.get("type"), str):
        made["type"] = schema["type"].lower()
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {name: _lower(value) for name, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        made["items"] = _lower(schema["items"])
    return made


def _spoken(role: str, parts: list[dict[str, Any]]) -> Spoken:
    texts = [str(part["text"]) for part in parts if part.get("text") and not part.get("thought")]
    results = [part["functionResponse"] for part in parts if "functionResponse" in part]
    answers = [json.dumps(result.get("response"), ensure_ascii=False) for result in results]
    return Spoken(
        role="assistant" if role == "model" else "user",
        text="\n".join([*answers, *texts]),
        prompt="\n".join(texts),
        calls=sum(1 for part in parts if "functionCall" in part),
        result=bool(results),
    )


def _usage(said: Said) -> dict[str, Any]:
    thoughts = min(said.usage.output, said.thought)
    usage: dict[str, Any] = {
        "promptTokenCount": said.usage.prompt,
        "candidatesTokenCount": said.usage.output - thoughts,
        "totalTokenCount": said.usage.prompt + said.usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": said.usage.prompt}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if said.usage.cache_read:
        usage["cachedContentTokenCount"] = said.usage.cache_read
    return usage


def _broken(call: Called) -> bool:
    try:
        return not isinstance(json.loads(call.arguments), dict)
    except ValueError:
        return True


def _finish(said: Said) -> str:
    if said.ends is Ends.TOOLS and any(_broken(call) for call in said.calls):
        return "MALFORMED_FUNCTION_CALL"
    return _FINISH[said.ends]


def _calls(said: Said) -> list[dict[str, Any]]:
    made = []
    for call in said.calls:
        if not _broken(call):
            function = {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}
            made.append({"functionCall": function, "thoughtSignature": "c2NyaXB0ZWQ="})
    return made


def _size(part: dict[str, Any]) -> int:
    return len(json.dumps(part["functionCall"]["args"], ensure_ascii=False))


def _chunk(said: Said, model: str, parts: list[dict[str, Any]], finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    if finish == "MALFORMED_FUNCTION_CALL":
        candidate["finishMessage"] = "Malformed function call"
    chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": model, "responseId": said.id}
    if finish and said.with_usage:
        chunk["usageMetadata"] = _usage(said)
    return chunk


def body(said: Said, model: str) -> dict[str, Any]:
    """The whole answer."""
    if said.ends is Ends.FILTERED and not said.text:
        return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": _usage(said), "modelVersion": model}
    parts: list[dict[str, Any]] = [{"text": said.thinking, "thought": True}] if said.thinking else []
    if said.text:
        parts.append({"text": said.text})
    return _chunk(said, model, [*parts, *_calls(said)], _finish(said))


def frames(said: Said, model: str) -> list[Frame]:
    """The answer as a stream."""
    made = [
        sse(_chunk(said, model, [{"text": piece, "thought": True}]), output=len(piece))
        for piece in (pieces(said.thinking) if said.thinking else [])
    ]
    made += [
        sse(_chunk(said, model, [{"text": piece}]), output=len(piece))
        for piece in (pieces(said.text) if said.text else [])
    ]
    for part in _calls(said):
        made.append(sse(_chunk(said, model, [part]), output=_size(part)))
    made.append(sse(_chunk(said, model, [{"text": ""}], _finish(said)), final=True))
    return made
