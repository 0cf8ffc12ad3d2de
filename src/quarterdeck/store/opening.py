"""Which database a deck has: PostgreSQL where the operator named one, else one SQLite file in its home.

Rules
- The PostgreSQL store and its client are loaded only where they are used.
- What is neither is named by its kind alone: an address may hold a password.
"""

import importlib
from pathlib import Path
from typing import Final, cast

from quarterdeck.kernel.failures import BadConfiguration, MissingPart
from quarterdeck.settings import Settings
from quarterdeck.store.port import Store
from quarterdeck.store.sqlite import SqliteStore

FILE: Final = "deck.db"
"""The embedded database, in the home."""
_POSTGRES: Final = "quarterdeck.store.postgres"
_CLIENT: Final = "psycopg"
_KINDS: Final = ("postgresql", "postgres")
"""How URLs of it begin."""


async def open_store(settings: Settings) -> Store:
    """The deck's store. Raises StoreUnavailable, BadConfiguration, MissingPart."""
    if settings.database_url is None:
        return await SqliteStore.open(settings.home / FILE)
    return await open_url(settings.database_url)


async def open_url(url: str) -> Store:
    """The store at that address: a URL of PostgreSQL, or the path of an SQLite file. Raises as `open_store` does."""
    kind, apart, _ = url.partition("://")
    if not apart and "=" not in url:
        return await SqliteStore.open(Path(url))
    if apart and "=" not in kind and kind not in _KINDS:
        raise BadConfiguration(
            f"a deck cannot lie in a database of the kind {kind[:30]!r}",
            why="it lies in PostgreSQL, or in one file of SQLite",
            fix="QUARTERDECK_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE, or none: then it is in its home",
        )
    try:
        module = importlib.import_module(_POSTGRES)
    except ModuleNotFoundError as error:
        if error.name != _CLIENT:
            raise
        raise MissingPart(
            "The client of PostgreSQL is not installed", fix="pip install 'quarterdeck[postgres]'"
        ) from error
    return cast(Store, await module.PostgresStore.open(url))
