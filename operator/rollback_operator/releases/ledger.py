"""The known health of each revision, from Rollbacks and ReplicaSets; status caches it.

The key is the release (the template without annotations), never the revision's number: a rollback
moves numbers, and 'the second highest' is the bad revision after an undo.
"""

import math
from collections.abc import Iterable, Sequence, Set
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    MOST_REVISIONS,
    Condemnation,
    Health,
    LedgerEntry,
    Revision,
    Rollback,
    RollbackPolicy,
    Severity,
    VerdictValue,
)
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import AGAINST_RELEASE, Verdict
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.releases.replacements import (
    ROLLOUT_SETTLED_SECONDS,
    is_of_another,
    replaced_by_older,
    replaced_young,
    restored_by_people,
)
from rollback_operator.releases.statements import newest_statements, weighed
from rollback_operator.releases.usefulness import CLEAN, fails, useless

_LONGEST_REASON = 256
LIMIT = MOST_REVISIONS
PROVED_REQUESTS = 100
GONE_KEPT = timedelta(hours=1)
"""As long as the past of a control is read."""
_EARNED = (Health.GOOD, Health.ASSUMED)
BLAMED = (Severity.P1, Severity.P2, Severity.P3)
"""A release that is blamed at these severities is Bad; P4 only prevents Good."""


def entries(
    policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback], now: datetime
) -> list[LedgerEntry]:
    """Return the ledger of the existing ReplicaSets, newest revision first.

    The newest statement on a release wins (statements.py), also after the loss of the status that
    held it. Revisions from before the first record have no entry until they run. A release whose
    ReplicaSet is gone stays on record for an hour after the current release began: the ReplicaSet
    may come back, as its target and as its control.
    """
    recorded = policy.status.revisions
    healths = {entry.release: entry for entry in recorded}
    newest, replaced = newest_statements(policy, rollbacks, now), replaced_by_older(workload)
    reverted = _reverted_by_client(policy, workload, rollbacks, now)
    current = workload.current
    ledger = []
    for replica_set in sorted(workload.replica_sets, key=lambda replica_set: -replica_set.revision):
        release = replica_set.template.release
        entry, statement = healths.get(release), newest.get(release)
        if entry is None and (statement is not None or release in replaced):
            entry = _entry(replica_set, Health.UNKNOWN, "", now)
        if entry is not None:
            entry = weighed(entry, statement)
            entry = _without_earned_health(entry) if release in replaced else entry
        if entry is not None and reverted is not None and reverted[0] == release:
            entry = _condemned(entry, reverted[1])
        if current is not None and replica_set.name == current.name:
            running = entry or _entry(replica_set, Health.UNKNOWN, "", now)
            entry = _adopted(_with_initial_mark(running, recorded, workload), workload)
        elif entry is not None:
            entry = _without_mark(entry)
        if entry is not None:
            ledger.append(_renumbered(entry, replica_set))
    return [*ledger, *_gone(policy, workload, now)][:LIMIT]


def _gone(policy: RollbackPolicy, workload: Workload, now: datetime) -> list[LedgerEntry]:
    running = policy.status.revision
    if running is None or running.since is None or now - running.since > GONE_KEPT:
        return []
    present = {replica_set.template.release for replica_set in workload.replica_sets}
    gone = (entry for entry in policy.status.revisions if entry.release not in present)
    return [_without_mark(entry) for entry in gone]


def at_rest(
    policy: RollbackPolicy, rollbacks: Sequence[Rollback], now: datetime
) -> list[LedgerEntry]:
    """Return the ledger of a target without evaluation: people's statements count at once."""
    newest = newest_statements(policy, rollbacks, now)
    return [weighed(entry, newest.get(entry.release)) for entry in policy.status.revisions]


def _without_earned_health(entry: LedgerEntry) -> LedgerEntry:
    """Withdraw the earned health of a release, but not a person's later trust."""
    if entry.health not in _EARNED or entry.trusted_time is not None:
        return entry
    message = "an older revision replaced it"
    return entry.model_copy(update={"health": Health.UNKNOWN, "reason": message})


def _reverted_by_client(
    policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback], now: datetime
) -> tuple[str, Condemnation] | None:
    """Return the suspect release that another client just rolled back, and its condemnation."""
    before, current = policy.status.revision, workload.current
    if before is None or current is None or before.release == current.template.release:
        return None
    previous = [
        replica_set
        for replica_set in workload.replica_sets
        if replica_set.template.release == before.release
    ]
    is_back = any(current.created < replica_set.created for replica_set in previous)
    is_blamed = policy.status.severity in BLAMED and not is_of_another(policy.status, rollbacks)
    is_ill = policy.status.verdict in AGAINST_RELEASE or is_blamed
    if not is_back or not is_ill:
        return None
    by = workload.deployment.changed_by or "another client"
    message = clipped(
        f"{by} replaced it by an older revision while it was {policy.status.verdict}",
        _LONGEST_REASON,
    )
    return before.release, Condemnation(time=now, message=message)


def condemn(
    ledger: Sequence[LedgerEntry], release: str, condemnation: Condemnation
) -> list[LedgerEntry]:
    """Record the condemnation of a release: the first time, and at a worse severity."""
    return [
        _condemned(entry, condemnation) if entry.release == release else entry for entry in ledger
    ]


def _condemned(entry: LedgerEntry, condemnation: Condemnation) -> LedgerEntry:
    earlier = entry.condemned
    is_known = earlier is not None and (
        condemnation.severity is None
        or (earlier.severity is not None and earlier.severity <= condemnation.severity)
    )
    if is_known:
        return entry
    changes = {"health": Health.BAD, "reason": condemnation.message, "condemned": condemnation}
    return entry.model_copy(update={**changes, "trusted_time": None})


def _with_initial_mark(
    entry: LedgerEntry, entries: Sequence[LedgerEntry], workload: Workload
) -> LedgerEntry:
    """Mark the release that ran at the policy's start; remove the mark from any other release.

    The ledger decides: deleted ReplicaSets give no information. A young, incomplete release with an
    older release to restore is under watch instead.
    """
    if entries:
        is_first = all(earlier.release == entry.release for earlier in entries)
        return entry if is_first or fails(entry) else _without_mark(entry)
    current = workload.current
    age = entry.since.timestamp() - current.created if current and entry.since else 0.0
    others = [
        replica_set
        for replica_set in workload.replica_sets
        if replica_set.template.release != entry.release
    ]
    if workload.deployment.is_rolled_out or not others or age >= ROLLOUT_SETTLED_SECONDS:
        return entry.model_copy(update={"found_time": entry.since})
    return entry


def _adopted(entry: LedgerEntry, workload: Workload) -> LedgerEntry:
    """Assume a release from before this policy to be good, once it is rolled out.

    The first evaluation may precede ready pods, or the controller's observation of a change: the
    stored mark decides, not that evaluation. A release that fails half of its requests waits until
    it no longer does.
    """
    if entry.found_time is None or fails(entry) or not workload.deployment.is_rolled_out:
        return entry
    if entry.health is not Health.UNKNOWN:
        return _without_mark(entry)
    reason = "was running when the policy started"
    changes = {"health": Health.ASSUMED, "reason": reason, "found_time": None}
    return entry.model_copy(update=changes)


def _without_mark(entry: LedgerEntry) -> LedgerEntry:
    is_marked = entry.found_time is not None
    return entry.model_copy(update={"found_time": None}) if is_marked else entry


def found_bad(ledger: Sequence[LedgerEntry], release: str) -> list[LedgerEntry]:
    """Record a verdict against a release, however mild: the release must earn its health."""
    return [_without_mark(entry) if entry.release == release else entry for entry in ledger]


def revision_of(replica_set: ReplicaSet, since: datetime | None) -> Revision:
    """Return the revision of a ReplicaSet."""
    return Revision(
        number=replica_set.revision,
        template_hash=replica_set.pod_hash,
        digest=replica_set.template.digest,
        release=replica_set.template.release,
        configuration=replica_set.template.configuration,
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
            "configuration": replica_set.template.configuration,
        }
    )


def with_entry(ledger: Sequence[LedgerEntry], entry: LedgerEntry | None) -> list[LedgerEntry]:
    """Add a release as the newest entry, unless it already has an entry."""
    entries = list(ledger)
    if entry is None or entry_of(entries, entry.release) is not None:
        return entries
    return [entry, *entries][:LIMIT]


def with_health(
    ledger: Sequence[LedgerEntry], release: str, health: Health, reason: str
) -> list[LedgerEntry]:
    """Record a release's health; it never outweighs evidence against the release or its images."""
    return [
        entry.model_copy(update={"health": health, "reason": clipped(reason, _LONGEST_REASON)})
        if entry.release == release and entry.health not in (health, Health.BAD)
        else entry
        for entry in ledger
    ]


def health_of(ledger: Iterable[LedgerEntry], release: str) -> Health | None:
    """Return the health of a release; None: it has no entry."""
    return next((entry.health for entry in ledger if entry.release == release), None)


def entry_of(ledger: Iterable[LedgerEntry], release: str) -> LedgerEntry | None:
    """Return the entry of a release; None: it has no entry."""
    return next((entry for entry in ledger if entry.release == release), None)


def bar(ledger: Iterable[LedgerEntry], release: str) -> str:
    """Explain why a release is no rollback target for any client; empty: it may be a target."""
    entry = entry_of(ledger, release)
    if entry is None:
        return ""
    if entry.health is Health.BAD:
        return f"recorded as Bad ({entry.reason})" if entry.reason else "recorded as Bad"
    if entry.quarantined_by:
        return f"blocked by an image that {entry.quarantined_by} quarantined"
    return ""


def last_known_good(
    ledger: Sequence[LedgerEntry], workload: Workload, restored: Set[str] = frozenset()
) -> ReplicaSet | None:
    """Return the rollback target of a bad release; None: there is no target.

    The newest Good revision comes first, then the newest Assumed (adopted or restored) revision.
    Next is the newest revision that this policy has never seen run, or that was restored since and
    is not known Bad. Serving revisions take precedence: it is unknown whether the others ever
    started. Unseen revisions that were replaced during their rollout, or that people rolled back,
    come last: there may have been a reason. A revision that is known Bad, that failed half of its
    requests, or that was under watch at its replacement, is never a target.

    Args:
        ledger: of the target.
        workload: the target now.
        restored: releases that rollbacks have restored.
    """
    release = workload.deployment.template.release
    older = sorted(
        (
            replica_set
            for replica_set in workload.replica_sets
            if replica_set.template.release != release
        ),
        key=lambda replica_set: -replica_set.revision,
    )
    for wanted in (Health.GOOD, Health.ASSUMED):
        for replica_set in older:
            entry = entry_of(ledger, replica_set.template.release)
            if entry is not None and entry.health is wanted and not entry.quarantined_by:
                return replica_set
    restored = restored | restored_by_people(older, workload)
    # Older than the oldest entry of a full ledger: its own entry may have been dropped.
    oldest = min((entry.number for entry in ledger), default=0) if len(ledger) >= LIMIT else 0
    last = [
        replica_set
        for replica_set in older
        if (
            replica_set.revision > oldest
            if (entry := entry_of(ledger, replica_set.template.release)) is None
            else replica_set.template.release in restored
            and entry.health is Health.UNKNOWN
            and not entry.quarantined_by
            and not fails(entry)
        )
    ]
    doubted = (replaced_young(workload) | replaced_by_older(workload)) - restored
    return max(
        last,
        key=lambda replica_set: (
            replica_set.ready > 0,
            replica_set.template.release not in doubted,
            replica_set.revision,
        ),
        default=None,
    )


def is_proved_good(watch: Watch, workload: Workload, verdict: Verdict, since: float) -> bool:
    """Return whether the running revision has earned to be a rollback target.

    Args:
        watch: its counts.
        workload: the target now.
        verdict: the judge's verdict.
        since: it must have been fully rolled out before this time.
    """
    pods = [pod for pod in workload.pods if not pod.terminating]
    newest = max((pod.ready_since or math.inf for pod in pods), default=math.inf)
    if not workload.deployment.is_rolled_out or max(newest, watch.opened) > since:
        return False
    pooled = verdict.scopes[0] if verdict.scopes else None
    if pooled is None or watch.missing is not None or useless(verdict):
        return False
    if verdict.value is VerdictValue.WATCHING:
        # Also without a control, as at adoption: then its own counts are clean.
        nothing_against = verdict.reason in CLEAN
        return pooled.requests >= PROVED_REQUESTS and nothing_against
    # A service without traffic, before and now, is good by its state in Kubernetes.
    had_none = watch.control is not None and watch.control.pooled.requests < 1
    return verdict.reason is Reason.TOO_FEW_REQUESTS and had_none
