"""Enter a node's network namespace for a while, in the calling thread only."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import LabError

CLONE_NEWNET = 0x40000000


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Sockets opened and programs started in the block are in the network of the process."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        _enter(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(other)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise LabError(f"cannot enter a network namespace: {reason}; the node mode needs root")
