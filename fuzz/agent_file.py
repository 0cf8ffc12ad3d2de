"""Agent files: YAML front matter and a prompt, ours and those written for Claude Code.

Rules
- Declared: BadConfiguration. Any other exception is a bug, and so is more than a second or 256 MiB for one file.
- An agent that was read can be stored and read back as the same agent.
- A roster takes any file of Claude Code's: one that cannot be read is a warning, never an error.
"""

from collections.abc import Sequence

from quarterdeck.agents.roster import build_roster, parse_agent, parse_claude_agent
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration

INSTRUMENTED = ("quarterdeck.agents", "quarterdeck.kernel")
WORDS = (
    *("---\n", "name:", "description:", "tools:", "model:", "harness:", "command:", "tier:", "owns:", "delegates_to:"),
    *("escalates_to:", "limits:", "expects:", "turns:", "wall:", "usd:", "tokens:", "context:", "native", "command"),
    *(
        "Read, Bash(git:*)",
        "opus",
        "claude-",
        "openai:x",
        "review",
        "10m",
        "2001-01-01",
        "99999999999999999999",
        ".inf",
    ),
    *("0x", "0o7", "1:30", "&a", "*a", "!!", "? ", "<<: ", "\\ud800", "\ufeff", "\r\n"),
)


def one(data: bytes) -> None:
    """Read it as either kind of file."""
    text = data.decode("utf-8", "replace")
    try:
        _stored(parse_agent(text, ".quarterdeck/agents/some.md"))
    except BadConfiguration as error:
        str(error).encode()
    try:
        agent, _ = parse_claude_agent(text, ".claude/agents/some.md")
        _stored(agent)
    except BadConfiguration as error:
        str(error).encode()
        assert not build_roster({}, {".claude/agents/some.md": text}, {}).agents


def _stored(agent: Agent) -> None:
    assert Agent.model_validate_json(agent.model_dump_json()) == agent


def seeds() -> Sequence[bytes]:
    """Files of each harness, of Claude Code, and broken ones."""
    found = [
        "---\nname: implementer\ndescription: Does it\ntools: [read, edit]\ntier: hands\nowns: ['src/**']\n"
        "delegates_to: [scout]\nescalates_to: human\nlimits: {turns: 40, wall: 10m, usd: 0.5, tokens: 9}\n"
        "expects: submission\n---\nYou implement.\n",
        "---\nname: fixer\nharness: command\ncommand: [sh, -c, 'echo hi']\n---\n",
        "---\ncommand: sh -c 'a b'\nlimits:\n  wall: 30\n---\n",
        "---\nname: reviewer\ndescription: Use this: when a colon is there\ntools: Read, Grep, Bash(git:*), mcp__x\n"
        "model: opus\ncolor: red\n---\nBody\n",
        "---\nname: x\nmodel: openai:gpt\nexpects: review\n---\n",
        "---\ndescription: 2001-01-01\ntools: '*'\nlimits: {wall: 1h30m}\n---\n",
        "---\na: &a [1]\nb: *a\n---\n",
        "---\n" + "a: {" * 12 + "\n---\n",
        "---\n---\n",
    ]
    return [text.encode() for text in found]
