"""Prometheus' HTTP API -> counters, or the kind of nothing that came instead.

`session` asks within limits, `queries` writes PromQL, `answers` reads what comes, `dialects` finds
out how a metric is told; `metrics` is the port made of them.
"""

from rollback_operator.adapters.prometheus.metrics import PrometheusMetrics
from rollback_operator.adapters.prometheus.session import Access, Limits

__all__ = ["Access", "Limits", "PrometheusMetrics"]
