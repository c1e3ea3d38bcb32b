"""What is said of a policy's series: each fault once, with its field and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.advise.findings import find
from rollback_operator.advise.outlook import outlook
from rollback_operator.advise.policy import FindingLevel
from rollback_operator.advise.survey import (
    SecretFacts,
    SignalFacts,
    SlowFacts,
    Survey,
    Trace,
    rates,
    twice,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    CounterSignal,
    MatrixCondition,
    MatrixRule,
    Mode,
    SignalLabels,
    SignalsSpec,
)
from rollback_operator.evidence.baseline import RouteControl
from rollback_operator.model.controllers import Owner
from rollback_operator.model.samples import CounterSeries, Missing
from tests.builders import (
    LIST,
    PURCHASE,
    RESERVE,
    T0,
    make_control,
    make_deployment,
    make_pods,
    make_policy,
    make_series,
    make_workload,
)

PODS = [pod.name for pod in make_pods(4)]
ROUTES = (PURCHASE, RESERVE, LIST)
URL = "http://prometheus"


def counted(rate: float, step: float = 5.0, **changes: Any) -> tuple[CounterSeries, ...]:
    """Counters of all pods and routes over five minutes, a moment ago."""
    times = [-300 + step * number for number in range(int(300 / step) + 1)]
    samples = [(time, 1000 + rate * (time + 300)) for time in times]
    routes = changes.pop("routes", ROUTES)
    return tuple(
        make_series(samples, pod=pod, route=route, **changes)
        for pod in changes.pop("pods", PODS)
        for route in routes
    )


def requests(*series: CounterSeries, **changes: Any) -> SignalFacts:
    return replace(SignalFacts("spec.signals.requests", "requests_total", series), **changes)


def errors(*series: CounterSeries, **changes: Any) -> SignalFacts:
    return replace(SignalFacts("spec.signals.errors", "errors_total", series), **changes)


def make_survey(**changes: Any) -> Survey:
    """A policy whose every series is there: nothing is to be found."""
    made = Survey(
        policy=make_policy(),
        url=URL,
        requests=requests(*counted(4.0)),
        errors=errors(*counted(0.0)),
        control=make_control(),
        now=T0 + 1,
        skew=0.01,
        workload=make_workload(),
    )
    return replace(made, **changes)


def signals(**changes: Any) -> SignalsSpec:
    return SignalsSpec(**changes)


def with_signals(**changes: Any) -> Any:
    return make_policy(signals=signals(**changes))


QUERY = "spec.matrix[2].when[0].query"
NONE = Missing(Reason.NO_SERIES, "there are no series")
NO_POD = {"labels": SignalLabels(pod="")}
MARKED = {
    "requests": CounterSignal(metric="r_total"),
    "errors": CounterSignal(metric="r_total", matchers={"code": "=~5.."}),
}
OWN = [
    MatrixRule(
        severity="P1",
        when=[MatrixCondition(signal="ErrorRate", at_least="0.5")],
        response="Rollback",
        within_seconds=60,
    ),
    MatrixRule(
        severity="P2",
        when=[MatrixCondition(signal="ErrorRate", at_least="0.6")],
        response="Rollback",
    ),
]
ALWAYS = [
    MatrixRule(
        severity="P2",
        when=[
            MatrixCondition(signal="ErrorRate", above="0.05"),
            MatrixCondition(signal="LatencyRatio", above="1.0"),
        ],
        response="Rollback",
        within_seconds=900,
    )
]
FOUND: dict[str, tuple[dict[str, Any], FindingLevel, str, tuple[str, ...]]] = {
    "one label for pod and route": (
        {"policy": with_signals(labels=SignalLabels(pod="instance", route="instance"))},
        FindingLevel.PROBLEM,
        "spec.signals.labels",
        ("the label instance is set for both", "name the label of the route"),
    ),
    "an address that the operator refuses": (
        {"is_address_allowed": False},
        FindingLevel.PROBLEM,
        "spec.prometheus.url",
        ("the operator refuses it", "allowedPrometheusHosts"),
    ),
    "a tenant that it may not name": (
        {"is_tenant_allowed": False},
        FindingLevel.PROBLEM,
        "spec.prometheus.tenant",
        ("reads no metrics of tenant", "allowedTenants"),
    ),
    "two policies on one target": (
        {"rival": "first"},
        FindingLevel.PROBLEM,
        "spec.targetRef",
        ("policy first already watches Deployment", "TargetAlreadyWatched"),
    ),
    "a threshold that everything meets": (
        {"policy": make_policy(matrix=ALWAYS)},
        FindingLevel.PROBLEM,
        "spec.matrix[0].when[1].above",
        ("LatencyRatio above 1.0 meets a release that is no slower", "above 1, with a margin"),
    ),
    "no requests, no trace": (
        {"requests": requests(missing=NONE)},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("NoSeries: there are no series",),
    ),
    "no pod label, another holds the names": (
        {
            "requests": requests(
                missing=NONE,
                trace=Trace({"kubernetes_pod": ("ticket-service-1",), "x": ("y",)}, True),
            )
        },
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("spec.signals.labels.pod: kubernetes_pod is the label",),
    ),
    "no label holds the names": (
        {"requests": requests(missing=NONE, trace=Trace({"host": ("a", "b", "c", "d")}, True))},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("host=a|b|c|...", "ingress", 'spec.signals.labels.pod to ""'),
    ),
    "other pods": (
        {"requests": requests(missing=NONE, trace=Trace({"pod": ("cart-1",)}, True))},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("belong to other pods (cart-1)", "spec.targetRef.name"),
    ),
    "other matchers": (
        {"requests": requests(missing=NONE, trace=Trace({"service": ("shop",)}))},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("no series has these matchers", "service=shop"),
    ),
    "another namespace": (
        {"requests": requests(missing=NONE, trace=Trace(namespaces=("ingress",)))},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("namespace=ingress only", "honor_labels"),
    ),
    "another name": (
        {"requests": requests(missing=NONE, trace=Trace(similar=("http_requests_total",)))},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("existing counters: http_requests_total",),
    ),
    "nothing at all": (
        {"requests": requests(missing=NONE, trace=Trace())},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("no counter of this namespace exists",),
    ),
    "unreachable": (
        {"requests": requests(missing=Missing(Reason.PROVIDER_UNREACHABLE, "refused"))},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("ProviderUnreachable: refused", URL, "forwarded"),
    ),
    "no errors": (
        {"errors": errors(missing=Missing(Reason.ERROR_SERIES_MISSING, "never"))},
        FindingLevel.PROBLEM,
        "spec.signals.errors",
        ("ErrorSeriesMissing: never",),
    ),
    "stale": (
        {"now": T0 + 120},
        FindingLevel.PROBLEM,
        "spec.signals.requests",
        ("120 s old", "3 scrape intervals of 5 s"),
    ),
    "scraped once a minute": (
        {"requests": requests(*counted(4.0, step=60.0)), "errors": errors(*counted(0, 60.0))},
        FindingLevel.WARNING,
        "spec.signals.requests",
        ("every 60 s", "scrape it every 5 s"),
    ),
    "one sample": (
        {"requests": requests(*(replace(one, samples=one.samples[-1:]) for one in counted(4.0)))},
        FindingLevel.WARNING,
        "spec.signals.requests",
        ("no pod has two samples",),
    ),
    "clocks differ": ({"skew": 30.0}, FindingLevel.WARNING, "spec.prometheus", ("+30.0 s", "NTP")),
    "a pod is not read": (
        {"requests": requests(*counted(4.0, pods=PODS[:3])), "errors": errors(*counted(0.0))},
        FindingLevel.WARNING,
        "spec.signals.requests",
        ("1 of 4 ready pods", PODS[3]),
    ),
    "read twice": (
        {"requests": requests(*counted(4.0), *counted(4.0, instance="other:9090"))},
        FindingLevel.NOTE,
        "spec.signals.requests",
        ("4 pods are scraped more than once", "other:9090", "counted once"),
    ),
    "read by a pair": (
        {"requests": requests(*counted(4.0), *counted(4.0))},
        FindingLevel.NOTE,
        "spec.signals.requests",
        ("several replicas or jobs",),
    ),
    "no pod label": (
        {
            "policy": with_signals(**NO_POD),
            "requests": requests(*counted(4.0, pods=[""])),
            "errors": errors(*counted(0.0, pods=[""])),
        },
        FindingLevel.WARNING,
        "spec.signals.labels.pod",
        ("comparing the time after it with the time before", "a bad pod or"),
    ),
    "no route label": (
        {
            "requests": requests(*counted(4.0, routes=("",))),
            "errors": errors(*counted(0.0, routes=("",))),
        },
        FindingLevel.WARNING,
        "spec.signals.labels.route",
        ("judged together", "routes: Purchase"),
    ),
    "no route label and as many probes": (
        {
            "requests": requests(*counted(0.3, routes=("",))),
            "errors": errors(*counted(0.0, routes=("",))),
            "workload": make_workload(deployment=make_deployment(probe_rate=0.2)),
        },
        FindingLevel.PROBLEM,
        "spec.signals.labels.route",
        ("0.8 of 1.2 requests a second are kubelet probes", "ten times"),
    ),
    "unknown purchase routes": (
        {"policy": with_signals(purchase_routes=["/pay", PURCHASE])},
        FindingLevel.WARNING,
        "spec.signals.purchaseRoutes",
        ("no series has the route /pay", f"existing routes: {LIST}"),
    ),
    "no purchase route": (
        {"policy": with_signals(purchase_routes=["/pay", "/order"])},
        FindingLevel.WARNING,
        "spec.signals.purchaseRoutes",
        ("/pay or /order: no condition with routes: Purchase can be met",),
    ),
    "errors are not initialised": (
        {"errors": errors(*counted(0.0, routes=ROUTES[:2]))},
        FindingLevel.NOTE,
        "spec.signals.errors",
        ("not initialised to 0 for 4 of 12", LIST),
    ),
    "errors without routes": (
        {"errors": errors(*counted(0.0, routes=("",)))},
        FindingLevel.WARNING,
        "spec.signals.errors",
        ("errors have no label route",),
    ),
    "more errors than requests": (
        {"errors": errors(*counted(5.0))},
        FindingLevel.WARNING,
        "spec.signals.errors",
        ("more errors (20.00 a second) than requests (16.00)",),
    ),
    "no status was an error yet": (
        {"policy": with_signals(**MARKED), "marks": {"code": ("200", "404")}, "errors": errors()},
        FindingLevel.NOTE,
        "spec.signals.errors.matchers.code",
        ("no request has been an error yet", "200, 404", "'=~5..'"),
    ),
    "every status is an error": (
        {
            "policy": with_signals(
                requests=CounterSignal(metric="r_total"),
                errors=CounterSignal(metric="r_total", matchers={"code": "!~x.."}),
            ),
            "marks": {"code": ("200", "404")},
            "errors": errors(),
        },
        FindingLevel.PROBLEM,
        "spec.signals.errors.matchers.code",
        ("every request is an error",),
    ),
    "a young revision": (
        {"control": make_control(requests=30, errors=0, worst_minute=0, seconds=60)},
        FindingLevel.WARNING,
        "spec.prometheus",
        ("1 minutes with 30 requests",),
    ),
    "no past": (
        {"control": Missing(Reason.PROVIDER_ERROR, "503")},
        FindingLevel.WARNING,
        "spec.prometheus",
        ("the last hour: 503",),
    ),
    "a shaky past": (
        {"control": make_control(worst_minute=0.05)},
        FindingLevel.WARNING,
        "spec.matrix",
        ("5.0% failed", "distinguished from that only above 15%"),
    ),
    "a past with bursts": (
        {
            "control": replace(
                make_control(worst_minute=0.1),
                pooled=RouteControl(180_000, 180, 0.1, ((60, 0.1), (900, 0.002))),
            )
        },
        FindingLevel.WARNING,
        "spec.matrix",
        ("above 30% at once, above 1% once it lasts 15 minutes",),
    ),
    "a matrix that hides": (
        {"policy": make_policy(matrix=OWN)},
        FindingLevel.PROBLEM,
        "spec.matrix",
        ("can never match",),
    ),
    "little traffic": (
        {
            "requests": requests(*counted(0.0002)),
            "control": make_control(requests=120, errors=0, worst_minute=0),
        },
        FindingLevel.WARNING,
        "spec.matrix, P2",
        ("at 0.0024 requests a second on all routes", "NoVerdict", "synthetic"),
    ),
    "a gauge that is not there": (
        {"slow": (SlowFacts("spec.signals.memory", "rss", NONE),)},
        FindingLevel.WARNING,
        "spec.signals.memory",
        ("NoSeries: there are no series", "spec.matrix"),
    ),
    "a summary": (
        {"slow": (SlowFacts("spec.signals.latency", "rpc", NONE, "max(rpc{})"),)},
        FindingLevel.WARNING,
        "spec.signals.latency",
        ("rpc is a summary", "signal Query with query: 'max(rpc{})'"),
    ),
    "PromQL that is none": (
        {"slow": (SlowFacts(QUERY, "sum((", Missing(Reason.QUERY_REFUSED, "1:6: parse error")),)},
        FindingLevel.PROBLEM,
        QUERY,
        ("QueryRefused: 1:6: parse error", "correct the PromQL"),
    ),
    "PromQL that is none, and no requests": (
        {
            "slow": (SlowFacts(QUERY, "sum((", Missing(Reason.QUERY_REFUSED, "1:6: parse error")),),
            "requests": requests(missing=NONE),
        },
        FindingLevel.PROBLEM,
        QUERY,
        ("1:6: parse error",),
    ),
    "PromQL that nobody could be asked about": (
        {
            "slow": (SlowFacts(QUERY, "up", Missing(Reason.PROVIDER_UNREACHABLE, "refused")),),
            "requests": requests(missing=Missing(Reason.PROVIDER_UNREACHABLE, "refused")),
        },
        FindingLevel.NOTE,
        QUERY,
        ("was not checked", "refused", "--prometheus"),
    ),
    "no Deployment": (
        {"workload": None, "is_gone": True, "unseen": "404"},
        FindingLevel.PROBLEM,
        "spec.targetRef.name",
        ("there is no Deployment ticket-service",),
    ),
    "no cluster": (
        {"workload": None, "unseen": "no kubeconfig"},
        FindingLevel.NOTE,
        "spec.targetRef",
        ("not read: no kubeconfig", "--kubeconfig"),
    ),
    "a service that nobody uses": (
        {"requests": requests(*counted(0.0))},
        FindingLevel.WARNING,
        "spec.signals.requests",
        ("no requests in the last five minutes", "synthetic client"),
    ),
    "a paused Deployment": (
        {"workload": make_workload(deployment=make_deployment(paused=True))},
        FindingLevel.PROBLEM,
        "spec.targetRef",
        ("kubectl rollout resume",),
    ),
    "a Deployment that Git steers": (
        {
            "workload": make_workload(
                deployment=make_deployment(owner=Owner("Argo CD", "label x=y", "pause it"))
            )
        },
        FindingLevel.PROBLEM,
        "spec.targetRef",
        ("Argo CD", "pause it"),
    ),
    "a Deployment that Git steers, while it is only observed": (
        {
            "policy": make_policy(mode=Mode.OBSERVE),
            "workload": make_workload(
                deployment=make_deployment(owner=Owner("Argo CD", "label x=y", "pause it"))
            ),
        },
        FindingLevel.WARNING,
        "spec.targetRef",
        ("in mode Enforce: Argo CD", "pause it"),
    ),
}


@pytest.mark.parametrize("mode", Mode)
def test_of_a_sound_policy_nothing_is_said(mode: Mode) -> None:
    assert find(make_survey(policy=make_policy(mode=mode))) == ()


@pytest.mark.parametrize("name", FOUND)
def test_each_fault_is_found_with_its_field_and_remedy(name: str) -> None:
    changes, level, path, said = FOUND[name]
    found = [one for one in find(make_survey(**changes)) if one.path == path]

    assert found, find(make_survey(**changes))
    told = f"{found[0].message} {found[0].remedy}"
    assert found[0].level == level
    assert [one for one in said if one not in told] == []


def test_the_worst_comes_first() -> None:
    levels = [one.level for one in find(make_survey(now=T0 + 120, workload=None, skew=40.0))]
    assert levels == sorted(levels, key=list(FindingLevel).index)
    assert levels[0] is FindingLevel.PROBLEM


@pytest.mark.parametrize(
    ("values", "is_quiet"),
    [(("200", "503"), True), (("200",), False)],
)
def test_an_error_that_has_been_seen_needs_no_word(values, is_quiet) -> None:
    survey = make_survey(
        policy=with_signals(**MARKED), marks={"code": values}, errors=errors(*counted(0.1))
    )
    assert (find(survey) == ()) is is_quiet


def test_what_is_scraped_twice_counts_once() -> None:
    one, other = counted(4.0), counted(4.0, instance="other:9090")
    assert rates((*one, *other)) == pytest.approx(dict.fromkeys(ROUTES, 16.0))
    assert twice(one) == {}
    assert set(twice((*one, *other))) == set(PODS)


# -- how fast --------------------------------------------------------------------------------------


def cell(survey: Survey, fault: float, route: str | None = None) -> Any:
    return next(one for one in outlook(survey) if (one.fault, one.route) == (fault, route))


def test_severities_are_the_matrix_s() -> None:
    survey = make_survey()
    assert [cell(survey, fault).severity for fault in (1.0, 0.2, 0.05)] == ["P2", "P2", "P4"]
    assert [cell(survey, fault, PURCHASE).severity for fault in (1.0, 0.2)] == ["P1", ""]
    assert {one.route for one in outlook(survey)} == {None, PURCHASE, RESERVE}


def test_at_ordinary_traffic_a_p1_takes_about_a_scrape() -> None:
    found = cell(make_survey(), 1.0, PURCHASE)
    assert found.rate == pytest.approx(16)
    assert 4 < found.by_prometheus.mean < 8
    assert found.by_pods.mean < 2.5
    assert found.within_seconds == 60


@pytest.mark.parametrize(
    "slower",
    [
        lambda: {"requests": requests(*counted(0.4))},
        lambda: {"requests": requests(*counted(4.0, step=30.0))},
        lambda: {"control": make_control(worst_minute=0.05)},
    ],
    ids=["less traffic", "scraped less often", "a shakier past"],
)
def test_what_makes_it_slower(slower: Callable[[], dict[str, Any]]) -> None:
    usual, other = cell(make_survey(), 0.2), cell(make_survey(**slower()), 0.2)
    assert other.by_prometheus.mean > usual.by_prometheus.mean


def test_without_a_pod_label_there_is_no_comparison_and_no_pod_to_ask() -> None:
    survey = make_survey(policy=with_signals(**NO_POD), requests=requests(*counted(4.0, pods=[""])))
    found = cell(survey, 0.2)
    assert (found.by_pods, found.beside_old_pods) == (None, None)
    # ... but nothing new has to be found first.
    assert found.by_prometheus.most < cell(make_survey(), 0.2).by_prometheus.most


def test_one_cause_is_told_once() -> None:
    slow = (SlowFacts("spec.signals.memory", "rss", NONE),)
    paths = [one.path for one in find(make_survey(requests=requests(missing=NONE), slow=slow))]
    assert paths == ["spec.signals.requests"]


def test_without_traffic_there_is_no_outlook() -> None:
    assert outlook(make_survey(requests=requests(*counted(0.0)))) == ()


def test_a_secret_that_cannot_be_used_is_a_problem_and_an_unread_secret_is_a_note() -> None:
    path = "spec.notify[0].secretRef"
    gone = SecretFacts(path, "there is no Secret chat", is_known=True)
    unread = SecretFacts(path, "you may not get Secret chat", is_known=False)

    levels = [
        (finding.level, finding.message)
        for facts in (gone, unread)
        for finding in find(make_survey(secrets=(facts,)))
        if finding.path == path
    ]

    assert levels == [
        (FindingLevel.PROBLEM, "there is no Secret chat"),
        (FindingLevel.NOTE, "not checked: you may not get Secret chat"),
    ]
