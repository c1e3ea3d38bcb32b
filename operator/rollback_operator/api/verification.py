"""How it is seen that a rollback helped: the checks that a policy asks for, and what came of them.

Held in RollbackPolicy.spec.verification and in Rollback.status.verification.
"""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from rollback_operator.api.secrets import SecretRef
from rollback_operator.api.shape import Digest, DnsLabel, Model, cel, keyed_by

HTTP_ADDRESS = (
    r"^https?://(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9_-][a-zA-Z0-9._-]*)(:[0-9]{1,5})?(/[!-~]*)?$"
)
CHECK_NAMES = ("RolloutComplete", "HealthEndpoints", "ErrorRate", "Latency", "Logs")
"""Names of the operator's own checks, in the order in which they are told."""
PATH = r"^[^.\[\]\s]+(\[[0-9]{1,6}\])*(\.[^.\[\]\s]+(\[[0-9]{1,6}\])*)*$"

Status = Annotated[int, Field(ge=100, le=599)]


class HttpMethod(StrEnum):
    """What is sent to a probe's address."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


class VerificationResult(StrEnum):
    """What a check has shown. Unknown is neither good nor bad: it could not be seen."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class JsonExpectation(Model):
    """A field that the answer, as JSON, must hold."""

    path: Annotated[str, Field(min_length=1, max_length=256, pattern=PATH)]
    """Names joined by dots, with indices: `data.tickets[0].status`."""
    value: Annotated[str, Field(max_length=256)]
    """What it must be; numbers, true, false and null as JSON writes them."""


class HttpProbe(Model):
    """A request that the restored service must answer as it should. It may be sent many times."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    f"!(self.name in {list(CHECK_NAMES)})",
                    "this is the name of one of the operator's own checks: choose another",
                    ".name",
                ),
                cel(
                    "!has(self.body) || has(self.method) && !(self.method in ['GET', 'HEAD'])",
                    "GET and HEAD carry no body: set method",
                    ".body",
                ),
            ]
        }
    )

    name: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$")
    ]
    """What the probe is called in status and messages."""
    url: Annotated[str, Field(max_length=2048, pattern=HTTP_ADDRESS)]
    """A Service of the policy's namespace, as http://NAME.NAMESPACE.svc/path, or a host that the
    operator's owner allows. Redirects are not followed."""
    method: HttpMethod = HttpMethod.GET
    headers_secret_ref: SecretRef | None = None
    """A Secret whose every key is a header, as `Authorization: Bearer ...`."""
    body: Annotated[str, Field(max_length=8192)] | None = None
    """Sent as it is; as application/json unless the Secret names a Content-Type."""
    expect_status: Annotated[
        list[Status],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = [200]
    """The statuses of which the answer must have one."""
    expect_json: JsonExpectation | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=30)] = 5
    """How long one answer may take."""

    @property
    def host(self) -> str:
        """The host that the address names."""
        found = re.match(HTTP_ADDRESS, self.url)
        return found[1].strip("[]") if found else ""

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.name in CHECK_NAMES:
            raise ValueError(f"{self.name} is one of the operator's own checks: choose another")
        if self.body is not None and self.method in (HttpMethod.GET, HttpMethod.HEAD):
            raise ValueError(f"{self.method} carries no body: set method")
        return self


class LogCheck(Model):
    """Lines that the restored pods may write only so often since the rollback."""

    pattern: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[ -{}~]+(\|[ -{}~]+)*$")]
    """Text that a line holds, upper and lower case told apart; several texts are parted by `|`. No
    regular expression."""
    since_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    """No older lines count, and none from before the rollback."""
    at_most: Annotated[int, Field(ge=0, le=1000000)] = 0
    """How many such lines all pods together may have written."""
    container: DnsLabel | None = None
    """Whose lines. Default: the pod template's first container's."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of which a line must hold one."""
        return tuple(self.pattern.split("|"))


class VerificationSpec(Model):
    """How it is seen that a rollback helped.

    Beside what is always looked at: the rollout, the pods' own httpGet probes, error rate, latency.
    """

    timeout_seconds: Annotated[int, Field(ge=10, le=7200)] = 600
    """How long the rollout and the proof that it helped may take, each. What fails is tried again
    until then."""
    http: Annotated[
        list[HttpProbe],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("name"),
        ),
    ] = []
    """Functional probes: without all of them passed no rollback is Verified."""
    logs: LogCheck | None = None
    """Default: logs are not read."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name for one in self.http]
        if len(set(names)) < len(names):
            raise ValueError("http: each probe needs a name of its own")
        return self


class ProbeRecord(Model):
    """The newest release that a probe of the matrix has passed on."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    release: Digest
    """Which release: digest of its template without annotations."""
    passed_time: AwareDatetime


class VerificationCheck(Model):
    """One thing that was looked at after a rollback."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """RolloutComplete, HealthEndpoints, ErrorRate, Latency, Logs, or a functional probe's name."""
    result: VerificationResult
    message: Annotated[str, Field(max_length=512)] = ""
    """What was seen, in one sentence."""
