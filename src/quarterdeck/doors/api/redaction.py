"""A configuration without what is secret. Pure.

Rules
- Declarations of tool servers name variables instead of holding secrets, and what looks like one is refused there; here
  what is written out in an environment or a header is left out all the same, and so is what an address holds beside
  its host and path.
"""

from quarterdeck.kernel.addresses import HIDDEN, shown
from quarterdeck.kernel.config import DeckConfig, ModelSection
from quarterdeck.kernel.servers import McpServer


def redacted(deck: DeckConfig) -> DeckConfig:
    """The same, to be shown."""
    servers = {name: _server(server) for name, server in deck.mcp.servers.items()}
    models = {name: _model(section) for name, section in deck.models.items()}
    return deck.model_copy(update={"mcp": deck.mcp.model_copy(update={"servers": servers}), "models": models})


def _server(server: McpServer) -> McpServer:
    return server.model_copy(
        update={
            "env": {name: _named(text) for name, text in server.env.items()},
            "headers": {name: _named(text) for name, text in server.headers.items()},
            "url": None if server.url is None else shown(server.url),
        }
    )


def _named(text: str) -> str:
    """Variables stay, they are only names."""
    return text if text.startswith("${") and text.endswith("}") and ":-" not in text else HIDDEN


def _model(section: ModelSection) -> ModelSection:
    return section if section.base_url is None else section.model_copy(update={"base_url": shown(section.base_url)})
