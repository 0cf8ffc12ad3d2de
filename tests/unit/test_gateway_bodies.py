"""What the gateway reads in a request's body: limits, references, and what costs more than its tokens."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest

from quarterdeck.gateway import refusals, routes, wires
from quarterdeck.gateway.answers import Tried, pass_on
from quarterdeck.gateway.unmetered import unmetered
from quarterdeck.gateway.wires import Asked, Operation, Place, Wire
from quarterdeck.kernel.failures import FailureClass, ModelFailed


def read(wire: Wire, raw: bytes) -> Asked:
    return wires.read(Place(wire, Operation.CALL, "gemini-x" if wire is Wire.GEMINI else ""), raw)


def request(wire: Wire, **body: Any) -> Asked:
    return read(wire, json.dumps(body).encode())


# --- names that stand twice -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "raw", "name"),
    [
        (Wire.MESSAGES, '{"max_tokens": 10, "model": "m", "max_tokens": 100000}', "max_tokens"),
        (Wire.MESSAGES, r'{"max_tokens": 10, "max_\u0074okens": 100000}', "max_tokens"),
        (Wire.MESSAGES, '{"model": "cheap", "model": "dear"}', "model"),
        (Wire.MESSAGES, '{"tools": [], "max_tokens": 1, "tools": [{"type": "web_search_20250305"}]}', "tools"),
        (Wire.MESSAGES, '{"tools": [{"type": "custom", "name": "a", "type": "web_search_20250305"}]}', "type"),
        (Wire.CHAT, '{"n": 1, "n": 100}', "n"),
        (Wire.CHAT, '{"stream": true, "stream": false}', "stream"),
        (Wire.CHAT, '{"stream_options": {"include_usage": true, "include_usage": false}}', "include_usage"),
        (Wire.RESPONSES, '{"reasoning": {"mode": "pro", "mode": "standard"}}', "mode"),
        (Wire.RESPONSES, '{"input": [{"tools": [{"type": "web_search"}], "tools": []}]}', "tools"),
        (Wire.RESPONSES, r'{"input": "\ud800", "max_output_tokens": 1, "max_output_tokens": 9}', "max_output_tokens"),
        (Wire.GEMINI, '{"generationConfig": {"candidateCount": 1, "candidateCount": 8}}', "candidateCount"),
        (Wire.GEMINI, '{"generationConfig": {}, "generationConfig": {"maxOutputTokens": 7}}', "generationConfig"),
    ],
)
def test_a_name_with_two_values_is_refused_where_what_is_asked_for_is_read(wire: Wire, raw: str, name: str) -> None:
    """Its provider may take the other one, and charge for that."""
    with pytest.raises(ValueError, match=f"^'{name}' stands twice in one object"):
        read(wire, raw.encode())


def test_a_name_that_stands_in_several_objects_is_nothing_odd() -> None:
    raw = b'{"model": "m", "tools": [{"type": "custom", "input_schema": {"properties": {"model": {}, "type": {}}}}], '
    raw += b'"messages": [{"role": "user", "content": "{\\"model\\": 1, \\"model\\": 2}"}, {"role": "user"}]}'
    for wire in (Wire.MESSAGES, Wire.CHAT, Wire.RESPONSES):
        assert read(wire, raw).body == json.loads(raw)


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "body", "expected"),
    [
        (Wire.CHAT, {"max_tokens": None, "max_completion_tokens": 100_000}, 100_000),
        (Wire.CHAT, {"max_tokens": 100_000, "max_completion_tokens": 16}, 100_000),
        (Wire.CHAT, {"max_tokens": "300", "n": "4"}, 1_200),
        (Wire.CHAT, {"max_tokens": 16, "max_completion_tokens": "many"}, None),
        (Wire.MESSAGES, {"max_tokens": 99.5}, 100),
        (Wire.MESSAGES, {"max_tokens": True}, None),
        (Wire.RESPONSES, {"max_output_tokens": 1e999}, None),
        (Wire.GEMINI, {"generationConfig": {"maxOutputTokens": 7, "candidateCount": "8"}}, 56),
        (Wire.GEMINI, {"generation_config": {"max_output_tokens": 7, "candidate_count": 8}}, 56),
        (Wire.GEMINI, {"generationConfig": {}, "generation_config": {"max_output_tokens": 7}}, None),
    ],
)
def test_every_name_of_a_limit_counts(wire: Wire, body: dict[str, Any], expected: int | None) -> None:
    assert request(wire, **body).output_limit() == expected


@pytest.mark.parametrize(
    ("wire", "body", "expected"),
    [
        (
            Wire.CHAT,
            {"max_tokens": None, "max_completion_tokens": 9_000},
            {"max_tokens": None, "max_completion_tokens": 1_024},
        ),
        (
            Wire.CHAT,
            {"max_tokens": 9_000, "max_completion_tokens": 16},
            {"max_tokens": 1_024, "max_completion_tokens": 16},
        ),
        (Wire.CHAT, {"max_tokens": None}, {"max_tokens": 1_024}),
        (Wire.CHAT, {"n": "2"}, {"n": "2", "max_completion_tokens": 512}),
        (
            Wire.GEMINI,
            {"generation_config": {"max_output_tokens": 9_000, "candidate_count": 2}},
            {"generation_config": {"max_output_tokens": 512, "candidate_count": 2}},
        ),
        (Wire.GEMINI, {"generationConfig": None}, {"generationConfig": {"maxOutputTokens": 1_024}}),
    ],
)
def test_an_answer_is_held_under_every_name_that_stands_there(
    wire: Wire, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    asked = request(wire, **body)
    raw = wires.rewritten(asked, asked.model, 1_024)
    assert json.loads(raw) == expected
    held = read(wire, raw).output_limit()
    assert held is not None
    assert held <= 1_024


# --- how deep it is ---------------------------------------------------------------------------------------


def deep(levels: int, more: bytes = b"") -> bytes:
    """A request of so many levels, itself included."""
    return b'{"model":"a","messages":[],"x":' + b"[" * (levels - 1) + more + b"]" * (levels - 1) + b"}"


def below(frames: int, work: Callable[[], bytes]) -> bytes:
    """What comes of it on a stack of so many calls more."""
    return work() if frames == 0 else below(frames - 1, work)


@pytest.mark.parametrize("more", [b"", b'"x"', rb'"\ud83d"'])
def test_whatever_is_read_can_be_written_again_on_a_much_deeper_stack(more: bytes) -> None:
    """What could be read and not be written left its money set aside."""
    asked = [read(Wire.MESSAGES, deep(wires.DEEPEST, more))]
    for levels in range(wires.DEEPEST + 1, 1_000):
        try:
            asked.append(read(Wire.MESSAGES, deep(levels, more)))
        except ValueError:
            continue
    for one in asked:
        assert b'"model":"b"' in below(300, partial(wires.rewritten, one, "b"))


def test_a_body_of_more_levels_is_refused_with_a_sentence() -> None:
    for levels in (wires.DEEPEST + 2, 900, 100_000):
        with pytest.raises(ValueError, match="nested too deep"):
            read(Wire.MESSAGES, deep(levels, rb'"\ud83d"'))


# --- what lies elsewhere ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "raw"),
    [
        (Wire.MESSAGES, rb'{"messages":[{"content":[{"source":{"type":"u\u0072l","\u0075rl":"https://x"}}]}]}'),
        (Wire.MESSAGES, rb'{"messages":[{"content":[{"source":{"type":"file","file\u005fid":"f"}}]}]}'),
        (Wire.MESSAGES, '{"messages":[{"source":{"type":"url"}}]}'.encode("utf-16")),
        (Wire.RESPONSES, b'{"input":[{"type":"item_reference","id":"msg_1"}]}'),
        (Wire.RESPONSES, b'{"input":[{"id":"msg_1"}]}'),
        (Wire.RESPONSES, b'{"input":[{"type":"additional_tools","tools":[],"content":[{"file_id":"f"}]}]}'),
        (Wire.GEMINI, b'{"cached_content":"cachedContents/x"}'),
        (Wire.MESSAGES, b'{"messages":' + b"[" * 198 + b'{"file_id":"f"}' + b"]" * 198 + b"}"),
    ],
)
def test_a_reference_is_found_however_it_is_written(wire: Wire, raw: bytes) -> None:
    assert read(wire, raw).elsewhere


def test_an_item_that_is_there_refers_to_nothing() -> None:
    items = [{"id": "rs_1", "type": "reasoning", "encrypted_content": "x"}, {"role": "user", "content": "url"}]
    assert not request(Wire.RESPONSES, input=items).elsewhere


def test_an_hour_s_cache_is_found_however_it_is_written() -> None:
    assert read(Wire.MESSAGES, rb'{"tools":[{"cache_control":{"ttl":"\u0031h"}}]}').long_cache
    assert not request(Wire.MESSAGES, system=[{"text": '"1h"', "cache_control": {"ttl": "5m"}}]).long_cache


# --- what cannot be metered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (Wire.MESSAGES, {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        (Wire.MESSAGES, {"tools": [{"type": "mcp_toolset"}]}),
        (Wire.MESSAGES, {"mcp_servers": [{"type": "url", "url": "https://x"}]}),
        (Wire.MESSAGES, {"container": {"skills": []}}),
        (Wire.MESSAGES, {"context_management": {"edits": [{"type": "compact_20260112"}]}}),
        (Wire.MESSAGES, {"compaction": {"type": "enabled"}}),
        (Wire.RESPONSES, {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}),
        (Wire.RESPONSES, {"context_management": {"type": "compaction"}}),
        (Wire.RESPONSES, {"multi_agent": {"enabled": True}}),
        (Wire.RESPONSES, {"multi_agent": {"max_concurrent_subagents": 50}}),
        (Wire.RESPONSES, {"multi_agent": True}),
        (Wire.RESPONSES, {"reasoning": {"mode": "pro"}}),
        (Wire.CHAT, {"prediction": {"type": "content", "content": "x" * 1000}}),
        (Wire.RESPONSES, {"tools": [{"type": "mcp", "server_url": "https://x"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
        (Wire.RESPONSES, {"tools": [{"type": "shell"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "tool_search"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]}),
        (Wire.RESPONSES, {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]}),
        (Wire.RESPONSES, {"prompt": {"id": "p"}}),
        (Wire.CHAT, {"web_search_options": {}}),
        (Wire.CHAT, {"modalities": ["text", "audio"]}),
        (Wire.CHAT, {"n": "several"}),
        (Wire.CHAT, {"service_tier": "Priority"}),
        (Wire.GEMINI, {"tools": [{"urlContext": {}}]}),
        (Wire.GEMINI, {"tools": {"codeExecution": {}}}),
        (Wire.GEMINI, {"tools": [{"functionDeclarations": [], "google_search": {}}]}),
        (Wire.GEMINI, {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}),
        (Wire.GEMINI, {"generation_config": {"response_modalities": "AUDIO"}}),
        (Wire.GEMINI, {"generationConfig": {}, "generation_config": {}}),
    ],
)
def test_what_costs_more_than_its_tokens_does_not_leave(wire: Wire, body: dict[str, Any]) -> None:
    assert unmetered(request(wire, **body))


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize(
    "field", [{"plugins": [{"id": "web"}]}, {"web_search_options": {}}, {"search_parameters": {"mode": "on"}}]
)
def test_what_a_proxy_charges_for_besides_does_not_leave_in_any_format(wire: Wire, field: dict[str, Any]) -> None:
    assert "charged beside the tokens" in unmetered(request(wire, model="m", **field))


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize(
    "field",
    [
        {"preset": "@preset/dear"},
        {"prompt_id": "dear"},
        {"router_settings_override": {"fallbacks": [{"m": ["gpt-6-astra"]}]}},
        {"fallbacks": ["gpt-6-astra"]},
        {"fallbacks": [{"model": "gpt-6-astra", "messages": []}]},
        {"models": ["openai/gpt-6-astra"], "route": "fallback"},
        {"user_config": {"model_list": []}},
        {"api_base": "https://example.org"},
        {"provider": {"sort": "throughput"}},
        {"extra_body": {"fallbacks": ["gpt-6-astra"]}},
    ],
)
def test_a_client_chooses_no_other_model_behind_our_back(wire: Wire, field: dict[str, Any]) -> None:
    assert "nobody here knows its price" in unmetered(request(wire, model="m", **field))
    assert unmetered(request(wire, model="m", **{name: type(value)() for name, value in field.items()})) == ""


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (Wire.MESSAGES, {"tools": [{"type": "custom", "name": "mcp"}, {"type": "bash_20250124", "name": "bash"}]}),
        (Wire.MESSAGES, {"tools": [{"type": "text_editor_20250728", "name": "edit"}], "mcp_servers": []}),
        (Wire.MESSAGES, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        (
            Wire.RESPONSES,
            {"context_management": [], "multi_agent": {"enabled": False}, "reasoning": {"effort": "high"}},
        ),
        (Wire.RESPONSES, {"reasoning": {"mode": "standard", "summary": "auto"}, "multi_agent": None}),
        (Wire.RESPONSES, {"tools": [{"type": "local_shell"}, {"type": "tool_search", "execution": "client"}]}),
        (Wire.RESPONSES, {"tools": [{"type": "shell", "environment": {"type": "local"}}], "service_tier": "flex"}),
        (
            Wire.RESPONSES,
            {
                "input": [
                    {
                        "type": "additional_tools",
                        "tools": [{"type": "namespace", "name": "functions", "tools": [{"type": "custom"}]}],
                    }
                ]
            },
        ),
        (Wire.CHAT, {"modalities": ["text"], "n": 2, "tools": None}),
        (Wire.GEMINI, {"tools": [{"functionDeclarations": [], "googleSearch": None}]}),
        (Wire.GEMINI, {"generationConfig": {"responseModalities": ["TEXT"], "candidateCount": 1}}),
    ],
)
def test_what_the_client_carries_out_itself_passes(wire: Wire, body: dict[str, Any]) -> None:
    assert unmetered(request(wire, **body)) == ""


# --- one model --------------------------------------------------------------------------------------------


def test_one_model_is_one_object() -> None:
    assert json.loads(refusals.model(Wire.CHAT, "m"))["id"] == "m"
    assert json.loads(refusals.model(Wire.GEMINI, "m"))["name"] == "models/m"
    assert routes.is_known("m", ["chat:m"])
    assert not routes.is_known("z", ["chat:m"])


# --- an answer that broke ---------------------------------------------------------------------------------


class Reader:
    """A client that keeps what it gets."""

    def __init__(self) -> None:
        self.heads: list[int] = []

    @property
    def begun(self) -> bool:
        return bool(self.heads)

    @property
    def at_once(self) -> None:
        return None

    async def head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.heads.append(status)

    async def body(self, data: bytes) -> None:
        assert data

    async def end(self, data: bytes = b"") -> None:
        assert self.heads


async def test_a_client_gets_one_head_only() -> None:
    broke = Tried(ModelFailed("it broke", FailureClass.TRANSIENT))
    fresh, begun = Reader(), Reader()
    await pass_on(fresh, request(Wire.CHAT), broke)
    assert fresh.heads == [502]
    await begun.head(200, ())
    with pytest.raises(ConnectionAbortedError):
        await pass_on(begun, request(Wire.CHAT), broke)
    assert begun.heads == [200]
