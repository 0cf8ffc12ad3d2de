"""Agent files become agents, or an error that says where and why."""

from typing import Any

import pytest

from quarterdeck.agents.roster import build_roster, parse_agent, parse_claude_agent, shipped_agents
from quarterdeck.kernel.entities import Harness
from quarterdeck.kernel.failures import BadConfiguration


def agent_file(head: str, prompt: str = "Do it.") -> str:
    return f"---\n{head}\n---\n{prompt}\n"


def test_the_shipped_agents_form_a_roster() -> None:
    roster = build_roster(shipped_agents(), {}, {})
    assert {"planner", "implementer", "reviewer"} <= set(roster.agents)
    assert roster.warnings == ()
    assert roster.agents["planner"].expects == "plan"
    assert roster.agents["reviewer"].expects == "review"
    tools = roster.agents["reviewer"].tools
    assert tools is not None
    assert "write" not in tools
    assert "submit" in tools
    assert all(agent.prompt for agent in roster.agents.values())


def test_every_key_of_ours() -> None:
    text = agent_file(
        "name: builder\ndescription: Builds.\ntools: [read, run]\nmodel: openai:gpt-x\ntier: brain\nowns: ['src/**']\n"
        "delegates_to: scout\nescalates_to: human\nexpects: answer\n"
        "limits: {turns: 9, wall: 10m, usd: 0.5, context: 32000}"
    )
    agent = parse_agent(text, "builder.md")
    assert agent.name == "builder"
    assert agent.tools == ("read", "run", "todo", "note", "ask", "submit", "delegate")
    assert agent.model == "openai:gpt-x"
    assert agent.limits.wall == 600.0
    assert agent.limits.turns == 9
    assert agent.delegates_to == ("scout",)
    assert agent.prompt == "Do it."


def test_a_command_agent_needs_no_harness_key() -> None:
    agent = parse_agent(agent_file("name: tool\ncommand: [python3, x.py, 1]"), "tool.md")
    assert agent.harness is Harness.COMMAND
    assert agent.command == ("python3", "x.py", "1")


def test_the_name_defaults_to_the_file() -> None:
    assert parse_agent(agent_file("description: x"), ".quarterdeck/agents/scout.md").name == "scout"


def test_a_file_of_claude_code_means_the_same() -> None:
    text = (
        "---\nname: code-reviewer\ndescription: Use this when: code changed.\n"
        "tools: Read, Grep, Bash(git:*), WebFetch\nmodel: opus\ncolor: red\n---\nReview it."
    )
    agent, warnings = parse_claude_agent(text, ".claude/agents/code-reviewer.md")
    assert agent.tools == ("read", "search", "run", "todo", "note", "ask", "submit")
    assert agent.tier == "brain"
    assert agent.description == "Use this when: code changed."
    assert any("WebFetch" in warning for warning in warnings)
    assert any("color" in warning for warning in warnings)


def test_precedence_and_broken_foreign_files() -> None:
    ours = {"deck.md": agent_file("name: implementer\ndescription: ours")}
    claude = {
        "claude.md": agent_file("name: implementer\ndescription: theirs"),
        "broken.md": "no front matter",
        "helper.md": agent_file("name: helper\ndescription: theirs"),
    }
    roster = build_roster(shipped_agents(), claude, ours)
    assert roster.agents["implementer"].description == "ours"
    assert roster.agents["helper"].description == "theirs"
    assert any("broken.md" in warning for warning in roster.warnings)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("name: x\nnmae: y", "unknown key `nmae`"),
        ("name: x\ntools: [fly]", "no tool `fly`"),
        ("name: x\nexpects: poem", "`poem` is no handoff"),
        ("name: x\nharness: command", "needs `command"),
        ("name: x\nharness: native\ncommand: [a]", "has no meaning with"),
        ("name: x\nharness: magic", "harness"),
        ("name: x\nmodel: best", "`best` is neither"),
        ("name: x\nlimits: {turns: 0}", "limits.turns"),
        ("name: x\nlimits: {wall: soon}", "limits.wall"),
        ("name: x\nlimits: {fuel: 1}", "limits.fuel"),
        ("name: x\nlimits: 5", "limits: must be a mapping"),
        ("name: x\nname: y", "line 3: the key `name` stands twice"),
        ("name: [x]", "name: must be text"),
        ("name: ../x", "name:"),
        ("name: Human", "`human` stands for a person"),
        ("name: x\nowns: {a: 1}", "owns: must be a list"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("name: !!python/object:os.system x", "the tag"),
        ("name: " + "[" * 12 + "]" * 12, "nested deeper"),
        ("- a\n- b", "must be a mapping"),
        ("name: 'x", "not valid YAML"),
        ("name: x\ndescription: 2026-99-99", "month must be"),
    ],
)
def test_a_bad_file_is_refused_with_place_and_reason(head: str, says: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_agent(agent_file(head), "dir/bad.md")
    assert "dir/bad.md" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "hello", "---\nname: x\n", "---\nname: x\n--- y\nz", "---\n" + "#" * 300_000])
def test_a_file_without_front_matter_is_refused(text: str) -> None:
    with pytest.raises(BadConfiguration):
        parse_agent(text, "bad.md")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.md": "name: a\ndelegates_to: [a]"}, "names itself"),
        ({"a.md": "name: a\ndelegates_to: [ghost]"}, "no agent `ghost`"),
        ({"a.md": "name: a\nescalates_to: ghost"}, "no agent `ghost`"),
        ({"a.md": "name: a\nescalates_to: a"}, "escalates_to: it names itself"),
        ({"a.md": "name: a\ndelegates_to: [b]", "b.md": "name: b\ncommand: [x]"}, "sub-agents run on native only"),
        ({"a.md": "name: a", "b.md": "name: a"}, "also the name of a.md"),
    ],
)
def test_names_must_lead_somewhere(files: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        build_roster({}, {}, {origin: agent_file(head) for origin, head in files.items()})
    assert says in str(caught.value)
