"""Checks that determine whether a rollback helped, and their results.

Used in RollbackPolicy.spec.verification and in Rollback.status.verification.
"""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AwareDatetime, Field, model_validator

from rollback_operator.api.shape import (
    Digest,
    DnsLabel,
    Model,
    Name,
    Rule,
    RuledModel,
    SecretRef,
    keyed_by,
)
from rollback_operator.api.terms import TrafficStop

HTTP_ADDRESS = (
    r"^https?://(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9_-][a-zA-Z0-9._-]*)(:[0-9]{1,5})?(/[!-~]*)?$"
)
CHECK_NAMES = ("RolloutComplete", "HealthEndpoints", "ErrorRate", "Latency", "Logs")
"""Names of the built-in checks, in the order of the report."""
PATH = r"^[^.\[\]\s]+(\[[0-9]{1,6}\])*(\.[^.\[\]\s]+(\[[0-9]{1,6}\])*)*$"

Status = Annotated[int, Field(ge=100, le=599)]


class HttpMethod(StrEnum):
    """HTTP request method."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


class VerificationResult(StrEnum):
    """Result of a check: Passed, Failed or Unknown.

    Unknown means that the check could not be completed; it counts neither for nor against recovery.
    """

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class JsonExpectation(Model):
    """Field that the JSON response body must contain."""

    path: Annotated[str, Field(min_length=1, max_length=256, pattern=PATH)]
    """Path of the field: names joined by dots, with optional indices, such as
    `data.tickets[0].status`."""
    value: Annotated[str, Field(max_length=256)]
    """Expected value as a string. Write numbers, true, false and null as in JSON."""


class HttpProbe(RuledModel):
    """Functional HTTP probe that verifies the restored service.

    A matrix condition with signal: Probe also sends it to each new release. It may be sent many
    times, so it must be safe to repeat.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!(self.name in {list(CHECK_NAMES)})",
            lambda it: it.name not in CHECK_NAMES,
            "name must not be the name of a built-in check",
            ".name",
        ),
        Rule(
            "!has(self.body) || has(self.method) && !(self.method in ['GET', 'HEAD'])",
            lambda it: it.body is None or it.method not in (HttpMethod.GET, HttpMethod.HEAD),
            "body requires a method other than GET and HEAD",
            ".body",
        ),
    )

    name: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$")
    ]
    """Name of the probe in status, messages and matrix conditions. The names of the built-in checks
    are reserved."""
    url: Annotated[str, Field(max_length=2048, pattern=HTTP_ADDRESS)]
    """URL of the request: a Service in the policy's namespace, as http://NAME.NAMESPACE.svc/path,
    or a host in the operator's allow-list. Redirects are not followed."""
    method: HttpMethod = HttpMethod.GET
    """HTTP method. Default: GET."""
    headers_secret_ref: SecretRef | None = None
    """Secret whose keys are sent as request headers, such as `Authorization`. Default: no
    additional headers."""
    body: Annotated[str, Field(max_length=8192)] | None = None
    """Request body, sent unchanged. Not allowed with GET and HEAD. Content-Type is application/json
    unless the headers Secret sets it. Default: no body."""
    expect_status: Annotated[
        list[Status],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = [200]
    """Accepted HTTP status codes. Any other status fails the probe. Default: 200."""
    expect_json: JsonExpectation | None = None
    """Field that the JSON response must contain. Default: the body is not checked."""
    timeout_seconds: Annotated[int, Field(ge=1, le=30)] = 5
    """Timeout of a request in seconds. Default: 5."""

    @property
    def host(self) -> str:
        """Host of the URL."""
        match = re.match(HTTP_ADDRESS, self.url)
        return match[1].strip("[]") if match else ""


class LogCheck(Model):
    """Limit on matching log lines of the restored pods after a rollback."""

    pattern: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[ -{}~]+(\|[ -{}~]+)*$")]
    """Text to search for in a log line. The search is case-sensitive and does not support regular
    expressions. Separate alternatives with `|`."""
    since_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    """Maximum age of counted lines in seconds. Lines from before the rollback never count. Default:
    600."""
    at_most: Annotated[int, Field(ge=0, le=1000000)] = 0
    """Maximum number of matching lines across all pods. More lines fail the check. Default: 0."""
    container: DnsLabel | None = None
    """Container whose log is read. Default: the first container of the pod template."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Alternatives of the pattern."""
        return tuple(self.pattern.split("|"))


LONGEST_QUERY = 2048
Sql = Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY)]
QueryName = Annotated[
    str, Field(min_length=1, max_length=50, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$")
]
MOST_CHECKS = 6
INTEGRITY_PREFIX = "Integrity-"
"""Of the names of integrity checks among the checks of a verification, all of them required."""
MOST_ASSESSED = 4
MOST_ASSESSED_ROWS = 10
LONGEST_ROW = 300


class IntegrityCheck(Model):
    """Query that shows whether the data is intact."""

    name: QueryName
    """Name of the check in status, messages and matrix conditions. In the results of a verification
    it has the prefix `Integrity-`."""
    query: Sql
    """SELECT statement. The first column of its first row is compared with `expect`. It runs every
    15 seconds while a release is watched, read-only and for at most 1.5 seconds."""
    expect: Annotated[str, Field(max_length=256)] = "0"
    """Value that intact data has, as text. Write numbers, true, false and null as in JSON.
    Default: 0."""

    @property
    def title(self) -> str:
        """Name of the check among the checks of a verification."""
        return f"{INTEGRITY_PREFIX}{self.name}"


class DamageQuery(Model):
    """Query whose rows show the damage."""

    name: QueryName
    """Name of the query in `status.assessment` of the Rollback."""
    query: Sql
    """SELECT statement. Its first 10 rows are stored in the Rollback, each as JSON of at most 300
    characters. Everybody who may read the Rollback can read them: select identifiers and counts, no
    personal data."""


class CorruptionResponse(StrEnum):
    """Start of a rollback because of damaged data: RequireApproval or Proceed."""

    REQUIRE_APPROVAL = "RequireApproval"
    PROCEED = "Proceed"


class CorruptionSpec(RuledModel):
    """Handling of a release that damages data, found by the matrix signal Integrity.

    The traffic is stopped, the damage is assessed, the release is rolled back, and the traffic is
    restored to what it was before.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.service) == (has(self.stopTraffic) && self.stopTraffic == 'Service')",
            lambda it: (it.service is not None) == (it.stop_traffic is TrafficStop.SERVICE),
            "service is required for 'stopTraffic: Service' and must not be set otherwise",
        ),
    )

    response: CorruptionResponse = CorruptionResponse.REQUIRE_APPROVAL
    """Start of the rollback, where the matrix rule has response Rollback. RequireApproval
    (default): it waits for a person's approval. Proceed: it starts at once."""
    stop_traffic: TrafficStop = TrafficStop.REPLICAS
    """Method to stop the traffic. Replicas (default): the Deployment is set to zero replicas, and
    then to the number that it had before. Service: the Service in `service` selects no pod until
    the release is rolled back; established connections stay open. The namespace must be listed in
    the chart value `traffic.namespaces`."""
    service: Name | None = None
    """For `stopTraffic: Service`: Service whose selector is changed. It must select the pods of the
    Deployment."""
    assess: Annotated[
        list[DamageQuery], Field(max_length=MOST_ASSESSED, json_schema_extra=keyed_by("name"))
    ] = []
    """Queries on the damage, run once after the traffic has stopped and before anything else is
    changed. Default: none."""


class DamageAssessment(Model):
    """Answer to a query on the damage."""

    name: QueryName
    """Name of the query."""
    time: AwareDatetime
    """Time of the answer."""
    rows: Annotated[
        list[Annotated[str, Field(max_length=LONGEST_ROW)]],
        Field(
            max_length=MOST_ASSESSED_ROWS, json_schema_extra={"x-kubernetes-list-type": "atomic"}
        ),
    ] = []
    """First rows, each as JSON."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Reason why rows are missing."""


class VerificationSpec(Model):
    """Checks that determine whether a rollback helped.

    The operator always checks the rollout, the pods' own httpGet probes, the error rate and the
    latency. `http` and `logs` add checks.
    """

    timeout_seconds: Annotated[int, Field(ge=10, le=7200)] = 600
    """Seconds allowed for the rollout, and again for the checks after it. Failed checks are retried
    until then; if a check still fails, the outcome is NotRecovered. Default: 600."""
    http: Annotated[
        list[HttpProbe],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("name"),
        ),
    ] = []
    """Functional HTTP probes. A rollback is Verified only if all of them pass. Default: none."""
    logs: LogCheck | None = None
    """Limit on matching log lines. Default: logs are not read."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [probe.name for probe in self.http]
        if len(set(names)) < len(names):
            raise ValueError("http: probe names must be unique")
        return self


class ProbeRecord(Model):
    """Most recent release that passed a probe or integrity check named in the matrix."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the probe in `spec.verification.http`, or `Integrity-` and the name of the check in
    `spec.database.integrityChecks`, which passed while the release was watched."""
    release: Digest
    """Digest of the pod template without annotations."""
    passed_time: AwareDatetime
    """Time when the probe passed."""


class VerificationCheck(Model):
    """Result of one check after a rollback."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """RolloutComplete, HealthEndpoints, ErrorRate, Latency, Logs, the name of a functional probe,
    or `Integrity-` and the name of an integrity check."""
    result: VerificationResult
    """Passed, Failed, or Unknown if the check could not be completed."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Explanation of the result."""
