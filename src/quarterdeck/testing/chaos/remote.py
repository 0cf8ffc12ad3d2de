"""The git remote of a fleet, served as git itself serves: workers reach it through a network and by no path.

Rules
- Its address (`git://remote.test/…`) is the same for everybody and leads nowhere; each worker's own git configuration
  says where it is found from there.
- It takes pushes from whoever reaches it.
"""

import socket
import subprocess
from pathlib import Path
from typing import Final

ADDRESS: Final = "git://remote.test"


class Remote:
    """A git daemon over the repositories below `root`, listening on a port of loopback."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as listening:  # it says nowhere which one it took
            listening.bind(("127.0.0.1", 0))
            self.port = int(listening.getsockname()[1])
        command = ["git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"]
        self._process = subprocess.Popen(
            [*command, f"--port={self.port}", f"--base-path={root}", str(root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def configuration(host: str, port: int) -> str:
    """A git configuration by which the remote is found at that address."""
    return f'[url "git://{host}:{port}/"]\n\tinsteadOf = {ADDRESS}/\n'
