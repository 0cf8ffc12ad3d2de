"""Google's format: what is sent, what is made of what comes, and what its errors mean."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models import errors, windows
from quarterdeck.models.gemini_generate import GeminiFold, body
from quarterdeck.models.google_client import _place
from quarterdeck.models.port import Message, Opaque, Request, StopReason, Text, ToolCall, ToolOutcome, ToolSpec
from quarterdeck.models.reply import conclude

RUN = ToolSpec(name="run", description="Run", parameters={"type": "object", "properties": {"c": {"type": "string"}}})
USER = Message(role="user", blocks=(Text(text="Do it."),))
GEMINI_3 = "gemini-3.8-flash"


def event(*parts: dict[str, Any], finish: str | None = None, **usage: int) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": usage}


def folded(*events: dict[str, Any], turn: int = 1) -> GeminiFold:
    fold = GeminiFold("google:m", turn)
    for one in events:
        fold.add(one)
    return fold


def call(name: str, args: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args or {}}, **more}


def sent(*messages: Message, model: str = GEMINI_3) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = body(Request("", (RUN,), messages, 10), model)["contents"]
    return contents


def test_a_request_names_its_model_in_the_path() -> None:
    made = body(Request("Be brief.", (RUN,), (USER,), 77), "gemini/odd")
    path, rest = _place("gemini", made)
    assert path == "/v1beta/models/gemini%2Fodd:streamGenerateContent?alt=sse"
    assert rest == {
        "contents": [{"role": "user", "parts": [{"text": "Do it."}]}],
        "generationConfig": {"maxOutputTokens": 77},
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {"functionDeclarations": [{"name": "run", "description": "Run", "parametersJsonSchema": RUN.parameters}]}
        ],
    }


def test_a_stream_becomes_a_reply_that_goes_back_as_it_came() -> None:
    fold = folded(
        event({"text": "I "}, promptTokenCount=5),
        event({"text": "look."}, call("run", {"c": "ls"}, thoughtSignature="s1"), call("run", {"c": "pwd"})),
        event(
            finish="STOP", promptTokenCount=50, cachedContentTokenCount=20, candidatesTokenCount=7, thoughtsTokenCount=4
        ),
    )
    reply = conclude("google:m", Request("", (RUN,), (USER,), 10), fold.draft())
    assert reply.stop is StopReason.TOOLS
    assert reply.usage == Usage(input=30, cache_read=20, output=11)
    first, second = reply.message.calls
    assert (first.arguments, second.arguments) == ({"c": "ls"}, {"c": "pwd"})
    results = Message(
        role="user", blocks=(ToolOutcome(id=first.id, text="a"), ToolOutcome(id=second.id, text="b", error=True))
    )
    model, answers = sent(USER, reply.message, results)[1:]
    assert model == {
        "role": "model",
        "parts": [{"text": "I look."}, call("run", {"c": "ls"}, thoughtSignature="s1"), call("run", {"c": "pwd"})],
    }
    assert answers["parts"] == [
        {"functionResponse": {"name": "run", "response": {"output": "a"}}},
        {"functionResponse": {"name": "run", "response": {"error": "b"}}},
    ]


def test_ids_that_the_model_gave_go_back_and_ours_never_repeat() -> None:
    theirs = {"functionCall": {"name": "run", "args": {}, "id": "f1"}}
    parts = [folded(event(theirs, call("run"), finish="STOP"), turn=turn).draft().parts for turn in (1, 2)]
    ids = [part.id for made in parts for part in made if hasattr(part, "id")]
    assert ids == ["f1", "qd_1_1", "f1", "qd_2_1"]
    message = Message(role="assistant", blocks=(ToolCall(id="f1", name="run", arguments={}),))
    back, answer = sent(message, Message(role="user", blocks=(ToolOutcome(id="f1", text="x"),)))
    assert back["parts"][0]["functionCall"]["id"] == "f1"
    assert answer["parts"][0]["functionResponse"]["id"] == "f1"


@pytest.mark.parametrize(("model", "marked"), [(GEMINI_3, True), ("gemini-4-argon", True), ("gemini-2.5-pro", False)])
def test_calls_of_another_vendor_say_that_they_are_unsigned(model: str, marked: bool) -> None:
    calls = tuple(ToolCall(id=name, name="run", arguments={}) for name in ("a", "b"))
    thought = Opaque(vendor="anthropic", data={"type": "thinking", "thinking": "x"})
    (made,) = sent(Message(role="assistant", blocks=(thought, *calls)), model=model)
    assert [("thoughtSignature" in part) for part in made["parts"]] == [marked, False]


def test_thoughts_and_late_signatures_go_back_unchanged() -> None:
    thought = {"text": "hm", "thought": True}
    fold = folded(event(thought, {"text": "Done."}), event({"text": "", "thoughtSignature": "s"}, finish="STOP"))
    message = conclude("google:m", Request("", (), (USER,), 10), fold.draft()).message
    assert message.text == "Done."
    assert sent(message)[0]["parts"] == [thought, {"text": "Done."}, {"text": "", "thoughtSignature": "s"}]


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("STOP", StopReason.END),
        ("MAX_TOKENS", StopReason.LENGTH),
        ("SAFETY", StopReason.REFUSED),
        ("MALFORMED_FUNCTION_CALL", StopReason.END),
        (None, None),
        ("SOMETHING_NEW", None),
    ],
)
def test_the_finish_reasons(finish: str | None, stop: StopReason | None) -> None:
    assert folded(event({"text": "a"}, finish=finish)).draft().stop is stop


def test_a_blocked_prompt_is_a_refusal() -> None:
    assert folded({"promptFeedback": {"blockReason": "SAFETY"}}).draft().stop is StopReason.REFUSED


def detail(kind: str, **more: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **more}


OVER = "You exceeded your current quota, please check your plan and billing details."
MINUTE = detail("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}])
DAY = detail("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}])
BAD_KEY = detail("ErrorInfo", reason="API_KEY_INVALID")
WAIT = detail("RetryInfo", retryDelay="34.07s")


@pytest.mark.parametrize(
    ("status", "name", "message", "details", "kind", "wait"),
    [
        (429, "RESOURCE_EXHAUSTED", OVER, [MINUTE, WAIT], FailureClass.TRANSIENT, 34.07),
        (429, "RESOURCE_EXHAUSTED", OVER, [DAY, WAIT], FailureClass.QUOTA, 34.07),
        (429, "RESOURCE_EXHAUSTED", "Resource exhausted.", None, FailureClass.TRANSIENT, None),
        (400, "INVALID_ARGUMENT", "API key not valid.", [BAD_KEY], FailureClass.AUTH, None),
        (403, "PERMISSION_DENIED", "no", None, FailureClass.AUTH, None),
        (400, "FAILED_PRECONDITION", "Please enable billing.", None, FailureClass.QUOTA, None),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            None,
            FailureClass.CONTEXT,
            None,
        ),
        (404, "NOT_FOUND", "models/x is not found", None, FailureClass.CONFIGURATION, None),
        (503, "UNAVAILABLE", "The model is overloaded.", None, FailureClass.TRANSIENT, None),
        (400, "INVALID_ARGUMENT", "Unknown name \"x\"", ["odd", {"@type": 7}], FailureClass.BUG, None),
    ],
)  # fmt: skip
def test_what_an_error_means(
    status: int, name: str, message: str, details: list[Any] | None, kind: FailureClass, wait: float | None
) -> None:
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details is not None:
        error["details"] = details
    failed = errors.failed("google:m", errors.read_body(status, {"error": error}))
    assert (failed.kind, failed.retry_after) == (kind, wait)


def test_an_error_in_the_stream_may_have_been_billed() -> None:
    fold = folded(event({"text": "a"}))
    with pytest.raises(ModelFailed):
        fold.add({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
    assert fold.draft().begun


def test_windows_end_where_the_plain_price_does() -> None:
    assert windows.known("google", "gemini-2.5-pro") == windows.known("google", "gemini-3.1-pro-preview") == 200_000
    assert windows.known("google", "gemini-4-argon") == windows.known("google", GEMINI_3) == 1_048_576
    assert windows.known("google", "gemma-4") is None


BLOCKS = st.one_of(
    st.text(max_size=5).map(lambda text: Text(text=text)),
    st.sampled_from("abc").map(lambda name: ToolCall(id=name, name="run", arguments={})),
    st.sampled_from("abc").map(lambda name: ToolOutcome(id=name, text="t")),
    st.just(Opaque(vendor="google", data={"thoughtSignature": "s"})),
    st.just(Opaque(vendor="openai", data={"x": 1})),
)
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(("user", "assistant")), blocks=st.lists(BLOCKS, max_size=5).map(tuple)),
    max_size=4,
)


@given(MESSAGES)
def test_whatever_a_conversation_holds_every_part_says_one_thing(messages: list[Message]) -> None:
    for content in sent(*messages):
        assert content["parts"]
        for part in content["parts"]:
            assert len(set(part) & {"text", "functionCall", "functionResponse"}) == 1
    json.dumps(sent(*messages))
