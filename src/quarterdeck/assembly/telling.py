"""`tell`: what a person wants an agent at work to know, from whatever process it is said in.

Rules
- It is durable before it is acknowledged: a job of the deck, like a pause. The process that works on the run records
  and delivers it; where there is none, nobody is told, and that is said.
"""

import secrets
from typing import Final

from quarterdeck.agents.outside import MESSAGE_LIMIT
from quarterdeck.assembly.parts import Parts
from quarterdeck.delivery.telling import listener, tell_job
from quarterdeck.journal.views import AttemptView
from quarterdeck.kernel.failures import BadInput, Conflicting

_ID_BYTES: Final = 6


async def tell(parts: Parts, kind: str, id: str, text: str, *, by: str) -> tuple[AttemptView, str]:
    """(whom, the message's id). `kind` and `id` as `Deck.resolve` gives them.

    Raises BadInput, NotFound, Conflicting.
    """
    text = text.strip()
    if not text:
        raise BadInput("the message is empty", fix=f'quarterdeck tell {id} "…"')
    if len(text) > MESSAGE_LIMIT:
        raise BadInput(
            f"the message has {len(text)} characters", why=f"{MESSAGE_LIMIT} are the most", fix="put it into a file"
        )
    run = id.partition(".")[0]
    view = await parts.views.run(run)
    if view.status.finished:
        raise Conflicting(f"{run} has ended", why=f"it is {view.status}", fix=f"quarterdeck show {run}")
    if not await parts.engine.attended():
        fix = f"quarterdeck resume {run}   (and tell it again)"
        raise Conflicting(f"no process works on {run} now", fix=fix)
    whom = listener(await parts.views.attempts(run), kind, id)
    message = f"{whom.attempt}/{secrets.token_hex(_ID_BYTES)}"
    blob = await parts.journal.put(text.encode("utf-8", "replace"))
    job = tell_job(run, whom.attempt, message, by=by, text_blob=blob)
    await parts.journal.commit(also=lambda tx: parts.engine.defer(tx, job))
    return whom, message
