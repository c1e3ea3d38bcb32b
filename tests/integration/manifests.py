"""Policies and rollbacks for the API server: least ones that it takes, and ones that it refuses."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

API_VERSION = "rollback.tickettoken.io/v1alpha1"
NAMESPACE = "production"
REVISION = {"number": 7, "templateHash": "6d5f9c", "digest": "a" * 64, "release": "b" * 64}
FLAG = {"name": "FEATURE_NEW_CHECKOUT", "value": "false", "configMapRef": {"name": "shop-config"}}

Manifest = dict[str, Any]


def policy(**spec: Any) -> Manifest:
    required = {"targetRef": {"kind": "Deployment", "name": "ticket-service"}, "mode": "Enforce"}
    return _manifest("RollbackPolicy", {**required, **spec})


def rollback(**spec: Any) -> Manifest:
    required = {
        "policyRef": {"name": "ticket-service", "uid": "11111111-2222"},
        "targetRef": {"kind": "Deployment", "name": "ticket-service", "uid": "33333333-4444"},
        "mode": "Enforce",
        "severity": "P1",
        "remedy": {"type": "Undo", "to": "LastKnownGood"},
        "fromRevision": REVISION,
        "toRevision": {**REVISION, "number": 6, "health": "Good"},
        "trigger": {
            "reason": "ErrorRateAboveControl",
            "message": "240 of 240 requests of revision 7 failed",
            "decidedTime": "2030-01-01T00:00:00Z",
        },
    }
    return _manifest("Rollback", {**required, **spec})


def by_hand(name: str) -> Manifest:
    spec = {
        "policyRef": {"name": "ticket-service"},
        "remedy": {"type": "Undo", "to": "Previous"},
        "reason": "customers call",
        "seen": {"deployment": "ticket-service", "revision": 7, "digest": REVISION["digest"]},
    }
    made = _manifest("Rollback", spec)
    made["metadata"]["name"] = name
    return made


def _manifest(kind: str, spec: Mapping[str, Any]) -> Manifest:
    metadata = {"name": "ticket-service", "namespace": NAMESPACE}
    content = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return copy.deepcopy(content)


def when(*conditions: Mapping[str, Any], severity: str = "P2") -> list[Manifest]:
    return [{"severity": severity, "when": list(conditions), "response": "Rollback"}]


def errors(**threshold: str) -> Manifest:
    return {"signal": "ErrorRate", **threshold}


P1 = when(errors(atLeast="0.9"), severity="P1")
P2 = when(errors(above="0.05"))

WRONG: Mapping[str, tuple[Manifest, str]] = {
    "kind StatefulSet": (
        policy(targetRef={"kind": "StatefulSet", "name": "x"}),
        r'spec\.targetRef\.kind: Unsupported value: "StatefulSet".*"Deployment"',
    ),
    "no target": (policy(targetRef={}), r"spec\.targetRef\.name: Required value"),
    "target's name too long": (
        policy(targetRef={"name": "x" * 254}),
        r"spec\.targetRef\.name: Too long",
    ),
    "unknown mode": (policy(mode="Dryrun"), r'spec\.mode: Unsupported value: "Dryrun"'),
    "no mode": (policy(mode=None), r"spec\.mode: Required value"),
    "misspelt field": (policy(saftey={}), r'unknown field "spec\.saftey"'),
    "misspelt field within": (
        policy(safety={"watchSecond": 60}),
        r'unknown field "spec\.safety\.watchSecond"',
    ),
    "number as text": (
        policy(safety={"watchSeconds": "3600"}),
        r"spec\.safety\.watchSeconds: Invalid value: .*must be of type integer",
    ),
    "rate as a number": (
        policy(matrix=when({"signal": "ErrorRate", "above": 0.05})),
        r"spec\.matrix\[0\]\.when\[0\]\.above: Invalid value: .*must be of type string",
    ),
    "above more than 1": (
        policy(matrix=when(errors(above="1.5"))),
        r"spec\.matrix\[0\]\.when\[0\]\.above: Invalid value",
    ),
    "above 1": (
        policy(matrix=when(errors(above="1"))),
        r"spec\.matrix\[0\]\.when\[0\]\.above: .*cannot match",
    ),
    "a body without a method, which is GET": (
        policy(verification={"http": [{"name": "a", "url": "http://a.b/", "body": "{}"}]}),
        r"spec\.verification\.http\[0\]\.body: .*body requires a method other than GET and HEAD",
    ),
    "two logins": (
        policy(
            prometheus={
                "bearerTokenSecretRef": {"name": "a", "key": "token"},
                "basicAuthSecretRef": {"name": "a"},
            }
        ),
        r"spec\.prometheus\.basicAuthSecretRef: .*set only one of bearerTokenSecretRef",
    ),
    "a tenant that is a path": (
        policy(prometheus={"tenant": "../all"}),
        r"spec\.prometheus\.tenant: Invalid value",
    ),
    "at least 0": (
        policy(matrix=when(errors(atLeast="0.000"))),
        r"spec\.matrix\[0\]\.when\[0\]\.atLeast: .*every release",
    ),
    "percent": (
        policy(matrix=when(errors(above="5%"))),
        r"spec\.matrix\[0\]\.when\[0\]\.above: Invalid value",
    ),
    "ErrorRate without a threshold": (
        policy(matrix=when(errors())),
        r"spec\.matrix\[0\]\.when\[0\]: .*exactly one of above and atLeast",
    ),
    "both thresholds": (
        policy(matrix=when(errors(above="0.1", atLeast="0.2"))),
        r"spec\.matrix\[0\]\.when\[0\]: .*exactly one of above and atLeast",
    ),
    "threshold on Unavailable": (
        policy(matrix=when({"signal": "Unavailable", "above": "0.5"})),
        r"spec\.matrix\[0\]\.when\[0\]: .*Probe and Integrity do not accept above or atLeast",
    ),
    "routes on StuckRollout": (
        policy(matrix=when({"signal": "StuckRollout", "routes": "Purchase"})),
        r"spec\.matrix\[0\]\.when\[0\]: .*routes is allowed only for ErrorRate",
    ),
    "recording rule as a counter": (
        policy(signals={"requests": {"metric": "job:http_requests:rate5m"}}),
        r"spec\.signals\.requests\.metric: .*not a recording rule",
    ),
    "errors that are all requests": (
        policy(signals={"requests": {"metric": "x_total"}, "errors": {"metric": "x_total"}}),
        r"spec\.signals\.errors: .*must not select the same series",
    ),
    "errors with the matchers of requests": (
        policy(
            signals={
                name: {"metric": "x_total", "matchers": {"team": "a"}}
                for name in ("requests", "errors")
            }
        ),
        r"spec\.signals\.errors: .*must not select the same series",
    ),
    "errors with no matchers, written out": (
        policy(
            signals={
                "requests": {"metric": "x_total"},
                "errors": {"metric": "x_total", "matchers": {}},
            }
        ),
        r"spec\.signals\.errors: .*must not select the same series",
    ),
    "errors that are the default's requests": (
        policy(signals={"errors": {"metric": "http_request_duration_seconds_count"}}),
        r"spec\.signals\.errors: .*must not select the same series",
    ),
    "no label name": (
        policy(signals={"requests": {"metric": "x_total", "matchers": {"a b": "c"}}}),
        r"spec\.signals\.requests\.matchers: .*label names must contain only",
    ),
    "unknown signal": (
        policy(matrix=when({"signal": "Slowness"})),
        r'spec\.matrix\[0\]\.when\[0\]\.signal: Unsupported value: "Slowness"',
    ),
    "Latency without a threshold": (
        policy(matrix=when({"signal": "Latency"})),
        r"spec\.matrix\[0\]\.when\[0\]: .*MemoryGrowth require above",
    ),
    "times on an error rate": (
        policy(matrix=when({"signal": "ErrorRate", "above": "0.1", "times": 2})),
        r"spec\.matrix\[0\]\.when\[0\]\.times: .*are allowed only for Query",
    ),
    "looks below the default of times": (
        policy(matrix=when({"signal": "Query", "query": "up", "above": "1", "looks": 2})),
        r"spec\.matrix\[0\]\.when\[0\]\.times: .*times must be at most looks",
    ),
    "severities not in order": (
        policy(matrix=[*P2, *P1]),
        r"spec\.matrix: .*from the worst severity to the mildest",
    ),
    "severity twice": (policy(matrix=[*P1, *P1]), r"spec\.matrix\[1\]: Duplicate value"),
    "empty matrix": (policy(matrix=[]), r"spec\.matrix: Invalid value: .*at least 1 items"),
    "rule without symptoms": (
        policy(matrix=[{"severity": "P1", "when": [], "response": "Report"}]),
        r"spec\.matrix\[0\]\.when: Invalid value: .*at least 1 items",
    ),
    "negative seconds": (
        policy(matrix=[{**P1[0], "withinSeconds": -1}]),
        r"spec\.matrix\[0\]\.withinSeconds: Invalid value: -1",
    ),
    "watch too short": (
        policy(safety={"watchSeconds": 5}),
        r"spec\.safety\.watchSeconds: Invalid value: 5",
    ),
    "good after the watch": (
        policy(safety={"goodAfterSeconds": 1200, "watchSeconds": 600}),
        r"spec\.safety\.goodAfterSeconds: .*at most watchSeconds",
    ),
    "good by default after the watch": (
        policy(safety={"watchSeconds": 300}),
        r"spec\.safety\.goodAfterSeconds: .*at most watchSeconds",
    ),
    "no remedy": (policy(remedies=[]), r"spec\.remedies: Invalid value: .*at least 1 items"),
    "undo without to": (
        policy(remedies=[{"type": "Undo"}]),
        r"spec\.remedies\[0\]: .*to is required for type Undo",
    ),
    "image pin without container": (
        policy(remedies=[{"type": "PinImage", "image": "a:b"}]),
        r"spec\.remedies\[0\]: .*container and image are required for type PinImage",
    ),
    "undo with an image": (
        policy(remedies=[{"type": "Undo", "to": "Previous", "container": "a", "image": "a:b"}]),
        r"spec\.remedies\[0\]: .*container and image are required for type PinImage",
    ),
    "revision without to Revision": (
        policy(remedies=[{"type": "Undo", "to": "Previous", "revision": 5}]),
        r"spec\.remedies\[0\]: .*revision is required for 'to: Revision'",
    ),
    "to Revision without revision": (
        policy(remedies=[{"type": "Undo", "to": "Revision"}]),
        r"spec\.remedies\[0\]: .*revision is required for 'to: Revision'",
    ),
    "scale without replicas": (
        policy(remedies=[{"type": "Scale"}]),
        r"spec\.remedies\[0\]: .*replicas is required for type Scale",
    ),
    "a flag of nothing": (
        policy(remedies=[{"type": "DisableFlag"}]),
        r"spec\.remedies\[0\]: .*flag is required for type DisableFlag",
    ),
    "an undo with a flag": (
        policy(remedies=[{"type": "Undo", "to": "Previous", "flag": FLAG}]),
        r"spec\.remedies\[0\]: .*flag is required for type DisableFlag",
    ),
    "a flag that is nowhere": (
        policy(remedies=[{"type": "DisableFlag", "flag": {"name": "A", "value": "false"}}]),
        r"spec\.remedies\[0\]\.flag: .*set either configMapRef or env",
    ),
    "a flag that is no key": (
        policy(remedies=[{"type": "DisableFlag", "flag": {**FLAG, "name": "a/b"}}]),
        r"spec\.remedies\[0\]\.flag\.name: Invalid value",
    ),
    "scale to less than nothing": (
        policy(remedies=[{"type": "Scale", "replicas": -1}]),
        r"spec\.remedies\[0\]\.replicas: Invalid value: -1",
    ),
    "label name with a dash": (
        policy(signals={"errors": {"metric": "errors_total", "matchers": {"my-label": "x"}}}),
        r"spec\.signals\.errors\.matchers: .*letters, digits, '_', '\.' and '/'",
    ),
    "label's value too long": (
        policy(signals={"errors": {"metric": "errors_total", "matchers": {"a": "x" * 257}}}),
        r"spec\.signals\.errors\.matchers\.a: Too long",
    ),
    "query in place of a metric": (
        policy(signals={"errors": {"metric": "sum(errors_total)"}}),
        r"spec\.signals\.errors\.metric: Invalid value",
    ),
    "address with a password": (
        policy(prometheus={"url": "http://a:b@prometheus"}),
        r"spec\.prometheus\.url: Invalid value",
    ),
    "route twice": (
        policy(signals={"purchaseRoutes": ["/a", "/a"]}),
        r"spec\.signals\.purchaseRoutes\[1\]: Duplicate value",
    ),
    "rollback without a reason": (
        rollback(trigger={"message": "x", "decidedTime": "2030-01-01T00:00:00Z"}),
        r"spec\.trigger\.reason: Required value",
    ),
    "rollback at no time": (
        rollback(trigger={"reason": "x", "message": "x", "decidedTime": "now"}),
        r"spec\.trigger\.decidedTime: Invalid value",
    ),
    "rollback of severity None": (rollback(severity="None"), r"spec\.severity: Unsupported value"),
}
"""What is wrong, and what the refusal must say: the field first."""
