"""`kubectl rollout history` and `describe deployment` tell what was undone, and no more."""

from __future__ import annotations

import re

import pytest

from tests.integration.api import eventually
from tests.integration.conftest import RunningOperator
from tests.integration.service import REPOSITORY, Service, outcome
from tests.integration.traffic import BAD, GOOD

pytestmark = [pytest.mark.xdist_group("rollback"), pytest.mark.usefixtures("operator")]

CAUSE = "kubernetes.io/change-cause"
NONE = "<none>"


def say(service: Service, cause: str) -> None:
    """Say of the running revision why it was rolled out, as people and pipelines do."""
    service.mark("annotations", CAUSE, cause)
    eventually(lambda: cause in history(service).values(), f"{cause} is in the history")


def history(service: Service) -> dict[int, str]:
    """Ask `kubectl rollout history` for the change-cause of each revision."""
    where = ("-n", service.namespace, f"deployment/{service.name}")
    lines = service.stand.cluster.kubectl("rollout", "history", *where).splitlines()
    rows = (re.match(r"(\d+)\s+(.*)", line) for line in lines)
    return {int(one[1]): one[2].strip() for one in rows if one is not None}


def annotation(service: Service) -> str | None:
    found: str | None = service.deployment()["metadata"].get("annotations", {}).get(CAUSE)
    return found


def description(service: Service) -> str:
    where = ("-n", service.namespace, "deployment", service.name)
    return service.stand.cluster.kubectl("describe", *where)


def undo_of(service: Service) -> str:
    """Give what is said of the undo of revision 2."""
    name = service.rollbacks()[-1]["metadata"]["name"]
    return f"rollback-operator: undo of revision 2 to revision 1 (P1), Rollback {name}"


def wait_for_undo(service: Service) -> str:
    """Wait until revision 2 is undone and the history tells of it; what it tells."""
    eventually(lambda: service.image == "v1", "the undo is sent")
    said = undo_of(service)
    eventually(lambda: history(service).get(3) == said, "the undo is in the history")
    return said


def test_the_history_tells_of_an_undo_and_the_next_release_does_not_inherit_it(
    service: Service,
) -> None:
    service.deploy()
    say(service, "v1: the first")
    service.remember()
    service.adopt()
    service.roll_out("v2", BAD)
    eventually(lambda: service.image == "v1", "the undo is sent")
    said = f"{undo_of(service)}; revision 1 was: v1: the first"

    assert outcome(service.wait_for_rollback()) == ("Verified", "Recovered"), service.told()

    eventually(lambda: annotation(service) is None, "nothing is left on the Deployment")
    # Nobody had said anything of v2: it had inherited what was said of v1.
    assert history(service) == {2: "v1: the first", 3: said}
    assert service.rollbacks()[-1]["metadata"]["name"] in description(service)

    service.roll_out("v3", GOOD)
    service.wait_for_rollout()
    assert history(service) == {2: "v1: the first", 3: said, 4: NONE}


@pytest.mark.extended
def test_it_is_on_the_deployment_while_the_rollback_goes_on(service: Service) -> None:
    service.prepare(verification={"timeoutSeconds": 600})
    # Pods that count as available late only: the rollback's own rollout takes its time.
    service.change(minReadySeconds=12)
    service.roll_out("v2", BAD)

    said = wait_for_undo(service)

    assert annotation(service) == said
    assert said in description(service)


@pytest.mark.extended
def test_a_release_that_follows_at_once_is_not_said_to_be_an_undo(service: Service) -> None:
    service.prepare()
    service.change(minReadySeconds=12)
    service.roll_out("v2", BAD)
    said = wait_for_undo(service)

    service.roll_out("v3", GOOD)

    assert outcome(service.wait_for_rollback()) == ("Abandoned", "TargetMoved"), service.told()
    eventually(lambda: history(service).get(4) == NONE, "nothing is said of the new release")
    assert history(service)[3] == said
    assert not annotation(service)


@pytest.mark.extended
def test_what_a_pipeline_says_of_the_release_that_follows_stands(service: Service) -> None:
    service.prepare()
    service.change(minReadySeconds=12)
    service.roll_out("v2", BAD)
    wait_for_undo(service)

    template = service.template("v3")
    service.flow("v3", GOOD)
    body = {"metadata": {"annotations": {CAUSE: "v3: mended"}}, "spec": {"template": template}}
    service.stand.api.merge(service.path, body)

    assert outcome(service.wait_for_rollback()) == ("Abandoned", "TargetMoved"), service.told()
    eventually(lambda: history(service).get(4) == "v3: mended", "the new release has its cause")
    assert annotation(service) == "v3: mended"


@pytest.mark.extended
def test_a_pinned_image_is_told_and_more_replicas_are_not(
    service: Service, operator: RunningOperator
) -> None:
    hotfix = {"type": "PinImage", "container": "shop", "image": f"{REPOSITORY}:hotfix"}
    service.prepare(remedies=[hotfix])

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    said = "rollback-operator: image of container shop pinned in place of revision 2 (P1), Rollback"
    assert history(service)[3] == f"{said} {rollback['metadata']['name']}"
    eventually(lambda: annotation(service) is None, "nothing is left on the Deployment")


@pytest.mark.extended
def test_what_kubectl_puts_back_with_an_undo_of_its_own_goes_again(service: Service) -> None:
    service.prepare()
    service.roll_out("v2", BAD)
    assert outcome(service.wait_for_rollback()) == ("Verified", "Recovered"), service.told()
    said = undo_of(service)
    eventually(lambda: annotation(service) is None, "nothing is left on the Deployment")
    service.roll_out("v3", GOOD)
    service.wait_for_rollout()

    where = ("-n", service.namespace, f"deployment/{service.name}")
    service.stand.cluster.kubectl("rollout", "undo", *where, "--to-revision=3")

    service.wait_for_rollout()
    eventually(lambda: annotation(service) is None, "nothing is left on the Deployment")
    assert history(service)[5] == said
