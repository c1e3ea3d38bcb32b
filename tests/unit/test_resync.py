"""What no watch has told: found by a list, taken in once, and nothing newer is lost for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube.apiserver import ApiServer, TooLarge
from rollback_operator.adapters.kube.projections.outlines import Outline
from rollback_operator.api.v1alpha1 import API_VERSION, Rollback, RollbackPolicy
from rollback_operator.evidence.retention import LONGEST_ROUTE
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import DEPLOYMENTS_PLURAL, MOST_NAMES, Cache, Key, Unreadable
from rollback_operator.runtime.intake import STATUS_SECONDS, Intake, Resync

SHOP = "production", "shop"
POLICIES, ROLLBACKS = RollbackPolicy.PLURAL, Rollback.PLURAL
Raw = dict[str, Any]


def thing(version: int, key: Key = SHOP, **content: Any) -> Raw:
    namespace, name = key
    uid = content.pop("uid", f"uid of {name}")
    metadata = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": API_VERSION, "metadata": metadata, **content}


def policy(version: int, key: Key = SHOP) -> Raw:
    return thing(version, key, spec={"targetRef": {"name": "shop"}, "mode": "Enforce"})


def request(version: int, name: str = "by-hand") -> Raw:
    remedy = {"type": "Undo", "to": "Previous"}
    spec = {"policyRef": {"name": "shop"}, "remedy": remedy, "reason": "it fails"}
    spec["seen"] = {"deployment": "shop", "revision": 1, "digest": "d"}
    return thing(version, ("production", name), spec=spec)


def deployment(version: int, *images: str, key: Key = SHOP, **content: Any) -> Raw:
    containers = [{"name": "shop", "image": image} for image in images or ("shop:v1",)]
    template = {"spec": {"containers": containers}}
    return thing(version, key, spec={"template": template}, **content)


def bearing(version: int, annotations: dict[str, str]) -> Raw:
    raw = deployment(version)
    raw["metadata"]["annotations"] = annotations
    return raw


@dataclass
class Lists:
    """The API server's lists."""

    there: dict[str, list[Raw]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    """Names of what was read whole."""
    failing: set[str] = field(default_factory=set)
    meanwhile: Callable[[], None] = lambda: None
    """Happens while a list is on its way."""

    async def list_metadata(self, path: str) -> list[Raw] | Failure:
        self.asked.append(path)
        if path in self.failing:
            return Failure(FailureKind.UNAVAILABLE, "no answer")
        found = [one["metadata"] for one in self._of(path)]
        self.meanwhile()
        return found

    async def get(self, path: str, **query: str) -> Raw | Failure:
        name = query["fieldSelector"].removeprefix("metadata.name=")
        self.read.append(name)
        found = [one for one in self._of(path) if one["metadata"]["name"] == name]
        return {"items": found or None}

    def _of(self, path: str) -> list[Raw]:
        return self.there.get(path.rpartition("/")[2], [])


class World:
    def __init__(self, *namespaces: str) -> None:
        self.wanted: list[tuple[Key, float]] = []
        self.cache = Cache()
        self.intake = Intake(self.cache, lambda key, delay: self.wanted.append((key, delay)))
        self.lists = Lists()
        api = cast("ApiServer", self.lists)
        self.resync = Resync(api, self.intake, namespaces)

    def know(self, plural: str, *objects: Raw) -> None:
        """Have a watch tell of objects that are there."""
        for one in objects:
            self.intake.take(plural, one)
        self.lists.there.setdefault(plural, []).extend(objects)
        self.wanted.clear()

    def image(self) -> str:
        return self.cache.deployments[SHOP].template.images[0]


@pytest.fixture
def world() -> World:
    made = World()
    made.know(POLICIES, policy(1))
    made.know(DEPLOYMENTS_PLURAL, deployment(2))
    return made


async def test_where_everything_is_known_nothing_is_wanted(world: World) -> None:
    world.know(ROLLBACKS, request(3))

    await world.resync.compare()

    assert world.wanted == []
    assert (len(world.lists.asked), world.lists.read) == (3, [])


async def test_a_release_that_no_watch_has_told_is_found(world: World) -> None:
    world.lists.there[DEPLOYMENTS_PLURAL] = [deployment(7, "shop:v2")]

    await world.resync.compare()

    assert world.image() == "shop:v2"
    assert world.wanted == [(SHOP, 0.0)]


async def test_a_change_cause_whose_removal_was_refused_is_delivered_again(world: World) -> None:
    cause = {"kubernetes.io/change-cause": "rollback-operator: undo of revision 2"}
    world.lists.there[DEPLOYMENTS_PLURAL].clear()
    world.know(DEPLOYMENTS_PLURAL, bearing(4, cause))
    world.cache.forget_cause(world.cache.deployments[SHOP])
    assert world.cache.deployments[SHOP].change_cause == ""

    await world.resync.compare()

    assert world.cache.deployments[SHOP].change_cause
    assert world.wanted == [(SHOP, STATUS_SECONDS)]


async def test_long_names_are_kept_only_where_a_policy_watches(world: World) -> None:
    """Of Deployments that nobody watches there may be any number, of a megabyte each."""
    long, other = "x" * (LONGEST_ROUTE - len("shop:")), ("production", "other")
    images = [f"shop:{long}"] * (1 + MOST_NAMES // LONGEST_ROUTE)
    world.know(DEPLOYMENTS_PLURAL, deployment(3, *images, key=other), deployment(4, *images))
    assert list(world.cache.deployments) == [SHOP]
    assert world.image() == f"shop:{long}"

    raw = policy(5, other)
    raw["spec"]["targetRef"]["name"] = "other"
    world.know(POLICIES, raw)
    await world.resync.compare()

    assert other in world.cache.deployments


async def test_what_was_made_and_not_told_is_found(world: World) -> None:
    other = "production", "other"
    world.lists.there[POLICIES].append(policy(8, other))
    world.lists.there[ROLLBACKS] = [request(9)]

    await world.resync.compare()

    assert list(dict.fromkeys(world.wanted)) == [(other, 0.0), (SHOP, 0.0)]
    assert list(world.cache.requests) == [("production", "by-hand")]


async def test_what_was_deleted_and_not_told_is_forgotten(world: World) -> None:
    world.know(ROLLBACKS, request(3))
    world.lists.there.clear()

    await world.resync.compare()

    assert (world.cache.policies, world.cache.requests, world.cache.deployments) == ({}, {}, {})
    assert (SHOP, 0.0) in world.wanted


async def test_a_list_that_is_older_than_a_watch_changes_nothing(world: World) -> None:
    world.intake.take(DEPLOYMENTS_PLURAL, deployment(9, "shop:v2"))
    world.wanted.clear()

    await world.resync.compare()

    assert world.image() == "shop:v2"
    assert world.wanted == []


async def test_what_was_made_anew_while_it_was_listed_stays(world: World) -> None:
    world.lists.there[DEPLOYMENTS_PLURAL] = []

    def made_anew() -> None:
        if world.lists.asked[-1].endswith(DEPLOYMENTS_PLURAL):
            world.intake.take(DEPLOYMENTS_PLURAL, deployment(9, "shop:v2", uid="another"))

    world.lists.meanwhile = made_anew

    await world.resync.compare()

    assert world.image() == "shop:v2"


async def test_what_cannot_be_listed_stays_known(world: World) -> None:
    world.lists.there.clear()
    world.lists.failing = {"/apis/apps/v1/deployments"}

    await world.resync.compare()
    assert SHOP in world.cache.deployments

    world.lists.failing.clear()
    await world.resync.compare()
    assert SHOP not in world.cache.deployments


async def test_what_is_gone_when_it_is_read_is_left_to_the_next_look(world: World) -> None:
    other = "production", "other"
    world.lists.there[POLICIES].append(policy(8, other))
    world.lists.meanwhile = lambda: world.lists.there.pop(POLICIES, None)

    await world.resync.compare()

    assert world.lists.read == ["other"]
    assert list(world.cache.policies) == [SHOP]


async def test_deployments_that_nobody_has_a_policy_on_are_not_read(world: World) -> None:
    world.lists.there[DEPLOYMENTS_PLURAL].append(deployment(9, key=("production", "cart")))

    await world.resync.compare()

    assert world.lists.read == []


async def test_only_what_is_watched_is_listed_and_missed() -> None:
    world = World("production", "staging")
    world.know(DEPLOYMENTS_PLURAL, deployment(2), deployment(3, key=("staging", "shop")))
    world.lists.there.clear()

    await world.resync.compare()

    assert world.cache.deployments == {}
    places = [f"/apis/apps/v1/namespaces/{one}/deployments" for one in ("production", "staging")]
    assert [one for one in world.lists.asked if one.endswith(DEPLOYMENTS_PLURAL)] == places


def test_an_older_version_is_no_news() -> None:
    cache = Cache()
    for version in (7, 5):
        cache.put_policy(policy(version))
        cache.put_rollback(request(version))
        cache.put_deployment(deployment(version, f"shop:v{version}"))

    assert cache.policies[SHOP].metadata.resource_version == "7"
    assert cache.requests["production", "by-hand"].metadata.resource_version == "7"
    assert cache.deployments[SHOP].template.images == ("shop:v7",)


def test_a_write_that_returns_late_does_not_hide_what_a_watch_has_delivered() -> None:
    """A person approves right after the operator's write, and the watch is faster."""
    cache = Cache()
    cache.put_policy(policy(5))
    cache.put_rollback(request(5))
    written = cache.policies[SHOP], cache.requests["production", "by-hand"]
    cache.put_policy(policy(7))
    cache.put_rollback(request(7))

    for each in written:
        assert not isinstance(each, Unreadable)
        cache.remember(each)
        cache.take_in(each)

    assert cache.policies[SHOP].metadata.resource_version == "7"
    assert cache.requests["production", "by-hand"].metadata.resource_version == "7"


def test_of_objects_that_are_gone_nothing_is_kept() -> None:
    cache = Cache()
    cache.put_policy(policy(1))
    cache.put_rollback(request(2))
    cache.put_deployment(deployment(3))

    cache.drop_policy(SHOP)
    cache.drop_rollback(("production", "by-hand"))
    cache.drop_deployment(SHOP)

    kept = {name: value for name, value in vars(cache).items() if isinstance(value, dict) and value}
    assert kept == {}


def too_large(raw: Raw) -> Raw:
    return Outline(raw["metadata"]).stub


def test_a_policy_that_becomes_too_large_is_not_acted_on_and_keeps_its_record(world: World) -> None:
    before = world.cache.policies[SHOP].status.model_copy(update={"observed_generation": 3})
    world.cache.policies[SHOP] = world.cache.policies[SHOP].model_copy(update={"status": before})  # type: ignore[union-attr]
    world.intake.take(POLICIES, too_large(policy(8)))

    known = world.cache.policies[SHOP]
    assert isinstance(known, Unreadable)
    assert "24 MiB" in known.message
    assert (known.status, known.is_unread) == (before, False)
    assert known.metadata.resource_version == "8"
    assert world.cache.policies_on(*SHOP) == []

    written = known.shell.model_copy(update={"status": before.model_copy(update={"message": ""})})
    world.cache.take_in(written)
    assert world.cache.policies[SHOP].status is written.status

    world.intake.drop(POLICIES, SHOP)  # its deletion, which no list has to find
    assert SHOP not in world.cache.policies


def test_the_record_of_a_policy_too_large_since_the_start_is_unknown() -> None:
    world = World()
    world.intake.take(POLICIES, too_large(policy(8)))

    known = world.cache.policies[SHOP]
    assert isinstance(known, Unreadable)
    assert known.is_unread
    assert world.intake.delivered == {"uid of shop"}


async def test_what_is_too_large_is_read_once_and_the_others_are_compared(world: World) -> None:
    class Large(Lists):
        async def get(self, path: str, **query: str) -> Raw | Failure:
            answer = await super().get(path, **query)
            if self.read[-1] != "by-hand" or isinstance(answer, Failure):
                return answer
            outline = Outline(answer["items"][0]["metadata"])
            return TooLarge(FailureKind.UNAVAILABLE, "24 MiB", outline=outline)

    world.know(ROLLBACKS, request(3))
    lists = Large({**world.lists.there, ROLLBACKS: [request(9)], POLICIES: [policy(5)]})
    resync = Resync(cast("ApiServer", lists), world.intake)
    await resync.compare()
    await resync.compare()

    assert lists.read.count("by-hand") == 1
    assert not world.cache.requests
    assert world.cache.policies[SHOP].metadata.resource_version == "5"
    lists.there[ROLLBACKS] = []
    await resync.compare()
    assert not world.intake.left_out
