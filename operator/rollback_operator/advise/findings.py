"""Findings of a survey: what prevents an evaluation, delays it or limits it.

Each finding names its field and a remedy.
"""

import math
from collections.abc import Iterator

from rollback_operator.advise.outlook import outlook
from rollback_operator.advise.policy import (
    FindingLevel,
    PolicyFinding,
    note,
    of_flags,
    of_policy,
    of_remedies,
    of_secrets,
    problem,
    warning,
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
"""Reasons that are reported for each own query: it is invalid, or it was not checked."""


def find(survey: Survey) -> tuple[PolicyFinding, ...]:
    """List the findings, the worst first."""
    findings = [
        *of_policy(survey),
        *_target(survey),
        *of_flags(survey),
        *of_secrets(survey),
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
    return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))


def _target(survey: Survey) -> Iterator[PolicyFinding]:
    spec = survey.policy.spec
    if survey.is_gone:
        yield problem(
            "spec.targetRef.name",
            not_found(spec.target_ref.name, survey.policy.metadata.namespace),
        )
        return
    if survey.workload is None:
        yield note(
            "spec.targetRef",
            f"the Deployment was not read: {survey.unseen}",
            "set --kubeconfig to check that it exists, its strategy and its owners",
        )
        return
    if faults(spec.matrix):
        return
    for gap in survey.unclaimed:
        yield note(
            "spec.targetRef",
            f"the owners of the Deployment are not completely known: {gap}",
            "run this with permission to list them; the operator has its own (rbac.otherTools)",
        )
    ready = readiness(survey.policy, survey.workload.deployment, Around())
    if ready.status != "True":
        yield problem("spec.targetRef", ready.message)
        return
    if ready.message:
        yield warning("spec.targetRef", ready.message)
    # A user of mode Observe needs it before the mode is changed.
    enforced = spec.model_copy(update={"mode": Mode.ENFORCE})
    policy = survey.policy.model_copy(update={"spec": enforced})
    later = readiness(policy, survey.workload.deployment, Around())
    if later.message != ready.message:
        yield warning("spec.targetRef", f"in mode Enforce: {later.message}")


def _credentials(survey: Survey) -> Iterator[PolicyFinding]:
    if survey.without_credentials:
        yield note(
            "spec.prometheus",
            f"its Secrets were not read: {survey.without_credentials}",
            "pass their contents by --prometheus-token-file, --prometheus-basic-auth-folder and "
            "--prometheus-ca-file",
        )


def _clock(survey: Survey) -> Iterator[PolicyFinding]:
    if isinstance(survey.skew, Missing):
        return  # the findings of the signals report it
    if abs(survey.skew) > (survey.interval or SLOW_SCRAPE_SECONDS):
        yield warning(
            "spec.prometheus",
            f"Prometheus' clock differs by {survey.skew:+.1f} s from this machine's, more than a "
            "scrape interval: with this skew the operator judges no release (ClockSkew)",
            "synchronize the clocks of Prometheus and of the operator's node by NTP",
        )


def _signal(survey: Survey, facts: SignalFacts) -> Iterator[PolicyFinding]:
    if facts.missing is not None:
        message = f"{facts.missing.reason}: {facts.missing.message}"
        yield problem(facts.path, message, where_instead(survey, facts))


def _slow(survey: Survey) -> Iterator[PolicyFinding]:
    for facts in survey.slow:
        if not isinstance(facts.data, Missing):
            continue
        if facts.is_query and facts.data.reason in _OF_QUERIES:
            yield _own_query(facts, facts.data)
        elif survey.requests.missing is None:  # otherwise these are missing for the same reason
            yield warning(
                facts.path,
                f"{facts.data.reason}: {facts.data.message}",
                "name an existing metric, or remove the conditions that need it from spec.matrix"
                if not facts.instead
                else f"{facts.what} is a summary; its quantiles cannot be aggregated over pods and "
                f"time: evaluate it by signal Query with query: '{facts.instead}' and above: "
                "seconds",
            )


def _own_query(facts: SlowFacts, why: Missing) -> PolicyFinding:
    if why.reason is Reason.QUERY_REFUSED:
        return problem(
            facts.path,
            f"{why.reason}: {why.message}",
            "correct the PromQL; in the UI of Prometheus it must return a single number",
        )
    return note(
        facts.path,
        f"the PromQL was not checked, because Prometheus did not answer: {why.message}",
        "set --prometheus to an address that is reachable from here",
    )


def _control(survey: Survey) -> Iterator[PolicyFinding]:
    control = survey.control
    if isinstance(control, Missing):
        yield warning("spec.prometheus", f"the last hour: {control.message}")
        return
    if control.is_brief:
        yield warning(
            "spec.prometheus",
            "less than a minute of the running revision is known from the last hour: the less, the "
            "more must a release that replaces all pods before it is judged fail to be found "
            "worse, up to more than half of its requests",
            "wait until it has run for some minutes with traffic",
        )
        return
    if not control.is_sufficient:
        yield warning(
            "spec.prometheus",
            f"only {control.seconds / 60:.0f} minutes with {control.pooled.requests:.0f} requests "
            "of the running revision are known from the last hour: a release that replaces all "
            "pods before it is judged "
            + (
                f"is found worse only above {ceilings(control, None)[0].rate:.0%} failed requests"
                if control.bounds_rates
                else "has no control"
            ),
            "wait until it has run for some minutes with traffic",
        )
        return
    known = ceilings(control, None)
    smallest = min(_thresholds(survey), default=1.0)
    if known[0].rate > smallest:
        lowest = min(known, key=lambda ceiling: ceiling.rate)
        later = (
            f" at once, above {lowest.rate:.0%} once it lasts {lowest.seconds / 60:.0f} minutes"
            if lowest.rate < known[0].rate
            else ""
        )
        yield warning(
            "spec.matrix",
            f"{control.pooled.worst_minute:.1%} failed in the worst minute of the last hour: "
            "without "
            f"old pods a release is distinguished from that only above {known[0].rate:.0%}{later}",
            "keep old pods longer (more replicas, a smaller maxSurge) to detect smaller faults",
        )


def _idle(survey: Survey) -> Iterator[PolicyFinding]:
    """Report that without requests no error rate can be proved."""
    if survey.requests.series and survey.rate <= 0:
        yield warning(
            survey.requests.path,
            "there were no requests in the last five minutes: the time to detect is unknown, and "
            "without requests only the Kubernetes status is judged",
            "check again while the service is used; a synthetic client with a request a second "
            "makes a verdict possible at any time",
        )


def _deadlines(survey: Survey) -> Iterator[PolicyFinding]:
    """Report, for each scope, the largest fault for which the traffic is not sufficient."""
    reported: set[str | None] = set()
    for item in outlook(survey):
        within = item.within_seconds
        if within is None or item.by_prometheus.mean <= within or item.route in reported:
            continue
        reported.add(item.route)
        soonest = item.by_prometheus
        proof = (
            f"takes {soonest.mean:,.0f} s to prove, longer than withinSeconds: {within}"
            if math.isfinite(soonest.mean)
            else "can never be proved"
        )
        yield warning(
            f"spec.matrix, {item.severity}",
            f"at {item.rate:.3g} requests a second on {item.route or 'all routes'} a release that "
            f"fails {item.fault:.0%} {proof}. The verdict would be NoVerdict",
            "add a synthetic client with a request a second",
        )


def _thresholds(survey: Survey) -> Iterator[float]:
    """Return the error rates that lead to a rollback."""
    for rule in survey.policy.spec.matrix:
        for condition in rule.when if rule.response is Response.ROLLBACK else ():
            threshold = condition.above or condition.at_least
            if condition.signal is SignalName.ERROR_RATE and threshold is not None:
                yield float(threshold)
