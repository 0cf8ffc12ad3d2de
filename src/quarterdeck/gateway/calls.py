"""One request on its way through the gateway: admit, reserve, forward, meter, settle.

Rules
- A request that may not leave is answered here, with one sentence (gateway/refusals.py).
- Until the first byte has gone to the client, what fails is tried again as its class says: after a wait, or with the
  next model. After that nothing can be taken back: the client sees the break as it happened.
- When nothing more can be tried, the client gets the provider's own answer, and is told not to try again at once.
- A client that goes away, a key that is revoked: the connection to the provider is closed first, then the call is
  closed on record with what had come by then.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quarterdeck.gateway import charges, estimates, routes, wires
from quarterdeck.gateway.admission import Admission, Wanted, enter
from quarterdeck.gateway.answers import Client, Tried, misconfigured, pass_on, passed, refuse
from quarterdeck.gateway.estimates import Worst
from quarterdeck.gateway.inline import Piece
from quarterdeck.gateway.keys import Key
from quarterdeck.gateway.meter import Meter, Metered
from quarterdeck.gateway.port import Stopped
from quarterdeck.gateway.record import Book, Intent, done
from quarterdeck.gateway.recovery import after
from quarterdeck.gateway.understanding import understood
from quarterdeck.gateway.wires import Asked, Operation
from quarterdeck.govern.chain import OWN, kind_of
from quarterdeck.kernel import probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import ModelSection, Price
from quarterdeck.kernel.failures import BadConfiguration, BudgetExhausted, FailureClass, ModelFailed, QuarterdeckError
from quarterdeck.kernel.prices import price_of
from quarterdeck.models import windows
from quarterdeck.models.factory import Models
from quarterdeck.models.limiter import Limiter

if TYPE_CHECKING:  # it brings the HTTP client, which is loaded when the first model is made
    from quarterdeck.models.upstream import Answer, Upstream

_log = logging.getLogger(__name__)

_LARGEST_REFUSAL: Final = 1024 * 1024
"""Bytes of a provider's error that are passed on."""
_BETWEEN: Final = (502, 504)
"""Statuses of a proxy before the provider: the provider itself may have answered, and counted."""
_UNKNOWN_WINDOW: Final = 1_000_000
"""Tokens; where nobody says how long a prompt may be, its bytes alone bound it."""
_ENCODED: Final = "content-encoding"
_NOTHING_SAID: Final = ModelSection()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a call of one model costs and how long it may be."""

    price: Price
    window: int
    longest: int | None


@dataclass(frozen=True, slots=True)
class _Request:
    """A request, whose it is, and who waits for its answer."""

    key: Key
    asked: Asked
    headers: list[tuple[str, str]]
    """Those that go on."""
    client: Client
    pieces: tuple[Piece, ...] = ()
    """What lies in it beside text."""


class Calls:
    """Carries requests; one for a deck."""

    def __init__(
        self,
        book: Book,
        models: Callable[[Key], Models],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """`models`: the ways to providers as the configuration behind a key has them."""
        self._book = book
        self._models = models
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._admission = Admission(book, clock, sleep, self._rng)

    async def carry(self, key: Key, asked: Asked, headers: list[tuple[str, str]], client: Client) -> None:
        """Answer the request, whatever happens. Raises only StoreUnavailable, StaleClaim and CancelledError."""
        names = routes.candidates(asked.wire, asked.model, key.grant.models)
        if not names:
            able = [name.partition(":")[2] for name in routes.speaking(asked.wire, key.grant.models)]
            may = f"it may ask {', '.join(able)}" if able else "it may ask none in this format"
            sentence = f"Quarterdeck: {asked.model!r} is not a model of this key: {may}"
            return await refuse(client, asked, sentence, "model_not_allowed")
        if asked.place.operation is Operation.COUNT:
            return await self._count(_Request(key, asked, headers, client), names[0])
        if stopped := key.bound():  # whoever may not ask makes no work either
            return await _limited(key, stopped, asked, client)
        known = await understood(key, asked)
        if why := known.unmetered:
            return await refuse(client, asked, f"Quarterdeck: not metered, so it does not leave: {why}", "not_metered")
        return await self._until_answered(_Request(key, asked, headers, client, known.pieces), list(names))

    async def _until_answered(self, request: _Request, names: list[str]) -> None:
        key, asked, client = request.key, request.asked, request.client
        step, number, errors = key.next_step(), 0, list[tuple[str, FailureClass]]()
        while True:
            number += 1
            if stopped := key.bound():
                return await _limited(key, stopped, asked, client)
            try:
                tried = await self._try(request, step, number, names[0])
            except BudgetExhausted as error:
                key.stop(_stopped(error))
                sentence = f"Quarterdeck: the budget is exhausted: {error.why or error}. Stop here; do not try again."
                return await refuse(client, asked, sentence, "budget_exhausted")
            except ModelFailed as error:
                if error.kind is FailureClass.INFRASTRUCTURE:
                    raise
                return await refuse(client, asked, str(error), "context_length_exceeded")
            except QuarterdeckError as error:
                if error.failure is FailureClass.INFRASTRUCTURE:
                    raise
                return await refuse(client, asked, misconfigured(error), "not_configured")
            if tried is None:
                return None
            errors.append((names[0], tried.failure.kind))
            failure = tried.failure
            todo = after(errors, len(names) - 1, failure.retry_after, self._rng.random(), failure.renewed)
            if todo.do == "give up":
                return await pass_on(client, asked, tried)
            if todo.do == "other":
                del names[0]
            elif todo.seconds > 0:
                await self._sleep(todo.seconds)

    async def _try(self, request: _Request, step: int, number: int, name: str) -> Tried | None:
        """One try, as soon as there is a place for it among the calls under way; None = the client has its answer.

        Raises BudgetExhausted, BadConfiguration.
        """
        key, asked, ways = request.key, request.asked, self._ways(request.key)
        terms, limiter = self._terms(key, name), ways.limiter(name)
        beside, model = charges.inline(name, request.pieces), name.partition(":")[2]
        if (tokens := estimates.too_long(asked, terms.window, beside)) is not None:
            raise _too_long(tokens, terms.window)
        bound = estimates.worst(asked, terms.price, terms.window, terms.longest, _rate(key, name), beside)
        body = wires.rewritten(asked, model)  # what cannot be written is known before anything is set aside
        async with AsyncExitStack() as place:
            with key.claim():
                wanted = Wanted(key, asked, name, step, number, bound, terms.price)
                admitted = await self._admission.admit(wanted, ways, place)
                if isinstance(admitted, Tried):
                    return admitted
                key.leave()
            probes.hit("model.intended")
            upstream = admitted.upstream
            leg = _Leg(self._book, request, admitted.intent, admitted.bound, self._clock)
            tried = await leg.run(upstream, name, body, admitted.limit)
            if tried is not None:
                await self._learn_failure(limiter, upstream, tried.failure)
                return tried
        limiter.answered()
        if leg.metered is not None and not leg.metered.estimated and not request.pieces:
            key.rates[name] = estimates.learned(_rate(key, name), asked, leg.metered.usage.prompt)
        return None

    async def _learn_failure(self, limiter: Limiter, upstream: "Upstream", failure: ModelFailed) -> None:
        limiter.failed(failure)
        if failure.kind is FailureClass.AUTH:
            used = upstream.key
            await upstream.reload_key(used)
            failure.renewed = upstream.key != used

    async def _count(self, request: _Request, name: str) -> None:
        """Counting tokens costs nothing and is not metered. It is a request to the provider all the same: its limiter
        holds it, and hears what comes of it."""
        asked, client = request.asked, request.client
        try:
            ways = self._ways(request.key)
            limiter, upstream = ways.limiter(name), await ways.upstream(name)
        except ModelFailed as error:
            return await pass_on(client, asked, Tried(error))
        except BadConfiguration as error:
            return await refuse(client, asked, misconfigured(error), "not_configured")
        async with AsyncExitStack() as place:
            if (unwelcome := await enter(name, limiter, place)) is not None:
                return await pass_on(client, asked, Tried(unwelcome))
            tried = await self._counted(request, upstream, name)
        if tried is None:
            return limiter.answered()
        await self._learn_failure(limiter, upstream, tried.failure)
        return await pass_on(client, asked, tried)

    async def _counted(self, request: _Request, upstream: "Upstream", name: str) -> Tried | None:
        asked, client, model = request.asked, request.client, name.partition(":")[2]
        try:
            path, body = wires.upstream_path(asked, model), wires.rewritten(asked, model)
            async with upstream.forward(name, path, body, request.headers) as answer:
                if answer.status >= 300:
                    return await refused(answer)
                head = [pair for pair in passed(answer.headers) if not (answer.packed and pair[0] == _ENCODED)]
                await client.head(answer.status, head)
                async with aclosing(answer.chunks(plain=answer.packed)) as chunks:
                    async for chunk in chunks:
                        await client.body(chunk)
                await client.end()
        except ModelFailed as error:
            return Tried(error)
        return None

    def _ways(self, key: Key) -> Models:
        if key.models is None:
            key.models = self._models(key)
        return key.models

    def _terms(self, key: Key, name: str) -> Terms:
        """Raises BadConfiguration where the price is not known."""
        deck = key.grant.config.deck
        price = price_of(name, deck.prices)
        if price is None:
            fix = f'deck.toml: [prices] "{name}" = {{ input = …, output = … }}  # USD per million tokens'
            why = "a budget cannot be kept without it"
            raise BadConfiguration(f"the price of {name} is not known", why=why, fix=fix)
        section = deck.models.get(name, _NOTHING_SAID)
        window = section.context or windows.known(*name.split(":", 1)) or _UNKNOWN_WINDOW
        return Terms(price, window, section.max_output or windows.longest(*name.split(":", 1)))


class _Leg:
    """One call on its way to one provider and back."""

    def __init__(self, book: Book, request: _Request, intent: Intent, bound: Worst, clock: Clock) -> None:
        self._book = book
        self._key = request.key
        self._asked = request.asked
        self._headers = request.headers
        self._client = request.client
        self._intent = intent
        self._bound = bound
        self._clock = clock
        self._began = clock.monotonic()
        self._meter: Meter | None = None
        self._closing = False
        self.metered: Metered | None = None

    async def run(self, upstream: "Upstream", name: str, body: bytes, limit: int | None) -> Tried | None:
        """None = the client has what there is. Whatever happens, the call is closed on record. `limit`: tokens that
        the answer has to be held to, where `body` allows more."""
        model = name.partition(":")[2]
        path = wires.upstream_path(self._asked, model)
        try:
            if limit is not None:
                body = wires.rewritten(self._asked, model, limit)
            async with upstream.forward(name, path, body, self._headers, whole=not self._asked.streams) as answer:
                if answer.status >= 300:
                    return await self._refused(answer)
                await self._stream(answer)
        except ModelFailed as error:
            return await self._broken(error)
        except (asyncio.CancelledError, Exception):  # whatever it is goes on; the money comes first
            if not self._closing:
                why = "nobody waited any more"
                await self._erred(ModelFailed(f"{name} was left", FailureClass.INFRASTRUCTURE, billed=True, why=why))
            raise
        await self._finished(name)
        return None

    async def _erred(self, failure: ModelFailed) -> None:
        """Close the call on record, to the end also where nobody waits any more."""
        self._closing = True
        await done(self._book.erred(self._key, self._intent, failure, self._finish()))

    async def _refused(self, answer: "Answer") -> Tried:
        tried = await refused(answer)
        tried.failure.billed = tried.failure.billed or answer.status in _BETWEEN
        await self._erred(tried.failure)
        return tried

    async def _stream(self, answer: "Answer") -> None:
        encoded, head = answer.packed, passed(answer.headers)
        if encoded:
            head = [pair for pair in head if pair[0] != _ENCODED]
        streams = "event-stream" in (answer.header("content-type") or "")
        hide = wires.wants_usage(self._asked)
        model = self._intent.event.model
        self._meter = meter = Meter(self._asked.wire, model, streams=streams, hide_usage=hide)
        await self._client.head(answer.status, head)
        if encoded or hide:
            async with aclosing(answer.chunks(plain=True)) as chunks:
                async for chunk in chunks:
                    if out := meter.read(chunk):
                        await self._client.body(out)
        else:
            await self._passed_on(answer, meter)
        if encoded or hide or not answer.over:
            await self._client.end(meter.rest())
        probes.hit("model.replied")

    async def _passed_on(self, answer: "Answer", meter: Meter) -> None:
        """Each piece as it comes; the client has it before it is read here. Where the client keeps up, nobody is woken
        for one: hundreds of streams are many pieces."""
        at_once = self._client.at_once

        def on(piece: bytes) -> bool:
            assert at_once is not None  # it is poured only then
            more = at_once(piece)
            meter.read(piece)
            return more

        while piece := await answer.piece():
            try:
                await (self._client.end(piece) if answer.over else self._client.body(piece))
            finally:
                meter.read(piece)
            if at_once is not None and not answer.over:
                await answer.pour(on)

    async def _broken(self, error: ModelFailed) -> Tried | None:
        """The connection was not made, or broke."""
        await self._erred(error)
        if self._meter is None:
            return Tried(error)
        raise ConnectionAbortedError(str(error)) from error

    async def _finished(self, name: str) -> None:
        """The answer came to an end: was it one?"""
        metered = self._finish()
        assert metered is not None  # there was an answer, so there is a meter
        if metered.error is not None:
            await self._erred(metered.error)
        elif metered.stop is None:
            why = "the stream ended without a stop reason"
            cut = ModelFailed(f"{name} gave no usable reply", FailureClass.TRUNCATED, billed=True, why=why)
            await self._erred(cut)
        else:
            self._book.close(self._key, self._intent, metered, self._clock.monotonic() - self._began)

    def _finish(self) -> Metered | None:
        if self.metered is None and self._meter is not None:
            self.metered = self._meter.finish(self._bound.input, self._bound.output)
        return self.metered


async def _limited(key: Key, stopped: Stopped, asked: Asked, client: Client) -> None:
    key.stop(stopped)
    await refuse(client, asked, f"Quarterdeck: {stopped.reason}.", "limit_reached")


def _rate(key: Key, name: str) -> float:
    """Bytes for a token of that model, as far as the key's calls told."""
    return key.rates.get(name, estimates.BYTES_PER_TOKEN)


async def refused(answer: "Answer") -> Tried:
    """The provider's own answer where it is an error, and what that means. Raises ModelFailed."""
    kept = bytearray()
    async with aclosing(answer.chunks(plain=True)) as chunks:
        async for chunk in chunks:
            kept += chunk
            if len(kept) > _LARGEST_REFUSAL:
                break
    said = answer.redacted(bytes(kept))
    headers = tuple((name, value) for name, value in passed(answer.headers) if name != _ENCODED)
    return Tried(answer.meaning(said), answer.status, headers, said)


def _too_long(tokens: int, window: int) -> ModelFailed:
    """In the words of the providers, which the agents that people use know: they shorten their prompt then."""
    return ModelFailed(f"prompt is too long: {tokens} tokens > {window} maximum", FailureClass.CONTEXT)


def _stopped(error: BudgetExhausted) -> Stopped:
    return Stopped("usd", error.told, run=kind_of(error.purse) not in OWN)
