"""Tests stay on this machine, whatever library they use: what leads anywhere else fails them."""

import asyncio
import socket

import pytest

ELSEWHERE = "192.0.2.1"
"""An address for documentation, that nobody has."""


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_connection_to_elsewhere_fails_the_test(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as one:
        one.settimeout(0.01)
        with pytest.raises(pytest.fail.Exception, match="stay on this machine"):
            one.connect((ELSEWHERE, 9))


async def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(pytest.fail.Exception, match="stay on this machine"):
        await asyncio.get_running_loop().getaddrinfo("somewhere.example", 443)


def test_what_is_here_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
