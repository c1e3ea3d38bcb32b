"""Verdict -> rule of the severity matrix. First match from the top wins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    MatrixRule,
    MatrixSeverity,
    Response,
    RollbackPolicySpec,
    RouteSet,
    Severity,
    SignalName,
    TimeoutResponse,
)
from rollback_operator.evidence.limits import ASKED_BLAME, LEAST_ERRORS
from rollback_operator.model.verdict import (
    BAD_ODDS,
    BLAME_ODDS,
    CEASED,
    ENDED,
    Cause,
    ScopeVerdict,
    Symptom,
    Thresholds,
    Verdict,
)

_CAUSES = {
    SignalName.UNAVAILABLE: Cause.UNAVAILABLE,
    SignalName.STUCK_ROLLOUT: Cause.STUCK_ROLLOUT,
    SignalName.TRAFFIC_LOST: Cause.TRAFFIC_LOST,
}


@dataclass(frozen=True, slots=True)
class Match:
    """The matched rule, and the evidence that matches it (None: Kubernetes shows it)."""

    rule: MatrixRule
    scope: ScopeVerdict | None = None
    symptom: Symptom | None = None

    def evidence(self, verdict: Verdict) -> str:
        """State the evidence: a symptom may be proved beside an error rate that is not."""
        message = self.symptom.message if self.symptom is not None else ""
        return verdict.message if message in verdict.message else message


def classify(rules: Sequence[MatrixRule], verdict: Verdict, needed_odds: float) -> Match | None:
    """Return the rule that the verdict matches; None: no symptom of the matrix is proved.

    Args:
        rules: the policy's matrix.
        verdict: the judge's verdict.
        needed_odds: minimum odds for evidence on a rate to count.
    """
    match = _first_match(rules, verdict, needed_odds)
    if match is None or match.scope is None:
        return match
    above = rules[: rules.index(match.rule)]
    return next(
        (raised for rule in above if (raised := _raised(rule, match, verdict, needed_odds))), match
    )


def _raised(rule: MatrixRule, match: Match, verdict: Verdict, needed_odds: float) -> Match | None:
    """Return the match of a worse rule on purchases that all failed.

    The fault is proved, and has one cause: only its extent is open. The floor of 20 requests of the
    route would name the severity of a rollback that begins before it is met too low. The evidence
    stays that of the proved scope.
    """
    proved = match.scope
    if proved is None:
        return None
    for condition in rule.when:
        if condition.signal is not SignalName.ERROR_RATE or condition.at_least is None:
            continue
        for scope in _scopes(condition, verdict):
            is_total = proved.has_all_failed and proved.route is None and scope.errors > 0
            is_enough = scope.errors >= LEAST_ERRORS and scope.odds >= needed_odds
            has_all_failed = scope.errors >= scope.requests and (is_total or is_enough)
            if has_all_failed and scope.veto is None and scope.unmet not in (CEASED, ENDED):
                return Match(rule, proved)
    return None


def _first_match(rules: Sequence[MatrixRule], verdict: Verdict, needed_odds: float) -> Match | None:
    for rule in rules:
        if rule.severity is MatrixSeverity.P2 and _dies_of_memory(verdict):
            return Match(rule, symptom=_dies_of_memory(verdict))
        for condition in rule.when:
            if _CAUSES.get(condition.signal) is verdict.cause:
                return Match(rule)
            proved = _proved(condition, verdict, needed_odds)
            if proved is not None:
                return Match(rule, proved)
            symptom = _symptom(condition, verdict)
            if symptom is not None:
                return Match(rule, symptom=symptom)
    return None


def _symptom(condition: MatrixCondition, verdict: Verdict) -> Symptom | None:
    found = (
        one
        for one in verdict.symptoms
        if one.signal is condition.signal
        and one.name in ("", condition.name or condition.query)
        and one.veto is None
    )
    return next(found, None)


def _dies_of_memory(verdict: Verdict) -> Symptom | None:
    """Return out-of-memory kills on every new pod: no pod is left to serve, the runbook's P2."""
    kills = (one for one in verdict.symptoms if one.signal is SignalName.OOM_KILLS)
    return next((one for one in kills if one.is_on_every_pod and one.veto is None), None)


def is_rolled_back_on_timeout(match: Match) -> bool:
    """Return whether an investigation ends in a rollback at its timeout.

    Only for the runbook's reasons to roll back, a latency or a leak, and with proof like that of an
    error rate. People assess a number of restarts or a custom query.
    """
    symptom = match.symptom
    return (
        match.rule.on_timeout is TimeoutResponse.ROLLBACK
        and symptom is not None
        and symptom.signal in _TIMED
        and symptom.odds >= BAD_ODDS
    )


def in_question(rules: Sequence[MatrixRule], verdict: Verdict, needed_odds: float) -> Match | None:
    """Return the rule of a proved fault that may be the release's and need not be.

    Args:
        rules: the policy's matrix.
        verdict: the judge's verdict.
        needed_odds: minimum odds for evidence on a rate to count.
    """
    if verdict.cause is not Cause.COUNTS:
        return None
    known = {
        each.route: each
        for each in verdict.scopes
        if each.blame is not None and ASKED_BLAME <= each.blame.odds < BLAME_ODDS
    }
    supposed = tuple(replace(each, blame=None) for each in known.values())
    match = classify(rules, replace(verdict, scopes=supposed, symptoms=()), needed_odds)
    scope = match.scope if match is not None else None
    return replace(match, scope=known[scope.route]) if match is not None and scope else None


def is_asked(rule: MatrixRule) -> bool:
    """Return whether people are asked where a fault of this rule is in question."""
    is_severe = rule.severity in (MatrixSeverity.P1, MatrixSeverity.P2)
    return is_severe and rule.response is Response.ROLLBACK


def acts(rule: MatrixRule) -> bool:
    """Return whether a rule can lead to an action or a proposal."""
    if rule.response is Response.INVESTIGATE:
        is_timed = any(one.signal in _TIMED for one in rule.when)
        return rule.propose or (rule.on_timeout is TimeoutResponse.ROLLBACK and is_timed)
    return rule.response is Response.ROLLBACK


_TIMED = (SignalName.LATENCY_RATIO, SignalName.LATENCY, SignalName.MEMORY_GROWTH)


def _proved(
    condition: MatrixCondition, verdict: Verdict, needed_odds: float
) -> ScopeVerdict | None:
    if condition.signal is not SignalName.ERROR_RATE:
        return None
    found = (
        one
        for one in _scopes(condition, verdict)
        if one.is_proved and one.odds >= needed_odds and _exceeds(condition, one)
    )
    return max(found, key=lambda one: one.rate_lower_bound, default=None)


def _scopes(condition: MatrixCondition, verdict: Verdict) -> Iterator[ScopeVerdict]:
    is_purchase = condition.routes is RouteSet.PURCHASE
    return (one for one in verdict.scopes if (one.route is not None) is is_purchase)


def _exceeds(condition: MatrixCondition, one: ScopeVerdict) -> bool:
    if condition.above is not None:
        return one.rate_lower_bound > float(condition.above)
    least = float(condition.at_least or 0)
    return one.rate_lower_bound >= least or one.has_all_failed


def deadline(match: Match, verdict: Verdict) -> float | None:
    """Compute the end of the rule's wait for more evidence; None: it has no deadline.

    A higher error rate shortens the wait: the rule allows the same harm, not the same time.
    """
    rule, scope = match.rule, match.scope
    if rule.within_seconds is None or verdict.first_bad is None:
        return None
    limits = [one.limit for one in rule.when if one.signal is SignalName.ERROR_RATE and one.above]
    if scope is None or not limits or scope.rate_lower_bound <= 0:
        return verdict.first_bad + rule.within_seconds
    share = min(1.0, min(limits) / scope.rate_lower_bound)
    return verdict.first_bad + rule.within_seconds * share


def doubted(
    rules: Sequence[MatrixRule], verdict: Verdict, odds: Thresholds, now: float
) -> Severity:
    """Return a release's severity if it is to blame, once people are due to be notified.

    They are due when the fault is proved but its cause is not, or when the time for more evidence
    is over.

    Args:
        rules: the policy's matrix.
        verdict: a verdict that matches no rule.
        odds: the policy's thresholds.
        now: seconds since the epoch.
    """
    if verdict.cause is Cause.UNATTRIBUTED:
        return Severity.P1
    if not verdict.symptoms and all(one.odds < odds.suspect for one in verdict.scopes):
        return Severity.NONE
    blamed = replace(
        verdict,
        scopes=tuple(replace(one, veto=None, blame=None) for one in verdict.scopes),
        symptoms=tuple(replace(one, veto=None) for one in verdict.symptoms),
    )
    proved = classify(rules, blamed, odds.bad)
    if proved is not None:
        return Severity(proved.rule.severity)
    # Floors wait for more of the same evidence; evidence that has ended needs no wait.
    left = [replace(one, unmet="") for one in blamed.scopes if one.unmet != ENDED]
    likely = classify(rules, replace(blamed, scopes=tuple(left)), odds.suspect)
    due = deadline(likely, verdict) if likely is not None else None
    is_late = due is not None and now >= due
    return Severity(likely.rule.severity) if likely is not None and is_late else Severity.NONE


def faults(rules: Sequence[MatrixRule]) -> list[str]:
    """Return a matrix's conditions that never match; each message names field and remedy."""
    found: list[str] = []
    above: list[tuple[str, MatrixCondition]] = []
    for index, rule in enumerate(rules):
        here = [
            (f"spec.matrix[{index}].when[{number}]", one) for number, one in enumerate(rule.when)
        ]
        for field, condition in here:
            hiding = next((path for path, one in above if _hides(one, condition)), None)
            if hiding is not None:
                found.append(
                    f"{field} can never match because {hiding} always matches first: thresholds "
                    "must decrease from the worst severity to the mildest"
                )
        above += here
    return found


def unknown_names(rules: Sequence[MatrixRule], spec: RollbackPolicySpec) -> list[str]:
    """Return the conditions on probes and integrity checks that do not exist."""
    probes = {probe.name for probe in spec.verification.http}
    checks = {check.name for check in spec.database.integrity_checks} if spec.database else set()
    faults = []
    for index, rule in enumerate(rules):
        for number, condition in enumerate(rule.when):
            field = f"spec.matrix[{index}].when[{number}].name"
            if condition.signal is SignalName.PROBE and condition.name not in probes:
                faults.append(f"{field}: spec.verification.http has no probe {condition.name}")
            is_named = condition.name in checks or (condition.name is None and checks)
            if condition.signal is SignalName.INTEGRITY and not is_named:
                what = f"no check {condition.name}" if condition.name else "none: add a check"
                faults.append(f"{field}: spec.database.integrityChecks has {what}")
    return faults


_BY_NAME = (SignalName.PROBE, SignalName.INTEGRITY)


def _hides(upper: MatrixCondition, lower: MatrixCondition) -> bool:
    if upper.signal is not lower.signal:
        return False
    if upper.signal in _BY_NAME and upper.name != lower.name:
        return False
    if upper.signal is SignalName.QUERY:
        return _hides_query(upper, lower)
    return upper.routes is lower.routes and upper.limit <= lower.limit


def _hides_query(upper: MatrixCondition, lower: MatrixCondition) -> bool:
    """Return whether an upper row, which looks at least as far back, matches a query first."""
    is_alike = upper.query == lower.query and upper.change_above is None
    if not is_alike or upper.times > lower.times or upper.looks < lower.looks:
        return False
    if upper.above is not None and lower.above is not None:
        return float(upper.above) <= float(lower.above)
    if upper.below is not None and lower.below is not None:
        return float(upper.below) >= float(lower.below)
    return False
