"""Canaries, Rollouts, image policies and ImageUpdaters through the API server; only read.

Most clusters serve few of these kinds. The served kinds are read first and remembered for a while,
which saves requests and distinguishes an absent kind from a missing right.

A Deployment's labels may name any object of any namespace. Of another namespace only the named
object is read, and nothing else before that object names the Deployment.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.projections.claims import (
    FLAGGER,
    ROLLOUTS,
    Application,
    application_of,
    argo_cd_updater,
    canary_on,
    flux_updaters,
    primary_of,
    rollout_on,
)
from rollback_operator.adapters.kube.projections.fields import projected
from rollback_operator.adapters.kube.projections.gitops import manages
from rollback_operator.adapters.kube.target.owners import OWNER_KINDS
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerObject
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.gitops import joined

ToolKind = tuple[str, str]
"""Group and plural."""
CANARIES: ToolKind = ("flagger.app", "canaries")
ROLLOUT_KIND: ToolKind = ("argoproj.io", "rollouts")
IMAGE_UPDATERS: ToolKind = ("argocd-image-updater.argoproj.io", "imageupdaters")
IMAGE_POLICIES: ToolKind = ("image.toolkit.fluxcd.io", "imagepolicies")
AUTOMATIONS: ToolKind = ("image.toolkit.fluxcd.io", "imageupdateautomations")
_GROUPS = frozenset(
    group
    for group, _ in (
        CANARIES,
        ROLLOUT_KIND,
        IMAGE_UPDATERS,
        IMAGE_POLICIES,
        AUTOMATIONS,
        *OWNER_KINDS.values(),
    )
)
SERVED_SECONDS = 300.0
"""How long the served kinds are remembered."""

Served = Mapping[ToolKind, paths.ResourceKind]
"""The served kinds with their versions."""
Items = list[dict[str, Any]]


@dataclass
class ApiTools:
    """The Tools port on a real API server."""

    api: ApiServer
    argo_cd: str
    """The namespace of Applications without a namespace on record."""
    monotonic: Callable[[], float]
    known: tuple[float, Served] | None = field(default=None, init=False)
    """The served kinds, and when they expire."""

    async def read_claims(self, deployment: Deployment) -> Claims:
        """Read the objects that name the Deployment or its images."""
        served = await self._served()
        if isinstance(served, Failure):
            return Claims(unseen=(f"rollout tools and image updaters ({served.message})",))
        return joined(
            await asyncio.gather(
                self._canary(served, deployment),
                self._rollout(served, deployment),
                self._flux(served, deployment),
                self._argo_cd(served, deployment),
            )
        )

    async def _served(self) -> Served | Failure:
        now = self.monotonic()
        if self.known is not None and now < self.known[0]:
            return self.known[1]
        groups = await self.api.get(paths.api_groups())
        if isinstance(groups, Failure):
            return groups
        versions = projected("the list of API groups", lambda: _versions(groups))
        if isinstance(versions, Failure):
            return versions
        served: dict[ToolKind, paths.ResourceKind] = {}
        for group, version in versions.items():
            kinds = await self.api.get(paths.kinds_of(version))
            if isinstance(kinds, Failure):
                return kinds
            plurals = projected(version, partial(_plurals, kinds))
            if isinstance(plurals, Failure):
                return plurals
            served |= {(group, plural): paths.kind_of(version, plural) for plural in plurals}
        self.known = now + SERVED_SECONDS, served
        return served

    async def _canary(self, served: Served, deployment: Deployment) -> Claims:
        if CANARIES not in served:
            return Claims(denied=frozenset({FLAGGER}))
        listed = await self._list(served, CANARIES, deployment.namespace)
        if not isinstance(listed, Failure):
            return _evaluated("Canaries", lambda: canary_on(listed, deployment.name))
        if listed.kind is not FailureKind.REJECTED:
            return _unseen_claims("Canaries", listed)
        # The copy that Flagger makes of its target is a Deployment, which the operator may read.
        namespace, name = deployment.namespace, f"{deployment.name}-primary"
        primary = await self.api.get(paths.object_in(paths.DEPLOYMENTS, namespace, name))
        if not isinstance(primary, Failure):
            return _evaluated("Canaries", lambda: primary_of(primary, deployment.name))
        if primary.kind is FailureKind.GONE:
            return Claims(denied=frozenset({FLAGGER}))
        return _unseen_claims("Canaries", listed)

    async def _rollout(self, served: Served, deployment: Deployment) -> Claims:
        if ROLLOUT_KIND not in served:
            return Claims(denied=frozenset({ROLLOUTS}))
        listed = await self._list(served, ROLLOUT_KIND, deployment.namespace)
        if isinstance(listed, Failure):
            return _unseen_claims("Rollouts", listed)
        return _evaluated("Rollouts", lambda: rollout_on(listed, deployment.name))

    async def _flux(self, served: Served, deployment: Deployment) -> Claims:
        """Read the namespace of the Deployment, and that of an owner that names it."""
        if IMAGE_POLICIES not in served or AUTOMATIONS not in served:
            return Claims()
        claims = [await self._flux_in(served, deployment.namespace, deployment)]
        steering = _owner_object(deployment)
        if steering is None or steering.kind is OwnerKind.APPLICATION:
            return joined(claims)
        if steering.namespace == deployment.namespace:
            return joined(claims)
        owner = await self._owner(served, deployment, steering)
        if isinstance(owner, Failure):
            claims.append(_unseen_claims("Flux image policies of its owner", owner))
        elif owner is not None:
            claims.append(await self._flux_in(served, steering.namespace, deployment))
        return joined(claims)

    async def _owner(
        self, served: Served, deployment: Deployment, steering: OwnerObject
    ) -> dict[str, Any] | Failure | None:
        """Read the owner's object; None: there is none that names the Deployment.

        An absent object and somebody else's have the same answer: labels could ask which exist.
        """
        if OWNER_KINDS[steering.kind] not in served:
            return None
        kind, namespace = served[OWNER_KINDS[steering.kind]], steering.namespace or self.argo_cd
        raw = await self.api.get(paths.object_in(kind, namespace, steering.name))
        if isinstance(raw, Failure):
            return None if raw.kind is FailureKind.GONE else raw
        steered = OwnedDeployment(steering, deployment.namespace, deployment.name)
        is_owner = projected(steering.kind, lambda: manages(raw, steered))
        return raw if is_owner is True else None

    async def _flux_in(self, served: Served, namespace: str, deployment: Deployment) -> Claims:
        policies, automations = await asyncio.gather(
            self._list(served, IMAGE_POLICIES, namespace),
            self._list(served, AUTOMATIONS, namespace),
        )
        if isinstance(policies, Failure):
            return _unseen_claims("Flux image policies", policies)
        if isinstance(automations, Failure):
            return _unseen_claims("Flux image automations", automations)
        images = deployment.template.all_images
        return _evaluated(
            "Flux image policies",
            lambda: Claims(updaters=tuple(flux_updaters(policies, automations, images))),
        )

    async def _argo_cd(self, served: Served, deployment: Deployment) -> Claims:
        steering = _owner_object(deployment)
        if steering is None or steering.kind is not OwnerKind.APPLICATION:
            return Claims()
        raw = await self._owner(served, deployment, steering)
        if raw is None:
            return Claims()
        if isinstance(raw, Failure):
            return _unseen_claims("its Application's image updater", raw)
        application = projected(f"Application {steering.name}", lambda: application_of(raw))
        if isinstance(application, Failure):
            return _unseen_claims("its Application's image updater", application)
        return await self._argo_cd_updater(served, application, deployment)

    async def _argo_cd_updater(
        self, served: Served, application: Application, deployment: Deployment
    ) -> Claims:
        images, listed = deployment.template.all_images, None
        if IMAGE_UPDATERS in served:
            listed = await self._list(served, IMAGE_UPDATERS, application.namespace)
        if isinstance(listed, Failure):
            by_annotation = tuple(argo_cd_updater(application, None, images))
            return joined((Claims(updaters=by_annotation), _unseen_claims("ImageUpdaters", listed)))
        return _evaluated(
            "ImageUpdaters",
            lambda: Claims(updaters=tuple(argo_cd_updater(application, listed, images))),
        )

    async def _list(self, served: Served, kind: ToolKind, namespace: str) -> Items | Failure:
        path = paths.in_namespace(served[kind], namespace)
        return await self.api.list_of(Listing(path, lambda raw: raw, free=0))


def _owner_object(deployment: Deployment) -> OwnerObject | None:
    return deployment.owner.object if deployment.owner is not None else None


def _versions(groups: dict[str, Any]) -> dict[str, str]:
    return {
        str(group["name"]): str(group["preferredVersion"]["groupVersion"])
        for group in groups.get("groups") or ()
        if group.get("name") in _GROUPS
    }


def _plurals(kinds: dict[str, Any]) -> list[str]:
    return [str(kind["name"]) for kind in kinds.get("resources") or ()]


def _evaluated(what: str, look: Callable[[], Claims]) -> Claims:
    """Evaluate objects of another project; an unknown form is reported as unseen."""
    claims = projected(what, look)
    return _unseen_claims(what, claims) if isinstance(claims, Failure) else claims


def _unseen_claims(what: str, failure: Failure) -> Claims:
    return Claims(unseen=(f"{what} ({failure.message})",))
