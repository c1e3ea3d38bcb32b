"""The severity matrix: which signal above which threshold is which severity."""

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
_LOOKED_AT = "times and looks belong to Query only"


class MatrixCondition(Model):
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
                cel(
                    "self.signal != 'ErrorRate' || has(self.above) != has(self.atLeast)",
                    "ErrorRate needs exactly one of above and atLeast",
                ),
                cel(
                    "!(self.signal in ['LatencyRatio', 'Latency', 'MemoryGrowth'])"
                    " || (has(self.above) && !has(self.atLeast))",
                    "LatencyRatio, Latency and MemoryGrowth need above",
                ),
                cel(
                    "!(self.signal in ['OOMKills', 'Restarts'])"
                    " || (has(self.atLeast) && !has(self.above)"
                    " && self.atLeast.matches('^[1-9][0-9]*$'))",
                    "OOMKills and Restarts need a whole number atLeast",
                ),
                cel(
                    "self.signal != 'Query' || (has(self.query)"
                    " && has(self.above) != has(self.below) && !has(self.atLeast))",
                    "Query needs query and exactly one of above and below",
                ),
                cel(
                    "self.signal == 'Query' || !(has(self.query) || has(self.below)"
                    " || has(self.changeAbove) || (has(self.name) && self.signal != 'Probe'))",
                    "query, name, below and changeAbove belong to Query only, name to Probe too",
                ),
                cel(
                    "self.signal != 'Probe' || has(self.name)",
                    "Probe needs name, that of a probe in spec.verification.http",
                ),
                cel(
                    "!(self.signal in ['Unavailable', 'StuckRollout', 'TrafficLost', 'Probe'])"
                    " || !(has(self.above) || has(self.atLeast))",
                    "Unavailable, StuckRollout, TrafficLost and Probe take no threshold",
                ),
                cel(
                    "self.signal == 'ErrorRate' || !has(self.routes)",
                    "routes belongs to ErrorRate only",
                ),
                cel(
                    "self.signal != 'ErrorRate' || !has(self.above)"
                    " || (double(self.above) >= 0.0 && double(self.above) < 1.0)",
                    "a rate is from 0 to 1 and never above 1: this condition could not match",
                    ".above",
                ),
                cel(
                    "self.signal != 'ErrorRate' || !has(self.atLeast)"
                    " || (double(self.atLeast) > 0.0 && double(self.atLeast) <= 1.0)",
                    "a rate is above 0 and at most 1: this condition would match every release, "
                    "or none",
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
    name: Label | None = None
    """What the query's number is called in messages; of Probe, which probe."""
    below: Decimal | None = None
    """Matches when the query's number is below this."""
    change_above: Decimal | None = None
    """... and when it is more than so many times what it was before the release."""
    times: Annotated[int, Field(ge=1, le=60)] = _TIMES
    """How many of the newest `looks` at the query must match. Default: 3."""
    looks: Annotated[int, Field(ge=1, le=60)] = _LOOKS
    """How many of the newest looks at the query count. Default: 5."""

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
        if self.signal is not SignalName.QUERY and (self.times, self.looks) != (_TIMES, _LOOKS):
            raise ValueError(_LOOKED_AT)
        if self.times > self.looks:
            raise ValueError("times is at most looks")


class MatrixRule(Model):
    """A severity, its symptoms (any of them), and what is done within which time."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.onTimeout)"
                    " || (self.response == 'Investigate' && has(self.withinSeconds))",
                    "onTimeout belongs to response Investigate with withinSeconds",
                    ".onTimeout",
                ),
                cel(
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
    proved is acted on at once. For an error rate `above` a threshold it shrinks as the rate
    grows."""
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


def worst_first(rules: list[MatrixRule]) -> list[MatrixRule]:
    """Refuse rules in another order than from the worst severity to the mildest."""
    if any(one.severity >= following.severity for one, following in pairwise(rules)):
        raise ValueError("rules go from the worst severity to the mildest: the first match wins")
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
