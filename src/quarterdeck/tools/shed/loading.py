"""Loads what knows the protocol's SDK when the first server is started, and not before.

Rules
- Loading it takes seconds of processor time: it is done in a thread, once, and nothing waits for it that needs no
  server.
"""

import asyncio
import importlib
import sys
import threading
from typing import Any, Final

from quarterdeck.tools.shed.port import Linker

_MODULE: Final = "quarterdeck.tools.shed.wire.client"


def begin_loading() -> None:
    """Load it in the background, where that was not done."""
    if _MODULE not in sys.modules:
        threading.Thread(target=importlib.import_module, args=(_MODULE,), daemon=True, name="load mcp").start()


async def load_linker() -> Linker:
    """What opens links."""
    module: Any = await asyncio.to_thread(importlib.import_module, _MODULE)
    linker: Linker = module.SdkLinker()
    return linker
