"""Words of OpenTelemetry's conventions for generative AI that spans and measures share, and values put into them.

Rules
- The version is pinned: https://opentelemetry.io/schemas/1.41.0, the last one that held them before they moved to a
  repository of their own. What the conventions have no word for begins with `quarterdeck.`.
"""

from typing import Final

from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Usage
from quarterdeck.telemetry.port import Scalar

CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.41.0"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
AGENT: Final = "gen_ai.agent.name"
TOOL: Final = "gen_ai.tool.name"
ERROR: Final = "error.type"
TOKEN: Final = "gen_ai.token.type"
CONVERSATION: Final = "gen_ai.conversation.id"
WORKFLOW: Final = "gen_ai.workflow.name"
CALL: Final = "gen_ai.tool.call.id"
TOOL_TYPE: Final = "gen_ai.tool.type"
ARGUMENTS: Final = "gen_ai.tool.call.arguments"
RESULT: Final = "gen_ai.tool.call.result"
INSTRUCTIONS: Final = "gen_ai.system_instructions"
SAID: Final = "gen_ai.output.messages"

RUN: Final = "quarterdeck.run"
TASK: Final = "quarterdeck.task"
ATTEMPT: Final = "quarterdeck.attempt"

_PROVIDERS: Final = {"google": "gcp.gemini", "chat": "openai"}
"""Prefixes of our models whose provider the conventions call otherwise."""


def model_labels(model: str) -> dict[str, str]:
    """A model as the conventions name it; `model` is `provider:name`."""
    provider, _, name = model.partition(":")
    return {OPERATION: "chat", PROVIDER: _PROVIDERS.get(provider, provider), MODEL: name or provider}


def node_attributes(run: str, node: e.Node, task: str | None, attempt: str | None) -> dict[str, Scalar]:
    """What a node of the blueprint is about."""
    named: dict[str, Scalar] = {name: value for name, value in ((TASK, task), (ATTEMPT, attempt)) if value}
    return {RUN: run, "quarterdeck.node": node.value, **named}


def usage_attributes(usage: Usage) -> dict[str, Scalar]:
    """Tokens of a call; in the conventions the input counts what was read from and written to a cache too."""
    return {
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
    }
