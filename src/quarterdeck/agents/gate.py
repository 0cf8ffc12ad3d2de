"""The action gate: the only way to a tool.

Rules
- Policy decides, the decision is recorded, then the tool runs, then its outcome is recorded. Nothing else holds a
  reference to a tool.
- An error in deciding is a denial. What a person has to approve waits for that (`agents.word`). What is denied becomes
  a result that says why.
- Arguments are checked before the policy sees them; a call that cannot be made is recorded as denied by that check.
- After a crash an intent without outcome goes by the tool's own rule: run it again, find out whether it happened, or
  tell the agent that nobody knows. One that is run again is decided again: the policy may be another one by now. A call
  with an outcome is never made again.
- A tool that failed itself and declares a fallback is replaced by it once, through the same policy and the same record.
- A tool that stands for another one is never called itself where that other one exists: the other one is decided on,
  checked, performed and recorded, before a crash and after it.
- What a desk tool changes is recorded in the same commit as its outcome, and so is what the workspace holds then, where
  another worker may have to go on with it.
"""

import asyncio
import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from quarterdeck.agents.attempt_log import Recording
from quarterdeck.agents.desk import AgentDesk
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.transcript import Owed
from quarterdeck.agents.word import Asking, Stopwatch, Word
from quarterdeck.govern.policy import AskFirst, decide_safely
from quarterdeck.govern.port import Action, Decision
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.failures import FailureClass, ModelFailed, QuarterdeckError, StaleClaim
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.port import GoesBy, Surroundings, Tool, ToolResult, fallback_of, meant_by
from quarterdeck.tools.schema import problems

SLACK: Final = 60.0
"""Seconds that a tool gets beyond the deadline it was given, before it is given up."""

COMMAND_TIMEOUT: Final = 600.0
"""Longest a command may run, seconds, where the attempt has that much time left."""

_UNMAKEABLE: Final = (
    "unknown-tool",
    "bad-arguments",
    "malformed-arguments",
    "duplicate-id",
    "work-ended",
    "message-first",
)
"""Why a call cannot be made, whatever policy says."""

_PASSES: Final = (FailureClass.INFRASTRUCTURE,)
"""What is wrong with the machine is not the agent's to solve."""


@dataclass(frozen=True, slots=True)
class _Called:
    """What became of a call."""

    result: ToolResult
    seconds: float = 0.0
    said_so: bool = True
    """The tool itself gave the result; otherwise it raised or was given up."""


def canonical(arguments: Mapping[str, Any]) -> bytes:
    """The arguments as they are stored and hashed."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()


def action_hash(tool: str, arguments: Mapping[str, Any]) -> str:
    """Names exactly this action: what an approval is bound to."""
    return ids.digest(tool.encode() + b"\0" + canonical(arguments))


class ActionGate:
    """The tools of one attempt, behind the policy and the journal."""

    def __init__(
        self,
        assignment: Assignment,
        ports: Ports,
        log: Recording,
        tools: Mapping[str, Tool],
        desk: AgentDesk,
        hidden: Mapping[str, Tool] | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        """`tools`: those in front of the agent; `hidden`: others that it may call; `watch`: how long people are waited
        for, None = nobody is."""
        self._assignment = assignment
        self._ports = ports
        self._log = log
        self._shown = tools
        self._tools = {**(hidden or {}), **tools}
        self._desk = desk
        self._policy = AskFirst(ports.policy, assignment.config.deck.approve.tools)
        approvals = ports.approvals
        self._asking = Asking(assignment, approvals, ports.clock, watch) if approvals is not None and watch else None

    async def perform(self, owed: Owed, timeout: float) -> ToolResult:
        """Make the call, or find out what became of it; its outcome is on record afterwards. `timeout` in seconds.

        Raises SandboxFailed, StoreUnavailable, StaleClaim.
        """
        owed = self._meant(owed)
        if owed.intent is not None:
            return await self._recovered(owed, owed.intent, timeout)
        word = await self._word(owed)
        intended = await self._intended(owed, word)
        if word.decision.verdict != "allow":
            return await self._done(owed, self._refused(word.decision), 0.0, intended)
        await self._log.append(intended)
        probes.hit("tool.intended")
        return await self._performed(owed, timeout)

    def _meant(self, owed: Owed) -> Owed:
        """The call that is really asked for."""
        found = meant_by(self._tools.get(owed.call.name), owed.call.arguments) if owed.call.flaw is None else None
        if found is None or found[0] not in self._tools:
            return owed
        name, arguments = found
        return replace(owed, call=owed.call.model_copy(update={"name": name, "arguments": dict(arguments)}))

    async def _performed(self, owed: Owed, timeout: float) -> ToolResult:
        """Make a call that is allowed and on record, or what its tool declares for when it fails."""
        called = await self._called(owed, timeout)
        other = fallback_of(self._tools[owed.call.name], called.result.failure, certain=called.said_so)
        if other is None or other not in self._tools or called.result.failure is None:
            return await self._done(owed, called.result, called.seconds)
        reason = called.result.text[:2000]
        fell_back = e.ToolFellBack(
            step=self._log.state.step,
            call=owed.id,
            tool=owed.call.name,
            to=other,
            failure=called.result.failure,
            reason=reason,
        )
        stand_in = _as(owed, other)
        word = await self._word(stand_in)
        await self._log.append(fell_back, await self._intended(stand_in, word))
        if word.decision.verdict != "allow":
            text = f"{called.result.text}\nIts fallback `{other}`: {self._refused(word.decision).text}"
            return await self._done(owed, replace(called.result, text=text), called.seconds)
        probes.hit("tool.intended")
        second = await self._called(stand_in, timeout)
        text = f"[`{owed.call.name}` failed, `{other}` was used instead]\n{second.result.text}"
        result = replace(second.result, text=text, flags=(*second.result.flags, "fallback"))
        return await self._done(stand_in, result, called.seconds + second.seconds)

    def _decide(self, owed: Owed) -> Decision:
        """The policy's answer; a call that cannot be made does not reach it."""
        call = owed.call
        if call.flaw is not None:
            return Decision("deny", (call.flaw.rule,), call.flaw.why)
        tool = self._tools.get(call.name)
        if tool is None:
            return Decision(
                "deny", ("unknown-tool",), f"There is no tool `{call.name}`. Your tools: {', '.join(self._shown)}."
            )
        schema = tool.spec.parameters
        if found := problems(schema, call.arguments):
            listed = "\n".join(f"- {problem}" for problem in found)
            examples = schema.get("examples") or ()
            if call.name not in self._shown:
                listed += f"\nIts schema: {json.dumps(schema, ensure_ascii=False)}"
            example = f"\nAn example: {json.dumps(examples[0], ensure_ascii=False)}" if examples else ""
            return Decision("deny", ("bad-arguments",), f"The arguments are not right:\n{listed}{example}")
        return decide_safely(self._policy, self._action(owed, tool))

    def _action(self, owed: Owed, tool: Tool) -> Action:
        return Action(
            run=self._assignment.run,
            task=self._assignment.task_id,
            attempt=self._assignment.attempt,
            agent=self._assignment.agent.name,
            tool=owed.call.name,
            arguments=owed.call.arguments,
            effect=tool.effect,
            also=tool.also if isinstance(tool, GoesBy) else (),
        )

    async def _word(self, owed: Owed) -> Word:
        """The policy's answer, and a person's where it has to be asked for."""
        decision = self._decide(owed)
        if decision.verdict != "ask" or self._asking is None:
            return Word(decision)
        call = owed.call
        return await self._asking.word(
            self._action(owed, self._tools[call.name]),
            decision,
            action_hash(call.name, call.arguments),
            lambda _: owed.id,
            self._log.append,
            self._log.put,
        )

    async def _intended(self, owed: Owed, word: Word) -> e.ToolIntended:
        call, decision = owed.call, word.decision
        return e.ToolIntended(
            step=self._log.state.step,
            call=owed.id,
            tool=call.name[:200],
            arguments_blob=await self._log.put(canonical(call.arguments)),
            arguments_hash=action_hash(call.name, call.arguments),
            decision=decision.verdict,
            rules=decision.rules,
            approver=word.by,
            approval=word.approval,
        )

    async def _called(self, owed: Owed, timeout: float) -> _Called:
        """Call the tool."""
        tool = self._tools[owed.call.name]
        if tool.effect != "control":  # a sub-agent may take all the time that is left
            timeout = min(timeout, COMMAND_TIMEOUT)
        began = self._ports.clock.monotonic()
        said_so = False
        try:
            async with asyncio.timeout(timeout + SLACK):
                result = await tool.call(owed.call.arguments, self._where(owed, timeout))
            said_so = True
        except TimeoutError:
            text = "The call was given up: it did not end in time."
            result = ToolResult(text, ok=False, flags=("timeout",), failure=FailureClass.TOOL)
        except StaleClaim:
            raise
        except QuarterdeckError as error:
            kind = error.kind if isinstance(error, ModelFailed) else error.failure
            if kind in _PASSES:
                raise
            result = ToolResult(f"The call failed: {error}", ok=False, failure=kind)
        except Exception as error:  # noqa: BLE001 - recorded with its trace; the agent's other work goes on
            trace = "".join(traceback.format_exception(error))
            result = ToolResult(f"The tool itself is broken: {error}\n{trace[-4000:]}", ok=False, flags=("bug",))
        probes.hit("tool.effected")
        return _Called(result, max(0.0, self._ports.clock.monotonic() - began), said_so)

    async def _recovered(self, owed: Owed, intent: e.ToolIntended, timeout: float) -> ToolResult:
        """Settle a call whose outcome was lost, by the rule of the tool that was last intended for it."""
        again: tuple[str, ...] = ("rerun",)
        if intent.tool != owed.call.name[:200]:
            owed, again = _as(owed, intent.tool), ("fallback", "rerun")
        tool = self._tools.get(owed.call.name)
        unknown = ToolResult(
            "The outcome of this call is unknown: the process was interrupted while it ran. It may have taken effect, "
            "wholly, in part or not at all. Look at the state of things before you do it again.",
            ok=False,
            flags=("unknown-outcome",),
        )
        if tool is None or tool.replay == "ask":
            return await self._done(owed, unknown, 0.0)
        if tool.replay == "probe":
            happened = await tool.happened(owed.call.arguments, self._where(owed, timeout))
            if happened is None:
                return await self._done(owed, unknown, 0.0)
            if happened:
                found = ToolResult("Done. (Found done after an interruption.)", flags=("probed",))
                return await self._done(owed, found, 0.0)
        word = await self._word(owed)
        if word.decision.verdict != "allow":
            return await self._done(owed, self._refused(word.decision), 0.0)
        called = await self._called(owed, timeout)
        result = replace(called.result, flags=(*called.result.flags, *again))
        return await self._done(owed, result, called.seconds)

    def _where(self, owed: Owed, timeout: float) -> Surroundings:
        return Surroundings(sandbox=self._assignment.sandbox, desk=self._desk, call=owed.id, timeout=timeout)

    async def _done(
        self, owed: Owed, result: ToolResult, seconds: float, intended: e.ToolIntended | None = None
    ) -> ToolResult:
        text, cut = bounded(result.text)
        flags = [*result.flags]
        if cut and "truncated" not in flags:
            flags.append("truncated")
        if result.ends:
            flags.append("ends")
        done = e.ToolDone(
            step=self._log.state.step,
            call=owed.id,
            tool=owed.call.name[:200],
            ok=result.ok,
            result_blob=await self._log.put(text.encode()),
            flags=tuple(flags),
            seconds=seconds,
        )
        before = () if intended is None else (intended,)
        if result.edited is not None:
            await self._desk.edited(result.edited)
        changes = await self._desk.take()
        kept = await self._assignment.keep() if intended is None and self._changes_files(owed) else ()
        self._log.append_soon(*before, *changes, *kept, done)
        return result

    def _changes_files(self, owed: Owed) -> bool:
        tool = self._tools.get(owed.call.name)
        return tool is not None and tool.effect in ("write", "execute")

    def _refused(self, decision: Decision) -> ToolResult:
        if decision.rules and decision.rules[0] in _UNMAKEABLE:
            return ToolResult(decision.reason, ok=False, flags=(decision.rules[0],))
        rules = ", ".join(decision.rules) or "none"
        if decision.verdict == "ask":
            why = ", or use `ask` to say why it is needed" if "ask" in self._tools else ""
            return ToolResult(
                f"Not done: a person would have to approve this ({decision.reason or rules}). Find another way{why}.",
                ok=False,
                flags=("needs-approval",),
            )
        return ToolResult(f"Denied: {decision.reason or rules}. Find another way.", ok=False, flags=("denied",))


def _as(owed: Owed, tool: str) -> Owed:
    """The same call of another tool."""
    return replace(owed, call=owed.call.model_copy(update={"name": tool}))
