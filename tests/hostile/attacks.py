"""What is tried on each field, and what must hold then.

`FORMS` names the form of every field that holds text. A field that is new has none, and
test_every_field.py fails until somebody has said what it holds; numbers, lists, enums and booleans
have their attacks by their schema alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from tests.hostile.fields import Field, fields_of
from tests.hostile.stand import VICTIM

SAMPLED = 2
NUL, ESCAPE, BIDI, ZERO_WIDTH = "\x00", "\x1b[2J", "\u202e", "\u200b"


class Must(Enum):
    """What must hold."""

    BE_REFUSED = "refused at admission, by the name of the field"
    HARM_NOTHING = "may be admitted; nothing outside of its namespace is reached, nobody is harmed"


@dataclass(frozen=True)
class Attack:
    """A value, and what must hold where it is tried."""

    name: str
    value: Any
    must: Must = Must.BE_REFUSED


class Form(Enum):
    """What a text is."""

    NAME = "the name of an object"
    NAME_OR_NONE = "the name of an object, or nothing"
    LABEL = "the name of a container or a channel"
    KEY = "a key of a Secret or a ConfigMap"
    URL = "an address"
    HOST = "a host"
    MAIL = "a mail address"
    IMAGE = "a reference of an image"
    METRIC = "the name of a metric or a label"
    TENANT = "a tenant of a metrics server, which is sent in a header"
    MATCHER = "a pattern that series are matched by"
    TEXTS = "texts that lines of logs are searched for"
    ROUTE = "a route, which ends up in PromQL"
    PROMQL = "a query to Prometheus"
    SQL = "a query to a database"
    STATEMENTS = "statements that change a database, with the role of their author"
    PLACE = "a table or column, which ends up in SQL"
    SCHEMA = "a schema or a table of a database, which ends up in SQL"
    JSON_PATH = "a path into an answer"
    PATH = "a path of a URL"
    ZONE = "a time zone, which is a file"
    TIME = "a point in time"
    DECIMAL = "a number written as text"
    TEXT = "a text for people, or a value that is compared only"
    ID = "a uid, a digest or a revision: compared, never looked up"


OBJECT_NAMES = (
    Attack("another namespace's Secret", f"../../{VICTIM}/secrets/payments"),
    Attack("another namespace's ConfigMap", f"../../{VICTIM}/configmaps/flags"),
    Attack("a subresource", "own/status"),
    Attack("the parent", ".."),
    Attack("itself", "."),
    Attack("an encoded slash", f"%2e%2e%2f%2e%2e%2f{VICTIM}%2fsecrets%2fpayments"),
    Attack("an encoded parent", "%2e%2e"),
    Attack("a query", "own?watch=true"),
    Attack("a fragment", "own#"),
    Attack("a backslash", f"..\\..\\{VICTIM}"),
    Attack("NUL", f"own{NUL}"),
    Attack("a newline", "own\nx"),
    Attack("a newline at the end", "own\n"),
    Attack("CRLF", "own\r\nX-Injected: 1"),
    Attack("a control character", f"own{ESCAPE}"),
    Attack("a Cyrillic look-alike", "\u043ewn"),
    Attack("a full-width slash", "..\uff0f..\uff0fvictim"),
    Attack("a zero-width character", f"ow{ZERO_WIDTH}n"),
    Attack("upper case", "OWN"),
    Attack("a space", "o wn"),
    Attack("a hyphen in front", "-own"),
    Attack("a hyphen at the end", "own-"),
    Attack("254 characters", "x" * 254),
    Attack("nothing", ""),
)
LONGEST_NAME = ".".join(["n" * 63] * 3 + ["n" * 61])
_CONTROLS = (
    Attack("NUL", f"a{NUL}b"),
    Attack("a newline", "a\nb"),
    Attack("CRLF", "a\r\nX-Injected: 1"),
)


def _harmless(*values: tuple[str, Any]) -> tuple[Attack, ...]:
    return tuple(Attack(name, value, Must.HARM_NOTHING) for name, value in values)


INSIDE = (
    # Addresses that only the operator's machine or cluster reaches.
    ("a cloud's metadata", "169.254.169.254"),
    ("a cloud's metadata, IPv6", "[fd00:ec2::254]"),
    ("a cloud's metadata, mapped", "[::ffff:169.254.169.254]"),
    ("a cloud's metadata, mapped in hex", "[::ffff:a9fe:a9fe]"),
    ("a cloud's metadata, NAT64", "[64:ff9b::a9fe:a9fe]"),
    ("a cloud's metadata, 6to4", "[2002:a9fe:a9fe::]"),
    ("a cloud's metadata, in decimal", "2852039166"),
    ("a cloud's metadata, in hex", "0xa9fea9fe"),
    ("another cloud's metadata", "100.100.100.200"),
    ("loopback", "127.0.0.1"),
    ("loopback, short", "127.1"),
    ("loopback, octal", "0177.0.0.1"),
    ("loopback, IPv6", "[::1]"),
    ("loopback, mapped", "[::ffff:127.0.0.1]"),
    ("loopback by name", "localhost"),
    ("any address", "0.0.0.0"),
    ("any address, IPv6", "[::]"),
    ("link-local, IPv6", "[fe80::1]"),
    ("the API server", "kubernetes.default.svc"),
    ("another namespace's Service", "ledger.victim.svc"),
    ("another namespace's Service, long", "ledger.victim.svc.cluster.local"),
    ("another namespace's Service, absolute", "ledger.victim.svc.cluster.local."),
    ("a name that ends like a Service", "shop.tenant.svc.evil.example"),
    ("a Service that is a name elsewhere", "outside.tenant.svc"),
    ("a Service without pods of its own", "byhand.tenant.svc"),
    ("a name that resolves to metadata", "metadata.tenant.svc"),
    ("a name with a good and a bad address", "mixed.tenant.svc"),
    ("a name that is not there", "missing.tenant.svc"),
)
URLS = (
    *_harmless(*((name, f"http://{host}/latest/") for name, host in INSIDE)),
    *_harmless(
        ("a port that is none", "http://shop.tenant.svc:99999/"),
        ("port 0", "http://shop.tenant.svc:0/"),
        ("the kubelet", "http://169.254.169.254:10250/pods"),
        ("a dot-dot path", "http://shop.tenant.svc/../../x"),
    ),
    Attack("a password", "http://a:b@shop.tenant.svc/"),
    Attack("a user that looks like a host", "http://shop.tenant.svc@169.254.169.254/"),
    Attack("a file", "file:///etc/passwd"),
    Attack("gopher", "gopher://shop.tenant.svc/_x"),
    Attack("no scheme", "//shop.tenant.svc/"),
    Attack("script", "javascript:alert(1)"),
    Attack("no host", "http:///x"),
    Attack("2,049 characters", f"http://shop.tenant.svc/{'x' * 2026}"),
)
STRICT_URLS = (
    # Of what is called with a method and a body, every character is plain.
    Attack("CRLF", "http://shop.tenant.svc/\r\nX-Injected: 1"),
    Attack("NUL", f"http://shop.tenant.svc/{NUL}"),
    Attack("a space", "http://shop.tenant.svc/a b"),
    Attack("a look-alike host", "http://ⓛocalhost/"),
    Attack("a backslash", "http://shop.tenant.svc\\.evil.example/"),
)
HOSTS = (
    *_harmless(*((name, host.strip("[]")) for name, host in INSIDE)),
    Attack("a URL", "http://shop.tenant.svc"),
    Attack("a user", "a@shop.tenant.svc"),
    Attack("a slash", "shop.tenant.svc/x"),
    Attack("CRLF", "shop.tenant.svc\r\nRCPT TO:<x@y>"),
    Attack("NUL", f"shop{NUL}"),
    Attack("a space", "shop tenant"),
    Attack("a look-alike", "ⓛocalhost"),
    Attack("254 characters", "x" * 254),
    Attack("nothing", ""),
)
TEXTS_FOR_PEOPLE = _harmless(
    ("everybody is called", "<!channel> @channel @here @everyone"),
    ("a link", "[log in](http://evil.example) <http://evil.example|log in>"),
    ("markup", "<script>alert(1)</script>"),
    ("a template", "{{ .Secret }} ${SECRET} %(secret)s {secret} {0.__class__}"),
    ("CRLF", "a\r\nBcc: everybody@example.com\r\n\r\nhello"),
    ("a newline", "all is well\nmade by the operator"),
    ("NUL", f"a{NUL}b"),
    ("terminal control", f"a{ESCAPE}b"),
    ("text turned round", f"a{BIDI}b"),
    ("JSON", '"}],"text":"x'),
    ("a lone percent", "%"),
    ("emoji", "🔥" * 16),
)
ATTACKS: Mapping[Form, tuple[Attack, ...]] = {
    Form.NAME: (*OBJECT_NAMES, *_harmless(("253 characters", LONGEST_NAME))),
    Form.NAME_OR_NONE: OBJECT_NAMES[:-1],
    Form.LABEL: (
        Attack("a path", f"../../{VICTIM}/pods"),
        Attack("a slash", "a/b"),
        Attack("the parent", ".."),
        Attack("a query", "a?previous=true"),
        Attack("a control character", f"a{ESCAPE}"),
        Attack("64 characters", "x" * 64),
        Attack("nothing", ""),
        *_CONTROLS,
    ),
    Form.KEY: (
        Attack("a path", f"../../{VICTIM}/secrets/payments"),
        Attack("a slash", "a/b"),
        Attack("a JSON pointer", "a~1b"),
        Attack("a look-alike", "t\u043eken"),
        Attack("a space", "a b"),
        Attack("254 characters", "x" * 254),
        Attack("nothing", ""),
        *_harmless(("a name of Python", "__class__"), ("another key", "nothing-there")),
        *_CONTROLS,
    ),
    Form.URL: URLS,
    Form.HOST: HOSTS,
    Form.MAIL: (
        Attack("a header", "a@example.com\r\nBcc: b@example.com"),
        Attack("two addresses", "a@example.com,b@example.com"),
        Attack("angle brackets", "<a@example.com>"),
        Attack("no host", "a@"),
        Attack("NUL", f"a{NUL}@example.com\n"),
        Attack("255 characters", f"{'x' * 243}@example.com"),
        *_harmless(("a command", "root@`id`"), ("a pipe", "|sh@example.com")),
    ),
    Form.IMAGE: (
        Attack("a newline", "shop:v1\nx"),
        Attack("a space", "shop v1"),
        Attack("1,025 characters", f"shop:{'x' * 1020}"),
        Attack("nothing", ""),
    ),
    Form.METRIC: (
        Attack("a selector", 'up{namespace="victim"}'),
        Attack("an expression", "up or secret_total"),
        Attack("a function", "sum(up)"),
        Attack("a quote", 'up"'),
        Attack("a newline", "up\nor up"),
        Attack("NUL", f"up{NUL}"),
        Attack("257 characters", "x" * 257),
    ),
    Form.TENANT: (
        Attack("a header", "shop\r\nAuthorization: Bearer x"),
        Attack("a newline at the end", "shop\n"),
        Attack("the parent", ".."),
        Attack("a path", f"../{VICTIM}"),
        Attack("an empty one beside it", f"|{VICTIM}"),
        Attack("a space", "a b"),
        Attack("a comma", f"shop,{VICTIM}"),
        Attack("a look-alike", "sh\u043ep"),
        Attack("151 characters", "x" * 151),
        Attack("nothing", ""),
        *_CONTROLS,
    ),
    Form.MATCHER: (
        *_harmless(
            ("backtracking without end", "=~(a|aa)+(a|aa)+(a|aa)+(a|aa)+b"),
            ("nested repeats", "=~((a+)+)+$"),
            ("a pattern that grows", "=~((a{0,100}){0,100}){0,100}"),
            ("a huge repeat", "=~(x{1000}){1000}"),
            ("no pattern", "=~(("),
            ("a look-behind", "=~(?<=a)b"),
            ("a back reference", "=~(a)\\1"),
            ("another namespace", 'x",namespace="victim'),
            ("a quote", '"} or up{x="'),
            ("a newline", "a\nb"),
            ("256 characters", "=~" + "(" * 127 + ")" * 127),
        ),
        Attack("257 characters", "x" * 257),
    ),
    Form.TEXTS: (
        Attack("a newline", "a\nb"),
        Attack("NUL", NUL),
        Attack("129 characters", "x" * 129),
        Attack("nothing", ""),
        *_harmless(
            ("a pattern", "(a+)+$"),
            ("a query", "a&limitBytes=99999999999&previous=true"),
            ("any line", " "),
        ),
    ),
    Form.ROUTE: (
        *_harmless(
            ("a quote", '/"} or up{x="'),
            ("a pattern", "/(a+)+$"),
            ("a backslash", "/\\"),
            ("a newline", "/a\n/b"),
            ("NUL", f"/{NUL}"),
            ("512 characters", "/" + "x" * 511),
        ),
        Attack("513 characters", "/" + "x" * 512),
        Attack("nothing", ""),
    ),
    Form.PROMQL: (
        *_harmless(
            ("another namespace", 'sum(secret_total{namespace="victim"})'),
            ("endless", "count_over_time((rand_r()[365d:1s])[365d:1s])"),
            ("everything", '{__name__=~".+"}'),
            ("no query", "sum((("),
            ("a path", "up&start=0&end=99999999999"),
            ("NUL", f"up{NUL}"),
            ("nested", "(" * 1000 + "up" + ")" * 1000),
            ("nothing but spaces", " "),
        ),
        Attack("2,049 characters", "x" * 2049),
        Attack("nothing", ""),
    ),
    Form.SQL: (
        *_harmless(
            ("a write", "DELETE FROM schema_migrations"),
            ("two statements", "SELECT 1; DROP TABLE tickets"),
            ("endless", "SELECT name FROM generate_series(1, 1000000000000) AS name"),
            ("sleep", "SELECT pg_sleep(3600)::text AS name"),
            ("a file", "SELECT pg_read_file('/etc/passwd') AS name"),
            ("a program", "COPY (SELECT 1) TO PROGRAM 'id'"),
            ("NUL", f"SELECT 1{NUL}"),
            ("no SQL", "'"),
        ),
        Attack("2,049 characters", "x" * 2049),
        Attack("nothing", ""),
    ),
    Form.STATEMENTS: (
        *_harmless(
            ("the end of a transaction", "DROP TABLE tickets; COMMIT"),
            ("endless", "DO 'BEGIN LOOP END LOOP; END'"),
            ("another database", "DROP TABLE other.public.tickets"),
            ("no SQL", "'"),
        ),
        Attack("NUL", f"SELECT 1{NUL}"),
        Attack("8,193 characters", "x" * 8193),
        Attack("nothing", ""),
    ),
    Form.PLACE: (
        *_harmless(("a statement", "public.x; DROP TABLE y; --"), ("a path", "../x/y")),
        Attack("a quote", 'public.x"; DROP TABLE y; --'),
        Attack("NUL", f"public.x{NUL}"),
        Attack("no schema", "tickets"),
        Attack("four parts", "a.b.c.d"),
        Attack("64 characters", f"public.{'x' * 64}"),
        Attack("nothing", ""),
    ),
    Form.SCHEMA: (
        *_harmless(("a quote", 'public"; DROP TABLE x; --'), ("a path", "../x")),
        Attack("NUL", f"public{NUL}"),
        Attack("64 characters", "x" * 64),
        Attack("nothing", ""),
    ),
    Form.JSON_PATH: (
        Attack("a wildcard in brackets", "a[*]"),
        Attack("a space", "a b"),
        Attack("a negative index", "a[-1]"),
        Attack("an index of 7 digits", "a[1000000]"),
        Attack("257 characters", "x" * 257),
        Attack("nothing", ""),
        *_harmless(("a name of Python", "__class__.__mro__[1]"), ("deep", ".".join("a" * 100))),
    ),
    Form.PATH: (
        Attack("CRLF", "/x\r\nX-Injected: 1"),
        Attack("no slash", "x"),
        Attack("another host", "@evil.example/"),
        Attack("NUL", f"/{NUL}"),
        Attack("1,025 characters", "/" + "x" * 1024),
        *_harmless(("another host behind slashes", "//evil.example/"), ("a parent", "/../x")),
    ),
    Form.ZONE: (
        Attack("a file", "../../../../etc/passwd"),
        Attack("an absolute file", "/etc/passwd"),
        Attack("NUL", f"UTC{NUL}"),
        Attack("a newline", "UTC\n"),
        Attack("65 characters", "x" * 65),
        Attack("nothing", ""),
        *_harmless(
            ("a folder", "Europe"),
            ("no zone", "Nowhere/AtAll"),
            ("a double slash", "Europe//Berlin"),
        ),
    ),
    Form.TIME: (
        Attack("no time", "whenever"),
        Attack("hour 24", "24:00"),
        Attack("month 13", "2030-13-01T00:00"),
        Attack("a newline", "22:00\n"),
        Attack("nothing", ""),
        Attack("65 characters", "2" * 65),
    ),
    Form.DECIMAL: (
        Attack("NaN", "NaN"),
        Attack("infinity", "Infinity"),
        Attack("an exponent", "1e999"),
        Attack("hex", "0x10"),
        Attack("24 digits", "9" * 24),
        Attack("25 characters", "0." + "1" * 23),
        Attack("a plus", "+1"),
        Attack("a comma", "0,5"),
        Attack("Arabic digits", "\u0660.\u0665"),
        Attack("a newline", "0.5\n"),
        Attack("nothing", ""),
    ),
    Form.TEXT: TEXTS_FOR_PEOPLE,
    Form.ID: (
        *_harmless(
            ("a path", f"../{VICTIM}/x"),
            ("NUL", NUL),
            ("a newline", "a\nb"),
        ),
    ),
}


def _secret(path: str, key: str = "key") -> dict[str, Form]:
    return {f"{path}.name": Form.NAME, f"{path}.{key}": Form.KEY}


_REMEDY = {
    "container": Form.LABEL,
    "image": Form.IMAGE,
    "flag.name": Form.KEY,
    "flag.value": Form.TEXT,
    "flag.configMapRef.name": Form.NAME,
    "flag.env.container": Form.LABEL,
    "restore[]": Form.NAME,
}
_VERIFICATION = {
    "http[].name": Form.LABEL,
    "http[].url": Form.URL,
    "http[].headersSecretRef.name": Form.NAME,
    "http[].body": Form.TEXT,
    "http[].expectJson.path": Form.JSON_PATH,
    "http[].expectJson.value": Form.TEXT,
    "logs.pattern": Form.TEXTS,
    "logs.container": Form.LABEL,
}
_REVISION = {
    "templateHash": Form.ID,
    "digest": Form.ID,
    "release": Form.ID,
    "unannotatedDigest": Form.ID,
    "configuration": Form.ID,
    "images[]": Form.TEXT,
    "initImages[]": Form.TEXT,
    "imageDigests[]": Form.TEXT,
    "broughtImages[]": Form.TEXT,
    "replicaSet": Form.NAME_OR_NONE,
    "replicaSetUid": Form.ID,
}


def _under(prefix: str, forms: Mapping[str, Form]) -> dict[str, Form]:
    return {f"{prefix}.{path}": form for path, form in forms.items()}


_SIGNALS = {
    f"spec.signals.{signal}.{part}": form
    for signal in ("requests", "errors", "latency", "memory")
    for part, form in (
        ("metric", Form.METRIC),
        ("matchers", Form.METRIC),
        ("matchers{}", Form.MATCHER),
    )
}
_DATABASE = {
    "connectionSecretRef.name": Form.NAME,
    "connectionSecretRef.key": Form.KEY,
    "history.schema": Form.SCHEMA,
    "history.table": Form.SCHEMA,
    "history.query": Form.SQL,
    "integrityChecks[].query": Form.SQL,
    "integrityChecks[].name": Form.LABEL,
    "integrityChecks[].expect": Form.TEXT,
    "onCorruption.assess[].query": Form.SQL,
    "onCorruption.assess[].name": Form.LABEL,
    "onCorruption.service": Form.NAME,
    "rollbackMigrations.job.container": Form.LABEL,
    "rollbackMigrations.job.image": Form.IMAGE,
    "rollbackMigrations.job.command[]": Form.TEXT,
    "rollbackMigrations.backup.job.container": Form.LABEL,
    "rollbackMigrations.backup.job.image": Form.IMAGE,
    "rollbackMigrations.backup.job.command[]": Form.TEXT,
    "rollbackMigrations.sql.migrationsSecretRef.name": Form.NAME,
    "rollbackMigrations.sql.migrationsSecretRef.key": Form.KEY,
    "rollbackMigrations.migrations[].name": Form.TEXT,
    "rollbackMigrations.migrations[].sql": Form.STATEMENTS,
    "rollbackMigrations.migrations[].drops[]": Form.PLACE,
}
FORMS: Mapping[str, Mapping[str, Form]] = {
    "RollbackPolicy": {
        "spec.targetRef.name": Form.NAME,
        "spec.prometheus.url": Form.URL,
        **_secret("spec.prometheus.bearerTokenSecretRef"),
        **_secret("spec.prometheus.caSecretRef"),
        "spec.prometheus.basicAuthSecretRef.name": Form.NAME,
        "spec.prometheus.tenant": Form.TENANT,
        **_SIGNALS,
        "spec.signals.latency.quantile": Form.DECIMAL,
        "spec.signals.latency.objectiveSeconds": Form.DECIMAL,
        "spec.signals.labels.pod": Form.METRIC,
        "spec.signals.labels.route": Form.METRIC,
        "spec.signals.purchaseRoutes[]": Form.ROUTE,
        "spec.signals.excludeRoutes[]": Form.ROUTE,
        "spec.matrix[].when[].above": Form.DECIMAL,
        "spec.matrix[].when[].atLeast": Form.DECIMAL,
        "spec.matrix[].when[].below": Form.DECIMAL,
        "spec.matrix[].when[].changeAbove": Form.DECIMAL,
        "spec.matrix[].when[].query": Form.PROMQL,
        "spec.matrix[].when[].name": Form.TEXT,
        **_under("spec.remedies[]", _REMEDY),
        **_under("spec.database", _DATABASE),
        **_under("spec.verification", _VERIFICATION),
        "spec.safety.freeze[].name": Form.TEXT,
        "spec.safety.freeze[].timeZone": Form.ZONE,
        "spec.safety.freeze[].from": Form.TIME,
        "spec.safety.freeze[].until": Form.TIME,
        "spec.podMetrics.path": Form.PATH,
        "spec.diagnosis.exec.command[]": Form.TEXT,
        "spec.diagnosis.exec.container": Form.LABEL,
        "spec.notify[].name": Form.LABEL,
        **_secret("spec.notify[].secretRef"),
        "spec.notify[].url": Form.URL,
        **_secret("spec.notify[].urlSecretRef"),
        "spec.notify[].mail.host": Form.HOST,
        "spec.notify[].mail.username": Form.TEXT,
        "spec.notify[].mail.from": Form.MAIL,
        "spec.notify[].mail.to[]": Form.MAIL,
        "spec.trust[].release": Form.ID,
        "spec.trust[].reason": Form.TEXT,
        "spec.trust[].by": Form.TEXT,
        "spec.trust[].time": Form.TIME,
        "spec.communication.service": Form.TEXT,
        "spec.communication.impact": Form.TEXT,
        "spec.communication.contact": Form.TEXT,
    },
    "Rollback": {
        "spec.policyRef.name": Form.NAME,
        "spec.seen.deployment": Form.NAME,
        "spec.policyRef.uid": Form.ID,
        "spec.targetRef.name": Form.NAME,
        "spec.targetRef.uid": Form.ID,
        **_under("spec.remedy", _REMEDY),
        **_under("spec.fromRevision", _REVISION),
        **_under("spec.toRevision", _REVISION),
        "spec.flag.configMapUid": Form.ID,
        "spec.flag.oldValue": Form.TEXT,
        **_under("spec.database", _DATABASE),
        "spec.flag.unannotatedDigest": Form.ID,
        "spec.configMaps[].name": Form.NAME,
        "spec.configMaps[].uid": Form.ID,
        "spec.configMaps[].digest": Form.ID,
        "spec.configMaps[].previousDigest": Form.ID,
        "spec.configMaps[].diff": Form.TEXT,
        "spec.keptConfiguration": Form.TEXT,
        **_under("spec.verification", _VERIFICATION),
        "spec.owner.tool": Form.TEXT,
        "spec.owner.namespace": Form.NAME_OR_NONE,
        "spec.owner.name": Form.NAME_OR_NONE,
        "spec.updaters[].tool": Form.TEXT,
        "spec.updaters[].advice": Form.TEXT,
        "spec.autoscaler.name": Form.NAME,
        "spec.autoscaler.uid": Form.ID,
        "spec.diagnosis.command[]": Form.TEXT,
        "spec.diagnosis.container": Form.LABEL,
        "spec.traffic.service": Form.NAME_OR_NONE,
        "spec.traffic.assess[].name": Form.LABEL,
        "spec.traffic.assess[].query": Form.SQL,
        "spec.trigger.reason": Form.TEXT,
        "spec.trigger.message": Form.TEXT,
        "spec.trigger.firstBadTime": Form.TIME,
        "spec.trigger.decidedTime": Form.TIME,
        "spec.trigger.deadlineTime": Form.TIME,
        "spec.trigger.odds": Form.TEXT,
        "spec.trigger.blameOdds": Form.TEXT,
        "spec.reason": Form.TEXT,
        "spec.seen.digest": Form.ID,
        "spec.requestedBy": Form.TEXT,
        "spec.approval.by": Form.TEXT,
        "spec.approval.reason": Form.TEXT,
        "spec.approval.planDigest": Form.ID,
    },
}


def attacks_on(field: Field) -> tuple[Attack, ...]:
    """Give what is tried on a field; nothing: nobody has said what it holds."""
    schema = field.schema
    match schema["type"]:
        case "integer":
            return tuple(_on_number(schema))
        case "boolean":
            return (Attack("a text", "true"), Attack("a number", 1))
        case "array":
            return tuple(_on_list(field))
        case "object":
            return tuple(_on_map(field)) if field.path in FORMS[field.kind] else ()
    return tuple(_on_choice(schema) if "enum" in schema else _on_text(field))


def sample_of(field: Field) -> tuple[Attack, ...]:
    """Give all attacks on the first field of its kind that is bounded as it is; two on the others.

    What one pattern, length or range refuses in a field it refuses in each: a field that is new or
    bounded otherwise is the first. The two are not the same from field to field.
    """
    every, place = attacks_on(field), _places(field.kind)[field.path]
    if place == 0 or len(every) <= SAMPLED:
        return every
    refused = [one for one in every if one.must is Must.BE_REFUSED] or every
    return tuple(refused[(place * SAMPLED + step) % len(refused)] for step in range(SAMPLED))


@cache
def _places(kind: str) -> Mapping[str, int]:
    """Count, for each field by its path, the fields before it that are bounded as it is."""
    seen: Counter[object] = Counter()
    places = {}
    for field in fields_of(kind):
        bounds = _bounds(field)
        places[field.path] = seen[bounds]
        seen[bounds] += 1
    return places


def _bounds(field: Field) -> tuple[Form | None, str]:
    """Give the form of a field, and what its schema demands of it."""
    rules = {key: one for key, one in field.schema.items() if key not in ("description", "default")}
    return FORMS[field.kind].get(field.path), json.dumps(rules, sort_keys=True)


def _on_choice(schema: Mapping[str, Any]) -> Iterator[Attack]:
    first = str(schema["enum"][0])
    yield Attack("another value", "Nothing")
    yield Attack("another case", first.swapcase())
    yield Attack("nothing", "")
    yield Attack("NUL", f"{first}{NUL}")


def _on_text(field: Field) -> Iterator[Attack]:
    form = FORMS[field.kind].get(field.path)
    if form is None:
        return
    yield from ATTACKS[form]
    most = field.schema.get("maxLength")
    if most and form is Form.TEXT:
        yield Attack("beyond its bound", "x" * (most + 1))
    if form is Form.URL and field.path.endswith("http[].url"):
        yield from STRICT_URLS
    yield Attack("a number", 7)
    # Of a date-time the API server takes a list, too: it looks at the format alone.
    is_time = field.schema.get("format") == "date-time"
    yield Attack("a list", ["x"], Must.HARM_NOTHING if is_time else Must.BE_REFUSED)


def _on_number(schema: Mapping[str, Any]) -> Iterator[Attack]:
    if "minimum" in schema:
        yield Attack("below its least", schema["minimum"] - 1)
    if "maximum" in schema:
        yield Attack("above its most", schema["maximum"] + 1)
        yield Attack("2^31", 2**31)
        yield Attack("2^63 - 1", 2**63 - 1)
    else:
        yield Attack("2^31", 2**31, Must.HARM_NOTHING)
        yield Attack("2^63 - 1", 2**63 - 1, Must.HARM_NOTHING)
    yield Attack("negative", -1)
    yield Attack("2^63", 2**63)
    yield Attack("24 digits", 10**24 - 1)
    yield Attack("a fraction", 1.5)
    yield Attack("a text", "1")


def _on_list(field: Field) -> Iterator[Attack]:
    schema = field.schema
    most = schema["maxItems"]
    item = {} if schema["items"]["type"] == "object" else "x"
    if schema["items"]["type"] == "integer":
        item = schema["items"].get("minimum", 0)
    yield Attack("beyond its bound", [item] * (most + 1))
    yield Attack("a map", {"x": "y"})
    if schema.get("minItems"):
        yield Attack("nothing", [])


def _on_map(field: Field) -> Iterator[Attack]:
    most = field.schema["maxProperties"]
    yield Attack("beyond its bound", {f"k{one}": "x" for one in range(most + 1)})
    yield Attack("a key with a selector", {'x="y",namespace': "victim"})
    yield Attack("a key with a newline", {"a\nb": "x"})
    yield Attack("a key of 129 characters", {"x" * 129: "x"})
    yield Attack("a list", ["x"])
