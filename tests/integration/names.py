"""Names that lead elsewhere, in every field that names something; unusual ones that are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.integration.manifests import REVISION, Manifest, by_hand, policy, rollback

TRAVERSAL = "../../victim/secrets/payments"
ATTACKS = (TRAVERSAL, "..", "a\nb", "")
LONGEST = ".".join(["a" * 63] * 3 + ["a" * 61])

Make = Callable[[str], Manifest]


def _channel(**fields: Any) -> Manifest:
    return policy(notify=[{"name": "a", **fields}])


def _slack(name: str, key: str) -> Manifest:
    return _channel(type="Slack", secretRef={"name": name, "key": key})


def _mail(host: str) -> Manifest:
    mail = {"host": host, "from": "a@b.example", "to": ["c@d.example"]}
    return _channel(type="SMTP", mail=mail)


def _flag(name: str, key: str) -> Manifest:
    flag = {"name": key, "value": "off", "configMapRef": {"name": name}}
    return policy(remedies=[{"type": "DisableFlag", "flag": flag}])


def _variable(container: str) -> Manifest:
    flag = {"name": "A", "value": "off", "env": {"container": container}}
    return policy(remedies=[{"type": "DisableFlag", "flag": flag}])


_CONFIG_MAP = {"name": "a", "uid": "u", "digest": "b", "previousDigest": "c"}


def _pin(container: str, image: str) -> Manifest:
    return policy(remedies=[{"type": "PinImage", "container": container, "image": image}])


def _asked(name: str) -> Manifest:
    found = by_hand("asked")
    found["spec"]["policyRef"]["name"] = name
    return found


def _seen(name: str) -> Manifest:
    found = by_hand("asked")
    found["spec"]["seen"] = {"deployment": name}
    return found


def _probe(name: str) -> Manifest:
    probe = {"name": "a", "url": "http://a.example", "headersSecretRef": {"name": name}}
    return policy(verification={"http": [probe]})


def _database(name: str, key: str) -> Manifest:
    return policy(database={"connectionSecretRef": {"name": name, "key": key}})


FIELDS: Mapping[str, Make] = {
    "spec.targetRef.name": lambda one: policy(targetRef={"name": one}),
    "spec.prometheus.bearerTokenSecretRef.name": lambda one: policy(
        prometheus={"bearerTokenSecretRef": {"name": one, "key": "a"}}
    ),
    "spec.prometheus.bearerTokenSecretRef.key": lambda one: policy(
        prometheus={"bearerTokenSecretRef": {"name": "a", "key": one}}
    ),
    "spec.prometheus.basicAuthSecretRef.name": lambda one: policy(
        prometheus={"basicAuthSecretRef": {"name": one}}
    ),
    "spec.prometheus.caSecretRef.name": lambda one: policy(
        prometheus={"caSecretRef": {"name": one, "key": "a"}}
    ),
    "spec.notify[0].secretRef.name": lambda one: _slack(one, "a"),
    "spec.notify[0].secretRef.key": lambda one: _slack("a", one),
    "spec.notify[0].urlSecretRef.name": lambda one: _channel(
        type="Webhook", urlSecretRef={"name": one, "key": "a"}
    ),
    "spec.notify[0].mail.host": _mail,
    "spec.remedies[0].flag.configMapRef.name": lambda one: _flag(one, "a"),
    "spec.remedies[0].flag.name": lambda one: _flag("a", one),
    "spec.remedies[0].flag.env.container": _variable,
    "spec.remedies[0].restore[0]": lambda one: policy(
        remedies=[{"type": "Undo", "to": "Previous", "restore": [one]}]
    ),
    "spec.configMaps[0].name": lambda one: rollback(configMaps=[{**_CONFIG_MAP, "name": one}]),
    "spec.remedies[0].container": lambda one: _pin(one, "shop:v1"),
    "spec.database.connectionSecretRef.name": lambda one: _database(one, "a"),
    "spec.database.connectionSecretRef.key": lambda one: _database("a", one),
    "spec.verification.http[0].headersSecretRef.name": _probe,
    "spec.verification.logs.container": lambda one: policy(
        verification={"logs": {"pattern": "a", "container": one}}
    ),
    "spec.policyRef.name": _asked,
    "spec.seen.deployment": _seen,
    "spec.policyRef.uid": lambda one: rollback(policyRef={"name": "a", "uid": one}),
    "spec.targetRef.uid": lambda one: rollback(targetRef={"name": "a", "uid": one}),
    "spec.autoscaler.name": lambda one: rollback(
        remedy={"type": "Scale", "replicas": 3},
        autoscaler={"name": one, "uid": "a", "restoreAfterSeconds": 1},
    ),
}
"""Where another form is refused, an empty text too."""
OPTIONAL: Mapping[str, Make] = {
    "spec.toRevision.replicaSet": lambda one: rollback(toRevision={**REVISION, "replicaSet": one}),
    "spec.toRevision.replicaSetUid": lambda one: rollback(
        toRevision={**REVISION, "replicaSetUid": one}
    ),
    "spec.fromRevision.templateHash": lambda one: rollback(
        fromRevision={**REVISION, "templateHash": one}
    ),
    "spec.fromRevision.digest": lambda one: rollback(fromRevision={**REVISION, "digest": one}),
    "spec.owner.name": lambda one: rollback(
        owner={"tool": "Argo CD", "name": one, "response": "Proceed"}
    ),
    "spec.owner.namespace": lambda one: rollback(
        owner={"tool": "Argo CD", "namespace": one, "response": "Proceed"}
    ),
}
"""Where an empty text means that there is none."""
LINES: Mapping[str, Make] = {
    "spec.signals.purchaseRoutes[0]": lambda one: policy(signals={"purchaseRoutes": [one]}),
    "spec.signals.excludeRoutes[0]": lambda one: policy(signals={"excludeRoutes": [one]}),
    "spec.remedies[0].image": lambda one: _pin("shop", one),
}
"""Where `/` and `..` are right, and a second line is not."""
UNUSUAL: Mapping[str, Manifest] = {
    "the longest name": policy(targetRef={"name": LONGEST}),
    "a Secret with dots": policy(
        prometheus={"bearerTokenSecretRef": {"name": "a.b-c.0", "key": "a"}}
    ),
    "a key with dots": _slack("a", ".tls..crt_A"),
    "the longest key": _flag("a", "k" * 253),
    "the longest container": _pin("c" * 63, "[::1]:5000/team/shop:v1@sha256:" + "a" * 64),
    "an IPv6 mail host": _mail("fd00::1"),
    "any route": policy(signals={"purchaseRoutes": ["/a/../b?c=%2F", "GET /käufe/{id}"]}),
    "names found in the cluster": rollback(
        fromRevision={**REVISION, "templateHash": "A_b.c", "images": ["UPPER//odd image"]},
        toRevision={**REVISION, "replicaSet": LONGEST, "replicaSetUid": ""},
    ),
}
