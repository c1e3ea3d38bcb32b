"""Where requests, errors and durations are counted, and how they are read."""

from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from rollback_operator.api.expression import expression
from rollback_operator.api.secrets import SecretKeyRef, SecretRef
from rollback_operator.api.shape import (
    BaseAddress,
    LabelName,
    MetricName,
    Model,
    Route,
    Tenant,
    cel,
)

LEAST_READ_MILLISECONDS = 200
_OPERATORS = ("=~", "!~", "!=")
_LABEL = expression("[a-zA-Z_][a-zA-Z0-9_./]{0,127}")
_TWO_LOGINS = "set bearerTokenSecretRef or basicAuthSecretRef, not both: a request has one login"
_RULE = (
    "a name with a colon is a recording rule's, whose values are computed: name the counter or the "
    "histogram that it is made from"
)
_SAME = (
    "errors selects the series of requests: name a counter of errors, or the label that makes a "
    "request an error, as code: '=~5..'"
)


def _counted(metric: str) -> str:
    if ":" in metric:
        raise ValueError(_RULE)
    return metric


def _matchers(matchers: dict[str, str]) -> dict[str, str]:
    for name, value in matchers.items():
        if not _LABEL.matches(name):
            raise ValueError(f"{name!r} is no label name: letters, digits, _ . and / only")
        operator, operand = split_matcher(value)
        if "~" in operator:
            _check_expression(name, operand)
    return matchers


def _check_expression(name: str, operand: str) -> None:
    try:
        expression(operand)
    except ValueError as error:
        raise ValueError(
            f"{name}: {operand!r} is no regular expression of RE2, which Prometheus takes: "
            f"{error}; it has no lookahead, no lookbehind and no backreference; !~ excludes"
        ) from None


def split_matcher(value: str) -> tuple[str, str]:
    """Split a matcher's value into Prometheus' operator and its operand: '=~5..' -> '=~', '5..'."""
    for operator in _OPERATORS:
        if value.startswith(operator):
            return operator, value[len(operator) :]
    return "=", value


CounterName = Annotated[
    MetricName,
    Field(json_schema_extra={"x-kubernetes-validations": [cel("!self.contains(':')", _RULE)]}),
    AfterValidator(_counted),
]
"""What is read raw: no recording rule."""


class PrometheusSpec(Model):
    """Where the metrics come from."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.bearerTokenSecretRef) || !has(self.basicAuthSecretRef)",
                    _TWO_LOGINS,
                    ".basicAuthSecretRef",
                )
            ]
        }
    )

    url: BaseAddress | None = None
    """Base address of the Prometheus HTTP API. Default: the operator's own setting. Its host must
    be the operator's own Prometheus, in the policy's namespace, or on the operator's allow-list.
    The operator's own credentials are sent to no other address than its own setting."""
    bearer_token_secret_ref: SecretKeyRef | None = None
    """The bearer token to read with. Default: the operator's own credentials, where `url` is its
    own setting or none, and `caSecretRef` is not set; else none."""
    basic_auth_secret_ref: SecretRef | None = None
    """A Secret with the keys `username` and `password`, as one of type kubernetes.io/basic-auth
    has, for HTTP basic authentication, in place of `bearerTokenSecretRef`."""
    tenant: Tenant | None = None
    """The tenant of Mimir, Cortex or Thanos whose metrics are read, sent in the header
    X-Scope-OrgID. At a Prometheus outside the policy's namespace the operator's owner must allow
    it. Default: the operator's own, where `url` is its own setting or none; else none."""
    ca_secret_ref: SecretKeyRef | None = None
    """The certificate authorities, in PEM, one of which must have signed Prometheus' certificate.
    Default: those that the operator trusts."""

    @property
    def names_secrets(self) -> bool:
        """Tell whether Prometheus is read with something of the policy's own."""
        return self.has_login or self.ca_secret_ref is not None

    @property
    def has_login(self) -> bool:
        """Tell whether the policy reads as somebody of its own."""
        return self.bearer_token_secret_ref is not None or self.basic_auth_secret_ref is not None

    @model_validator(mode="after")
    def _has_one_login(self) -> Self:
        if self.bearer_token_secret_ref is not None and self.basic_auth_secret_ref is not None:
            raise ValueError(_TWO_LOGINS)
        return self


class CounterSignal(Model):
    """A counter in Prometheus, or a histogram, whose observations are counted."""

    metric: CounterName
    """The metric's name, not a query: counters are read raw. A counter, or a histogram, classic or
    native, by its base name; no gauge and no recording rule."""
    matchers: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_./]{0,127}$'))",
                        "a label name has letters, digits, _ . and / only",
                    )
                ]
            },
        ),
        AfterValidator(_matchers),
    ] = {}
    """Labels that the series must carry: an exact value, or one with Prometheus' operator in front,
    as `=~5..`, `!=200` or `!~2..`. The namespace and the target's pods are always matched."""


class LatencySignal(CounterSignal):
    """A histogram of durations in seconds."""

    metric: CounterName = "http_request_duration_seconds"
    """The histogram's name without `_bucket`; classic or native."""
    quantile: Annotated[str, Field(max_length=12, pattern=r"^0\.[0-9]{1,6}$")] = "0.99"
    """The share of the requests that is at most so slow."""


class GaugeSignal(CounterSignal):
    """A gauge: what is there at a moment."""

    metric: CounterName = "process_resident_memory_bytes"
    """The gauge's name, not a query, and no recording rule's."""


class SignalLabels(Model):
    """The labels that tell pods and routes apart."""

    pod: Annotated[str, Field(max_length=128, pattern=r"^([a-zA-Z_][a-zA-Z0-9_./]*)?$")] = "pod"
    """Holds the pod's name. Empty: the series have none (an ingress, a gateway); then the time
    after the release is judged against the time before, which takes longer and blames less."""
    route: LabelName = "route"
    """Holds the route; without it all requests are judged together."""


class SignalsSpec(Model):
    """Which series tell how the release does. The defaults are the runbook's metrics."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.requests) || !has(self.errors)"
                    " || self.requests.metric != self.errors.metric"
                    " || has(self.errors.matchers) && !(has(self.requests.matchers)"
                    " && self.requests.matchers == self.errors.matchers)",
                    _SAME,
                    ".errors",
                )
            ]
        }
    )

    requests: CounterSignal = CounterSignal(metric="http_request_duration_seconds_count")
    """Counts every request."""
    errors: CounterSignal = CounterSignal(metric="http_request_errors_total")
    """Counts the failed ones: a counter of their own, initialised to 0 for each route, or the first
    error is unseen; or the metric of `requests` with the label that tells an error, as
    `code: "=~5.."`. A series without that label is no error."""
    latency: LatencySignal = LatencySignal()
    """Tells how long requests take: for LatencyRatio and Latency, for an investigation, and after a
    rollback."""
    memory: GaugeSignal = GaugeSignal()
    """A gauge of each pod's memory in bytes; read only for MemoryGrowth."""
    labels: SignalLabels = SignalLabels()
    purchase_routes: Annotated[
        list[Route], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = [
        "/api/v1/tickets/purchase",
        "/api/v1/tickets/reserve",
    ]
    """The routes that `routes: Purchase` means; the worst of them counts."""
    exclude_routes: (
        Annotated[
            list[Route], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
        ]
        | None
    ) = None
    """Routes that are not judged. Default: the paths of the pods' HTTP probes and of their
    metrics, since nobody buys anything there."""

    @model_validator(mode="after")
    def _errors_are_told(self) -> Self:
        if self.errors == self.requests:
            raise ValueError(_SAME)
        return self


class PodMetricsSpec(Model):
    """The watched pods' own metrics pages, read beside Prometheus.

    Evidence without the wait for the next scrape: while a release is young or suspected, and where
    the pods can be reached; PodMetricsAvailable says whether they can.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.everyMilliseconds) || self.everyMilliseconds == 0"
                    " || self.everyMilliseconds >= 200",
                    "everyMilliseconds is 0 (Prometheus alone) or at least 200",
                    ".everyMilliseconds",
                ),
            ]
        }
    )

    every_milliseconds: Annotated[int, Field(ge=0, le=60000)] = 500
    """Time between two reads of a pod; 0: Prometheus alone."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of the pods' metrics page. Default: their annotation prometheus.io/port, else the
    container port named metrics, http-metrics or http."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^/[!-~]*$")] | None = None
    """Path of the page. Default: the annotation prometheus.io/path, else /metrics."""

    @model_validator(mode="after")
    def _not_too_often(self) -> Self:
        if 0 < self.every_milliseconds < LEAST_READ_MILLISECONDS:
            raise ValueError("everyMilliseconds is 0 (Prometheus alone) or at least 200")
        return self
