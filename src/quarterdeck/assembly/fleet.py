"""The harnesses and the models of a deck.

Rules
- They are made for a run's frozen configuration: two runs may name the same model and mean different servers.
- Over one set of connections for each way of reaching models, and one limiter for each provider.
"""

import logging
from collections.abc import Mapping

from quarterdeck.agents.acp import AcpHarness
from quarterdeck.agents.command import CommandHarness
from quarterdeck.agents.mail import Mail
from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.port import HarnessAdapter
from quarterdeck.agents.ports import Ports
from quarterdeck.assembly.pacing import Pacing
from quarterdeck.delivery.nodes.planning import inspect
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.journal.log import Log
from quarterdeck.journal.touches import Touches
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import DeadlinesSection, ModelSection, RunConfig
from quarterdeck.kernel.entities import Harness
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.models.factory import Models, make_factory
from quarterdeck.models.http.port import Network
from quarterdeck.models.limiter import Limiters
from quarterdeck.models.port import Deadlines
from quarterdeck.models.providers import PROVIDERS
from quarterdeck.settings import Settings, load_settings
from quarterdeck.tools.shed.shed import Shed
from quarterdeck.tools.toolbox import Toolbox

_log = logging.getLogger(__name__)


class Fleet:
    """Harnesses by configuration, over one set of connections for each way of reaching models."""

    def __init__(
        self,
        settings: Settings,
        journal: Log,
        treasury: Budgets,
        clock: Clock,
        mail: Mail | None = None,
        shed: Shed | None = None,
        approvals: Approvals | None = None,
        pacing: Pacing | None = None,
        touches: Touches | None = None,
    ) -> None:
        self._approvals = approvals
        self._touches = touches
        self._settings = settings
        self._shed = shed
        self._journal = journal
        self._treasury = treasury
        self._clock = clock
        self._mail = mail or Mail()
        self._pacing = pacing
        self._limiters = Limiters(clock, sharing=pacing)
        self._command = CommandHarness(journal, touches)
        self._acp: AcpHarness | None = None
        self._native: dict[str, tuple[NativeHarness, Models]] = {}

    def models(self, config: RunConfig) -> Models:
        """The models as that configuration sees them."""
        return self._made(config)[1]

    def native(self, config: RunConfig) -> NativeHarness:
        """Our own loop for that configuration."""
        return self._made(config)[0]

    @property
    def acp(self) -> AcpHarness:
        """The harness of agents that speak ACP. It needs the gateway, which needs the models."""
        assert self._acp is not None  # `make` calls `add_acp`
        return self._acp

    def add_acp(self, harness: AcpHarness) -> None:
        """Once, before anything runs."""
        self._acp = harness

    def harnesses(self, config: RunConfig) -> Mapping[Harness, HarnessAdapter]:
        """The harnesses that there are."""
        acp = {Harness.ACP: self._acp} if self._acp is not None else {}
        return {Harness.COMMAND: self._command, Harness.NATIVE: self.native(config), **acp}

    def _made(self, config: RunConfig) -> tuple[NativeHarness, Models]:
        sections, deadlines = config.deck.models, config.deck.deadlines
        key = ids.digest(repr((sorted(sections.items()), deadlines)).encode())
        if key not in self._native:
            models = self._models(sections, deadlines)
            ports = Ports(
                journal=self._journal,
                policy=DefaultPolicy(),
                treasury=self._treasury,
                models=models,
                toolbox=Toolbox(),
                clock=self._clock,
                inspect=inspect,
                mail=self._mail,
                shed=self._shed,
                approvals=self._approvals,
                touches=self._touches,
            )
            self._native[key] = (NativeHarness(ports), models)
        return self._native[key]

    def _models(self, sections: Mapping[str, ModelSection], deadlines: DeadlinesSection) -> Models:
        settings = self._settings
        return make_factory(
            keys=_keys(settings),
            base_urls=addresses(settings),
            models=sections,
            deadlines=Deadlines(**deadlines.model_dump()),
            reload_key=_reloaded,
            limiters=self._limiters,
            network=Network(settings.proxies, settings.cert_file, settings.cert_folder),
        )

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        made, self._native = self._native, {}
        for _, models in made.values():
            await models.close()
        if self._pacing is not None:
            await self._pacing.close()


def addresses(settings: Settings) -> dict[str, str | None]:
    """Where the variables say that each provider is; None = where it is by itself."""
    return {
        "anthropic": settings.anthropic_base_url,
        "openai": settings.openai_base_url,
        "chat": settings.openai_base_url,
        "google": settings.google_base_url,
    }


def _keys(settings: Settings) -> dict[str, str | None]:
    return {
        **settings.keys,
        **{name: settings.keys.get(PROVIDERS[name].key_variable) for name in ("anthropic", "openai", "google", "chat")},
    }


def _reloaded(source: str) -> str | None:
    """The key as it is now: the file that holds it may have been changed. None where that cannot be known."""
    try:
        return _keys(load_settings()).get(source)
    except BadConfiguration as error:  # the refusal of the old key is what is reported
        _log.warning("the key of %s was refused and cannot be read again: %s", source, error)
        return None
