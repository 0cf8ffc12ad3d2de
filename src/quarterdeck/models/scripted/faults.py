"""Faults of the wire, as providers really make them. Pure.

Rules
- A fault hits the first `times` tries at one place of one conversation (0 = every try), so that a client which
  tries again gets on, and one that does not is seen.
- A fault either replaces the answer (`http_error`), changes what is said (`distort`), or disturbs the stream while it
  is sent (the server and `disturb`).
- Bodies and headers are those of the providers' error pages.
"""

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from quarterdeck.kernel.entities import Value
from quarterdeck.models.scripted.heard import Called, Ends, Format, Said


class Kind(StrEnum):
    RATE_LIMIT = "rate_limit"
    SPEND_LIMIT = "spend_limit"
    OWN_LIMIT = "own_limit"
    """The customer's own spend limit, which providers word in other ways than their own."""
    SLOW_DOWN = "slow_down"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT_ERROR = "timeout_error"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    UNKNOWN_MODEL = "unknown_model"
    BILLING = "billing"
    TOO_LARGE = "too_large"
    CONTEXT_EXCEEDED = "context_exceeded"
    CONTENT_FILTER = "content_filter"
    BAD_GATEWAY = "bad_gateway"
    CUT_JSON = "cut_json"

    MALFORMED_JSON = "malformed_json"
    UNKNOWN_TOOL = "unknown_tool"
    DUPLICATE_ID = "duplicate_id"
    MAX_TOKENS = "max_tokens"
    WINDOW_EXCEEDED = "window_exceeded"
    EMPTY = "empty"
    REFUSAL = "refusal"
    FILTERED = "filtered"
    """A content filter ends the answer on its way."""
    PAUSE = "pause"
    NO_USAGE = "no_usage"

    OVERLOADED_MIDSTREAM = "overloaded_midstream"
    CUT = "cut"
    LAST_MISSING = "last_missing"
    """A stream ends before its very last event."""
    RESET = "reset"
    HANG = "hang"
    STALL = "stall"
    """A stream goes silent on its way."""
    SLOW = "slow"
    STRANGE_EVENTS = "strange_events"


class Fault(Value):
    """One fault, switched on for a scenario, a rule or a turn."""

    kind: Kind
    step: int | None = None
    """Only at this step; None = at every step."""
    times: int = Field(default=1, ge=0)
    """How many tries at one place of a conversation it hits; 0 = all."""
    retry_after: float | None = None
    """Seconds, sent as `retry-after` with rate limits, slow-downs and overload."""
    after: int = Field(default=3, ge=0)
    """Events that are sent before a stream is disturbed."""
    clean: bool = True
    """A cut stream ends like a complete one; otherwise its connection is dropped."""
    seconds: float = Field(default=1.0, gt=0)
    """Seconds between two bytes of a slow answer."""
    hidden: int = Field(default=0, ge=0)
    """Output tokens that are billed and never sent, as reasoning is, where an answer ends without its usage."""


@dataclass(frozen=True, slots=True)
class HttpError:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


_RESET_AT: Final = "2026-01-01T00:00:00Z"

_ANTHROPIC: Final[dict[Kind, tuple[int, str, str]]] = {
    Kind.RATE_LIMIT: (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    Kind.SPEND_LIMIT: (429, "rate_limit_error", "You have reached your enforced spend limit."),
    Kind.OWN_LIMIT: (
        400,
        "invalid_request_error",
        "You have reached your specified API usage limits. You will regain access on 2026-02-01 at 00:00 UTC.",
    ),
    Kind.SLOW_DOWN: (429, "rate_limit_error", "Usage increased too fast; please ramp up more slowly."),
    Kind.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Kind.SERVER_ERROR: (500, "api_error", "Internal server error"),
    Kind.TIMEOUT_ERROR: (504, "timeout_error", "Request timed out"),
    Kind.UNAUTHORIZED: (401, "authentication_error", "invalid x-api-key"),
    Kind.FORBIDDEN: (403, "permission_error", "Your API key does not have permission to use the specified resource."),
    Kind.UNKNOWN_MODEL: (404, "not_found_error", "model: scripted"),
    Kind.BILLING: (402, "billing_error", "Your credit balance is too low."),
    Kind.TOO_LARGE: (413, "request_too_large", "Request exceeds the maximum size"),
    Kind.CONTEXT_EXCEEDED: (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    Kind.CONTENT_FILTER: (400, "invalid_request_error", "Output blocked by content filtering policy"),
}

_OPENAI: Final[dict[Kind, tuple[int, str, str | None, str]]] = {
    Kind.RATE_LIMIT: (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    Kind.SPEND_LIMIT: (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    Kind.OWN_LIMIT: (429, "insufficient_quota", "billing_hard_limit_reached", "Billing hard limit has been reached."),
    Kind.SLOW_DOWN: (503, "rate_limit_error", "slow_down", "Please reduce your request rate."),
    Kind.OVERLOADED: (503, "service_unavailable_error", "server_is_overloaded", "The server is overloaded."),
    Kind.SERVER_ERROR: (500, "server_error", None, "The server had an error processing your request."),
    Kind.TIMEOUT_ERROR: (504, "server_error", "timeout", "The request timed out."),
    Kind.UNAUTHORIZED: (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    Kind.FORBIDDEN: (403, "invalid_request_error", "model_not_available", "You do not have access to this model."),
    Kind.UNKNOWN_MODEL: (404, "invalid_request_error", "model_not_found", "The model `scripted` does not exist."),
    Kind.BILLING: (429, "insufficient_quota", "credit_balance_exhausted", "Your credit balance is exhausted."),
    Kind.TOO_LARGE: (413, "invalid_request_error", "request_too_large", "The request is too large."),
    Kind.CONTEXT_EXCEEDED: (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "Your input exceeds the context window of this model.",
    ),
    Kind.CONTENT_FILTER: (400, "invalid_request_error", "content_filter", "The response was filtered."),
}

_GOOGLE: Final[dict[Kind, tuple[int, str, str]]] = {
    Kind.RATE_LIMIT: (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    Kind.SPEND_LIMIT: (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing.",
    ),
    Kind.OWN_LIMIT: (429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."),
    Kind.SLOW_DOWN: (429, "RESOURCE_EXHAUSTED", "Resource exhausted, please try again later."),
    Kind.OVERLOADED: (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    Kind.SERVER_ERROR: (500, "INTERNAL", "An internal error has occurred."),
    Kind.TIMEOUT_ERROR: (504, "DEADLINE_EXCEEDED", "The request timed out."),
    Kind.UNAUTHORIZED: (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    Kind.FORBIDDEN: (403, "PERMISSION_DENIED", "Permission denied on the model."),
    Kind.UNKNOWN_MODEL: (404, "NOT_FOUND", "models/scripted is not found for API version v1beta."),
    Kind.BILLING: (400, "FAILED_PRECONDITION", "User location or billing is not enabled for the API use."),
    Kind.TOO_LARGE: (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
    Kind.CONTEXT_EXCEEDED: (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    Kind.CONTENT_FILTER: (400, "INVALID_ARGUMENT", "The prompt was blocked."),
}

_TOO_LONG: Final = (
    400,
    "string_above_max_length",
    "Invalid 'input[0].content': string too long. Expected a string with maximum length 10485760.",
)
"""What is too large for the Responses endpoint by one of its texts."""

_LIKE_OPENAI: Final = (Format.RESPONSES, Format.CHAT, Format.OLLAMA)


def http_error(fault: Fault, wire: Format) -> HttpError | None:
    """The response that replaces the answer, or None where this fault does not replace it."""
    if fault.kind is Kind.BAD_GATEWAY:
        body = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
        return HttpError(502, (("content-type", "text/html"),), body)
    if fault.kind is Kind.CUT_JSON:
        return HttpError(200, (("content-type", "application/json"),), b'{"id": "cut_1", "type": "mess')
    if wire is Format.MESSAGES and fault.kind in _ANTHROPIC:
        status, type_, message = _ANTHROPIC[fault.kind]
        return anthropic_error(status, type_, message, _anthropic_headers(fault), fault.kind is Kind.SPEND_LIMIT)
    if wire is Format.GEMINI and fault.kind in _GOOGLE:
        return google_error(*_GOOGLE[fault.kind], details=_google_details(fault))
    if wire in _LIKE_OPENAI and fault.kind in _OPENAI:
        status, kind, code, message = _OPENAI[fault.kind]
        if fault.kind is Kind.SLOW_DOWN and wire is Format.RESPONSES:
            status = 429  # only the older endpoints say 503
        if fault.kind is Kind.TOO_LARGE and wire is Format.RESPONSES:
            status, code, message = _TOO_LONG
        return openai_error(status, kind, code, message, _openai_headers(fault))
    return None


def anthropic_error(
    status: int, kind: str, message: str, headers: tuple[tuple[str, str], ...] = (), spend: bool = False
) -> HttpError:
    """An error as Anthropic's API words it."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if spend:
        error["details"] = {"error_code": "enforced_spend_limit_reached"}
    body = {"type": "error", "error": error, "request_id": "req_scripted"}
    return HttpError(status, (("content-type", "application/json"), *headers), json.dumps(body).encode())


def openai_error(
    status: int, kind: str, code: str | None, message: str, headers: tuple[tuple[str, str], ...] = ()
) -> HttpError:
    """An error as OpenAI's API words it."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return HttpError(status, (("content-type", "application/json"), *headers), json.dumps(body).encode())


def google_error(status: int, kind: str, message: str, details: tuple[dict[str, Any], ...] = ()) -> HttpError:
    """An error as Google's APIs word it. Source: cloud.google.com/apis/design/errors."""
    error: dict[str, Any] = {"code": status, "message": message, "status": kind}
    if details:
        error["details"] = list(details)
    return HttpError(
        status, (("content-type", "application/json; charset=UTF-8"),), json.dumps({"error": error}).encode()
    )


def invalid(wire: Format, message: str, code: str | None = None) -> HttpError:
    """A request that cannot be answered, as the provider of that format words it."""
    if wire is Format.MESSAGES:
        return anthropic_error(400, "invalid_request_error", message)
    if wire is Format.GEMINI:
        return google_error(400, "INVALID_ARGUMENT", message)
    return openai_error(400, "invalid_request_error", code, message)


def too_long(wire: Format, count: int, limit: int) -> HttpError:
    """A prompt of `count` tokens for a window of `limit`."""
    match wire:
        case Format.MESSAGES:
            return invalid(wire, f"prompt is too long: {count} tokens > {limit} maximum")
        case Format.GEMINI:
            allowed = f"exceeds the maximum number of tokens allowed ({limit})."
            return invalid(wire, f"The input token count ({count}) {allowed}")
        case _:
            text = f"This model's maximum context length is {limit} tokens, your messages have {count}."
            return invalid(wire, text, "context_length_exceeded")


def _google_details(fault: Fault) -> tuple[dict[str, Any], ...]:
    """What Google sends with what can be tried again: the time to wait, and which quota it was."""
    details: list[dict[str, Any]] = []
    if fault.kind in (Kind.RATE_LIMIT, Kind.SPEND_LIMIT):
        period = "PerMinute" if fault.kind is Kind.RATE_LIMIT else "PerDay"
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
            "quotaId": f"GenerateRequests{period}PerProjectPerModel",
        }
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})
    if fault.kind is Kind.UNAUTHORIZED:
        reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", **reason})
    if fault.retry_after is not None and fault.kind in (Kind.RATE_LIMIT, Kind.SLOW_DOWN, Kind.OVERLOADED):
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{fault.retry_after:g}s"}
        details.append(retry)
    return tuple(details)


def _retry_after(fault: Fault) -> tuple[tuple[str, str], ...]:
    if fault.retry_after is None:
        return ()
    return (("retry-after", f"{fault.retry_after:g}"),)


def _anthropic_headers(fault: Fault) -> tuple[tuple[str, str], ...]:
    if fault.kind is not Kind.RATE_LIMIT:
        return _retry_after(fault) if fault.kind in (Kind.OVERLOADED, Kind.SLOW_DOWN) else ()
    limits = [
        (f"anthropic-ratelimit-{what}-{field}", value)
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
        for field, value in (("limit", "1000"), ("remaining", "0"), ("reset", _RESET_AT))
    ]
    return (*_retry_after(fault), *limits)


def _openai_headers(fault: Fault) -> tuple[tuple[str, str], ...]:
    if fault.kind is not Kind.RATE_LIMIT:
        return _retry_after(fault) if fault.kind in (Kind.OVERLOADED, Kind.SLOW_DOWN) else ()
    limits = [
        (f"x-ratelimit-{field}-{what}", value)
        for what in ("requests", "tokens")
        for field, value in (("limit", "1000"), ("remaining", "0"), ("reset", "6m0s"))
    ]
    return (*_retry_after(fault), *limits)


def distort(fault: Fault, said: Said) -> Said:
    """The answer after a fault that changes what is said."""
    match fault.kind:
        case Kind.MALFORMED_JSON:
            return replace(said, calls=_broken(said.calls or _pretended(said)), ends=Ends.TOOLS)
        case Kind.UNKNOWN_TOOL:
            return replace(said, calls=(Called(f"call_{said.id}_x", "no_such_tool", "{}"),), ends=Ends.TOOLS)
        case Kind.DUPLICATE_ID:
            calls = said.calls or _pretended(said)
            return replace(said, calls=(*calls, calls[0]), ends=Ends.TOOLS)
        case Kind.MAX_TOKENS:
            return replace(said, calls=_broken(said.calls), ends=Ends.LENGTH)
        case Kind.WINDOW_EXCEEDED:
            return replace(said, calls=_broken(said.calls), ends=Ends.WINDOW)
        case Kind.EMPTY:
            return replace(said, text="", thinking="", calls=(), ends=Ends.END)
        case Kind.REFUSAL:
            return replace(said, text="I cannot help with that.", thinking="", calls=(), ends=Ends.REFUSED)
        case Kind.FILTERED:
            return replace(said, calls=(), ends=Ends.FILTERED)
        case Kind.PAUSE:
            return replace(said, calls=(), ends=Ends.PAUSED)
        case Kind.NO_USAGE:
            return replace(said, with_usage=False)
        case _:
            return said


def _broken(calls: tuple[Called, ...]) -> tuple[Called, ...]:
    return tuple(replace(call, arguments='{"broken": "' + call.arguments[: len(call.arguments) // 2]) for call in calls)


def _pretended(said: Said) -> tuple[Called, ...]:
    return (Called(f"call_{said.id}_0", "pretended", "{}"),)


def pick(faults: tuple[Fault, ...], attempt: int) -> Fault | None:
    """The fault that hits the `attempt`-th try (from 1): each takes its `times` tries, one after the other."""
    left = attempt
    for fault in faults:
        if fault.times == 0 or left <= fault.times:
            return fault
        left -= fault.times
    return None
