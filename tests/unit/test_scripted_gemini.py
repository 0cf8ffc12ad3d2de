"""Google's format as the scripted model speaks it: what is heard, what is said, what is billed, what goes wrong."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from quarterdeck.kernel.entities import Usage
from quarterdeck.models.scripted import answer, heard, wire_gemini
from quarterdeck.models.scripted.cache import Counted
from quarterdeck.models.scripted.faults import Fault, Kind, distort, http_error, invalid, too_long
from quarterdeck.models.scripted.heard import Called, Ends, Format, Said
from quarterdeck.models.scripted.lookups import asking, look_up
from quarterdeck.models.scripted.scenario import Rule, Scenario, Served, Turn, act, choose

SHELL = {
    "name": "run_shell_command",
    "parameters": {
        "type": "OBJECT",
        "properties": {"command": {"type": "STRING"}, "steps": {"type": "ARRAY", "items": {"type": "STRING"}}},
        "required": ["command", "steps"],
    },
}
SUBMIT = {"name": "mcp_quarterdeck_submit", "parametersJsonSchema": {"type": "object", "properties": {}}}


def request(*later: dict[str, Any], **more: Any) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [{"text": "Do the task."}]}, *later]
    tools = [{"functionDeclarations": [SHELL, SUBMIT]}]
    return {
        "model": "gemini-x",
        "stream": True,
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "contents": contents,
        "tools": tools,
        "generationConfig": {"maxOutputTokens": 99},
        **more,
    }


CALLED: list[dict[str, Any]] = [
    {"role": "model", "parts": [{"text": "so", "thought": True}, {"functionCall": {"name": "x", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "x", "response": {"output": "it is done"}}}]},
]


def test_a_request_is_heard() -> None:
    found = wire_gemini.hear(request(*CALLED))
    assert (found.model, found.stream, found.system, found.max_output) == ("gemini-x", True, "Be brief.", 99)
    assert heard.step(found) == 1
    assert heard.prompt(found) == "Do the task."
    assert "it is done" in heard.last_message(found)
    assert found.spoken[1].text == "", "thoughts are nothing that was said"
    assert [tool.name for tool in found.tools] == ["run_shell_command", "mcp_quarterdeck_submit"]


def test_actions_find_googles_declarations() -> None:
    scenario = Scenario(rules=(Rule(turns=(Turn(actions=(act("run", command="ls"), act("submit", summary="s"))),)),))
    found = wire_gemini.hear(request())
    said = answer.compose(scenario, choose(scenario, found).turn, found, None)
    assert [(call.name, json.loads(call.arguments)) for call in said.calls] == [
        ("run_shell_command", {"command": "ls", "steps": []}),
        ("mcp_quarterdeck_submit", {"summary": "s"}),
    ]


SAID = Said(
    id="abc",
    text="I look at it.",
    thinking="",
    calls=(Called("call_abc_0", "run", '{"command": "ls"}'),),
    ends=Ends.TOOLS,
    usage=Usage(),
)


def events(said: Said, kind: Kind | None = None) -> Iterator[dict[str, Any]]:
    fault = None if kind is None else Fault(kind=kind, after=1)
    said = distort(fault, said) if fault is not None else said
    said = answer.metered(said, Counted(input=100, read=28), 4)
    frames = answer.as_frames(said, wire_gemini.hear(request()), fault)
    for block in b"".join(frame.data for frame in frames).decode().strip().split("\n\n"):
        if block.startswith("data: "):
            yield json.loads(block.removeprefix("data: "))


def parts(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"] if part != {"text": ""}]


def test_an_answer_streams_whole_calls_and_ends_with_its_usage() -> None:
    chunks = list(events(replace(SAID, thinking="I think for a while.")))
    assert parts(chunks)[0] == {"text": "I think for a while.", "thought": True}
    assert parts(chunks)[1] == {"text": "I look at it."}
    called = {"id": "call_abc_0", "name": "run", "args": {"command": "ls"}}
    assert parts(chunks)[2]["functionCall"] == called
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None, None, None, "STOP"]
    usage = chunks[-1]["usageMetadata"]
    assert usage["promptTokenCount"] == 128, "with what came from the cache"
    assert usage["cachedContentTokenCount"] == 28
    assert usage["thoughtsTokenCount"] == 5
    assert usage["candidatesTokenCount"] == -(-50 // 4) - 5
    assert usage["totalTokenCount"] == 128 + usage["candidatesTokenCount"] + 5
    assert not any("usageMetadata" in chunk for chunk in chunks[:-1])


def test_the_whole_answer_says_the_same() -> None:
    said = answer.metered(replace(SAID, thinking="I think."), Counted(input=100, read=28), 4)
    body = wire_gemini.body(said, "gemini-x")
    assert parts([body]) == parts(list(events(replace(SAID, thinking="I think."))))
    assert body["usageMetadata"] == list(events(replace(SAID, thinking="I think.")))[-1]["usageMetadata"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.MALFORMED_JSON, "MALFORMED_FUNCTION_CALL"),
        (Kind.MAX_TOKENS, "MAX_TOKENS"),
        (Kind.REFUSAL, "PROHIBITED_CONTENT"),
        (Kind.FILTERED, "SAFETY"),
        (Kind.EMPTY, "STOP"),
    ],
)
def test_how_an_answer_ends(kind: Kind, reason: str) -> None:
    chunks = list(events(SAID, kind))
    assert chunks[-1]["candidates"][0]["finishReason"] == reason
    assert not [part for part in parts(chunks) if "functionCall" in part]


def test_streams_that_break() -> None:
    cut = list(events(SAID, Kind.CUT))
    assert len(cut) == 1
    assert "finishReason" not in cut[0]["candidates"][0]
    overloaded = list(events(SAID, Kind.OVERLOADED_MIDSTREAM))
    assert overloaded[-1]["error"]["status"] == "UNAVAILABLE"
    assert len(list(events(SAID, Kind.STRANGE_EVENTS))) == len(list(events(SAID))) + 2
    assert "usageMetadata" not in list(events(SAID, Kind.NO_USAGE))[-1]


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        (Kind.RATE_LIMIT, 429, "RESOURCE_EXHAUSTED"),
        (Kind.OVERLOADED, 503, "UNAVAILABLE"),
        (Kind.SERVER_ERROR, 500, "INTERNAL"),
        (Kind.UNAUTHORIZED, 400, "INVALID_ARGUMENT"),
        (Kind.FORBIDDEN, 403, "PERMISSION_DENIED"),
        (Kind.UNKNOWN_MODEL, 404, "NOT_FOUND"),
    ],
)
def test_errors_are_googles(kind: Kind, status: int, name: str) -> None:
    error = http_error(Fault(kind=kind, retry_after=7), Format.GEMINI)
    assert error is not None
    body = json.loads(error.body)["error"]
    assert (error.status, body["code"], body["status"]) == (status, status, name)
    retries = [detail for detail in body.get("details", ()) if detail["@type"].endswith("RetryInfo")]
    assert [detail["retryDelay"] for detail in retries] == (["7s"] if status in (429, 503) else [])


def test_every_format_says_in_its_own_words_what_it_cannot_answer() -> None:
    for wire in Format:
        for error in (invalid(wire, "No."), too_long(wire, 5, 4)):
            assert error.status == 400
            assert "message" in json.loads(error.body)["error"]


def test_paths_say_the_model_and_whether_it_streams() -> None:
    found = asking("/v1beta/models/gemini-3-pro:streamGenerateContent")
    assert found is not None
    assert (found.format, found.told) == (Format.GEMINI, {"model": "gemini-3-pro", "stream": True})
    whole = asking("/v1/models/m:generateContent")
    assert whole is not None
    assert whole.told["stream"] is False
    assert asking("/v1beta/models/m:countTokens") is None
    assert asking("/v1beta/models/m") is None


def test_what_is_asked_beside() -> None:
    scenario = Scenario(models={"m": Served(context=1000)})
    counted = look_up(scenario, "POST", "/v1beta/models/m:countTokens", {"contents": request()["contents"]})
    assert counted[0] == 200
    assert counted[1]["totalTokens"] > 0
    assert look_up(scenario, "GET", "/v1beta/models/m", {})[1]["inputTokenLimit"] == 1000
    assert look_up(scenario, "GET", "/v1beta/models/other", {})[0] == 404
    assert [model["name"] for model in look_up(scenario, "GET", "/v1beta/models", {})[1]["models"]] == ["models/m"]
