"""Metrics of a release: the Prometheus connection, metric names, labels and routes."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from rollback_operator.api.shape import (
    BaseAddress,
    LabelName,
    MetricName,
    Model,
    Route,
    Rule,
    RuledModel,
    SecretKeyRef,
    SecretRef,
    Tenant,
    cel,
)
from rollback_operator.api.user_text.expression import expression

LEAST_READ_MILLISECONDS = 200
_OPERATORS = ("=~", "!~", "!=")
_LABEL = expression("[a-zA-Z_][a-zA-Z0-9_./]{0,127}")
_LABEL_NAMES = "label names must contain only letters, digits, '_', '.' and '/'"
_RULE = (
    "must be a counter, histogram or gauge, not a recording rule (a name with a colon): set the "
    "metric from which the rule is computed"
)


def _counted(metric: str) -> str:
    if ":" in metric:
        raise ValueError(_RULE)
    return metric


def _matchers(matchers: dict[str, str]) -> dict[str, str]:
    for name, value in matchers.items():
        if not _LABEL.matches(name):
            raise ValueError(f"{name!r} is not a label name: {_LABEL_NAMES}")
        operator, operand = split_matcher(value)
        if "~" in operator:
            _check_expression(name, operand)
    return matchers


def _check_expression(name: str, operand: str) -> None:
    try:
        expression(operand)
    except ValueError as error:
        raise ValueError(
            f"{name}: {operand!r} is not a valid RE2 regular expression: {error}; RE2 has no "
            "lookahead, no lookbehind and no backreference; use !~ to exclude"
        ) from None


def split_matcher(value: str) -> tuple[str, str]:
    """Split a matcher's value into operator and operand: '=~5..' -> '=~', '5..'."""
    for operator in _OPERATORS:
        if value.startswith(operator):
            return operator, value[len(operator) :]
    return "=", value


CounterName = Annotated[
    MetricName,
    Field(json_schema_extra={"x-kubernetes-validations": [cel("!self.contains(':')", _RULE)]}),
    AfterValidator(_counted),
]
"""Name of a metric that is read raw; recording rules are rejected."""


class PrometheusSpec(RuledModel):
    """Connection to Prometheus or a compatible server."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.bearerTokenSecretRef) || !has(self.basicAuthSecretRef)",
            lambda it: it.bearer_token_secret_ref is None or it.basic_auth_secret_ref is None,
            "set only one of bearerTokenSecretRef and basicAuthSecretRef",
            ".basicAuthSecretRef",
        ),
    )

    url: BaseAddress | None = None
    """Base URL of the Prometheus HTTP API. Default: the operator's setting. The host must be the
    operator's own Prometheus, a Service in the policy's namespace, or listed in the operator's
    allow-list. The operator's credentials are sent only to the URL of its own setting."""
    bearer_token_secret_ref: SecretKeyRef | None = None
    """Bearer token for authentication. Default: the operator's credentials if `url` is unset or
    equal to the operator's setting and `caSecretRef` is unset; otherwise none. Cannot be set with
    `basicAuthSecretRef`."""
    basic_auth_secret_ref: SecretRef | None = None
    """Secret with the keys `username` and `password` for HTTP basic authentication, such as a
    Secret of type kubernetes.io/basic-auth. Cannot be set with `bearerTokenSecretRef`."""
    tenant: Tenant | None = None
    """Tenant of Mimir, Cortex or Thanos, sent as the header X-Scope-OrgID. For a Prometheus outside
    the policy's namespace, the operator's settings must allow it. Default: the operator's tenant if
    `url` is unset or equal to the operator's setting; otherwise none."""
    ca_secret_ref: SecretKeyRef | None = None
    """CA certificates in PEM format that verify the certificate of Prometheus. Default: the CAs
    that the operator trusts."""

    @property
    def names_secrets(self) -> bool:
        """Return whether the policy sets credentials or a CA of its own."""
        return self.has_login or self.ca_secret_ref is not None

    @property
    def has_login(self) -> bool:
        """Return whether the policy sets credentials of its own."""
        return self.bearer_token_secret_ref is not None or self.basic_auth_secret_ref is not None


class CounterSignal(Model):
    """Counter in Prometheus, or histogram whose observations are counted."""

    metric: CounterName
    """Name of the metric: a counter, or the base name of a classic or native histogram. Queries,
    gauges and recording rules are not supported, because counters are read raw."""
    matchers: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_./]{0,127}$'))",
                        _LABEL_NAMES,
                    )
                ]
            },
        ),
        AfterValidator(_matchers),
    ] = {}
    """Label matchers that select the series: an exact value, or a value with a Prometheus operator
    prefix, such as `=~5..`, `!=200` or `!~2..`. The namespace and the target's pods are always
    matched. Default: none."""


class LatencySignal(CounterSignal):
    """Histogram of durations in seconds."""

    metric: CounterName = "http_request_duration_seconds"
    """Name of the histogram without `_bucket`, classic or native. Default:
    http_request_duration_seconds."""
    quantile: Annotated[str, Field(max_length=12, pattern=r"^0\.[0-9]{1,6}$")] = "0.99"
    """Quantile of the durations to compare, such as 0.99 for the 99th percentile. Default: 0.99."""
    objective_seconds: (
        Annotated[str, Field(max_length=13, pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$")] | None
    ) = None
    """Duration within which a request should be answered. A latency finding then states how many
    requests took longer, shared out evenly within a bucket of the histogram. Default: none."""


class GaugeSignal(CounterSignal):
    """Gauge in Prometheus."""

    metric: CounterName = "process_resident_memory_bytes"
    """Name of the gauge. Queries and recording rules are not supported. Default:
    process_resident_memory_bytes."""


class SignalLabels(Model):
    """Labels that identify pod and route."""

    pod: Annotated[str, Field(max_length=128, pattern=r"^([a-zA-Z_][a-zA-Z0-9_./]*)?$")] = "pod"
    """Label with the name of the pod. Empty: the series have no such label, as for an ingress or a
    gateway; the release is then compared with the time before it, which takes longer and identifies
    the cause less reliably. Default: pod."""
    route: LabelName = "route"
    """Label with the route. Series without this label are evaluated together. Default: route."""


_REQUESTS, _ERRORS = "http_request_duration_seconds_count", "http_request_errors_total"


class SignalsSpec(RuledModel):
    """Metrics that measure a release."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"(has(self.requests) ? self.requests.metric : '{_REQUESTS}')"
            f" != (has(self.errors) ? self.errors.metric : '{_ERRORS}')"
            " || (has(self.requests) && has(self.requests.matchers) ? self.requests.matchers : {})"
            " != (has(self.errors) && has(self.errors.matchers) ? self.errors.matchers : {})",
            lambda it: it.errors != it.requests,
            "errors must not select the same series as requests: set a counter of errors, or a"
            " matcher for the label of an error, such as code: '=~5..'",
            ".errors",
        ),
    )

    requests: CounterSignal = CounterSignal(metric=_REQUESTS)
    """Counter of all requests. Default metric: http_request_duration_seconds_count."""
    errors: CounterSignal = CounterSignal(metric=_ERRORS)
    """Counter of failed requests. Name your own counter in `metric`, initialized to 0 for each
    route so that the first error is visible; or use the metric of `requests` with a label matcher,
    such as `code: "=~5.."`. Series without that label do not count as errors. Default metric:
    http_request_errors_total."""
    latency: LatencySignal = LatencySignal()
    """Histogram of request durations. Read for LatencyRatio and Latency, for investigations, and
    for verification after a rollback."""
    memory: GaugeSignal = GaugeSignal()
    """Gauge of each pod's memory in bytes. Read only for MemoryGrowth."""
    labels: SignalLabels = SignalLabels()
    """Labels that identify pod and route."""
    purchase_routes: Annotated[
        list[Route], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = [
        "/api/v1/tickets/purchase",
        "/api/v1/tickets/reserve",
    ]
    """Routes that `routes: Purchase` evaluates; the route with the highest error rate counts.
    Default: /api/v1/tickets/purchase and /api/v1/tickets/reserve."""
    exclude_routes: (
        Annotated[
            list[Route], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
        ]
        | None
    ) = None
    """Routes that are not evaluated. Default: the paths of the pods' HTTP probes and of their
    metrics endpoint."""


class PodMetricsSpec(RuledModel):
    """Direct reading of the metrics endpoints of the watched pods.

    It provides evidence before the next Prometheus scrape, while a release is new or suspect and
    the pods are reachable. The condition PodMetricsAvailable reports whether they are.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.everyMilliseconds) || self.everyMilliseconds == 0"
            f" || self.everyMilliseconds >= {LEAST_READ_MILLISECONDS}",
            lambda it: not 0 < it.every_milliseconds < LEAST_READ_MILLISECONDS,
            f"everyMilliseconds must be 0 (only Prometheus is read) or at least"
            f" {LEAST_READ_MILLISECONDS}",
            ".everyMilliseconds",
        ),
    )

    every_milliseconds: Annotated[int, Field(ge=0, le=60000)] = 500
    """Interval in milliseconds between two reads of a pod: 0 or at least 200. 0: only Prometheus is
    read. Default: 500."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of the metrics endpoint. Default: the pod annotation prometheus.io/port, otherwise the
    container port named metrics, http-metrics or http."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^/[!-~]*$")] | None = None
    """Path of the metrics endpoint. Default: the pod annotation prometheus.io/path, otherwise
    /metrics."""
