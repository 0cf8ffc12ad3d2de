"""What each wire format is sent, what its errors mean, and what is missing is named. No server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.failures import BadConfiguration, FailureClass
from quarterdeck.kernel.price_list import LIST
from quarterdeck.models import anthropic_messages, errors, openai_chat
from quarterdeck.models.errors import WireError
from quarterdeck.models.factory import key_source, make_factory
from quarterdeck.models.port import Message, Opaque, Request, StopReason, Text, ToolCall, ToolOutcome, ToolSpec
from quarterdeck.models.reply import Draft, DraftCall, conclude

RUN = ToolSpec(
    name="run", description="Run", parameters={"type": "object", "properties": {"command": {"type": "string"}}}
)


def user(*blocks: Any) -> Message:
    return Message(role="user", blocks=blocks)


def test_there_are_at_most_four_breakpoints_and_none_on_thinking() -> None:
    thought = Opaque(vendor="anthropic", data={"type": "thinking", "thinking": "x", "signature": "s"})
    turn = Message(role="assistant", blocks=(ToolCall(id="1", name="run", arguments={}), thought))
    messages = (user(Text(text="a")), turn, user(ToolOutcome(id="1", text="b")), turn)
    for until in range(6):
        body = anthropic_messages.body(Request("s", (RUN,), messages, 10, cache_until=until), "m")
        blocks = [block for message in body["messages"] for block in message["content"]]
        marked = [block for block in [*body["system"], *body["tools"], *blocks] if "cache_control" in block]
        assert len(marked) == 2 + min(2, until)
        assert not [block for block in marked if block.get("type") == "thinking"]


def test_chat_endpoints_are_asked_in_their_own_words() -> None:
    asked = Request("s", (RUN,), (user(ToolOutcome(id="1", text="no", error=True), Text(text="go on")),), 77, tag="t")
    hosted, own = (openai_chat.body(asked, "m", hosted=hosted) for hosted in (True, False))
    assert hosted["max_completion_tokens"] == own["max_tokens"] == 77
    assert "max_tokens" not in hosted
    assert "prompt_cache_key" not in own
    assert own["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in own["messages"]] == ["system", "tool", "user"]


def test_what_is_missing_is_named() -> None:
    models = make_factory(keys={}, models={"chat:x": ModelSection(api_key_env="MY_KEY", base_url="http://h/v1")})
    for name, word in (
        ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ("openai:gpt", "OPENAI_API_KEY"),
        ("google:gemini", "GEMINI_API_KEY"),
        ("chat:x", "MY_KEY"),
        ("chat:y", "OPENAI_BASE_URL"),
        ("acme:z", "tiers"),
        ("nonsense", "tiers"),
    ):
        with pytest.raises(BadConfiguration) as caught:
            models(name)
        assert word in caught.value.fix


@pytest.mark.parametrize(
    ("name", "own", "usual", "sent"),
    [
        ("anthropic:a", None, None, True),
        ("anthropic:a", None, "http://10.0.0.1:4000", True),
        ("anthropic:a", "https://api.anthropic.com/", None, True),
        ("anthropic:a", "https://API.anthropic.com:443/v2", None, True),
        ("anthropic:a", "http://api.anthropic.com", None, False),
        ("anthropic:a", "https://api.anthropic.com:8443", None, False),
        ("anthropic:a", "https://api.anthropic.com.example", None, False),
        ("anthropic:a", "https://api.anthropic.com@elsewhere.example", None, False),
        ("anthropic:a", "https://api.anthropic.com", "http://10.0.0.1:4000", False),
        ("openai:a", "http://localhost:8000/v1", None, False),
        ("openai:a", "http://localhost:8000/v1", "http://localhost:8000/other/v1", True),
        ("google:a", "https://api.openai.com", None, False),
        ("chat:a", "https://api.openai.com/v1", None, True),
        ("chat:a", "https://api.openai.com/v1", "http://localhost:8000/v1", False),
        ("chat:a", "http://localhost:11434/v1", None, False),
        ("chat:a", "https://elsewhere.example:70000/v1", None, False),
        ("chat:a", "nonsense", None, False),
    ],
)
def test_a_providers_key_is_for_the_server_that_its_variables_name(
    name: str, own: str | None, usual: str | None, sent: bool
) -> None:
    provider = name.partition(":")[0]
    assert key_source(name, ModelSection(base_url=own), usual) == (provider if sent else "")
    assert key_source(name, ModelSection(base_url=own, api_key_env="MINE"), usual) == "MINE", "a person's own word"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WireError(429, "rate_limit_error", message="slow"), FailureClass.TRANSIENT),
        (WireError(429, "insufficient_quota"), FailureClass.QUOTA),
        (WireError(400, "invalid_request_error", message="Your credit balance is too low"), FailureClass.QUOTA),
        (WireError(400, "invalid_request_error", message="prompt is too long: 9 tokens"), FailureClass.CONTEXT),
        (WireError(400, "invalid_request_error", message="tools.0: no name"), FailureClass.BUG),
        (WireError(404, "not_found_error", message="no such model"), FailureClass.CONFIGURATION),
        (WireError(400, "invalid_request_error", "model_not_found"), FailureClass.CONFIGURATION),
        (WireError(404, message="<html>nothing here</html>"), FailureClass.CONFIGURATION),
        (WireError(None, "overloaded_error"), FailureClass.TRANSIENT),
        (WireError(None, "", message="whatever"), FailureClass.TRANSIENT),
        (WireError(403, message="<html>"), FailureClass.AUTH),
        (WireError(502, message="<html>context window</html>"), FailureClass.TRANSIENT),
    ],
)
def test_the_class_of_an_error(error: WireError, kind: FailureClass) -> None:
    assert errors.classify(error) is kind


@pytest.mark.parametrize(
    ("error", "ramp"),
    [
        (WireError(503, "rate_limit_error", "slow_down"), True),
        (WireError(429, "rate_limit_error", "slow_down"), True),
        (WireError(429, "rate_limit_error", message="Usage increased too fast; please ramp up."), True),
        (WireError(429, "rate_limit_error", message="Number of requests exceeded"), False),
        (WireError(529, "overloaded_error", message="too fast"), False),
    ],
)
def test_growth_is_told_from_use(error: WireError, ramp: bool) -> None:
    assert errors.failed("m", error).ramp is ramp


IDS = st.text("abc-_", min_size=1, max_size=80)
ARGUMENTS = st.sampled_from(['{"a": 1}', "", "{", "[1]", "null", '{"a": '])


@given(st.lists(st.tuples(IDS, ARGUMENTS), max_size=8), st.sampled_from(list(StopReason)))
def test_a_call_that_cannot_be_made_says_so_and_ids_never_repeat(
    calls: list[tuple[str, str]], stop: StopReason
) -> None:
    parts = tuple(DraftCall(name, "run", arguments) for name, arguments in calls)
    made = conclude("m", Request("", (), (), 10), Draft(parts, stop, begun=True)).message.calls
    if stop is StopReason.LENGTH:
        assert made == ()
        return
    assert len(made) == len({call.id for call in made}) == len(calls)
    seen: set[str] = set()
    for (name, arguments), call in zip(calls, made, strict=True):
        if call.flaw is None:
            assert call.id == name
            assert arguments.strip() in ("", '{"a": 1}')
        elif call.flaw.rule == "duplicate-id":
            assert name in seen
            assert call.id != name
            assert len(call.id) <= 64
        else:
            assert call.arguments == {}
            assert arguments[:1] in ("{", "[", "n")
        seen.add(name)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 50.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_milliseconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert errors.retry_after(headers, now=10.0) == seconds


def test_listed_prices_make_sense() -> None:
    for name, price in LIST.items():
        assert name.partition(":")[0] in ("anthropic", "openai", "google")
        assert 0 < price.input < price.output
        assert price.cache_read is not None
        assert price.cache_read < price.input
        assert price.cache_write is None or price.cache_write > price.input
