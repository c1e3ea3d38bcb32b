"""The operator is killed at each write by which an owner is suspended and released again.

Whatever the moment: suspended before the undo, once; released as it was, once; nothing of what it
was is lost, and the undo stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gitops.controller import AUTOMATED, ArgoCD
from tests.integration.api import eventually
from tests.integration.operator_process import Zygote
from tests.integration.service import REPOSITORY
from tests.integration.stand import PATHS, Stand, rights
from tests.integration.test_crash_walk import UNDO, Walk, side_by_side
from tests.integration.test_gitops import SUSPENDED_BY, condition, install, steering
from tests.integration.traffic import BAD
from tests.integration.writes import BY_CUTTING, Cutting, kind

pytestmark = [pytest.mark.xdist_group("gitops"), pytest.mark.timeout(1200)]

CUTS = (
    ("rollbacks/status: SuspendOwner begun", 1),
    ("rollbacks/status: SuspendOwner begun", 2),
    ("rollbacks: guarded", 1),
    ("applications: suspended", 1),
    ("rollbacks/status: SuspendOwner ended", 1),
    ("deployments: template", 1),
    ("rollbacks/status: over", 1),
    ("rollbacks/status: over", 2),
    ("applications: released", 1),
    ("rollbacks/status: over", 3),
)


@dataclass
class OwnedWalk(Walk):
    """One release that an Application has brought, and that is taken back for good in Git."""

    seconds: float = 240.0

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        namespace = self.service.namespace
        grant(self.stand, namespace)
        self.flags = (f"--argo-cd-namespace={namespace}",)
        own = {"home": namespace, "installed": namespace}
        with ArgoCD(**steering(self.service), **own) as self.argo_cd:
            eventually(lambda: self.argo_cd.applied, "it is applied")
            self.service.wait_for_rollout()
            yield

    def adopt(self) -> None:
        self.service.adopt(remedies=[self.remedy], safety={"gitOps": "Suspend"})

    def release(self) -> None:
        self.service.flow("v2", BAD)
        self.argo_cd.commit(f"{REPOSITORY}:v2")

    def is_over(self) -> bool:
        if not super().is_over():
            return False
        # The person on call reverts the release in Git.
        self.argo_cd.commit(f"{REPOSITORY}:v1")
        told = condition(self.service.rollbacks()[-1], "OwnerSuspended")
        return bool(told.get("status") == "False")

    def left_wrong(self) -> Iterator[str]:
        yield from super().left_wrong()
        done = [one for one in self.proxy.calls if one.status == 200 and one.is_write]
        changes = [kind(one) for one in done if one.resource == "applications"]
        if changes != ["applications: suspended", "applications: released"]:
            yield f"changes of the owner: {changes}"
        found = self.argo_cd.object()
        if found["spec"]["syncPolicy"].get("automated") != AUTOMATED:
            yield f"the owner is not as it was: {found['spec']}"
        if SUSPENDED_BY in found["metadata"].get("annotations", {}):
            yield "the owner is still marked"
        told = {one.partition(":")[0] for one in self.service.events()}
        if not {"OwnerSuspended", "OwnerReleased"} <= told:
            yield f"told is only {told}"


def grant(stand: Stand, namespace: str) -> None:
    """Give the operator of a namespace the chart's rights to Applications in it."""
    values: dict[str, Any] = {"argoCD": {"namespaces": [namespace]}, "flux": {"namespaces": []}}
    for one in rights(namespace, watchNamespaces=[namespace], gitOps=values):
        if one["metadata"]["name"].endswith("-argocd"):
            stand.api.create(PATHS[one["kind"]].format(namespace), dict(one))


@BY_CUTTING
@pytest.mark.extended
def test_no_crash_about_an_owner_loses_or_repeats_anything(
    stand: Stand, zygote: Zygote, tmp_path: Path, cutting: Cutting
) -> None:
    install(stand)
    done = side_by_side(
        OwnedWalk(stand, zygote, tmp_path, UNDO, number, is_before, point)
        for point, number, is_before in cutting(CUTS)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []
