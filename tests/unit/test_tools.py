"""Which reads tell who else takes hold of a Deployment: few where a cluster has few kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.target.tools import SERVED_SECONDS, ApiTools
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.model.controllers import Claims, Owner, OwnerObject
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.observe.inspection import (
    PREFLIGHT_SECONDS,
    UNSEEN_SECONDS,
    ClaimsCache,
)
from tests.builders import at, make_deployment
from tests.fakes.cluster import FakeTools
from tests.unit.test_claiming import (
    SHOP,
    application,
    automation,
    canary,
    image_policy,
    image_updater,
    rollout,
)

ABSENT = Failure(FailureKind.GONE, "404")
FORBIDDEN = Failure(FailureKind.REJECTED, "403: canaries is forbidden")
OUTAGE = Failure(FailureKind.UNAVAILABLE, "503")
HERE = "namespaces/production"
FLAGGER_API, ROLLOUTS_API = "flagger.app/v1beta1", "argoproj.io/v1alpha1"
FLUX_API = "image.toolkit.fluxcd.io/v1"
UPDATER_API = "argocd-image-updater.argoproj.io/v1alpha1"
NAMED = {"name": "ticket-service"}


@dataclass
class Cluster:
    """An API server that serves some kinds, with what is in some lists."""

    kinds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By group and version."""
    answers: dict[str, list[Any] | dict[str, Any] | Failure] = field(default_factory=dict)
    """By what a path ends with."""
    asked: list[str] = field(default_factory=list)
    seconds: float = 0.0

    async def list_of(self, listing: Listing[Any]) -> list[Any] | Failure:
        found = await self.get(listing.path)
        if isinstance(found, Failure):
            return found
        return [listing.taken(one) for one in found.get("items") or ()]

    async def get(self, path: str) -> dict[str, Any] | Failure:
        self.asked.append(path)
        if path == "/apis":
            groups = [
                {"name": one.partition("/")[0], "preferredVersion": {"groupVersion": one}}
                for one in ("apps/v1", *self.kinds)
            ]
            return {"groups": groups}
        version = path.removeprefix("/apis/")
        if version in self.kinds:
            return {"resources": [{"name": one} for one in self.kinds[version]]}
        found = next((one for end, one in self.answers.items() if path.endswith(end)), ABSENT)
        return {"items": found} if isinstance(found, list) else found

    async def look(self, deployment: Deployment | None = None) -> Claims:
        return await self.tools.read_claims(deployment or running())

    def __post_init__(self) -> None:
        self.tools = ApiTools(cast("ApiServer", self), "argocd", lambda: self.seconds)


def running(owner: Owner | None = None) -> Deployment:
    found = make_deployment(owner=owner)
    images = (f"{SHOP}:v1.2.3",)
    return make_deployment(owner=owner, template=_with(found, images))


def _with(deployment: Deployment, images: tuple[str, ...]) -> Any:
    return type(deployment.template)("digest-v2", "release-v2", images, ("shop",))


async def test_nothing_more_is_asked_of_a_cluster_that_has_no_such_kinds() -> None:
    cluster = Cluster()

    found = await cluster.look()
    await cluster.look()

    assert found == Claims(denied=frozenset({"Flagger", "Argo Rollouts"}))
    assert cluster.asked == ["/apis"]
    cluster.seconds = SERVED_SECONDS
    await cluster.look()
    assert cluster.asked == ["/apis", "/apis"]


async def test_a_kind_that_the_group_lacks_is_no_right_that_is_missing() -> None:
    cluster = Cluster({ROLLOUTS_API: ("applications", "appprojects")})

    assert await cluster.look() == Claims(denied=frozenset({"Flagger", "Argo Rollouts"}))


async def test_a_canary_and_a_rollout_are_found_in_the_deployments_namespace() -> None:
    cluster = Cluster(
        {FLAGGER_API: ("canaries", "canaries/status"), ROLLOUTS_API: ("rollouts",)},
        {f"{HERE}/canaries": [canary("shop", **NAMED)], f"{HERE}/rollouts": []},
    )
    found = await cluster.look()
    assert found.driver is not None
    assert (found.driver.kind, found.denied) == ("Flagger", {"Argo Rollouts"})

    cluster.answers = {f"{HERE}/canaries": [], f"{HERE}/rollouts": [rollout("shop", **NAMED)]}
    found = await cluster.look()
    assert found.driver is not None
    assert (found.driver.kind, found.denied) == ("Argo Rollouts", {"Flagger"})


@pytest.mark.parametrize(
    ("primary", "driver", "unseen"),
    [
        (ABSENT, None, ()),
        (
            {
                "metadata": {
                    "name": "ticket-service-primary",
                    "ownerReferences": [
                        {"apiVersion": FLAGGER_API, "kind": "Canary", "name": "shop"}
                    ],
                }
            },
            "Flagger",
            (),
        ),
        (OUTAGE, None, ("Canaries (403: canaries is forbidden)",)),
    ],
    ids=["no primary", "a primary of Flagger's", "no answer"],
)
async def test_without_the_right_to_canaries_the_primary_tells(
    primary: Any, driver: str | None, unseen: tuple[str, ...]
) -> None:
    cluster = Cluster(
        {FLAGGER_API: ("canaries",)},
        {"/canaries": FORBIDDEN, "/deployments/ticket-service-primary": primary},
    )

    found = await cluster.look()

    assert (found.driver and found.driver.kind, found.unseen) == (driver, unseen)
    assert ("Flagger" in found.denied) is (driver is None and not unseen)


@pytest.mark.parametrize("failure", [FORBIDDEN, OUTAGE])
async def test_what_cannot_be_read_is_named_and_denies_nothing(failure: Failure) -> None:
    cluster = Cluster({ROLLOUTS_API: ("rollouts",)}, {"/rollouts": failure})

    found = await cluster.look()

    assert found.unseen == (f"Rollouts ({failure.message})",)
    assert found.denied == {"Flagger"}


LISTED = {"inventory": {"entries": [{"id": "production_ticket-service_apps_Deployment"}]}}
KUSTOMIZE_API, HELM_API = "kustomize.toolkit.fluxcd.io/v1", "helm.toolkit.fluxcd.io/v2"
AT_FLUX = "namespaces/flux-system"


@pytest.mark.parametrize(
    ("kind", "owner", "count", "unseen"),
    [
        (OwnerKind.KUSTOMIZATION, {"status": LISTED}, 1, 0),
        (OwnerKind.HELM_RELEASE, {"status": LISTED}, 1, 0),
        (OwnerKind.KUSTOMIZATION, {"status": {"inventory": {"entries": []}}}, 0, 0),
        (OwnerKind.KUSTOMIZATION, {"status": LISTED, "spec": {"kubeConfig": {"x": 1}}}, 0, 0),
        (OwnerKind.HELM_RELEASE, {"spec": {"targetNamespace": "production"}}, 0, 0),
        (OwnerKind.KUSTOMIZATION, {"status": 7}, 0, 0),
        (OwnerKind.KUSTOMIZATION, ABSENT, 0, 0),
        (OwnerKind.KUSTOMIZATION, FORBIDDEN, 0, 1),
    ],
    ids=[
        "it lists the Deployment",
        "a release that lists it",
        "it does not",
        "of another cluster",
        "a release into the namespace",
        "another form",
        "there is none",
        "no right",
    ],
)
async def test_flux_is_looked_for_where_the_deployment_is_and_where_an_owner_lists_it(
    kind: OwnerKind, owner: Any, count: int, unseen: int
) -> None:
    cluster = Cluster(
        {
            FLUX_API: ("imagepolicies", "imageupdateautomations"),
            KUSTOMIZE_API: ("kustomizations",),
            HELM_API: ("helmreleases",),
        },
        {
            f"{AT_FLUX}/kustomizations/shop": owner,
            f"{AT_FLUX}/helmreleases/shop": owner,
            f"{AT_FLUX}/imagepolicies": [image_policy(latestRef={"name": SHOP})],
            f"{AT_FLUX}/imageupdateautomations": [automation()],
            f"{HERE}/imagepolicies": [],
            f"{HERE}/imageupdateautomations": [],
        },
    )
    steered = Owner("Flux", "label", "in Git", object=OwnerObject(kind, "flux-system", "shop"))

    claims = await cluster.look(running(steered))

    assert [one.tool for one in claims.updaters] == ["Flux image automation"] * count
    assert len(claims.unseen) == unseen
    lists = [path for path in cluster.asked if f"{AT_FLUX}/image" in path]
    assert bool(lists) is bool(count)
    assert (await cluster.look(running())).updaters == ()


ARGO_CD = Owner(
    "Argo CD", "label", "in Git", object=OwnerObject(OwnerKind.APPLICATION, "", "shop-production")
)


@pytest.mark.parametrize(
    ("kinds", "answers", "count", "unseen"),
    [
        ({}, {"/shop-production": application(f"shop={SHOP}")}, 1, 0),
        ({}, {"/shop-production": application()}, 0, 0),
        ({}, {"/shop-production": FORBIDDEN}, 0, 1),
        ({}, {"/shop-production": ABSENT}, 0, 0),
        ({}, {"/shop-production": {**application(f"shop={SHOP}"), "status": {}}}, 0, 0),
        (
            {UPDATER_API: ("imageupdaters",)},
            {"/shop-production": application(), "argocd/imageupdaters": [image_updater()]},
            1,
            0,
        ),
        (
            {UPDATER_API: ("imageupdaters",)},
            {"/shop-production": application(f"shop={SHOP}"), "argocd/imageupdaters": FORBIDDEN},
            1,
            1,
        ),
    ],
    ids=[
        "annotation",
        "none",
        "no right",
        "gone",
        "not its owner",
        "an ImageUpdater",
        "no right to ImageUpdaters",
    ],
)
async def test_an_application_leads_to_its_image_updater(
    kinds: dict[str, tuple[str, ...]], answers: dict[str, Any], count: int, unseen: int
) -> None:
    cluster = Cluster({"argoproj.io/v1alpha1": ("applications",), **kinds}, answers)

    found = await cluster.look(running(ARGO_CD))

    assert [one.tool for one in found.updaters] == ["Argo CD Image Updater"] * count
    assert len(found.unseen) == unseen


async def test_who_claims_a_deployment_is_looked_at_once_in_a_while() -> None:
    tools, seconds = FakeTools(), [0.0]
    lookout = ClaimsCache(tools, lambda: at(seconds[0]))

    for now in (0.0, 1.0, PREFLIGHT_SECONDS - 1):
        seconds[0] = now
        await lookout.claimed(make_deployment())
    assert tools.looks == 1

    seconds[0] = PREFLIGHT_SECONDS
    tools.claims = Claims(unseen=("Rollouts (503)",))
    await lookout.claimed(make_deployment())
    seconds[0] += UNSEEN_SECONDS
    await lookout.claimed(make_deployment())
    assert tools.looks == 3


async def test_deployments_that_are_gone_are_forgotten() -> None:
    seconds = [0.0]
    lookout = ClaimsCache(FakeTools(), lambda: at(seconds[0]))

    for now, name in (
        (0.0, "gone"),
        (1.0, "shop"),
        (2.0, "cart"),
        (PREFLIGHT_SECONDS + 1.0, "shop"),
    ):
        seconds[0] = now
        await lookout.claimed(make_deployment(name=name))

    assert [name for _, name in lookout.known] == ["cart", "shop"]
