"""What a provider's error means. Pure: wire error in, failure class out.

Rules
- What is said about the cause (type, code, wording) outweighs the status: a 429 for want of money is never retried.
- Rate limits, overload, server errors and anything of the connection are transient.
- A request that the provider does not understand is a bug of ours; a model that it does not have, a server that sends
  us elsewhere, and one that wants a key where none is set for it, are matters of what is set: no attempt mends them.
- A failure names the model; what a proxy says in HTML is said without its tags.
Sources: the error pages of platform.claude.com/docs and developers.openai.com/docs; error_details.proto of google.rpc.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import FailureClass, ModelFailed

_PAGE: Final = re.compile(r"\s*<(!doctype|html|\?xml)", re.I)
_TAG: Final = re.compile(r"<(head|style|script)\b.*?</\1>|<[^<>]*>", re.I | re.S)
_LARGEST: Final = 20_000
"""Characters of a page that are read."""

_RAMP: Final = re.compile(r"too fast|ramp up|acceleration|increased too quickly", re.I)


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as it came over the wire."""

    status: int | None
    """HTTP status; None = an error event inside a stream, or no response at all."""
    type: str = ""
    code: str = ""
    message: str = ""
    retry_after: float | None = None


_QUOTA: Final = frozenset(
    {
        "billing_error",
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
        "FAILED_PRECONDITION",
        "quota_per_day",
        "enforced_spend_limit_reached",
    }
)
_CONTEXT: Final = frozenset({"context_length_exceeded", "request_too_large", "string_above_max_length"})
_REFUSED: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "invalid_prompt",
        "bio_policy",
        "misalignment_policy_violation",
    }
)
_UNKNOWN: Final = frozenset({"model_not_found", "not_found_error"})
_AUTH: Final = frozenset(
    {"authentication_error", "permission_error", "invalid_api_key", "API_KEY_INVALID", "PERMISSION_DENIED"}
)
_TRANSIENT: Final = frozenset(
    {
        "rate_limit_error",
        "rate_limit_exceeded",
        "slow_down",
        "overloaded_error",
        "server_is_overloaded",
        "service_unavailable_error",
        "api_error",
        "server_error",
        "timeout_error",
        "quota_per_minute",
    }
)

_SAYS: Final = (
    (
        re.compile(r"credit balance|spend(?:ing)? (?:limit|cap)|usage limits?\b|exceeded your current quota", re.I),
        _QUOTA,
    ),
    (
        re.compile(
            r"prompt is too long|context (?:length|window|size)|too many (?:input )?tokens|input token count|"
            r"payload size",
            re.I,
        ),
        _CONTEXT,
    ),
    (re.compile(r"content filter|content management policy|usage policy|prompt was blocked", re.I), _REFUSED),
)
_CLASSES: Final = (
    (_QUOTA, FailureClass.QUOTA),
    (_CONTEXT, FailureClass.CONTEXT),
    (_REFUSED, FailureClass.REFUSED),
    (_UNKNOWN, FailureClass.CONFIGURATION),
    (_AUTH, FailureClass.AUTH),
)
_BY_STATUS: Final = {
    401: FailureClass.AUTH,
    402: FailureClass.QUOTA,
    403: FailureClass.AUTH,
    404: FailureClass.CONFIGURATION,
    408: FailureClass.TRANSIENT,
    409: FailureClass.TRANSIENT,
    413: FailureClass.CONTEXT,
    425: FailureClass.TRANSIENT,
    429: FailureClass.TRANSIENT,
}


def classify(error: WireError) -> FailureClass:
    """The class that decides the recovery."""
    named = {error.type, error.code}
    for names, kind in _CLASSES:
        if named & names:
            return kind
    if error.code == "quota_per_minute":  # Google words a rate limit like a lack of money
        return FailureClass.TRANSIENT
    if error.status is None or error.status in (400, 422, 429):
        for pattern, names in _SAYS:
            # A rate limit may well be worded in tokens, or name a policy: of a 429 only the want of money is told so.
            if pattern.search(error.message) and (error.status != 429 or names is _QUOTA):
                return next(kind for known, kind in _CLASSES if known is names)
    if error.status in _BY_STATUS:
        return _BY_STATUS[error.status]
    if named & _TRANSIENT or error.status is None or error.status < 400 or error.status >= 500:
        return FailureClass.TRANSIENT
    return FailureClass.BUG


def grew_too_fast(error: WireError) -> bool:
    """Whether the provider limits not the use but its growth: what helps is to start slowly."""
    return "slow_down" in (error.type, error.code) or (error.status == 429 and _RAMP.search(error.message) is not None)


def failed(
    model: str, error: WireError, *, billed: bool = False, usage: Usage | None = None, keyless: bool = False
) -> ModelFailed:
    """The failure of a call to `model` that ended with `error`. `keyless`: no key is set for it, so none was sent."""
    why, kind = " ".join(part for part in (error.code or error.type, error.message[:500]) if part), classify(error)
    if keyless and kind is FailureClass.AUTH:
        return _unkeyed(model, error.status, why)
    return ModelFailed(
        f"{model} failed with HTTP {error.status}" if error.status is not None else f"{model} failed in its answer",
        kind,
        retry_after=error.retry_after,
        billed=billed,
        usage=usage,
        ramp=grew_too_fast(error),
        why=why or "no reason is given",
        fix=_correct(model) if kind is FailureClass.CONFIGURATION else "",
    )


def _correct(model: str) -> str:
    provider, _, name = model.partition(":")
    pull = f"ollama pull {name}, or " if provider == "ollama" else ""
    return f"{pull}correct the model's name, or the address of its server"


def _unkeyed(model: str, status: int | None, said: str) -> ModelFailed:
    """The failure of a call to a server that wants a key, and has an address for which none is set."""
    why = f"no key was sent to it, as none is set for its address{f'; it says: {said}' if said else ''}"
    fix = f'set [models."{model}"] api_key_env in the operator\'s deck.toml to the name of the variable with its key'
    return ModelFailed(f"{model} failed with HTTP {status}", FailureClass.CONFIGURATION, why=why, fix=fix)


def redirected(model: str, status: int, where: str) -> ModelFailed:
    """The failure of a call that was to go elsewhere: a key is not sent where it was not configured for."""
    why = f"its server sends calls on to {where[:500] or 'nowhere'}"
    fix = "correct the address of the model's server"
    return ModelFailed(f"{model} failed with HTTP {status}", FailureClass.CONFIGURATION, why=why, fix=fix)


def read_body(status: int | None, body: Any, retry_after: float | None = None, fallback: str = "") -> WireError:
    """The error in a response body or error event of either provider, or of something in between that is neither."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        details = error.get("details")
        if isinstance(details, list):
            return _of_google(status, error, details, retry_after)
        code = error.get("code") or (details.get("error_code") if isinstance(details, dict) else None)
        kind, message = str(error.get("type") or error.get("status") or ""), str(error.get("message") or fallback)
        return WireError(status, "" if kind == "error" else kind, str(code or ""), message, retry_after)
    return WireError(status, message=_plain(str(error or fallback))[:500], retry_after=retry_after)


def _of_google(status: int | None, error: dict[str, Any], details: list[Any], retry_after: float | None) -> WireError:
    """Google says in details what is meant: which key is wrong, which quota is used up, when to come back."""
    code = ""
    for detail in details:
        if not isinstance(detail, dict):
            continue
        match str(detail.get("@type") or "").rpartition(".")[2]:
            case "ErrorInfo" if not code:
                code = str(detail.get("reason") or "")
            case "QuotaFailure":
                daily = "PerDay" in str(detail.get("violations"))
                code = "quota_per_day" if daily else "quota_per_minute"
            case "RetryInfo" if retry_after is None:
                retry_after = _number(str(detail.get("retryDelay") or "").removesuffix("s"))
            case _:
                continue
    return WireError(status, str(error.get("status") or ""), code, str(error.get("message") or ""), retry_after)


def _plain(text: str) -> str:
    """The text of a page without its tags; anything else as it is."""
    if not _PAGE.match(text):
        return text
    return " ".join(_TAG.sub(" ", text[:_LARGEST]).split())


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the provider wants to be left alone; None where it does not say. `now`: seconds since the epoch,
    for dates (RFC 9110, 10.2.3)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,12}(\.\d{1,12})?\s*", text):
        return None
    return float(text)
