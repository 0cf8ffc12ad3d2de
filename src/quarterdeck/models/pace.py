"""The deadlines of one call: until the first sign of life, between two of them, and for all of it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models.port import Deadlines

T = TypeVar("T")


class Pace:
    """Waits for the steps of one call, which begins when this is made."""

    def __init__(self, deadlines: Deadlines, name: str) -> None:
        """`name`: of the model, for failures."""
        self._deadlines = deadlines
        self._name = name
        self._now = asyncio.get_running_loop().time
        began = self._now()
        self._end = began + deadlines.total
        self._since = began
        """When the last sign of life was, or somebody began to wait for the next one."""
        self._first: float | None = began + deadlines.first_byte

    async def wait(self, step: Awaitable[T]) -> T:
        """What `step` gives, which is a sign of life. Raises ModelFailed where a deadline passes before."""
        due = self.due()
        try:
            async with asyncio.timeout_at(due):
                given = await step
        except TimeoutError as error:
            raise self.silent(due) from error
        self.alive()
        return given

    def due(self) -> float:
        """When the next sign of life must be there, by the loop's clock, for whoever begins to wait for it now."""
        self._since = self._now()
        return self.expected()

    def expected(self) -> float:
        """The same for whoever waits already."""
        return min(self._since + self._deadlines.idle if self._first is None else self._first, self._end)

    def alive(self) -> None:
        """There was a sign of life."""
        self._first = None
        self._since = self._now()

    def silent(self, due: float) -> ModelFailed:
        """The failure of a call that was silent until `due`."""
        if due == self._end:
            why = f"no end after {self._deadlines.total:g} s"
        elif self._first is not None:
            why = f"the first sign of life took over {self._deadlines.first_byte:g} s"
        else:
            why = f"the next event took over {self._deadlines.idle:g} s"
        return ModelFailed(f"{self._name} is silent", FailureClass.TRANSIENT, billed=True, why=why)
