"""Manifests that the API server takes and that have each field of both CRDs at least once."""

from __future__ import annotations

from typing import Any

from tests.hostile.fields import Manifest

API_VERSION = "rollback.tickettoken.io/v1alpha1"
PERSON = "tess"
"""Who writes policies, and says so where a policy holds a name."""
SECRET = {"name": "own", "key": "token"}
FLAG = {"name": "FEATURE", "value": "false", "configMapRef": {"name": "flags"}}
VARIABLE = {"name": "FEATURE", "value": "false", "env": {"container": "shop"}}
PROBE = {
    "name": "reserve",
    "url": "http://shop.tenant.svc/reserve",
    "method": "POST",
    "headersSecretRef": {"name": "own"},
    "body": "{}",
    "expectStatus": [200, 201],
    "expectJson": {"path": "items[0].state", "value": "ok"},
    "timeoutSeconds": 1,
}
LOGS = {"pattern": "ERROR|FATAL", "sinceSeconds": 60, "atMost": 10, "container": "shop"}
VERIFICATION = {"timeoutSeconds": 10, "http": [PROBE], "logs": LOGS}
MATRIX = [
    {
        "severity": "P1",
        "when": [
            {"signal": "ErrorRate", "atLeast": "0.9", "routes": "Purchase"},
            {"signal": "ErrorRate", "above": "0.5"},
            {"signal": "Unavailable"},
            {"signal": "Probe", "name": "reserve"},
            {"signal": "Integrity", "name": "invalid-tickets"},
        ],
        "response": "Rollback",
        "withinSeconds": 60,
    },
    {
        "severity": "P3",
        "when": [
            {"signal": "LatencyRatio", "above": "2.0"},
            {
                "signal": "Query",
                "name": "queue",
                "query": "vector(0)",
                "above": "5",
                "changeAbove": "1",
                "times": 2,
                "looks": 3,
            },
            {"signal": "Query", "query": "vector(1)", "below": "0.5"},
        ],
        "response": "Investigate",
        "withinSeconds": 3600,
        "onTimeout": "Report",
        "propose": True,
    },
]
EXEC = {"command": ["cat", "/proc/1/smaps_rollup"], "container": "shop", "timeoutSeconds": 1}
COUNTED = {"name": "invalid-tickets", "query": "SELECT 0"}
CHECKED = {
    "integrityChecks": [{**COUNTED, "expect": "0"}],
    "onCorruption": {
        "response": "Proceed",
        "stopTraffic": "Service",
        "service": "shop",
        "assess": [COUNTED],
    },
}
REMEDIES: list[dict[str, Any]] = [
    {"type": "DisableFlag", "severities": ["P2", "P3"], "flag": FLAG},
    {"type": "DisableFlag", "severities": ["P3"], "flag": VARIABLE},
    {"type": "Undo", "to": "Revision", "revision": 1, "restore": ["flags"]},
    {"type": "PinImage", "container": "shop", "image": "registry.example/shop:v1"},
    {"type": "Scale", "replicas": 2},
]
MATCHERS = {"service": "shop", "code": "=~5.."}


def _metric(name: str, **more: str) -> dict[str, Any]:
    return {"metric": name, "matchers": MATCHERS, **more}


def policy(name: str = "carrier", **spec: Any) -> Manifest:
    """A policy that sets every field that can be set together."""
    whole = {
        "targetRef": {"kind": "Deployment", "name": "shop"},
        "mode": "Enforce",
        "suspend": False,
        "prometheus": {
            "url": "http://prometheus.tenant.svc:9090/prom",
            "bearerTokenSecretRef": SECRET,
            "caSecretRef": {"name": "own", "key": "ca.crt"},
            "tenant": "shop",
        },
        "signals": {
            "requests": {"metric": "requests_total", "matchers": {"service": "shop"}},
            "errors": _metric("errors_total"),
            "latency": _metric("duration_seconds", quantile="0.99", objectiveSeconds="0.5"),
            "memory": _metric("memory_bytes"),
            "labels": {"pod": "pod", "route": "route"},
            "purchaseRoutes": ["/buy"],
            "excludeRoutes": ["/health"],
        },
        "matrix": MATRIX,
        "remedies": REMEDIES,
        "database": {
            "connectionSecretRef": {"name": "own", "key": "dsn"},
            "history": {"preset": "SchemaMigrations", "schema": "public", "table": "steps"},
            "onNewerSchema": "RequireApproval",
            "onUnknownSchema": "Ignore",
            **CHECKED,
        },
        "verification": VERIFICATION,
        "safety": {
            "watchSeconds": 600,
            "goodAfterSeconds": 60,
            "cooldownSeconds": 0,
            "maxRollbacksPerDay": 3,
            "stuckAfterSeconds": 60,
            "suspectOdds": 100,
            "badOdds": 10000,
            "express": ["P1"],
            "pauseOnSuspicion": True,
            "maxPauseSeconds": 60,
            "quarantineSeconds": 60,
            "onQuarantined": "Tell",
            "freeze": [
                {
                    "name": "nightly",
                    "timeZone": "Europe/Berlin",
                    "from": "22:00",
                    "until": "06:00",
                    "days": ["Mon"],
                    "exempt": ["P1", "P2", "P3"],
                }
            ],
            "requireVerified": False,
            "gitOps": "Proceed",
        },
        "checklist": [{"name": "DatabaseSchema", "onWarned": "Proceed"}],
        "approval": {
            "timeoutSeconds": 10,
            "onTimeout": "Abandon",
            "onTimeoutWhenDown": "Abandon",
        },
        "diagnosis": {"exec": EXEC},
        "stage": {"maxSeconds": 10},
        "podMetrics": {"everyMilliseconds": 500, "port": 8080, "path": "/metrics"},
        "notify": [
            {"name": "slack", "type": "Slack", "secretRef": SECRET, "severities": ["P1", "P2"]},
            {"name": "hook", "type": "Webhook", "url": "http://hooks.tenant.svc/x"},
            {"name": "hidden", "type": "Webhook", "urlSecretRef": {"name": "own", "key": "url"}},
            {
                "name": "mail",
                "type": "SMTP",
                "secretRef": SECRET,
                "mail": {
                    "host": "mail.tenant.svc",
                    "port": 25,
                    "encryption": "StartTLS",
                    "username": "shop",
                    "from": "shop@example.com",
                    "to": ["oncall@example.com"],
                },
            },
        ],
        "trust": [
            {
                "release": "b" * 64,
                "revision": 6,
                "reason": "the fault was elsewhere",
                "by": PERSON,
                "time": "2026-01-01T00:00:00Z",
            }
        ],
        "communication": {"service": "Shop", "impact": "No sales", "contact": "on call"},
    }
    return _manifest("RollbackPolicy", name, whole | spec)


def with_query(name: str = "carrier", **spec: Any) -> Manifest:
    """A policy that has its migrations read by a query of its own."""
    secret = {"name": "own", "key": "dsn"}
    query = "SELECT name FROM schema_migrations"
    database = {
        "connectionSecretRef": secret,
        "history": {"query": query},
        "integrityChecks": CHECKED["integrityChecks"],
    }
    return policy(name, **spec | {"database": database})


DOWN_JOB = {"container": "shop", "image": "registry.example/tools:v1", "command": ["down", "1"]}
BY_JOB = {
    "job": {**DOWN_JOB, "timeoutSeconds": 60},
    "backup": {"required": True, "job": {**DOWN_JOB, "timeoutSeconds": 60}},
    "migrations": [{"name": "002", "drops": ["public.tickets.seat"], "oldReleaseRuns": False}],
    "maxRowsLost": 1,
    "keepCompatible": False,
}
BY_SQL = {
    "sql": {
        "migrationsSecretRef": {"name": "own", "key": "owner"},
        "lockTimeoutSeconds": 1,
        "timeoutSeconds": 10,
    },
    "backup": {"required": False},
    "migrations": [{"name": "002", "sql": "DROP TABLE seats", "newReleaseRuns": True}],
}


def _database(terms: dict[str, Any]) -> dict[str, Any]:
    return {
        "connectionSecretRef": {"name": "own", "key": "dsn"},
        "onNewerSchema": "RollbackMigrations",
        "rollbackMigrations": terms,
    }


def with_migrations(terms: dict[str, Any], name: str = "carrier", **spec: Any) -> Manifest:
    """A policy that rolls migrations back."""
    return policy(name, **spec | {"database": _database(terms)})


def with_password(name: str = "carrier", **spec: Any) -> Manifest:
    """A policy that reads its Prometheus with a user's name and password."""
    source = {"url": "http://prometheus.tenant.svc:9090", "basicAuthSecretRef": {"name": "own"}}
    return policy(name, **spec | {"prometheus": source})


def request(name: str = "asked", **spec: Any) -> Manifest:
    """A Rollback that a person asks for."""
    asked = {
        "policyRef": {"name": "carrier"},
        "remedy": {"type": "Undo", "to": "Previous"},
        "reason": "customers call",
        "seen": {"deployment": "shop", "revision": 1, "digest": "0123456789abcdef"},
    }
    return _manifest("Rollback", name, asked | spec)


REVISION = {
    "number": 7,
    "templateHash": "6d5f9c",
    "digest": "a" * 64,
    "release": "b" * 64,
    "unannotatedDigest": "d" * 64,
    "configuration": "e" * 64,
    "images": ["registry.example/shop:v2"],
    "initImages": ["registry.example/migrate:v2"],
    "imageDigests": [f"sha256:{'c' * 64}"],
    "broughtImages": ["registry.example/shop:v2"],
    "replicaSet": "shop-6d5f9c",
    "replicaSetUid": "11111111-3333",
    "health": "Bad",
}


def plan(remedy: dict[str, Any] | None = None, **spec: Any) -> Manifest:
    """A Rollback with a plan, as the operator makes it."""
    whole = {
        "policyRef": {"name": "carrier", "uid": "11111111-1111"},
        "targetRef": {"kind": "Deployment", "name": "shop", "uid": "11111111-2222"},
        "mode": "Enforce",
        "severity": "P1",
        "remedy": remedy or {"type": "Undo", "to": "LastKnownGood", "severities": ["P1"]},
        "pace": "Express",
        "attempt": 2,
        "fromRevision": REVISION,
        "toRevision": {**REVISION, "number": 6, "health": "Good"},
        "configMaps": [
            {
                "name": "flags",
                "uid": "11111111-5555",
                "digest": "a" * 32,
                "previousDigest": "b" * 32,
                "diff": 'FEATURE: "true" -> "false"',
            }
        ],
        "keptConfiguration": "other ConfigMaps differ",
        "verification": VERIFICATION,
        "approvalPolicy": {
            "timeoutSeconds": 60,
            "onTimeout": "Abandon",
            "onTimeoutWhenDown": "Proceed",
        },
        "requiresApproval": True,
        "owner": {
            "tool": "Argo CD",
            "kind": "Application",
            "namespace": "argocd",
            "name": "shop",
            "response": "Proceed",
        },
        "updaters": [{"tool": "Flux", "advice": "suspend it"}],
        "autoscaler": {"name": "shop", "uid": "11111111-4444", "restoreAfterSeconds": 60},
        "diagnosis": EXEC,
        "traffic": {"stop": "Service", "service": "shop", "assess": [COUNTED]},
        "trigger": {
            "reason": "ErrorRateAboveControl",
            "message": "240 of 240 requests failed",
            "firstBadTime": "2030-01-01T00:00:00Z",
            "decidedTime": "2030-01-01T00:00:01Z",
            "deadlineTime": "2030-01-01T00:01:00Z",
            "requests": 240,
            "errors": 240,
            "controlRequests": 1000,
            "controlErrors": 1,
            "odds": "100000000 : 1",
            "blameOdds": "9331 : 1",
            "signal": "ErrorRate",
        },
    }
    return _manifest("Rollback", "carrier-0123456789", whole | spec)


def plans() -> list[Manifest]:
    """Plans of every remedy."""
    digest = {"unannotatedDigest": "d" * 64}
    flag = {"configMapUid": "11111111-5555", "oldValue": "true", "takenBy": "Restart", **digest}
    query = {"query": "SELECT name FROM schema_migrations"}
    schema = {"preset": "SchemaMigrations", "schema": "public", "table": "steps"}
    databases = (
        _database(BY_JOB) | {"history": schema, "onUnknownSchema": "Ignore"} | CHECKED,
        _database(BY_SQL) | {"history": query},
    )
    return [
        plan(),
        plan(REMEDIES[0], flag=flag),
        *(plan(one) for one in REMEDIES[1:]),
        *(plan(database=one) for one in databases),
    ]


def requests(person: str) -> list[Manifest]:
    """What a person may ask for."""
    wanted = [one for one in REMEDIES if one["type"] != "DisableFlag"]
    remedies = [{name: one[name] for name in one if name != "restore"} for one in wanted]
    return [request(requestedBy=person), *(request(remedy=one) for one in remedies)]


def decided(person: str) -> Manifest:
    """What a person has asked for and approved; only a stored plan may be approved."""
    approval = {"decision": "Approve", "by": person, "reason": "seen", "planDigest": "0" * 16}
    return request(approval=approval)


def policies() -> list[Manifest]:
    """Policies that have every field between them."""
    return [
        policy("tried"),
        with_query("tried"),
        with_password("tried"),
        with_migrations(BY_JOB, "tried"),
        with_migrations(BY_SQL, "tried"),
    ]


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
