"""Prometheus' HTTP API -> counters, or the reason why there are none.

`transport` sends a request within bounds, `session` queries a server, `queries` writes PromQL,
`answers` and `refusals` parse, `dialects` finds the form of a metric, `login_proof` asks whether a
server checks logins; `metrics` and `trends` implement the ports.
"""

from rollback_operator.adapters.prometheus.metrics import PrometheusMetrics
from rollback_operator.adapters.prometheus.session import Steps
from rollback_operator.adapters.prometheus.transport import Access, Limits
from rollback_operator.adapters.prometheus.trends import PrometheusTrends

__all__ = ["Access", "Limits", "PrometheusMetrics", "PrometheusTrends", "Steps"]
