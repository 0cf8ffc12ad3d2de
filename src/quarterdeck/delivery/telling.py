"""A person's message to an agent at work: recorded, then told to whoever listens.

Rules
- Whom it is for and whether it can be told is decided purely, from the attempts as the read tables have them. What
  cannot hear is said to be so, with what to do instead; nothing is recorded then.
- The job that records it may run twice: a message has an id, and stands in the stream `mail/<attempt>` once.
"""

from collections.abc import Sequence
from typing import Final

from quarterdeck.agents.mail import Letter, Mail
from quarterdeck.engine.port import Job
from quarterdeck.journal.port import Journal
from quarterdeck.journal.views import AttemptView
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Harness
from quarterdeck.kernel.failures import Conflicting, NotFound

TELL: Final = "attempt.tell"

RUNNING: Final = "running"


def tell_job(run: str, attempt: str, message: str, *, by: str, text_blob: str) -> Job:
    """Record a message to that attempt's agent. `message`: its id."""
    return Job(
        kind=TELL,
        key=f"tell/{message}",
        lock=ids.mail_stream(attempt),
        run=run,
        payload={"attempt": attempt, "message": message, "by": by, "text_blob": text_blob},
        priority=20,
    )


def listener(attempts: Sequence[AttemptView], kind: str, id: str) -> AttemptView:
    """The attempt that a message to `id` is for. `kind`: `run`, `task` or `attempt`; `attempts`: all of the run.

    Raises NotFound, Conflicting.
    """
    run = id.partition(".")[0]
    if kind == "attempt":
        found = [each for each in attempts if each.attempt == id]
        if not found:
            raise NotFound(f"there is no attempt {id}", fix=f"quarterdeck show {run}")
    else:
        found = [each for each in attempts if kind == "run" or f"{each.run}.{each.task}" == id]
    working = [each for each in found if each.status == RUNNING]
    names = {each.attempt for each in working}
    if kind != "attempt":  # a sub-agent is told by its own id only
        working = [each for each in working if each.attempt.rpartition(".")[0] not in names]
    if not working:
        how = f"{id} is {found[0].status}" if kind == "attempt" else f"no agent is at work on {id}"
        fix = f'quarterdeck resume {run} --answer "…"   (where the run waits; else the next attempt starts without it)'
        raise Conflicting("nobody is there to be told", why=how, fix=fix)
    can = [each for each in working if each.harness in (Harness.NATIVE, Harness.ACP)]
    if not can:
        who = working[0]
        how = "runs a command, which reads its task once" if who.harness == Harness.COMMAND else "is no agent"
        fix = f"let it end, or: quarterdeck cancel {run}"
        raise Conflicting(f"{who.attempt} cannot be told anything while it works", why=f"{who.agent} {how}", fix=fix)
    if len(can) > 1:
        listed = ", ".join(f"{each.attempt} ({each.agent})" for each in can[:8])
        raise Conflicting(f"{len(can)} agents are at work on {id}", why=listed, fix="name one of them")
    return can[0]


class Telling:
    """Handler of `attempt.tell`."""

    def __init__(self, journal: Journal, mail: Mail) -> None:
        self._journal = journal
        self._mail = mail

    async def tell(self, job: Job) -> None:
        """Record the message and tell whoever listens in this process."""
        attempt, message = str(job.payload["attempt"]), str(job.payload["message"])
        text = (await self._journal.get(str(job.payload["text_blob"]))).decode()
        event = e.MessageSent(message=message, by=str(job.payload["by"]), text=text)
        stream = ids.mail_stream(attempt)
        sent = [record.event for record in await self._journal.read(stream)]
        if message not in [each.message for each in sent if isinstance(each, e.MessageSent)]:
            await self._journal.append(await self._journal.claim(stream), event)
        self._mail.deliver(attempt, Letter(message, text, event.by))
