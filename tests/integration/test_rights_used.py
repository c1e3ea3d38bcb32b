"""Rights that few tests take: for what pods name and log, for flags, and for records that go.

`tools/rights.py` runs this with others and compares what the operator's account asked for, by the
API server's audit log, with what the chart gives it.
"""

from __future__ import annotations

import json

import pytest

from rollback_operator.releases.records import KEPT
from tests.integration import manifests
from tests.integration.api import Object, eventually, rollbacks
from tests.integration.service import FLAGS, Service, outcome
from tests.integration.stand import HOME, PATHS, Stand, rights
from tests.integration.test_crash_walk import DISABLE, UNDO
from tests.integration.traffic import BAD

pytestmark = [
    pytest.mark.xdist_group("rights"),
    pytest.mark.usefixtures("operator"),
    pytest.mark.timeout(1200),
]


def denied(stand: Stand, namespace: str) -> list[Object]:
    """List what the operator was refused for want of a right in a namespace, by the audit log."""
    events = map(json.loads, stand.audit_log.read_text().splitlines())
    return [
        one["objectRef"]
        for one in events
        if one["annotations"].get("authorization.k8s.io/decision") == "forbid"
        and one["objectRef"].get("namespace") == namespace
    ]


@pytest.mark.extended
def test_what_pods_name_and_log_is_looked_at(service: Service, stand: Stand) -> None:
    api, place = stand.api, f"/api/v1/namespaces/{service.namespace}"
    service.has_flag("true")
    api.create(f"{place}/serviceaccounts", {"metadata": {"name": "shop"}})
    volume = f"{service.namespace}-data"
    size = {"storage": "1Mi"}
    claim = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": volume}
    api.create(
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": volume},
            "spec": {
                "capacity": size,
                "accessModes": ["ReadWriteMany"],
                "hostPath": {"path": "/tmp"},
                "claimRef": {"namespace": service.namespace, "name": "data"},
            },
        },
    )
    api.create(
        f"{place}/persistentvolumeclaims",
        {"metadata": {"name": "data"}, "spec": {**claim, "resources": {"requests": size}}},
    )
    service.deploy()
    data = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {"serviceAccountName": "shop", "volumes": [data]}
    service.change(template={"spec": pod})
    service.wait_for_rollout()
    service.remember()
    service.adopt(verification={"timeoutSeconds": 30, "logs": {"pattern": "ERROR"}})
    service.roll_out("v2", BAD)

    done = service.wait_for_rollback(90.0)

    looked = {one["name"]: one for one in done["status"]["checklist"]}
    assert looked["References"]["result"] == "Passed", looked["References"]
    assert denied(stand, service.namespace) == []


def test_a_flag_is_set_with_the_charts_right(service: Service, stand: Stand) -> None:
    for one in rights(HOME, patchConfigMaps=[{"namespace": service.namespace, "names": [FLAGS]}]):
        if one["kind"] == "Role" and one["metadata"]["name"].endswith("-configmaps"):
            name = one["metadata"]["name"]
            path = f"{PATHS['Role'].format(service.namespace)}/{name}"
            stand.api.merge(path, {"rules": one["rules"]})
    service.has_flag("true")
    service.prepare(remedies=[DISABLE, UNDO])
    service.roll_out("v2", BAD)

    eventually(lambda: service.flag() == "false", "the flag is set", 90.0)


def test_records_that_are_too_many_are_deleted(service: Service, stand: Stand) -> None:
    service.prepare()
    path = rollbacks(service.namespace)
    for number in range(KEPT + 1):
        asked = manifests.by_hand(f"asked-{number}")
        asked["metadata"]["namespace"] = service.namespace
        asked["spec"]["policyRef"]["name"] = service.name
        stand.api.create(path, asked)

    def kept() -> bool:
        listed = stand.api.get(path)["items"]
        ended = [one for one in listed if outcome(one)[0] == "Refused"]
        return len(listed) == len(ended) == KEPT

    eventually(kept, "the oldest is gone", 90.0)
