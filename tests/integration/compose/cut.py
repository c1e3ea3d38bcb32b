"""Compose, killed -9 with the agent that runs it, in the middle of an `up`.

    python -m tests.integration.compose.cut MOMENT PROGRAM ARGUMENTS...

MOMENT is Docker's word for what happens to a container then: die, create, start. `up` in other
words is Compose itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time


def main() -> None:
    moment, *command = sys.argv[1:]
    if "up" not in command:
        os.execvp(command[0], command)
    agent = os.getppid()
    # Docker repeats what has happened since: no event is missed.
    watch = ["docker", "events", "--since", str(int(time.time())), "--format", "{{.Action}}"]
    events = subprocess.Popen(watch, stdout=subprocess.PIPE, text=True)
    compose = subprocess.Popen(command)

    def cut() -> None:
        assert events.stdout is not None
        if any(line.strip() == moment for line in events.stdout):
            compose.kill()
            os.kill(agent, signal.SIGKILL)

    threading.Thread(target=cut, daemon=True).start()
    status = compose.wait()
    events.kill()
    sys.exit(abs(status))


if __name__ == "__main__":
    main()
