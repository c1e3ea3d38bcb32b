"""A policy for a Compose service: the cluster's shape, each misfit named with its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.cli.compose.policies import PolicyError, load

MATCHERS = {"requests": {"metric": "r", "matchers": {"job": "shop"}}}


def document(name: str = "shop", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "rollback.tickettoken.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": name},
        "spec": {"targetRef": {"name": name}, "mode": "Enforce", "signals": MATCHERS, **spec},
    }


def write(tmp_path: Path, *documents: dict[str, Any]) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("\n---\n".join(json.dumps(each) for each in documents))
    return path


def test_defaults_that_mean_a_cluster_are_replaced(tmp_path: Path) -> None:
    ((policy, place),) = load(write(tmp_path, document()), "my_shop", None)
    assert policy.key == ("my-shop", "shop")
    assert (place.namespace, place.name, place.service) == ("my-shop", "shop", "shop")
    signals = policy.spec.signals
    assert signals.labels.pod == "instance"
    assert signals.errors.matchers == signals.latency.matchers == {"job": "shop"}
    assert policy.spec.safety.express == []
    assert not policy.spec.safety.pause_on_suspicion


def test_a_service_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    ((policy, place),) = load(write(tmp_path, document()), "shop", "Ticket_Service")
    assert (policy.spec.target_ref.name, place.service) == ("shop", "Ticket_Service")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"remedies": [{"type": "Scale", "replicas": 4}]}, "spec.remedies[0].type: Scale"),
        ({"stage": {"maxSeconds": 60}}, "spec.stage.maxSeconds"),
        ({"signals": {}}, "spec.signals.requests.matchers"),
        ({"mode": "Sometimes"}, "spec.mode"),
        ({"modus": "Enforce"}, "spec.modus: there is no such field"),
        ({"targetRef": {"name": "Shop_1"}}, "spec.targetRef.name"),
    ],
)
def test_misfits(tmp_path: Path, spec: dict[str, Any], said: str) -> None:
    path = write(tmp_path, document(**spec))
    with pytest.raises(PolicyError) as raised:
        load(path, "shop", None)
    assert f"{path}: {said}" in str(raised.value)


def test_a_policy_for_each_service(tmp_path: Path) -> None:
    path = write(tmp_path, document(), document("cart"))
    assert [place.service for _, place in load(path, "shop", None)] == ["shop", "cart"]
    with pytest.raises(PolicyError, match="--service"):
        load(path, "shop", "shop")
    with pytest.raises(PolicyError, match="two policies watch service shop"):
        load(write(tmp_path, document(), document()), "shop", None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        load(tmp_path / "none.yaml", "shop", None)
