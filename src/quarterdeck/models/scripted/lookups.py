"""Everything that is asked of a provider beside an answer: which path means what, models, tokens. Pure.

Rules
- A path names a wire format, and with Google's also the model and whether the answer streams.
- What a provider answers and clients live without (telemetry, model catalogues in a vendor's own form) is not served:
  a 404 says so, as it would behind any compatible server.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck.models.scripted import answer
from quarterdeck.models.scripted.cache import prompt_tokens
from quarterdeck.models.scripted.heard import Format
from quarterdeck.models.scripted.pictures import as_text
from quarterdeck.models.scripted.scenario import Scenario

_FORMATS: Final = {
    "/v1/messages": Format.MESSAGES,
    "/v1/responses": Format.RESPONSES,
    "/responses": Format.RESPONSES,
    "/v1/chat/completions": Format.CHAT,
    "/chat/completions": Format.CHAT,
    "/api/chat": Format.OLLAMA,
}
_GOOGLE: Final = re.compile(r"/v1(?:alpha|beta)?/models/(?P<model>[^:/]+)(?::(?P<method>[A-Za-z]+))?")


@dataclass(frozen=True, slots=True)
class Asking:
    """A path that asks for an answer."""

    format: Format
    told: dict[str, Any] = field(default_factory=dict)
    """What the path says and the body does not."""


def asking(path: str) -> Asking | None:
    """What a POST to `path` asks for; None where it is no request for an answer."""
    if path in _FORMATS:
        return Asking(_FORMATS[path])
    google = _GOOGLE.fullmatch(path)
    if google is None or google["method"] not in ("generateContent", "streamGenerateContent"):
        return None
    return Asking(Format.GEMINI, {"model": google["model"], "stream": google["method"].startswith("stream")})


def look_up(scenario: Scenario, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer. Raises KeyError, TypeError, ValueError where the body is not understood."""
    google = _GOOGLE.fullmatch(path)
    match method, path:
        case "GET" | "HEAD", "/" | "":
            return 200, {}
        case "POST", "/v1/messages/count_tokens":
            return 200, {"input_tokens": _count(scenario, Format.MESSAGES, body)}
        case "POST", "/v1/responses/input_tokens":
            count = _count(scenario, Format.RESPONSES, body)
            return 200, {"object": "response.input_tokens", "input_tokens": count}
        case "GET", "/v1/models" | "/models":
            return 200, _models(scenario)
        case "GET", "/v1beta/models":
            return 200, {"models": [_google_model(name, scenario) for name in scenario.models]}
        case "POST", "/api/show" if str(body.get("model")) in scenario.models:
            return 200, _shown(scenario, str(body["model"]))
        case "GET", "/api/ps":
            return 200, {"models": [{"name": name, "model": name} for name in scenario.models]}
        case "GET", "/props" if scenario.models:
            first = next(iter(scenario.models.values()))
            return 200, {"default_generation_settings": {"n_ctx": first.context}}
    if google is not None and method == "POST" and google["method"] == "countTokens":
        asked = body.get("generateContentRequest") or body
        return 200, {"totalTokens": _count(scenario, Format.GEMINI, {**asked, "model": google["model"]})}
    if google is not None and method == "GET" and google["model"] in scenario.models:
        return 200, _google_model(google["model"], scenario)
    return 404, not_found(f"{method} {path} is not served")


def not_found(message: str) -> dict[str, Any]:
    """The body of an answer to what is not there."""
    return {"type": "error", "error": {"type": "not_found_error", "message": f"scripted model: {message}"}}


def _count(scenario: Scenario, wire: Format, body: dict[str, Any]) -> int:
    chars = scenario.chars_per_token
    return prompt_tokens(answer.hear(wire, as_text(wire, body, chars)), chars)


def _models(scenario: Scenario) -> dict[str, Any]:
    listed = [
        {"id": name, "object": "model", "created": 0, "owned_by": "scripted", "max_model_len": served.context}
        for name, served in scenario.models.items()
    ]
    return {"object": "list", "data": listed}


def _google_model(name: str, scenario: Scenario) -> dict[str, Any]:
    methods = ["generateContent", "countTokens"]
    limits = {"inputTokenLimit": scenario.models[name].context, "outputTokenLimit": 65_536}
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods, **limits}


def _shown(scenario: Scenario, model: str) -> dict[str, Any]:
    info = {"general.architecture": "scripted", "scripted.context_length": scenario.models[model].context}
    return {"details": {"family": "scripted"}, "model_info": info, "capabilities": ["completion", "tools"]}
