"""What expressions were over the time of a replay: asked for an hour at a time, served by moment.

An instant query at each look would be the same and cost a hundred times as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollback_operator.adapters.prometheus import PrometheusMetrics, Steps
from rollback_operator.adapters.prometheus.answers import Vector
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus

POINTS = 720
Part = Mapping[float, Vector] | Missing


@dataclass
class PastVectors:
    """Evaluates expressions at the moments of a clock, and few others."""

    metrics: PrometheusMetrics
    start: float
    end: float
    step: float
    _parts: dict[tuple[str, int], Part] = field(default_factory=dict)

    async def read_vector(
        self, prometheus: Prometheus, expression: str, at: float
    ) -> Vector | Missing:
        """Read the value that an expression had at a time; nothing later is looked at."""
        number = (at - self.start) / self.step
        is_whole = self.start.is_integer() and self.step.is_integer()
        if not is_whole or not number.is_integer() or not self.start <= at <= self.end:
            return await self.metrics.read_vector(prometheus, expression, at)
        index = int(number) // POINTS
        part = self._parts.get((expression, index))
        if part is None:
            begin = self.start + index * POINTS * self.step
            until = min(self.end, begin + (POINTS - 1) * self.step)
            steps = Steps(begin, until, int(self.step))
            part = await self.metrics.read_vectors(prometheus, expression, steps)
            self._parts[expression, index] = part
        if isinstance(part, Missing):
            return part
        return part.get(at, [])
