"""At rest an operator writes nothing but its Lease, and asks for nothing but what there is.

It has the rights that it uses, no others.

Nothing here may use the module's cluster-wide operator: it would work on these namespaces too, and
whose calls are whose could not be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollback_operator.runtime.intake import WATCHED
from tests.integration.api import Object, eventually, policies, rollbacks, throughout
from tests.integration.api_proxy import ApiProxy, Call
from tests.integration.operator_process import OperatorProcess, Options, Zygote
from tests.integration.service import API_VERSION, Service, outcome
from tests.integration.stand import Stand, rights
from tests.integration.storm import PASSES, is_still
from tests.integration.traffic import BAD
from tests.sizes import chosen_of

pytestmark = [pytest.mark.xdist_group("at-rest"), pytest.mark.timeout(1200)]

QUIET_SECONDS = 12.0
KEPT = 20
DISCOVERY = ("", "api", "apis", "version", "selfsubjectaccessreviews")
"""What everybody may ask: which resources there are, and what they may do themselves."""


@contextmanager
def running(
    stand: Stand, zygote: Zygote, namespace: str, directory: Path
) -> Iterator[tuple[OperatorProcess, ApiProxy]]:
    """An operator for one namespace, with the chart's rights there."""
    stand.grant(namespace)
    proxy = stand.proxy(namespace)
    proxy.start()
    options = Options(
        proxy.write_kubeconfig(directory / "kubeconfig"),
        stand.prometheus.url,
        namespaces=namespace,
        lease_namespace=namespace,
    )
    process = zygote.start(options, directory / "operator.log")
    try:
        process.wait_until_ready()
        yield process, proxy
    finally:
        process.kill()
        proxy.stop()


def unrelated(calls: Iterable[Call]) -> list[str]:
    """List the calls that are not the Lease's, and do not look whether the watches tell all."""
    looks = {(verb, plural) for verb in ("list", "watch") for plural in WATCHED}
    others = (one for one in calls if (one.verb, one.resource) not in looks)
    return [f"{one} {one.name}" for one in others if one.resource != "leases"]


# -- many policies whose releases are old -----------------------------------------------------


def put_up(stand: Stand, namespace: str, name: str) -> None:
    """Make a Deployment, and a policy that has long been done with its release."""
    service = Service(stand, namespace, name)
    service.deploy(replicas=1)
    service.watch()
    service.settle()


def versions(stand: Stand, namespace: str) -> dict[str, str]:
    listed = stand.api.get(policies(namespace))["items"]
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in listed}


@pytest.mark.parametrize("count", chosen_of([20, 100], [20]))
def test_many_policies_at_rest_cost_nothing_but_the_lease(
    stand: Stand, zygote: Zygote, tmp_path: Path, count: int
) -> None:
    namespace = stand.namespace("at-rest")
    names = [f"shop-{number}" for number in range(count)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda name: put_up(stand, namespace, name), names))

    with running(stand, zygote, namespace, tmp_path) as (process, proxy):
        eventually(lambda: all_are_ready(stand, namespace), "each policy is Ready", 60.0)
        # Each policy's own status comes back over the watch, and is looked at once more.
        eventually(lambda: is_still(process), "the last passes are over", 60.0)
        before = versions(stand, namespace)
        since, passes = len(proxy.calls), process.metric(PASSES)

        throughout(QUIET_SECONDS, lambda: unrelated(proxy.calls[since:]))

        assert {one.resource for one in proxy.calls[since:] if one.is_write} == {"leases"}
        assert versions(stand, namespace) == before
        assert process.metric(PASSES) == passes


def all_are_ready(stand: Stand, namespace: str) -> bool:
    listed = stand.api.get(policies(namespace))["items"]
    return all("conditions" in one["status"] for one in listed)


# -- rights ----------------------------------------------------------------------------------------


def granted(namespace: str) -> set[tuple[str, str, str]]:
    """List each (verb, group, resource) that the chart allows an operator for one namespace."""
    listed = [{"namespace": namespace}]
    objects = rights(namespace, watchNamespaces=[namespace], readConfigMaps=listed)
    return {
        (verb, group, resource)
        for one in objects
        if one["kind"] == "Role"
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def old_record(rollback: Object, number: int) -> tuple[Object, Object]:
    """Make a record of an earlier rollback, and its status."""
    spec = dict(rollback["spec"])
    then = datetime.now(UTC) - timedelta(days=30, minutes=number)
    spec["trigger"] = {**spec["trigger"], "decidedTime": then.isoformat()}
    name = f"{rollback['metadata']['name']}-{number}"
    body = {
        "apiVersion": API_VERSION,
        "kind": "Rollback",
        "metadata": {"name": name, "namespace": rollback["metadata"]["namespace"]},
        "spec": spec,
    }
    status = {**rollback["status"], "finishedTime": then.isoformat()}
    return body, status


def need_things(service: Service) -> None:
    """Let the pods name one object of each kind that is looked for before an undo."""
    api, core, name = service.stand.api, "/api/v1/namespaces/" + service.namespace, "shop"
    claim = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
    volume = {
        **claim,
        "capacity": {"storage": "1Mi"},
        "hostPath": {"path": "/tmp"},
        "claimRef": {"namespace": service.namespace, "name": name},
    }
    request = {
        **claim,
        "resources": {"requests": {"storage": "1Mi"}},
        "volumeName": f"rights-{name}",
    }
    for path, body in (
        (f"{core}/configmaps", {"metadata": {"name": name}}),
        (f"{core}/serviceaccounts", {"metadata": {"name": name}}),
        ("/api/v1/persistentvolumes", {"metadata": {"name": f"rights-{name}"}, "spec": volume}),
        (f"{core}/persistentvolumeclaims", {"metadata": {"name": name}, "spec": request}),
    ):
        api.create(path, body)
    volumes = [
        {"name": "settings", "configMap": {"name": name}},
        {"name": "files", "persistentVolumeClaim": {"claimName": name}},
    ]
    service.change(template={"spec": {"serviceAccountName": name, "volumes": volumes}})
    service.wait_for_rollout()


@pytest.mark.extended
def test_the_chart_grants_what_is_used_and_nothing_else(
    stand: Stand, zygote: Zygote, tmp_path: Path
) -> None:
    service = Service(stand, stand.namespace("rights"))
    service.deploy(replicas=2)
    need_things(service)
    service.remember()
    with running(stand, zygote, service.namespace, tmp_path) as (_, proxy):
        service.adopt(
            safety={"cooldownSeconds": 0, "maxRollbacksPerDay": 100},
            stage={"maxSeconds": 60},
            verification={"logs": {"pattern": "ERROR"}},
        )
        # Slow enough for a stage: its finalizer is one of the rights.
        service.change(minReadySeconds=3)
        service.roll_out("v2", BAD)
        first = service.wait_for_rollback()
        assert outcome(first) == ("Verified", "Recovered"), service.told()
        path = rollbacks(service.namespace)
        for number in range(KEPT + 1):
            body, status = old_record(first, number)
            stand.api.create(path, body)
            stand.api.merge(f"{path}/{body['metadata']['name']}/status", {"status": status})
        eventually(lambda: len(service.rollbacks()) == KEPT, "the oldest are removed", 60.0)
        assert first["metadata"]["name"] in {one["metadata"]["name"] for one in service.rollbacks()}
        renewed = ("update", "coordination.k8s.io", "leases")
        eventually(lambda: renewed in {one.right for one in proxy.calls}, "a renewal", 60.0)
        service.unwatch()
        calls = [one for one in proxy.calls if one.resource not in DISCOVERY]

    assert [str(one) for one in proxy.calls if one.status == 403] == []
    used = {one.right for one in calls}
    print("\n".join(" ".join(one) for one in sorted(used)))
    # Bounds are only touched where there is an autoscaler: test_autoscaler has one.
    bounds = {(verb, "autoscaling", "horizontalpodautoscalers") for verb in ("get", "patch")}
    assert used | bounds == granted(service.namespace)
