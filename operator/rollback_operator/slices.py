"""Long work in slices: whoever computes in the event loop lets the others go on in between."""

import asyncio
import time

SLICE_SECONDS = 0.005
"""Of CPU time that one piece of work takes before the next callback has its turn."""


class Slices:
    """Gives way to the loop whenever a slice of CPU time is used up."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self._seconds = seconds
        self._began = time.thread_time()

    async def rest(self) -> None:
        """Let others go on, if it is time."""
        if time.thread_time() - self._began > self._seconds:
            await asyncio.sleep(0)
            self._began = time.thread_time()
