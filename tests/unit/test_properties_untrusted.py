"""What fuzzing found in the parsers of what we did not write ourselves, by example; and the seeds of fuzzing."""

import json
import time

import pytest
from fuzz import engine, worker_frames
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents import frontmatter, handoffs
from quarterdeck.agents.roster import parse_agent, parse_claude_agent
from quarterdeck.delivery.plans.plan import parse_plan
from quarterdeck.kernel.entities import Submission, Usage
from quarterdeck.kernel.failures import BadConfiguration, BadPlan, SandboxFailed
from quarterdeck.models import sound
from quarterdeck.models.port import Message, Reply, Request, StopReason, Text
from quarterdeck.models.reply import Draft, DraftCall, Part, conclude
from quarterdeck.tools import search
from quarterdeck.workplace import wire

pytestmark = pytest.mark.usefixtures("temporaries")

CPU_SECONDS = 5.0
"""Far above what any of these takes, far below what they took when they were found (on the same machine)."""


QUICK = [name for name in engine.TARGETS if not name.startswith(("stream_", "pack_"))]
"""The others load the HTTP client or start git: tests/system/test_fuzz.py."""


@pytest.mark.embedded("a target that needs a store makes a file of its own")
@pytest.mark.parametrize("name", QUICK)
def test_the_seeds_of_a_target_show_no_bug(name: str) -> None:
    target = engine.load(name)
    seeds = target.seeds()
    assert len(seeds) == len(set(seeds)) > 0
    for seed in (b"", *seeds):
        target.one(seed)


# --- plan files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"\\ud800": 1}', '{"\\ud800": 1, "\\ud800": 2}', '{"v": 1, "goal": {"\\udfff": 1}}'])
def test_half_a_surrogate_pair_in_a_key_of_a_plan_is_refused_in_words_that_can_be_printed(text: str) -> None:
    with pytest.raises(BadPlan, match="alone is not a character") as refused:
        parse_plan(text.encode(), origin="plan.json")
    str(refused.value).encode()


# --- agent files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    ["\n".join(f"k{number}: v" for number in range(18_000)), f"k: [{'a,' * 120_000}]"],
    ids=["many keys", "a long list"],
)
def test_a_front_matter_of_many_parts_is_refused_before_it_is_built(head: str) -> None:
    begun = time.process_time()
    with pytest.raises(BadConfiguration, match=f"more than {frontmatter.MAX_NODES} parts"):
        parse_agent(f"---\n{head}\n---\n", "a.md")
    assert time.process_time() - begun < CPU_SECONDS


def test_a_long_front_matter_of_claude_is_read_line_by_line_in_no_time() -> None:
    begun = time.process_time()
    agent, _ = parse_claude_agent(f"---\nname: a\ndescription: [{'a,' * 100_000}\n---\n", "a.md")
    assert agent.name == "a"
    assert time.process_time() - begun < CPU_SECONDS


# --- a model's stream -------------------------------------------------------------------------------------

REQUEST = Request("", (), (Message(role="user", blocks=(Text(text="Do it."),)),), max_output=10)


def replied(*parts: Part, usage: Usage | None = None) -> Reply:
    return conclude("some", REQUEST, Draft(parts, StopReason.END, usage, begun=True))


def test_half_a_surrogate_pair_from_a_model_does_not_spoil_every_later_request() -> None:
    call = DraftCall("c\ud83d", "read\ude00", '{"path": "a\\ud83d", "\\ude00": ["\\ud83d\\ude00"]}')
    reply = replied(Text(text="It \ud83d is \ud83d\ude00"), call)
    assert reply.message.text == "It � is 😀"
    assert reply.message.calls[0].arguments == {"path": "a�", "�": ["😀"]}
    json.dumps(reply.message.model_dump(), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "arguments", ['{"a": NaN}', '{"a": [1e999]}', '{"a": -Infinity}', '{"a":' * 200 + "1" + "}" * 200, "[" * 90_000]
)
def test_arguments_that_could_not_be_sent_again_are_a_flawed_call(arguments: str) -> None:
    (call,) = replied(DraftCall("c", "read", arguments)).message.calls
    assert call.arguments == {}
    assert call.flaw is not None
    assert call.flaw.rule == "malformed-arguments"


@pytest.mark.parametrize(
    "counted", [Usage(input=-1), Usage(output=10**30), Usage(cache_read=-5), Usage(cache_write=2**63)]
)
def test_usage_that_cannot_be_true_is_estimated(counted: Usage) -> None:
    reply = replied(Text(text="Done."), usage=counted)
    assert reply.estimated
    assert 0 < reply.usage.output <= REQUEST.max_output


def test_parts_of_a_call_that_are_no_texts_are_told_from_a_call() -> None:
    with pytest.raises(TypeError, match="are texts"):
        DraftCall(7, "read", "{}")  # type: ignore[arg-type]  # what a wire may hold


@given(st.text(st.characters(), max_size=30) | st.text("a\ud83d\ude00\udfff", max_size=12))
def test_sound_text_is_text_and_sound_already(found: str) -> None:
    whole = sound.text(found)
    whole.encode()
    assert sound.text(whole) == whole
    kept = "".join(character for character in found if not "\ud800" <= character <= "\udfff")
    assert [c for c in whole if c in kept and c != "�"] == [c for c in kept if c != "�"]


# --- handoffs ---------------------------------------------------------------------------------------------


def test_a_handoff_with_half_a_surrogate_pair_can_be_stored() -> None:
    found = handoffs.parse("submission", {"summary": "Done \ud83d", "limitations": ["\ude00"]})
    assert isinstance(found, Submission)
    assert handoffs.encode(found).decode() == '{"summary":"Done �","limitations":["�"]}'


def test_a_handoff_with_a_number_that_is_none_of_json_is_refused() -> None:
    task = {"id": "a", "title": "t", "paths": ["a"], "budget_usd": float("nan")}
    found = handoffs.parse("plan", {"tasks": [task]}, goal="g")
    assert isinstance(found, handoffs.Refused)
    assert "nan is not a number of JSON" in found.reason


# --- what comes out of a sandbox --------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [{}, {"entries": None, "truncated": 1}, {"entries": [{}], "truncated": False}])
def test_an_answer_of_the_worker_that_is_none_is_the_sandboxs_failure_not_the_tools(answer: dict[str, object]) -> None:
    frame = wire.pack({"id": 1, "ok": answer})
    worker_frames.one(bytes([6, 0]) + frame)
    with pytest.raises(SandboxFailed, match="no proper answer"):
        search.answered(answer, "entries", 1000)


def test_a_command_that_could_not_be_started_is_a_result_for_the_agent() -> None:
    for error in (
        b'"error":"OSError","errno":11,"message":"no process is left"',
        b'"error":"ValueError","message":"no text"',
    ):
        body = b'{"id":1,' + error + b"}"
        worker_frames.one(bytes([10, 0]) + wire.LENGTHS.pack(len(body), 0) + body)
