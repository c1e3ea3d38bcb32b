"""The severity matrix: maps signals and thresholds to severities."""

import re
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field

from rollback_operator.api.shape import Decimal, Label, Rule, RuledModel
from rollback_operator.api.terms import (
    MatrixSeverity,
    Response,
    RouteSet,
    SignalName,
    TimeoutResponse,
)

_ABOVE = (SignalName.LATENCY_RATIO, SignalName.LATENCY, SignalName.MEMORY_GROWTH)
_COUNT = (SignalName.OOM_KILLS, SignalName.RESTARTS)
_NO_THRESHOLD = (
    SignalName.UNAVAILABLE,
    SignalName.STUCK_ROLLOUT,
    SignalName.TRAFFIC_LOST,
    SignalName.PROBE,
    SignalName.INTEGRITY,
)
_NAMED = (SignalName.QUERY, SignalName.PROBE, SignalName.INTEGRITY)
_TIMES, _LOOKS = 3, 5


class MatrixCondition(RuledModel):
    """Condition on one signal.

    ErrorRate takes `above` or `atLeast` (a fraction from 0 to 1) and `routes`. LatencyRatio
    (latency divided by the old revision's), Latency (seconds) and MemoryGrowth (fraction of the
    memory limit per hour) take `above`. OOMKills and Restarts take a whole number `atLeast`. Query
    takes your own PromQL in `query`, with `above` or `below`. Probe takes the `name` of a probe in
    `verification.http`; it matches when the old revision passes the probe and the new revision
    fails it three times in a row. Integrity takes the `name` of a check in
    `database.integrityChecks` (default: any of them); it matches when the check passed during the
    evaluation and then fails twice in a row. Unavailable (no available pod), StuckRollout (no
    rollout progress) and TrafficLost (requests have never reached the new pods) take no threshold.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.signal != 'ErrorRate' || has(self.above) != has(self.atLeast)",
            lambda it: not it.is_rate or (it.above is None) != (it.at_least is None),
            "ErrorRate requires exactly one of above and atLeast",
        ),
        Rule(
            "!(self.signal in ['LatencyRatio', 'Latency', 'MemoryGrowth'])"
            " || (has(self.above) && !has(self.atLeast))",
            lambda it: it.signal not in _ABOVE or (it.above is not None and not it.at_least),
            "LatencyRatio, Latency and MemoryGrowth require above and do not accept atLeast",
        ),
        Rule(
            "!(self.signal in ['OOMKills', 'Restarts'])"
            " || (has(self.atLeast) && !has(self.above)"
            " && self.atLeast.matches('^[1-9][0-9]*$'))",
            lambda it: (
                it.signal not in _COUNT
                or (it.above is None and re.fullmatch("[1-9][0-9]*", it.at_least or "") is not None)
            ),
            "OOMKills and Restarts require atLeast, a whole number of at least 1, and do not accept"
            " above",
        ),
        Rule(
            "self.signal != 'Query' || (has(self.query)"
            " && has(self.above) != has(self.below) && !has(self.atLeast))",
            lambda it: (
                not it.is_query
                or (it.query and (it.above is None) != (it.below is None) and not it.at_least)
            ),
            "Query requires query and exactly one of above and below",
        ),
        Rule(
            "self.signal == 'Query' || !(has(self.query) || has(self.below)"
            " || has(self.changeAbove)"
            " || (has(self.name) && !(self.signal in ['Probe', 'Integrity'])))",
            lambda it: (
                it.is_query
                or not (
                    it.query or it.below or it.change_above or (it.name and it.signal not in _NAMED)
                )
            ),
            "query, below and changeAbove are allowed only for Query, and name only for Query,"
            " Probe and Integrity",
        ),
        Rule(
            "self.signal != 'Probe' || has(self.name)",
            lambda it: not it.is_probe or it.name is not None,
            "Probe requires name, the name of a probe in spec.verification.http",
        ),
        Rule(
            "!(self.signal in ['Unavailable', 'StuckRollout', 'TrafficLost', 'Probe', 'Integrity'])"
            " || !(has(self.above) || has(self.atLeast))",
            lambda it: it.signal not in _NO_THRESHOLD or not (it.above or it.at_least),
            "Unavailable, StuckRollout, TrafficLost, Probe and Integrity do not accept above or"
            " atLeast",
        ),
        Rule(
            "self.signal == 'ErrorRate' || !has(self.routes)",
            lambda it: it.is_rate or it.routes is None,
            "routes is allowed only for ErrorRate",
        ),
        Rule(
            "self.signal != 'ErrorRate' || !has(self.above)"
            " || (double(self.above) >= 0.0 && double(self.above) < 1.0)",
            lambda it: not it.is_rate or it.above is None or 0 <= float(it.above) < 1,
            "above must be at least 0 and less than 1 for ErrorRate; otherwise the condition cannot"
            " match",
            ".above",
        ),
        Rule(
            "self.signal != 'ErrorRate' || !has(self.atLeast)"
            " || (double(self.atLeast) > 0.0 && double(self.atLeast) <= 1.0)",
            lambda it: not it.is_rate or it.at_least is None or 0 < float(it.at_least) <= 1,
            "atLeast must be greater than 0 and at most 1 for ErrorRate; otherwise the condition"
            " matches every release, or none",
            ".atLeast",
        ),
        Rule(
            "self.signal == 'Query' || !(has(self.times) || has(self.looks))",
            lambda it: it.is_query or (it.times, it.looks) == (_TIMES, _LOOKS),
            "times and looks are allowed only for Query",
            ".times",
        ),
        Rule(
            f"(has(self.times) ? self.times : {_TIMES})"
            f" <= (has(self.looks) ? self.looks : {_LOOKS})",
            lambda it: it.times <= it.looks,
            "times must be at most looks",
            ".times",
        ),
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
    `verification.http`. For Integrity: name of the check in `database.integrityChecks`; default:
    all checks."""
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
    def is_rate(self) -> bool:
        """Return whether the condition is on the error rate."""
        return self.signal is SignalName.ERROR_RATE

    @property
    def is_query(self) -> bool:
        """Return whether the condition is on a PromQL expression of the policy."""
        return self.signal is SignalName.QUERY

    @property
    def is_probe(self) -> bool:
        """Return whether the condition is on a functional probe."""
        return self.signal is SignalName.PROBE

    @property
    def limit(self) -> float:
        """Upper threshold, as a number."""
        return float(self.above or self.at_least or 0)

    @property
    def count(self) -> int:
        """Threshold of a counting signal, as a number."""
        return int(self.at_least or 1)


class MatrixRule(RuledModel):
    """Severity, the conditions that cause it, and the response."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.onTimeout) || (self.response == 'Investigate' && has(self.withinSeconds))",
            lambda it: it.on_timeout is None or (it.is_investigated and it.within_seconds),
            "onTimeout requires response Investigate and withinSeconds",
            ".onTimeout",
        ),
        Rule(
            "!has(self.propose) || !self.propose || self.response == 'Investigate'",
            lambda it: not it.propose or it.is_investigated,
            "propose requires response Investigate",
            ".propose",
        ),
    )

    severity: MatrixSeverity
    """Severity assigned when a condition matches. Each severity has at most one rule; list the
    worst first."""
    when: Annotated[
        list[MatrixCondition],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ]
    """Conditions. The rule matches when any of them matches. A rule of severity P2 also matches
    when all new pods are killed for lack of memory."""
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

    @property
    def is_investigated(self) -> bool:
        """Return whether the response is an investigation."""
        return self.response is Response.INVESTIGATE


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
