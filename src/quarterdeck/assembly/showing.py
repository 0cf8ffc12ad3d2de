"""What the deck shows, wired to its parts."""

from quarterdeck import __version__
from quarterdeck.assembly.colleagues import lacking
from quarterdeck.assembly.parts import Parts
from quarterdeck.board.board import Around
from quarterdeck.board.shown import Shown, shown
from quarterdeck.govern.chain import DayCaps
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.failures import BadConfiguration, StoreUnavailable
from quarterdeck.settings import operator_config


class Showing:
    """The operator's configuration as it is now; where it cannot be read, as it was."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._started_at = parts.clock.wall()
        self._last = DeckConfig()
        self._trouble = ""
        illness = parts.engine.illness
        self._told, illness.told = illness.told, self._tell

    def _tell(self, error: StoreUnavailable | None) -> None:
        """What keeps the work from going on is shown too, not only told."""
        self._trouble = str(error) if error is not None else ""
        if self._told is not None:
            self._told(error)

    def caps(self) -> DayCaps:
        """What may be spent in a day."""
        return self._parts.days.now()

    async def look(self) -> Around:
        """How the machine and this server are."""
        config = self._config()
        return Around(
            version=__version__,
            started_at=self._started_at,
            working=await self._parts.engine.attended(),
            today_cap_usd=self.caps().deck,
            inbox_limit=config.approve.inbox,
            trouble=self._trouble or next(map(lacking, await self._parts.engine.untaken()), ""),
        )

    def _config(self) -> DeckConfig:
        try:
            self._last = operator_config(self._parts.settings.home).config
        except BadConfiguration:  # said by whatever needs the configuration next; what held before is shown
            return self._last
        return self._last


def show(parts: Parts) -> Shown:
    """Everything that the deck shows. `Shown.live.run()` has to run while somebody looks."""
    showing = Showing(parts)
    return shown(parts.store, parts.journal, parts.clock, showing.look, parts.workshop.mirror, showing.caps)
