"""Which ConfigMaps are restored with a revision, and why the others stay.

Only what a remedy lists, what changed with the release, and what nobody has changed since.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import ConfigMapPlan, StoredConfigMap
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import LedgerEntry, Remedy
from rollback_operator.model.context import Case, Refusal, RestoreFacts
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import ConfigState, Configuration, ReplicaSet
from rollback_operator.releases.ledger import entry_of
from rollback_operator.remedies.restoring import WITH_RELEASE, diff

_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """The ConfigMaps to restore, and which others stay."""

    config_maps: tuple[ConfigMapPlan, ...] = ()
    kept: str = ""


def plan_restore(case: Case, remedy: Remedy, target: ReplicaSet) -> RestorePlan | Refusal:
    """Plan the restore of ConfigMaps.

    Refused: they are not read yet, or only they could take the release back and none can be
    restored.
    """
    current, names = case.workload.deployment.template, remedy.restore or ()
    if names and case.restorable is None:
        return Refusal(Reason.CONFIGURATION_UNREAD, "the ConfigMaps to restore are not read yet")
    items, kept = [], []
    for name in names:
        assert case.restorable is not None
        item = _planned(case, case.restorable, target, name)
        if isinstance(item, ConfigMapPlan):
            items.append(item)
        elif item:
            kept.append(f"ConfigMap {name}: {item}")
    if case.restorable is not None and _differs_beside(case.restorable, items, target):
        kept.append(f"other ConfigMaps or Secrets differ from those of revision {target.revision}")
    if items or current.bare != target.template.bare:
        return RestorePlan(tuple(items), clipped("; ".join(kept), _LONGEST))
    deployment = case.workload.deployment
    why = "; ".join(kept) or "no remedy lists a ConfigMap in restore"
    return Refusal(
        Reason.SAME_TEMPLATE,
        f"revision {target.revision} has the same pod template and differs only in its ConfigMaps "
        f"or Secrets, and none can be restored ({why}). Restore them by hand, then: kubectl "
        f"rollout restart deployment/{deployment.name} -n {deployment.namespace}",
    )


def _planned(case: Case, facts: RestoreFacts, target: ReplicaSet, name: str) -> ConfigMapPlan | str:
    """Plan the restore of a ConfigMap; else why it stays, empty: it did not change."""
    stored = _stored(entry_of(case.ledger, target.template.release), name)
    if stored is None or stored.digest is None:
        why = f" ({stored.message})" if stored is not None and stored.message else ""
        return f"its content in revision {target.revision} is not stored{why}"
    unreferenced = Missing(Reason.READ_FAILED, "the pod template does not reference it")
    state = facts.current.states.get(Reference("ConfigMap", name), unreferenced)
    if isinstance(state, Missing):
        return state.message
    content = facts.contents.get(stored.digest)
    if state.digest == stored.digest:
        return ""
    if content is None:
        return f"ConfigMap {name}.known-good does not hold the content of that revision any more"
    return next(_reasons_to_keep(case, facts, name, state), "") or ConfigMapPlan(
        name=name,
        uid=state.uid,
        digest=stored.digest,
        previous_digest=state.digest,
        diff=diff(state.text, content),
    )


def _reasons_to_keep(
    case: Case, facts: RestoreFacts, name: str, state: ConfigState
) -> Iterator[str]:
    """List the reasons to leave a ConfigMap as it is."""
    by = state.changed_by or "another client"
    if not state.digest:
        yield "it was deleted"
    recorded = case.workload.deployment.template.configuration
    if not is_as_begun(Reference("ConfigMap", name), facts.current, facts.began, recorded):
        yield f"it, or another object of the configuration, changed since the release began ({by})"
    if state.obstacle:
        yield state.obstacle
    if state.changed is None:
        yield "its managedFields do not show when it changed"
    elif state.changed < _begin(case) - WITH_RELEASE.total_seconds():
        at = datetime.fromtimestamp(state.changed, UTC)
        yield f"{by} changed it at {at:%Y-%m-%d %H:%M:%S} UTC, long before the release"
    users = facts.users.get(name, Missing(Reason.READ_FAILED, "not read"))
    if isinstance(users, Missing):
        yield f"other workloads that use it could not be listed: {users.message}"
    elif users:
        yield f"{', '.join(users[:3])} uses it too"


def is_as_begun(
    reference: Reference, current: Configuration, began: Configuration | None, recorded: str | None
) -> bool:
    """Return whether an object is as it was when the release began.

    Args:
        reference: of the object.
        current: the configuration as it is now.
        began: as it was read then; None: the operator was restarted since.
        recorded: its digest then; None: it was not read.
    """
    if recorded is None:
        return False
    if began is not None and began.digest == recorded:
        return began.states.get(reference) == _bare(current.states.get(reference))
    return current.digest == recorded


def _bare(state: ConfigState | Missing | None) -> ConfigState | Missing | None:
    return without_text(state) if isinstance(state, ConfigState) else state


def without_text(state: ConfigState) -> ConfigState:
    """Keep only what identifies a content."""
    return ConfigState(state.digest, uid=state.uid)


def _stored(entry: LedgerEntry | None, name: str) -> StoredConfigMap | None:
    stored = entry.config_maps if entry is not None else []
    return next((each for each in stored if each.name == name), None)


def _begin(case: Case) -> float:
    """Return when the running release began: as recorded, or when its ReplicaSet was created."""
    known, current = case.policy.status.revision, case.workload.current
    digest = case.workload.deployment.template.digest
    if known is not None and known.digest == digest and known.since is not None:
        return known.since.timestamp()
    return current.created if current is not None else math.inf


def _differs_beside(facts: RestoreFacts, items: list[ConfigMapPlan], target: ReplicaSet) -> bool:
    """Return whether, after the restore, the configuration is not that of the target."""
    restored = {item.name: ConfigState(item.digest) for item in items}
    states = {
        reference: restored.get(reference.name, state) if reference.kind == "ConfigMap" else state
        for reference, state in facts.current.states.items()
    }
    known = target.template.configuration
    return known is not None and Configuration(states).digest not in (None, known)
