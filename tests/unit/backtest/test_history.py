"""A past read as a port: what counts nowhere counts in its control neither."""

from __future__ import annotations

from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.cli.backtest.history import History, PastMetrics
from rollback_operator.evidence.baseline import Control
from rollback_operator.ports.metrics import CounterQuery, Prometheus
from tests.builders import PURCHASE, T0, make_counters, make_series


async def test_probes_are_no_part_of_a_control() -> None:
    samples = [(float(second), 2.0 * second) for second in range(-600, 1, 15)]
    rising = [(second, 2000 + value) for second, value in samples]
    series = [make_series(rising, route=route) for route in (PURCHASE, "/health")]
    past = PastMetrics(History(make_counters(series, series)), lambda: T0)
    query = CounterQuery(
        prometheus=Prometheus(""),
        namespace="production",
        pods=("pod-.*",),
        requests=CounterSignal(metric="requests_total"),
        errors=CounterSignal(metric="errors_total"),
        labels=SignalLabels(),
        left_out=frozenset({"/health"}),
    )

    found = await past.read_control(query, T0)

    assert isinstance(found, Control)
    assert set(found.routes) == {PURCHASE}
    assert found.pooled.requests == 1200
