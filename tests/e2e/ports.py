"""Ports for servers that have to be told theirs before they start."""

import random
import socket

#: Below those that the kernel gives to connections, and to servers that ask for any.
_LOWEST, _HIGHEST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now, and that nobody gets who does not ask for just these."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(_LOWEST, _HIGHEST)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
