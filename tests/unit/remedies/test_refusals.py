"""Who refused a write, and what a person does about it."""

from __future__ import annotations

import pytest

from rollback_operator.api.v1alpha1 import StepName
from rollback_operator.remedies.refusals import refused_by, refused_step
from tests.builders import make_rollback

RBAC = (
    'PATCH /apis/apps/v1/namespaces/production/deployments/shop: 403 Forbidden deployments.apps "'
    'shop" is forbidden: User "system:serviceaccount:rollback-operator:rollback-operator" cannot '
    'patch resource "deployments" in API group "apps" in the namespace "production"'
)
FENCE = (
    'PATCH /x: 422 Invalid deployments.apps "shop" is forbidden: ValidatingAdmissionPolicy '
    "'rollback-operator-fence' with binding 'rollback-operator-fence' denied request: no"
)
WEBHOOK = 'PATCH /x: 403 Forbidden admission webhook "policy.example.com" denied the request: no'


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RBAC, "the operator may not patch Deployment shop"),
        (FENCE, "the admission policy rollback-operator-fence does not allow the change of"),
        (WEBHOOK, "the admission webhook policy.example.com does not allow the change of"),
        ("403 exceeded quota: q", "a quota does not allow the change of Deployment shop"),
        ("400 Bad Request", "the API server does not allow the change of Deployment shop"),
    ],
)
def test_who_refused_is_stated(answer: str, said: str) -> None:
    assert refused_by(answer, "Deployment shop").startswith(said)


def test_a_refused_undo_names_the_release_that_runs_and_a_way_without_the_operator() -> None:
    rollback = make_rollback()
    spec = rollback.spec
    assert spec.to_revision is not None

    message = refused_step(rollback, StepName.UNDO, RBAC)

    name = spec.target_ref.name
    assert message.startswith(
        f"the undo was refused: the operator may not patch Deployment {name}. "
        f"Revision {spec.from_revision.number} still runs. Roll back by kubectl rollout undo "
        f"deployment/{name} -n production --to-revision={spec.to_revision.number}. "
    )
    assert message.endswith(RBAC)
    strategy = refused_step(rollback, StepName.RESTORE_STRATEGY, RBAC)
    assert "still runs" not in strategy
