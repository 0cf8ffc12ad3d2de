"""Makes the model of a `provider:model` name.

Rules
- `anthropic:` Messages; `openai:` Responses; `chat:` Chat Completions at a base URL (vLLM and the like); `ollama:`
  Ollama's own interface, at localhost unless configured.
- One connection per provider, base URL and key source, shared by all agents.
- A provider's SDK is loaded when its first model is made, never before: it costs most of a second.
- The environment is not read here: keys come in, and are read again through `reload_key` after a 401.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Final

from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.models.port import Deadlines, Model
from quarterdeck.models.streaming import Dialect, StreamingModel, Transport

MODULES: Final = {
    "anthropic": "quarterdeck.models.anthropic_client",
    "openai": "quarterdeck.models.openai_client",
    "chat": "quarterdeck.models.openai_client",
    "ollama": "quarterdeck.models.ollama_client",
}
KEYS: Final = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
"""Providers that cannot be used without a key, and where people put it."""


class Models:
    """The factory; it owns the connections."""

    def __init__(
        self,
        keys: Mapping[str, str | None],
        base_urls: Mapping[str, str | None],
        models: Mapping[str, ModelSection],
        deadlines: Deadlines,
        reload_key: Callable[[str], str | None],
    ) -> None:
        self._keys = keys
        self._base_urls = base_urls
        self._sections = models
        self._deadlines = deadlines
        self._reload_key = reload_key
        self._connections: dict[tuple[str, str | None, str], tuple[Transport, Dialect]] = {}
        self._models: dict[str, StreamingModel] = {}

    def __call__(self, name: str) -> Model:
        """The model of that name. Raises BadConfiguration."""
        if name not in self._models:
            self._models[name] = self._make(name)
        return self._models[name]

    def _make(self, name: str) -> StreamingModel:
        provider, _, model = name.partition(":")
        if provider not in MODULES or not model:
            raise BadConfiguration(
                f"there is no model {name!r}",
                why=f"a model is named provider:model, and the providers are {', '.join(MODULES)}",
                fix="correct [tiers] in deck.toml or the agent's `model`",
            )
        section = self._sections.get(name, ModelSection())
        source = section.api_key_env or provider
        base_url = section.base_url or self._base_urls.get(provider)
        key = self._keys.get(source)
        if key is None and (section.api_key_env or provider in KEYS):
            variable = section.api_key_env or KEYS[provider]
            raise BadConfiguration(f"{name} needs a key", why=f"{variable} is not set", fix=f"export {variable}=...")
        if provider == "chat" and base_url is None:
            raise BadConfiguration(
                f"{name} has no address",
                why="chat: is for servers of your own",
                fix=f'set OPENAI_BASE_URL, or [models."{name}"] base_url in deck.toml',
            )
        transport, dialect = self._connect(provider, base_url, source, key)
        return StreamingModel(name, transport, dialect, self._deadlines, section.context)

    def _connect(self, provider: str, base_url: str | None, source: str, key: str | None) -> tuple[Transport, Dialect]:
        place = (provider, base_url, source)
        if place not in self._connections:
            module = importlib.import_module(MODULES[provider])
            made: tuple[Transport, Dialect] = module.connect(
                provider, key, base_url, self._deadlines, lambda: self._reload_key(source)
            )
            self._connections[place] = made
        return self._connections[place]

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        connections, self._connections = self._connections, {}
        self._models.clear()
        for transport, _ in connections.values():
            await transport.close()


def _no_key(source: str) -> str | None:
    return None


def make_factory(
    *,
    keys: Mapping[str, str | None],
    base_urls: Mapping[str, str | None] | None = None,
    models: Mapping[str, ModelSection] | None = None,
    deadlines: Deadlines | None = None,
    reload_key: Callable[[str], str | None] = _no_key,
) -> Models:
    """A `ModelFactory`.

    `keys` and `base_urls`: by provider; a model with `api_key_env` looks its key up under that variable's name.
    `reload_key`: reads the key of a provider (or of such a variable) again, after a 401.
    """
    return Models(keys, base_urls or {}, models or {}, deadlines or Deadlines(), reload_key)
