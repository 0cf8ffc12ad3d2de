"""Keeps a test server of PostgreSQL running while anybody holds its pipe open; then ends it and removes its files.

usage: python postgres_keeper.py DIRECTORY BINARIES UID GID [NAME=VALUE ...]

Rules
- It needs nothing but the standard library, and is nobody's child: it outlives whoever started it until the last user
  of the server has ended, however that happened.
- A server that ends by itself is started again, unless the file `hold` lies in the directory.
- What the server holds is thrown away, so it is ended at once.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PAUSE = 0.05


def main(directory: Path, binaries: Path, uid: int, gid: int, settings: list[str]) -> None:
    over = threading.Event()
    server: subprocess.Popen[bytes] | None = None

    def wait_for_users(pipe: int) -> None:
        _until_unused(pipe)
        (directory / "users").unlink()  # whoever comes now finds no server, rather than one that ends
        _until_unused(pipe)  # and who came a moment before is waited for
        over.set()
        if server is not None:
            server.send_signal(signal.SIGQUIT)

    pipe = os.open(directory / "users", os.O_RDONLY)  # waits for the first user
    threading.Thread(target=wait_for_users, args=(pipe,), daemon=True).start()
    command = [str(binaries / "postgres"), "-D", str(directory / "data")]
    for setting in settings:
        command += ["-c", setting]
    root = os.geteuid() == 0
    with (directory / "log").open("ab") as log:
        while not over.is_set():
            if not (directory / "hold").exists():
                server = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=directory,
                    user=uid if root else None,
                    group=gid if root else None,
                    extra_groups=() if root else None,
                )
                if over.is_set():  # between the question above and now
                    server.send_signal(signal.SIGQUIT)
                server.wait()
            over.wait(_PAUSE)
    shutil.rmtree(directory, ignore_errors=True)


def _until_unused(pipe: int) -> None:
    while os.read(pipe, 4096):
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
