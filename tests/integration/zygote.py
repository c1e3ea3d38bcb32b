"""Starts operators quickly: the program is loaded once, each operator is a fork of it.

Reads lines of JSON, {"arguments": [...], "log": PATH}, and answers each with the child's process
id. A child does what `rollback-operator` does with these arguments, and goes when this does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

from rollback_operator.__main__ import main

PR_SET_PDEATHSIG = 1


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _become(request: Any) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    status = 1
    try:
        status = main(request["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
