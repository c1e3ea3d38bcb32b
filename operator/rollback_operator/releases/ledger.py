"""What is known of each revision's health, from Rollbacks and ReplicaSets; status caches it.

Keyed by the release (the template without annotations), never by the revision's number: numbers
move when a revision is gone back to, and 'the second highest' is the bad one after an undo.
"""

import math
from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from itertools import pairwise

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
from rollback_operator.model.verdict import Verdict
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.releases.statements import weighed, words

_LONGEST = 256
LIMIT = MOST_REVISIONS
PROVED_REQUESTS = 100
ROLLOUT_SETTLED_SECONDS = 600.0
"""A release older than this at the first look is no rollout any more, whatever its pods do."""
USELESS = 0.5
"""Share of requests from which on going back to a revision helps nobody.

Not the matrix's 5 %: a service that fails a tenth, year in, year out, has good releases. Not its
90 % of purchases: one that fails four of five is nothing to go back to.
"""
_TRUSTED = (Health.GOOD, Health.ASSUMED)
CLEAN = (Reason.NO_EVIDENCE_AGAINST, Reason.NO_CONTROL)
"""Reasons of a verdict where nothing is found against a release, or nothing to compare it with."""
_AGAINST = (VerdictValue.SUSPECT, VerdictValue.BAD)
BLAMED = (Severity.P1, Severity.P2, Severity.P3)
"""Found so, with the blame on it, a release is Bad; P4 only keeps it from being Good."""


def entries(
    policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback], now: datetime
) -> list[LedgerEntry]:
    """Return the ledger of the ReplicaSets that exist, newest revision first.

    The newest word on a release wins (words.py), also when the status that said so was lost.
    Revisions that were there before anything was known of them have no entry until they run.
    """
    known = policy.status.revisions
    healths = {one.release: one for one in known}
    newest, left = words(policy, rollbacks, now), _left(workload)
    gone_back_from = _gone_back_from(policy, workload, now)
    current = workload.current
    found = []
    for replica_set in sorted(workload.replica_sets, key=lambda one: -one.revision):
        release = replica_set.template.release
        entry, word = healths.get(release), newest.get(release)
        if entry is None and (word is not None or release in left):
            entry = _entry(replica_set, Health.UNKNOWN, "", now)
        if entry is not None:
            entry = weighed(entry, word)
            entry = _unearned(entry) if release in left else entry
        if entry is not None and gone_back_from is not None and gone_back_from[0] == release:
            entry = _condemned(entry, gone_back_from[1])
        if current is not None and replica_set.name == current.name:
            seen = entry or _entry(replica_set, Health.UNKNOWN, "", now)
            entry = _adopted(_found(seen, known, workload), workload)
        elif entry is not None:
            entry = _watched(entry)
        if entry is not None:
            found.append(_renumbered(entry, replica_set))
    return found[:LIMIT]


def at_rest(
    policy: RollbackPolicy, rollbacks: Sequence[Rollback], now: datetime
) -> list[LedgerEntry]:
    """Return the ledger while the target is not looked at: what people say counts at once."""
    newest = words(policy, rollbacks, now)
    return [weighed(one, newest.get(one.release)) for one in policy.status.revisions]


def _left(workload: Workload) -> frozenset[str]:
    """Find releases for which an older one has come back: who went back had a reason.

    A ReplicaSet is numbered anew whenever its template comes back: one that is older than the one
    before it has. What has run again since has a newer number, and may earn to be good.
    """
    in_order = sorted(workload.replica_sets, key=lambda one: one.revision)
    return frozenset(
        before.template.release
        for before, after in pairwise(in_order)
        if after.created < before.created and after.template.release != before.template.release
    )


def _unearned(entry: LedgerEntry) -> LedgerEntry:
    """Take back what a release has earned: but not what a person has said of it since."""
    if entry.health not in _TRUSTED or entry.trusted_time is not None:
        return entry
    message = "an older revision replaced it"
    return entry.model_copy(update={"health": Health.UNKNOWN, "reason": message})


def _gone_back_from(
    policy: RollbackPolicy, workload: Workload, now: datetime
) -> tuple[str, Condemnation] | None:
    """See whether somebody has just gone back from a release that something spoke against."""
    before, current = policy.status.revision, workload.current
    if before is None or current is None or before.release == current.template.release:
        return None
    there = [one for one in workload.replica_sets if one.template.release == before.release]
    is_back = any(current.created < one.created for one in there)
    is_ill = policy.status.verdict in _AGAINST or policy.status.severity in BLAMED
    if not is_back or not is_ill:
        return None
    by = workload.deployment.changed_by or "another client"
    message = clipped(
        f"{by} replaced it by an older revision while it was {policy.status.verdict}", _LONGEST
    )
    return before.release, Condemnation(time=now, message=message)


def condemn(ledger: Sequence[LedgerEntry], release: str, found: Condemnation) -> list[LedgerEntry]:
    """Record that a release was found bad: the first time, and when it has become worse."""
    return [_condemned(one, found) if one.release == release else one for one in ledger]


def _condemned(entry: LedgerEntry, found: Condemnation) -> LedgerEntry:
    known = entry.condemned
    is_known = known is not None and (
        found.severity is None or (known.severity is not None and known.severity <= found.severity)
    )
    if is_known:
        return entry
    changes = {"health": Health.BAD, "reason": found.message, "condemned": found}
    return entry.model_copy(update={**changes, "trusted_time": None})


def _found(entry: LedgerEntry, known: Sequence[LedgerEntry], workload: Workload) -> LedgerEntry:
    """Mark the release that the policy came upon; of any other, see that it has no mark.

    What is on record says whether it is that: ReplicaSets that are gone say nothing. A young
    release that is not complete, with an older one to go back to, is under watch instead.
    """
    if known:
        is_first = all(one.release == entry.release for one in known)
        return entry if is_first else _watched(entry)
    current = workload.current
    age = entry.since.timestamp() - current.created if current and entry.since else 0.0
    others = [one for one in workload.replica_sets if one.template.release != entry.release]
    if workload.deployment.is_rolled_out or not others or age >= ROLLOUT_SETTLED_SECONDS:
        return entry.model_copy(update={"found_time": entry.since})
    return entry


def _adopted(entry: LedgerEntry, workload: Workload) -> LedgerEntry:
    """Trust what was there before this policy had a say in it, once it runs.

    The first look may come before its pods are ready, or while the controller has not observed a
    change yet: what it was before decides, not that one look.
    """
    if entry.found_time is None or not workload.deployment.is_rolled_out:
        return entry
    if entry.health is not Health.UNKNOWN:
        return _watched(entry)
    reason = "was running when the policy started"
    changes = {"health": Health.ASSUMED, "reason": reason, "found_time": None}
    return entry.model_copy(update=changes)


def _watched(entry: LedgerEntry) -> LedgerEntry:
    is_marked = entry.found_time is not None
    return entry.model_copy(update={"found_time": None}) if is_marked else entry


def found_bad(ledger: Sequence[LedgerEntry], release: str) -> list[LedgerEntry]:
    """Record that a verdict, however mild, speaks against a release: it must earn its health."""
    return [_watched(one) if one.release == release else one for one in ledger]


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


def with_entry(ledger: Sequence[LedgerEntry], entry: LedgerEntry | None) -> list[LedgerEntry]:
    """Put a release on record as the newest, if nothing is known of it yet."""
    known = list(ledger)
    if entry is None or entry_of(known, entry.release) is not None:
        return known
    return [entry, *known][:LIMIT]


def with_health(
    ledger: Sequence[LedgerEntry], release: str, health: Health, reason: str
) -> list[LedgerEntry]:
    """Record a release's health; what speaks against it, or its images, is not outweighed by it."""
    return [
        one.model_copy(update={"health": health, "reason": clipped(reason, _LONGEST)})
        if one.release == release and one.health not in (health, Health.BAD)
        else one
        for one in ledger
    ]


def health_of(ledger: Iterable[LedgerEntry], release: str) -> Health | None:
    """Look a release up; None: nothing was ever seen of it."""
    return next((one.health for one in ledger if one.release == release), None)


def entry_of(ledger: Iterable[LedgerEntry], release: str) -> LedgerEntry | None:
    """Look a release up; None: nothing was ever seen of it."""
    return next((one for one in ledger if one.release == release), None)


def bar(ledger: Iterable[LedgerEntry], release: str) -> str:
    """Say why a release is no target, whoever asks; empty: it may be one."""
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
    """Find the revision that a bad release goes back to; None: there is none.

    The newest Good one; else the one that was adopted as running; else the newest that this policy
    has never seen run, or that was gone back to since and is not known Bad: of those that serve
    still if any does, as of the others nobody knows whether they ever came up. Of those never seen,
    one that was replaced in the midst of its rollout, or that people went back from, comes last:
    they may have had a reason. Never one known Bad, nor one that was still being watched when it
    was replaced.

    Args:
        ledger: of the target.
        workload: the target now.
        restored: releases that rollbacks have gone back to.
    """
    release = workload.deployment.template.release
    older = sorted(
        (one for one in workload.replica_sets if one.template.release != release),
        key=lambda one: -one.revision,
    )
    for wanted in (Health.GOOD, Health.ASSUMED):
        for one in older:
            found = entry_of(ledger, one.template.release)
            if found is not None and found.health is wanted and not found.quarantined_by:
                return one
    restored = restored | _brought_back(older, workload)
    # Older than the oldest of a ledger that is full: seen, maybe, and forgotten.
    oldest = min((one.number for one in ledger), default=0) if len(ledger) >= LIMIT else 0
    last = [
        one
        for one in older
        if (
            one.revision > oldest
            if (found := entry_of(ledger, one.template.release)) is None
            else one.template.release in restored
            and found.health is Health.UNKNOWN
            and not found.quarantined_by
        )
    ]
    doubted = (_replaced_young(workload) | _left(workload)) - restored
    return max(
        last,
        key=lambda one: (one.ready > 0, one.template.release not in doubted, one.revision),
        default=None,
    )


def _brought_back(older: Sequence[ReplicaSet], workload: Workload) -> frozenset[str]:
    """Find what people went back to, and what serves: they trusted it more than what they left."""
    in_order = sorted(workload.replica_sets, key=lambda one: one.revision)
    back = {after.pod_hash for one, after in pairwise(in_order) if after.created < one.created}
    return frozenset(
        one.template.release for one in older if one.pod_hash in back and one.ready > 0
    )


def _replaced_young(workload: Workload) -> frozenset[str]:
    """Find releases that another one has followed before their rollout was over.

    The followers' times show it also to who was not there: a restart in between is no follower.
    """
    began: dict[str, float] = {}
    for one in workload.replica_sets:
        release = one.template.release
        began[release] = min(one.created, began.get(release, math.inf))
    in_order = sorted(workload.replica_sets, key=lambda one: one.revision)
    return frozenset(
        before.template.release
        for before, after in pairwise(in_order)
        if after.template.release != before.template.release
        and after.created - began[before.template.release] < ROLLOUT_SETTLED_SECONDS
    )


def useless(verdict: Verdict) -> str:
    """Say on what a release fails half of its requests, whatever the control failed; empty: none.

    In the whole watch, or of late: what has done well for an hour may have failed since. Without
    numbers: they would change with each look.
    """
    rates = [(one.rate_lower_bound, one.late_lower_bound, one.route) for one in verdict.scopes]
    found = next((one for one in rates if max(one[:2]) >= USELESS), None)
    if found is None:
        return ""
    whole, _, route = found
    where = f" on {route}" if route is not None else ""
    when = "" if whole >= USELESS else " recently"
    return f"not Good: at least half of its requests{where} failed{when}"


def fails_alike(verdict: Verdict) -> str:
    """Say that a release fails half of its requests, though no worse than what it is compared with.

    What was gone back to may be compared with the release that was taken back, and any release with
    one that fails: to fail as that did is not to be healthy. Empty: it does not.
    """
    is_open = verdict.value in (VerdictValue.WATCHING, VerdictValue.NO_VERDICT)
    return useless(verdict) if is_open and verdict.reason in CLEAN else ""


def with_reason(ledger: Sequence[LedgerEntry], release: str, reason: str) -> list[LedgerEntry]:
    """Record why a release has not become Good; what is Good or Bad already has its reason."""
    return [
        one.model_copy(update={"reason": clipped(reason, _LONGEST)})
        if one.release == release and one.health in (Health.UNKNOWN, Health.ASSUMED)
        else one
        for one in ledger
    ]


def is_proved_good(watch: Watch, workload: Workload, verdict: Verdict, since: float) -> bool:
    """Return whether the running revision has earned to be gone back to.

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
    if pooled is None or watch.missing is not None or useless(verdict):
        return False
    if verdict.value is VerdictValue.WATCHING:
        # Also with nothing to compare with, as at adoption: then it is clean by itself.
        nothing_against = verdict.reason in (Reason.NO_EVIDENCE_AGAINST, Reason.NO_CONTROL)
        return pooled.requests >= PROVED_REQUESTS and nothing_against
    # A service without traffic, before as well as now, is good by what Kubernetes shows.
    had_none = watch.control is not None and watch.control.pooled.requests < 1
    return verdict.reason is Reason.TOO_FEW_REQUESTS and had_none
