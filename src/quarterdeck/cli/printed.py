"""What agents that are programs and checks printed, as the journal has it.

Rules
- In the order of time; each with a line above it that says whose it is and how it ended.
- What others wrote is cleaned before it reaches a terminal; it was bounded when it was recorded.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from quarterdeck.cli.amounts import duration
from quarterdeck.cli.lines import who
from quarterdeck.cli.text import clean
from quarterdeck.journal.port import Journal, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import CheckResult

_RESULTS: Final = TypeAdapter(tuple[CheckResult, ...])


@dataclass(frozen=True, slots=True)
class Printed:
    """One program's output."""

    who: str
    """A task with the number of its attempt, or the gate."""
    command: str
    """Empty for the agent itself."""
    ended: str
    text: str

    def lines(self) -> str:
        """As a person reads it."""
        head = f"==> {self.who}: {clean(self.command) or 'the agent'}, {self.ended}"
        return f"{head}\n{clean(self.text, lines=True).rstrip()}".rstrip()


async def printed(journal: Journal, records: Iterable[Record]) -> AsyncIterator[Printed]:
    """The outputs that these records tell of."""
    for record in records:
        match record.event:
            case e.HarnessFinished(output_blob=str(blob)) as event:
                code = "finished" if event.ok else event.reason or f"exit {event.exit_code}"
                text = (await journal.get(blob)).decode(errors="replace")
                yield Printed(who(record), "", code.partition("\n")[0], text)
            case e.CheckRan(results_blob=blob) | e.GateCheckFinished(results_blob=str(blob)):
                for result in _RESULTS.validate_json(await journal.get(blob)):
                    yield Printed(who(record), result.command, _ended(result), result.output)
            case _:
                pass


def _ended(result: CheckResult) -> str:
    words = result.reason or ("killed" if result.exit_code is None else f"exit {result.exit_code}")
    return f"{words}, {duration(result.seconds)}"
