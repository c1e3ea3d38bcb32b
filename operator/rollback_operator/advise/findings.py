"""What follows from a survey: what prevents judging, what makes it slower or blinder, and remedies.

Each finding names the field that it is about and what can be done.
"""

import math
from collections.abc import Iterator

from rollback_operator.advise.outlook import outlook
from rollback_operator.advise.policy import (
    FindingLevel,
    PolicyFinding,
    of_flags,
    of_policy,
    of_remedies,
)
from rollback_operator.advise.series import (
    SLOW_SCRAPE_SECONDS,
    of_errors,
    of_requests,
    where_instead,
)
from rollback_operator.advise.survey import SignalFacts, SlowFacts, Survey
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Mode, Response, SignalName
from rollback_operator.decide.matrix import faults
from rollback_operator.evidence.baseline import ceilings
from rollback_operator.model.samples import Missing
from rollback_operator.report.readiness import Around, not_found, readiness

_OF_QUERIES = (
    Reason.QUERY_REFUSED,
    Reason.PROVIDER_UNREACHABLE,
    Reason.PROVIDER_UNAUTHORIZED,
    Reason.PROVIDER_ERROR,
    Reason.CREDENTIALS_UNAVAILABLE,
)
"""What is said of each own query by itself: that it is none, or was not seen to be one."""


def find(survey: Survey) -> tuple[PolicyFinding, ...]:
    """Say what follows, the worst first."""
    found = [
        *of_policy(survey),
        *_target(survey),
        *of_flags(survey),
        *of_remedies(survey),
        *_credentials(survey),
        *_clock(survey),
        *_signal(survey, survey.requests),
        *_signal(survey, survey.errors),
        *_slow(survey),
        *(of_requests(survey) if survey.requests.series else ()),
        *(of_errors(survey) if survey.requests.series and survey.errors.missing is None else ()),
        *(_control(survey) if survey.requests.series else ()),
        *_deadlines(survey),
        *_idle(survey),
    ]
    order = list(FindingLevel)
    return tuple(sorted(found, key=lambda one: order.index(one.level)))


def _target(survey: Survey) -> Iterator[PolicyFinding]:
    spec = survey.policy.spec
    if survey.is_gone:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            "spec.targetRef.name",
            not_found(spec.target_ref.name, survey.policy.metadata.namespace),
        )
        return
    if survey.workload is None:
        yield PolicyFinding(
            FindingLevel.NOTE,
            "spec.targetRef",
            f"the Deployment was not looked at: {survey.unseen}",
            "give --kubeconfig to see whether it is there, how it rolls out and who else steers it",
        )
        return
    if faults(spec.matrix):
        return
    for one in survey.unclaimed:
        yield PolicyFinding(
            FindingLevel.NOTE,
            "spec.targetRef",
            f"who else takes hold of the Deployment was not seen in full: {one}",
            "let whoever runs this list them; the operator has its own rights (rbac.otherTools)",
        )
    ready = readiness(survey.policy, survey.workload.deployment, Around())
    if ready.status != "True":
        yield PolicyFinding(FindingLevel.PROBLEM, "spec.targetRef", ready.message)
        return
    if ready.message:
        yield PolicyFinding(FindingLevel.WARNING, "spec.targetRef", ready.message)
    # Who observes first, for weeks, is to know it before the mode is changed.
    enforced = spec.model_copy(update={"mode": Mode.ENFORCE})
    policy = survey.policy.model_copy(update={"spec": enforced})
    later = readiness(policy, survey.workload.deployment, Around())
    if later.message != ready.message:
        yield PolicyFinding(
            FindingLevel.WARNING, "spec.targetRef", f"in mode Enforce: {later.message}"
        )


def _credentials(survey: Survey) -> Iterator[PolicyFinding]:
    if survey.without_credentials:
        yield PolicyFinding(
            FindingLevel.NOTE,
            "spec.prometheus",
            f"its Secrets were not read: {survey.without_credentials}",
            "--prometheus-token-file, --prometheus-basic-auth-folder and --prometheus-ca-file give "
            "what they hold",
        )


def _clock(survey: Survey) -> Iterator[PolicyFinding]:
    if isinstance(survey.skew, Missing):
        return  # what is wrong with Prometheus is said of the signals
    if abs(survey.skew) > (survey.interval or SLOW_SCRAPE_SECONDS):
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.prometheus",
            f"Prometheus' clock differs by {survey.skew:+.1f} s from this machine's, more than a "
            "scrape interval: from the operator's machine, nothing would be judged (ClockSkew)",
            "set all clocks by NTP; what counts is Prometheus' and that of the operator's node",
        )


def _signal(survey: Survey, facts: SignalFacts) -> Iterator[PolicyFinding]:
    if facts.missing is not None:
        said = f"{facts.missing.reason}: {facts.missing.message}"
        yield PolicyFinding(FindingLevel.PROBLEM, facts.path, said, where_instead(survey, facts))


def _slow(survey: Survey) -> Iterator[PolicyFinding]:
    for facts in survey.slow:
        if not isinstance(facts.found, Missing):
            continue
        if facts.is_query and facts.found.reason in _OF_QUERIES:
            yield _own_query(facts, facts.found)
        elif survey.requests.missing is None:  # else these are missing for the same reason
            yield PolicyFinding(
                FindingLevel.WARNING,
                facts.path,
                f"{facts.found.reason}: {facts.found.message}",
                "name what there is, or take the conditions that need it out of spec.matrix"
                if not facts.instead
                else f"{facts.what} is a summary, whose quantiles cannot be added up over pods and "
                f"time: watch it by signal Query with query: '{facts.instead}' and above: seconds",
            )


def _own_query(facts: SlowFacts, why: Missing) -> PolicyFinding:
    if why.reason is Reason.QUERY_REFUSED:
        return PolicyFinding(
            FindingLevel.PROBLEM,
            facts.path,
            f"{why.reason}: {why.message}",
            "correct the PromQL until Prometheus' own page shows one number for it",
        )
    return PolicyFinding(
        FindingLevel.NOTE,
        facts.path,
        f"whether it is PromQL was not checked, as Prometheus could not be asked: {why.message}",
        "give --prometheus with an address that can be reached from here",
    )


def _control(survey: Survey) -> Iterator[PolicyFinding]:
    control = survey.control
    if isinstance(control, Missing):
        yield PolicyFinding(
            FindingLevel.WARNING, "spec.prometheus", f"the last hour: {control.message}"
        )
        return
    if control.is_brief:
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.prometheus",
            "of the running revision less than a minute is known, of the last hour: of a release "
            "that replaces all pods before it is judged only one that fails by far the most of its "
            "requests is told to be worse",
            "wait until it has run for some minutes with traffic",
        )
        return
    if not control.is_sufficient:
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.prometheus",
            f"of the running revision only {control.seconds / 60:.0f} minutes with "
            f"{control.pooled.requests:.0f} requests are known, of the last hour: a release that "
            "replaces all pods before it is judged has nothing to be compared with below 60 s and "
            "100 requests",
            "wait until it has run for some minutes with traffic",
        )
        return
    known = ceilings(control, None)
    smallest = min(_thresholds(survey), default=1.0)
    if known[0].rate > smallest:
        lowest = min(known, key=lambda one: one.rate)
        later = (
            f" at once, above {lowest.rate:.0%} once it lasts {lowest.seconds / 60:.0f} minutes"
            if lowest.rate < known[0].rate
            else ""
        )
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.matrix",
            f"in its worst minute of the last hour {control.pooled.worst_minute:.1%} failed: "
            f"without old pods beside it, a release is only told from that above "
            f"{known[0].rate:.0%}{later}",
            "old pods that live on (more replicas, a smaller maxSurge) make smaller faults visible",
        )


def _idle(survey: Survey) -> Iterator[PolicyFinding]:
    """Say that without requests no error rate is proved."""
    if survey.requests.series and survey.rate <= 0:
        yield PolicyFinding(
            FindingLevel.WARNING,
            survey.requests.path,
            "there were no requests in the last five minutes: how soon a bad release is proved "
            "cannot be said, and while there are none only what Kubernetes shows is judged",
            "check again while the service is used; a synthetic client that sends a request a "
            "second makes it decidable at any time",
        )


def _deadlines(survey: Survey) -> Iterator[PolicyFinding]:
    """Tell what the traffic does not suffice for, of each scope the biggest fault."""
    told: set[str | None] = set()
    for one in outlook(survey):
        within = one.within_seconds
        if within is None or one.by_prometheus.mean <= within or one.route in told:
            continue
        told.add(one.route)
        soonest = one.by_prometheus
        takes = f"{soonest.mean:,.0f} s" if math.isfinite(soonest.mean) else "for ever"
        yield PolicyFinding(
            FindingLevel.WARNING,
            f"spec.matrix, {one.severity}",
            f"at {one.rate:.3g} requests a second on {one.route or 'all routes'} a release that "
            f"fails {one.fault:.0%} takes {takes} to prove, longer than withinSeconds: {within}. "
            "It would end as NoVerdict",
            "a synthetic client that sends a request a second makes it decidable",
        )


def _thresholds(survey: Survey) -> Iterator[float]:
    """Give the error rates from which on something is to be rolled back."""
    for rule in survey.policy.spec.matrix:
        for one in rule.when if rule.response is Response.ROLLBACK else ():
            threshold = one.above or one.at_least
            if one.signal is SignalName.ERROR_RATE and threshold is not None:
                yield float(threshold)
