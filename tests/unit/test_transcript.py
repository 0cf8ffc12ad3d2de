"""The fold of an attempt's stream, and what is decided from it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents import reminders
from quarterdeck.agents.limits import Bounds, Used, reached
from quarterdeck.agents.transcript import Transcript, apply, bodies_of, decode, encode, said
from quarterdeck.gateway.recovery import after
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Harness, TodoItem, Usage
from quarterdeck.kernel.failures import RECOVERY, FailureClass
from quarterdeck.models.port import Message, Text, ToolCall, ToolOutcome

BOUNDS = Bounds(turns=100, wall=1000.0, tokens=1_000_000, nusd=None)


class Story:
    """Events with their bodies, told one after the other."""

    def __init__(self) -> None:
        self.events: list[e.EventBase] = []
        self.bodies: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        self.bodies[ids.digest(data)] = data
        return ids.digest(data)

    def say(self, text: str, why: str = "task") -> None:
        self.events.append(e.TranscriptExtended(step=0, message_blob=self.put(encode(said(text))), why=why))

    def turn(self, step: int, *calls: tuple[str, dict[str, Any], str], text: str = "", done: int | None = None) -> None:
        made = tuple(ToolCall(id=f"p{step}{at}", name=name, arguments=args) for at, (name, args, _) in enumerate(calls))
        blocks = ((Text(text=text),) if text else ()) + made
        self.ask(step)
        self.events.append(
            e.ModelAnswered(
                step=step, model="m:x", message_blob=self.put(encode(Message(role="assistant", blocks=blocks))),
                stop="tools" if made else "end", usage=Usage(input=10, output=5), seconds=1.0,
            )
        )  # fmt: skip
        for at, (name, args, result) in enumerate(calls[:done]):
            blob = self.put(json.dumps(args, sort_keys=True).encode())
            self.events.append(
                e.ToolIntended(
                    step=step, call=f"{step}.{at}", tool=name, arguments_blob=blob, arguments_hash=blob,
                    decision="allow",
                )
            )  # fmt: skip
            self.events.append(
                e.ToolDone(step=step, call=f"{step}.{at}", tool=name, ok=True, result_blob=self.put(result.encode()))
            )

    def ask(self, step: int, number: int = 1, messages: int = 1) -> None:
        self.events.append(
            e.ModelAsked(
                step=step, number=number, model="m:x", messages=messages, request_hash="", prefix_blob="",
                reserved_nusd=7,
            )
        )  # fmt: skip

    def fold(self) -> Transcript:
        state = Transcript()
        for event in self.events:
            assert set(bodies_of(event)) <= set(self.bodies)
            apply(state, event, self.bodies)
        return state


def test_all_results_of_a_turn_are_one_message_and_a_reminder_is_part_of_it() -> None:
    story = Story()
    story.say("Task: x")
    story.turn(1, ("run", {"command": "a"}, "A"), ("run", {"command": "b"}, "B"))
    story.say("<reminder>hm</reminder>", "reminder:todo")
    state = story.fold()
    assert [message.role for message in state.messages] == ["user", "assistant", "user"]
    blocks = state.messages[2].blocks
    assert [type(block) for block in blocks] == [ToolOutcome, ToolOutcome, Text]
    assert state.digests == [ids.digest(encode(message)) for message in state.messages]
    assert state.owed() == []
    assert state.reminded == {"reminder:todo": 1}


def test_calls_without_outcome_are_owed_in_order() -> None:
    story = Story()
    story.say("Task: x")
    story.turn(1, ("run", {"command": "a"}, "A"), ("run", {"command": "b"}, "B"), done=1)
    state = story.fold()
    assert [owed.id for owed in state.owed()] == ["1.1"]
    assert state.owed()[0].intent is None
    assert len(state.messages) == 2


def test_an_aside_costs_but_is_not_part_of_the_transcript() -> None:
    story = Story()
    story.say("Task: x")
    story.ask(1, messages=0)
    blob = story.put(encode(Message(role="assistant", blocks=(Text(text="summary"),))))
    story.events.append(e.ModelAnswered(step=1, model="m:x", message_blob=blob, stop="end", usage=Usage(), cost_nusd=9))
    state = story.fold()
    assert (state.turns, state.cost_nusd, len(state.messages)) == (0, 9, 1)


def test_a_fresh_workspace_starts_the_conversation_anew_and_keeps_what_was_spent() -> None:
    story = Story()
    started = e.AttemptStarted(
        run="r", task="t", number=1, agent="a", harness=Harness.NATIVE, incarnation=1, base="b", workspace="w"
    )
    story.events.append(started)
    story.say("Task: x")
    story.turn(1, ("run", {"command": "a"}, "A"))
    story.events.append(started.model_copy(update={"incarnation": 2}))
    state = story.fold()
    assert state.messages == []
    assert state.owed() == []
    assert (state.turns, state.step, state.usage.input) == (1, 1, 10)


def test_an_empty_answer_is_not_sent_back() -> None:
    story = Story()
    story.say("Task: x")
    story.turn(1)
    state = story.fold()
    assert [message.role for message in state.messages] == ["user"]
    assert (state.empty, state.silent) == (1, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_message_survives_storage_to_the_byte(arguments: dict[str, Any]) -> None:
    message = Message(role="assistant", blocks=(ToolCall(id="1", name="run", arguments=arguments),))
    stored = encode(message)
    assert decode(stored) == message
    assert encode(decode(stored)) == stored


CALLS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=20)


@given(CALLS)
def test_repeats_count_equal_calls_with_equal_results(names: list[str]) -> None:
    story = Story()
    story.say("Task: x")
    for step, name in enumerate(names, start=1):
        story.turn(step, ("run", {"command": name}, name.upper()))
    assert story.fold().repeats() == names[-12:].count(names[-1])


def test_a_different_result_is_no_repetition() -> None:
    story = Story()
    story.say("Task: x")
    for step in range(1, 5):
        story.turn(step, ("run", {"command": "date"}, f"{step} o'clock"))
    assert story.fold().repeats() == 1


def state_with(**values: Any) -> Transcript:
    state = Transcript()
    for name, value in values.items():
        setattr(state, name, value)
    return state


def test_reminders_come_when_useful_and_once() -> None:
    quiet = state_with(turns=5)
    assert reminders.due(quiet, BOUNDS, Used(0.0)) == {}
    stale = state_with(turns=15, todo=(TodoItem(text="x"),), todo_turn=3)
    assert list(reminders.due(stale, BOUNDS, Used(0.0))) == ["reminder:todo"]
    stale.reminded = {"reminder:todo": 14}
    assert reminders.due(stale, BOUNDS, Used(0.0)) == {}
    done = state_with(turns=15, todo=(TodoItem(text="x", status="done"),))
    assert reminders.due(done, BOUNDS, Used(0.0)) == {}
    near = state_with(turns=80, todo=(TodoItem(text="x"),), todo_turn=79)
    assert list(reminders.due(near, BOUNDS, Used(850.0))) == ["reminder:turns", "reminder:wall"]
    near.reminded = {"reminder:turns": 80, "reminder:wall": 80}
    assert reminders.due(near, BOUNDS, Used(850.0)) == {}


@pytest.mark.parametrize(
    ("values", "used", "limit"),
    [
        ({"turns": 99}, Used(999.0), None),
        ({"turns": 100}, Used(0.0), "turns"),
        ({}, Used(1000.0), "wall"),
        ({"usage": Usage(cache_read=9_000_000, input=999_999)}, Used(0.0), None),
        ({"usage": Usage(cache_write=500_000, input=400_000, output=100_000)}, Used(0.0), "tokens"),
    ],
)
def test_bounds(values: dict[str, Any], used: Used, limit: str | None) -> None:
    found = reached(BOUNDS, state_with(**values), used)
    assert (found.limit if found else None) == limit


def test_a_sub_agents_money_is_its_parents() -> None:
    bounds = Bounds(turns=100, wall=1000.0, tokens=1_000_000, nusd=1_000)
    assert reached(bounds, state_with(cost_nusd=600), Used(0.0, 399)) is None
    found = reached(bounds, state_with(cost_nusd=600), Used(0.0, 400))
    assert found is not None
    assert found.limit == "usd"


T, A, C, L = FailureClass.TRANSIENT, FailureClass.AUTH, FailureClass.CONTEXT, FailureClass.TRUNCATED


@pytest.mark.parametrize(
    ("errors", "others", "do"),
    [
        ([("m", T)], 0, "again"),
        ([("m", T)] * 4, 1, "again"),
        ([("m", T)] * 5, 1, "other"),
        ([("m", T)] * 5, 0, "give up"),
        ([("m", T)] * 5 + [("n", T)], 0, "again"),
        ([("m", A)], 1, "give up"),
        ([("m", C)], 1, "give up"),
        ([("m", L)] * 2, 0, "again"),
        ([("m", L)] * 3, 1, "other"),
        ([("m", FailureClass.REFUSED)], 1, "other"),
        ([("m", FailureClass.QUOTA)], 1, "give up"),
        ([("m", FailureClass.CONFIGURATION)], 1, "other"),
        ([("m", FailureClass.CONFIGURATION)], 0, "give up"),
        ([("m", T), ("m", L), ("m", T)], 0, "again"),
    ],
)
def test_what_follows_a_failure(errors: list[tuple[str, FailureClass]], others: int, do: str) -> None:
    assert after(errors, others).do == do
    assert after(errors, others, retry_after=5.0).seconds >= (5.0 if do == "again" else 0.0)


@pytest.mark.parametrize(("tries", "renewed", "do"), [(1, True, "again"), (1, False, "give up"), (2, True, "give up")])
def test_a_refused_key_is_tried_again_once_and_only_as_another_one(tries: int, renewed: bool, do: str) -> None:
    assert after([("m", A)] * tries, 1, renewed=renewed).do == do


@given(
    st.lists(st.tuples(st.sampled_from("mn"), st.sampled_from(list(FailureClass))), min_size=1, max_size=8),
    st.integers(0, 2),
    st.booleans(),
)
def test_what_follows_keeps_to_the_table(errors: list[tuple[str, FailureClass]], others: int, renewed: bool) -> None:
    model, kind = errors[-1]
    found = after(errors, others, renewed=renewed)
    if found.do == "again":
        assert errors.count((model, kind)) <= RECOVERY[kind].retries
        assert (found.seconds > 0) is RECOVERY[kind].backoff
    if found.do == "other":
        assert RECOVERY[kind].failover
        assert others
    if RECOVERY[kind].stops_run and not RECOVERY[kind].failover:
        assert found.do == ("again" if kind is A and renewed and errors.count((model, A)) == 1 else "give up")
