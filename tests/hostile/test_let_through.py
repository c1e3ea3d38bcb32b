"""What admission lets through, used by the real operator: nothing leaves the tenant's namespace.

All scenes are played once; each test then looks for one kind of harm.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from aiohttp import web

from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.decide.requests import ADMISSION_LAG
from tests.hostile import carriers
from tests.hostile.scenes import DRY, Scene, batched, deployment, put_up_services, scenes, secret
from tests.hostile.stand import (
    HOME,
    HOOKS,
    MAP_CANARY,
    NEIGHBOUR,
    OWN,
    SECRET_CANARY,
    TENANT,
    HostileStand,
    WatchedOperator,
    names_victim,
    own_address,
    refusal,
    texts,
)
from tests.integration.api import Api, Object, deployments, eventually, policies, rollbacks
from tests.integration.listener import Listener

pytestmark = [pytest.mark.xdist_group("hostile"), pytest.mark.long, pytest.mark.timeout(3600)]
SECONDS = 600.0
AT_ONCE = 22
"""Scenes that are played at the same time, so that a small machine keeps up."""
PODS = ip_network("10.0.0.0/16")
"""Where KWOK has the pods."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Played:
    """The stand after all scenes have been gone through."""

    stand: HostileStand
    operator: WatchedOperator
    scenes: tuple[Scene, ...]
    internal: Listener
    """A server of the owner's: no policy may have it called."""
    outcomes: dict[str, str]


@pytest.fixture(scope="module")
def played(hostile: HostileStand) -> Iterator[Played]:
    internal = hostile.make_listener()
    _answer(hostile)
    address = own_address()
    hosts = {
        address: (HOOKS, "outside.tenant.svc", "byhand.tenant.svc", "mixed.tenant.svc"),
        "169.254.169.254": ("metadata.tenant.svc", "mixed.tenant.svc"),
        "127.0.0.1": ("localhost", "shop.tenant.svc.evil.example"),
    }
    put_up_services(hostile, address, internal.port)
    acts = tuple(scenes(hostile, internal.port))
    operator = hostile.operator(hosts)
    try:
        operator.wait_until_ready(120)
        outcomes: dict[str, str] = {}
        for some in batched(acts, AT_ONCE):
            outcomes |= _play(hostile, tuple(some))
        yield Played(hostile, operator, acts, internal, outcomes)
    finally:
        operator.end()
        internal.stop()


def _answer(stand: HostileStand) -> None:
    """Let the tenant's own server be as unhelpful as it can."""

    def redirect(_: int) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/"})

    junk = web.Response
    for path in ("/redirect", "/redirect/api/v1/query", "/redirect/api/v1/query_range"):
        stand.listener.answer(path, redirect)
    for path in ("/junk", "/junk/api/v1/query", "/junk/api/v1/query_range"):
        stand.listener.answer(path, lambda _: junk(text="[" * 100_000))
    for path in ("/probe", "/hook", "/hidden"):
        stand.listener.answer(path, lambda _: junk(text='{"items": [{"state": "ok"}]}'))


def _play(stand: HostileStand, acts: tuple[Scene, ...]) -> dict[str, str]:
    """Put scenes up, ship a second release in each, ask for its undo, and leave them suspended."""
    api = stand.tenant
    for one in acts:
        if one.secrets:
            api.create(f"/api/v1/namespaces/{TENANT}/secrets", secret(one))
        api.create(deployments(TENANT), deployment(one.name, "v1"))
    eventually(lambda: _are_served(api, acts, 1), "the first release of each runs", SECONDS)
    for one in acts:
        api.create(policies(TENANT), one.policy)
    eventually(lambda: _are_seen(api, acts), "each policy has a status", SECONDS)
    for one in acts:
        api.merge(f"{deployments(TENANT)}/{one.name}", deployment(one.name, "v2"))
    eventually(lambda: _are_served(api, acts, 2), "the second release of each runs", SECONDS)
    eventually(lambda: _are_old_enough(api, acts), "requests for its policies count", SECONDS)
    for one in acts:
        api.create(rollbacks(TENANT), _asked(api, deployments(TENANT), one.name))
    try:
        eventually(lambda: not _open(api), "each Rollback ends", SECONDS, every=2.0)
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *_open(api)])) from None
    for one in acts:
        api.merge(f"{policies(TENANT)}/{one.name}", {"spec": {"suspend": True}})
    found = api.get(rollbacks(TENANT))["items"]
    return {one["metadata"]["name"]: one["status"]["outcome"] for one in found}


def _asked(api: Api, path: str, name: str) -> Object:
    """Make a request for the undo of what runs, as `kubectl rollback undo` does."""
    template = api.get(f"{path}/{name}")["spec"]["template"]
    seen = {"deployment": name, "revision": 2, "digest": template_of(template).digest}
    return carriers.request(name, policyRef={"name": name}, seen=seen)


def _are_served(api: Api, acts: tuple[Scene, ...], generation: int) -> bool:
    found = {one["metadata"]["name"]: one for one in api.get(deployments(TENANT))["items"]}
    return all(_is_served(found[one.name], generation) for one in acts)


def _is_served(raw: Object, generation: int) -> bool:
    status = raw.get("status") or {}
    return bool(
        status.get("observedGeneration", 0) >= generation
        and status.get("availableReplicas") == status.get("updatedReplicas") == 1
        and status.get("replicas") == 1
    )


def _are_seen(api: Api, acts: tuple[Scene, ...]) -> bool:
    found = {one["metadata"]["name"]: one for one in api.get(policies(TENANT))["items"]}
    return all((found[one.name].get("status") or {}).get("conditions") for one in acts)


def _are_old_enough(api: Api, acts: tuple[Scene, ...]) -> bool:
    """A request that may be older than what admission knows of its policy is refused."""
    found = {one["metadata"]["name"]: one["metadata"] for one in api.get(policies(TENANT))["items"]}
    made = (datetime.fromisoformat(found[one.name]["creationTimestamp"]) for one in acts)
    return datetime.now(UTC) - max(made) > ADMISSION_LAG + timedelta(seconds=1)


def _open(api: Api) -> list[str]:
    found = api.get(rollbacks(TENANT))["items"]
    return [
        f"{one['metadata']['name']} {_steps(one)}"
        for one in found
        if not (one.get("status") or {}).get("outcome")
    ]


def _steps(raw: Object) -> str:
    status = raw.get("status") or {}
    steps = [f"{one['name']} {one.get('finishedTime', '')}" for one in status.get("steps") or []]
    checks = [one for one in status.get("verification") or [] if one.get("result") != "Passed"]
    return json.dumps([steps, checks, status.get("conditions")])[:1500]


def test_there_was_something_to_go_wrong(played: Played) -> None:
    """Else nothing below could fail: Secrets were read, probes sent, people told."""
    done = [name for name, outcome in played.outcomes.items() if outcome != "Refused"]
    assert 2 * len(done) > len(played.scenes), Counter(played.outcomes.values())
    heard = played.stand.listener.all_heard()
    assert {"/probe", "/hook", "/hidden"} <= {one.path for one in heard}
    assert any(OWN in json.dumps(dict(one.headers)) for one in heard)
    asked = {
        (one["verb"], (one.get("objectRef") or {}).get("resource")) for one in played.stand.asked()
    }
    assert {("get", "secrets"), ("patch", "deployments"), ("create", "events")} <= asked
    assert "Verified" in played.outcomes.values() or "NotRecovered" in played.outcomes.values()


def test_nothing_is_asked_of_another_namespace(played: Played) -> None:
    found = [one["requestURI"] for one in played.stand.asked() if names_victim(one)]
    assert not found


def test_nothing_is_written_elsewhere(played: Played) -> None:
    written = [one for one in played.stand.asked() if one["verb"] in WRITES]
    elsewhere = [
        one["requestURI"]
        for one in written
        if (one.get("objectRef") or {}).get("namespace") not in (TENANT, NEIGHBOUR, HOME)
        and "accessreviews" not in one["requestURI"]
    ]
    assert not elsewhere


def test_no_request_is_one_that_no_name_could_make(played: Played) -> None:
    """A segment that was decoded, doubled or climbed would stand out here."""
    odd = [
        one["requestURI"]
        for one in played.stand.asked()
        if any(each in urlsplit(one["requestURI"]).path for each in ("..", "//", "%2", "%5", "%00"))
    ]
    assert not odd


def test_nobody_is_connected_to_but_who_may_be(played: Played) -> None:
    api, prometheus = (
        (urlsplit(url).hostname, urlsplit(url).port)
        for url in (played.stand.cluster.server, played.stand.prometheus.url)
    )
    allowed = {api, prometheus, (own_address(), played.stand.listener.port)}
    called = played.stand.connected() - allowed
    # The pods of the tenant's own release, for their metrics.
    assert [one for one in called if ip_address(one[0]) not in PODS] == []


def test_the_owners_own_server_hears_nothing(played: Played) -> None:
    assert played.internal.all_heard() == []


@pytest.mark.parametrize("canary", [SECRET_CANARY, MAP_CANARY])
def test_no_canary_turns_up(played: Played, canary: str) -> None:
    for where, text in texts(played.stand.admin):
        assert canary not in text, where
    assert canary not in played.operator.log.read_text(errors="replace")
    for one in played.stand.listener.all_heard():
        assert canary not in f"{one.path} {one.headers} {one.body}"


def test_no_secret_of_the_tenant_is_written_where_people_read(played: Played) -> None:
    """Not even the tenant's own: who may read a status need not be who may read the Secret."""
    for where, text in texts(played.stand.admin):
        assert OWN not in text, where
    assert OWN not in played.operator.log.read_text(errors="replace")


def test_no_pass_has_raised(played: Played) -> None:
    log = played.operator.log.read_text(errors="replace")
    assert "Traceback" not in log
    assert played.operator.metric("rollback_operator_passes_total") > len(played.scenes)


def test_it_is_alive_and_serves_others(played: Played) -> None:
    answer: Any = requests.get(f"{played.operator.url}/healthz", timeout=10)
    assert answer.status_code == 200
    api = played.stand.admin
    api.create(deployments(NEIGHBOUR), deployment("shop", "v1"))
    path = f"{deployments(NEIGHBOUR)}/shop"
    eventually(lambda: _is_served(api.get(path), 1), "the neighbour's first release runs")
    policy = {
        "apiVersion": carriers.API_VERSION,
        "kind": "RollbackPolicy",
        "metadata": {"name": "shop"},
        "spec": {"targetRef": {"name": "shop"}, "mode": "Enforce"},
    }
    api.create(policies(NEIGHBOUR), policy)
    api.merge(path, deployment("shop", "v2"))
    eventually(lambda: _is_served(api.get(path), 2), "the neighbour's second release runs")
    asked = _asked(api, deployments(NEIGHBOUR), "shop")
    eventually(lambda: not refusal(api, rollbacks(NEIGHBOUR) + DRY, asked), "the request is taken")
    api.create(rollbacks(NEIGHBOUR), asked)

    def image() -> str:
        containers = api.get(path)["spec"]["template"]["spec"]["containers"]
        return str(containers[0]["image"])

    eventually(lambda: image() == "registry.example/shop:v1", "the neighbour's release is undone")


def test_every_attack_that_is_let_through_was_played(played: Played) -> None:
    print(
        "\n".join(f"{one.name}: {one.attack}: {played.outcomes[one.name]}" for one in played.scenes)
    )
    assert set(played.outcomes) == {one.name for one in played.scenes}
