"""The faults that the scripted model makes are those of the providers, to the byte where their pages give bytes.

The tables are written from the providers' error pages, not from the code that makes the faults.
Sources: platform.claude.com/docs (errors, streaming, stop reasons), developers.openai.com/docs (error codes).
"""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import BadConfiguration, FailureClass, ModelFailed
from quarterdeck.models import connection, errors
from quarterdeck.models.errors import WireError
from quarterdeck.models.factory import MODULES, make_factory
from quarterdeck.models.http.port import Broken, NotPickedUp, Unsent
from quarterdeck.models.port import Message, Request, Text
from quarterdeck.models.retry import next_try
from quarterdeck.models.scripted import answer
from quarterdeck.models.scripted.cache import Counted
from quarterdeck.models.scripted.faults import Fault, HttpError, Kind, distort, http_error
from quarterdeck.models.scripted.heard import Called, Ends, Format, Heard, Said

BOTH = (Format.CHAT, Format.RESPONSES)
LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")


def made(kind: Kind, wire: Format, retry_after: float | None = None) -> HttpError:
    """The response that replaces the answer."""
    error = http_error(Fault(kind=kind, retry_after=retry_after), wire)
    assert error is not None
    return error


# --- errors in place of an answer -----------------------------------------------------------------------------

ANTHROPIC: dict[Kind, tuple[int, str, str]] = {
    Kind.RATE_LIMIT: (429, "rate_limit_error", ""),
    Kind.SPEND_LIMIT: (429, "rate_limit_error", ""),
    Kind.OWN_LIMIT: (400, "invalid_request_error", ""),
    Kind.SLOW_DOWN: (429, "rate_limit_error", ""),
    Kind.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Kind.SERVER_ERROR: (500, "api_error", ""),
    Kind.TIMEOUT_ERROR: (504, "timeout_error", ""),
    Kind.UNAUTHORIZED: (401, "authentication_error", "invalid x-api-key"),
    Kind.FORBIDDEN: (403, "permission_error", ""),
    Kind.UNKNOWN_MODEL: (404, "not_found_error", "model: scripted"),
    Kind.BILLING: (402, "billing_error", ""),
    Kind.TOO_LARGE: (413, "request_too_large", ""),
    Kind.CONTEXT_EXCEEDED: (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    Kind.CONTENT_FILTER: (400, "invalid_request_error", "Output blocked by content filtering policy"),
}


@pytest.mark.parametrize("kind", ANTHROPIC)
def test_an_error_of_anthropic(kind: Kind) -> None:
    status, name, message = ANTHROPIC[kind]
    error = made(kind, Format.MESSAGES)
    body = json.loads(error.body)
    assert error.status == status
    assert set(body) == {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"]) == ("error", name)
    assert body["error"]["message"] == message if message else body["error"]["message"]
    details = {"error_code": "enforced_spend_limit_reached"} if kind is Kind.SPEND_LIMIT else None
    assert body["error"].get("details") == details


OPENAI: dict[Kind, tuple[int, str, str | None]] = {
    Kind.RATE_LIMIT: (429, "requests", "rate_limit_exceeded"),
    Kind.SPEND_LIMIT: (429, "insufficient_quota", "insufficient_quota"),
    Kind.OWN_LIMIT: (429, "insufficient_quota", "billing_hard_limit_reached"),
    Kind.BILLING: (429, "insufficient_quota", "credit_balance_exhausted"),
    Kind.OVERLOADED: (503, "service_unavailable_error", "server_is_overloaded"),
    Kind.SERVER_ERROR: (500, "server_error", None),
    Kind.UNAUTHORIZED: (401, "invalid_request_error", "invalid_api_key"),
    Kind.FORBIDDEN: (403, "invalid_request_error", "model_not_available"),
    Kind.UNKNOWN_MODEL: (404, "invalid_request_error", "model_not_found"),
    Kind.CONTEXT_EXCEEDED: (400, "invalid_request_error", "context_length_exceeded"),
    Kind.CONTENT_FILTER: (400, "invalid_request_error", "content_filter"),
}


@pytest.mark.parametrize("wire", BOTH)
@pytest.mark.parametrize("kind", OPENAI)
def test_an_error_of_openai(kind: Kind, wire: Format) -> None:
    error = made(kind, wire)
    body = json.loads(error.body)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (error.status, body["error"]["type"], body["error"]["code"]) == OPENAI[kind]


@pytest.mark.parametrize(
    ("kind", "wire", "status", "code"),
    [
        (Kind.SLOW_DOWN, Format.RESPONSES, 429, "slow_down"),
        (Kind.SLOW_DOWN, Format.CHAT, 503, "slow_down"),
        (Kind.TOO_LARGE, Format.RESPONSES, 400, "string_above_max_length"),
        (Kind.TOO_LARGE, Format.CHAT, 413, "request_too_large"),
    ],
)
def test_where_the_endpoints_of_openai_differ(kind: Kind, wire: Format, status: int, code: str) -> None:
    error = made(kind, wire)
    assert (error.status, json.loads(error.body)["error"]["code"]) == (status, code)


def test_the_headers_of_a_rate_limit() -> None:
    headers = dict(made(Kind.RATE_LIMIT, Format.MESSAGES, 7).headers)
    assert headers.pop("retry-after") == "7"
    assert headers.pop("content-type") == "application/json"
    assert set(headers) == {f"anthropic-ratelimit-{a}-{b}" for a in LIMITS for b in ("limit", "remaining", "reset")}
    assert headers["anthropic-ratelimit-input-tokens-reset"] == "2026-01-01T00:00:00Z", "RFC 3339"
    for wire in BOTH:
        headers = dict(made(Kind.RATE_LIMIT, wire, 7).headers)
        assert headers.pop("retry-after") == "7"
        assert headers.pop("content-type") == "application/json"
        expected = {f"x-ratelimit-{a}-{b}" for a in ("limit", "remaining", "reset") for b in ("requests", "tokens")}
        assert set(headers) == expected
        assert headers["x-ratelimit-reset-tokens"] == "6m0s"


@pytest.mark.parametrize("kind", [Kind.SPEND_LIMIT, Kind.OWN_LIMIT, Kind.BILLING, Kind.UNAUTHORIZED])
@pytest.mark.parametrize("wire", [Format.MESSAGES, *BOTH])
def test_what_does_not_pass_names_no_time(kind: Kind, wire: Format) -> None:
    assert "retry-after" not in dict(made(kind, wire, 7).headers)


# --- what is said, as a stream --------------------------------------------------------------------------------

SAID = Said(
    id="x",
    text="I look.",
    thinking="",
    calls=(Called("call_x_0", "run", '{"command": "ls"}'),),
    ends=Ends.TOOLS,
    usage=Usage(),
)


def stream(kind: Kind, wire: Format, after: int = 3) -> list[dict[str, Any] | str]:
    """The events that go over the wire; what is no JSON stays text."""
    fault = Fault(kind=kind, after=after)
    said = distort(fault, SAID)
    request = Heard(wire, "m", stream=True, system="", spoken=(), tools=(), segments=())
    frames = answer.as_frames(answer.metered(said, Counted(input=10), 4), request, fault)
    return list(_parsed(b"".join(frame.data for frame in frames).decode()))


def _parsed(text: str) -> Iterator[dict[str, Any] | str]:
    for block in text.strip().split("\n\n"):
        data = [line.removeprefix("data: ") for line in block.splitlines() if line.startswith("data: ")]
        yield json.loads(data[0]) if data and data[0].startswith("{") else "".join(data) or block


def kinds(events: list[dict[str, Any] | str]) -> list[str]:
    return [event if isinstance(event, str) else event.get("type", "") for event in events]


def last(events: list[dict[str, Any] | str], kind: str) -> dict[str, Any]:
    return next(event for event in reversed(events) if isinstance(event, dict) and event.get("type") == kind)


@pytest.mark.parametrize(
    ("kind", "stop"),
    [
        (Kind.MAX_TOKENS, "max_tokens"),
        (Kind.WINDOW_EXCEEDED, "model_context_window_exceeded"),
        (Kind.EMPTY, "end_turn"),
        (Kind.REFUSAL, "refusal"),
        (Kind.PAUSE, "pause_turn"),
        (Kind.MALFORMED_JSON, "tool_use"),
    ],
)
def test_the_stop_reasons_of_anthropic(kind: Kind, stop: str) -> None:
    events = stream(kind, Format.MESSAGES)
    ended = last(events, "message_delta")
    assert ended["delta"]["stop_reason"] == stop
    assert ("stop_details" in ended["delta"]) == (kind is Kind.REFUSAL)
    assert kinds(events)[-1] == "message_stop"


def finish(events: list[dict[str, Any] | str]) -> str | None:
    reasons = [choice["finish_reason"] for e in events if isinstance(e, dict) for choice in e.get("choices", ())]
    return next((reason for reason in reasons if reason), None)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.MAX_TOKENS, "length"),
        (Kind.EMPTY, "stop"),
        (Kind.REFUSAL, "stop"),
        (Kind.FILTERED, "content_filter"),
        (Kind.MALFORMED_JSON, "tool_calls"),
    ],
)
def test_the_finish_reasons_of_chat(kind: Kind, reason: str) -> None:
    events = stream(kind, Format.CHAT)
    assert finish(events) == reason
    assert events[-1] == "[DONE]"
    refused = [e for e in events if isinstance(e, dict) for c in e["choices"] if c["delta"].get("refusal")]
    assert bool(refused) == (kind is Kind.REFUSAL)


@pytest.mark.parametrize(
    ("kind", "ending", "why"),
    [
        (Kind.MAX_TOKENS, "response.incomplete", "max_output_tokens"),
        (Kind.FILTERED, "response.incomplete", "content_filter"),
        (Kind.EMPTY, "response.completed", None),
        (Kind.REFUSAL, "response.completed", None),
    ],
)
def test_the_ends_of_responses(kind: Kind, ending: str, why: str | None) -> None:
    events = stream(kind, Format.RESPONSES)
    response = last(events, ending)["response"]
    assert (response["incomplete_details"] or {}).get("reason") == why
    assert kinds(events)[-1] == ending
    types = [part["type"] for item in response["output"] for part in item.get("content", ())]
    assert ("refusal" in types) == (kind is Kind.REFUSAL)


def test_an_empty_turn_has_no_content_and_costs_two_or_three_tokens() -> None:
    events = stream(Kind.EMPTY, Format.MESSAGES)
    assert not [kind for kind in kinds(events) if kind.startswith("content_block")]
    assert last(events, "message_delta")["usage"]["output_tokens"] in (2, 3)


@pytest.mark.parametrize("kind", [Kind.MALFORMED_JSON, Kind.MAX_TOKENS])
def test_arguments_that_are_cut_off(kind: Kind) -> None:
    parts = {
        Format.MESSAGES: [
            e["delta"]["partial_json"]
            for e in stream(kind, Format.MESSAGES)
            if isinstance(e, dict) and e.get("delta", {}).get("type") == "input_json_delta"
        ],
        Format.CHAT: [
            call["function"]["arguments"]
            for e in stream(kind, Format.CHAT)
            if isinstance(e, dict)
            for choice in e.get("choices", ())
            for call in choice["delta"].get("tool_calls", ())
        ],
        Format.RESPONSES: [
            e["delta"]
            for e in stream(kind, Format.RESPONSES)
            if isinstance(e, dict) and e["type"] == "response.function_call_arguments.delta"
        ],
    }
    for wire, found in parts.items():
        assert found, wire
        with pytest.raises(json.JSONDecodeError):
            json.loads("".join(found))


@pytest.mark.parametrize(
    ("wire", "end"),
    [(Format.MESSAGES, "message_stop"), (Format.CHAT, "[DONE]"), (Format.RESPONSES, "response.completed")],
)
def test_a_stream_that_is_cut_has_no_end_and_no_error(wire: Format, end: str) -> None:
    whole = kinds(stream(Kind.STALL, wire))
    assert whole[-1] == end
    cut = stream(Kind.CUT, wire, 1000)
    assert end not in kinds(cut)
    assert finish(cut) is None
    assert "message_delta" not in kinds(cut)
    assert "error" not in kinds(cut)
    assert kinds(stream(Kind.LAST_MISSING, wire)) == whole[:-1]


def test_overload_in_the_middle_of_a_stream() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert stream(Kind.OVERLOADED_MIDSTREAM, Format.MESSAGES)[-1] == body
    chat = stream(Kind.OVERLOADED_MIDSTREAM, Format.CHAT)[-1]
    assert isinstance(chat, dict)
    assert chat["error"]["code"] == "server_is_overloaded"
    responses = stream(Kind.OVERLOADED_MIDSTREAM, Format.RESPONSES)[-1]
    assert isinstance(responses, dict)
    assert (responses["type"], responses["code"]) == ("error", "server_is_overloaded")


def test_a_stream_without_usage() -> None:
    assert last(stream(Kind.NO_USAGE, Format.MESSAGES), "message_delta")["usage"] is None
    chunks = [event for event in stream(Kind.NO_USAGE, Format.CHAT) if isinstance(event, dict)]
    assert not [chunk for chunk in chunks if chunk.get("usage")]
    assert last(stream(Kind.NO_USAGE, Format.RESPONSES), "response.completed")["response"]["usage"] is None


def test_the_same_id_twice() -> None:
    starts = [e for e in stream(Kind.DUPLICATE_ID, Format.MESSAGES) if isinstance(e, dict)]
    used = [e["content_block"]["id"] for e in starts if e.get("content_block", {}).get("type") == "tool_use"]
    assert len(used) == 2
    assert len(set(used)) == 1


# --- what is made of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WireError(429, "throttling", message="Too many tokens, please wait."), FailureClass.TRANSIENT),
        (WireError(429, "tokens", "rate_limit_exceeded", "See our usage policy."), FailureClass.TRANSIENT),
        (WireError(429, message="You exceeded your current quota"), FailureClass.QUOTA),
        (WireError(400, message="Too many input tokens"), FailureClass.CONTEXT),
    ],
)
def test_a_rate_limit_is_told_by_its_status(error: WireError, kind: FailureClass) -> None:
    assert errors.classify(error) is kind


def test_a_page_of_a_proxy_is_said_without_its_tags() -> None:
    page = (
        "<!DOCTYPE html><html><head><title>x</title></head><body><h1>502 Bad\n Gateway</h1><p>nginx</p></body></html>"
    )
    assert errors.read_body(502, page).message == "502 Bad Gateway nginx"
    assert errors.read_body(500, "a < b and c > d").message == "a < b and c > d"


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "says", "billed"),
    [
        (
            _caused(Unsent("All connection attempts failed"), OSError(111, "Connect call failed ('::1', 9)")),
            "m cannot be reached at http://here: Connection refused",
            False,
        ),
        (
            _caused(Unsent("no"), OSError(-2, "Name or service not known")),
            "m cannot be reached at http://here: Name or service not known",
            False,
        ),
        (
            _caused(Unsent("no"), ExceptionGroup("", [OSError(24, "Too many open files")])),
            "m cannot be called from here: Too many open files",
            False,
        ),
        (
            NotPickedUp("nobody picked up in time"),
            "m cannot be reached at http://here: nobody picked up in time",
            False,
        ),
        (Broken(), "m broke off: Broken", True),
        (ConnectionResetError(104, "Connection reset by peer"), "m broke off: Connection reset by peer", True),
        (
            Broken("the server closed the connection"),
            "m broke off: the server closed the connection",
            True,
        ),
    ],
)
def test_a_connection_that_fails_says_where_and_why(error: Exception, says: str, billed: bool) -> None:
    failed = connection.broken("m", "http://here", error)
    here = "from here" in says
    assert (str(failed), failed.billed) == (says, billed)
    assert failed.kind is (FailureClass.INFRASTRUCTURE if here else FailureClass.TRANSIENT)
    assert ("address" in failed.fix) == (not billed and not here)
    assert failed.unreached == ("cannot be reached" in says)


def test_who_answers_and_says_no_was_reached() -> None:
    certificate = _caused(Unsent("no"), ssl.SSLCertVerificationError(1, "certificate verify failed"))
    assert not connection.broken("m", "http://here", certificate).unreached
    assert not connection.broken("m", "http://here", Unsent("the proxy p answered HTTP 407")).unreached


@pytest.mark.parametrize(
    ("url", "key", "why", "fix"),
    [
        ("localhost:8000", "k", "not of the form http", "ANTHROPIC_BASE_URL"),
        ("http://localhost:port", "k", "not of the form http", "ANTHROPIC_BASE_URL"),
        ("http://[::1", "k", "not of the form http", "ANTHROPIC_BASE_URL"),
        ("ftp://user:a-password@localhost/", "a-password", "'ftp://localhost/' is not of the form http", "ANTHROPIC"),
        ("http://user:a-password@localhost:port", "a-password", "not of the form http", "ANTHROPIC_BASE_URL"),
        ("file:///etc/passwd", "k", "not of the form http", "ANTHROPIC_BASE_URL"),
        (None, "schlüssel", "ANTHROPIC_API_KEY", "export ANTHROPIC_API_KEY"),
        (None, "key\n", "ANTHROPIC_API_KEY", "export ANTHROPIC_API_KEY"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_is(url: str | None, key: str, why: str, fix: str) -> None:
    models = make_factory(keys={"anthropic": key}, base_urls={"anthropic": url})
    with pytest.raises(BadConfiguration) as caught:
        models("anthropic:a")
    assert why in caught.value.why
    assert key not in str(caught.value) or key == "k"
    assert fix in caught.value.fix


async def test_a_client_that_cannot_be_loaded_now_is_loaded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scarce_client.py").write_text(
        "open('descriptor').close()\nfrom quarterdeck.models.anthropic_client import *"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODULES, "anthropic", "scarce_client")
    models = make_factory(keys={"anthropic": "k"}, base_urls={"anthropic": "http://127.0.0.1:9"})
    request = Request(system="", tools=(), messages=(Message(role="user", blocks=(Text(text="a"),)),), max_output=16)
    for says, kind in (("client of scarce", FailureClass.INFRASTRUCTURE), ("be reached", FailureClass.TRANSIENT)):
        with pytest.raises(ModelFailed, match=says) as caught:
            await models("anthropic:claude-a").complete(request)
        assert (caught.value.kind, caught.value.billed) == (kind, False)
        (tmp_path / "descriptor").touch()
    await models.close()


async def test_an_address_is_named_without_who_is_let_in_there() -> None:
    models = make_factory(keys={"chat": None}, base_urls={"chat": "http://user:a-password@127.0.0.1:9/v1"})
    request = Request(system="", tools=(), messages=(Message(role="user", blocks=(Text(text="a"),)),), max_output=16)
    with pytest.raises(ModelFailed, match=r"cannot be reached at http://127\.0\.0\.1:9/v1") as caught:
        await models("chat:a").complete(request)
    assert "a-password" not in f"{caught.value!r} {caught.value.why} {caught.value.fix}"
    await models.close()


def test_a_key_of_a_models_own_is_named() -> None:
    own = {"openai:a": ModelSection(api_key_env="MY_KEY")}
    with pytest.raises(BadConfiguration) as caught:
        make_factory(keys={"MY_KEY": "a b "}, models=own)("openai:a")
    assert "MY_KEY" in caught.value.fix


def test_no_two_agents_wait_equally_long() -> None:
    for tried in (1, 4):
        waits = [
            next_try(FailureClass.TRANSIENT, tried, wish, jitter) for wish in (None, 30.0) for jitter in (0.0, 0.9)
        ]
        assert waits[0] != waits[1]
        assert waits[2] != waits[3]
