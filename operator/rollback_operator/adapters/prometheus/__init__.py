"""Prometheus' HTTP API -> counters, or the kind of nothing that came instead.

`transport` sends a request within limits, `session` asks, `queries` writes PromQL, `answers` reads
what comes, `dialects` finds out how a metric is told; `metrics` and `trends` are the ports made of
them.
"""

from rollback_operator.adapters.prometheus.metrics import PrometheusMetrics
from rollback_operator.adapters.prometheus.session import Steps
from rollback_operator.adapters.prometheus.transport import Access, Limits
from rollback_operator.adapters.prometheus.trends import PrometheusTrends

__all__ = ["Access", "Limits", "PrometheusMetrics", "PrometheusTrends", "Steps"]
