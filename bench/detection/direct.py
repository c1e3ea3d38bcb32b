"""The pods' own pages: the counters as they are at any moment, without a scrape between."""

from __future__ import annotations

import numpy as np

from bench.detection.scenario import ROUTES
from bench.detection.world import T0, Steps, World, read_counter
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.metrics import PageQuery


class Pages:
    """A PodMetrics port on a drawn world; `now` is the virtual clock."""

    def __init__(self, world: World) -> None:
        self.now = 0.0
        self.reads = 0
        self._world = world

    async def read(self, query: PageQuery) -> Reading:
        """Read the counters of all pods that serve."""
        self.reads += 1
        wanted = {page.pod for page in query.pages}
        requests = self._counted(self._world.served, wanted)
        if not requests:
            return Missing(Reason.PODS_UNREACHABLE, "no pod answers")
        errors = self._counted(self._world.failed, wanted)
        if not errors:
            return Missing(Reason.ERROR_SERIES_MISSING, "no error has ever been counted")
        return Counters(requests, errors)

    def _counted(self, counts: Steps, wanted: set[str]) -> tuple[CounterSeries, ...]:
        series = []
        for index, life in enumerate(self._world.cast.lives):
            if life.name not in wanted or not life.serves(self.now):
                continue
            for number, route in enumerate(ROUTES):
                times = np.array([self.now])
                value = read_counter(counts[index, number], self._world.edges, times, life)[0]
                if value > 0 or self._world.scenario.seed % 3:
                    sample = (T0 + self.now, float(value))
                    series.append(
                        CounterSeries(life.name, route, (), f"{life.name}:8080", (sample,))
                    )
        return tuple(series)
