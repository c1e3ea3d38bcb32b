"""Can a policy do its work? Each obstacle by its reason, and in words that help."""

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import GitOps, OwnerKind
from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    MatrixRule,
    Mode,
    PrometheusSpec,
    SafetySpec,
)
from rollback_operator.api.verification import HttpProbe, VerificationSpec
from rollback_operator.model.controllers import Owner, OwnerObject
from rollback_operator.report.readiness import Around, readiness
from tests.builders import make_deployment, make_policy

HIDDEN = [
    MatrixRule(
        severity=severity,
        when=[MatrixCondition(signal="ErrorRate", above=above)],
        response="Rollback",
    )
    for severity, above in (("P1", "0.1"), ("P2", "0.5"))
]
PROBING = [
    MatrixRule(
        severity="P1",
        when=[
            MatrixCondition(signal="Probe", name="buy"),
            MatrixCondition(signal="Probe", name="list"),
        ],
        response="Rollback",
    )
]
BUY, LIST = (
    HttpProbe(name=name, url=f"http://shop.production.svc/{name}") for name in ("buy", "list")
)
APPLICATION = Owner(
    "Argo CD",
    "label x",
    "roll back in Git",
    object=OwnerObject(OwnerKind.APPLICATION, "", "shop"),
)
ARGO = Owner("Argo CD", "label x", "roll back in Git")
AROUND = Around()

ROWS = {
    "all is well": (make_policy(), make_deployment(), AROUND, True, Reason.WATCHING_TARGET, ""),
    "a probe of the matrix that is not there": (
        make_policy(matrix=PROBING, verification=VerificationSpec(http=[BUY])),
        make_deployment(),
        AROUND,
        False,
        Reason.INVALID_MATRIX,
        "spec.matrix[0].when[1].name: spec.verification.http has no probe list",
    ),
    "all probes of the matrix are there": (
        make_policy(matrix=PROBING, verification=VerificationSpec(http=[BUY, LIST])),
        make_deployment(),
        AROUND,
        True,
        Reason.WATCHING_TARGET,
        "",
    ),
    "credentials that cannot be had": (
        make_policy(),
        make_deployment(),
        Around(credentials_obstacle="spec.prometheus.caSecretRef: there is no Secret x"),
        False,
        Reason.CREDENTIALS_UNAVAILABLE,
        "spec.prometheus.caSecretRef: there is no Secret x",
    ),
    "a probe that may not be sent": (
        make_policy(),
        make_deployment(),
        Around(refused_probes=("buy",)),
        False,
        Reason.PROBE_NOT_ALLOWED,
        "the hosts of buy",
    ),
    "a probe that may not be sent, of a policy at rest": (
        make_policy(suspend=True),
        make_deployment(),
        Around(refused_probes=("buy",)),
        True,
        Reason.SUSPENDED,
        "",
    ),
    "held by the operator itself": (
        make_policy(),
        make_deployment(paused=True, is_held=True),
        AROUND,
        True,
        Reason.WATCHING_TARGET,
        "",
    ),
    "one replica": (
        make_policy(),
        make_deployment(replicas=1),
        AROUND,
        True,
        Reason.SINGLE_REPLICA,
        "bad pod",
    ),
    "Recreate": (
        make_policy(),
        make_deployment(strategy="Recreate"),
        AROUND,
        True,
        Reason.RECREATE_STRATEGY,
        "no old pod",
    ),
    "suspended": (
        make_policy(suspend=True),
        make_deployment(paused=True),
        AROUND,
        True,
        Reason.SUSPENDED,
        "spec.suspend",
    ),
    "a matrix that cannot match": (
        make_policy(matrix=HIDDEN),
        make_deployment(),
        AROUND,
        False,
        Reason.INVALID_MATRIX,
        "spec.matrix[1].when[0]",
    ),
    "an address that is not allowed": (
        make_policy(prometheus=PrometheusSpec(url="http://elsewhere:9090")),
        make_deployment(),
        Around(is_address_allowed=False),
        False,
        Reason.ADDRESS_NOT_ALLOWED,
        "http://elsewhere:9090",
    ),
    "a tenant that may not be named": (
        make_policy(prometheus=PrometheusSpec(tenant="team-bank")),
        make_deployment(),
        Around(is_tenant_allowed=False),
        False,
        Reason.TENANT_NOT_ALLOWED,
        "tenant team-bank",
    ),
    "own queries that are not allowed": (
        make_policy(),
        make_deployment(),
        Around(are_queries_allowed=False),
        False,
        Reason.QUERY_NOT_ALLOWED,
        "spec.prometheus.bearerTokenSecretRef",
    ),
    "an older policy": (
        make_policy(),
        make_deployment(),
        Around(older_policy="first"),
        False,
        Reason.TARGET_ALREADY_WATCHED,
        "first watches",
    ),
    "no target": (make_policy(), None, AROUND, False, Reason.TARGET_NOT_FOUND, "targetRef.name"),
    "paused": (
        make_policy(),
        make_deployment(paused=True),
        AROUND,
        False,
        Reason.TARGET_PAUSED,
        "kubectl rollout resume",
    ),
    "scaled to nothing": (
        make_policy(),
        make_deployment(replicas=0),
        AROUND,
        False,
        Reason.TARGET_SCALED_TO_ZERO,
        "no replicas",
    ),
    "stopped by the operator": (
        make_policy(),
        make_deployment(replicas=0, is_stopped=True),
        AROUND,
        False,
        Reason.TARGET_SCALED_TO_ZERO,
        "kubectl rollout undo deployment/",
    ),
    "no history": (
        make_policy(),
        make_deployment(history_limit=0),
        AROUND,
        False,
        Reason.NO_HISTORY,
        "revisionHistoryLimit",
    ),
    "steered by somebody else": (
        make_policy(),
        make_deployment(owner=ARGO),
        AROUND,
        False,
        Reason.GITOPS_OWNER,
        "roll back in Git",
    ),
    "steered by somebody who cannot be suspended": (
        make_policy(safety=SafetySpec(git_ops=GitOps.SUSPEND)),
        make_deployment(owner=APPLICATION),
        Around(owner_obstacle="forbidden"),
        False,
        Reason.GITOPS_OWNER,
        "is suspended before a rollback (spec.safety.gitOps), but cannot be: forbidden. It is read "
        "again before each rollback, which is Blocked if that is still so",
    ),
    "steered by somebody else, and only observed": (
        make_policy(mode=Mode.OBSERVE),
        make_deployment(owner=ARGO),
        AROUND,
        True,
        Reason.WATCHING_TARGET,
        "",
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_readiness(row) -> None:
    *arguments, is_ready, reason, said = row
    found = readiness(*arguments)
    assert (found.type, found.status) == ("Ready", str(is_ready))
    assert found.reason == reason
    assert said in found.message
