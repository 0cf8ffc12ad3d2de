"""The way to the API: made of its parts when it is first opened.

Rules
- The framework takes half a second to load. It is loaded in a thread when a server starts; nothing else loads it.
"""

import asyncio
import importlib
from typing import Final

from quarterdeck.doors.api.guard import App, Guard
from quarterdeck.doors.api.once import Once
from quarterdeck.doors.api.port import Backing
from quarterdeck.doors.api.replies import Replies
from quarterdeck.doors.api.trust import Way

MODULE: Final = "quarterdeck.doors.api.app"


async def open_api(backing: Backing, replies: Replies) -> App:
    """The API of a deck, behind nothing; each way in puts its own guard before it."""
    module = await asyncio.to_thread(importlib.import_module, MODULE)
    return Once(module.make_app(backing), replies)


def guarded(app: App, way: Way, backing: Backing) -> App:
    """The API as it is reached by one way."""
    return Guard(app, way, backing.keys, backing.sessions, backing.deck.settings.user)
