"""Compose, and a signal to the Docker daemon at a moment of an undo.

    python -m tests.integration.compose.away MARK PROGRAM ARGUMENTS...

MARK.order holds "SIGNAL MOMENT PID" of the daemon while a signal is due. MOMENT is `config`, as the
agent compares the files before it writes the pin; `up`, just before Compose begins; or Docker's
word for what happens to a container during the `up`. MARK is there once the signal is sent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    mark, command = Path(sys.argv[1]), sys.argv[2:]
    order = mark.with_suffix(".order")
    how, moment, pid = order.read_text().split() if order.exists() else ("", "", "")

    def send() -> None:
        os.kill(int(pid), getattr(signal, f"SIG{how}"))
        order.unlink()
        mark.touch()

    if moment in command:
        send()
    if not moment or moment in command or "up" not in command:
        os.execvp(command[0], command)
    # Docker repeats what has happened since: no event is missed.
    watch = ["docker", "events", "--since", str(int(time.time())), "--format", "{{.Action}}"]
    events = subprocess.Popen(watch, stdout=subprocess.PIPE, text=True)
    compose = subprocess.Popen(command)
    assert events.stdout is not None
    if any(line.strip() == moment for line in events.stdout):
        send()
    status = compose.wait()
    events.kill()
    sys.exit(abs(status))


if __name__ == "__main__":
    main()
