"""Objects that are nested as deep as the API server admits them end nobody's operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.api import eventually, policies
from tests.integration.operator_process import InstalledOperator, Options
from tests.integration.stand import Stand

pytestmark = [pytest.mark.xdist_group("nested"), pytest.mark.timeout(1200)]

DEEP = 5_000


def create_nested(stand: Stand, namespace: str, name: str) -> None:
    """Create a small Deployment whose managedFields are nested 5,000 deep.

    Written as text: Python's own encoder goes no deeper than 1,000.
    """
    fields = '{"f:a":' * DEEP + "{}" + "}" * DEEP
    owned = (
        '{"manager": "deep", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": '
        '"FieldsV1", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:metadata": '
        '{"f:annotations": ' + fields + "}}}"
    )
    labels = '{"app": "' + name + '"}'
    body = (
        '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "'
        + name
        + '", "managedFields": ['
        + owned
        + ']}, "spec": {"replicas": 0, "selector": {"matchLabels": '
        + labels
        + '}, "template": {"metadata": {"labels": '
        + labels
        + '}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}}}'
    )
    answer = stand.api._session.post(
        f"{stand.api.server}/apis/apps/v1/namespaces/{namespace}/deployments",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text[:300]
    assert answer.text.count('"f:a"') >= DEEP  # it is kept


def test_a_nested_deployment_ends_no_operator_at_its_start_nor_later(
    stand: Stand, tmp_path: Path
) -> None:
    namespace = stand.namespace("nested")
    create_nested(stand, namespace, "before")
    options = Options(stand.cluster.kubeconfig, stand.prometheus.url)
    operator = InstalledOperator(options, tmp_path / "operator.log")
    try:
        operator.wait_until_ready(120.0)
        create_nested(stand, namespace, "later")
        watched = {
            "apiVersion": "rollback.tickettoken.io/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": "later"},
            "spec": {"targetRef": {"name": "later"}, "mode": "Observe"},
        }
        stand.api.create(policies(namespace), watched)
        eventually(
            lambda: "status" in stand.api.get(f"{policies(namespace)}/later"),
            "the policy on it is looked at",
            120.0,
        )
        assert operator.is_running(), operator.tail()
        assert operator.end() == 0, operator.tail()
    finally:
        operator.kill()
