"""How a sandbox is ended, with processes of the system itself in the place of a launched sandbox.

Rules
- Whoever is told that it has ended can rely on it, also where somebody else, who was cancelled, began to end it.
"""

import asyncio
import os
import select
import sys

import pytest

from quarterdeck.workplace.ending import NamespaceEnder

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"), pytest.mark.timeout(60)]

SLOW_TO_GO = "held = bytearray(b'x' * (256 << 20)); print('there', flush=True); import time; time.sleep(600)"
"""What has much memory takes a while to end, once it was killed."""


async def test_the_second_who_ends_it_waits_where_the_first_was_cancelled() -> None:
    if sys.platform != "linux":
        return
    outer = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'exec 3>&1; python3 -c "$0" >&3 & echo $!; wait', SLOW_TO_GO),
        stdout=asyncio.subprocess.PIPE,
    )
    assert outer.stdout is not None
    first = int(await outer.stdout.readline())
    assert await outer.stdout.readline() == b"there\n"
    ender = NamespaceEnder(outer)
    ender.hold(first)
    watched = os.pidfd_open(first)
    try:
        ending = asyncio.create_task(ender.end())
        await asyncio.sleep(0)
        ending.cancel()
        await ender.end()
        assert select.select([watched], [], [], 0)[0], "it was said to have ended, and is still there"
        assert outer.returncode is not None
        await ender.end()
    finally:
        os.close(watched)
