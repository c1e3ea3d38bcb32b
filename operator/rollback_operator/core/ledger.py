"""What is known of each revision's health, from Rollbacks and ReplicaSets; status caches it.

Keyed by the release (the template without annotations), never by the revision's number: numbers
move when a revision is gone back to, and 'the second highest' is the bad one after an undo.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    LedgerEntry,
    Outcome,
    RemedyType,
    Revision,
    RevisionRef,
    Rollback,
    VerdictValue,
)
from rollback_operator.core.verdict import Verdict
from rollback_operator.core.watch import Watch
from rollback_operator.core.workload import ReplicaSet, Workload

LIMIT = 10
_NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.FAILED, Outcome.REJECTED)
ENOUGH_REQUESTS = 100
SETTLED_SECONDS = 600.0
"""A release older than this at the first look is no rollout any more, whatever its pods do."""


def entries(
    known: Sequence[LedgerEntry], workload: Workload, rollbacks: Sequence[Rollback], now: datetime
) -> list[LedgerEntry]:
    """Give the ledger of the ReplicaSets that exist, newest revision first.

    A release that a Rollback went away from is Bad, also when the status that said so was lost; one
    that it went back to, and that was verified, can be gone back to again. Of one that a flag has
    cured nothing is known.
    Revisions that were there before anything was known of them have no entry until they run.
    """
    healths = {one.release: one for one in known}
    bad = {one.spec.from_revision.release: one.metadata.name for one in rollbacks if _condemns(one)}
    restored = {one.release: name for name, one in _verified(rollbacks)}
    cured = dict(_cured(rollbacks))
    current = workload.current
    found = []
    for replica_set in sorted(workload.replica_sets, key=lambda one: -one.revision):
        release = replica_set.template.release
        entry = healths.get(release)
        if release in bad and (entry is None or entry.health not in (Health.GOOD, Health.BAD)):
            entry = _entry(replica_set, Health.BAD, f"rolled back by {bad[release]}", now)
        if release in cured and entry is not None and entry.health is Health.BAD:
            said = f"{cured[release]} has set its flag, and it was verified"
            entry = entry.model_copy(update={"health": Health.UNKNOWN, "reason": said})
        if release in restored and (entry is None or entry.health is Health.UNKNOWN):
            said = f"{restored[release]} went back to it, and it was verified"
            seen = entry or _entry(replica_set, Health.UNKNOWN, "", now)
            entry = seen.model_copy(update={"health": Health.ASSUMED, "reason": said})
        if current is not None and replica_set.name == current.name:
            seen = entry or _entry(replica_set, Health.UNKNOWN, "", now)
            entry = _adopted(seen) if _is_adopted(seen, known, workload) else seen
        if entry is not None:
            found.append(_renumbered(entry, replica_set))
    return found[:LIMIT]


def _verified(rollbacks: Iterable[Rollback]) -> Iterator[tuple[str, RevisionRef]]:
    """List what was gone back to and found well, by the Rollback's name."""
    for one in rollbacks:
        if one.spec.to_revision is not None and one.status.outcome is Outcome.VERIFIED:
            yield one.metadata.name, one.spec.to_revision


def _cured(rollbacks: Iterable[Rollback]) -> Iterator[tuple[str, str]]:
    """List what a flag has cured by the newest word on it: the release, and the Rollback's name."""
    newest: dict[str, Rollback] = {}
    for one in sorted(rollbacks, key=lambda one: one.spec.trigger.decided_time):
        newest[one.spec.from_revision.release] = one
    for release, one in newest.items():
        if one.spec.remedy.flag is not None and one.status.outcome is Outcome.VERIFIED:
            yield release, one.metadata.name


def _condemns(rollback: Rollback) -> bool:
    """Tell whether the revision that was gone away from is bad.

    The operator's own rollbacks follow a verdict. A person's says so only once it was carried out,
    and more replicas are no verdict on a release.
    """
    is_carried_out = rollback.status.outcome not in _NOTHING_DONE
    is_undone = rollback.spec.remedy.type is not RemedyType.SCALE
    return not rollback.is_by_hand or (is_undone and is_carried_out)


def _is_adopted(entry: LedgerEntry, known: Sequence[LedgerEntry], workload: Workload) -> bool:
    """Tell whether the release was there before this policy had a say in it, and runs.

    The first look may come before its pods are ready, or while the controller has not observed a
    change yet: what it was before decides, not that one look. A young release with an older one to
    go back to is under watch instead.
    """
    is_first = all(one.release == entry.release for one in known)
    if entry.health is not Health.UNKNOWN or not is_first or not workload.deployment.is_rolled_out:
        return False
    current = workload.current
    age = entry.since.timestamp() - current.created if current and entry.since else 0.0
    others = [one for one in workload.replica_sets if one.template.release != entry.release]
    return not known or not others or age >= SETTLED_SECONDS


def _adopted(entry: LedgerEntry) -> LedgerEntry:
    reason = "was running when the policy began"
    return entry.model_copy(update={"health": Health.ASSUMED, "reason": reason})


def revision_of(replica_set: ReplicaSet, since: datetime | None) -> Revision:
    """Describe a ReplicaSet as the revision that it is."""
    return Revision(
        number=replica_set.revision,
        template_hash=replica_set.pod_hash,
        digest=replica_set.template.digest,
        release=replica_set.template.release,
        images=list(replica_set.template.images),
        init_images=list(replica_set.template.init_images),
        since=since,
    )


def _entry(replica_set: ReplicaSet, health: Health, reason: str, now: datetime) -> LedgerEntry:
    return LedgerEntry(**dict(revision_of(replica_set, now)), health=health, reason=reason)


def _renumbered(entry: LedgerEntry, replica_set: ReplicaSet) -> LedgerEntry:
    return entry.model_copy(
        update={
            "number": replica_set.revision,
            "template_hash": replica_set.pod_hash,
            "digest": replica_set.template.digest,
        }
    )


def with_health(
    ledger: Sequence[LedgerEntry], release: str, health: Health, reason: str
) -> list[LedgerEntry]:
    """Record a release's health."""
    return [
        one.model_copy(update={"health": health, "reason": reason[:256]})
        if one.release == release and one.health is not health
        else one
        for one in ledger
    ]


def health_of(ledger: Iterable[LedgerEntry], release: str) -> Health | None:
    """Look a release up; None: nothing was ever seen of it."""
    return next((one.health for one in ledger if one.release == release), None)


def last_known_good(ledger: Sequence[LedgerEntry], workload: Workload) -> ReplicaSet | None:
    """Find the revision that a bad release goes back to; None: there is none.

    The newest Good one; else the one that was adopted as running; else the newest that this policy
    has never seen run, of those that serve still if any does: of the others nobody knows whether
    they ever came up. Never one known Bad, nor one that was still being watched when it was
    replaced.
    """
    release = workload.deployment.template.release
    older = sorted(
        (one for one in workload.replica_sets if one.template.release != release),
        key=lambda one: -one.revision,
    )
    for wanted in (Health.GOOD, Health.ASSUMED):
        for one in older:
            if health_of(ledger, one.template.release) is wanted:
                return one
    unseen = [one for one in older if health_of(ledger, one.template.release) is None]
    return max(unseen, key=lambda one: (one.ready > 0, one.revision), default=None)


def is_proved_good(watch: Watch, workload: Workload, verdict: Verdict, since: float) -> bool:
    """Tell whether the running revision has earned to be gone back to.

    Args:
        watch: what has been counted of it.
        workload: the target now.
        verdict: the judge's.
        since: it must have been fully rolled out before this time.
    """
    pods = [pod for pod in workload.pods if not pod.terminating]
    newest = max((pod.ready_since or math.inf for pod in pods), default=math.inf)
    if not workload.deployment.is_rolled_out or max(newest, watch.opened) > since:
        return False
    pooled = verdict.scopes[0] if verdict.scopes else None
    if pooled is None or watch.missing is not None:
        return False
    if verdict.value is VerdictValue.WATCHING:
        # Also with nothing to compare with, as at adoption: then it is clean by itself.
        nothing_against = verdict.reason in (Reason.NO_EVIDENCE_AGAINST, Reason.NO_CONTROL)
        return pooled.requests >= ENOUGH_REQUESTS and nothing_against
    # A service without traffic, before as well as now, is good by what Kubernetes shows.
    had_none = watch.control is not None and watch.control.pooled.requests < 1
    return verdict.reason is Reason.TOO_FEW_REQUESTS and had_none
