"""Compaction: the middle of a transcript becomes a summary. The effects beside `context`'s decisions.

Rules
- The summary is written by the model in a call beside the transcript; where it cannot be had, it is made of the calls,
  because the work must not end for want of a summary.
- A window that is too small for the task is an error of class `context`, never a loop.
"""

from quarterdeck.agents import context, prompts
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.calls import ModelCalls, Prompt
from quarterdeck.agents.context import Told
from quarterdeck.agents.transcript import encode, said
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import RECOVERY, FailureClass, ModelFailed
from quarterdeck.models.port import Message


class TooSmall(Exception):
    """Steers the loop: no compaction makes this task fit into the model's window."""


class Compaction:
    """Keeps one attempt's transcript inside its model's window."""

    def __init__(self, log: AttemptLog, calls: ModelCalls, prompt: Prompt) -> None:
        self._log = log
        self._calls = calls
        self._prefix = prompt.prefix_tokens

    async def where_needed(self) -> None:
        """Compact near the window's end, or where the provider found the prompt too long.

        Raises TooSmall, OverBound, ModelFailed where a person has to act or the machine is not well."""
        state, window = self._log.state, await self._calls.window()
        if window is None:
            return
        size = context.size(state, self._prefix, self._calls.model)
        if state.too_long:
            await self._compact(size, min(window.trigger, int(context.FORCED * size)))
        elif not state.errors and size > window.trigger:  # a call that is made again is sent as it was
            await self._compact(size, window.trigger)

    async def _compact(self, size: int, trigger: int) -> None:
        state = self._log.state
        estimated = self._prefix + context.tokens(state.messages)
        scale = max(0.25, size / estimated)
        head = int(scale * (self._prefix + context.head_tokens(state.messages)))
        turns = [int(scale * context.tokens(turn)) for turn in context.turns_of(state.messages)]
        cut = context.plan(head, turns, trigger)
        if cut is None:
            reason = f"the context window is too small for this task: {head} tokens of {trigger} are its beginning"
            raise TooSmall(reason)
        middle = context.middle(state.messages, cut)
        told = Told(await self._summary(middle, cut.summary, trigger), state.todo, tuple(state.notes))
        messages = context.compacted(state.messages, cut, told, scale)
        event = e.ContextCompacted(
            step=state.step,
            messages=tuple([await self._log.put(encode(message)) for message in messages]),
            before_tokens=size,
            after_tokens=int(scale * (self._prefix + context.tokens(messages))),
        )
        await self._log.append(event)

    async def _summary(self, middle: list[Message], tokens: int, trigger: int) -> str:
        if not middle:
            return "Nothing but the middle of long outputs is left out."
        text = context.rendered(middle, int(trigger / 2 * context.BYTES_PER_TOKEN))
        request = said(f"Summarise this in at most {tokens * 3 // 5} words.\n\n<work>\n{text}\n</work>")
        try:
            reply = await self._calls.ask(Prompt(prompts.SUMMARY_SYSTEM, (), (request,), max(256, tokens)))
            summary = reply.message.text.strip()
        except ModelFailed as error:  # its tries are on record
            if RECOVERY[error.kind].stops_run or error.kind is FailureClass.INFRASTRUCTURE:
                raise
            summary = ""
        return summary or context.without_model(middle, int(tokens * context.BYTES_PER_TOKEN))
