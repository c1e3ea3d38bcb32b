"""Runs the command, and kills it -9 at the Nth write to its folder after it has read a request.

    python -m tests.integration.compose.killed N FOLDER ARGUMENTS...

Not before FOLDER.armed exists: the request that the last kill interrupted is carried out first.

The kernel's own kill, at Python's own audit events: nothing of the program knows of it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from rollback_operator.__main__ import run

_seen, _is_asked = 0, False


def main() -> None:
    fatal, folder = int(sys.argv[1]), sys.argv[2]
    del sys.argv[1:3]

    def kill(event: str, arguments: tuple[Any, ...]) -> None:
        global _seen, _is_asked  # noqa: PLW0603 (an audit hook has no other state)
        if event == "open" and f"{folder}/requests/" in str(arguments[0]):
            _is_asked = _is_asked or os.path.exists(f"{folder}.armed")
        is_write = event == "os.rename" or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        )
        if _is_asked and is_write and folder in str(arguments[0]):
            _seen += 1
            if _seen == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    run()


if __name__ == "__main__":
    main()
