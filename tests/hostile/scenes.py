"""What a tenant puts up so that the operator uses each attack that admission lets through.

A scene is a Deployment of its own with two releases, a policy with the attack in every field that
takes it, and a Rollback asked for by hand: that makes the operator read Secrets, databases and
logs, send probes, and tell people.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.hostile import carriers
from tests.hostile.attacks import ATTACKS, FORMS, INSIDE, Attack, Form, Must
from tests.hostile.fields import Manifest, fields_of, has, put
from tests.hostile.stand import HOOKS, TENANT, HostileStand, refusal
from tests.integration.api import Object, policies

T = TypeVar("T")
SECRETS = f"/api/v1/namespaces/{TENANT}/secrets"
SERVICES = f"/api/v1/namespaces/{TENANT}/services"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{TENANT}/endpointslices"
DRY = "?dryRun=All&fieldValidation=Strict"
TOGETHER = (
    Form.TEXT,
    Form.TEXTS,
    Form.ROUTE,
    Form.PROMQL,
    Form.SCHEMA,
    Form.JSON_PATH,
    Form.PATH,
)
"""What spoils nothing of a policy but itself: one attack of each form is in one scene."""
ALONE = (Form.MATCHER, Form.ZONE, Form.SQL)
"""What may make the whole policy unusable."""
NEAR = ("loopback", "a cloud's metadata", "the API server", "another namespace's Service")
"""Which hosts are tried where they are refused before anything is done, beside the tenant's own."""
CONNECTIONS = (
    # Keys of a DSN by which libpq would read a file, or connect to somewhere else.
    "host={host} port={port} hostaddr=127.0.0.1",
    "host={host} port={port} service=payments",
    "host={host} port={port} sslkey=/etc/passwd sslcert=/etc/passwd",
    "host={host} port={port} passfile=/etc/passwd",
    "host={host},127.0.0.1 port={port},{port}",
    "host=/var/run/postgresql",
    "postgresql:///shop?host=/var/run/postgresql",
    "postgresql://{host}:{port}@127.0.0.1/shop",
)


@dataclass(frozen=True)
class Scene:
    """One attack, as a tenant puts it up."""

    name: str
    attack: str
    policy: Manifest
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values of a Secret of its own."""


def batched(values: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    """Give so many at a time, in order."""
    for start in range(0, len(values), count):
        yield values[start : start + count]


def scenes(stand: HostileStand, port: int) -> Iterator[Scene]:
    """Give every scene; `port`: of the server that nobody but the operator's owner may call."""
    found = [*_addresses(stand, port), *_texts(stand)]
    for place, (attack, spec, secrets) in enumerate(found):
        name = f"scene-{place}"
        manifest = carriers.policy(name, **spec)
        manifest["spec"]["targetRef"]["name"] = name
        manifest = _renamed(manifest, name) if secrets else manifest
        yield Scene(name, attack, manifest, secrets)


Found = tuple[str, dict[str, Any], dict[str, str]]


def _addresses(stand: HostileStand, port: int) -> Iterator[Found]:
    for name, host in INSIDE:
        if name in NEAR or host.endswith(f".{TENANT}.svc"):
            url = f"http://{host}:{port}/latest/"
            yield f"{name}, read", _served(stand) | _reading(url), {}
    # As many channels as a policy may have are two hosts' worth.
    for place, pair in enumerate(batched(INSIDE, 2)):
        channels, secrets = [], {"token": "x"}
        for number, (_, host) in enumerate(pair):
            channels += _channels(host, port, f"url-{number}")
            secrets[f"url-{number}"] = f"http://{host}:{port}/latest/"
        _, host = pair[place % len(pair)]
        secrets["dsn"] = f"postgresql://a:b@{host}:{port}/shop?sslmode=disable"
        names = " and ".join(name for name, _ in pair)
        yield f"{names}, told", _served(stand) | {"notify": channels}, secrets
    for dsn in CONNECTIONS:
        yield f"DSN {dsn}", _served(stand), {"dsn": dsn.format(host=HOOKS, port=port)}
    for path in ("/redirect", "/junk"):
        url = stand.url(path)
        told = {"notify": [{"name": "hook", "type": "Webhook", "url": url}]}
        yield f"an answer: {path}", _served(stand) | _reading(url) | told, {}


def _channels(host: str, port: int, key: str) -> list[dict[str, Any]]:
    url, tag = f"http://{host}:{port}/latest/", key.replace("url", "c")
    mail = {"host": host.strip("[]"), "port": port, "encryption": "None", "from": "a@b.example"}
    return [
        {"name": f"{tag}-hook", "type": "Webhook", "url": url},
        {"name": f"{tag}-alerts", "type": "Alertmanager", "url": url},
        {"name": f"{tag}-hidden", "type": "Webhook", "urlSecretRef": _key(key)},
        {"name": f"{tag}-mail", "type": "SMTP", "mail": {**mail, "to": ["c@d.example"]}},
    ]


def _reading(url: str) -> dict[str, Any]:
    return {
        "prometheus": {"url": url, "bearerTokenSecretRef": carriers.SECRET},
        "verification": {"timeoutSeconds": 15, "http": [{**carriers.PROBE, "url": url}]},
    }


def _texts(stand: HostileStand) -> Iterator[Found]:
    """Give scenes with every attack that admission lets through, in all fields that take it."""
    served = _served(stand)
    base = carriers.policy("tried", **served)
    for place in range(max(len(_harmless(one)) for one in TOGETHER)):
        made, names = base, []
        for form in TOGETHER:
            attacks = _harmless(form)
            if place < len(attacks):
                made = _with(stand, made, form, attacks[place])
                names.append(f"{form.name}: {attacks[place].name}")
        yield ", ".join(names), made["spec"], {}
    for form in ALONE:
        bare = carriers.with_query("tried", **served) if form is Form.SQL else base
        for attack in _harmless(form):
            yield f"{form.name}: {attack.name}", _with(stand, bare, form, attack)["spec"], {}


def _harmless(form: Form) -> list[Attack]:
    return [one for one in ATTACKS[form] if one.must is Must.HARM_NOTHING]


def _with(stand: HostileStand, manifest: Manifest, form: Form, attack: Attack) -> Manifest:
    """Put an attack into every field of a form that takes it, by what the API server says."""
    forms = FORMS["RollbackPolicy"]
    for one in fields_of("RollbackPolicy"):
        # A name in the matrix is that of a probe: another one leaves nothing to be done.
        if forms.get(one.path) is form and one.leaf != "name" and has(manifest, one):
            tried = put(manifest, one, attack.value)
            if not refusal(stand.tenant, policies(TENANT) + DRY, tried):
                manifest = tried
    return manifest


def _served(stand: HostileStand) -> dict[str, Any]:
    """Give what of a policy leads to the tenant's own server, as far as the owner allows it."""
    probe = {**carriers.PROBE, "url": stand.url("/probe")}
    return {
        "prometheus": {},
        "stage": {"maxSeconds": 0},
        "podMetrics": {"everyMilliseconds": 5000, "port": 8080, "path": "/metrics"},
        "verification": {
            **carriers.VERIFICATION,
            "timeoutSeconds": 15,
            "http": [probe],
        },
        "notify": [
            {
                "name": "hook",
                "type": "Webhook",
                "url": stand.url("/hook"),
                "secretRef": carriers.SECRET,
            },
            {"name": "hidden", "type": "Webhook", "urlSecretRef": _key("url")},
        ],
        "database": {
            "connectionSecretRef": _key("dsn"),
            "onNewerSchema": "Ignore",
            "onUnknownSchema": "Ignore",
            "integrityChecks": carriers.CHECKED["integrityChecks"],
        },
    }


def _key(key: str) -> dict[str, str]:
    return {"name": "own", "key": key}


def _renamed(node: Any, name: str) -> Any:
    """Have references to the tenant's own Secret name another one."""
    if isinstance(node, dict):
        made = {key: _renamed(value, name) for key, value in node.items()}
        if "key" in made and made.get("name") == "own":
            made["name"] = name
        return made
    return [_renamed(one, name) for one in node] if isinstance(node, list) else node


def put_up_services(stand: HostileStand, address: str, port: int) -> None:
    """Make the Services that lead elsewhere than their names say."""
    outside = {"type": "ExternalName", "externalName": "internal.example"}
    byhand: Object = {"ports": [{"port": port}]}
    for name, spec in (("outside", outside), ("byhand", byhand)):
        stand.tenant.create(SERVICES, {"metadata": {"name": name}, "spec": spec})
    slice_: Object = {
        "metadata": {"name": "byhand", "labels": {"kubernetes.io/service-name": "byhand"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"port": port}],
    }
    # A tenant whose role does not let them write slices has Endpoints, which are mirrored.
    stand.admin.create(SLICES, slice_)


def deployment(name: str, version: str) -> Object:
    """Make a Deployment of one pod."""
    labels = {"app": name}
    container = {"name": "shop", "image": f"registry.example/shop:{version}"}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def secret(scene: Scene) -> Object:
    """Make the Secret of a scene."""
    values = {key: base64.b64encode(one.encode()).decode() for key, one in scene.secrets.items()}
    return {"metadata": {"name": scene.name}, "data": values}
