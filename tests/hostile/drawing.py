"""Manifests drawn from the CRDs' schemas.

Values come from hypothesis-jsonschema, by the schema of each field; which optional fields are set,
and how long lists are, from a seeded generator, so that each is set often. What CEL rules say of
several fields is narrowed down in `NARROWED`, as far as it pays, and left to another try where not:
the API server alone says what is admitted.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import hypothesis
from hypothesis import strategies
from hypothesis_jsonschema import from_schema

from tests.hostile.attacks import Must, attacks_on
from tests.hostile.fields import Field, Manifest, schema_of

Raw = dict[str, Any]
Schema = Mapping[str, Any]
HOSTILE = 0.08
"""Share of the values that are an attack which may be admitted."""
USUAL = 0.92
API_VERSION = "rollback.tickettoken.io/v1alpha1"


@dataclass(frozen=True)
class Variant:
    """A way to fill a group whose fields exclude or need each other."""

    fixed: Mapping[str, Sequence[Any]]
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    forms: Mapping[str, str] = field(default_factory=dict)
    """Patterns that are narrower than the schema's own."""


_RATE_ABOVE = {"above": r"^0(\.[0-9]{1,9})?$"}
_RATE_AT_LEAST = {"atLeast": r"^0\.[0-9]{0,8}[1-9]$"}
_COUNT = {"atLeast": r"^[1-9][0-9]{0,8}$"}
_QUERY = ("name", "changeAbove", "times", "looks")
_CONDITIONS = (
    Variant({"signal": ["ErrorRate"]}, ("above",), ("routes",), _RATE_ABOVE),
    Variant({"signal": ["ErrorRate"]}, ("atLeast",), ("routes",), _RATE_AT_LEAST),
    Variant({"signal": ["LatencyRatio", "Latency", "MemoryGrowth"]}, ("above",)),
    Variant({"signal": ["OOMKills", "Restarts"]}, ("atLeast",), (), _COUNT),
    Variant({"signal": ["Query"]}, ("query", "above"), _QUERY),
    Variant({"signal": ["Query"]}, ("query", "below"), _QUERY),
    Variant({"signal": ["Unavailable", "StuckRollout", "TrafficLost"]}),
    Variant({"signal": ["Probe"]}, ("name",)),
    Variant({"signal": ["Integrity"]}, (), ("name",)),
)
_SEVERITIES = ("severities",)
_UNDO = ("severities", "restore")
_REQUESTED = (
    Variant({"type": ["Undo"], "to": ["LastKnownGood", "Previous"]}, (), _SEVERITIES),
    Variant({"type": ["Undo"], "to": ["Revision"]}, ("revision",), _SEVERITIES),
)
_REMEDIES = (
    Variant({"type": ["Undo"], "to": ["LastKnownGood", "Previous"]}, (), _UNDO),
    Variant({"type": ["Undo"], "to": ["Revision"]}, ("revision",), _UNDO),
    Variant({"type": ["PinImage"]}, ("container", "image"), _SEVERITIES),
    Variant({"type": ["Scale"]}, ("replicas",), _SEVERITIES),
    Variant({"type": ["DisableFlag"]}, ("flag",), _SEVERITIES),
)
_FLAGS = (
    Variant({}, ("name", "value", "configMapRef")),
    Variant({}, ("name", "value", "env")),
)
_PROBE = ("headersSecretRef", "expectStatus", "expectJson", "timeoutSeconds")
_PROBES = (
    Variant({"method": ["GET", "HEAD"]}, ("name", "url"), _PROBE),
    Variant({"method": ["POST", "PUT", "PATCH", "DELETE"]}, ("name", "url"), ("body", *_PROBE)),
    Variant({}, ("name", "url"), ("body", *_PROBE)),
)
_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_FREEZES = (
    Variant(
        {},
        ("name", "from", "until"),
        ("timeZone", "days", "exempt"),
        dict.fromkeys(("from", "until"), _CLOCK),
    ),
    Variant(
        {},
        ("name", "from", "until"),
        ("timeZone", "exempt"),
        {
            "from": "^2029-0[1-9]-[012][1-8]T0[0-9]:00$",
            "until": "^203[0-9]-0[1-9]-[012][1-8]T0[0-9]:00$",
        },
    ),
)
_CHANNELS = (
    Variant({"type": ["Slack", "PagerDuty"]}, ("name", "secretRef"), _SEVERITIES),
    Variant({"type": ["PagerDuty"]}, ("name", "secretRef"), ("url", *_SEVERITIES)),
    Variant({"type": ["Webhook"]}, ("name", "url"), ("secretRef", *_SEVERITIES)),
    Variant({"type": ["Webhook"]}, ("name", "urlSecretRef"), ("secretRef", *_SEVERITIES)),
    Variant({"type": ["Alertmanager"]}, ("name", "url"), ("secretRef", *_SEVERITIES)),
    Variant({"type": ["SMTP"]}, ("name", "mail"), _SEVERITIES),
    Variant({"type": ["SMTP"]}, ("name", "mail", "secretRef"), _SEVERITIES),
)
NARROWED: Mapping[str, tuple[Variant, ...]] = {
    "spec.matrix[].when[]": _CONDITIONS,
    "spec.matrix[]": (
        Variant({"response": ["Rollback", "Report"]}, ("severity", "when"), ("withinSeconds",)),
        Variant({"response": ["Investigate"]}, ("severity", "when"), ("withinSeconds", "propose")),
        Variant(
            {"response": ["Investigate"]},
            ("severity", "when", "withinSeconds", "onTimeout"),
            ("propose",),
        ),
    ),
    "spec.prometheus": (
        Variant({}, (), ("url", "bearerTokenSecretRef", "caSecretRef")),
        Variant({}, ("url",), ("basicAuthSecretRef", "caSecretRef", "tenant")),
    ),
    "spec.remedies[]": _REMEDIES,
    "spec.remedy": (*_REQUESTED, *_REMEDIES[2:4]),
    "spec.remedies[].flag": _FLAGS,
    "spec.remedy.flag": _FLAGS,
    "spec.database": (
        Variant(
            {"onNewerSchema": ["Block", "RequireApproval", "Ignore"]},
            ("connectionSecretRef",),
            ("history", "onUnknownSchema", "integrityChecks", "onCorruption"),
        ),
        Variant(
            {"onNewerSchema": ["RollbackMigrations"]},
            ("connectionSecretRef", "rollbackMigrations"),
            ("history", "onUnknownSchema", "integrityChecks", "onCorruption"),
        ),
    ),
    "spec.database.rollbackMigrations": (
        Variant({}, ("sql", "backup", "migrations"), ("maxRowsLost", "keepCompatible")),
        Variant({}, ("job", "backup"), ("maxRowsLost", "keepCompatible")),
    ),
    "spec.database.rollbackMigrations.backup": (
        Variant({"required": [False]}, ()),
        Variant({"required": [True, False]}, ("job",)),
    ),
    "spec.database.history": (
        Variant({}, (), ("preset", "schema", "table")),
        Variant({}, ("query",)),
    ),
    "spec.database.onCorruption": (
        Variant({"stopTraffic": ["Replicas"]}, (), ("response", "assess")),
        Variant({"stopTraffic": ["Service"]}, ("service",), ("response", "assess")),
    ),
    "spec.verification.http[]": _PROBES,
    "spec.safety.freeze[]": _FREEZES,
    "spec.notify[]": _CHANNELS,
}


class Drawer:
    """Draws manifests of one kind."""

    def __init__(self, kind: str, seed: int, values: int = 120) -> None:
        """Begin.

        Args:
            kind: what to draw.
            seed: what all is drawn from.
            values: how many are drawn for each schema; manifests choose among them.
        """
        self.kind, self.values = kind, values
        self.dice = random.Random(seed)
        self.fixed: dict[str, Any] = {}
        """What is not drawn, by its path."""
        self.usual: dict[str, tuple[Any, ...]] = {}
        """What is drawn most of the time, by path: without it few policies would be ready."""
        self.variants: dict[str, tuple[Variant, ...]] = dict(NARROWED)

    def manifest(self, name: str, share: float = 0.5) -> Manifest:
        """Draw one; `share`: of the optional fields that it sets, about."""
        spec = self._group("spec", schema_of(self.kind), share)
        metadata = {"name": name}
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata, "spec": spec}

    def part(self, name: str, share: float = 0.5) -> Any:
        """Draw one field of the spec anew."""
        return self._value(f"spec.{name}", schema_of(self.kind)["properties"][name], share)

    def _value(self, path: str, schema: Schema, share: float) -> Any:
        if path in self.fixed:
            return self.fixed[path]
        if "properties" in schema:
            return self._group(path, schema, share)
        if schema["type"] == "array":
            return self._list(path, schema, share)
        if "additionalProperties" in schema:
            return self._map(path, schema)
        return self._leaf(path, schema)

    def _group(self, path: str, schema: Schema, share: float) -> Raw:
        variants = self.variants.get(path)
        known = schema["properties"]
        variant = self.dice.choice(variants) if variants else None
        if variant is None:
            needed: Sequence[str] = schema.get("required", ())
            optional = [one for one in known if one not in needed]
            forms: Mapping[str, str] = {}
            made: Raw = {}
        else:
            needed, optional, forms = variant.needed, list(variant.optional), variant.forms
            made = {name: self.dice.choice(values) for name, values in variant.fixed.items()}
        chosen = [one for one in optional if self.dice.random() < share]
        for name in (*needed, *chosen):
            child = known[name]
            if name in forms:
                child = {**child, "pattern": forms[name]}
            made[name] = self._value(f"{path}.{name}", child, share)
        return made

    def _list(self, path: str, schema: Schema, share: float) -> list[Any]:
        least, most = schema.get("minItems", 0), schema["maxItems"]
        # Short as a rule, and now and then as long as it may be.
        count = (
            most
            if self.dice.random() < 0.05
            else self.dice.randint(least, max(least, min(most, 3)))
        )
        found = [self._value(f"{path}[]", schema["items"], share) for _ in range(count)]
        keys = schema.get("x-kubernetes-list-map-keys")
        if keys:
            found = list({tuple(one.get(key) for key in keys): one for one in found}.values())
        elif schema.get("x-kubernetes-list-type") == "set":
            found = list(dict.fromkeys(found))
        if path == "spec.matrix":
            found.sort(key=lambda one: str(one["severity"]))
        return found

    def _map(self, path: str, schema: Schema) -> Raw:
        count = self.dice.randint(0, 3)
        letters = string.ascii_letters + "_"
        keys = [
            "".join(self.dice.choices(letters, k=self.dice.randint(1, 12))) for _ in range(count)
        ]
        return {one: self._leaf(f"{path}{{}}", schema["additionalProperties"]) for one in keys}

    def _leaf(self, path: str, schema: Schema) -> Any:
        if path in self.usual and self.dice.random() < USUAL:
            return self.dice.choice(self.usual[path])
        if self.dice.random() < HOSTILE:
            tried = _harmless(self.kind, path, _frozen(schema))
            if tried:
                return self.dice.choice(tried)
        return self.dice.choice(values_of(_frozen(schema), self.values))


_KEPT = ("type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "format")


def _frozen(schema: Schema) -> tuple[tuple[str, Any], ...]:
    kept = [(key, schema[key]) for key in _KEPT if key in schema]
    return tuple((key, tuple(one) if isinstance(one, list) else one) for key, one in kept)


@cache
def _harmless(kind: str, path: str, frozen: tuple[tuple[str, Any], ...]) -> tuple[Any, ...]:
    tried = attacks_on(Field(kind, path, dict(frozen)))
    return tuple(one.value for one in tried if one.must is Must.HARM_NOTHING)


@cache
def values_of(frozen: tuple[tuple[str, Any], ...], count: int) -> tuple[Any, ...]:
    """Draw values for a schema, its extremes among them."""
    schema = {key: list(one) if isinstance(one, tuple) else one for key, one in frozen}
    if schema.get("format") == "date-time":
        # As Go reads it: no leap seconds, no other letters.
        return ("2030-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
    if "pattern" in schema:
        # Where Python's $ takes a newline at the end, RE2's does not.
        schema["pattern"] = re.sub(r"(?<!\\)\$(?=$|\)|\|)", r"\\Z", schema["pattern"])
    if schema["type"] == "integer":
        schema.setdefault("maximum", 2**63 - 1)
    found: list[Any] = []

    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(_strategy(schema))
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return tuple(found) + tuple(_extremes(schema))


def _strategy(schema: Raw) -> strategies.SearchStrategy[Any]:
    return from_schema(schema)


def _extremes(schema: Raw) -> Iterator[Any]:
    if schema["type"] == "integer":
        yield from (schema[key] for key in ("minimum", "maximum") if key in schema)
    elif schema["type"] == "string" and "enum" not in schema and "pattern" not in schema:
        yield "x" * schema["maxLength"]


ASKED, PLANNED_ONLY = (
    ("policyRef", "remedy", "reason", "seen"),
    (
        "mode",
        "targetRef",
        "severity",
        "fromRevision",
        "toRevision",
        "trigger",
        "flag",
        "configMaps",
        "keptConfiguration",
        "pace",
        "verification",
        "approvalPolicy",
        "requiresApproval",
        "owner",
        "updaters",
        "autoscaler",
        "traffic",
        "diagnosis",
        "attempt",
    ),
)
PLANNED = ("policyRef", "targetRef", "mode", "severity", "remedy", "fromRevision", "trigger")
ASKED_ONLY = ("reason", "requestedBy", "approval", "seen")


def policies(seed: int, values: int, person: str) -> Drawer:
    """Draw policies of a person's, most of which the operator finds nothing wrong with."""
    made = Drawer("RollbackPolicy", seed, values)
    made.fixed |= {"spec.trust[].by": person}
    probes = ("buy", "list", "pay")
    made.usual |= {
        "spec.targetRef.name": ("shop",),
        "spec.suspend": (False, False, False, True),
        "spec.mode": ("Enforce", "Enforce", "Observe"),
        "spec.prometheus.url": ("http://prometheus.tenant.svc:9090",),
        "spec.verification.http[].name": probes,
        "spec.database.integrityChecks[].name": probes,
        "spec.verification.http[].url": ("http://shop.tenant.svc/buy", "https://shop.tenant/"),
        "spec.matrix[].when[].name": probes,
        "spec.matrix[].when[].times": (1, 2),
        "spec.matrix[].when[].looks": (3, 60),
        "spec.safety.freeze[].timeZone": ("UTC", "Europe/Berlin", "Asia/Kathmandu"),
        "spec.safety.goodAfterSeconds": (10, 60),
        "spec.safety.maxPauseSeconds": (10, 60),
        "spec.safety.suspectOdds": (10, 99),
        "spec.remedies[].flag.configMapRef.name": ("flags",),
        "spec.remedies[].flag.name": ("FEATURE",),
        "spec.remedies[].flag.env.container": ("shop",),
        "spec.remedies[].restore[]": ("flags",),
        "spec.remedies[].container": ("shop",),
        "spec.signals.purchaseRoutes[]": ("/buy", "/list"),
        "spec.signals.latency.matchers{}": ("shop", "=~5.."),
        "spec.signals.requests.matchers{}": ("shop", "=~5.."),
        "spec.signals.errors.matchers{}": ("shop", "=~5.."),
        "spec.signals.memory.matchers{}": ("shop", "=~5.."),
    }
    return made


def plans(seed: int, values: int) -> Drawer:
    """Draw Rollbacks as the operator makes them."""
    made = Drawer("Rollback", seed, values)
    known = schema_of("Rollback")["properties"]
    optional = tuple(one for one in known if one not in (*PLANNED, *ASKED_ONLY))
    made.variants["spec"] = (Variant({}, PLANNED, optional),)
    made.variants["spec.policyRef"] = (Variant({}, ("name", "uid")),)
    made.variants["spec.remedy"] = _REMEDIES
    return made


def requests(seed: int, values: int, person: str) -> Drawer:
    """Draw Rollbacks as a person asks for them."""
    made = Drawer("Rollback", seed, values)
    known = schema_of("Rollback")["properties"]
    # A decision is taken only once a plan is stored.
    optional = tuple(one for one in known if one not in (*ASKED, *PLANNED_ONLY, "approval"))
    made.variants["spec"] = (Variant({}, ASKED, optional),)
    made.fixed["spec.requestedBy"] = person
    made.fixed["spec.seen.deployment"] = "shop"
    return made


def optional_paths(kind: str) -> set[str]:
    """Give every optional field of a kind, groups and lists too."""
    return set(_optional("spec", schema_of(kind)))


def _optional(path: str, schema: Schema) -> Iterator[str]:
    if schema["type"] == "array":
        yield from _optional(f"{path}[]", schema["items"])
        return
    for name, child in schema.get("properties", {}).items():
        if name not in schema.get("required", ()):
            yield f"{path}.{name}"
        yield from _optional(f"{path}.{name}", child)


def set_paths(manifest: Manifest) -> set[str]:
    """Give every path at which a manifest sets something."""
    return set(_set("spec", manifest["spec"]))


def _set(path: str, node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield f"{path}.{name}"
            yield from _set(f"{path}.{name}", child)
    elif isinstance(node, list):
        for child in node:
            yield from _set(f"{path}[]", child)
