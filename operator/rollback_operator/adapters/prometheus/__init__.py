"""Prometheus' HTTP API -> counters, or the kind of nothing that came instead.

`session` asks within limits, `queries` writes PromQL, `answers` reads what comes, `dialects` finds
out how a metric is told; `metrics` and `trends` are the ports made of them.
"""

from rollback_operator.adapters.prometheus.metrics import PrometheusMetrics
from rollback_operator.adapters.prometheus.session import Access, Limits, Steps
from rollback_operator.adapters.prometheus.trends import PrometheusTrends

__all__ = ["Access", "Limits", "PrometheusMetrics", "PrometheusTrends", "Steps"]
