"""Free TCP ports of 127.0.0.1, so that any number of labs run side by side."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path

from lab.errors import LabError
from lab.workspace import base_folder

# Below the ports that a kernel gives to outgoing connections (from 32768) and the node ports of
# Kubernetes (from 30000): a port of theirs can be taken between the look and its use.
FIRST, END = 18_000, 30_000
LAST = ".last-port"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on and that no other process of this user was given lately.

    They are given by turns: its owner can take its time to listen.
    """
    with Path(base_folder(), LAST).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = int(file.read() or FIRST)
        ports: list[int] = []
        for _ in range(END - FIRST):
            port = FIRST + (port + 1 - FIRST) % (END - FIRST)
            if is_free(port):
                ports.append(port)
            if len(ports) == count:
                file.truncate(0)
                file.write(str(port))
                return ports
    raise LabError(f"fewer than {count} of the ports {FIRST} to {END - 1} are free")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do it: a port whose last connection has ended a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
