"""How the gateway says no, in the words of each format. Pure.

Rules
- HTTP 400 with one readable sentence: the agents that people use show it at once and stop. What says 401 or 529 is
  tried again by them.
- `x-should-retry: false` tells the vendors' SDKs the same.
Sources: the error pages of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import json
from dataclasses import dataclass
from typing import Final

from quarterdeck.gateway.wires import Wire

HEADERS: Final = (("content-type", "application/json"), ("x-should-retry", "false"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the gateway itself."""

    body: bytes
    status: int = 400
    headers: tuple[tuple[str, str], ...] = HEADERS


def refusal(wire: Wire, sentence: str, code: str = "refused", status: int = 400) -> Refusal:
    """The refusal in that format. `code`: a short name of the reason."""
    match wire:
        case Wire.MESSAGES:
            kind = {401: "authentication_error", 404: "not_found_error"}.get(status, "invalid_request_error")
            body: object = {"type": "error", "error": {"type": kind, "message": sentence}}
        case Wire.GEMINI:
            name = {401: "UNAUTHENTICATED", 404: "NOT_FOUND"}.get(status, "FAILED_PRECONDITION")
            body = {"error": {"code": status, "message": sentence, "status": name}}
        case _:
            error = {"message": sentence, "type": "invalid_request_error", "param": None, "code": code}
            body = {"error": error}
    return Refusal(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), status)


def models(wire: Wire, names: list[str]) -> bytes:
    """The list of models, in the forms in which it is asked for."""
    data = [_described(wire, name) for name in names]
    if wire is Wire.GEMINI:
        return json.dumps({"models": data}).encode()
    first, last = (names[0], names[-1]) if names else (None, None)
    return json.dumps({"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last}).encode()


def model(wire: Wire, name: str) -> bytes:
    """One model, by the name under which it was asked for."""
    return json.dumps(_described(wire, name)).encode()


def _described(wire: Wire, name: str) -> dict[str, object]:
    if wire is Wire.GEMINI:
        methods = ["generateContent", "countTokens"]
        return {"name": f"models/{name}", "supportedGenerationMethods": methods}
    made_at: dict[str, object] = {"created": 0, "created_at": "1970-01-01T00:00:00Z"}
    return {"id": name, "object": "model", "type": "model", "display_name": name, "owned_by": "quarterdeck"} | made_at
