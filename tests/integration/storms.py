"""All storms: what goes wrong on the way to the API server, to Prometheus and to a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from aiohttp import web

from tests.integration import api_faults, faulty_prometheus, watch_faults
from tests.integration.api import eventually
from tests.integration.faulty_prometheus import FaultyPrometheus
from tests.integration.listener import Listener
from tests.integration.operator_process import Zygote
from tests.integration.stand import Stand
from tests.integration.storm import Storm, Struck

METRICS_SECONDS = 15.0
"""For how long Prometheus fails from the release on."""
TOLD_SECONDS = 120.0
CLOCK_SECONDS = 45.0
TOO_LONG_SECONDS = 25.0
"""Longer than a message may take."""
WANTED = ["Started", "Verified"]
METRICS: Mapping[str, faulty_prometheus.Fault] = {
    "429": faulty_prometheus.status(429, {"Retry-After": "1"}),
    "503": faulty_prometheus.status(503),
    "time-out": faulty_prometheus.hanging,
    "without an end": faulty_prometheus.dripping,
    "a login page": faulty_prometheus.html,
    "no series": faulty_prometheus.empty,
    "NaN": faulty_prometheus.not_numbers,
    "unpacks to 40 MiB": faulty_prometheus.huge,
    "clock ahead": faulty_prometheus.ahead(CLOCK_SECONDS),
}
CHANNELS = ("429", "500", "time-out", "refused for good")
_numbers = count(1)


@dataclass
class Counting:
    """A fault of Prometheus that counts how often it has struck."""

    fault: faulty_prometheus.Fault
    struck: int = 0

    async def __call__(self, request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
        self.struck += 1
        return await self.fault(request, server)


@dataclass
class Ears:
    """A channel's address: the first two answers are not what is hoped for."""

    fault: str
    struck: int = 0

    def __call__(self, number: int) -> web.Response:
        if number > 2 and self.fault != "refused for good":
            return web.Response(text="ok")
        self.struck += 1
        match self.fault:
            case "429":
                return web.Response(status=429, headers={"Retry-After": "2"})
            case "500":
                return web.Response(status=500)
            case _:
                return web.Response(status=410)

    async def slowly(self, number: int) -> web.Response:
        """Take a message, and answer when nobody waits any more."""
        if number == 1:
            self.struck += 1
            await asyncio.sleep(TOO_LONG_SECONDS)
        return web.Response(text="ok")


@dataclass
class Ground:
    """What all storms stand on."""

    stand: Stand
    zygote: Zygote
    directory: Path
    prometheus: FaultyPrometheus
    listener: Listener
    makers: Mapping[str, Callable[[str], Storm]] = field(init=False)

    def __post_init__(self) -> None:
        self.makers = {
            "api": self._of_api,
            "watch": self._of_watch,
            "prometheus": self._of_prometheus,
            "channel": self._of_channel,
        }

    def storm(self, family: str, name: str) -> Storm:
        """Make a storm anew."""
        return self.makers[family](name)

    def _of_api(self, name: str) -> Storm:
        def begin(storm: Storm) -> Struck:
            fault = storm.proxy.fault = api_faults.fault(name, storm.proxy)
            return fault

        return Storm(self.stand, self.zygote, self.directory, f"api: {name}", begin)

    def _of_watch(self, name: str) -> Storm:
        def begin(storm: Storm) -> Struck:
            fault = watch_faults.FAULTS[name]()
            fault.begin(storm.proxy)
            return fault

        made = Storm(self.stand, self.zygote, self.directory, f"watch: {name}", begin)
        made.is_at_rest = True
        made.may_end = name in watch_faults.ENDING
        return made

    def _of_prometheus(self, name: str) -> Storm:
        key = f"storm-{next(_numbers)}"

        def begin(_: Storm) -> Struck:
            counting = Counting(METRICS[name])
            self.prometheus.fail(key, counting)
            loop = self.stand.background.loop
            mend = partial(self.prometheus.mend, key)
            loop.call_soon_threadsafe(loop.call_later, METRICS_SECONDS, mend)
            return counting

        made = Storm(self.stand, self.zygote, self.directory, f"prometheus: {name}", begin)
        made.prometheus_url = self.prometheus.url(key)
        return made

    def _of_channel(self, name: str) -> Storm:
        path = f"/storm-{next(_numbers)}"
        ears = Ears(name)

        def begin(_: Storm) -> Struck:
            self.listener.answer(path, ears.slowly if name == "time-out" else ears)
            return ears

        made = Storm(self.stand, self.zygote, self.directory, f"channel: {name}", begin)
        hook = {"name": "hook", "type": "Webhook", "url": self.listener.url(path)}
        made.policy = {"notify": [hook]}
        made.check = partial(self._told, path, name)
        return made

    def _told(self, path: str, name: str, storm: Storm) -> Iterator[str]:
        """See that each transition has arrived, under one identifier, in its order."""
        if name == "refused for good":
            storm.service.wait_for("Notified", "DeliveryFailing", seconds=TOLD_SECONDS)
            return
        eventually(lambda: self._arrived(path) == WANTED, "all is told", TOLD_SECONDS)
        ids = {one.headers["ce-id"] for one in self.listener.heard(path)}
        if len(ids) != len(WANTED):
            yield f"told under {ids}"

    def _arrived(self, path: str) -> list[str]:
        heard = (one.headers["ce-type"].rpartition(".")[2] for one in self.listener.heard(path))
        return list(dict.fromkeys(heard))


NAMES: Mapping[str, tuple[str, ...]] = {
    "api": api_faults.FAULTS,
    "watch": tuple(watch_faults.FAULTS),
    "prometheus": tuple(METRICS),
    "channel": CHANNELS,
}


@contextmanager
def ground(stand: Stand, zygote: Zygote, directory: Path) -> Iterator[Ground]:
    """Start what storms need beside the stand."""
    listener = Listener(stand.background)
    listener.start()
    with FaultyPrometheus(stand.background, stand.prometheus.url) as prometheus:
        prometheus.listen()
        yield Ground(stand, zygote, directory, prometheus, listener)
    listener.stop()
