"""The target and who takes hold of it, kept in memory as the API server keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollback_operator.api.remedy import Flag, FlagPlan
from rollback_operator.api.v1alpha1 import Hold, Remedy, Rollback, StoredStrategy
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerState
from rollback_operator.model.pod import Pod
from rollback_operator.model.rights import Right
from rollback_operator.model.services import STOP_LABEL, ServiceSelector
from rollback_operator.model.workload import Autoscaler, Bounds, Deployment, FlagState, Workload
from rollback_operator.ports.cluster import Autoscalers, Flags, Owners, Rights, Tools, Workloads
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.change_cause import Overdue, written
from rollback_operator.remedies.progress import EXPRESS_SURGE
from tests.builders import make_workload
from tests.fakes.failures import CONFLICT, GONE, REFUSAL, Failures

UNTOUCHED = OwnerState("argocd", version="7", automated='{"selfHeal": true}')
"""An Application with automated sync."""


@dataclass
class FakeWorkloads(Failures):
    """One Deployment; an act changes it at once, and its rollout is complete at once."""

    workload: Workload = field(default_factory=make_workload)
    calls: list[str] = field(default_factory=list)
    surges: list[StoredStrategy | None] = field(default_factory=list)
    dropped: list[Overdue] = field(default_factory=list)
    """Change-causes of ours that were taken off."""
    lingering: tuple[Pod, ...] = ()
    """Pods that do not end when there are to be none."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        self.calls.append("inspect")
        return self.take("inspect") or self.workload

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        self.calls.append("undo")
        failure = self.take("undo")
        target = rollback.spec.to_revision
        if failure is not None or target is None:
            return failure or REFUSAL
        if self.workload.deployment.template.digest != rollback.spec.from_revision.digest:
            return CONFLICT
        sets = self.workload.replica_sets
        found = next((one for one in sets if one.template.digest == target.digest), None)
        if found is None:
            return GONE
        self.surges.append(surge)
        cause = written(rollback, "")
        old = lifted(self.workload.deployment)
        changed = replace(old, template=found.template, change_cause=cause)
        stored = rollback.status.strategy
        if surge is not None and (stored is None or stored.max_surge == old.max_surge):
            changed = replace(changed, max_surge=surge.max_surge)
        return self._changed(changed)

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        self.calls.append("apply_in_place")
        failure = self.take("apply_in_place")
        if failure is not None:
            return failure
        old = lifted(self.workload.deployment)
        if remedy.replicas is not None:
            count = remedy.replicas
            scaled = replace(old, replicas=count, updated=count, total=count, available=count)
            return self._changed(scaled)
        if remedy.flag is not None:
            return self._with_variable(rollback, old)
        images = (str(remedy.image), *old.template.images[1:])
        template = replace(old.template, digest="pinned", release="pinned", images=images)
        cause = written(rollback, "")
        return self._changed(replace(old, template=template, change_cause=cause))

    def _with_variable(self, rollback: Rollback, old: Deployment) -> Deployment | Failure:
        """Change the template as planned, from which the controller makes another ReplicaSet."""
        if old.template.digest != rollback.spec.from_revision.digest:
            return CONFLICT
        assert rollback.spec.flag is not None
        release = str(rollback.spec.flag.unannotated_digest)
        template = replace(old.template, digest=f"{old.template.digest}-set", release=release)
        bad = next(one for one in self.workload.replica_sets if one.template == old.template)
        names = {field: f"{getattr(bad, field)}-set" for field in ("name", "uid", "pod_hash")}
        made = replace(bad, **names, revision=bad.revision + 1, template=template)
        sets = (made, *(replace(one, replicas=0) for one in self.workload.replica_sets))
        self.workload = replace(self.workload, replica_sets=sets)
        return self._changed(replace(old, template=template, revision=made.revision))

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        self.calls.append("restart")
        failure, old = self.take("restart"), lifted(self.workload.deployment)
        if failure is None and old.template.digest != rollback.spec.from_revision.digest:
            failure = CONFLICT
        if failure is not None:
            return failure
        # As the controller does: another ReplicaSet of the same release.
        template = replace(old.template, digest=f"{old.template.digest}-restarted")
        bad = next(one for one in self.workload.replica_sets if one.template == old.template)
        made = replace(
            bad,
            name=f"{bad.name}-restarted",
            uid=f"{bad.uid}-restarted",
            pod_hash=f"{bad.pod_hash}-restarted",
            revision=bad.revision + 1,
            template=template,
            created=time.timestamp(),
        )
        sets = (made, *(replace(one, replicas=0) for one in self.workload.replica_sets))
        self.workload = replace(self.workload, replica_sets=sets)
        return self._changed(replace(old, template=template, revision=made.revision))

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        self.calls.append("set_strategy")
        failure = self.take("set_strategy")
        if failure is None and self.workload.deployment.max_surge != EXPRESS_SURGE:
            failure = CONFLICT
        if failure is not None:
            return failure
        old = self.workload.deployment
        return self._changed(replace(old, max_surge=strategy.max_surge))

    async def set_replicas(
        self, rollback: Rollback, known: int, wanted: int
    ) -> Deployment | Failure:
        self.calls.append("set_replicas")
        failure, old = self.take("set_replicas"), self.workload.deployment
        if failure is None and old.replicas != known:
            failure = CONFLICT
        if failure is not None:
            return failure
        counts = {"replicas": wanted, "updated": wanted, "total": wanted, "available": wanted}
        changed = self._changed(replace(old, is_stopped=not wanted, **counts))
        if not wanted:
            self.workload = replace(self.workload, pods=self.lingering)
        return changed

    async def drop_cause(self, deployment: Deployment, overdue: Overdue) -> Deployment | Failure:
        self.calls.append("drop_cause")
        old = self.workload.deployment
        failure = self.take("drop_cause")
        if failure is None and (old.uid, old.change_cause) != (
            deployment.uid,
            deployment.change_cause,
        ):
            failure = CONFLICT
        if failure is not None:
            return failure
        self.dropped.append(overdue)
        return self._changed(replace(old, change_cause=""))

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        self.calls.append("pause")
        old = self.workload.deployment
        is_judged = (old.uid, old.template.digest) == (hold.deployment_uid, hold.digest)
        failure = self.take("pause")
        if failure is None and (not is_judged or (old.paused and not old.is_held)):
            failure = CONFLICT
        if failure is not None:
            return failure
        return self._changed(replace(old, paused=True, is_held=True))

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        self.calls.append("resume")
        failure = self.take("resume")
        if failure is not None:
            return failure
        old = self.workload.deployment
        if name != old.name:
            return GONE
        return self._changed(replace(old, paused=False, is_held=False)) if old.is_held else old

    @property
    def writes(self) -> list[str]:
        return [one for one in self.calls if one != "inspect"]

    def _changed(self, deployment: Deployment) -> Deployment:
        self.workload = replace(self.workload, deployment=deployment)
        return deployment


def lifted(deployment: Deployment) -> Deployment:
    """Lift a pause of ours, as each act on a Deployment does."""
    return replace(deployment, paused=deployment.paused and not deployment.is_held, is_held=False)


SELECTED = ServiceSelector("shop", "service-uid", (("app", "shop"),))


@dataclass
class FakeSelectors(Failures):
    """One Service in front of the pods."""

    selected: ServiceSelector = SELECTED
    calls: list[str] = field(default_factory=list)

    async def read_selector(self, namespace: str, name: str) -> ServiceSelector | Failure:
        return self.take("read_selector") or (self.selected if name == "shop" else GONE)

    async def set_mark(
        self, namespace: str, known: ServiceSelector, mark: str
    ) -> ServiceSelector | Failure:
        self.calls.append("set_mark" if mark else "drop_mark")
        failure = self.take("set_mark")
        if failure is None and known != self.selected:
            failure = CONFLICT
        if failure is not None:
            return failure
        labels = {**known.original, **({STOP_LABEL: mark} if mark else {})}
        self.selected = replace(known, selector=tuple(sorted(labels.items())))
        return self.selected


@dataclass
class FakeOwners(Failures):
    """An Application: suspended and resumed on request, guarded by its version."""

    state: OwnerState = UNTOUCHED
    calls: list[str] = field(default_factory=list)

    async def read_owner(self, steered: OwnedDeployment) -> OwnerState | Failure:
        return self._called("look_at_owner") or self.state

    async def suspend(
        self, steered: OwnedDeployment, state: OwnerState, by: str
    ) -> OwnerState | Failure:
        changes = {"is_suspended": True, "is_ours": True, "suspended_for": by, "automated": ""}
        return self._changed("suspend_owner", state, changes)

    async def resume(
        self, steered: OwnedDeployment, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        changes = {"is_suspended": False, "is_ours": False, "suspended_for": ""}
        return self._changed("resume_owner", state, {**changes, "automated": automated})

    def _changed(
        self, call: str, state: OwnerState, changes: Mapping[str, bool | str]
    ) -> OwnerState | Failure:
        failure = self._called(call)
        if failure is None and state.version != self.state.version:
            failure = CONFLICT
        if failure is not None:
            return failure
        version = str(int(self.state.version) + 1)
        self.state = replace(self.state, version=version, **changes)
        return self.state

    def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        return self.take(name)


def flag_state(value: str | None = "true", **changes: Any) -> FlagState:
    """A ConfigMap as people have made it, with the flag on."""
    return replace(FlagState("config-map-uid", value, changed_by="kubectl"), **changes)


@dataclass
class FakeTools:
    """Rollout tools and image updaters: claims what a test puts in."""

    claims: Claims = field(default_factory=Claims)
    looks: int = 0

    async def read_claims(self, deployment: Deployment) -> Claims:
        self.looks += 1
        return self.claims


@dataclass
class FakeFlags(Failures):
    """One flag in a ConfigMap; None: there is no such ConfigMap."""

    state: FlagState | None = field(default_factory=flag_state)
    calls: list[str] = field(default_factory=list)
    overtaken: FlagState | None = None
    """What somebody makes of it just before the next write."""
    is_granted: bool = True
    """The operator has the right to set it."""
    asked: list[str] = field(default_factory=list)
    """For which flags it was asked for."""

    async def read(self, namespace: str, flag: Flag, target: str) -> FlagState | Failure:
        return self.take("read_flag") or self.state or GONE

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        self.asked.append(flag.name)
        return self.take("may_set") or self.is_granted

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        self.calls.append("set_flag")
        self.state, self.overtaken = self.overtaken or self.state, None
        failure = self.take("set_flag")
        if failure is not None or self.state is None:
            return failure or GONE
        if (self.state.uid, self.state.value) != (plan.config_map_uid, plan.old_value):
            return CONFLICT
        self.state = replace(self.state, value=flag.value, changed_by="rollback-operator")
        return self.state


@dataclass
class FakeRights(Failures):
    """The operator's rights; all but those that are taken away."""

    missing: set[Right] = field(default_factory=set)
    asked: list[tuple[str, Right]] = field(default_factory=list)

    async def may(self, namespace: str, right: Right) -> bool | Failure:
        self.asked.append((namespace, right))
        return self.take("may") or right not in self.missing


@dataclass
class FakeAutoscalers(Failures):
    """An autoscaler: its bounds are set on request, guarded by the bounds that were read."""

    workloads: FakeWorkloads = field(default_factory=FakeWorkloads)
    """Whose autoscaler it is."""
    calls: list[str] = field(default_factory=list)

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler | Failure:
        self.calls.append("look_at_autoscaler")
        known = self.workloads.workload.autoscaler
        failure = self.take("look_at_autoscaler")
        return failure or (GONE if known is None or known.name != name else known)

    async def set_bounds(
        self, namespace: str, found: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        self.calls.append("set_bounds")
        failure, known = self.take("set_bounds"), self.workloads.workload.autoscaler
        if failure is not None:
            return failure
        if known is None or (known.uid, known.bounds) != (found.uid, found.bounds):
            return CONFLICT
        changed = replace(known, bounds=bounds, set_by="rollback-operator", is_ours=True)
        self.workloads.workload = replace(self.workloads.workload, autoscaler=changed)
        return changed


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _workloads: Workloads = FakeWorkloads()
    _owners: Owners = FakeOwners()
    _tools: Tools = FakeTools()
    _flags: Flags = FakeFlags()
    _rights: Rights = FakeRights()
    _autoscalers: Autoscalers = FakeAutoscalers()
