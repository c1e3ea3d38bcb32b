"""No message of the agent speaks of a cluster, and its commands work as printed."""

from __future__ import annotations

import logging

import pytest

from rollback_operator.cli.compose.words import ComposeWords, WordedLog
from rollback_operator.model import commands

WORDS = ComposeWords("rollback-operator compose -f c.yml", "docker compose -f c.yml")


@pytest.mark.parametrize(
    ("text", "reworded"),
    [
        (
            commands.undo("shop", "proj", "previous"),
            "rollback-operator compose -f c.yml undo --to previous --reason TEXT",
        ),
        (
            "decide: kubectl rollback explain shop-1 -n proj",
            "decide: rollback-operator compose -f c.yml explain shop-1",
        ),
        (
            "kubectl rollback approve shop-1 -n proj --reason '...'",
            "rollback-operator compose -f c.yml approve shop-1 --reason '...'",
        ),
        ("kubectl describe rollback shop-1 -n p",
         "rollback-operator compose -f c.yml explain shop-1"),
        (
            "kubectl logs deployment/shop -n p --since=10m --tail=100",
            "docker compose -f c.yml logs --since 10m --tail 100 shop",
        ),
        ("kubectl rollout status deployment/shop -n p", "docker compose -f c.yml ps shop"),
        ("kubectl rollout history deployment/shop -n p",
         "rollback-operator compose -f c.yml history"),
        ("service pod-api of /srv/pods/x.yml", "service pod-api of /srv/pods/x.yml"),
        ("the Deployment has no ReplicaSet", "the service has no record"),
        ("one replica: a bad pod", "one container: a bad container"),
        ("no pod in sum by (pod) (up{namespace=\"\", pod=~\"a\"})",
         "no container in sum by (pod) (up{namespace=\"\", pod=~\"a\"})"),
        ("one replica: no other pod", "one container: no other container"),
        ("1 of 1 replicas are available, and no old pod is left",
         "1 of 1 containers are available, and no old container is left"),
    ],
)  # fmt: skip
def test_texts(text: str, reworded: str) -> None:
    assert WORDS.text(text) == reworded


def test_long_texts_are_bounded() -> None:
    assert len(WORDS.text("kubectl rollback undo " * 100_000)) <= 64 * 1024


def test_the_log_too() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "the serving %s", ("pods",), None)
    assert WordedLog(WORDS).format(record).endswith("INFO the serving containers")
