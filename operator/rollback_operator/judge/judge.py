"""The verdict: whether the new revision is worse, that is proved, and the release is the cause.

In order: evidence of Kubernetes; whether data exists; then, for all routes together and for each
purchase route, odds against the old pods in the same seconds or, when none is left, against their
last hour with blame by onset. Missing data is never good and never bad.
"""

from collections.abc import Sequence
from dataclasses import replace

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import SignalName, VerdictValue
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.arms import Arms, Question, arms_of, is_adopted, probe_excess
from rollback_operator.evidence.limits import (
    LEAST_CEILING,
    NEARLY_ALL,
    RESTORED_SECONDS,
    SETTLING_SECONDS,
    STALE_INTERVALS,
    VERDICT_REQUESTS,
    WARM_UP_SECONDS,
)
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge import explain, symptoms
from rollback_operator.judge.availability import pod_failing, pod_fault
from rollback_operator.judge.latency import LatencyGoal
from rollback_operator.judge.scope import judge_scope
from rollback_operator.judge.traffic import traffic_ceased, traffic_lost
from rollback_operator.model.verdict import (
    AGAINST_RELEASE,
    ENDED,
    Cause,
    EvidentFault,
    ScopeVerdict,
    Verdict,
)
from rollback_operator.model.workload import Workload


def judge(watch: Watch, workload: Workload, question: Question, now: float) -> Verdict:
    """Give the verdict on the Deployment's current revision.

    Args:
        watch: the counts since the template changed.
        workload: the target as Kubernetes shows it now.
        question: the question of the policy.
        now: seconds since the epoch, by the operator's clock.
    """
    shown = pod_fault(watch, workload, question, now)
    by_metrics = _by_metrics(watch, workload, question, now)
    # The release's own containers fail: no count can speak for it.
    if shown is not None and shown.cause in _BY_KUBERNETES:
        return _evident(by_metrics, shown, VerdictValue.BAD, _BY_KUBERNETES[shown.cause])
    # No Service leads to the new pods: their clean counts are no evidence for the release.
    if watch.routing.is_lost and _asks(question, SignalName.TRAFFIC_LOST):
        return _by_services(watch, by_metrics)
    # Pods fail, perhaps by the environment's doing; counts that prove the release bad go first.
    if (
        shown is not None
        and shown.cause is Cause.UNATTRIBUTED
        and by_metrics.value is not VerdictValue.BAD
    ):
        return _evident(by_metrics, shown, VerdictValue.SUSPECT, Reason.ENVIRONMENT_SUSPECTED)
    if by_metrics.value in AGAINST_RELEASE:
        return by_metrics
    # Pods that cannot start are no evidence for the release, and none against proof from counts.
    if shown is not None:
        return Verdict(
            VerdictValue.NO_VERDICT,
            Reason.ENVIRONMENT_PREVENTS_PODS,
            shown.message,
            cause=shown.cause,
        )
    return _with_failing_pod(_by_symptoms(by_metrics), pod_failing(watch, workload, question))


def _with_failing_pod(verdict: Verdict, message: str) -> Verdict:
    """Name a new pod that cannot start, where nothing else speaks against the release yet."""
    if message and _shows_nothing(verdict):
        return replace(verdict, reason=Reason.POD_FAILING, message=message)
    return verdict


def _shows_nothing(verdict: Verdict) -> bool:
    is_early = verdict.reason in (Reason.TOO_FEW_REQUESTS, Reason.EVIDENCE_GATHERING)
    return verdict.value is VerdictValue.WATCHING or is_early


_BY_KUBERNETES = {
    Cause.UNAVAILABLE: Reason.UNAVAILABLE,
    Cause.STUCK_ROLLOUT: Reason.STUCK_ROLLOUT,
}


def _evident(
    by_metrics: Verdict, fault: EvidentFault, value: VerdictValue, reason: Reason
) -> Verdict:
    """Give the verdict on an evident fault; the counts beside it may show a worse severity."""
    return replace(
        by_metrics,
        value=value,
        reason=reason,
        message=fault.message,
        cause=fault.cause,
        first_bad=fault.since,
    )


def _by_symptoms(verdict: Verdict) -> Verdict:
    """Give the verdict by symptoms, where no error rate speaks against the release."""
    worst = symptoms.worst(verdict.symptoms)
    if worst is None:
        return verdict
    value = VerdictValue.BAD if worst.veto is None else VerdictValue.SUSPECT
    reason = Reason.SYMPTOM_FOUND if worst.veto is None else worst.veto
    message = explain.describe_symptom(worst)
    return replace(verdict, value=value, reason=reason, message=message, first_bad=worst.since)


def _by_metrics(watch: Watch, workload: Workload, question: Question, now: float) -> Verdict:
    arms = arms_of(watch, workload, question, now)
    shown = symptoms.find_symptoms(_subject(watch, workload, question, arms), question.conditions)
    missing = _missing(watch, workload, question, now)
    if missing is not None:
        return replace(missing, symptoms=shown)
    asks = _asks(question, SignalName.TRAFFIC_LOST)
    lost = traffic_lost(watch, workload, arms) if asks else None
    if lost is not None:
        return Verdict(
            VerdictValue.BAD,
            Reason.TRAFFIC_LOST,
            lost.message,
            symptoms=shown,
            cause=lost.cause,
            first_bad=lost.since,
            newest_sample=watch.evidence.newest,
        )
    among = probe_excess(arms.new, workload.deployment.probe_rate)
    if among:
        few = Verdict(VerdictValue.NO_VERDICT, Reason.TOO_FEW_REQUESTS, among)
        return replace(few, symptoms=shown, newest_sample=watch.evidence.newest)
    verdict = replace(_worst(judged_scopes(arms, question), arms, watch), symptoms=shown)
    if not asks or verdict.value in AGAINST_RELEASE:
        return verdict
    ceased = traffic_ceased(watch, workload, arms)
    if ceased is None:
        return verdict
    return _evident(verdict, ceased, VerdictValue.SUSPECT, Reason.TRAFFIC_LOST)


def _asks(question: Question, signal: SignalName) -> bool:
    return any(condition.signal is signal for condition in question.conditions)


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
        goal=LatencyGoal(question.quantile, question.objective),
        memory_limit=workload.deployment.template.memory_limit,
        busiest=arms.control.busiest_minute if arms.control is not None else 0.0,
        ran_before=arms.is_adopted or _is_restored(watch, workload),
    )


def _is_restored(watch: Watch, workload: Workload) -> bool:
    """Return whether the revision is older than the watch: it is rolled out again."""
    current = workload.current
    return current is not None and current.created < watch.opened - RESTORED_SECONDS


def judged_scopes(arms: Arms, question: Question) -> tuple[ScopeVerdict, ...]:
    """Judge all routes together, and each purchase route alone."""
    routes = arms.counted.routes
    wanted = [None, *(route for route in question.purchase_routes if route in routes)]
    return tuple(judge_scope(arms, route, len(wanted)) for route in wanted)


def _by_services(watch: Watch, by_metrics: Verdict) -> Verdict:
    """Weigh Services that lead nowhere against requests that arrive all the same."""
    requests = by_metrics.scopes[0].requests if by_metrics.scopes else 0
    message = f"all new pods are ready, and {watch.routing.cut}"
    since = watch.routing.since
    if requests < VERDICT_REQUESTS or by_metrics.value is VerdictValue.BAD:
        lost = EvidentFault(Cause.TRAFFIC_LOST, message, since)
        return _evident(by_metrics, lost, VerdictValue.BAD, Reason.TRAFFIC_LOST)
    # Requests arrive by another route: only a person knows the purpose of the Service.
    message += f"; {requests:.0f} requests still reach them by another route"
    doubt = EvidentFault(Cause.UNATTRIBUTED, message, since)
    return _evident(by_metrics, doubt, VerdictValue.SUSPECT, Reason.TRAFFIC_LOST)


def _missing(watch: Watch, workload: Workload, question: Question, now: float) -> Verdict | None:
    if watch.missing is not None:
        return Verdict(VerdictValue.NO_VERDICT, watch.missing.reason, watch.missing.message)
    interval = watch.evidence.interval
    revision = "running revision" if is_adopted(watch, workload) else "new revision"
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
            f"no request counter of a pod of the {revision} has been scraped"
            + (": check signals.requests and that the pods are scraped" if settled else " yet"),
        )
    age = now + watch.skew - newest
    if age > STALE_INTERVALS * interval and ready:
        return Verdict(
            VerdictValue.NO_VERDICT,
            Reason.SAMPLES_STALE,
            f"the newest sample of the {revision} is {age:.0f} s old, "
            f"more than {STALE_INTERVALS} scrape intervals",
            newest_sample=newest,
        )
    return None


def _worst(scopes: Sequence[ScopeVerdict], arms: Arms, watch: Watch) -> Verdict:
    leading = max(scopes, key=lambda scope: (scope.is_proved, scope.odds, scope.rate_lower_bound))
    value, reason = _value(leading, scopes[0], arms)
    cause = Cause.COUNTS
    if value is VerdictValue.WATCHING and not arms.has_control:
        # Without a control only a clean release does well. A release that fails entirely is
        # reported to people: perhaps no revision ever worked.
        clean = scopes[0].errors <= LEAST_CEILING * scopes[0].requests
        value = VerdictValue.WATCHING if clean else VerdictValue.NO_VERDICT
        reason = Reason.NO_CONTROL
        dead = [scope for scope in scopes if _fails_entirely(scope)]
        if dead and arms.counted.newest_start - arms.counted.begin >= WARM_UP_SECONDS:
            value, leading, cause = VerdictValue.SUSPECT, dead[0], Cause.UNATTRIBUTED
    return Verdict(
        value,
        reason,
        explain.describe_scope(leading, reason),
        scopes=tuple(scopes),
        cause=cause,
        first_bad=leading.first_bad,
        newest_sample=watch.evidence.newest,
    )


def _fails_entirely(scope: ScopeVerdict) -> bool:
    return scope.requests >= VERDICT_REQUESTS and scope.errors >= NEARLY_ALL * scope.requests


def _value(leading: ScopeVerdict, pooled: ScopeVerdict, arms: Arms) -> tuple[VerdictValue, Reason]:
    """Give value and reason by the leading scope.

    A verdict against a release does not go back to Watching while its errors go on: until its odds
    are a tenth of those that made it suspect, or the newest counts show the fault's end (100 : 1).
    """
    if leading.odds >= arms.least_odds and not leading.unmet:
        return _suspicion(leading, arms)
    if arms.against is not None and leading.odds >= arms.least_odds and leading.unmet != ENDED:
        return VerdictValue.SUSPECT, Reason.EVIDENCE_GATHERING
    if max(pooled.requests, leading.requests) < VERDICT_REQUESTS:
        return VerdictValue.NO_VERDICT, Reason.TOO_FEW_REQUESTS
    if leading.odds >= arms.odds.suspect:
        return VerdictValue.WATCHING, Reason.EVIDENCE_GATHERING
    return VerdictValue.WATCHING, Reason.NO_EVIDENCE_AGAINST


def _suspicion(leading: ScopeVerdict, arms: Arms) -> tuple[VerdictValue, Reason]:
    if leading.veto is not None:
        # A fault is present, but the release is not shown to be its cause: people are notified.
        return VerdictValue.SUSPECT, leading.veto
    if not leading.is_proved:
        return VerdictValue.SUSPECT, Reason.ENVIRONMENT_SUSPECTED
    value = VerdictValue.BAD if leading.odds >= arms.bad_odds else VerdictValue.SUSPECT
    return value, Reason.ERROR_RATE_ABOVE_CONTROL
