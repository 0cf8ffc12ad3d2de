"""What other workers put on record for the agents here: one that cannot be told keeps nobody from hearing."""

import asyncio
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.agents import mail
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock


async def test_one_that_cannot_be_told_keeps_nobody_from_hearing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "_ROUND_SECONDS", 0.01)
    store = await open_at(tmp_path / "deck.db")
    journal, post, heard = Log(store, SystemClock()), mail.Mail(), asyncio.Queue[mail.Letter]()

    def deaf(letter: mail.Letter) -> None:
        raise LookupError(letter.id)

    post.listen("r-1.a.1", deaf)
    post.listen("r-1.b.1", heard.put_nowait)
    rounds = asyncio.create_task(post.rounds(journal))
    for number in range(2):
        for attempt in ("r-1.a.1", "r-1.b.1"):
            claim = await journal.claim(ids.mail_stream(attempt))
            await journal.append(claim, e.MessageSent(message=f"{attempt}/{number}", by="ada", text="Stop."))
        async with asyncio.timeout(20):
            assert (await heard.get()).id == f"r-1.b.1/{number}"
    rounds.cancel()
    await asyncio.gather(rounds, return_exceptions=True)
    await store.close()
