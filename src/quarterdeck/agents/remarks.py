"""What an agent of our loop is told beside the results of its tools: what people say, reminders, what others change.

Rules
- It stands at the end of the newest message, before the model is asked again; a call that is made again is sent as it
  was.
- What a person said is delivered once: that it was is on record with the text.
- No handoff is taken that was made before the agent knew what a person said.
"""

from dataclasses import replace

from quarterdeck.agents import mail, prompts, reminders, warning
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.beside import Beside, changes_code
from quarterdeck.agents.limits import Bounds, Used
from quarterdeck.agents.mail import Letter
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.surveying import EVERY, Surveyed
from quarterdeck.agents.transcript import Owed, encode, said
from quarterdeck.kernel import events as e


class Remarks:
    """What one agent is told."""

    def __init__(self, assignment: Assignment, ports: Ports, log: AttemptLog) -> None:
        self._attempt = assignment.attempt
        self._ports = ports
        self._log = log
        self._letters: list[Letter] = []
        self._remade = assignment.remade
        touches = ports.touches if changes_code(assignment) else None
        self._beside = Beside(assignment.attempt, assignment.base, touches, ports.clock)
        self._surveyed = Surveyed(assignment, touches, ports.clock, log, EVERY)

    def listen(self) -> None:
        """Hear what people say from now on."""
        self._ports.mail.listen(self._attempt, self._letters.append)

    def leave(self) -> None:
        """Listen no longer."""
        self._ports.mail.leave(self._attempt)

    async def open(self) -> None:
        """Take up what was said before. Listen first, or something may be missed."""
        self._letters[:0] = await mail.waiting(self._ports.journal, self._attempt, self._log.state.heard)

    async def say(self, bounds: Bounds, used: Used) -> None:
        """Say what is worth saying now."""
        if self._log.state.errors:
            return
        await self._hear()
        if self._remade:
            await self._log.say(reminders.wrapped(reminders.REMADE), "reminder:remade")
            self._remade = False
        for why, text in reminders.due(self._log.state, bounds, used).items():
            await self._log.say(reminders.wrapped(text), why)
        if self._log.state.ran():
            await self._surveyed.look()
        if self._beside.due(self._log.state.trace):
            await self._warn()

    def heeding(self, owed: Owed) -> Owed:
        """The call as it may be made: no handoff before the agent knows what a person said."""
        unheard = any(letter.id not in self._log.state.heard for letter in self._letters)
        if not unheard or owed.call.name != "submit" or owed.intent is not None or owed.call.flaw is not None:
            return owed
        return replace(owed, call=owed.call.model_copy(update={"flaw": mail.FIRST}))

    async def _hear(self) -> None:
        letters, self._letters[:] = tuple(self._letters), ()
        for letter in letters:
            if letter.id not in self._log.state.heard:
                blob = await self._log.put(encode(said(prompts.told(letter.text))))
                await self._log.append(
                    e.TranscriptExtended(step=self._log.state.step, message_blob=blob, why="person"),
                    e.MessageDelivered(message=letter.id, how="transcript", text=letter.text),
                )

    async def _warn(self) -> None:
        """Say what others change of what this agent has changed."""
        await self._log.recorded()  # of two who change the same at once, one sees the other
        warned = await self._beside.look(self._log.state.trace, "reminder")
        if warned:
            blob = await self._log.put(encode(said(warning.reminder(warned))))
            event = e.TranscriptExtended(step=self._log.state.step, message_blob=blob, why="reminder:beside")
            await self._log.append(event, *warned)
