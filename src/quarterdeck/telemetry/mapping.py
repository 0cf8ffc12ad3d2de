"""From the journal to spans and measures: with `gates`, all that knows both vocabularies. No I/O, no clock.

Rules
- A run is a trace. Below it: its tasks, their attempts, the blueprint's nodes, the agents that worked in them, their
  steps, and in those the model calls and tool calls. What happens at the gates hangs there too (`gates`).
- A span is told when it ends. Folding the same records gives the same spans with the same ids, whoever does it: a
  process that takes over folds what came before without telling it, and goes on.
- Names and labels come from small sets. Nothing that anybody said stands in a span: that is named by digest alone.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Usage, to_usd
from quarterdeck.kernel.events.steering import ApprovalAsked, ApprovalDecided
from quarterdeck.telemetry import instruments as m
from quarterdeck.telemetry import words as w
from quarterdeck.telemetry.gates import GateFold
from quarterdeck.telemetry.port import Measure, Scalar, Span, Told
from quarterdeck.telemetry.unfinished import ROOT, Place, Tree

_WRONG: Final = (e.Outcome.FAILED, e.Outcome.CONFLICT, e.Outcome.EXHAUSTED)
_ENDS: Final = {
    e.TaskMerged: "merged",
    e.TaskFailed: "failed",
    e.TaskBlocked: "blocked",
    e.TaskCancelled: "cancelled",
}


class Fold:
    """What is under way, over all runs. Feed it the records in the order of their commits."""

    def __init__(self) -> None:
        self._runs: dict[str, Tree] = {}
        self._agents: dict[str, tuple[str, str]] = {}
        """Attempt to (agent, harness), while it is at work."""
        self._given: dict[str, str] = {}
        """A sub-agent's attempt to the key of the call that it was given in."""
        self._gates = GateFold(self._runs)

    def working(self, attempt: str) -> bool:
        """Whether that attempt, or the one that it is part of, may go on."""
        run, task, number = ids.split_attempt(attempt)
        tree = self._runs.get(run)
        if tree is None:
            return False
        outer = ids.attempt_id(run, task, number)
        return task.startswith("_") or tree.get(f"try {outer}") is not None

    def levels(self) -> tuple[Measure, ...]:
        """How much of what has a level there is now."""
        at_work = Counter(harness for _, harness in self._agents.values())
        agents = (Measure(m.AGENTS_OPEN, count, {"harness": harness}) for harness, count in at_work.items())
        return (Measure(m.RUNS_OPEN, len(self._runs)), *agents)

    def take(self, stream: str, seq: int, at: float, event: e.EventBase) -> Told:
        """What one record comes to."""
        where, _, name = stream.partition("/")
        place = Place(stream, seq, at)
        counted = [Measure(m.EVENTS, 1, {"kind": event.kind})]
        if isinstance(event, ApprovalAsked | ApprovalDecided):
            verdict = event.verdict if isinstance(event, ApprovalDecided) else "asked"
            counted.append(Measure(m.APPROVALS, 1, {"verdict": verdict}))
        match where:
            case "run":
                spans, measures = self._run(name, place, event)
            case "attempt":
                spans, measures = self._attempt(name, place, event)
            case "gate":
                spans, measures = self._gates.take(place, event)
            case _:
                spans, measures = [], []
        return Told(tuple(spans), (*counted, *measures))

    # --- run/… ----------------------------------------------------------------------------------------------

    def _run(self, run: str, place: Place, event: e.EventBase) -> tuple[list[Span], list[Measure]]:
        if isinstance(event, e.RunCreated):
            return self._begin(run, place, event)
        tree = self._runs.get(run)
        if tree is None:
            if not isinstance(event, e.RunResumed):
                return [], []
            tree = self._runs[run] = Tree(run)
            tree.open(ROOT, ROOT, place, "run", {w.RUN: run, "quarterdeck.resumed": True})
            return [], [Measure(m.RUNS_OPEN, 1)]
        at = place.at
        match event:
            case e.TaskDispatched():
                return self._dispatched(run, tree, place, event), []
            case e.NodeStarted(node=node, task=task):
                inside = tree.first(f"try {event.attempt}", f"task {task}")
                attributes = w.node_attributes(run, node, task, event.attempt)
                return tree.open(f"node {task or ''} {node}", inside, place, node.value, attributes), []
            case e.NodeFinished():
                return self._node_finished(tree, place, event)
            case e.TaskMerged() | e.TaskFailed() | e.TaskBlocked() | e.TaskCancelled():
                status = _ENDS[type(event)]
                error = (getattr(event, "failure", None) or "failed") if status == "failed" else ""
                ended = tree.close(f"task {event.task}", at, str(error), {"quarterdeck.status": status})
                return ended, [*self._left(run, event.task), Measure(m.TASKS, 1, {"status": status})]
            case e.RunFinished():
                return self._end(run, tree, at, event)
            case _:
                return [], []

    def _begin(self, run: str, place: Place, event: e.RunCreated) -> tuple[list[Span], list[Measure]]:
        tree = self._runs[run] = Tree(run)
        attributes: dict[str, Scalar] = {
            w.OPERATION: "invoke_workflow",
            w.WORKFLOW: "revert" if event.reverts else "goal",
            w.RUN: run,
            "quarterdeck.target": event.target,
            "quarterdeck.branch": event.into,
            "quarterdeck.budget_usd": to_usd(event.budget_nusd),
            "quarterdeck.user": event.user,
        }
        spans = tree.open(ROOT, "", place, "run", attributes, bodies={"quarterdeck.goal": event.goal_blob})
        return spans, [Measure(m.RUNS_OPEN, 1)]

    def _end(self, run: str, tree: Tree, at: float, event: e.RunFinished) -> tuple[list[Span], list[Measure]]:
        status = event.status
        root = tree.get(ROOT)
        since = root.start if root is not None else at
        error = status.value if status in (e.RunStatus.FAILED, e.RunStatus.PARTIAL) else ""
        spans = tree.close(
            ROOT, at, error, {"quarterdeck.status": status.value, "quarterdeck.exit_code": event.exit_code}
        )
        del self._runs[run]
        seconds = Measure(m.RUN_SECONDS, at - since, {"status": status.value})
        return spans, [*self._left(run), seconds, Measure(m.RUNS_OPEN, -1)]

    def _dispatched(self, run: str, tree: Tree, place: Place, event: e.TaskDispatched) -> list[Span]:
        task, attempt = event.task, event.attempt
        about: dict[str, Scalar] = {w.RUN: run, w.TASK: task}
        held = tree.get(f"task {task}")
        ended: list[Span] = []
        if held is None:
            tree.open(f"task {task}", ROOT, place, "task", about)
        else:
            for key in [key for key in held.holds if key.startswith("try ")]:
                ended += tree.close(key, place.at)
        tried = about | {w.ATTEMPT: attempt, "quarterdeck.number": event.number, w.AGENT: event.agent}
        tree.open(f"try {attempt}", f"task {task}", place, "attempt", tried)
        node = e.Node.IMPLEMENT
        tree.open(
            f"node {task} {node}", f"try {attempt}", place, node.value, w.node_attributes(run, node, task, attempt)
        )
        return ended

    def _node_finished(self, tree: Tree, place: Place, event: e.NodeFinished) -> tuple[list[Span], list[Measure]]:
        key = f"node {event.task or ''} {event.node}"
        branch = tree.get(key)
        if branch is None:
            return [], []
        outcome = event.outcome.value
        error = (event.failure.value if event.failure else outcome) if event.outcome in _WRONG else ""
        spans = tree.close(key, place.at, error, {"quarterdeck.outcome": outcome})
        labels = {"node": event.node.value, "outcome": outcome}
        left = self._left_of(event.attempt) if event.attempt else []
        return spans, [*left, Measure(m.NODE_SECONDS, place.at - branch.start, labels)]

    # --- attempt/… ------------------------------------------------------------------------------------------

    def _attempt(self, attempt: str, place: Place, event: e.EventBase) -> tuple[list[Span], list[Measure]]:
        run, task, _ = ids.split_attempt(attempt)
        tree = self._runs.get(run)
        if tree is None:
            return [], []
        at = place.at
        match event:
            case e.AttemptStarted(harness=harness) if harness is not None:
                return self._started(run, task, attempt, tree, place, event)
            case e.HarnessFinished(ok=ok, failure=failure):
                error = "" if ok else (failure.value if failure else "failed")
                return tree.close(f"agent {attempt}", at, error), self._left_of(attempt)
            case e.NodeFinished():
                return tree.close(f"agent {attempt}", at), self._left_of(attempt)
            case e.ModelAsked():
                return self._asked(attempt, tree, place, event), []
            case e.ModelAnswered():
                finish: dict[str, Scalar] = {"gen_ai.response.finish_reasons": (event.stop,)}
                said = {w.SAID: event.message_blob}
                return self._called(attempt, tree, place, event, "", finish, said)
            case e.ModelErred(failure=failed):
                return self._called(attempt, tree, place, event, failed.value, {}, {})
            case e.AgentTurned(verified=False):
                return [], self._spent(attempt, event.model, event.usage, event.cost_nusd)
            case e.ToolIntended():
                return self._intended(attempt, tree, place, event), [
                    Measure(m.DECISIONS, 1, {"decision": event.decision})
                ]
            case e.ToolDone():
                return self._done(attempt, tree, place, event)
            case e.AgentActing():
                return self._acting(attempt, tree, place, event), []
            case e.AgentActed():
                flags: dict[str, Scalar] = {"quarterdeck.flags": event.flags} if event.flags else {}
                result = {w.RESULT: event.output_blob} if event.output_blob else {}
                error = "" if event.ok else "tool"
                return tree.close(f"act {attempt} {event.call}", at, error, flags, result, whole=True), []
            case _:
                return self._noticed(attempt, tree, place, event)

    def _noticed(self, attempt: str, tree: Tree, place: Place, event: e.EventBase) -> tuple[list[Span], list[Measure]]:
        match event:
            case e.Delegated():
                self._given[event.child] = f"tool {attempt} {event.call}"
            case e.CheckRan():
                task = ids.split_attempt(attempt)[1]
                began = Place(place.stream, place.seq, place.at - event.seconds)
                key, inside = f"check {attempt}", tree.first(f"node {task} {e.Node.CHECK}", f"try {attempt}")
                tree.open(key, inside, began, "verify", {w.ATTEMPT: attempt})
                return tree.close(key, place.at, "" if event.passed else "tool", whole=True), []
            case e.LimitReached():
                return [], [Measure(m.LIMITS, 1, {"limit": event.limit})]
            case e.IncidentOpened():
                return [], [Measure(m.INCIDENTS, 1, {"failure": event.failure.value})]
            case e.ChangeReverted():
                return [], [Measure(m.LANDED, 1, {"outcome": "reverted"})]
            case e.FlakeSeen():
                return [], [Measure(m.FLAKES, 1)]
            case _:
                pass
        return [], []

    def _started(
        self, run: str, task: str, attempt: str, tree: Tree, place: Place, event: e.AttemptStarted
    ) -> tuple[list[Span], list[Measure]]:
        harness = event.harness.value if event.harness is not None else ""
        outer = ".".join(attempt.split(".")[:3])
        at_work = (f"node {task} {e.Node.IMPLEMENT}", f"node  {e.Node.PLAN}")
        where = (f"node {task} {e.Node.REVIEW}", *at_work) if ".review" in attempt else at_work
        inside = tree.first(self._given.get(attempt, ""), *where, f"try {outer}", f"task {task}")
        attributes: dict[str, Scalar] = {
            w.OPERATION: "invoke_agent",
            w.AGENT: event.agent,
            w.CONVERSATION: attempt,
            w.RUN: run,
            w.TASK: task,
            w.ATTEMPT: attempt,
            "quarterdeck.harness": harness,
            "quarterdeck.incarnation": event.incarnation,
        }
        measures = self._left_of(attempt)
        spans = tree.open(f"agent {attempt}", inside, place, f"invoke_agent {event.agent}", attributes)
        self._agents[attempt] = (event.agent, harness)
        measures.append(Measure(m.AGENTS_OPEN, 1, {"harness": harness}))
        if event.incarnation == 1:
            measures.append(Measure(m.ATTEMPTS, 1, {w.AGENT: event.agent, "harness": harness}))
        return spans, measures

    def _left(self, run: str, task: str = "") -> list[Measure]:
        """Agents of a run, or of one of its tasks, that are no longer at work."""
        within = f"{run}.{task}." if task else f"{run}."
        return [
            told for attempt in [a for a in self._agents if a.startswith(within)] for told in self._left_of(attempt)
        ]

    def _left_of(self, attempt: str) -> list[Measure]:
        self._given.pop(attempt, None)
        agent = self._agents.pop(attempt, None)
        return [Measure(m.AGENTS_OPEN, -1, {"harness": agent[1]})] if agent is not None else []

    def _asked(self, attempt: str, tree: Tree, place: Place, event: e.ModelAsked) -> list[Span]:
        agent, step = tree.first(f"agent {attempt}"), f"step {attempt} {event.step}"
        ended: list[Span] = []
        holder = tree.get(agent)
        for key in list(holder.holds) if holder is not None else []:
            branch = tree.get(key)
            if key.startswith(f"step {attempt} ") and key != step and branch is not None and not branch.holds:
                ended += tree.close(key, branch.last)
        about: dict[str, Scalar] = {w.ATTEMPT: attempt, "quarterdeck.step": event.step}
        if tree.get(step) is None:
            tree.open(step, agent, place, "step", about)
        labels = w.model_labels(event.model)
        asked: dict[str, Scalar] = {
            **labels,
            **about,
            w.CONVERSATION: attempt,
            "quarterdeck.try": event.number,
            "quarterdeck.reserved_usd": to_usd(event.reserved_nusd),
        }
        prompt = {w.INSTRUCTIONS: event.prefix_blob}
        name = f"chat {labels[w.MODEL]}"
        return ended + tree.open(f"call {attempt} {event.step}", step, place, name, asked, outward=True, bodies=prompt)

    def _called(
        self,
        attempt: str,
        tree: Tree,
        place: Place,
        event: e.ModelAnswered | e.ModelErred,
        error: str,
        more: Mapping[str, Scalar],
        bodies: Mapping[str, str],
    ) -> tuple[list[Span], list[Measure]]:
        key = f"call {attempt} {event.step}"
        branch = tree.get(key)
        labels = w.model_labels(event.model)
        told: dict[str, Scalar] = {"gen_ai.response.model": labels[w.MODEL], **w.usage_attributes(event.usage), **more}
        told |= {"quarterdeck.cost_usd": to_usd(event.cost_nusd), "quarterdeck.estimated": event.estimated}
        measures = self._spent(attempt, event.model, event.usage, event.cost_nusd)
        if branch is not None:
            failed = {w.ERROR: error} if error else {}
            measures.append(Measure(m.CALL_SECONDS, place.at - branch.start, labels | failed))
        return tree.close(key, place.at, error, told, bodies, whole=True), measures

    def _spent(self, attempt: str, model: str, usage: Usage, cost_nusd: int) -> list[Measure]:
        labels = w.model_labels(model)
        agent = self._agents.get(attempt, ("", ""))[0]
        paid = {w.PROVIDER: labels[w.PROVIDER], w.MODEL: labels[w.MODEL], w.AGENT: agent}
        tokens = {"input": usage.prompt, "output": usage.output}
        counted = [Measure(m.TOKENS, many, labels | {w.TOKEN: kind}) for kind, many in tokens.items() if many]
        return [*counted, Measure(m.COST, to_usd(cost_nusd), paid)] if cost_nusd else counted

    def _intended(self, attempt: str, tree: Tree, place: Place, event: e.ToolIntended) -> list[Span]:
        attributes: dict[str, Scalar] = {
            w.OPERATION: "execute_tool",
            w.TOOL: event.tool,
            w.CALL: event.call,
            w.TOOL_TYPE: "function",
            w.ATTEMPT: attempt,
            "quarterdeck.decision": event.decision,
        }
        inside = tree.first(f"step {attempt} {event.step}", f"agent {attempt}")
        said = {w.ARGUMENTS: event.arguments_blob}
        key, name = f"tool {attempt} {event.call}", f"execute_tool {event.tool}"
        return tree.open(key, inside, place, name, attributes, bodies=said)

    def _done(self, attempt: str, tree: Tree, place: Place, event: e.ToolDone) -> tuple[list[Span], list[Measure]]:
        flags: dict[str, Scalar] = {"quarterdeck.flags": event.flags} if event.flags else {}
        said = {w.RESULT: event.result_blob}
        key = f"tool {attempt} {event.call}"
        spans = tree.close(key, place.at, "" if event.ok else "tool", flags, said, whole=True)
        labels = {w.TOOL: event.tool, "ok": "true" if event.ok else "false"}
        return spans, [Measure(m.TOOL_SECONDS, event.seconds, labels)]

    def _acting(self, attempt: str, tree: Tree, place: Place, event: e.AgentActing) -> list[Span]:
        kind = event.tool_kind or "other"
        attributes: dict[str, Scalar] = {
            w.OPERATION: "execute_tool",
            w.TOOL: kind,
            w.CALL: event.call,
            w.TOOL_TYPE: "extension",
            w.ATTEMPT: attempt,
        }
        said = {w.ARGUMENTS: event.input_blob} if event.input_blob else {}
        key, inside = f"act {attempt} {event.call}", tree.first(f"agent {attempt}")
        return tree.open(key, inside, place, f"execute_tool {kind}", attributes, bodies=said)
