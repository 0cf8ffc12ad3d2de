"""The scripted model: the same request gets the same answer, in the words of the client's tools."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.failures import BadInput
from quarterdeck.models.scripted import actions, answer, heard
from quarterdeck.models.scripted.cache import PrefixCache
from quarterdeck.models.scripted.heard import Format, Offered
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act, choose, load


def tool(name: str, *required: str, **types: Any) -> Offered:
    properties = {key: {"type": value} if isinstance(value, str) else value for key, value in types.items()}
    return Offered(name, {"type": "object", "properties": properties, "required": list(required)})


# --- steps ------------------------------------------------------------------------------------------------

REMINDER = "<reminder>\nlook at your list\n</reminder>"


def anthropic(steps: list[int], nudged: bool = False, reminded: bool = False) -> dict[str, Any]:
    """A conversation of so many steps; each number says how many tools were called at once."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Do the task."}]
    for step, count in enumerate(steps):
        ids = [f"t{step}_{n}" for n in range(count)]
        uses = [{"type": "tool_use", "id": name, "name": "run", "input": {}} for name in ids]
        results: list[dict[str, Any]] = [{"type": "tool_result", "tool_use_id": name, "content": "ok"} for name in ids]
        if reminded:
            results.append({"type": "text", "text": "Two turns are left."})
        messages += [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    if nudged:
        messages.append({"role": "user", "content": REMINDER})
    return {"model": "m", "max_tokens": 10, "messages": messages, "stream": True}


def chat(steps: list[int], nudged: bool = False, reminded: bool = False) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Do the task."}]
    for step, count in enumerate(steps):
        ids = [f"t{step}_{n}" for n in range(count)]
        called = [{"id": name, "type": "function", "function": {"name": "run", "arguments": "{}"}} for name in ids]
        messages.append({"role": "assistant", "content": None, "tool_calls": called})
        messages += [{"role": "tool", "tool_call_id": name, "content": "ok"} for name in ids]
        if reminded:
            messages.append({"role": "user", "content": "Two turns are left."})
    if nudged:
        messages.append({"role": "user", "content": REMINDER})
    return {"model": "m", "messages": messages, "stream": True}


def responses(steps: list[int], nudged: bool = False, reminded: bool = False) -> dict[str, Any]:
    items: list[dict[str, Any]] = [{"role": "user", "content": "Do the task."}]
    for step, count in enumerate(steps):
        ids = [f"t{step}_{n}" for n in range(count)]
        items.append({"role": "assistant", "content": "I go on."})
        items += [{"type": "function_call", "call_id": name, "name": "run", "arguments": "{}"} for name in ids]
        items += [{"type": "function_call_output", "call_id": name, "output": "ok"} for name in ids]
        if reminded:
            items.append({"role": "user", "content": "Two turns are left."})
    if nudged:
        items.append({"role": "user", "content": REMINDER})
    return {"model": "m", "input": items, "stream": True}


WIRES = {Format.MESSAGES: anthropic, Format.CHAT: chat, Format.RESPONSES: responses}
STEPS = st.lists(st.integers(1, 3), max_size=6)


@given(st.sampled_from(list(WIRES)), STEPS, st.booleans(), st.booleans())
def test_the_step_is_the_number_of_tool_turns_since_the_prompt(
    wire: Format, steps: list[int], nudged: bool, reminded: bool
) -> None:
    request = answer.hear(wire, WIRES[wire](steps, nudged, reminded))
    assert heard.step(request) == len(steps)
    assert heard.prompt(request) == "Do the task."


@given(st.sampled_from(list(WIRES)), st.lists(STEPS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_replays_in_any_order_get_the_same_answers(wire: Format, asked: list[list[int]], random: Any) -> None:
    turns = tuple(Turn(text=f"turn {n}", actions=(act("run", command=str(n)),)) for n in range(4))
    scenario = Scenario(rules=(Rule(turns=turns),))
    request = {tuple(steps): WIRES[wire](steps) for steps in asked}
    offered = (tool("run", command="string"),)

    def reply(steps: tuple[int, ...]) -> bytes:
        listened = answer.hear(wire, request[steps])
        chosen = choose(scenario, listened)
        calls = actions.calls(chosen.turn.actions, replace(listened, tools=offered), "x")
        assert chosen.step == len(steps)
        return repr((chosen.turn.text, calls, heard.answer_id(listened))).encode()

    first = {steps: reply(steps) for steps in request}
    again = list(request) * 2
    random.shuffle(again)
    assert all(reply(steps) == first[steps] for steps in again)


def test_a_new_prompt_starts_the_script_again() -> None:
    body = anthropic([1, 1])
    body["messages"] += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "And now this."}]
    request = answer.hear(Format.MESSAGES, body)
    assert heard.step(request) == 0
    assert heard.prompt(request) == "And now this."
    assert heard.first_prompt(request) == "Do the task."


def test_the_first_rule_that_fits_decides() -> None:
    rules = (
        Rule(name="other", match=Match(system="reviewer")),
        Rule(name="this", match=Match(first="task", model="^m$"), turns=(Turn(text="a"), Turn(text="b")), repeat=True),
        Rule(name="late"),
    )
    scenario = Scenario(rules=rules, done="over")
    texts = [choose(scenario, answer.hear(Format.CHAT, chat([1] * steps))).turn.text for steps in range(4)]
    assert texts == ["a", "b", "b", "b"]
    assert choose(Scenario(done="over"), answer.hear(Format.CHAT, chat([]))).turn.text == "over"


# --- actions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "action", "expected"),
    [
        (
            tool("Write", "file_path", file_path="string", content="string"),
            act("write", path="a", content="b"),
            ("Write", {"file_path": "a", "content": "b"}),
        ),
        (
            tool("write", filePath="string", content="string"),
            act("write", path="a", content="b"),
            ("write", {"filePath": "a", "content": "b"}),
        ),
        (
            tool("write_file", file_path="string", content="string"),
            act("write", path="a", content="b"),
            ("write_file", {"file_path": "a", "content": "b"}),
        ),
        (
            tool("shell", command={"type": "array", "items": {"type": "string"}}),
            act("run", command="ls"),
            ("shell", {"command": ["bash", "-lc", "ls"]}),
        ),
        (
            tool("Bash", "command", "description", "timeout", command="string", description="string", timeout="number"),
            act("run", command="ls"),
            ("Bash", {"command": "ls", "description": "scripted", "timeout": 1}),
        ),
        (
            tool("mcp__deck__submit", summary="string"),
            act("submit", summary="s"),
            ("mcp__deck__submit", {"summary": "s"}),
        ),
        (tool("deck_submit", summary="string"), act("submit", summary="s"), ("deck_submit", {"summary": "s"})),
        (
            tool("Edit", file_path="string", old_string="string", new_string="string"),
            act("edit", path="p", old="x", new="y"),
            ("Edit", {"file_path": "p", "old_string": "x", "new_string": "y"}),
        ),
        (
            tool("shell", command="string"),
            act("write", path="d/a b", content="it's"),
            ("shell", {"command": "mkdir -p \"$(dirname 'd/a b')\" && printf %s 'it'\"'\"'s' > 'd/a b'"}),
        ),
        (tool("Grep", pattern="string"), act("tool", name="grep", args={"x": 1}), ("Grep", {"x": 1})),
        (tool("Grep", pattern="string"), act("tool", name="odd", args={}), ("odd", {})),
    ],
)
def test_actions_speak_the_clients_tools(offered: Offered, action: Any, expected: tuple[str, dict[str, Any]]) -> None:
    found, arguments = actions.translate(action, (tool("other", x="string"), offered))
    assert (found.name, arguments) == expected


def test_lists_are_shaped_as_the_client_shapes_them() -> None:
    item = {
        "type": "object",
        "properties": {
            "content": {"type": "string"},
            "status": {"enum": ["pending", "in_progress", "completed"]},
            "activeForm": {"type": "string"},
        },
        "required": ["content", "status", "activeForm"],
    }
    offered = tool("TodoWrite", "todos", todos={"type": "array", "items": item})
    action = act("todo", items=[{"text": "one", "status": "doing"}, "two"])
    assert actions.translate(action, (offered,))[1] == {
        "todos": [
            {"content": "one", "status": "in_progress", "activeForm": "scripted"},
            {"content": "two", "status": "pending", "activeForm": "scripted"},
        ]
    }


def test_an_action_without_a_tool_is_an_error() -> None:
    with pytest.raises(BadInput, match="submit"):
        actions.translate(act("submit", summary="s"), (tool("run", command="string"),))


# --- files, cache, process --------------------------------------------------------------------------------

FILE = """
name: demo
rules:
  - match: {first: hello}
    turns:
      - text: hi
        actions: [{run: ls}, {write: {path: a, content: b}}, {todo: [one]}, {tool: {name: x, args: {}}}]
        faults: [{kind: cut, times: 2}]
latency: {per_token: 0.001}
"""


def test_a_scenario_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(FILE)
    scenario = load(path)
    assert [action.do for action in scenario.rules[0].turns[0].actions] == ["run", "write", "todo", "tool"]
    assert scenario.rules[0].turns[0].actions[0].args == {"command": "ls"}
    again = tmp_path / "s.json"
    again.write_text(scenario.model_dump_json())
    assert load(again) == scenario


@pytest.mark.parametrize("text", ["rules: 3", "rules: [{turns: [{actions: [{fly: high}]}]}]", "{", "match: x", "- a"])
def test_a_bad_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(BadInput):
        load(path)


def test_openai_caches_steps_of_128_tokens_from_1024_on() -> None:
    cache = PrefixCache()

    def count(characters: int) -> tuple[int, int]:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * characters}]}
        counted = cache.count(answer.hear(Format.CHAT, body), 4)
        return counted.read, counted.input + counted.read

    assert count(3000)[0] == 0
    read, total = count(3000)
    assert (read, total < 1024) == (0, True)
    count(8000)
    read, total = count(8000)
    assert read % 128 == 0
    assert total - 128 < read <= total
    # The closing quotes of a shorter prompt differ from the longer one's text: the shared prefix alone is read.
    read, total = count(6000)
    assert 1024 <= read <= total - 4
