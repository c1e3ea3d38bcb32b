"""ConfigMaps and Secrets as part of a release, and their restore, on a real API server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.integration.api import Object, eventually
from tests.integration.conftest import RunningOperator
from tests.integration.service import SETTINGS, Service, outcome, steps
from tests.integration.stand import HOME, PATHS, rights
from tests.integration.traffic import BAD, GOOD, LIST, PURCHASE, Flow

pytestmark = [
    pytest.mark.xdist_group("configuration"),
    pytest.mark.usefixtures("operator"),
    pytest.mark.timeout(900),
]

RESTORE = {"type": "Undo", "to": "LastKnownGood", "restore": [SETTINGS]}
QUICK = {"goodAfterSeconds": 10}
KEY = "0123456789abcdef0123456789abcdef"
PASSWORD = "password"
FORMER, ROTATED = "zxq-1971", "zxq-2042"
"""Two passwords, which no other text contains."""
MODERATE = Flow(failing={PURCHASE: 0.3, LIST: 0.3})
"""Three in ten fail, on all routes: P2."""
MakeService = Callable[..., Service]


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The operator has a key for the digests of Secrets."""
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text(KEY)
    return (f"--secret-digest-key-file={file}",)


def permit(service: Service) -> None:
    """Let the operator restore the ConfigMap and read the Secret, as the chart does."""
    namespace, names = service.namespace, [SETTINGS]
    values = {
        "restoreConfigMaps": [{"namespace": namespace, "names": names}],
        "readSecrets": [{"namespace": namespace, "names": [PASSWORD]}],
    }
    api = service.stand.api
    for one in rights(HOME, **values):
        where = one["metadata"].get("namespace")
        if one["kind"] not in ("Role", "RoleBinding") or where != namespace:
            continue
        path = PATHS[one["kind"]].format(namespace)
        if api.find(f"{path}/{one['metadata']['name']}") is None:
            api.create(path, one)
        elif one["kind"] == "Role":
            api.merge(f"{path}/{one['metadata']['name']}", {"rules": one["rules"]})


def prepared(service: Service, **settings: str) -> Service:
    """v1 is Good, and the content of its ConfigMap is stored."""
    service.has_settings(**(settings or {"TIMEOUT": "10"}))
    permit(service)
    service.deploy()
    service.remember()
    service.adopt(remedies=[RESTORE], safety=QUICK)
    return service


def rotate(service: Service, value: str) -> None:
    path = f"/api/v1/namespaces/{service.namespace}/secrets"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": PASSWORD}}
    made = {**body, "stringData": {"password": value}}
    if service.stand.api.find(f"{path}/{PASSWORD}") is None:
        service.stand.api.create(path, made)
    else:
        service.stand.api.merge(f"{path}/{PASSWORD}", {"stringData": {"password": value}})


def secret(service: Service) -> Object:
    path = f"/api/v1/namespaces/{service.namespace}/secrets/{PASSWORD}"
    return dict(service.stand.api.get(path))


def test_a_release_of_a_configmap_alone_is_taken_back(
    service: Service, operator: RunningOperator
) -> None:
    prepared(service)
    stored = service.wait_until_stored()
    assert "digest" in stored, stored
    before = service.status()["revision"]
    service.reconfigure("v2", BAD, TIMEOUT="0")

    done = service.wait_for_rollback(90.0)

    assert outcome(done) == ("Verified", "Recovered"), service.told()
    assert steps(done)[:2] == ["RestoreConfiguration", "Undo"]
    assert service.settings() == {"TIMEOUT": "10"}
    annotations = service.deployment()["spec"]["template"]["metadata"].get("annotations") or {}
    assert "version" not in annotations
    assert done["spec"]["configMaps"][0]["diff"] == 'TIMEOUT: "0" -> "10"'
    shown = {one["name"]: one for one in done["status"]["checklist"]}["Configuration"]
    assert 'TIMEOUT: "0" -> "10"' in shown["message"]
    assert done["spec"]["fromRevision"]["release"] != before["release"]
    eventually(lambda: service.status()["revision"]["release"] == before["release"], "it is back")
    healths = {one["release"]: one["health"] for one in service.status()["revisions"]}
    assert healths[done["spec"]["fromRevision"]["release"]] == "Bad"
    owner = service.stand.api.get(
        f"/api/v1/namespaces/{service.namespace}/configmaps/{SETTINGS}.known-good"
    )["metadata"]["ownerReferences"][0]
    assert owner["uid"] == service.policy()["metadata"]["uid"]
    operator.wait_for_passes()
    assert len(service.rollbacks()) == 1


def test_a_rotated_secret_is_a_release_and_is_left_alone(service: Service) -> None:
    rotate(service, FORMER)
    source = {"secretKeyRef": {"name": PASSWORD, "key": "password"}}
    service.environment = ({"name": "PASSWORD", "valueFrom": source},)
    permit(service)
    service.deploy()
    service.remember()
    service.adopt(safety=QUICK)
    before = service.status()["revision"]
    rotate(service, ROTATED)
    known = secret(service)
    service.roll_over("v2", BAD)

    told = str(service.wait_for("Healthy", "SameTemplate", seconds=90.0)["message"])

    assert "ConfigMaps or Secrets" in told
    assert secret(service) == known
    assert service.rollbacks() == []
    assert service.status()["revision"]["release"] != before["release"]
    assert FORMER not in str(service.policy())
    assert ROTATED not in str(service.policy())


@pytest.mark.extended
def test_a_restart_is_the_same_release(service: Service, operator: RunningOperator) -> None:
    prepared(service)
    before = service.status()["revision"]
    service.restart()

    eventually(
        lambda: service.status()["revision"]["digest"] != before["digest"], "the restart is seen"
    )
    operator.wait_for_passes()
    now = service.status()["revision"]
    assert (now["release"], now["configuration"]) == (before["release"], before["configuration"])


@pytest.mark.extended
def test_what_somebody_has_changed_since_the_release_is_kept(service: Service) -> None:
    prepared(service)
    assert "digest" in service.wait_until_stored()
    service.reconfigure("v2", GOOD, TIMEOUT="0")
    eventually(lambda: service.status()["revision"]["number"] == 2, "the release is noticed")
    service.set(TIMEOUT="5")
    service.flow("v2", BAD)

    # The first requests were fine: people are asked, or nothing can be restored.
    def is_kept() -> bool:
        healthy = service.condition("Healthy")
        return healthy.get("reason") == "SameTemplate" or bool(
            healthy.get("status") == "Unknown" and healthy.get("reason") == "EnvironmentSuspected"
        )

    eventually(is_kept, "it is judged", 120.0)
    assert service.settings() == {"TIMEOUT": "5"}
    assert service.rollbacks() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"immutable": True}, "it is immutable", id="immutable"),
        pytest.param(
            {"metadata": {"labels": {"argocd.argoproj.io/instance": "shop"}}}, "Argo CD", id="owned"
        ),
    ],
)
@pytest.mark.extended
def test_a_configmap_that_is_not_ours_to_restore_is_kept(
    service: Service, change: Object, said: str
) -> None:
    prepared(service)
    assert "digest" in service.wait_until_stored()
    path = f"/api/v1/namespaces/{service.namespace}/configmaps/{SETTINGS}"
    service.set(TIMEOUT="0")
    service.stand.api.merge(path, change)
    service.roll_over("v2", BAD)

    told = str(service.wait_for("Healthy", "SameTemplate", seconds=90.0)["message"])

    assert said in told
    assert service.settings() == {"TIMEOUT": "0"}


@pytest.mark.extended
def test_a_configmap_that_another_workload_uses_is_kept(
    make_service: MakeService, service: Service
) -> None:
    prepared(service)
    assert "digest" in service.wait_until_stored()
    other = Service(service.stand, service.namespace, "other", service.environment)
    other.deploy(replicas=1)
    service.reconfigure("v2", BAD, TIMEOUT="0")

    told = str(service.wait_for("Healthy", "SameTemplate", seconds=90.0)["message"])

    assert "Deployment other" in told
    assert service.settings() == {"TIMEOUT": "0"}


@pytest.mark.extended
def test_a_content_beyond_the_bound_is_not_stored(service: Service) -> None:
    prepared(service, TIMEOUT="x" * 70_000)

    stored = service.wait_until_stored()

    assert "larger than 64 KiB" in stored["message"]
    assert "digest" not in stored


def test_without_a_right_a_release_is_its_template(
    service: Service, operator: RunningOperator
) -> None:
    path = PATHS["Role"].format(service.namespace)
    for role in service.stand.api.get(path)["items"]:
        service.stand.api.delete(f"{path}/{role['metadata']['name']}")
    service.has_settings(TIMEOUT="10")
    service.deploy()
    service.remember()
    service.adopt(safety=QUICK)

    told = service.condition("ConfigurationRead")
    assert told["reason"] == "ConfigurationUnreadable", told
    assert f"ConfigMap {SETTINGS}: list it in the chart value readConfigMaps" in told["message"]
    before = service.status()["revision"]
    service.reconfigure("v2", GOOD, TIMEOUT="0")
    eventually(
        lambda: service.status()["revision"]["digest"] != before["digest"], "the restart is seen"
    )
    assert service.status()["revision"]["release"] == before["release"]
    assert "configuration" not in service.status()["revision"]
    operator.wait_for_passes()


@pytest.mark.extended
def test_an_undo_restores_the_configmap_with_the_template(service: Service) -> None:
    prepared(service)
    assert "digest" in service.wait_until_stored()
    service.set(TIMEOUT="0")
    service.roll_out("v2", MODERATE)

    done = service.wait_for_rollback(120.0)

    assert outcome(done)[0] == "Verified", service.told()
    assert service.image == "v1"
    assert service.settings() == {"TIMEOUT": "10"}


def test_a_variable_is_set_and_the_ladder_goes_on(service: Service) -> None:
    service.environment = ({"name": "FEATURE", "value": "true"},)
    service.deploy()
    service.remember()
    flag = {"name": "FEATURE", "value": "false", "env": {"container": "shop"}}
    undo = {"type": "Undo", "to": "LastKnownGood"}
    service.adopt(
        remedies=[{"type": "DisableFlag", "flag": flag}, undo],
        verification={"timeoutSeconds": 30},
    )
    service.roll_out("v2", BAD)

    def both() -> list[Object] | None:
        ended = [one for one in service.rollbacks() if one.get("status", {}).get("outcome")]
        return ended if len(ended) == 2 else None

    first, second = eventually(both, f"both remedies: {service.told()}", 180.0)

    assert first["spec"]["remedy"]["type"] == "DisableFlag"
    assert first["spec"]["flag"]["oldValue"] == "true"
    assert steps(first) == ["DisableFlag", "RolloutComplete", "Verify"]
    assert first["status"]["outcome"] == "NotRecovered"
    assert second["spec"]["remedy"]["type"] == "Undo"
    assert second["status"]["outcome"] == "Verified"
    assert service.image == "v1"
    container = service.deployment()["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "FEATURE", "value": "true"}]


@pytest.mark.extended
def test_a_variable_that_cures_needs_no_undo(service: Service, operator: RunningOperator) -> None:
    service.environment = ({"name": "FEATURE", "value": "true"},)
    service.deploy()
    service.remember()
    flag = {"name": "FEATURE", "value": "false", "env": {"container": "shop"}}
    undo = {"type": "Undo", "to": "LastKnownGood"}
    service.adopt(remedies=[{"type": "DisableFlag", "flag": flag}, undo])
    service.roll_out("v2", BAD)

    def is_set() -> bool:
        container = service.deployment()["spec"]["template"]["spec"]["containers"][0]
        return bool(container["env"] == [{"name": "FEATURE", "value": "false"}])

    eventually(is_set, f"the variable is set: {service.told()}", 90.0)
    service.flow("v2", GOOD)  # the feature was the fault
    done = service.wait_for_rollback(120.0)

    assert outcome(done)[0] == "Verified", service.told()
    assert steps(done) == ["DisableFlag", "RolloutComplete", "Verify"]
    operator.wait_for_passes()
    assert service.image == "v2"
    assert len(service.rollbacks()) == 1
