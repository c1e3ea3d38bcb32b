"""Whatever is wrong with a policy, its target or its Prometheus is told by its own reason.

Nobody guesses meanwhile, and the policies beside it work. All cases stand side by side: everything
is put up first, then all is asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from lab.remote_write import write
from tests.integration import faulty_prometheus as faulty
from tests.integration.api import ApiError, eventually
from tests.integration.faulty_prometheus import FaultyPrometheus
from tests.integration.service import PAST_REQUESTS, PAST_SECONDS, Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, ERRORS, REQUESTS, Flow

pytestmark = [
    pytest.mark.xdist_group("bad-input"),
    pytest.mark.usefixtures("operator"),
    pytest.mark.timeout(1200),
]

AT_ONCE = 5
LONGEST_SECONDS = 90.0
MakeService = Callable[..., Service]


@pytest.fixture(scope="module")
def flags() -> Sequence[str]:
    """What policies name as their Prometheus may be on this machine."""
    return ("--loopback=allowed", "--allowed-prometheus-hosts=127.0.0.1")


def side_by_side(works: Iterable[Callable[[], object]]) -> None:
    """Do all of it at once; the first error is the test's."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def put_up(service: Service, **spec: Any) -> None:
    """Make a service with a past, and a policy that knows it."""
    service.deploy(replicas=2)
    service.remember()
    service.adopt(**spec)


# -- what is wrong with the policy or its target ---------------------------------------------------


@dataclass(frozen=True)
class Odd:
    """A target or a policy with something about it, and what is told of it."""

    reason: str
    says: tuple[str, ...]
    deployment: Mapping[str, Any] | None = field(default_factory=dict)
    """None: there is no Deployment."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    is_ready: bool = False

    def put_up(self, service: Service) -> None:
        if self.deployment is not None:
            service.deploy(**{"replicas": 2, **self.deployment})
        if self.annotations:
            for name, value in self.annotations.items():
                service.mark("annotations", name, value)
        if self.changes:
            service.change(**self.changes)
        service.watch(**self.policy)

    def fault(self, service: Service) -> str | None:
        found = service.wait_for("Ready", self.reason, seconds=LONGEST_SECONDS)
        missing = [word for word in self.says if word not in found["message"]]
        if missing or found["status"] != str(self.is_ready):
            return f"{self.reason}: {missing} is not in {found}"
        return None


UNREACHABLE_RULE = [
    {
        "severity": severity,
        "when": [{"signal": "ErrorRate", "above": above}],
        "response": "Rollback",
    }
    for severity, above in (("P1", "0.05"), ("P2", "0.10"))
]
ODD = {
    "missing": Odd("TargetNotFound", ("spec.targetRef.name", "no Deployment shop"), None),
    "paused": Odd(
        "TargetPaused", ("kubectl rollout resume deployment/shop -n ",), changes={"paused": True}
    ),
    "no-replicas": Odd("TargetScaledToZero", ("no replicas",), {"replicas": 0}),
    "no-history": Odd(
        "NoHistory", ("spec.revisionHistoryLimit", "above 0"), {"revisionHistoryLimit": 0}
    ),
    "recreate": Odd(
        "RecreateStrategy",
        ("strategy Recreate", "control is the old revision's last hour"),
        {"strategy": {"type": "Recreate"}},
        is_ready=True,
    ),
    "one-replica": Odd("SingleReplica", ("one replica",), {"replicas": 1}, is_ready=True),
    "matrix": Odd(
        "InvalidMatrix",
        ("spec.matrix[1].when[0]", "can never match", "thresholds must decrease"),
        policy={"matrix": UNREACHABLE_RULE},
    ),
    "address": Odd(
        "AddressNotAllowed",
        ("spec.prometheus.url", "http://elsewhere.example:9090", "--allowed-prometheus-hosts"),
        policy={"prometheus": {"url": "http://elsewhere.example:9090"}},
    ),
    "suspended": Odd("Suspended", ("spec.suspend",), policy={"suspend": True}, is_ready=True),
    "gitops": Odd(
        "GitOpsOwner",
        ("Argo CD", "argocd.argoproj.io/tracking-id=shop:apps", "pause auto-sync"),
        annotations={"argocd.argoproj.io/tracking-id": "shop:apps"},
    ),
}
RELEASED = ("suspended", "no-history", "gitops")
"""A bad release goes out to these, and is not undone."""


def test_what_prevents_a_policy_is_told_and_the_policy_beside_it_works(
    make_service: MakeService,
) -> None:
    services = {name: make_service() for name in ODD}
    beside = make_service()
    side_by_side(
        [
            lambda: put_up(beside),
            *(partial(odd.put_up, services[name]) for name, odd in ODD.items()),
        ]
    )
    assert [one for name in ODD if (one := ODD[name].fault(services[name]))] == []
    for name in RELEASED:
        services[name].remember()
        services[name].roll_out("v2", BAD)
    beside.roll_out("v2", BAD)

    assert outcome(beside.wait_for_rollback(LONGEST_SECONDS)) == ("Verified", "Recovered")
    seen = services["gitops"].wait_for("Healthy", "GitOpsOwner", seconds=LONGEST_SECONDS)
    assert "Not rolled back: " in seen["message"]
    assert {name: one.rollbacks() for name, one in services.items() if one.rollbacks()} == {}
    assert {services[name].image for name in RELEASED} == {"v2"}
    assert services["suspended"].status()["verdict"] == "NoVerdict"

    # What was in the way is put right: they begin to work.
    services["missing"].deploy(replicas=2)
    services["paused"].change(paused=False)
    services["no-replicas"].change(replicas=2)
    services["suspended"].amend(suspend=False)
    services["address"].amend(prometheus=None)
    services["matrix"].amend(matrix=None)
    for name in ("missing", "paused", "no-replicas", "suspended", "address", "matrix"):
        services[name].wait_for("Ready", "WatchingTarget", seconds=LONGEST_SECONDS)


def test_a_matrix_that_nothing_can_meet_is_not_admitted(service: Service) -> None:
    rule = {
        "severity": "P1",
        "when": [{"signal": "ErrorRate", "above": "1.0"}],
        "response": "Rollback",
    }
    with pytest.raises(ApiError, match="the condition cannot match"):
        service.watch(matrix=[rule])


def test_a_name_of_63_characters_costs_no_rollback(make_service: MakeService) -> None:
    service = make_service("shop-" + "x" * 58)
    service.deploy(replicas=2)
    remember_on(service)
    service.adopt()

    service.roll_out("v2", BAD)

    assert outcome(service.wait_for_rollback(LONGEST_SECONDS)) == ("Verified", "Recovered")
    assert service.image == "v1"


def remember_on(service: Service) -> None:
    """Give the pods that run a past: their ReplicaSet cannot be told from their names."""
    listed = service.stand.api.get(f"/api/v1/namespaces/{service.namespace}/pods")["items"]
    names = [one["metadata"]["name"] for one in listed]
    assert all(len(one) == 63 and service.name not in one for one in names)
    now = time.clock_gettime(time.CLOCK_REALTIME)
    series = [
        (
            {
                "__name__": metric,
                "namespace": service.namespace,
                "pod": name,
                "route": route,
                "job": "pods",
                "instance": "past",
            },
            [(now + at, rate * (PAST_SECONDS + at)) for at in range(-PAST_SECONDS, 0)],
        )
        for metric, rate in ((REQUESTS, PAST_REQUESTS), (ERRORS, 0))
        for route in Flow().routes
        for name in names
    ]
    write(service.stand.prometheus.url, series)


def test_of_two_policies_the_older_acts_and_the_younger_inherits(service: Service) -> None:
    service.deploy(replicas=2)
    service.remember()
    service.watch(name="first")
    service.wait_for("Ready", "WatchingTarget", "first")
    service.watch(name="second", targetRef={"name": service.name})

    told = service.wait_for("Ready", "TargetAlreadyWatched", "second")
    assert (
        told["message"]
        == f"spec.targetRef: the older policy first watches Deployment {service.name}"
    )
    service.unwatch("first")
    service.wait_for("Ready", "WatchingTarget", "second")
    eventually(lambda: service.status("second").get("revision"), "the younger knows the target")
    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback(LONGEST_SECONDS)
    assert outcome(rollback) == ("Verified", "Recovered")
    assert rollback["spec"]["policyRef"]["name"] == "second"


# -- what is wrong with Prometheus -----------------------------------------------------------------

NO_REQUESTS = {"requests": {"metric": "no_such_requests_total"}}
NO_ERRORS = {"errors": {"metric": "no_such_errors_total"}}
FAULTS: dict[str, tuple[str, str, faulty.Fault | None]] = {
    "refused": ("ProviderUnreachable", "refused", None),
    "unauthorized": ("ProviderUnauthorized", "--prometheus-token-file", faulty.status(401)),
    "unavailable": ("ProviderError", "503", faulty.status(503)),
    "redirect": ("ProviderError", "302", faulty.status(302, {"Location": "/login"})),
    "refusal": ("QueryRefused", "422", faulty.status(422)),
    "hanging": ("ProviderUnreachable", "time", faulty.hanging),
    "dripping": ("ProviderUnreachable", "in time", faulty.dripping),
    "html": ("AnswerMalformed", "check spec.prometheus.url", faulty.html),
    "empty": ("NoSeries", "check spec.signals.requests", faulty.empty),
    "not-numbers": ("NotANumber", "NaN", faulty.not_numbers),
    "huge": ("AnswerTooLarge", "narrow signals.*.matchers", faulty.huge),
    "warning": ("AnswerPartial", "a store did not answer", faulty.warning),
    "clock": ("ClockSkew", "set both by NTP", faulty.ahead(45.0)),
    "no-requests": ("NoSeries", "no_such_requests_total", None),
    "no-errors": ("ErrorSeriesMissing", "no_such_errors_total", None),
}
SIGNALS = {"no-requests": NO_REQUESTS, "no-errors": NO_ERRORS}


@dataclass
class Provider:
    """The faulty Prometheus of all cases, and the one that is not there at first."""

    here: FaultyPrometheus
    absent: FaultyPrometheus

    def url(self, name: str) -> str:
        return (self.absent if name == "refused" else self.here).url(name)

    def mend(self, name: str, service: Service) -> None:
        if name == "refused":
            self.absent.listen()
        if name in SIGNALS:
            service.amend(signals=None)
        self.here.mend(name)


@pytest.fixture
def provider(stand: Stand) -> Iterator[Provider]:
    url = stand.prometheus.url
    with (
        FaultyPrometheus(stand.background, url) as here,
        FaultyPrometheus(stand.background, url) as absent,
    ):
        here.listen()
        for name, (_, _, fault) in FAULTS.items():
            if fault is not None:
                here.fail(name, fault)
        yield Provider(here, absent)


@pytest.mark.extended
def test_without_sound_metrics_nothing_is_decided_until_they_are_back(
    make_service: MakeService, provider: Provider
) -> None:
    services = {name: make_service() for name in FAULTS}
    beside = make_service()
    side_by_side(
        [
            lambda: put_up(beside),
            *(
                partial(
                    put_up,
                    services[name],
                    prometheus={"url": provider.url(name)},
                    signals=SIGNALS.get(name, {}),
                )
                for name in FAULTS
            ),
        ]
    )
    side_by_side(partial(one.roll_out, "v2", BAD) for one in (*services.values(), beside))

    assert outcome(beside.wait_for_rollback(LONGEST_SECONDS)) == ("Verified", "Recovered")
    side_by_side(partial(is_undecided, name, one) for name, one in services.items())
    assert {name: one.rollbacks() for name, one in services.items() if one.rollbacks()} == {}

    # No policy's Prometheus keeps the threads that the others' are asked by.
    assert {name: count for name, count in provider.here.open.items() if count > 4} == {}

    for name, one in services.items():
        provider.mend(name, one)
    side_by_side(partial(is_taken_back, name, one) for name, one in services.items())


def is_undecided(name: str, service: Service) -> None:
    """See that the release is under watch, and that nothing is said of it but what is missing."""
    reason, words, _ = FAULTS[name]

    def probe() -> str | None:
        status = service.status()
        images = status["revision"].get("images", [""])
        told = service.condition("MetricsAvailable")
        is_told = (told["status"], told["reason"]) == ("False", reason)
        return str(told["message"]) if is_told and images[0].endswith(":v2") else None

    try:
        message = eventually(probe, f"{name}: {reason}", LONGEST_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}; {service.told()}") from error
    assert words in message, name
    assert service.status()["verdict"] == "NoVerdict", name


def is_taken_back(name: str, service: Service) -> None:
    rollback = service.wait_for_rollback(LONGEST_SECONDS)
    assert outcome(rollback) == ("Verified", "Recovered"), f"{name}: {service.told()}"
    assert service.image == "v1", name
