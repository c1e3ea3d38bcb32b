import math
from dataclasses import replace

from rollback_operator.adapters.kube.projections.deployments import replica_set_of
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixSeverity, Response, Severity, SignalName
from rollback_operator.decide.decide import Decision
from rollback_operator.evidence.watch import open_watch, with_reading, with_workload
from rollback_operator.model.verdict import Symptom
from rollback_operator.report.diagnosis import RouteLatency, changes, diagnose
from rollback_operator.stats.histogram import Histogram
from tests.builders import (
    PURCHASE,
    T0,
    at,
    make_counters,
    make_pods,
    make_series,
    make_verdict,
    make_workload,
)

SLOW = Symptom(SignalName.LATENCY_RATIO, "p99 is at least 300 ms")
VETOED = Symptom(SignalName.RESTARTS, "it restarts", veto=Reason.OLD_REVISION_FAILS_TOO)


def template(image="shop:v1", memory="128Mi", env=(), **more):
    return {
        "metadata": {"annotations": more.pop("annotations", {})},
        "spec": {
            "containers": [
                {
                    "name": "shop",
                    "image": image,
                    "resources": {"limits": {"memory": memory}},
                    "env": list(env),
                    **more,
                }
            ]
        },
    }


def replica_set(**fields):
    metadata = {
        "name": "shop-1",
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"pod-template-hash": "abc"},
    }
    return replica_set_of({"metadata": metadata, "spec": {"template": template(**fields)}})


def test_what_changed_between_two_templates() -> None:
    secret = {"name": "TOKEN", "value": "correct horse"}
    before = replica_set(env=[{"name": "MODE", "value": "a"}, secret], command=["serve"])
    after = replica_set(
        image="shop:v2",
        memory="64Mi",
        env=[{"name": "MODE", "value": "b"}, {"name": "NEW", "value": "battery staple"}],
        annotations={"checksum/config": "1"},
        command=["serve"],
    )
    lines = changes(before, after)
    assert lines == [
        "annotation checksum/config added",
        "container shop env MODE changed",
        "container shop env NEW added",
        "container shop env TOKEN removed",
        "container shop image changed from shop:v1 to shop:v2",
        "container shop limits memory changed from 128Mi to 64Mi",
    ]
    assert changes(before, before) == []


def test_no_value_of_a_variable_is_kept() -> None:
    known = replica_set(env=[{"name": "TOKEN", "value": "correct horse"}])
    assert "correct horse" not in repr(known)


def investigated(**changes):
    pods = tuple(
        replace(pod, restarts=number, is_out_of_memory=number == 3)
        for number, pod in enumerate(make_pods(version="v2"))
    )
    workload = make_workload(pods=(*pods, *make_pods(2, "v1")))
    watch = with_workload(open_watch("digest-v2", T0, frozenset({"hashv1"})), workload, T0 + 60)
    series = [make_series([(2, 0), (7, 50)], pod=pod.name) for pod in workload.pods]
    errors = [make_series([(2, 0), (7, 5)], pod=pods[0].name)]
    watch = with_reading(watch, make_counters(series, errors))
    verdict = make_verdict(symptoms=(SLOW, VETOED))
    decision = Decision(verdict, Severity.P3, Response.INVESTIGATE)
    fast, slow = (Histogram((bound, math.inf), (100.0, 100.0)) for bound in (0.1, 0.5))
    latency = changes.get("latency", RouteLatency({PURCHASE: slow}, {PURCHASE: fast}))
    return diagnose(decision, workload, watch, latency, at(60))


def test_a_diagnosis_says_what_where_on_which_pods_and_since_what() -> None:
    found = investigated()
    said = {one.name: one.message for one in found.findings}
    assert found.severity is MatrixSeverity.P3
    assert found.release == "release-v2"
    assert said["Symptom"] == "p99 is at least 300 ms"
    assert said["Latency"] == f"{PURCHASE}: p99 495 ms, the old revision's 99 ms"
    assert said["ErrorRate"].startswith(f"{PURCHASE}: 5 of 200 failed")
    assert "0 of 100 since the release" in said["ErrorRate"]
    assert "hashv2-3 on node-3: 3 restarts, the last for its memory" in said["Pods"]


def test_what_is_not_known_is_left_out() -> None:
    names = [one.name for one in investigated(latency=RouteLatency()).findings]
    assert names == ["Symptom", "ErrorRate", "Pods"]
