"""The native agent loop. It reads its next move off the transcript, so going on after a crash is the normal case.

    open -> (ended?) -> a call without outcome? perform it through the action gate
                     -> at a bound? stop
                     -> otherwise: remind, compact near the window's end, ask the model

Rules
- Every pass does one thing and records it; whatever happens between two passes, the next one goes on from the record.
- Only a handoff accepted by `submit` is success. A bound ends the work with a report of what is complete.
- What a person says meanwhile stands at the end of the newest message before the model is asked again.
"""

from dataclasses import replace
from typing import Final

from quarterdeck.agents import endings, equipment, limits, mail, prompts, reminders, warning
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.beside import Beside, changes_code
from quarterdeck.agents.calls import ModelCalls, OverBound, Prompt
from quarterdeck.agents.compaction import Compaction, TooSmall
from quarterdeck.agents.delegation import Work, delegates
from quarterdeck.agents.desk import AgentDesk
from quarterdeck.agents.gate import ActionGate
from quarterdeck.agents.limits import Reached, Used
from quarterdeck.agents.mail import Letter
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.surveying import EVERY, Surveyed
from quarterdeck.agents.transcript import Owed, encode, said
from quarterdeck.agents.word import Stopwatch
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import RECOVERY, FailureClass, ModelFailed, WorkspaceOverLimit
from quarterdeck.tools.shed.shed import NOTHING, Outside

FILES_COMMAND: Final = "git status --short --untracked-files=all | head -n 200"


class Loop:
    """One attempt of one native agent."""

    def __init__(self, assignment: Assignment, ports: Ports, work: Work) -> None:
        """`work` carries a sub-agent's assignment to its end."""
        self._assignment = assignment
        self._ports = ports
        self._log = AttemptLog(ports.journal, assignment.claim)
        self._bounds = limits.bounds_of(assignment)
        self._desk = AgentDesk(assignment, ports, self._log, work, self._seconds_left)
        self._calls = ModelCalls(assignment, ports, self._log, self._seconds_left)
        self._watch = Stopwatch(ports.clock)
        touches = ports.touches if changes_code(assignment) else None
        self._beside = Beside(assignment.attempt, assignment.base, touches, ports.clock)
        self._surveyed = Surveyed(assignment, touches, ports.clock, self._log, EVERY)
        self._equip(NOTHING)
        self._began = ports.clock.monotonic()
        self._before = 0.0
        self._failed: Finished | None = None
        self._remade = assignment.remade
        self._letters: list[Letter] = []

    async def run(self) -> Finished:
        """Carry the attempt to its end. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
        self._ports.mail.listen(self._assignment.attempt, self._letters.append)
        try:
            return await self._run()
        finally:
            self._ports.mail.leave(self._assignment.attempt)
            await equipment.let_go(self._assignment, self._ports.shed)

    async def _run(self) -> Finished:
        await self._open()
        state = self._log.state
        while (finished := endings.ended(state, self._assignment) or self._failed) is None:
            if owed := state.owed():
                await self._gate.perform(self._heeding(owed[0]), max(1.0, self._seconds_left()))
            elif reached := limits.reached(self._bounds, state, self._used()):
                await self._stop(reached)
            else:
                await self._think()
        await self._log.recorded()
        return finished

    def _equip(self, outside: Outside) -> None:
        """Fix the tools, which are part of every prompt: the built-in ones first."""
        assignment, ports = self._assignment, self._ports
        built_in = ports.toolbox.select(
            assignment.agent.tools,
            expects=assignment.agent.expects,
            handoff_schema=self._desk.handoff_schema,
            delegates=delegates(assignment),
            without=frozenset({"ask", "note"}) if assignment.depth else frozenset(),
        )
        tools = {**built_in, **outside.shown}
        self._gate = ActionGate(assignment, ports, self._log, tools, self._desk, outside.hidden, self._watch)
        self._prompt = Prompt(prompts.system_prompt(assignment), tuple(tool.spec for tool in tools.values()))
        self._compaction = Compaction(self._log, self._calls, self._prompt)

    async def _open(self) -> None:
        """Take up the transcript where it is, or begin it."""
        await self._log.open()
        self._equip(await equipment.equipped(self._assignment, self._ports.shed, self._log, self._log.state.given))
        await self._desk.open()
        await self._calls.heal()
        self._before = self._log.state.seconds
        if not self._log.state.messages:
            await self._log.say(prompts.first_message(self._assignment), "task")
        self._letters[:0] = await mail.waiting(self._ports.journal, self._assignment.attempt, self._log.state.heard)

    async def _think(self) -> None:
        """Ask the model what is next."""
        try:
            await self._remind()
            await self._compaction.where_needed()
            await self._calls.ask(self._prompt)
        except OverBound as over:
            await self._stop(over.reached)
        except TooSmall as error:
            self._failed = endings.failed(str(error), FailureClass.CONTEXT)
        except ModelFailed as error:
            if error.kind is FailureClass.INFRASTRUCTURE:
                raise
            squeezable = self._log.state.too_long and not self._log.state.squeezes
            if not squeezable and self._seconds_left() > 0:  # else the next pass shortens the prompt, or stops
                fix = endings.fix(error, self._calls.model, self._assignment)
                await self._escalate(error, fix)
                self._failed = endings.model_failed(error, fix)

    async def _escalate(self, error: ModelFailed, fix: str) -> None:
        """Open an incident where only a person can help."""
        if RECOVERY[error.kind].stops_run:
            event = e.IncidentOpened(
                failure=error.kind, subject=self._calls.model, reason=str(error)[:2000], fix=fix[:2000]
            )
            await self._log.append(event)

    async def _remind(self) -> None:
        """Say what is worth saying beside the results. A call that is made again is sent as it was."""
        if not self._log.state.errors:
            await self._hear()
            if self._remade:
                await self._log.say(reminders.wrapped(reminders.REMADE), "reminder:remade")
                self._remade = False
            for why, text in reminders.due(self._log.state, self._bounds, self._used()).items():
                await self._log.say(reminders.wrapped(text), why)
            if self._log.state.ran():
                await self._surveyed.look()
            if self._beside.due(self._log.state.trace):
                await self._warn()

    async def _warn(self) -> None:
        """Say what others change of what this agent has changed."""
        await self._log.recorded()  # of two who change the same at once, one sees the other
        warned = await self._beside.look(self._log.state.trace, "reminder")
        if warned:
            blob = await self._log.put(encode(said(warning.reminder(warned))))
            event = e.TranscriptExtended(step=self._log.state.step, message_blob=blob, why="reminder:beside")
            await self._log.append(event, *warned)

    async def _hear(self) -> None:
        """Pass on what a person said."""
        letters, self._letters[:] = tuple(self._letters), ()
        for letter in letters:
            if letter.id not in self._log.state.heard:
                blob = await self._log.put(encode(said(prompts.told(letter.text))))
                await self._log.append(
                    e.TranscriptExtended(step=self._log.state.step, message_blob=blob, why="person"),
                    e.MessageDelivered(message=letter.id, how="transcript", text=letter.text),
                )

    def _heeding(self, owed: Owed) -> Owed:
        """The call as it may be made: no handoff before the agent knows what a person said."""
        unheard = any(letter.id not in self._log.state.heard for letter in self._letters)
        if not unheard or owed.call.name != "submit" or owed.intent is not None or owed.call.flaw is not None:
            return owed
        return replace(owed, call=owed.call.model_copy(update={"flaw": mail.FIRST}))

    async def _stop(self, reached: Reached) -> None:
        """Record the bound and what is complete by then."""
        blob = await self._log.put(endings.complete(self._log.state, reached, await self._changed_files()))
        event = e.LimitReached(limit=reached.limit, used=reached.used, allowed=reached.allowed, complete_blob=blob)
        await self._log.append(event)

    async def _changed_files(self) -> str:
        try:
            result = await self._assignment.sandbox.exec(FILES_COMMAND, timeout=30.0)
        except WorkspaceOverLimit as error:
            return f"(unknown: {error})"
        return result.stdout.decode("utf-8", "replace").strip()

    def _used(self) -> Used:
        at_work = self._ports.clock.monotonic() - self._began - self._watch.seconds
        return Used(self._before + at_work, self._desk.below_nusd)

    def _seconds_left(self) -> float:
        return self._bounds.wall - self._used().wall
