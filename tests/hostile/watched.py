"""The operator's command with every address written down that its process connects to.

    python -m tests.hostile.watched FILE run --kubeconfig=...

The interpreter itself tells of each connect: nothing of the operator is replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rollback_operator.__main__ import run


def main() -> None:
    path = Path(sys.argv.pop(1))
    log = path.open("a", buffering=1)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            host, port = arguments[1][:2]
            log.write(f"{host} {port}\n")

    sys.addaudithook(hear)
    run()


if __name__ == "__main__":
    main()
