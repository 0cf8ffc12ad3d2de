"""Everything that is measured, with the words of OpenTelemetry's conventions for generative AI where they have some.

Rules
- Names of ours begin with `quarterdeck.`; the bounds of `gen_ai.` histograms are those that the conventions give.
"""

from typing import Final

from quarterdeck.telemetry.port import Instrument
from quarterdeck.telemetry.words import AGENT, ERROR, MODEL, OPERATION, PROVIDER, TOKEN, TOOL

_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_LONG: Final = (1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10800.0, 43200.0, 86400.0)
_TOKENS: Final = tuple(float(4**power) for power in range(14))

TOKENS: Final = Instrument(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Tokens of model calls; input counts what was read from and written to a cache too.",
    (OPERATION, PROVIDER, MODEL, TOKEN),
    _TOKENS,
)
CALL_SECONDS: Final = Instrument(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "Time of model calls.",
    (OPERATION, PROVIDER, MODEL, ERROR),
    _SECONDS,
)
COST: Final = Instrument("quarterdeck.cost", "counter", "USD", "Money spent on model calls.", (PROVIDER, MODEL, AGENT))
TOOL_SECONDS: Final = Instrument(
    "quarterdeck.tool.duration", "histogram", "s", "Time of tool calls.", (TOOL, "ok"), _SECONDS
)
DECISIONS: Final = Instrument(
    "quarterdeck.action.decisions", "counter", "{action}", "Decisions of the action gate.", ("decision",)
)
NODE_SECONDS: Final = Instrument(
    "quarterdeck.node.duration", "histogram", "s", "Time of blueprint nodes.", ("node", "outcome"), _LONG
)
CHECK_SECONDS: Final = Instrument(
    "quarterdeck.gate.check.duration", "histogram", "s", "Time of checks of merged trees.", ("result",), _LONG
)
RUN_SECONDS: Final = Instrument(
    "quarterdeck.run.duration", "histogram", "s", "Time of runs from their order to their end.", ("status",), _LONG
)
TASKS: Final = Instrument("quarterdeck.tasks", "counter", "{task}", "Tasks that ended.", ("status",))
ATTEMPTS: Final = Instrument("quarterdeck.attempts", "counter", "{attempt}", "Attempts that began.", (AGENT, "harness"))
APPROVALS: Final = Instrument(
    "quarterdeck.approvals",
    "counter",
    "{approval}",
    "What waited for a person's word: asked, and decided.",
    ("verdict",),
)
LANDED: Final = Instrument("quarterdeck.changes", "counter", "{change}", "Changes that left the gate.", ("outcome",))
FLAKES: Final = Instrument("quarterdeck.flakes", "counter", "{check}", "Checks that failed and then passed.")
INCIDENTS: Final = Instrument(
    "quarterdeck.incidents", "counter", "{incident}", "What only a person can put right.", ("failure",)
)
LIMITS: Final = Instrument("quarterdeck.limits", "counter", "{attempt}", "Bounds that stopped an agent.", ("limit",))
EVENTS: Final = Instrument("quarterdeck.events", "counter", "{event}", "Records of the journal.", ("kind",))
RUNS_OPEN: Final = Instrument("quarterdeck.runs.open", "level", "{run}", "Runs that have not ended.")
AGENTS_OPEN: Final = Instrument("quarterdeck.agents.active", "level", "{agent}", "Agents at work.", ("harness",))
DROPPED: Final = Instrument(
    "quarterdeck.telemetry.dropped", "counter", "{span}", "Spans that the collector did not take in time."
)

ALL: Final = (
    *(TOKENS, CALL_SECONDS, COST, TOOL_SECONDS, DECISIONS, NODE_SECONDS, CHECK_SECONDS, RUN_SECONDS, TASKS, ATTEMPTS),
    *(APPROVALS, LANDED, FLAKES, INCIDENTS, LIMITS, EVENTS, RUNS_OPEN, AGENTS_OPEN, DROPPED),
)
