"""Loopback TCP ports inside a sandbox that lead to unix sockets outside: of an allow-list proxy, of the gateway.

Rules
- Standard library of Python 3.8 only. One thread a connection; what is beyond the bound waits in the listen queue.
- It understands nothing of what passes: the other side decides.
"""

from __future__ import annotations

from quarterdeck.workplace.worker_processes import begin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import threading

PORT = 3128
CONNECTIONS = 64
_CHUNK = 65536


def start(socket_path: str, port: int) -> int:
    """Listen on 127.0.0.1:`port` (0 = any) in a thread of its own; the port. Raises OSError."""
    import socket  # noqa: PLC0415 -- slow to load, and most sandboxes have no proxy

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    begin(_accept, listener, socket_path)
    return int(listener.getsockname()[1])


def _accept(listener: socket.socket, path: str) -> None:
    import threading  # noqa: PLC0415 -- see `start`

    slots = threading.BoundedSemaphore(CONNECTIONS)
    while True:
        slots.acquire()
        try:
            client, _ = listener.accept()
        except OSError:  # out of descriptors for the moment: the client is refused, the port stays
            slots.release()
            continue
        try:
            begin(_serve, client, path, slots)
        except RuntimeError:  # no thread to be had
            client.close()
            slots.release()


def _serve(client: socket.socket, path: str, slots: threading.BoundedSemaphore) -> None:
    import socket  # noqa: PLC0415 -- see `start`

    try:
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as proxy:
            proxy.connect(path)
            _pump(client, proxy)
    except OSError:  # either side went away: that ends the connection, nothing else
        return
    finally:
        slots.release()


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until both sides have said that they are done."""
    import selectors  # noqa: PLC0415 -- see `start`
    import socket  # noqa: PLC0415 -- see `start`

    peers = {one: other, other: one}
    with selectors.DefaultSelector() as selector:
        for side in peers:
            selector.register(side, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                end = key.fileobj
                assert isinstance(end, socket.socket)
                data = end.recv(_CHUNK)
                if data:
                    peers[end].sendall(data)
                else:
                    selector.unregister(end)
                    peers[end].shutdown(socket.SHUT_WR)
