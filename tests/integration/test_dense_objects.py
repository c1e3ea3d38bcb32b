"""An object of one tenant that takes too much memory to read stops nobody else."""

from __future__ import annotations

import itertools
import json
import string
from pathlib import Path

import pytest

from tests.integration.api import eventually, policies
from tests.integration.operator_process import InstalledOperator, Options
from tests.integration.stand import Stand

pytestmark = [pytest.mark.xdist_group("nested"), pytest.mark.timeout(1200)]

LABELS = 62_000
"""With the managedFields of them, 1.4 MB of JSON and 28 MiB of memory."""


def body(name: str, labels: int) -> dict[str, object]:
    letters = string.ascii_lowercase + string.digits
    keys = itertools.islice(map("".join, itertools.product(letters, repeat=4)), labels)
    return {
        "apiVersion": "rollback.tickettoken.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": name, "labels": dict.fromkeys(keys, "")},
        "spec": {"targetRef": {"name": f"absent-{name}"}, "mode": "Observe"},
    }


def test_a_dense_policy_keeps_no_operator_from_its_start_nor_from_the_others(
    stand: Stand, tmp_path: Path
) -> None:
    tenant, other = stand.namespace("dense"), stand.namespace("beside-dense")
    stand.api.create(policies(tenant), body("dense", LABELS))
    stand.api.create(policies(other), body("shop", 0))
    options = Options(stand.cluster.kubeconfig, stand.prometheus.url)
    operator = InstalledOperator(options, tmp_path / "operator.log")

    def reported(namespace: str, name: str, reason: str) -> bool:
        known = stand.api.get(f"{policies(namespace)}/{name}").get("status")
        return reason in json.dumps(known)

    try:
        operator.wait_until_ready(300.0)
        eventually(lambda: reported(other, "shop", "TargetNotFound"), "the other is served", 120.0)
        stand.api.create(policies(tenant), body("later", 0))
        eventually(lambda: reported(tenant, "later", "TargetNotFound"), "it is known", 120.0)
        dense = {"metadata": body("later", LABELS)["metadata"]}
        stand.api.merge(f"{policies(tenant)}/later", dense)
        eventually(lambda: reported(tenant, "later", "takes more than"), "it is unreadable", 120.0)
        assert operator.end() == 0, operator.tail()
    finally:
        operator.kill()
        for name in ("dense", "later"):
            if stand.api.find(f"{policies(tenant)}/{name}") is not None:
                stand.api.delete(f"{policies(tenant)}/{name}")
