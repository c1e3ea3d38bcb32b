"""The severity matrix: maps signals and thresholds to severities."""

import re
from itertools import pairwise
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from rollback_operator.api.shape import Decimal, Label, Model, cel
from rollback_operator.api.terms import (
    MatrixSeverity,
    Response,
    RouteSet,
    SignalName,
    TimeoutResponse,
)

_RATE = (SignalName.ERROR_RATE,)
_ABOVE = (SignalName.LATENCY_RATIO, SignalName.LATENCY, SignalName.MEMORY_GROWTH)
_COUNT = (SignalName.OOM_KILLS, SignalName.RESTARTS)
_QUERY_FIELDS = ("query", "name", "below", "change_above")
_TIMES, _LOOKS = 3, 5
_QUERY_ONLY = (
    "query, below and changeAbove are allowed only for Query, and name only for Query and Probe"
)
_PROBE_NAME = "Probe requires name, the name of a probe in spec.verification.http"
_LOOKED_AT = "times and looks are allowed only for Query"


class MatrixCondition(Model):
    """Condition on one signal.

    ErrorRate takes `above` or `atLeast` (a fraction from 0 to 1) and `routes`. LatencyRatio
    (latency divided by the old revision's), Latency (seconds) and MemoryGrowth (fraction of the
    memory limit per hour) take `above`. OOMKills and Restarts take a whole number `atLeast`. Query
    takes your own PromQL in `query`, with `above` or `below`. Probe takes the `name` of a probe in
    `verification.http`; it matches when the old revision passes the probe and the new revision
    fails it three times in a row. Unavailable (no available pod), StuckRollout (no rollout
    progress) and TrafficLost (requests no longer arrive) take no threshold.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.signal != 'ErrorRate' || has(self.above) != has(self.atLeast)",
                    "ErrorRate requires exactly one of above and atLeast",
                ),
                cel(
                    "!(self.signal in ['LatencyRatio', 'Latency', 'MemoryGrowth'])"
                    " || (has(self.above) && !has(self.atLeast))",
                    "LatencyRatio, Latency and MemoryGrowth require above and do not"
                    " accept atLeast",
                ),
                cel(
                    "!(self.signal in ['OOMKills', 'Restarts'])"
                    " || (has(self.atLeast) && !has(self.above)"
                    " && self.atLeast.matches('^[1-9][0-9]*$'))",
                    "OOMKills and Restarts require atLeast, a whole number of at least 1, and do"
                    " not accept above",
                ),
                cel(
                    "self.signal != 'Query' || (has(self.query)"
                    " && has(self.above) != has(self.below) && !has(self.atLeast))",
                    "Query requires query and exactly one of above and below",
                ),
                cel(
                    "self.signal == 'Query' || !(has(self.query) || has(self.below)"
                    " || has(self.changeAbove) || (has(self.name) && self.signal != 'Probe'))",
                    _QUERY_ONLY,
                ),
                cel(
                    "self.signal != 'Probe' || has(self.name)",
                    _PROBE_NAME,
                ),
                cel(
                    "!(self.signal in ['Unavailable', 'StuckRollout', 'TrafficLost', 'Probe'])"
                    " || !(has(self.above) || has(self.atLeast))",
                    "Unavailable, StuckRollout, TrafficLost and Probe do not accept above or"
                    " atLeast",
                ),
                cel(
                    "self.signal == 'ErrorRate' || !has(self.routes)",
                    "routes is allowed only for ErrorRate",
                ),
                cel(
                    "self.signal != 'ErrorRate' || !has(self.above)"
                    " || (double(self.above) >= 0.0 && double(self.above) < 1.0)",
                    "above must be at least 0 and less than 1 for ErrorRate; otherwise the"
                    " condition cannot match",
                    ".above",
                ),
                cel(
                    "self.signal != 'ErrorRate' || !has(self.atLeast)"
                    " || (double(self.atLeast) > 0.0 && double(self.atLeast) <= 1.0)",
                    "atLeast must be greater than 0 and at most 1 for ErrorRate; otherwise the"
                    " condition matches every release, or none",
                    ".atLeast",
                ),
                cel(
                    "self.signal == 'Query' || !(has(self.times) || has(self.looks))",
                    _LOOKED_AT,
                    ".times",
                ),
                cel(
                    f"(has(self.times) ? self.times : {_TIMES})"
                    f" <= (has(self.looks) ? self.looks : {_LOOKS})",
                    "times must be at most looks",
                    ".times",
                ),
            ]
        }
    )

    signal: SignalName
    """Signal to evaluate."""
    above: Decimal | None = None
    """Threshold: the condition matches when the value is greater. Rates and quantiles are compared
    by their lower confidence bound."""
    at_least: Decimal | None = None
    """Threshold: the condition matches when the value is equal or greater. An error rate also
    matches when all of 20 or more requests failed."""
    routes: RouteSet | None = None
    """Routes whose error rate is evaluated. Purchase: the route of `signals.purchaseRoutes` with
    the highest error rate. Default: all routes combined."""
    query: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """PromQL expression that returns one number, evaluated every 15 seconds. Only for signal
    Query."""
    name: Label | None = None
    """For Query: name of the value in messages. For Probe: name of the probe in
    `verification.http`."""
    below: Decimal | None = None
    """Threshold for Query: the condition matches when the value is less."""
    change_above: Decimal | None = None
    """Additional requirement for Query: the value must also exceed this multiple of its value
    before the release. Default: no comparison."""
    times: Annotated[int, Field(ge=1, le=60)] = _TIMES
    """For Query: number of the last `looks` evaluations that must match. Default: 3."""
    looks: Annotated[int, Field(ge=1, le=60)] = _LOOKS
    """For Query: number of most recent evaluations considered. Default: 5."""

    @property
    def limit(self) -> float:
        """Upper threshold, as a number."""
        return float(self.above or self.at_least or 0)

    @property
    def count(self) -> int:
        """Threshold of a counting signal, as a number."""
        return int(self.at_least or 1)

    @model_validator(mode="after")
    def _fields_of_its_signal(self) -> Self:
        # The API server says the same in CEL; a file given to the command line has only this.
        thresholds = (self.above is not None) + (self.at_least is not None)
        if self.signal in _RATE and thresholds != 1:
            raise ValueError("ErrorRate requires exactly one of above and atLeast")
        if self.signal in _RATE and not (
            0 <= self.limit <= 1 and (self.limit < 1 if self.above else self.limit > 0)
        ):
            raise ValueError("above and atLeast of ErrorRate must be rates from 0 to 1")
        if self.signal in _ABOVE and (self.above is None or self.at_least is not None):
            raise ValueError(f"{self.signal} requires above and does not accept atLeast")
        if self.signal in _COUNT and not re.fullmatch("[1-9][0-9]*", self.at_least or ""):
            raise ValueError(f"{self.signal} requires atLeast, a whole number of at least 1")
        if self.signal is SignalName.QUERY and (
            self.query is None
            or (self.above is None) == (self.below is None)
            or self.at_least is not None
        ):
            raise ValueError("Query requires query and exactly one of above and below")
        self._refuse_foreign(thresholds)
        return self

    def _refuse_foreign(self, thresholds: int) -> None:
        takes = {SignalName.ERROR_RATE, SignalName.QUERY, *_ABOVE, *_COUNT}
        if self.signal not in takes and thresholds:
            raise ValueError(f"{self.signal} does not accept above or atLeast")
        if self.signal is not SignalName.ERROR_RATE and self.routes:
            raise ValueError("routes is allowed only for ErrorRate")
        foreign = set(_QUERY_FIELDS) - ({"name"} if self.signal is SignalName.PROBE else set())
        if self.signal is not SignalName.QUERY and any(
            getattr(self, field) is not None for field in foreign
        ):
            raise ValueError(_QUERY_ONLY)
        if self.signal is SignalName.PROBE and self.name is None:
            raise ValueError(_PROBE_NAME)
        if self.signal is not SignalName.QUERY and (self.times, self.looks) != (_TIMES, _LOOKS):
            raise ValueError(_LOOKED_AT)
        if self.times > self.looks:
            raise ValueError("times must be at most looks")


class MatrixRule(Model):
    """Severity, the conditions that cause it, and the response."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.onTimeout)"
                    " || (self.response == 'Investigate' && has(self.withinSeconds))",
                    "onTimeout requires response Investigate and withinSeconds",
                    ".onTimeout",
                ),
                cel(
                    "!has(self.propose) || !self.propose || self.response == 'Investigate'",
                    "propose requires response Investigate",
                    ".propose",
                ),
            ]
        }
    )

    severity: MatrixSeverity
    """Severity assigned when a condition matches. Each severity has at most one rule; list the
    worst first."""
    when: Annotated[
        list[MatrixCondition],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ]
    """Conditions. The rule matches when any of them matches."""
    response: Response
    """Action when the rule matches. Rollback: apply a remedy automatically. Investigate: notify
    people and record a diagnosis. Report: only notify people."""
    within_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    """Maximum time in seconds from the first bad sample to the action. It limits only the
    collection of further evidence: proven faults are acted on at once. For an error rate `above` a
    threshold, the time shrinks as the rate grows. Default: no limit."""
    on_timeout: TimeoutResponse | None = None
    """Action when an investigation is not resolved within `withinSeconds`. Rollback: roll back if
    the release is proved slower or leaking memory. Report (default): no further action. Requires
    response Investigate and `withinSeconds`."""
    propose: bool = False
    """With Investigate: prepare a Rollback at once that starts only after a person approves it. If
    nobody decides, `onTimeout` applies after `withinSeconds`, or `approval` if that is not set.
    Default: false."""

    @model_validator(mode="after")
    def _time_of_its_response(self) -> Self:
        is_timed = self.response is Response.INVESTIGATE and self.within_seconds is not None
        if self.on_timeout is not None and not is_timed:
            raise ValueError("onTimeout requires response Investigate and withinSeconds")
        if self.propose and self.response is not Response.INVESTIGATE:
            raise ValueError("propose requires response Investigate")
        return self


def worst_first(rules: list[MatrixRule]) -> list[MatrixRule]:
    """Require rules in order from the worst severity to the mildest."""
    if any(rule.severity >= following.severity for rule, following in pairwise(rules)):
        raise ValueError("rules must be ordered from the worst severity to the mildest")
    return rules


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
