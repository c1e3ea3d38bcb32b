"""Findings on freshness, ownership and route labels of counters, and where missing series are."""

from collections.abc import Iterator

from rollback_operator.advise.policy import FindingLevel, PolicyFinding, note, problem, warning
from rollback_operator.advise.survey import SignalFacts, Survey, Trace, rates, twice
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.expression import expression
from rollback_operator.api.v1alpha1 import RouteSet, split_matcher
from rollback_operator.evidence.limits import PROBE_TIMES, STALE_INTERVALS

MOST_SHOWN = 8


def where_instead(survey: Survey, facts: SignalFacts) -> str:
    """Suggest where the missing series are."""
    trace = facts.trace or Trace()
    if facts.missing is not None and facts.missing.reason is not Reason.PROVIDER_UNREACHABLE:
        return _nearest(survey, facts, trace) if facts.trace else ""
    return (
        f"{survey.url} must be reachable from here: set --prometheus, outside the cluster to a "
        "forwarded port (see rollback-operator check --help)"
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
            "only: the policy must be in the namespace of the series (honor_labels or a "
            "relabelling "
            "may keep an exporter's namespace)"
        )
    if trace.similar:
        return f"existing counters: {', '.join(trace.similar[:MOST_SHOWN])}"
    return "no counter of this namespace exists: check that its pods are scraped by this Prometheus"


def _without_pods(survey: Survey, trace: Trace) -> str:
    label, target = survey.policy.spec.signals.labels.pod, survey.policy.spec.target_ref.name
    if label in trace.labels:
        return (
            f"the existing series belong to other pods ({', '.join(trace.labels[label][:3])}): "
            f"check spec.targetRef.name, and that the pods of {target} are scraped"
        )
    named = [
        name
        for name, values in trace.labels.items()
        if any(value.startswith(f"{target}-") for value in values)
    ]
    if named:
        return f"spec.signals.labels.pod: {named[0]} is the label with the names of the pods"
    return (
        f"the existing series have no label {label!r} and no label with names of {target}'s pods. "
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
    """List the findings on existing series."""
    path, labels = survey.requests.path, survey.policy.spec.signals.labels
    yield from _freshness(survey)
    if not labels.pod:
        yield warning(
            "spec.signals.labels.pod",
            "series without a pod label have no revision: a release is judged by comparing the "
            "time "
            "after it with the time before. Requests of old pods dilute its errors; a bad pod or "
            "node is not distinguished from a bad release; blame requires a fault that begins with "
            "the release, and later faults are only reported",
            "if the pods count requests themselves, name that counter",
        )
    elif survey.workload is not None:
        ready = {pod.name for pod in survey.workload.pods if pod.ready and not pod.terminating}
        unread = sorted(ready - survey.pods)
        if unread:
            yield PolicyFinding(
                FindingLevel.WARNING if len(unread) < len(ready) else FindingLevel.PROBLEM,
                path,
                f"{len(unread)} of {len(ready)} ready pods have no such series, for example "
                f"{unread[0]}",
                "check that every pod is scraped, and initialise the counter before the first "
                "request",
            )
    doubled = twice(survey.requests.series)
    if doubled and labels.pod:
        pod, targets = sorted(doubled.items())[0]
        how = f"targets {', '.join(targets)}" if len(targets) > 1 else "replicas or jobs"
        yield note(
            path,
            f"{len(doubled)} pods are scraped more than once, for example {pod} by several {how}: "
            "each "
            "request is counted once",
        )
    yield from _routes(survey)


def _freshness(survey: Survey) -> Iterator[PolicyFinding]:
    path, step, newest = survey.requests.path, survey.interval, survey.newest
    if step is None:
        yield warning(
            path,
            "no pod has two samples in five minutes: the scrape interval is unknown",
            "scrape it every 5 s, every 15 s at most",
        )
        return
    if newest is not None and survey.now - newest > STALE_INTERVALS * step:
        yield problem(
            path,
            f"the newest sample is {survey.now - newest:.0f} s old, more than {STALE_INTERVALS} "
            f"scrape intervals of {step:.0f} s",
            "check that the pods are up and scraped, and that Prometheus is not overloaded",
        )
    if step > SLOW_SCRAPE_SECONDS + 1:
        yield warning(
            path,
            f"scraped every {step:.0f} s: a release has no evidence before the second sample of "
            "its "
            "pods",
            "scrape it every 5 s",
        )


def _routes(survey: Survey) -> Iterator[PolicyFinding]:
    signals, routes = survey.policy.spec.signals, survey.routes
    wants_purchase = any(
        item.routes is RouteSet.PURCHASE for rule in survey.policy.spec.matrix for item in rule.when
    )
    if set(routes) == {""}:
        yield warning(
            "spec.signals.labels.route",
            f"no series has the label {signals.labels.route}: all requests are judged together"
            + (", and no condition with routes: Purchase can be met" if wants_purchase else ""),
            "name the label of the route",
        )
        yield from _probes(survey)
        return
    unknown = [item for item in signals.purchase_routes if item not in routes]
    if unknown and wants_purchase:
        none = len(unknown) == len(signals.purchase_routes)
        yield warning(
            "spec.signals.purchaseRoutes",
            f"no series has the route {' or '.join(unknown)}"
            + (": no condition with routes: Purchase can be met" if none else ""),
            f"existing routes: {', '.join(_busiest(survey))}",
        )


def _probes(survey: Survey) -> Iterator[PolicyFinding]:
    if survey.workload is None:
        return
    deployment = survey.workload.deployment
    probes = deployment.probe_rate * max(1, len(survey.pods))
    if probes and survey.rate < PROBE_TIMES * probes:
        yield problem(
            "spec.signals.labels.route",
            f"{probes:.1f} of {survey.rate:.1f} requests a second are kubelet probes, and without "
            "routes they cannot be excluded: error rates are judged only above ten times as many "
            "requests as probes",
            "name the label of the route",
        )


def _busiest(survey: Survey) -> list[str]:
    routes = sorted(survey.routes.items(), key=lambda pair: (-pair[1], pair[0]))
    return [name for name, _ in routes[:MOST_SHOWN]]


def of_errors(survey: Survey) -> Iterator[PolicyFinding]:
    """List the findings on the counter of errors."""
    path, series = survey.errors.path, survey.errors.series
    if survey.marks:
        yield from _marked(survey)
    elif series:
        pairs = {(item.pod, item.route) for item in survey.requests.series}
        lacking = sorted(pairs - {(item.pod, item.route) for item in series})
        if lacking and {item.route for item in series} == {""} != {route for _, route in pairs}:
            yield warning(
                path,
                f"errors have no label {survey.policy.spec.signals.labels.route}, but requests "
                "have: "
                "errors cannot be attributed to a route",
                "count errors by route as well",
            )
        elif lacking:
            where = ", route ".join(item for item in lacking[0] if item)
            yield note(
                path,
                f"not initialised to 0 for {len(lacking)} of {len(pairs)} pods and routes, for "
                "example "
                f"{where}",
                "initialise it at the start of the program, so that 0 errors differ from a "
                "missing counter",
            )
    counted, failed = survey.routes, rates(series)
    more = [item for item in failed if failed[item] > 1.05 * counted.get(item, 0.0) + 0.1]
    if more:
        yield warning(
            path,
            f"on route {more[0]!r} more errors ({failed[more[0]]:.2f} a second) than requests "
            f"({counted.get(more[0], 0.0):.2f}) are counted",
            "let both count the same requests, with the same labels",
        )


def _marked(survey: Survey) -> Iterator[PolicyFinding]:
    """List the findings on the matchers that select errors."""
    matchers = survey.policy.spec.signals.errors.matchers
    for name, values in sorted(survey.marks.items()):
        hit = [value for value in values if _matches(matchers[name], value)]
        shown = ", ".join(values[:MOST_SHOWN])
        if not hit:
            yield note(
                f"{survey.errors.path}.matchers.{name}",
                f"no request has been an error yet: {name} has the values {shown}",
                f"check that {matchers[name]!r} matches a failure",
            )
        elif len(hit) == len(values):
            yield problem(
                f"{survey.errors.path}.matchers.{name}",
                f"every request is an error: {name} has the values {shown}",
                f"{matchers[name]!r} must match failures only",
            )


def _matches(matcher: str, value: str) -> bool:
    operator, operand = split_matcher(matcher)
    is_same = expression(operand).matches(value) if "~" in operator else operand == value
    return is_same != operator.startswith("!")
