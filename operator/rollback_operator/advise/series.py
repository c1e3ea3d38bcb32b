"""Findings about the counters: how fresh, whose, on which routes; and where they are instead."""

from collections.abc import Iterator

from rollback_operator.advise.policy import FindingLevel, PolicyFinding
from rollback_operator.advise.survey import SignalFacts, Survey, Trace, rates, twice
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.expression import expression
from rollback_operator.api.v1alpha1 import RouteSet, split_matcher
from rollback_operator.evidence.limits import PROBE_TIMES, STALE_INTERVALS

MOST_SHOWN = 8


def where_instead(survey: Survey, facts: SignalFacts) -> str:
    """Say where the series are instead."""
    trace = facts.trace or Trace()
    if facts.missing is not None and facts.missing.reason is not Reason.PROVIDER_UNREACHABLE:
        return _nearest(survey, facts, trace) if facts.trace else ""
    return (
        f"{survey.url} must be reachable from here: give --prometheus, from outside a cluster "
        "through a port that is forwarded to it (rollback-operator check --help shows how)"
    )


def _nearest(survey: Survey, facts: SignalFacts, trace: Trace) -> str:
    if trace.is_without_pods:
        return _without_pods(survey, trace)
    if trace.labels:
        return (
            f"{facts.metric} is in this namespace, but no series has these matchers. "
            f"Its labels: {_labels(trace)}"
        )
    if trace.namespaces:
        return (
            f"{facts.metric} has series with namespace={', '.join(trace.namespaces[:MOST_SHOWN])} "
            "only: the policy must be in the namespace that the series name (honor_labels, or a "
            "relabelling, keeps an exporter's own)"
        )
    if trace.similar:
        return f"counters that there are: {', '.join(trace.similar[:MOST_SHOWN])}"
    return (
        "no counter of this namespace is known: are its pods scraped, and is it their Prometheus?"
    )


def _without_pods(survey: Survey, trace: Trace) -> str:
    label, target = survey.policy.spec.signals.labels.pod, survey.policy.spec.target_ref.name
    if label in trace.labels:
        return (
            f"the series there are belong to other pods ({', '.join(trace.labels[label][:3])}): "
            f"see spec.targetRef.name, and that the pods of {target} are scraped"
        )
    named = [
        name
        for name, values in trace.labels.items()
        if any(value.startswith(f"{target}-") for value in values)
    ]
    if named:
        return f"spec.signals.labels.pod: {named[0]} is the label that holds the pods' names"
    return (
        f"the series there are have no label {label!r} and none with names of {target}'s pods. "
        f"Their labels: {_labels(trace)}. If they come from an ingress or a gateway, set "
        'spec.signals.labels.pod to ""'
    )


def _labels(trace: Trace) -> str:
    return ", ".join(
        f"{name}={'|'.join(values[:3])}{'|...' if len(values) > 3 else ''}"  # noqa: PLR2004 (an example)
        for name, values in sorted(trace.labels.items())
        if not name.startswith("__")
    )


SLOW_SCRAPE_SECONDS = 15.0


def of_requests(survey: Survey) -> Iterator[PolicyFinding]:
    """Say what is to be said of the series that there are."""
    path, labels = survey.requests.path, survey.policy.spec.signals.labels
    yield from _freshness(survey)
    if not labels.pod:
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.signals.labels.pod",
            "series without a pod label tell no revision: a release is judged by the time after it "
            "against the time before. While old pods still serve, their requests thin its errors "
            "out; one bad pod or node cannot be told from a bad release; blame needs a fault that "
            "begins with the release, later ones are told and not rolled back",
            "where the pods themselves count requests, name that counter",
        )
    elif survey.workload is not None:
        ready = {one.name for one in survey.workload.pods if one.ready and not one.terminating}
        unread = sorted(ready - survey.pods)
        if unread:
            yield PolicyFinding(
                FindingLevel.WARNING if len(unread) < len(ready) else FindingLevel.PROBLEM,
                path,
                f"{len(unread)} of {len(ready)} ready pods have no such series, as {unread[0]}",
                "see that every pod is scraped, and that the counter is there before its first "
                "request",
            )
    doubled = twice(survey.requests.series)
    if doubled and labels.pod:
        pod, targets = sorted(doubled.items())[0]
        how = f"targets {', '.join(targets)}" if len(targets) > 1 else "replicas or jobs"
        yield PolicyFinding(
            FindingLevel.NOTE,
            path,
            f"{len(doubled)} pods are read more than once, as {pod} by several {how}: each request "
            "is counted once",
        )
    yield from _routes(survey)


def _freshness(survey: Survey) -> Iterator[PolicyFinding]:
    path, step, newest = survey.requests.path, survey.interval, survey.newest
    if step is None:
        yield PolicyFinding(
            FindingLevel.WARNING,
            path,
            "no pod has two samples in five minutes: how often it is scraped cannot be told",
            "scrape it every 5 s, every 15 s at most",
        )
        return
    if newest is not None and survey.now - newest > STALE_INTERVALS * step:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            path,
            f"the newest sample is {survey.now - newest:.0f} s old, more than {STALE_INTERVALS} "
            f"scrape intervals of {step:.0f} s",
            "see that the pods are up and scraped, and that Prometheus keeps up",
        )
    if step > SLOW_SCRAPE_SECONDS + 1:
        yield PolicyFinding(
            FindingLevel.WARNING,
            path,
            f"scraped every {step:.0f} s: nothing is known of a release before its pods' second "
            "sample",
            "scrape it every 5 s",
        )


def _routes(survey: Survey) -> Iterator[PolicyFinding]:
    signals, routes = survey.policy.spec.signals, survey.routes
    wants_purchase = any(
        one.routes is RouteSet.PURCHASE for rule in survey.policy.spec.matrix for one in rule.when
    )
    if set(routes) == {""}:
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.signals.labels.route",
            f"no series has the label {signals.labels.route}: all requests are judged together"
            + (", and no condition with routes: Purchase can be met" if wants_purchase else ""),
            "name the label that holds the route",
        )
        yield from _probes(survey)
        return
    unknown = [one for one in signals.purchase_routes if one not in routes]
    if unknown and wants_purchase:
        none = len(unknown) == len(signals.purchase_routes)
        yield PolicyFinding(
            FindingLevel.WARNING,
            "spec.signals.purchaseRoutes",
            f"no series has the route {' or '.join(unknown)}"
            + (": no condition with routes: Purchase can be met" if none else ""),
            f"routes that there are: {', '.join(_busiest(survey))}",
        )


def _probes(survey: Survey) -> Iterator[PolicyFinding]:
    if survey.workload is None:
        return
    deployment = survey.workload.deployment
    probes = deployment.probe_rate * max(1, len(survey.pods))
    if probes and survey.rate < PROBE_TIMES * probes:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            "spec.signals.labels.route",
            f"the pods' probes make {probes:.1f} of {survey.rate:.1f} requests a second, and "
            "without routes they cannot be left out: no error rate is judged under ten times as "
            "many requests as probes",
            "name the label that holds the route",
        )


def _busiest(survey: Survey) -> list[str]:
    routes = sorted(survey.routes.items(), key=lambda one: (-one[1], one[0]))
    return [name for name, _ in routes[:MOST_SHOWN]]


def of_errors(survey: Survey) -> Iterator[PolicyFinding]:
    """Say whether failed requests are told, and told like the others."""
    path, series = survey.errors.path, survey.errors.series
    if survey.marks:
        yield from _marked(survey)
    elif series:
        pairs = {(one.pod, one.route) for one in survey.requests.series}
        lacking = sorted(pairs - {(one.pod, one.route) for one in series})
        if lacking and {one.route for one in series} == {""} != {route for _, route in pairs}:
            yield PolicyFinding(
                FindingLevel.WARNING,
                path,
                f"errors have no label {survey.policy.spec.signals.labels.route}, requests have: "
                "errors cannot be told to a route",
                "count errors by route as well",
            )
        elif lacking:
            where = ", route ".join(one for one in lacking[0] if one)
            yield PolicyFinding(
                FindingLevel.NOTE,
                path,
                f"not initialised to 0 for {len(lacking)} of {len(pairs)} pods and routes, as "
                f"{where}",
                "initialise it at the start of the program: then no error and no counter differ",
            )
    counted, failed = survey.routes, rates(series)
    more = [one for one in failed if failed[one] > 1.05 * counted.get(one, 0.0) + 0.1]
    if more:
        yield PolicyFinding(
            FindingLevel.WARNING,
            path,
            f"on route {more[0]!r} more errors ({failed[more[0]]:.2f} a second) than requests "
            f"({counted.get(more[0], 0.0):.2f}) are counted",
            "see that both count the same requests, by the same labels",
        )


def _marked(survey: Survey) -> Iterator[PolicyFinding]:
    """Tell by which labels requests are errors, and whether any has been one."""
    matchers = survey.policy.spec.signals.errors.matchers
    for name, values in sorted(survey.marks.items()):
        hit = [one for one in values if _matches(matchers[name], one)]
        shown = ", ".join(values[:MOST_SHOWN])
        if not hit:
            yield PolicyFinding(
                FindingLevel.NOTE,
                f"{survey.errors.path}.matchers.{name}",
                f"no request has been an error yet: {name} has the values {shown}",
                f"see that {matchers[name]!r} is how a failure will be told",
            )
        elif len(hit) == len(values):
            yield PolicyFinding(
                FindingLevel.PROBLEM,
                f"{survey.errors.path}.matchers.{name}",
                f"every request is an error: {name} has the values {shown}",
                f"{matchers[name]!r} must match failures only",
            )


def _matches(matcher: str, value: str) -> bool:
    operator, operand = split_matcher(matcher)
    is_same = expression(operand).matches(value) if "~" in operator else operand == value
    return is_same != operator.startswith("!")
