"""Reads what bears on a deploy: policies, rollbacks, the target, and the objects it needs.

All with the rights of the user of the command, and nothing is written.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.paths import DEPLOYMENTS
from rollback_operator.adapters.kube.projections.deployments import deployment_of, replica_set_of
from rollback_operator.adapters.kube.projections.mentions import mentions_of
from rollback_operator.adapters.kube.target.named_objects import ApiNamedObjects
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.advise.deploy_facts import DeployFacts
from rollback_operator.advise.migrations import MigrationFiles
from rollback_operator.advise.survey import Survey
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli.check.manifest import Manifest
from rollback_operator.cli.check.sources import Sources
from rollback_operator.decide.evaluate import case_of
from rollback_operator.model.rights import PATCH_DEPLOYMENTS, Right
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Mention
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Cache, Key, Unreadable
from rollback_operator.releases import identity

MOST_MENTIONS = 200
_CREATE_DEPLOYMENTS = Right("create", "apps", "deployments", "", "")
_RIGHTS = "docs/prevention.md has a Role with all rights of this command"


class DeployError(Exception):
    """Nothing can be checked: the cluster does not answer, or refuses what is needed."""


class NoPolicyError(Exception):
    """No policy watches the Deployment, or none that can be read."""


@dataclass(frozen=True, slots=True)
class DeployTarget:
    """A Deployment that is checked: facts, and the survey of its policy's metrics."""

    facts: DeployFacts
    survey: Survey


def _needed(result: Any) -> Any:
    """Return a value, or end the check with the reason and the remedy."""
    if not isinstance(result, Failure):
        return result
    match result.kind:
        case FailureKind.UNAVAILABLE:
            raise DeployError(
                f"the API server does not answer: {result.message}. Check --kubeconfig; `kubectl "
                "cluster-info` asks the same server"
            )
        case FailureKind.GONE if "page not found" in result.message:
            raise DeployError(
                "this cluster does not have the CRDs of rollback-operator: install its chart first"
            )
        case FailureKind.REJECTED if "Forbidden" in result.message:
            raise DeployError(f"{result.message}. Grant the user this right: {_RIGHTS}")
        case _:
            raise DeployError(result.message)


class ClusterReader:
    """Reads single Deployments, and the policies and rollbacks of each namespace once."""

    def __init__(self, api: ApiServer, manifest: Manifest, now: datetime) -> None:
        self._api = api
        self._manifest = manifest
        self._now = now
        self._known: dict[str, Cache] = {}

    async def policies_of(self, namespace: str, name: str) -> list[RollbackPolicy]:
        """List the policies on a Deployment after the deploy, as far as they can be read.

        The oldest first: it is the policy that acts. New policies follow.

        Raises:
            DeployError: they cannot be read.
            NoPolicyError: there is none.
        """
        cache = await self._cache(namespace)
        stored = {policy.key: policy for policy in cache.policies_on(namespace, name)}
        for document in self._manifest.policies:
            changed = document.policy
            if changed is None or changed.metadata.namespace != namespace:
                continue
            if changed.spec.target_ref.name == name:
                stored[changed.key] = _merged(changed, cache.policy_at(changed.key))
            else:
                stored.pop(changed.key, None)
        if stored:
            return list(stored.values())
        broken = [
            f"{key[1]} ({policy.message})"
            for key, policy in cache.policies.items()
            if isinstance(policy, Unreadable)
        ]
        unread = f"; this version cannot read {', '.join(broken)}" if broken else ""
        raise NoPolicyError(f"no RollbackPolicy of the namespace watches it{unread}")

    async def _cache(self, namespace: str) -> Cache:
        if namespace not in self._known:
            cache = Cache()
            for kind, put in (
                (paths.POLICIES, cache.put_policy),
                (paths.ROLLBACKS, cache.put_rollback),
            ):
                listing = Listing(paths.in_namespace(kind, namespace), dict)
                for raw in _needed(await self._api.list_of(listing)):
                    put(raw)
            self._known[namespace] = cache
        return self._known[namespace]

    async def read(
        self, policy: RollbackPolicy, sources: Sources, migrations: MigrationFiles | None
    ) -> DeployTarget:
        """Read the target of a policy.

        Raises:
            DeployError: it cannot be read.
        """
        namespace, name = policy.metadata.namespace, policy.spec.target_ref.name
        cache = await self._cache(namespace)
        given = self._manifest.deployments.get((namespace, name))
        raw = await self._api.get(paths.object_in(DEPLOYMENTS, namespace, name))
        is_first = isinstance(raw, Failure) and raw.kind is FailureKind.GONE
        if is_first and given is None:
            raise DeployError(
                f"there is no Deployment {name} in namespace {namespace}: correct the name, or "
                "pass its manifest by -f"
            )
        stored = None if is_first else _needed(raw)
        proposed = stored if given is None else _applied(stored, given, (namespace, name))
        assert proposed is not None
        before = (
            Workload(deployment_of(proposed))
            if stored is None
            else _needed(await ApiWorkloads(self._api).inspect(namespace, name))
        )
        survey = await sources.survey(policy, self._beside(policy))
        if survey.workload is not None:  # with the objects of other tools
            before = replace(before, deployment=survey.workload.deployment)
        records = cache.records_of(policy, before.deployment.uid)
        before = identity.recorded(before, policy.status, records)
        case = case_of(policy, before, records, self._now)
        known = cache.policy_at(policy.key)
        facts = DeployFacts(
            case=case,
            after=before,
            now=self._now,
            is_first=is_first,
            is_stored=known is not None,
            is_changed=known is not None and known.spec != policy.spec,
            requests=tuple(each.metadata.name for each in cache.requests_of(policy.key)),
            migrations=migrations,
            is_prometheus_given=sources.options.prometheus is not None,
        )
        if given is not None:
            facts = await self._deployed(facts, stored, proposed)
        return DeployTarget(facts, replace(survey, workload=facts.after, is_gone=False))

    def _beside(self, policy: RollbackPolicy) -> list[RollbackPolicy]:
        documents = self._manifest.policies
        return [each.policy for each in documents if each.policy and each.policy.key != policy.key]

    async def _deployed(
        self, facts: DeployFacts, stored: dict[str, Any] | None, proposed: dict[str, Any]
    ) -> DeployFacts:
        """Add the target as it would be with a proposed Deployment, and what that needs."""
        namespace = proposed["metadata"]["namespace"]
        rehearsed = await self._rehearsed(stored, proposed)
        # Without the defaults of the API server, no template equals a stored template.
        applied = rehearsed if isinstance(rehearsed, dict) else proposed
        mentions = await self._mentions(namespace, applied["spec"]["template"])
        after = _after(facts.case.workload, applied, self._now.timestamp())
        return replace(
            facts,
            # What its ConfigMaps contain then is not known: as if they stayed as they are.
            after=identity.identified(
                after, facts.case.policy.status, facts.case.rollbacks, configuration=None
            ),
            mentions=mentions,
            is_compared=isinstance(rehearsed, dict),
            refused=rehearsed.message if isinstance(rehearsed, Failure) else "",
        )

    async def _rehearsed(
        self, stored: dict[str, Any] | None, proposed: dict[str, Any]
    ) -> dict[str, Any] | Failure | None:
        """Let the API server apply a Deployment as a dry run; None: the user has no right to."""
        metadata = proposed["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        right = _CREATE_DEPLOYMENTS if stored is None else PATCH_DEPLOYMENTS
        if not _needed(await self._api.may(namespace, right, "" if stored is None else name)):
            return None
        if stored is None:
            path = paths.in_namespace(DEPLOYMENTS, namespace)
            made = await self._api.create(path, proposed, dryRun="All")
        else:
            change = {"op": "replace", "path": "/spec", "value": proposed["spec"]}
            path = paths.object_in(DEPLOYMENTS, namespace, name)
            made = await self._api.patch(path, [change], dryRun="All")
        is_away = isinstance(made, Failure) and made.kind is FailureKind.UNAVAILABLE
        result: dict[str, Any] | Failure = _needed(made) if is_away else made
        return result

    async def _mentions(
        self, namespace: str, template: Mapping[str, Any]
    ) -> dict[Mention, bool | Missing]:
        """Look up each object that a template names, once, unless the manifest brings it."""
        mentions = list(mentions_of(template))
        named = list(dict.fromkeys((each.kind, each.name) for each in mentions))
        objects = ApiNamedObjects(self._api)

        async def look_up(kind: str, name: str) -> frozenset[str] | Failure | None:
            brought = self._manifest.brings((kind, namespace, name))
            return await objects.keys(namespace, kind, name) if brought is None else brought

        looked = await asyncio.gather(*(look_up(*each) for each in named[:MOST_MENTIONS]))
        known = dict(zip(named, looked, strict=False))
        unread = Failure(FailureKind.UNAVAILABLE, f"more than {MOST_MENTIONS} objects are named")
        return {
            each: _presence(each, known.get((each.kind, each.name), unread)) for each in mentions
        }


def _presence(mention: Mention, state: frozenset[str] | Failure | None) -> bool | Missing:
    if isinstance(state, Failure):
        return Missing(Reason.READ_FAILED, state.message)
    return state is not None and (not mention.key or mention.key in state)


def _merged(changed: RollbackPolicy, stored: RollbackPolicy | None) -> RollbackPolicy:
    """Give a policy as it would be stored: the spec of the file, the rest as it is."""
    if stored is None:
        # Names of Rollbacks derive from it, and none may be empty.
        metadata = changed.metadata.model_copy(update={"uid": "not-stored-yet"})
        return changed.model_copy(update={"metadata": metadata})
    return stored.model_copy(update={"spec": changed.spec})


def _applied(
    stored: Mapping[str, Any] | None, given: Mapping[str, Any], key: Key
) -> dict[str, Any]:
    """Give a Deployment as an apply would change it: fields that are not given stay."""
    known = stored or {"apiVersion": "apps/v1", "kind": "Deployment"}
    metadata, changed = dict(known.get("metadata") or {"uid": ""}), given.get("metadata") or {}
    metadata |= {"namespace": key[0], "name": key[1]}
    for part in ("labels", "annotations"):
        metadata[part] = {**(metadata.get(part) or {}), **(changed.get(part) or {})}
    spec = {field: value for field, value in given["spec"].items() if value is not None}
    return {**known, "metadata": metadata, "spec": {**(known.get("spec") or {}), **spec}}


def _after(before: Workload, applied: Mapping[str, Any], now: float) -> Workload:
    """Give the target as the controller makes it: the template's ReplicaSet is the newest."""
    deployment, known = deployment_of(applied), before.deployment
    deployment = replace(
        deployment,
        owner=deployment.owner or known.owner,
        updaters=tuple(dict.fromkeys((*known.updaters, *deployment.updaters))),
    )
    digest = deployment.template.digest
    same = [each for each in before.replica_sets if each.template.digest == digest]
    others = [each for each in before.replica_sets if each.template.digest != digest]
    number = 1 + max((each.revision for each in before.replica_sets), default=0)
    if before.current in same:
        return replace(before, deployment=deployment)
    if same:
        returned = replace(same[0], revision=number)
        return replace(before, deployment=deployment, replica_sets=(*others, returned))
    made = replica_set_of(
        {
            "metadata": {"name": f"{deployment.name}-new", "uid": ""},
            "spec": {"replicas": deployment.replicas, "template": applied["spec"]["template"]},
        }
    )
    new = replace(made, revision=number, created=now)
    return replace(before, deployment=deployment, replica_sets=(*others, new))
