"""RollbackPolicy and Rollback, group rollback.tickettoken.io, version v1alpha1.

The models are the only source of the CRDs (crd.py), of docs/api.md and of what `kubectl explain`
prints. Every field here works; what does not work yet is not here. Docstrings under a field become
its description, `json_schema_extra` carries what only Kubernetes knows (CEL rules, list types).
"""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    ConfigDict,
    Field,
    model_validator,
)

from rollback_operator.api.approval import Approval, ApprovalSpec
from rollback_operator.api.checklist import CheckItem, CheckName, CheckRule
from rollback_operator.api.database import AppliedMigrations, DatabaseSpec
from rollback_operator.api.freeze import FreezeWindow
from rollback_operator.api.gitops import GitOps, OwnerPlan, OwnerRecord
from rollback_operator.api.manual import name_suffices, whole_or_by_hand
from rollback_operator.api.notify import (
    LONGEST_MESSAGE,
    Channels,
    CommunicationSpec,
    Notifications,
)
from rollback_operator.api.quarantine import MOST_ENTRIES, QuarantineEntry, QuarantineResponse
from rollback_operator.api.shape import (
    Decimal,
    LabelName,
    MetricName,
    Name,
    Route,
    Text,
)
from rollback_operator.api.shape import Model as _Model
from rollback_operator.api.shape import cel as _cel
from rollback_operator.api.shape import keyed_by as _keyed_by
from rollback_operator.api.verification import ProbeRecord, VerificationCheck, VerificationSpec

GROUP = "rollback.tickettoken.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/open-step"
HOLD_FINALIZER = f"{GROUP}/held-rollout"
"""On a policy only while it holds a rollout: deleted, it lets the rollout go first."""
FIELD_MANAGER = "rollback-operator"
LEAST_READ_MILLISECONDS = 200

_OPERATORS = ("=~", "!~", "!=")
_NOT_RE2 = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?(?!:|P<|[imsU-]+[:)])|\\[1-9])")
"""What Python's regular expressions have and RE2, Prometheus' own, has not: looking around and
going back."""
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
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_./]{0,127}", name):
            raise ValueError(f"{name!r} is no label name: letters, digits, _ . and / only")
        operator, operand = split_matcher(value)
        if "~" in operator:
            _check_expression(name, operand)
    return matchers


def _check_expression(name: str, operand: str) -> None:
    try:
        re.compile(operand)
    except re.error as error:
        raise ValueError(f"{name}: {operand!r} is no regular expression: {error}") from None
    if _NOT_RE2.search(operand):
        raise ValueError(
            f"{name}: {operand!r} is none of RE2's regular expressions, which Prometheus takes: "
            "no lookahead, no lookbehind, no backreference; !~ excludes"
        )


def split_matcher(value: str) -> tuple[str, str]:
    """Split a matcher's value into Prometheus' operator and its operand: '=~5..' -> '=~', '5..'."""
    for operator in _OPERATORS:
        if value.startswith(operator):
            return operator, value[len(operator) :]
    return "=", value


CounterName = Annotated[
    MetricName,
    Field(json_schema_extra={"x-kubernetes-validations": [_cel("!self.contains(':')", _RULE)]}),
    AfterValidator(_counted),
]
"""What is read raw: no recording rule."""


class Mode(StrEnum):
    """Observe decides and records; Enforce also acts."""

    OBSERVE = "Observe"
    ENFORCE = "Enforce"


class Severity(StrEnum):
    """The runbook's severities, worst first."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    NONE = "None"


class MatrixSeverity(StrEnum):
    """A severity that a rule may give."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"


class Response(StrEnum):
    """What a rule asks for."""

    ROLLBACK = "Rollback"
    INVESTIGATE = "Investigate"
    REPORT = "Report"


class SignalName(StrEnum):
    """What a condition looks at."""

    ERROR_RATE = "ErrorRate"
    UNAVAILABLE = "Unavailable"
    STUCK_ROLLOUT = "StuckRollout"
    TRAFFIC_LOST = "TrafficLost"
    LATENCY_RATIO = "LatencyRatio"
    LATENCY = "Latency"
    OOM_KILLS = "OOMKills"
    RESTARTS = "Restarts"
    MEMORY_GROWTH = "MemoryGrowth"
    QUERY = "Query"
    PROBE = "Probe"


class TimeoutResponse(StrEnum):
    """What follows when an investigation's time is up."""

    REPORT = "Report"
    ROLLBACK = "Rollback"


class RouteSet(StrEnum):
    """A named set of routes."""

    PURCHASE = "Purchase"


class RemedyType(StrEnum):
    """What is done about a bad release."""

    UNDO = "Undo"
    PIN_IMAGE = "PinImage"
    SCALE = "Scale"


class UndoTo(StrEnum):
    """Which revision an undo goes back to."""

    LAST_KNOWN_GOOD = "LastKnownGood"
    PREVIOUS = "Previous"
    REVISION = "Revision"


class VerdictValue(StrEnum):
    """What is thought of the running revision."""

    WATCHING = "Watching"
    HEALTHY = "Healthy"
    SUSPECT = "Suspect"
    BAD = "Bad"
    NO_VERDICT = "NoVerdict"


class Health(StrEnum):
    """What the ledger knows of a revision."""

    GOOD = "Good"
    ASSUMED = "Assumed"
    UNKNOWN = "Unknown"
    BAD = "Bad"


class Outcome(StrEnum):
    """How a rollback ended."""

    OBSERVED = "Observed"
    VERIFIED = "Verified"
    NOT_RECOVERED = "NotRecovered"
    UNKNOWN = "Unknown"
    ABANDONED = "Abandoned"
    FAILED = "Failed"
    BLOCKED = "Blocked"
    REJECTED = "Rejected"
    REFUSED = "Refused"


class StepName(StrEnum):
    """The steps of a rollback, in the order in which they may follow each other."""

    AWAITING_APPROVAL = "AwaitingApproval"
    SUSPEND_OWNER = "SuspendOwner"
    UNDO = "Undo"
    PIN_IMAGE = "PinImage"
    SCALE = "Scale"
    ROLLOUT_COMPLETE = "RolloutComplete"
    RESTORE_STRATEGY = "RestoreStrategy"
    VERIFY = "Verify"


class Pace(StrEnum):
    """Express surges all good pods at once; Normal keeps the Deployment's own strategy."""

    NORMAL = "Normal"
    EXPRESS = "Express"


class HoldReason(StrEnum):
    """Why a rollout is held."""

    SUSPICION = "Suspicion"
    STAGE = "Stage"


class TargetKind(StrEnum):
    """The kinds a policy can watch."""

    DEPLOYMENT = "Deployment"


class Condition(_Model):
    """One aspect of the state, in the shape of KEP-1623."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    observed_generation: Annotated[int, Field(ge=0)] = 0
    last_transition_time: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    message: Annotated[str, Field(max_length=32768)] = ""


class TargetRef(_Model):
    """The workload that is watched, in the policy's own namespace."""

    kind: TargetKind = TargetKind.DEPLOYMENT
    name: Name
    """The Deployment's name; it need not exist yet."""


class PrometheusSpec(_Model):
    """Where the metrics come from."""

    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^/@]+(/.*)?$")] | None = None
    """Base address of the Prometheus HTTP API. Default: the operator's own setting. Its host must
    be the operator's own Prometheus, in the policy's namespace, or on the operator's allow-list."""


class CounterSignal(_Model):
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
                    _cel(
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


class SignalLabels(_Model):
    """The labels that tell pods and routes apart."""

    pod: Annotated[str, Field(max_length=128, pattern=r"^([a-zA-Z_][a-zA-Z0-9_./]*)?$")] = "pod"
    """Holds the pod's name. Empty: the series have none (an ingress, a gateway); then the time
    after the release is judged against the time before, which takes longer and blames less."""
    route: LabelName = "route"
    """Holds the route; without it all requests are judged together."""


class SignalsSpec(_Model):
    """Which series tell how the release does. The defaults are the runbook's metrics."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _cel(
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
    """Tells how long requests take; read only for LatencyRatio and Latency."""
    memory: CounterSignal = CounterSignal(metric="process_resident_memory_bytes")
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


_RATE = (SignalName.ERROR_RATE,)
_ABOVE = (SignalName.LATENCY_RATIO, SignalName.LATENCY, SignalName.MEMORY_GROWTH)
_COUNT = (SignalName.OOM_KILLS, SignalName.RESTARTS)
_QUERY_FIELDS = ("query", "name", "below", "change_above")


class MatrixCondition(_Model):
    """One symptom.

    ErrorRate takes `above` or `atLeast`, and `routes`. LatencyRatio (times the old revision's),
    Latency (seconds) and MemoryGrowth (share of the limit an hour) take `above`; OOMKills and
    Restarts take a number `atLeast`; Query takes `query` with `above` or `below`. Probe takes the
    `name` of one of `verification.http`: it is sent to each release, and matches when it has passed
    on the old one and fails three times running on the new one. Unavailable, StuckRollout and
    TrafficLost take nothing.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _cel(
                    "self.signal != 'ErrorRate' || has(self.above) != has(self.atLeast)",
                    "ErrorRate needs exactly one of above and atLeast",
                ),
                _cel(
                    "!(self.signal in ['LatencyRatio', 'Latency', 'MemoryGrowth'])"
                    " || (has(self.above) && !has(self.atLeast))",
                    "LatencyRatio, Latency and MemoryGrowth need above",
                ),
                _cel(
                    "!(self.signal in ['OOMKills', 'Restarts'])"
                    " || (has(self.atLeast) && !has(self.above)"
                    " && self.atLeast.matches('^[1-9][0-9]*$'))",
                    "OOMKills and Restarts need a whole number atLeast",
                ),
                _cel(
                    "self.signal != 'Query' || (has(self.query)"
                    " && has(self.above) != has(self.below) && !has(self.atLeast))",
                    "Query needs query and exactly one of above and below",
                ),
                _cel(
                    "self.signal == 'Query' || !(has(self.query) || has(self.below)"
                    " || has(self.changeAbove) || (has(self.name) && self.signal != 'Probe'))",
                    "query, name, below and changeAbove belong to Query only, name to Probe too",
                ),
                _cel(
                    "self.signal != 'Probe' || has(self.name)",
                    "Probe needs name, that of a probe in spec.verification.http",
                ),
                _cel(
                    "!(self.signal in ['Unavailable', 'StuckRollout', 'TrafficLost', 'Probe'])"
                    " || !(has(self.above) || has(self.atLeast))",
                    "Unavailable, StuckRollout, TrafficLost and Probe take no threshold",
                ),
                _cel(
                    "self.signal == 'ErrorRate' || !has(self.routes)",
                    "routes belongs to ErrorRate only",
                ),
                _cel(
                    "self.signal != 'ErrorRate' || !has(self.above)"
                    " || (double(self.above) >= 0.0 && double(self.above) < 1.0)",
                    "a rate is from 0 to 1 and never above 1: this condition could not match",
                    ".above",
                ),
                _cel(
                    "self.signal != 'ErrorRate' || !has(self.atLeast)"
                    " || (double(self.atLeast) > 0.0 && double(self.atLeast) <= 1.0)",
                    "a rate is above 0 and at most 1: this condition would match every release, "
                    "or none",
                    ".atLeast",
                ),
                _cel(
                    "!(has(self.times) && has(self.looks)) || self.times <= self.looks",
                    "times is at most looks",
                    ".times",
                ),
            ]
        }
    )

    signal: SignalName
    above: Decimal | None = None
    """Matches when what is measured is above this; of a rate or a quantile its lower bound."""
    at_least: Decimal | None = None
    """Matches when what is measured is at least this; an error rate also when all of 20 or more
    requests failed."""
    routes: RouteSet | None = None
    """Purchase: the worst of `signals.purchaseRoutes`. Default: all routes together."""
    query: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """PromQL that gives one number, looked at every 15 s."""
    name: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """What the query's number is called in messages; of Probe, which probe."""
    below: Decimal | None = None
    """Matches when the query's number is below this."""
    change_above: Decimal | None = None
    """... and when it is more than so many times what it was before the release."""
    times: Annotated[int, Field(ge=1, le=60)] = 3
    """How many of the newest `looks` at the query must match."""
    looks: Annotated[int, Field(ge=1, le=60)] = 5
    """How many of the newest looks at the query count."""

    @property
    def limit(self) -> float:
        """The threshold from above."""
        return float(self.above or self.at_least or 0)

    @property
    def count(self) -> int:
        """The threshold of a signal that counts."""
        return int(self.at_least or 1)

    @model_validator(mode="after")
    def _fields_of_its_signal(self) -> Self:
        # The API server says the same in CEL; a file given to the command line has only this.
        thresholds = (self.above is not None) + (self.at_least is not None)
        if self.signal in _RATE and thresholds != 1:
            raise ValueError("ErrorRate needs exactly one of above and atLeast")
        if self.signal in _RATE and not (
            0 <= self.limit <= 1 and (self.limit < 1 if self.above else self.limit > 0)
        ):
            raise ValueError("above and atLeast of ErrorRate are rates from 0 to 1")
        if self.signal in _ABOVE and (self.above is None or self.at_least is not None):
            raise ValueError(f"{self.signal} needs above")
        if self.signal in _COUNT and not re.fullmatch("[1-9][0-9]*", self.at_least or ""):
            raise ValueError(f"{self.signal} needs a whole number atLeast")
        if self.signal is SignalName.QUERY and (
            self.query is None
            or (self.above is None) == (self.below is None)
            or self.at_least is not None
        ):
            raise ValueError("Query needs query and exactly one of above and below")
        self._refuse_foreign(thresholds)
        return self

    def _refuse_foreign(self, thresholds: int) -> None:
        takes = {SignalName.ERROR_RATE, SignalName.QUERY, *_ABOVE, *_COUNT}
        if self.signal not in takes and thresholds:
            raise ValueError(f"{self.signal} takes no threshold")
        if self.signal is not SignalName.ERROR_RATE and self.routes:
            raise ValueError("routes belongs to ErrorRate only")
        foreign = set(_QUERY_FIELDS) - ({"name"} if self.signal is SignalName.PROBE else set())
        if self.signal is not SignalName.QUERY and any(
            getattr(self, field) is not None for field in foreign
        ):
            raise ValueError(
                "query, name, below and changeAbove belong to Query only, name to Probe too"
            )
        if self.signal is SignalName.PROBE and self.name is None:
            raise ValueError("Probe needs name, that of a probe in spec.verification.http")
        if self.times > self.looks:
            raise ValueError("times is at most looks")


class MatrixRule(_Model):
    """A severity, its symptoms (any of them), and what is done within which time."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _cel(
                    "!has(self.onTimeout)"
                    " || (self.response == 'Investigate' && has(self.withinSeconds))",
                    "onTimeout belongs to response Investigate with withinSeconds",
                    ".onTimeout",
                ),
                _cel(
                    "!has(self.propose) || !self.propose || self.response == 'Investigate'",
                    "propose belongs to response Investigate",
                    ".propose",
                ),
            ]
        }
    )

    severity: MatrixSeverity
    """How bad a release with one of these symptoms is; one rule each, the worst first."""
    when: Annotated[
        list[MatrixCondition],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ]
    """The symptoms: any of them gives the severity."""
    response: Response
    """Rollback acts by itself. Investigate asks people to look, Report tells them only."""
    within_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    """From the first bad sample to the act. It only limits waiting for more evidence: what is
    proved is acted on at once. For an error rate it shrinks as the rate grows."""
    on_timeout: TimeoutResponse | None = None
    """What follows when nobody has helped within the time of an investigation. Rollback: the
    release is taken back if it is proved slower or leaking. Default: people stay told."""
    propose: bool = False
    """True, with Investigate: a Rollback is prepared at once and waits for a person's approval,
    until `withinSeconds` are over (then `onTimeout` says what follows), or as `approval` says."""

    @model_validator(mode="after")
    def _time_of_its_response(self) -> Self:
        is_timed = self.response is Response.INVESTIGATE and self.within_seconds is not None
        if self.on_timeout is not None and not is_timed:
            raise ValueError("onTimeout belongs to response Investigate with withinSeconds")
        if self.propose and self.response is not Response.INVESTIGATE:
            raise ValueError("propose belongs to response Investigate")
        return self


RUNBOOK_MATRIX = (
    MatrixRule(
        severity=MatrixSeverity.P1,
        when=[
            MatrixCondition(
                signal=SignalName.ERROR_RATE, at_least="0.90", routes=RouteSet.PURCHASE
            ),
            MatrixCondition(signal=SignalName.UNAVAILABLE),
            MatrixCondition(signal=SignalName.TRAFFIC_LOST),
        ],
        response=Response.ROLLBACK,
        within_seconds=60,
    ),
    MatrixRule(
        severity=MatrixSeverity.P2,
        when=[
            MatrixCondition(signal=SignalName.ERROR_RATE, above="0.05"),
            MatrixCondition(signal=SignalName.STUCK_ROLLOUT),
        ],
        response=Response.ROLLBACK,
        within_seconds=900,
    ),
    MatrixRule(
        severity=MatrixSeverity.P3,
        when=[
            MatrixCondition(signal=SignalName.LATENCY_RATIO, above="2.0"),
            MatrixCondition(signal=SignalName.OOM_KILLS, at_least="2"),
            MatrixCondition(signal=SignalName.RESTARTS, at_least="3"),
            MatrixCondition(signal=SignalName.MEMORY_GROWTH, above="0.5"),
        ],
        response=Response.INVESTIGATE,
        within_seconds=3600,
        on_timeout=TimeoutResponse.REPORT,
    ),
    MatrixRule(
        severity=MatrixSeverity.P4,
        when=[MatrixCondition(signal=SignalName.ERROR_RATE, above="0.01")],
        response=Response.REPORT,
    ),
)


class Remedy(_Model):
    """What is done. The first remedy that applies to the severity is taken."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _cel(
                    "has(self.to) == (self.type == 'Undo')",
                    "to belongs to type Undo, which needs it",
                ),
                _cel(
                    "has(self.revision) == (has(self.to) && self.to == 'Revision')",
                    "revision belongs to 'to: Revision', which needs it",
                ),
                _cel(
                    "(has(self.container) && has(self.image)) == (self.type == 'PinImage')"
                    " && has(self.container) == has(self.image)",
                    "container and image belong to type PinImage, which needs both",
                ),
                _cel(
                    "has(self.replicas) == (self.type == 'Scale')",
                    "replicas belongs to type Scale, which needs it",
                ),
            ]
        }
    )

    type: RemedyType
    """Undo goes back to an earlier revision, PinImage to a named image, Scale sets the replicas."""
    severities: (
        Annotated[
            list[MatrixSeverity],
            Field(min_length=1, max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """The severities that this remedy is for. Default: all."""
    to: UndoTo | None = None
    """LastKnownGood: the newest older revision that was recorded as good. Previous: the newest
    older revision. Revision: the one with the number in `revision`."""
    revision: Annotated[int, Field(ge=1)] | None = None
    """With `to: Revision`: its number, as `kubectl rollout history` shows it."""
    container: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """With PinImage: the container of the pod template whose image is set."""
    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\s]+$")] | None = None
    """With PinImage: the whole reference of the image."""
    replicas: Annotated[int, Field(ge=1, le=10000)] | None = None
    """With Scale: how many pods there shall be."""

    @model_validator(mode="after")
    def _fields_of_its_type(self) -> Self:
        wanted = {
            RemedyType.UNDO: {"to"},
            RemedyType.PIN_IMAGE: {"container", "image"},
            RemedyType.SCALE: {"replicas"},
        }[self.type] | ({"revision"} if self.to is UndoTo.REVISION else set())
        fields = ("to", "revision", "container", "image", "replicas")
        given = {field for field in fields if getattr(self, field) is not None}
        if given != wanted:
            raise ValueError(f"type {self.type} takes {sorted(wanted)}, not {sorted(given)}")
        return self


class PodMetricsSpec(_Model):
    """The watched pods' own metrics pages, read beside Prometheus.

    Evidence without the wait for the next scrape: while a release is young or suspected, and where
    the pods can be reached; PodMetricsAvailable says whether they can.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _cel(
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


class SafetySpec(_Model):
    """What keeps the operator from doing harm."""

    watch_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """How long a release is judged after its template appeared."""
    good_after_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """A release is Good after this time fully rolled out, with enough traffic and nothing bad."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=604800)] = 3600
    """After a rollback, how long the same release is not rolled back again by itself."""
    max_rollbacks_per_day: Annotated[int, Field(ge=1, le=100)] = 3
    """Rollbacks of this policy in any 24 hours; after that people are told instead."""
    stuck_after_seconds: Annotated[int, Field(ge=10, le=86400)] = 300
    """A rollout without progress for this long is stuck, or after the Deployment's
    progressDeadlineSeconds if that is shorter."""
    suspect_odds: Annotated[int, Field(ge=10, le=1000000)] = 100
    """From these odds that the release is worse it is Suspect."""
    bad_odds: Annotated[int, Field(ge=100, le=1000000000)] = 10000
    """From these odds it is Bad and acted on at once; at a deadline a tenth of them will do."""
    express: Annotated[
        list[MatrixSeverity],
        Field(max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = [MatrixSeverity.P1]
    """Severities whose undo starts all good pods at once (maxSurge 100 % for its time)."""
    pause_on_suspicion: bool = True
    """True: while a rollout goes on, a suspicion against the release pauses it, so that the old
    pods stay alive to compare with; it goes on when the suspicion has faded."""
    max_pause_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    """How long a rollout may be held on suspicion, in all, for one release."""
    quarantine_seconds: Annotated[int, Field(ge=0, le=7776000)] = 604800
    """How long a release that was rolled back, and its images, must not come back: it is told at
    once if it does. 0: no quarantine."""
    on_quarantined: QuarantineResponse = QuarantineResponse.TELL
    """Refuse: the API server does not take an image that is in quarantine back into the Deployment;
    for that the chart's admission.create must be set. A release without such an image is told."""
    freeze: Annotated[
        list[FreezeWindow], Field(max_length=16, json_schema_extra=_keyed_by("name"))
    ] = []
    """Times in which releases are judged and people told, and nothing is done by itself; what a
    person asks for is."""
    require_verified: bool = False
    """True: a person is asked before an undo to a revision that is not recorded as Good."""
    git_ops: GitOps = GitOps.REFUSE
    """What is done where Argo CD or Flux steers the Deployment and would revert an undo. Refuse:
    nothing, people are told. Suspend: its Application, Kustomization or HelmRelease is suspended
    first and stays so until a person releases it, or Git wants what runs. Proceed: it is undone all
    the same; if that is reverted, people are told, and it is not done again."""


class StageSpec(_Model):
    """Holds a rollout with its first new pods until they are proved no worse than the old ones."""

    max_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """How long a rollout may be held for the proof; if nothing speaks against the release by then
    it goes on without. 0: rollouts are not staged. It takes two replicas: of one, Kubernetes takes
    the old pod away as soon as the new one is available, paused or not."""


class RollbackPolicySpec(_Model):
    """What to watch and what is allowed."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _cel(
                    "!has(self.safety)"
                    " || (has(self.safety.goodAfterSeconds) ? self.safety.goodAfterSeconds : 600)"
                    " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
                    "goodAfterSeconds is at most watchSeconds, or no release could become good",
                    ".safety.goodAfterSeconds",
                ),
                _cel(
                    "!has(self.safety)"
                    " || (has(self.safety.suspectOdds) ? self.safety.suspectOdds : 100)"
                    " < (has(self.safety.badOdds) ? self.safety.badOdds : 10000)",
                    "suspectOdds is below badOdds",
                    ".safety.suspectOdds",
                ),
                _cel(
                    "!has(self.safety) || !has(self.safety.maxPauseSeconds)"
                    " || self.safety.maxPauseSeconds"
                    " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
                    "maxPauseSeconds is at most watchSeconds: a release is not judged any longer",
                    ".safety.maxPauseSeconds",
                ),
                _cel(
                    "!has(self.stage) || !has(self.stage.maxSeconds) || self.stage.maxSeconds"
                    " <= (has(self.safety) && has(self.safety.watchSeconds)"
                    " ? self.safety.watchSeconds : 3600)",
                    "stage.maxSeconds is at most safety.watchSeconds: a release is not judged any"
                    " longer",
                    ".stage.maxSeconds",
                ),
            ]
        }
    )

    target_ref: TargetRef
    mode: Mode
    suspend: bool = False
    """True: nothing is judged and nothing is done until it is false again."""
    prometheus: PrometheusSpec = PrometheusSpec()
    signals: SignalsSpec = SignalsSpec()
    matrix: Annotated[
        list[MatrixRule],
        Field(
            min_length=1,
            max_length=4,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["severity"],
                "x-kubernetes-validations": [
                    _cel(
                        "self.all(i, r, i == 0 || self[i - 1].severity < r.severity)",
                        "rules go from the worst severity to the mildest: the first match wins",
                    )
                ],
            },
        ),
    ] = list(RUNBOOK_MATRIX)
    """First match from the top wins."""
    remedies: Annotated[
        list[Remedy],
        Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = [Remedy(type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD)]
    """The first that applies to the severity is taken. Default: an undo to the newest good one."""
    database: DatabaseSpec | None = None
    """The database that the releases migrate. Default: none is looked at."""
    verification: VerificationSpec = VerificationSpec()
    safety: SafetySpec = SafetySpec()
    checklist: Annotated[
        list[CheckRule],
        Field(max_length=len(CheckName), json_schema_extra=_keyed_by("name")),
    ] = []
    """Items of the checklist before an act that are to be taken more strictly than by default."""
    approval: ApprovalSpec = ApprovalSpec()
    """How long a person is waited for where one is asked."""
    stage: StageSpec = StageSpec()
    pod_metrics: PodMetricsSpec = PodMetricsSpec()
    notify: Channels = []
    """Who is told when a rollback begins, ends or needs somebody; each once, in this order."""
    communication: CommunicationSpec = CommunicationSpec()


class Revision(_Model):
    """A revision of the target."""

    number: Annotated[int, Field(ge=0)]
    template_hash: Annotated[str, Field(max_length=63)]
    """The ReplicaSet's pod-template-hash."""
    digest: Annotated[str, Field(max_length=64)]
    """Own digest of the pod template: what opens a watch when it changes."""
    release: Annotated[str, Field(max_length=64)]
    """Digest of the template without annotations: a restart is the same release."""
    images: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    since: AwareDatetime | None = None
    changed_by: Annotated[str, Field(max_length=128)] | None = None
    """Of the running revision: who has put its template there, by the Deployment's field owners."""


class LedgerEntry(Revision):
    """A revision and what is known of its health."""

    health: Health = Health.UNKNOWN
    reason: Annotated[str, Field(max_length=256)] = ""
    migrations: AppliedMigrations | None = None
    """What was applied to the database when it was found good; only with `spec.database`."""


class LastRollback(_Model):
    """The newest rollback of the policy."""

    name: Name
    outcome: Outcome | None = None
    time: AwareDatetime


class Hold(_Model):
    """A rollout that is held, or the last one that was.

    It is stored before the Deployment is paused, so that whoever finds it can let it go.
    """

    reason: HoldReason
    message: Annotated[str, Field(max_length=1024)]
    """Why, in words."""
    deployment: Name
    deployment_uid: Annotated[str, Field(min_length=1, max_length=64)]
    digest: Annotated[str, Field(max_length=64)]
    """Of the pod template that is being rolled out."""
    since_time: AwareDatetime
    until_time: AwareDatetime
    """The rollout goes on at this time at the latest."""
    paused_time: AwareDatetime | None = None
    """When the Deployment was paused."""
    released_time: AwareDatetime | None = None
    """When it was let go; absent while it is held."""
    release_reason: Annotated[str, Field(max_length=64)] = ""
    release_message: Annotated[str, Field(max_length=1024)] = ""
    earlier_seconds: Annotated[int, Field(ge=0)] = 0
    """How long this release had been held on suspicion before."""

    @property
    def is_open(self) -> bool:
        """Tell whether the rollout is still to be held."""
        return self.released_time is None


class Finding(_Model):
    """One thing that an investigation has found."""

    name: Annotated[str, Field(max_length=64)]
    """Symptom, Latency, ErrorRate, Pods or Changes."""
    message: Annotated[str, Field(max_length=1024)]


class Investigation(_Model):
    """What was known when a release was first found to need looking at."""

    severity: MatrixSeverity
    release: Annotated[str, Field(max_length=64)]
    """Which release: digest of its template without annotations."""
    since: AwareDatetime
    findings: Annotated[
        list[Finding],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []


class RollbackPolicyStatus(_Model):
    """What the operator sees and thinks. It can be rebuilt by looking again."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=_keyed_by("type"),
        ),
    ] = []
    revision: Revision | None = None
    last_known_good: Revision | None = None
    verdict: VerdictValue = VerdictValue.NO_VERDICT
    severity: Severity = Severity.NONE
    revisions: Annotated[
        list[LedgerEntry],
        Field(max_length=10, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """The health ledger: only revisions whose ReplicaSet still exists."""
    last_rollback: LastRollback | None = None
    quarantine: Annotated[
        list[QuarantineEntry],
        Field(max_length=MOST_ENTRIES, json_schema_extra=_keyed_by("release")),
    ] = []
    """What was rolled back and must not come back for a while."""
    hold: Hold | None = None
    investigation: Investigation | None = None
    """Of the running release; none while nothing asks for one."""
    probes: Annotated[
        list[ProbeRecord], Field(max_length=16, json_schema_extra=_keyed_by("name"))
    ] = []
    """Which release passed the matrix' probes last."""
    notifications: Notifications = []
    """What was told of releases that were not rolled back, and to whom."""


class Trigger(_Model):
    """Why the rollback was decided: counts, odds, times."""

    reason: Annotated[str, Field(max_length=256)]
    message: Text
    """The decision in words."""
    first_bad_time: AwareDatetime | None = None
    """Time of the first bad sample, or of the start of the outage."""
    decided_time: AwareDatetime
    deadline_time: AwareDatetime | None = None
    requests: Annotated[int, Field(ge=0)] = 0
    """Requests of the new revision that were judged."""
    errors: Annotated[int, Field(ge=0)] = 0
    control_requests: Annotated[int, Field(ge=0)] = 0
    control_errors: Annotated[int, Field(ge=0)] = 0
    odds: Annotated[str, Field(max_length=32)] = ""
    """How much likelier the counts are if the new revision is worse: '12000 : 1'."""
    blame_odds: Annotated[str, Field(max_length=32)] = ""
    """Release against environment, where no old pod is left to compare with."""
    signal: SignalName | None = None
    """Which signal of the matrix was met, where it is no error rate."""


class RollbackTarget(_Model):
    """The Deployment as it was judged."""

    kind: TargetKind = TargetKind.DEPLOYMENT
    name: Name
    uid: Annotated[str, Field(min_length=1, max_length=64)]


class RevisionRef(_Model):
    """One end of the rollback."""

    number: Annotated[int, Field(ge=0)]
    template_hash: Annotated[str, Field(max_length=63)]
    digest: Annotated[str, Field(max_length=64)]
    release: Annotated[str, Field(max_length=64)]
    images: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    image_digests: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """Of the bad revision: what its images were when they ran, without those that stay."""
    replica_set: Annotated[str, Field(max_length=253)] = ""
    replica_set_uid: Annotated[str, Field(max_length=64)] = ""
    health: Health = Health.UNKNOWN


class PolicyRef(_Model):
    """The policy that decided."""

    model_config = ConfigDict(json_schema_extra=name_suffices)

    name: Name
    uid: Annotated[str, Field(min_length=1, max_length=64)]
    """Left out where a person asks; the operator looks it up."""


class RollbackPlan(_Model):
    """What is to be done, and why: stored before anything is touched."""

    policy_ref: PolicyRef
    target_ref: RollbackTarget
    mode: Mode
    severity: MatrixSeverity
    remedy: Remedy
    pace: Pace = Pace.NORMAL
    from_revision: RevisionRef
    to_revision: RevisionRef | None = None
    """Absent for Scale and PinImage, which go to no recorded revision."""
    verification: VerificationSpec = VerificationSpec()
    approval_policy: ApprovalSpec = ApprovalSpec()
    """The policy's `approval` at the time of the decision."""
    requires_approval: bool = False
    """A person is asked, whatever the checklist says: the matrix only proposes it."""
    owner: OwnerPlan | None = None
    """Who else steers the Deployment, and what is done about it; absent: nobody was found."""
    trigger: Trigger


def _unchangeable(schema: dict[str, Any]) -> None:
    """Let a Rollback's spec change in nothing but its approval, which is given once for a plan."""
    same = [
        f"has(self.{name}) == has(oldSelf.{name})"
        f" && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in sorted(set(schema["properties"]) - {"approval"})
    ]
    schema["x-kubernetes-validations"] = [
        _cel(
            " && ".join(f"({one})" for one in same),
            "a Rollback's spec is its stored intent and never changes, but for its approval",
        ),
        _cel(
            "!has(oldSelf.approval) || has(self.approval) && (self.approval == oldSelf.approval"
            " || self.approval.planDigest != oldSelf.approval.planDigest)",
            "a plan is approved or rejected once",
        ),
    ]
    whole_or_by_hand(schema)


class RollbackSpec(RollbackPlan):
    """The stored intent. Nothing but its approval ever changes.

    A person writes policyRef.name, remedy and reason; the rest is the operator's.
    """

    model_config = ConfigDict(json_schema_extra=_unchangeable)

    reason: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Why a person asks for this rollback."""
    requested_by: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Who asks; where the chart's admission policies are installed, nobody but themselves."""
    approval: Approval | None = None
    """A person's decision, where one is asked for."""

    @property
    def plan(self) -> RollbackPlan:
        """What is to be done, without who asked for it."""
        return RollbackPlan(**{name: getattr(self, name) for name in RollbackPlan.model_fields})


class RequestedPolicy(_Model):
    """The policy that a person names."""

    name: Name


class RequestSpec(_Model):
    """What a person asks for, before the operator has planned it."""

    policy_ref: RequestedPolicy
    remedy: Remedy
    reason: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    requested_by: Annotated[str, Field(min_length=1, max_length=253)] | None = None


class StepStatus(_Model):
    """Facts of one step. It runs only if its start is stored."""

    name: StepName
    started_time: AwareDatetime
    finished_time: AwareDatetime | None = None
    attempts: Annotated[int, Field(ge=1)] = 1
    message: Annotated[str, Field(max_length=1024)] = ""


class StoredStrategy(_Model):
    """The Deployment's rolling-update bounds as they were before an express undo."""

    max_surge: Annotated[str, Field(max_length=16)]
    max_unavailable: Annotated[str, Field(max_length=16)]


class RollbackStatus(_Model):
    """How far the rollback is, and how it ended."""

    plan: RollbackPlan | None = None
    """Of a Rollback made by hand: what the operator made of it, before it did anything."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=_keyed_by("type"),
        ),
    ] = []
    severity: MatrixSeverity | None = None
    """The worst severity seen so far: it may rise after the decision."""
    step: StepName | None = None
    steps: Annotated[
        list[StepStatus],
        Field(
            max_length=16,
            json_schema_extra=_keyed_by("name"),
        ),
    ] = []
    checklist: Annotated[
        list[CheckItem], Field(max_length=len(CheckName), json_schema_extra=_keyed_by("name"))
    ] = []
    """What was looked at before the act, and how it was found."""
    pace: Pace | None = None
    """The pace that there is room for."""
    plan_digest: Annotated[str, Field(max_length=64)] = ""
    """Of what a person is asked to approve; a decision names it."""
    approval_deadline_time: AwareDatetime | None = None
    """Until when a decision is waited for."""
    escalated_time: AwareDatetime | None = None
    """When what was only proposed became so bad that it is done without asking."""
    strategy: StoredStrategy | None = None
    owner: OwnerRecord | None = None
    """What was done about who else steers the Deployment."""
    verification: Annotated[
        list[VerificationCheck],
        Field(
            max_length=32,
            json_schema_extra=_keyed_by("name"),
        ),
    ] = []
    """What was looked at to see whether it helped."""
    outcome: Outcome | None = None
    finished_time: AwareDatetime | None = None
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] = ""
    """The newest message to people, as plain text."""
    notifications: Notifications = []
    """What was told, and to whom."""


class ObjectMeta(_Model):
    """The part of an object's metadata that decisions need."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    finalizers: list[str] = []


class Resource(_Model):
    """What every kind of this group has."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT: ClassVar[str]
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]]

    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name


class RollbackPolicy(Resource):
    """Watches a Deployment and takes bad releases of it back."""

    KIND: ClassVar[str] = "RollbackPolicy"
    PLURAL: ClassVar[str] = "rollbackpolicies"
    SHORT: ClassVar[str] = "rbp"
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Target", "type": "string", "jsonPath": ".spec.targetRef.name"},
        {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
        {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
        {"name": "Severity", "type": "string", "jsonPath": ".status.severity"},
        {"name": "Revision", "type": "integer", "jsonPath": ".status.revision.number"},
        {"name": "Last-Rollback", "type": "string", "jsonPath": ".status.lastRollback.outcome"},
        {
            "name": "Ready",
            "type": "string",
            "priority": 1,
            "jsonPath": ".status.conditions[?(@.type=='Ready')].reason",
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: RollbackPolicySpec
    status: RollbackPolicyStatus = RollbackPolicyStatus()


class Rollback(Resource):
    """One rollback: the stored intent, its steps, its end."""

    KIND: ClassVar[str] = "Rollback"
    PLURAL: ClassVar[str] = "rollbacks"
    SHORT: ClassVar[str] = "rbk"
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Policy", "type": "string", "jsonPath": ".spec.policyRef.name"},
        {"name": "Severity", "type": "string", "jsonPath": ".status.severity"},
        {"name": "From", "type": "integer", "jsonPath": ".spec.fromRevision.number"},
        {"name": "To", "type": "integer", "jsonPath": ".spec.toRevision.number"},
        {"name": "Step", "type": "string", "jsonPath": ".status.step"},
        {"name": "Outcome", "type": "string", "jsonPath": ".status.outcome"},
        {
            "name": "Checklist",
            "type": "string",
            "priority": 1,
            "jsonPath": ".status.checklist[?(@.consequence!='Proceed')].message",
        },
        {"name": "Why", "type": "string", "priority": 1, "jsonPath": ".spec.trigger.message"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: RollbackSpec
    status: RollbackStatus = RollbackStatus()

    @model_validator(mode="before")
    @classmethod
    def _planned(cls, raw: Any) -> Any:
        """Take the plan of one that was made by hand from where it is stored."""
        plan = (raw.get("status") or {}).get("plan") if _is_by_hand(raw) else None
        if not plan:
            return raw
        spec = raw["spec"]
        return {**raw, "spec": {**plan, **spec, "policyRef": plan.get("policyRef")}}

    @property
    def is_by_hand(self) -> bool:
        """Tell whether a person asked for it."""
        return self.status.plan is not None


class RollbackRequest(Resource):
    """A Rollback made by hand that the operator has not planned, or will not."""

    KIND: ClassVar[str] = Rollback.KIND
    PLURAL: ClassVar[str] = Rollback.PLURAL
    SHORT: ClassVar[str] = Rollback.SHORT
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = Rollback.COLUMNS

    spec: RequestSpec
    status: RollbackStatus = RollbackStatus()


def rollback_of(raw: dict[str, Any]) -> Rollback | RollbackRequest:
    """Read a Rollback as the API server shows it.

    Raises:
        ValidationError: it is neither a plan nor a request.
    """
    is_planned = (raw.get("status") or {}).get("plan") or not _is_by_hand(raw)
    return Rollback.model_validate(raw) if is_planned else RollbackRequest.model_validate(raw)


def _is_by_hand(raw: Any) -> bool:
    spec = raw.get("spec") if isinstance(raw, dict) else None
    return isinstance(spec, dict) and "fromRevision" not in spec and "reason" in spec


KINDS: tuple[type[Resource], ...] = (RollbackPolicy, Rollback)
