"""One model call of the native loop: reserve, ask, record, settle, and what follows a failure.

Rules
- Money is set aside in the transaction that records the intent, in every purse of the attempt's chain, and settled in
  the one that records the outcome. A call whose worst case does not fit into each of them does not leave. A model
  without a known price is not asked.
- Every try is on record. What follows a failure is decided by its class (kernel/failures.py): wait and try again, the
  tier's next model, or give up. A model that had to be left stays left for this attempt.
- A failed call costs what the adapter counted or estimated of it; where it may have been billed and nothing is known
  (it hung before the first event), its whole reservation counts as spent.
- What this machine refuses (no descriptor for a connection) is its own trouble: no model is left because of it. A
  server that nobody reaches is such a trouble too, once every other model was asked: another attempt would not find it.
  What follows then is told by `outages`.
- A provider that wants to be left alone for longer than is waited for is not asked; that too is on record.
- A refused key is tried again only where reading it again gave another one.
- A call cut off, by a crash or because the work was cancelled, may have been billed: its whole reservation counts as
  spent, and where the attempt goes on it is made anew. A cancelled call is closed before the cancellation goes on, if
  that does not take long; else when the attempt is taken up again.
- An answer that was cut off (`length`) is recorded as failed and nothing of it is kept; the model is asked for less.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from quarterdeck.agents import context, outages
from quarterdeck.agents.attempt_log import CLOSING, AttemptLog
from quarterdeck.agents.context import Window
from quarterdeck.agents.limits import Reached
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.routing import candidates
from quarterdeck.agents.spending import Held, Spending
from quarterdeck.agents.transcript import encode, said
from quarterdeck.gateway.recovery import after
from quarterdeck.gateway.settling import Settling
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.config import ModelSection, Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import (
    RECOVERY,
    BadConfiguration,
    FailureClass,
    ModelFailed,
    QuarterdeckError,
)
from quarterdeck.kernel.prices import cost, price_of, worst_case
from quarterdeck.models.limiter import Leave, Limiter
from quarterdeck.models.port import Message, Model, Reply, Request, StopReason, ToolSpec
from quarterdeck.models.retry import PATIENCE, next_try

_log = logging.getLogger(__name__)

DEFAULT_OUTPUT: Final = 8_192

CUT_OFF: Final = "the process ended or gave the work up while the call was under way; its reservation counts as spent"

SMALLER: Final = (
    "<reminder>\nYour last answer was longer than one answer may be and was dropped; nothing of it was done. Answer in "
    "smaller steps: one tool call at a time, and long files in parts.\n</reminder>"
)


@dataclass(frozen=True)
class Prompt:
    """What a call sends, but for the model's own limits."""

    system: str
    tools: tuple[ToolSpec, ...]
    aside: tuple[Message, ...] | None = None
    """Messages of a call beside the transcript; None = the transcript."""
    output: int | None = None
    """Tokens; None = the model's own maximum."""

    @cached_property
    def prefix(self) -> bytes:
        """What stands before the messages, as it is stored."""
        return json.dumps([self.system, [tool.model_dump() for tool in self.tools]]).encode()

    @cached_property
    def prefix_digest(self) -> str:
        return ids.digest(self.prefix)

    @cached_property
    def prefix_tokens(self) -> int:
        return context.prefix_tokens(self.system, self.tools)


class NotAsked(ModelFailed):
    """The model could not even be asked; there is no call on record."""


class OverBound(Exception):
    """Steers the loop: a bound of the attempt does not cover the next call."""

    def __init__(self, reached: Reached) -> None:
        super().__init__(reached.reason)
        self.reached = reached


class ModelCalls:
    """The model calls of one attempt."""

    def __init__(
        self,
        assignment: Assignment,
        ports: Ports,
        log: AttemptLog,
        left: Callable[[], float],
    ) -> None:
        """`left`: seconds of wall time that the attempt has left."""
        self._assignment = assignment
        self._ports = ports
        self._log = log
        self._left = left
        self._spending = Spending(assignment.chain, ports, log)
        self._candidates = candidates(assignment.agent, assignment.config.deck, assignment.apart_from)

    @property
    def model(self) -> str:
        """The model that is asked next."""
        return outages.first_to_ask(self._candidates, self._log.state.model, self._log.state.errors)

    async def heal(self) -> None:
        """Close a call that was cut off and has no outcome yet."""
        asked = self._log.state.asked
        if asked is None:
            return
        event = e.ModelErred(
            step=asked.step,
            model=asked.model,
            failure=FailureClass.INFRASTRUCTURE,
            reason=CUT_OFF,
            cost_nusd=asked.reserved_nusd,
            estimated=asked.reserved_nusd > 0,
        )
        holder = _holder(self._assignment, asked.step, asked.number)
        await self._log.append(event, also=self._spending.late_settlement(holder, event.cost_nusd))

    async def window(self) -> Window | None:
        """The context window of the model that is asked next; None where its server does not say it now."""
        try:
            return await self._window(self._ports.models(self.model))
        except ModelFailed:
            return None  # the call itself meets the same failure, and what follows is decided there

    async def ask(self, prompt: Prompt) -> Reply:
        """Ask until there is an answer.

        Raises ModelFailed when nothing more can be tried, OverBound, BadConfiguration.
        """
        name = self.model
        while True:
            try:
                return await self._once(name, prompt)
            except ModelFailed as error:
                failure = error
            if self._left() <= 0:
                raise failure  # the loop sees the bound
            name = await self._follow_up(name, failure)

    async def _follow_up(self, name: str, failure: ModelFailed) -> str:
        """The model to ask next, after waiting where that helps. Raises the failure again where nothing does."""
        rest = self._candidates[self._candidates.index(name) + 1 :]
        if failure.kind is FailureClass.INFRASTRUCTURE:
            raise failure  # this machine refuses: no model is to blame, and none helps
        if isinstance(failure, NotAsked):
            if RECOVERY[failure.kind].failover and rest:
                return rest[0]
            raise outages.as_trouble(failure)
        errors = outages.tried(self._log.state.errors, failure)
        todo = after(errors, len(rest), failure.retry_after, self._ports.rng.random(), failure.renewed)
        if todo.do == "give up":
            raise outages.as_trouble(failure)
        if todo.do == "other":
            return rest[0]
        if todo.seconds > 0:
            await self._ports.sleep(min(todo.seconds, max(0.0, self._left())))
        return name

    async def _once(self, name: str, prompt: Prompt) -> Reply:
        """One try, recorded before and after. Raises ModelFailed after recording it."""
        limiter, money, leave = self._ports.models.limiter(name), self._spending.patience(self._left), Leave()
        try:
            while True:
                try:
                    async with limiter.place(max(0.0, self._left())) or nullcontext(True) as there:
                        if not there:
                            raise _too_late(name)
                        return await self._tried(name, prompt, limiter, money, leave)
                except Held as held:
                    waits = held
                await self._spending.wait(waits, money)
        except asyncio.CancelledError:
            await self._give_up()
            raise

    async def _give_up(self) -> None:
        """Close the call under way, because the work is being cancelled."""
        try:
            async with asyncio.timeout(CLOSING):
                await self.heal()
        except (QuarterdeckError, KeyError, TimeoutError) as error:
            # Another worker has the attempt, or the store does not answer: the call is closed by whoever goes on.
            _log.warning("a cancelled call of %s was not closed: %s", self._assignment.attempt, error)

    async def _tried(self, name: str, prompt: Prompt, limiter: Limiter, money: Settling, leave: Leave) -> Reply:
        model = self._ports.models(name)
        price = self._price(name)
        window = await self._window_or_failure(model)
        unwelcome = await self._held_back(name, limiter, leave)
        asked, request = await self._intend(name, prompt, price, window, money)
        holder = _holder(self._assignment, asked.step, asked.number)
        if unwelcome is not None:
            await self._erred(asked, unwelcome, holder)
            raise unwelcome
        probes.hit("model.intended")
        began = self._ports.clock.monotonic()
        try:
            async with asyncio.timeout(max(1.0, self._left())):
                reply = await model.complete(request)
        except TimeoutError as error:
            why = "the attempt's wall time was over"
            failed = ModelFailed(f"{name} did not answer", FailureClass.TRANSIENT, billed=True, why=why)
            await self._erred(asked, failed, holder)
            raise failed from error
        except ModelFailed as error:
            limiter.failed(error)
            charged = None if error.usage is None or error.estimated else cost(error.usage, price)
            await self._erred(asked, error, holder, error.usage, charged)
            raise
        probes.hit("model.replied")
        limiter.answered()
        spent = asked.reserved_nusd if reply.estimated else cost(reply.usage, price)
        if failed_reply := _unusable(name, reply):
            nudge = () if prompt.aside is not None or reply.stop is not StopReason.LENGTH else (SMALLER,)
            await self._erred(asked, failed_reply, holder, reply.usage, spent, nudge)
            raise failed_reply
        event = e.ModelAnswered(
            step=asked.step,
            model=name,
            message_blob=await self._log.put(encode(reply.message)),
            stop=reply.stop,
            usage=reply.usage,
            cost_nusd=spent,
            estimated=reply.estimated,
            seconds=max(0.0, self._ports.clock.monotonic() - began),
        )
        self._log.append_soon(event, also=self._spending.settlement(holder, spent))
        return reply

    async def _held_back(self, name: str, limiter: Limiter, leave: Leave) -> ModelFailed | None:
        """Wait until the provider may be asked, where the call has no leave for it yet; why it will not be asked, where
        that takes too long.

        Raises NotAsked where the attempt's time ended meanwhile.
        """
        if limiter.wait() <= PATIENCE:
            await limiter.enter(max(0.0, self._left()), PATIENCE, leave)
            if self._left() <= 0:
                raise _too_late(name)
        if (held := limiter.wait()) <= PATIENCE:
            return None
        why = f"its provider wants to be left alone for another {held:.0f} s"
        return ModelFailed(f"{name} was not asked", FailureClass.TRANSIENT, retry_after=held, why=why)

    async def _intend(
        self, name: str, prompt: Prompt, price: Price, window: Window, money: Settling
    ) -> tuple[e.ModelAsked, Request]:
        """Reserve the worst case and record the intent. Raises OverBound, Held."""
        state = self._log.state
        messages = tuple(state.messages) if prompt.aside is None else prompt.aside
        output = min(window.max_output, prompt.output or window.max_output)
        digests = state.digests if prompt.aside is None else [ids.digest(encode(message)) for message in messages]
        before = prompt.prefix_tokens
        whole = prompt.aside is None
        size = context.worst_size(state, before, name) if whole else context.worst_of(before, messages)
        amount = worst_case(size, output, price)
        retry = bool(state.errors) and (state.errors[-1].step == state.step)
        step = state.step if retry else state.step + 1
        asked = e.ModelAsked(
            step=step,
            number=state.tries + 1 if retry else 1,
            model=name,
            messages=0 if prompt.aside is not None else len(messages),
            request_hash=ids.digest(json.dumps([prompt.prefix_digest, digests, output]).encode()),
            prefix_blob=await self._log.put(prompt.prefix),
            reserved_nusd=amount,
        )
        holder = _holder(self._assignment, asked.step, asked.number)
        if (refused := await self._spending.reserve(asked, holder, amount, money)) is not None:
            raise OverBound(refused)
        request = Request(
            system=prompt.system,
            tools=prompt.tools,
            messages=messages,
            max_output=output,
            cache_until=len(messages) if prompt.aside is None else 0,
            tag=self._assignment.attempt,
        )
        return asked, request

    async def _erred(
        self,
        asked: e.ModelAsked,
        failed: ModelFailed,
        holder: str,
        usage: Usage | None = None,
        spent: int | None = None,
        nudge: tuple[str, ...] = (),
    ) -> None:
        if spent is None:
            spent = asked.reserved_nusd if failed.billed else 0
        event = e.ModelErred(
            step=asked.step,
            model=asked.model,
            failure=failed.kind,
            reason=str(failed)[:2000],
            retry_after=failed.retry_after,
            usage=usage or Usage(),
            cost_nusd=spent,
            estimated=failed.estimated or (usage is None and spent > 0),
            unreached=failed.unreached,
        )
        more = [
            e.TranscriptExtended(step=asked.step, message_blob=await self._log.put(encode(said(text))), why="truncated")
            for text in nudge
        ]
        await self._settled(event, holder, *more)

    async def _settled(self, event: e.ModelErred, holder: str, *more: e.EventBase) -> None:
        await self._log.append(event, *more, also=self._spending.settlement(holder, event.cost_nusd))

    def _price(self, name: str) -> Price:
        price = price_of(name, self._assignment.config.deck.prices)
        if price is None:
            raise BadConfiguration(
                f"the price of {name} is not known",
                why="a budget cannot be kept without it",
                fix=f'deck.toml: [prices] "{name}" = {{ input = …, output = … }}  # USD per million tokens',
            )
        return price

    async def _window_or_failure(self, model: Model) -> Window:
        """The model's window, asked for as often as a call would be. Raises NotAsked."""
        tried = 0
        while True:
            try:
                return await self._window(model)
            except ModelFailed as error:
                tried += 1
                seconds = next_try(error.kind, tried, error.retry_after, self._ports.rng.random())
                if seconds is None or self._left() <= 0 or (error.kind is FailureClass.AUTH and not error.renewed):
                    raise NotAsked(
                        error.message, error.kind, unreached=error.unreached, why=error.why, fix=error.fix
                    ) from error
            await self._ports.sleep(min(seconds, max(0.0, self._left())))

    async def _window(self, model: Model) -> Window:
        section = self._assignment.config.deck.models.get(model.name, ModelSection())
        size = await model.window()
        own = self._assignment.agent.limits.context
        return context.window_of(min(size, own) if own else size, section.max_output or DEFAULT_OUTPUT)


def _too_late(name: str) -> NotAsked:
    return NotAsked(f"{name} was not asked", FailureClass.TRANSIENT, why="the attempt's time was over")


def _holder(assignment: Assignment, step: int, number: int) -> str:
    return f"{assignment.attempt}/{step}/{number}"


def _unusable(name: str, reply: Reply) -> ModelFailed | None:
    """Why nothing of an answer of the model may be used, or None."""
    if reply.stop is StopReason.LENGTH:
        fix = f'[models."{name}"] max_output in deck.toml allows longer answers'
        return ModelFailed(f"the answer of {name} reached its output limit", FailureClass.TRUNCATED, fix=fix)
    if reply.stop is StopReason.REFUSED:
        said = " ".join(reply.message.text.split())[:300]
        return ModelFailed(f"{name} refused to answer", FailureClass.REFUSED, why=said)
    return None
