"""Makes the model of a `provider:model` name.

Rules
- `anthropic:` Messages; `openai:` Responses; `google:` Gemini's generateContent; `chat:` Chat Completions at a base URL
  (vLLM and the like); `ollama:` Ollama's own interface, at localhost unless configured.
- One connection per provider, base URL and key source, shared by all agents.
- A provider's client is loaded when its first model is made, never before: with the HTTP client below it that costs a
  tenth of a second. A thread does it, and the first call waits for it, nothing else.
- The environment is not read here: keys come in, and are read again through `reload_key` after a 401.
- An address that a model has to itself is sent the key that its `api_key_env` names, or none (`providers.trusted`).
"""

import asyncio
import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from quarterdeck.kernel.addresses import shown
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.failures import BadConfiguration, FailureClass, ModelFailed
from quarterdeck.models import windows
from quarterdeck.models.http.port import Network
from quarterdeck.models.limiter import Limiter, Limiters
from quarterdeck.models.port import Deadlines, Model, Reply, Request
from quarterdeck.models.providers import OTHERS_KEY, PROVIDERS, Way, trusted
from quarterdeck.models.streaming import Dialect, StreamingModel, Transport

if TYPE_CHECKING:  # it brings the HTTP client, which is loaded when the first model is made
    from quarterdeck.models.upstream import Upstream

MODULES: Final = {name: provider.client for name, provider in PROVIDERS.items()}
"""The client of each provider, loaded by name."""


def key_variable(name: str, section: ModelSection | None = None) -> str:
    """The environment variable in which the key of that model is looked for; "" = none is."""
    own = section.api_key_env if section is not None else None
    known = PROVIDERS.get(name.partition(":")[0])
    return own or (known.key_variable if known is not None else OTHERS_KEY)


def key_source(name: str, section: ModelSection, usual: str | None) -> str:
    """Whose key that model's server is sent: its provider's, or what the variable of that name holds; "" = nobody's.

    `usual`: the address in the provider's variable. Pure.
    """
    provider = name.partition(":")[0]
    return section.api_key_env or (provider if trusted(PROVIDERS[provider], section.base_url or None, usual) else "")


Made = tuple[Transport, Dialect]


class _Connection:
    """A way to a provider; its module is being loaded, and the client is made when it is first needed."""

    def __init__(self, module: str, way: Way, limiter: Limiter) -> None:
        self.limiter = limiter
        self._module = module
        self._way = way
        self._made: Made | None = None
        self._making = asyncio.Lock()
        if module not in sys.modules:
            threading.Thread(target=_load, args=(module,), daemon=True, name=f"load {module}").start()

    async def get(self) -> Made:
        """The way, ready. Raises ModelFailed."""
        if self._made is not None:
            return self._made
        async with self._making:
            if self._made is None:
                try:
                    client = await asyncio.to_thread(importlib.import_module, self._module)
                    self._made = client.connect(self._way)
                except OSError as error:  # no descriptor, no memory: asked again when the machine is well
                    what = f"the client of {self._module.rpartition('.')[2].partition('_')[0]} cannot be loaded"
                    raise ModelFailed(what, FailureClass.INFRASTRUCTURE, why=str(error)) from error
            return self._made

    async def close(self) -> None:
        if self._made is not None:
            await self._made[0].close()


def _load(module: str) -> None:
    with contextlib.suppress(ImportError, OSError):  # whoever needs it asks again, and is told
        importlib.import_module(module)


class _Model:
    """A model over a connection that may still be loading."""

    def __init__(self, name: str, connection: _Connection, deadlines: Deadlines, context: int | None) -> None:
        self._name = name
        self._connection = connection
        self._deadlines = deadlines
        self._window = context or windows.known(*name.split(":", 1))
        self._ready: StreamingModel | None = None

    @property
    def name(self) -> str:
        return self._name

    async def window(self) -> int:
        if self._window is not None:
            return self._window
        return await (await self._streaming()).window()

    async def complete(self, request: Request) -> Reply:
        return await (await self._streaming()).complete(request)

    async def close(self) -> None:
        """Nothing of its own to close: the connection belongs to the factory."""

    async def _streaming(self) -> StreamingModel:
        if self._ready is None:
            transport, dialect = await self._connection.get()
            self._ready = StreamingModel(self._name, transport, dialect, self._deadlines, self._window)
        return self._ready


class Models:
    """The factory; it owns the connections."""

    def __init__(
        self,
        keys: Mapping[str, str | None],
        base_urls: Mapping[str, str | None],
        models: Mapping[str, ModelSection],
        deadlines: Deadlines,
        reload_key: Callable[[str], str | None],
        limiters: Limiters,
        network: Network,
    ) -> None:
        self._keys = keys
        self._base_urls = base_urls
        self._sections = models
        self._deadlines = deadlines
        self._reload_key = reload_key
        self._limiters = limiters
        self._network = network
        self._connections: dict[tuple[str, str | None, str], _Connection] = {}
        self._named: dict[str, _Connection] = {}
        """The same by `provider:model`: it is asked for several times a call."""
        self._models: dict[str, _Model] = {}

    def __call__(self, name: str) -> Model:
        """The model of that name. Raises BadConfiguration."""
        if name not in self._models:
            self._models[name] = self._make(name)
        return self._models[name]

    async def upstream(self, name: str) -> "Upstream":
        """The way to the server of the `provider:model` of that name, for requests that are passed on as they are.

        It is shared with every model behind the same address and key. Raises BadConfiguration, ModelFailed.
        """
        transport, _ = await self._connection(name).get()
        return transport.upstream

    def limiter(self, name: str) -> Limiter:
        """What holds calls to that model back: one for all that share its server and key. Raises BadConfiguration."""
        return self._connection(name).limiter

    def _make(self, name: str) -> _Model:
        context = self._sections.get(name, ModelSection()).context
        return _Model(name, self._connection(name), self._deadlines, context)

    def _connection(self, name: str) -> _Connection:
        if name not in self._named:
            self._named[name] = self._connected(name)
        return self._named[name]

    def _connected(self, name: str) -> _Connection:
        provider, _, model = name.partition(":")
        if provider not in MODULES or not model:
            raise BadConfiguration(
                f"there is no model {name!r}",
                why=f"a model is named provider:model, and the providers are {', '.join(MODULES)}",
                fix="correct it where it is named: [tiers] in deck.toml, the agent's `model`, or --model",
            )
        section = self._sections.get(name, ModelSection())
        usual = self._base_urls.get(provider)
        source, base_url = key_source(name, section, usual), section.base_url or usual
        key = self._keys.get(source) if source else None
        _check_key(name, section, key, wanted=bool(source))
        _check_address(name, base_url)
        place = (provider, base_url, source)
        if place not in self._connections:
            address = base_url or PROVIDERS[provider].address
            limiter = self._limiters.of(name, f"{address} {sha256((key or '').encode()).hexdigest()[:16]}")
            reload = partial(self._reload_key if source else _no_key, source)
            keyless = key is None and not (source and PROVIDERS[provider].key_variable)
            way = Way(provider, key, base_url, self._deadlines, reload, keyless, self._network, limiter.heard)
            self._connections[place] = _Connection(MODULES[provider], way, limiter)
        return self._connections[place]

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        connections, self._connections = self._connections, {}
        self._named.clear()
        self._models.clear()
        for connection in connections.values():
            await connection.close()


def _check_key(name: str, section: ModelSection, key: str | None, *, wanted: bool) -> None:
    variable = key_variable(name, section)
    if not wanted:
        return
    if key is None:
        if section.api_key_env or PROVIDERS[name.partition(":")[0]].needs_key:
            raise BadConfiguration(f"{name} needs a key", why=f"{variable} is not set", fix=f"export {variable}=...")
    elif not (key.isascii() and key.isprintable() and key == key.strip()):
        why = f"{variable} holds a space at an end, a line break or a character beyond ASCII"
        raise BadConfiguration(f"the key of {name} cannot be sent", why=why, fix=f"export {variable}=...")


def _check_address(name: str, base_url: str | None) -> None:
    provider = name.partition(":")[0]
    known = PROVIDERS[provider]
    here = f'[models."{name}"] base_url in deck.toml'
    if base_url is None:
        if not known.address:
            why = f"{provider}: is for servers of your own"
            raise BadConfiguration(f"{name} has no address", why=why, fix=f"set {known.address_variable}, or {here}")
    elif not _is_address(base_url):
        raise BadConfiguration(
            f"the address of {name} cannot be used",
            why=f"{shown(base_url)!r} is not of the form http://host:port/path or https://...",
            fix=f"correct {known.address_variable or 'base_url'}, or {here}",
        )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without the other one
        return False


def _no_key(source: str) -> str | None:
    return None


def make_factory(
    *,
    keys: Mapping[str, str | None],
    base_urls: Mapping[str, str | None] | None = None,
    models: Mapping[str, ModelSection] | None = None,
    deadlines: Deadlines | None = None,
    reload_key: Callable[[str], str | None] = _no_key,
    limiters: Limiters | None = None,
    network: Network | None = None,
) -> Models:
    """A `ModelFactory`.

    `keys` and `base_urls`: by provider; a model with `api_key_env` looks its key up under that variable's name, and one
    with an address of its own has no other.
    `reload_key`: reads the key of a provider (or of such a variable) again, after a 401. `limiters`: those of the deck.
    `network`: how this machine reaches others.
    """
    shared = limiters or Limiters(SystemClock())
    return Models(
        keys, base_urls or {}, models or {}, deadlines or Deadlines(), reload_key, shared, network or Network()
    )
