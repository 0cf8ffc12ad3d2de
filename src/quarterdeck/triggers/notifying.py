"""Tells the operator's webhook what needs a person.

Rules
- The job is deferred in the transaction of what caused it, so nothing is forgotten; a message that was taken is on
  record and not sent again. Where a process dies between the two it is sent twice, under the same id.
- It is signed as the Standard Webhooks specification says, with the time of each try.
- An answer of 2xx is a receipt; 410 means that nobody wants it; everything else is tried again, ever more rarely, for
  about a day.
- A run's waiting is not told where what it waits for was told.
"""

import logging
from typing import Final

from quarterdeck.engine.port import Engine, Job
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.journal.views import Views
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import outside as e
from quarterdeck.kernel.failures import OutsideFailed
from quarterdeck.triggers import signature
from quarterdeck.triggers.needs import Need, notify
from quarterdeck.triggers.port import Configured, Secrets
from quarterdeck.triggers.publishing import pause_after
from quarterdeck.triggers.web import exchange

_log = logging.getLogger(__name__)

_SECONDS: Final = 15.0
_GONE: Final = 410
_LONGEST_WISH: Final = 3600.0


class Notifying:
    """Handler of `notice.send`."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        views: Views,
        configured: Configured,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._views = views
        self._configured = configured
        self._secrets = secrets
        self._clock = clock

    async def send(self, job: Job) -> None:
        """Handler of `notice.send`."""
        need, number = Need.model_validate_json(str(job.payload["need"])), int(job.payload["number"] or 1)
        section = self._configured().notify
        if section.url is None or need.kind not in section.kinds or await self._told(need):
            return
        stream = ids.notice_stream(need.id)
        if any(isinstance(record.event, e.NoticeSent) for record in await self._journal.read(stream)):
            return
        claim = await self._journal.claim(stream)
        secret = self._secrets(section.secret_env or "")
        if not secret or not signature.usable(secret):
            why = f"the variable {section.secret_env} with the secret of [notify] is not set"
            await self._again(claim, need, number, why, None)
            return
        body, at = need.model_dump_json().encode(), int(self._clock.wall())
        headers = {
            "content-type": "application/json",
            "webhook-id": need.id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature.sign(secret, need.id, at, body),
        }
        try:
            answer = await exchange("POST", section.url, headers, body, seconds=_SECONDS)
        except OutsideFailed as error:
            await self._again(claim, need, number, str(error), None)
            return
        probes.hit("notice.sent")
        if 200 <= answer.status < 300:
            sent = e.NoticeSent(
                notice=need.id, need=need.kind, run=need.run, title=need.title, status=answer.status, number=number
            )
            await self._journal.append(claim, sent)
        elif answer.status == _GONE:
            fix = "correct [notify] url in deck.toml"
            await self._give_up(claim, need, "the webhook answers 410: nobody wants it there", fix)
        else:
            after = answer.headers.get("retry-after", "")
            wish = min(float(after), _LONGEST_WISH) if after.isdigit() else None
            await self._again(claim, need, number, f"the webhook answers {answer.status}", wish)

    async def _told(self, need: Need) -> bool:
        """Whether a run's waiting says nothing that was not told already."""
        if need.kind != "waiting":
            return False
        asked = any(wait.attempt for wait in await self._views.waits(need.run))
        return asked or bool(await self._views.approvals(need.run))

    async def _again(self, claim: Claim, need: Need, number: int, reason: str, wish: float | None) -> None:
        pause = pause_after(number, wish)
        if pause is None:
            await self._give_up(claim, need, reason, "correct [notify] in deck.toml")
            return
        _log.warning("a message about %s could not be sent: %s", need.run or need.trigger, reason)
        again = notify(need, number + 1, pause)
        delayed = e.OutboxDelayed(about=f"notice {need.id}", reason=reason[:2000], seconds=pause, number=number)
        await self._journal.append(claim, delayed, also=lambda tx: self._engine.defer(tx, again))

    async def _give_up(self, claim: Claim, need: Need, reason: str, fix: str) -> None:
        await self._journal.append(claim, e.OutboxFailed(about=f"notice {need.id}", reason=reason[:2000], fix=fix))
