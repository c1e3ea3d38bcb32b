"""The verdict: is the new revision worse, is that proved, and is the release to blame.

Straight down: what Kubernetes shows; is there anything to judge from; then, for all routes together
and for each purchase route, odds against the old pods in the same seconds, or, when none is left,
against their last hour with blame by onset. Missing data is never good and never bad.
"""

from collections.abc import Sequence
from dataclasses import replace

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import SignalName, VerdictValue
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.excluded_routes import drowned
from rollback_operator.evidence.limits import (
    LEAST_CEILING,
    NEARLY_ALL,
    SETTLING_SECONDS,
    STALE_INTERVALS,
    VERDICT_REQUESTS,
    WARM_UP_SECONDS,
)
from rollback_operator.evidence.question import Question, arms_of
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge import explain, symptoms
from rollback_operator.judge.availability import Availability, Patience, Since, availability
from rollback_operator.judge.scope import judge_scope
from rollback_operator.judge.traffic import traffic_ceased, traffic_lost
from rollback_operator.model.verdict import ScopeVerdict, Thresholds, Verdict
from rollback_operator.model.workload import Workload


def judge(watch: Watch, workload: Workload, question: Question, now: float) -> Verdict:
    """Give the verdict on the Deployment's current revision.

    Args:
        watch: what has been counted since the template changed.
        workload: the target as Kubernetes shows it now.
        question: what the policy wants judged.
        now: seconds since the epoch, by the operator's clock.
    """
    seen = availability(
        workload,
        Since(watch.opened, watch.unavailable_since, watch.restarted_since, question.resumed),
        Patience(question.stuck_after, watch.startup),
        now,
    )
    by_metrics = _by_metrics(watch, workload, question, now)
    if seen.is_unavailable or seen.is_stuck:
        return _by_kubernetes(seen, by_metrics)
    if watch.routing.is_lost and _asks(question, SignalName.TRAFFIC_LOST):
        return _by_services(watch, by_metrics)
    if seen.suspicion and by_metrics.value is not VerdictValue.BAD:
        return Verdict(
            VerdictValue.SUSPECT,
            Reason.ENVIRONMENT_SUSPECTED,
            seen.suspicion,
            is_plain=True,
            scopes=by_metrics.scopes,
            symptoms=by_metrics.symptoms,
            newest_sample=by_metrics.newest_sample,
        )
    if seen.environment and by_metrics.value not in (VerdictValue.BAD, VerdictValue.SUSPECT):
        # Pods without room say nothing for the release, and nothing against what others prove.
        return Verdict(VerdictValue.NO_VERDICT, Reason.ENVIRONMENT_PREVENTS_PODS, seen.environment)
    if by_metrics.value in (VerdictValue.BAD, VerdictValue.SUSPECT):
        return by_metrics
    return _by_symptoms(by_metrics)


def _by_symptoms(verdict: Verdict) -> Verdict:
    """Say what else there is, where no error rate speaks against the release."""
    worst = symptoms.worst(verdict.symptoms)
    if worst is None:
        return verdict
    value = VerdictValue.BAD if worst.veto is None else VerdictValue.SUSPECT
    reason = Reason.SYMPTOM_FOUND if worst.veto is None else worst.veto
    message = explain.symptom(worst)
    return replace(verdict, value=value, reason=reason, message=message, first_bad=worst.since)


def _by_metrics(watch: Watch, workload: Workload, question: Question, now: float) -> Verdict:
    arms = arms_of(watch, workload, question, now)
    found = symptoms.symptoms(_subject(watch, workload, question, arms), question.conditions)
    missing = _missing(watch, workload, question, now)
    if missing is not None:
        return replace(missing, symptoms=found)
    asks = _asks(question, SignalName.TRAFFIC_LOST)
    lost = traffic_lost(watch, workload, arms) if asks else None
    if lost is not None:
        return Verdict(
            VerdictValue.BAD,
            Reason.TRAFFIC_LOST,
            lost.message,
            symptoms=found,
            is_traffic_lost=True,
            first_bad=lost.since,
            newest_sample=watch.evidence.newest,
        )
    among = drowned(arms.new, workload.deployment.probe_rate)
    if among:
        few = Verdict(VerdictValue.NO_VERDICT, Reason.TOO_FEW_REQUESTS, among)
        return replace(few, symptoms=found, newest_sample=watch.evidence.newest)
    verdict = replace(_worst(judged_scopes(arms, question), arms, watch), symptoms=found)
    if not asks or verdict.value in (VerdictValue.BAD, VerdictValue.SUSPECT):
        return verdict
    ceased = traffic_ceased(watch, workload, arms)
    if ceased is None:
        return verdict
    return replace(
        verdict,
        value=VerdictValue.SUSPECT,
        reason=Reason.TRAFFIC_LOST,
        message=ceased.message,
        is_plain=True,
        first_bad=ceased.since,
    )


def _asks(question: Question, signal: SignalName) -> bool:
    return any(one.signal is signal for one in question.conditions)


def _subject(
    watch: Watch, workload: Workload, question: Question, arms: Arms
) -> symptoms.SymptomFacts:
    living = {pod.name: pod for pod in workload.pods if not pod.terminating}
    new = {pod.name for pod in workload.current_of(living.values())}
    return symptoms.SymptomFacts(
        trends=watch.trends,
        new={name: living[name] for name in new},
        old={
            name: pod
            for name, pod in living.items()
            if name not in new and pod.pod_hash in watch.control_hashes and pod.ready
        },
        opened=watch.opened,
        quantile=question.quantile,
        memory_limit=workload.deployment.template.memory_limit,
        busiest=arms.control.busiest_minute if arms.control is not None else 0.0,
    )


def judged_scopes(arms: Arms, question: Question) -> tuple[ScopeVerdict, ...]:
    """Judge all routes together, and each purchase route by itself."""
    routes = arms.counted.routes
    wanted = [None, *(route for route in question.purchase_routes if route in routes)]
    return tuple(judge_scope(arms, route, len(wanted)) for route in wanted)


def _by_kubernetes(seen: Availability, by_metrics: Verdict) -> Verdict:
    """Say what Kubernetes shows; what the counters prove beside it may be worse still."""
    reason = Reason.UNAVAILABLE if seen.is_unavailable else Reason.STUCK_ROLLOUT
    return Verdict(
        VerdictValue.BAD,
        reason,
        seen.message,
        scopes=by_metrics.scopes,
        newest_sample=by_metrics.newest_sample,
        symptoms=by_metrics.symptoms,
        is_unavailable=seen.is_unavailable,
        is_stuck=seen.is_stuck,
        first_bad=seen.since,
    )


def _by_services(watch: Watch, by_metrics: Verdict) -> Verdict:
    """Say that Services lead to nobody, and weigh it against requests that come all the same."""
    requests = by_metrics.scopes[0].requests if by_metrics.scopes else 0
    lost = replace(
        by_metrics,
        value=VerdictValue.BAD,
        reason=Reason.TRAFFIC_LOST,
        message=f"all new pods are ready, and {watch.routing.cut}",
        is_traffic_lost=True,
        first_bad=watch.routing.since,
    )
    if requests < VERDICT_REQUESTS or by_metrics.value is VerdictValue.BAD:
        return lost
    # They are reached by another way: what this Service was for, a person has to say.
    said = f"{lost.message}; {requests:.0f} requests have come to them by another way"
    return replace(
        lost, value=VerdictValue.SUSPECT, message=said, is_traffic_lost=False, is_plain=True
    )


def _missing(watch: Watch, workload: Workload, question: Question, now: float) -> Verdict | None:
    if watch.missing is not None:
        return Verdict(VerdictValue.NO_VERDICT, watch.missing.reason, watch.missing.message)
    interval = watch.evidence.interval
    if abs(watch.skew) > interval:
        return Verdict(
            VerdictValue.NO_VERDICT,
            Reason.CLOCK_SKEW,
            f"Prometheus' clock differs by {watch.skew:+.1f} s from the operator's, more than the "
            f"scrape interval of {interval:.0f} s: set both by NTP",
        )
    pods = workload.current_of(watch.pods)
    names = [pod.name for pod in pods] if question.has_pods else [aggregate.POD]
    newest = watch.evidence.newest_of(names)
    ready = [pod for pod in pods if pod.ready]
    patience = SETTLING_SECONDS + STALE_INTERVALS * interval
    if newest is None:
        settled = bool(ready) and now - max(p.ready_since or now for p in ready) > patience
        value = VerdictValue.NO_VERDICT if settled else VerdictValue.WATCHING
        return Verdict(
            value,
            Reason.NO_SERIES if settled else Reason.EVIDENCE_GATHERING,
            "no request counter of a pod of the new revision has been scraped"
            + (": check signals.requests and that the pods are scraped" if settled else " yet"),
        )
    age = now + watch.skew - newest
    if age > STALE_INTERVALS * interval and ready:
        return Verdict(
            VerdictValue.NO_VERDICT,
            Reason.SAMPLES_STALE,
            f"the newest sample of the new revision is {age:.0f} s old, "
            f"more than {STALE_INTERVALS} scrape intervals",
            newest_sample=newest,
        )
    return None


def _worst(scopes: Sequence[ScopeVerdict], arms: Arms, watch: Watch) -> Verdict:
    leading = max(scopes, key=lambda one: (one.is_proved, one.odds, one.rate_lower_bound))
    value, reason = _value(leading, scopes[0], arms.odds)
    if value is VerdictValue.WATCHING and not arms.has_control:
        # Without anything to compare with, only a clean release can be said to do well, and of one
        # that fails entirely people are told: it may be that nothing ever worked.
        clean = scopes[0].errors <= LEAST_CEILING * scopes[0].requests
        value = VerdictValue.WATCHING if clean else VerdictValue.NO_VERDICT
        reason = Reason.NO_CONTROL
        dead = [one for one in scopes if _fails_entirely(one)]
        if dead and arms.counted.newest_start - arms.counted.begin >= WARM_UP_SECONDS:
            value, leading = VerdictValue.SUSPECT, dead[0]
    return Verdict(
        value,
        reason,
        explain.scope(leading, reason),
        scopes=tuple(scopes),
        is_plain=value is VerdictValue.SUSPECT and reason is Reason.NO_CONTROL,
        first_bad=leading.first_bad,
        newest_sample=watch.evidence.newest,
    )


def _fails_entirely(scope: ScopeVerdict) -> bool:
    return scope.requests >= VERDICT_REQUESTS and scope.errors >= NEARLY_ALL * scope.requests


def _value(
    leading: ScopeVerdict, pooled: ScopeVerdict, odds: Thresholds
) -> tuple[VerdictValue, Reason]:
    if leading.odds >= odds.suspect and not leading.unmet:
        return _suspicion(leading, odds)
    if max(pooled.requests, leading.requests) < VERDICT_REQUESTS:
        return VerdictValue.NO_VERDICT, Reason.TOO_FEW_REQUESTS
    if leading.odds >= odds.suspect:
        return VerdictValue.WATCHING, Reason.EVIDENCE_GATHERING
    return VerdictValue.WATCHING, Reason.NO_EVIDENCE_AGAINST


def _suspicion(leading: ScopeVerdict, odds: Thresholds) -> tuple[VerdictValue, Reason]:
    if leading.veto is not None:
        # Something is wrong, but this release is not shown to be the cause: people are told.
        return VerdictValue.SUSPECT, leading.veto
    if not leading.is_proved:
        return VerdictValue.SUSPECT, Reason.ENVIRONMENT_SUSPECTED
    value = VerdictValue.BAD if leading.odds >= odds.bad else VerdictValue.SUSPECT
    return value, Reason.ERROR_RATE_ABOVE_CONTROL
