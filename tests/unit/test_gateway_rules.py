"""The gateway's pure rules: what a request is, where it goes, what it may cost, what an answer was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.doors.model_calls import for_provider, virtual_key
from quarterdeck.gateway import estimates, record, refusals, routes, wires
from quarterdeck.gateway.meter import Meter
from quarterdeck.gateway.unmetered import unmetered
from quarterdeck.gateway.wires import Asked, Operation, Place, Wire
from quarterdeck.kernel.config import LongPrice, Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.events import ModelAsked
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.prices import cost
from quarterdeck.models import sse
from quarterdeck.models.port import StopReason

PRICE = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)
DEARER = LongPrice(above=1_000, until=4_000, input=6.0, output=22.5, cache_read=0.6, cache_write=7.5)
LONG = PRICE.model_copy(update={"long": DEARER})


def request(wire: Wire, **body: Any) -> Asked:
    place = Place(wire, Operation.CALL, "gemini-x" if wire is Wire.GEMINI else "")
    return wires.read(place, json.dumps(body).encode())


# --- places -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/messages", Place(Wire.MESSAGES, Operation.CALL)),
        ("POST", "/anthropic/v1/messages", Place(Wire.MESSAGES, Operation.CALL)),
        ("POST", "/v1/messages/count_tokens", Place(Wire.MESSAGES, Operation.COUNT)),
        ("POST", "/v1/responses", Place(Wire.RESPONSES, Operation.CALL)),
        ("POST", "/responses", Place(Wire.RESPONSES, Operation.CALL)),
        ("POST", "/openai/v1/chat/completions", Place(Wire.CHAT, Operation.CALL)),
        ("POST", "/v1beta/models/gemini-3:generateContent", Place(Wire.GEMINI, Operation.CALL, "gemini-3")),
        (
            "POST",
            "/v1beta/models/gemini-3:streamGenerateContent",
            Place(Wire.GEMINI, Operation.CALL, "gemini-3", streams=True),
        ),
        ("POST", "/v1beta/models/gemini-3:countTokens", Place(Wire.GEMINI, Operation.COUNT, "gemini-3")),
        ("GET", "/v1/models", Place(Wire.CHAT, Operation.LIST)),
        ("GET", "/v1beta/models", Place(Wire.GEMINI, Operation.LIST)),
        ("GET", "/v1/models/", Place(Wire.CHAT, Operation.LIST)),
        ("GET", "/v1/models/org/m:8b", Place(Wire.CHAT, Operation.LIST, "org/m:8b")),
        ("GET", "/v1beta/models/gemini-3", Place(Wire.GEMINI, Operation.LIST, "gemini-3")),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/files", None),
        ("POST", "/v1/evil/v1/messages", None),
        ("POST", "/v1/messages/batches", None),
        ("POST", "/v1beta/models/../secrets:generateContent", None),
        ("DELETE", "/v1/responses", None),
    ],
)
def test_a_path_says_what_is_asked(method: str, path: str, expected: Place | None) -> None:
    assert wires.place(method, path) == expected


def test_a_body_that_is_no_object_is_refused() -> None:
    for raw in (b"", b"[]", b"nonsense", b'"text"', b"[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            wires.read(Place(Wire.CHAT, Operation.CALL), raw)


@pytest.mark.parametrize("name", ["key", "%6bey", "k%65y"])
def test_the_key_does_not_go_on_in_the_query(name: str) -> None:
    place = Place(Wire.GEMINI, Operation.CALL, "gemini-3", streams=True)
    asked = wires.read(place, b"{}", f"{name}=qd-secret&alt=sse")
    assert wires.upstream_path(asked, "gemini-4") == "/v1beta/models/gemini-4:streamGenerateContent?alt=sse"


# --- what is rewritten ------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(["messages", "temperature", "x"]), st.integers() | st.text(), max_size=3))
def test_a_request_for_the_same_model_goes_on_byte_for_byte(extra: dict[str, Any]) -> None:
    raw = json.dumps({"model": "m", **extra}, indent=3).encode()
    asked = wires.read(Place(Wire.MESSAGES, Operation.CALL), raw)
    assert wires.rewritten(asked, "m") == raw


def test_only_what_must_be_changed_is() -> None:
    chat = request(Wire.CHAT, model="a", stream=True, messages=[])
    changed = json.loads(wires.rewritten(chat, "b"))
    assert changed == {"model": "b", "stream": True, "messages": [], "stream_options": {"include_usage": True}}
    silent = request(Wire.CHAT, model="a", messages=[])
    assert wires.rewritten(silent, "a") == silent.raw
    two = request(Wire.CHAT, model="a", n=2, max_completion_tokens=900)
    assert two.output_limit() == 1800
    assert json.loads(wires.rewritten(two, "a", 1000))["max_completion_tokens"] == 500
    gemini = request(Wire.GEMINI, generationConfig={"temperature": 0})
    limited = json.loads(wires.rewritten(gemini, "gemini-x", 70))
    assert limited["generationConfig"] == {"temperature": 0, "maxOutputTokens": 70}


def test_half_a_surrogate_pair_goes_on_as_it_came() -> None:
    asked = wires.read(Place(Wire.CHAT, Operation.CALL), b'{"model":"a","messages":["\\ud83d"]}')
    assert b"\\ud83d" in wires.rewritten(asked, "b")
    assert asked.prefix


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (Wire.MESSAGES, {"tools": [{"type": "web_search_20260101", "name": "web_search"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "web_search"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "code_interpreter", "container": {}}]}),
        (Wire.RESPONSES, {"background": True}),
        (Wire.RESPONSES, {"service_tier": "priority"}),
        (Wire.MESSAGES, {"speed": "fast"}),
        (Wire.GEMINI, {"tools": [{"googleSearch": {}}]}),
    ],
)
def test_what_is_charged_beside_the_list_does_not_leave(wire: Wire, body: dict[str, Any]) -> None:
    assert unmetered(request(wire, **body))


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (Wire.MESSAGES, {"tools": [{"name": "web_search", "input_schema": {}}]}),
        (Wire.RESPONSES, {"tools": [{"type": "function", "name": "web_search"}, {"type": "custom", "name": "x"}]}),
        (Wire.CHAT, {"tools": [{"type": "function", "function": {"name": "f"}}], "service_tier": "auto"}),
        (Wire.GEMINI, {"tools": [{"functionDeclarations": []}]}),
    ],
)
def test_tools_of_the_client_s_own_pass(wire: Wire, body: dict[str, Any]) -> None:
    assert unmetered(request(wire, **body)) == ""


# --- routes -----------------------------------------------------------------------------------------------

MODELS = ("anthropic:claude-a", "openai:gpt-b", "anthropic:claude-c", "google:gemini-d", "chat:local")


@pytest.mark.parametrize(
    ("wire", "asked", "expected"),
    [
        (Wire.MESSAGES, "claude-c", ("anthropic:claude-c", "anthropic:claude-a")),
        (Wire.MESSAGES, "quarterdeck", ("anthropic:claude-a", "anthropic:claude-c")),
        (Wire.MESSAGES, "anthropic:claude-a", ("anthropic:claude-a", "anthropic:claude-c")),
        (Wire.MESSAGES, "claude-a-20251001", ("anthropic:claude-a", "anthropic:claude-c")),
        (Wire.MESSAGES, "gpt-b", ()),
        (Wire.MESSAGES, "claude-z", ()),
        (Wire.RESPONSES, "gpt-b", ("openai:gpt-b",)),
        (Wire.CHAT, "local", ("chat:local", "openai:gpt-b")),
        (Wire.GEMINI, "models/gemini-d", ("google:gemini-d",)),
    ],
)
def test_a_key_asks_only_its_models(wire: Wire, asked: str, expected: tuple[str, ...]) -> None:
    assert routes.candidates(wire, asked, MODELS) == expected


# --- worst cases ------------------------------------------------------------------------------------------

BODY = st.text(max_size=4000)


@given(BODY, st.integers(1, 200_000), st.integers(1, 4))
def test_the_worst_case_covers_every_call_that_the_request_allows(text: str, limit: int, choices: int) -> None:
    asked = request(Wire.CHAT, messages=[{"role": "user", "content": text}], max_tokens=limit, n=choices)
    bound = estimates.worst(asked, PRICE, 200_000, None, estimates.BYTES_PER_TOKEN)
    most = min(len(asked.raw) // 2, 200_000)
    usage = Usage(cache_write=most, output=limit * choices)
    assert bound.nusd >= cost(usage, PRICE)


def test_what_lies_elsewhere_counts_as_a_full_window() -> None:
    asked = request(Wire.RESPONSES, previous_response_id="r", input="go", max_output_tokens=10)
    assert estimates.worst(asked, PRICE, 272_000, None, 2.0).input == 272_000


@given(st.integers(0, 9_000), st.integers(0, 4_000), st.integers(1, 500), st.integers(0, 10**8))
def test_a_prompt_that_may_be_a_long_one_is_set_aside_for_as_one(size: int, prompt: int, limit: int, free: int) -> None:
    asked = request(Wire.MESSAGES, messages=["x" * size], max_tokens=limit)
    bound = estimates.worst(asked, LONG, 1_000, None, estimates.BYTES_PER_TOKEN)
    most = min(prompt, len(asked.raw) // 2)
    assert bound.nusd >= cost(Usage(cache_write=most, output=limit), LONG)
    if (shorter := estimates.affordable(asked, bound, LONG, free)) is not None:
        assert shorter.nusd <= free


def test_all_of_a_long_prompt_costs_more() -> None:
    assert cost(Usage(input=1_000, output=10), LONG) == 1_000 * 3_000 + 10 * 15_000
    assert cost(Usage(input=1, cache_read=1_000, output=10), LONG) == 6_000 + 1_000 * 600 + 10 * 22_500
    asked = request(Wire.RESPONSES, previous_response_id="r", input="go", max_output_tokens=10)
    assert estimates.worst(asked, LONG, 1_000, None, 2.0).input == 4_000


def test_what_a_tool_calls_its_parameters_lies_nowhere_else() -> None:
    schema = {"type": "object", "properties": {"image_url": {"type": "string"}}}
    tool = {"type": "function", "name": "look", "parameters": schema}
    offered = {"type": "additional_tools", "tools": [tool]}
    said = {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}
    assert not request(Wire.RESPONSES, input=[offered, said], tools=[tool]).elsewhere
    said["content"] = [{"type": "input_image", "image_url": "https://example.org/a.png"}]
    assert request(Wire.RESPONSES, input=[said], tools=[tool]).elsewhere
    part = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert request(Wire.CHAT, messages=[{"role": "user", "content": [part]}]).elsewhere
    given = {"role": "user", "parts": [{"fileData": {"fileUri": "gs://x"}}]}
    assert request(Wire.GEMINI, contents=[given]).elsewhere
    source = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    assert request(Wire.MESSAGES, messages=[{"role": "user", "content": [source]}]).elsewhere


def test_a_prompt_beyond_the_window_is_known_by_its_size() -> None:
    asked = request(Wire.MESSAGES, messages=["x" * 6_000])
    assert estimates.too_long(asked, 1_000) == len(asked.raw) // 5.5
    assert estimates.too_long(asked, 1_100) is None


def test_an_hour_s_cache_is_dearer() -> None:
    plain = request(Wire.MESSAGES, messages=["x" * 9000], max_tokens=1)
    hour = request(Wire.MESSAGES, messages=["x" * 9000], max_tokens=1, system=[{"cache_control": {"ttl": "1h"}}])
    assert estimates.worst(hour, PRICE, 10_000, None, 2.0).nusd > estimates.worst(plain, PRICE, 10_000, None, 2.0).nusd
    written = Usage(cache_write=5_000, long_write=5_000, output=1)
    assert cost(written, PRICE) == 5_000 * 6_000 + 15_000


@given(st.integers(0, 3_000_000_000))
def test_a_shorter_answer_fits_into_what_is_left(free: int) -> None:
    asked = request(Wire.RESPONSES, input="x" * 1000)
    bound = estimates.worst(asked, PRICE, 272_000, 128_000, 2.0)
    shorter = estimates.affordable(asked, bound, PRICE, free)
    if shorter is not None:
        assert shorter.nusd <= free
        assert estimates.LEAST <= shorter.output < bound.output
    elif free < bound.nusd:
        assert free < estimates._worst(asked, bound.input, estimates.LEAST + 2, PRICE).nusd


@given(st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=5), st.integers(1, 100_000))
def test_a_chain_of_purses_covers_what_its_poorest_one_does(free: list[int], limit: int) -> None:
    """Each purse, from the innermost outwards, refuses what it does not cover, as the treasury does."""
    asked = request(Wire.RESPONSES, input="x" * 1000, max_output_tokens=limit)
    bound = estimates.worst(asked, PRICE, 272_000, 128_000, 2.0)
    tried: estimates.Worst | None = bound
    while tried is not None and (refusing := next((left for left in free if left < tried.nusd), None)) is not None:
        tried = estimates.shorter(asked, tried, PRICE, refusing)
    if tried is None:
        assert min(free) < estimates.least(asked, bound, PRICE).nusd
    else:
        assert tried.nusd <= min(free)
        assert tried.output == limit or tried.output >= estimates.LEAST


def test_a_dense_prompt_teaches_the_estimate() -> None:
    asked = request(Wire.MESSAGES, messages=["x" * 10_000])
    rate = estimates.learned(2.0, asked, 9_000)
    assert rate < 1.2
    assert estimates.learned(2.0, asked, 3_000) == 2.0
    assert estimates.learned(rate, asked, 3_000) == rate


def test_a_prompt_that_lies_elsewhere_teaches_nothing() -> None:
    asked = request(Wire.RESPONSES, previous_response_id="r", input="go on")
    assert estimates.learned(2.0, asked, 60_000) == 2.0


# --- meters -----------------------------------------------------------------------------------------------

MESSAGES: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 40,
                "cache_creation": {"ephemeral_1h_input_tokens": 40},
                "output_tokens": 1,
            }
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello, you there."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]
RESPONSES: list[dict[str, Any]] = [
    {"type": "response.created", "response": {}},
    {"type": "response.output_text.delta", "delta": "Hello, you there."},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "message", "content": [{"type": "output_text", "text": "Hello, you there."}]},
    },
    {
        "type": "response.completed",
        "response": {
            "status": "completed",
            "usage": {
                "input_tokens": 150,
                "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 40},
                "output_tokens": 7,
            },
        },
    },
]
CHAT: list[dict[str, Any]] = [
    {"choices": [{"delta": {"content": "Hello, you "}}]},
    {"choices": [{"delta": {"content": "there."}, "finish_reason": "stop"}]},
    {
        "choices": [],
        "usage": {"prompt_tokens": 110, "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens": 7},
    },
]
GEMINI: list[dict[str, Any]] = [
    {"candidates": [{"content": {"parts": [{"text": "Hello, you "}]}}], "usageMetadata": {"promptTokenCount": 110}},
    {
        "candidates": [{"content": {"parts": [{"text": "there."}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 110,
            "cachedContentTokenCount": 100,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 2,
        },
    },
]
STREAMS = {Wire.MESSAGES: MESSAGES, Wire.RESPONSES: RESPONSES, Wire.CHAT: CHAT, Wire.GEMINI: GEMINI}
TRUE = {
    Wire.MESSAGES: Usage(input=10, cache_read=100, cache_write=40, long_write=40, output=7),
    Wire.RESPONSES: Usage(input=10, cache_read=100, cache_write=40, output=7),
    Wire.CHAT: Usage(input=10, cache_read=100, output=7),
    Wire.GEMINI: Usage(input=10, cache_read=100, output=7),
}


def frames(events: list[dict[str, Any]]) -> list[bytes]:
    return [f"data: {json.dumps(event)}\n\n".encode() for event in events]


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_is_metered_as_the_wire_says_and_passes_unchanged(wire: Wire, size: int) -> None:
    sent = b"".join(frames(STREAMS[wire]))
    meter = Meter(wire, "m", streams=True)
    got = b"".join(meter.read(sent[at : at + size]) for at in range(0, len(sent), size)) + meter.rest()
    found = meter.finish(9_999, 500)
    assert got == sent
    assert (found.usage, found.estimated, found.stop) == (TRUE[wire], False, StopReason.END)
    assert found.message.text == "Hello, you there."


@pytest.mark.parametrize("wire", Wire)
def test_a_stream_that_broke_counts_as_long_as_it_may_have_been(wire: Wire) -> None:
    kept = 3 if wire is Wire.MESSAGES else 2 if wire is Wire.RESPONSES else 1
    meter = Meter(wire, "m", streams=True)
    for frame in frames(STREAMS[wire][:kept]):
        meter.read(frame)
    found = meter.finish(9_999, 500)
    assert found.begun
    assert found.estimated
    assert found.stop is None
    assert found.usage.prompt == (150 if wire is Wire.MESSAGES else 9_999)
    assert found.usage.output == 500
    assert found.prompt_counted is (wire is Wire.MESSAGES)


def told(event: dict[str, Any], inside: str, key: str, model: str) -> dict[str, Any]:
    """The event, with the model where its format names it."""
    return {**event, inside: {**event[inside], key: model}} if inside in event else {**event, key: model}


NAMED = {Wire.MESSAGES: "message", Wire.RESPONSES: "response", Wire.CHAT: "", Wire.GEMINI: ""}


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize("streams", [True, False])
def test_the_model_that_answered_is_read_and_the_dearer_price_holds(wire: Wire, streams: bool) -> None:
    key, dear = "modelVersion" if wire is Wire.GEMINI else "model", "big-20261101"
    meter = Meter(wire, "m", streams=streams)
    if streams:
        for frame in frames([told(one, NAMED[wire], key, dear) for one in STREAMS[wire]]):
            meter.read(frame)
    else:
        meter.read(json.dumps({**WHOLE[wire], key: dear}).encode())
    found = meter.finish(9_999, 500)
    assert found.model == dear
    asked = ModelAsked(
        step=1, number=1, model="openai:small", messages=1, request_hash="", prefix_blob="", reserved_nusd=1
    )
    intent = record.Intent(asked, "holder", PRICE)
    big = Price(input=30, output=150)
    assert record.served(intent, found, {"openai:big": big}) == big
    assert record.served(intent, found, {"openai:big": Price(input=0.1, output=0.1)}) == PRICE
    assert record.served(intent, found, {"google:big": big}) == PRICE


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    "odd",
    [
        {"tool_calls": [{"index": 0, "id": 123, "function": {"name": "f", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": 5, "arguments": "{}"}}]},
        {"content": [{"type": "text", "text": "as other formats have it"}]},
    ],
)
def test_what_it_costs_is_as_the_wire_says_also_where_a_part_of_it_is_nonsense(
    odd: dict[str, Any], streams: bool
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    meter = Meter(Wire.CHAT, "m", streams=streams)
    if streams:
        for event in (
            {"choices": [{"index": 0, "delta": odd}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
        ):
            meter.read(b"data: %b\n\n" % json.dumps(event).encode())
    else:
        choice = {"index": 0, "message": odd, "finish_reason": "stop"}
        meter.read(json.dumps({"choices": [choice], "usage": usage}).encode())
    found = meter.finish(9_999, 500)
    assert (found.usage, found.estimated) == (Usage(input=10, output=20), False)


@pytest.mark.parametrize("broke", [True, False])
def test_an_estimate_is_never_more_than_was_set_aside_and_a_count_is_what_it_is(broke: bool) -> None:
    """A model that is dearer than the one asked for answered, and the stream broke, or did not."""
    meter = Meter(Wire.MESSAGES, "m", streams=True)
    for frame in frames(MESSAGES)[: 1 if broke else None]:
        meter.read(frame)
    found, dear = meter.finish(9_999, 500), Price(input=1_000, output=1_000)
    assert (found.estimated, found.prompt_counted) == (broke, True)
    assert record.spent_on(found, 1_000, dear) == (1_000 if broke else cost(found.usage, dear))


def test_nothing_came_is_not_a_begun_answer() -> None:
    found = Meter(Wire.MESSAGES, "m", streams=True).finish(9_999, 500)
    assert not found.begun
    assert found.usage == Usage()


WHOLE: dict[Wire, dict[str, Any]] = {
    Wire.MESSAGES: {
        "type": "message",
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    Wire.RESPONSES: {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    Wire.CHAT: {
        "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    },
    Wire.GEMINI: {
        "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    },
}


@pytest.mark.parametrize("wire", Wire)
def test_an_answer_in_one_piece_is_metered_too(wire: Wire) -> None:
    raw = json.dumps(WHOLE[wire], indent=1).encode()
    meter = Meter(wire, "m", streams=False)
    assert b"".join(meter.read(raw[at : at + 11]) for at in range(0, len(raw), 11)) == raw
    found = meter.finish(9_999, 500)
    assert (found.usage, found.estimated) == (Usage(input=3, output=2), False)
    assert found.stop is not None
    assert found.message.text == "Hi"


@pytest.mark.parametrize("odd", ["Hi", 5, {"a": 1}, ["Hi"], [None], [{"type": {}}], {}])
@pytest.mark.parametrize("wire", Wire)
def test_an_answer_in_one_piece_may_be_nonsense_in_any_part(wire: Wire, odd: Any) -> None:
    whole = WHOLE[wire]
    for part in whole:
        meter = Meter(wire, "m", streams=False)
        meter.read(json.dumps({**whole, part: odd}).encode())
        found = meter.finish(9_999, 500)
        assert found.usage == Usage(input=3, output=2) or found.estimated
    for part in {"content", "output"} & set(whole):
        meter = Meter(wire, "m", streams=False)
        meter.read(json.dumps({**whole, part: odd}).encode())
        found = meter.finish(9_999, 500)
        assert (found.usage, found.estimated) == (Usage(input=3, output=2), False), "the wire says what it cost"


@pytest.mark.parametrize("said", [0, None])
@pytest.mark.parametrize("wire", Wire)
def test_a_server_that_does_not_count_is_not_free(wire: Wire, said: int | None) -> None:
    whole = WHOLE[wire]
    (key, usage), *_ = ((key, value) for key, value in whole.items() if key.startswith("usage"))
    counts = {} if said is None else dict.fromkeys(usage, said)
    meter = Meter(wire, "m", streams=False)
    meter.read(json.dumps({**whole, key: {**counts, "more": 1}}).encode())
    found = meter.finish(9_999, 500)
    assert (found.usage, found.estimated) == (Usage(input=9_999, output=500), True)


def test_a_prompt_that_was_not_counted_when_its_stream_broke_is_the_longest() -> None:
    meter = Meter(Wire.MESSAGES, "m", streams=True)
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    meter.read(b"data: %b\n\n" % json.dumps(start).encode())
    found = meter.finish(9_999, 500)
    assert (found.usage, found.prompt_counted) == (Usage(input=9_999, output=500), False)


def test_usage_that_was_not_asked_for_is_kept_from_the_client() -> None:
    meter = Meter(Wire.CHAT, "m", streams=True, hide_usage=True)
    got = b"".join(meter.read(frame) for frame in [*frames(CHAT), b"data: [DONE]\n\n"]) + meter.rest()
    assert got == b"".join([*frames(CHAT[:2]), b"data: [DONE]\n\n"])
    assert meter.finish(1, 500).usage == TRUE[Wire.CHAT]


def test_an_error_in_the_stream_is_a_failure_with_its_class() -> None:
    meter = Meter(Wire.MESSAGES, "m", streams=True)
    event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for frame in frames([*MESSAGES[:3], event]):
        meter.read(frame)
    found = meter.finish(9_999, 500)
    assert found.error is not None
    assert found.error.kind is FailureClass.TRANSIENT
    assert found.estimated


UNKNOWN = {
    Wire.MESSAGES: ("stop_reason", "compaction"),
    Wire.RESPONSES: ("status", "superseded"),
    Wire.CHAT: ("finish_reason", "eos"),
    Wire.GEMINI: ("finishReason", "TOO_MANY_TOOL_CALLS"),
}


def renamed(found: Any, key: str, value: str) -> Any:
    """The same with another value wherever that key stands."""
    if isinstance(found, dict):
        return {name: value if name == key else renamed(inner, key, value) for name, inner in found.items()}
    return [renamed(inner, key, value) for inner in found] if isinstance(found, list) else found


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize("streams", [True, False])
def test_an_end_that_is_not_known_is_an_end_and_its_usage_counts(wire: Wire, streams: bool) -> None:
    key, reason = UNKNOWN[wire]
    meter = Meter(wire, "m", streams=streams)
    if streams:
        for frame in frames(renamed(STREAMS[wire], key, reason)):
            meter.read(frame)
    else:
        meter.read(json.dumps(renamed(WHOLE[wire], key, reason)).encode())
    found = meter.finish(9_999, 500)
    assert (found.usage, found.estimated) == (TRUE[wire] if streams else Usage(input=3, output=2), False)
    assert found.stop is StopReason.END


@pytest.mark.parametrize("streams", [True, False])
def test_what_a_failed_answer_says_of_its_usage_counts(streams: bool) -> None:
    failed = {
        "status": "failed",
        "error": {"code": "server_error", "message": "x"},
        "usage": {"input_tokens": 10, "output_tokens": 2},
    }
    meter = Meter(Wire.RESPONSES, "m", streams=streams)
    if streams:
        meter.read(frames([{"type": "response.failed", "response": failed}])[0])
    else:
        meter.read(json.dumps(failed).encode())
    found = meter.finish(9_999, 500)
    assert found.error is not None
    assert (found.usage, found.estimated, found.stop) == (Usage(input=10, output=2), False, None)


def test_an_event_that_is_too_long_to_read_still_passes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 1_000)
    sent = [*frames(CHAT[:1]), b"data: " + b"x" * 900, b"x" * 900, b"x\n\n", *frames(CHAT[1:])]
    meter = Meter(Wire.CHAT, "m", streams=True, hide_usage=True)
    assert b"".join(meter.read(piece) for piece in sent) + meter.rest() == b"".join(sent)


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from(Wire), st.booleans())
def test_nonsense_passes_and_is_no_answer(chunks: list[bytes], wire: Wire, streams: bool) -> None:
    meter = Meter(wire, "m", streams=streams)
    assert b"".join(meter.read(chunk) for chunk in chunks) == b"".join(chunks)
    assert meter.finish(10, 500).stop is None


@pytest.mark.parametrize("wire", Wire)
def test_a_refusal_has_the_form_of_its_format(wire: Wire) -> None:
    said = json.loads(refusals.refusal(wire, "The budget is exhausted.", "budget_exhausted").body)
    assert said["error"]["message"] == "The budget is exhausted."
    assert ("type" in said) == (wire is Wire.MESSAGES)


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ([("authorization", "Bearer login-of-the-vendor"), ("x-api-key", "qd-ours")], "", "qd-ours"),
        ([("authorization", "Bearer qd-ours"), ("x-api-key", "sk-theirs")], "key=x", "qd-ours"),
        ([("x-goog-api-key", "theirs")], "key=qd-ours", "qd-ours"),
        ([("authorization", "Bearer login-of-the-vendor"), ("x-api-key", " ")], "", "login-of-the-vendor"),
        ([("authorization", "Basic eA==")], "", ""),
    ],
)
def test_a_key_of_ours_comes_before_another_login(headers: list[tuple[str, str]], query: str, key: str) -> None:
    assert virtual_key(headers, query) == key


@pytest.mark.parametrize("wire", Wire)
def test_a_refusal_can_quote_what_nothing_can_encode(wire: Wire) -> None:
    asked = wires.read(Place(wire, Operation.CALL), b'{"tools": [{"type": "\\ud800", "\\udfff": {}}]}')
    why = unmetered(asked)
    assert "runs at the provider" in why
    assert json.loads(refusals.refusal(wire, why).body)


def test_what_a_client_says_to_a_proxy_behind_us_does_not_go_on() -> None:
    ours = [("anthropic-beta", "a"), ("anthropic-version", "b"), ("x-stainless-lang", "c"), ("openai-beta", "d")]
    others = [
        ("x-portkey-config", '{"provider": "dear"}'),
        ("x-litellm-tags", "dear"),
        ("helicone-target-url", "https://elsewhere"),
        ("cf-aig-custom-cost", "0"),
        ("x-api-key", "qd-x"),
        ("host", "a"),
    ]
    assert for_provider([*others[:3], *ours, *others[3:]]) == ours
