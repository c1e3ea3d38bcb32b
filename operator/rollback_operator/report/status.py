"""The only maker of a policy's status, from the old status, the observations and the decision."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from rollback_operator.api.policy_status import Evaluation, QuarantineEntry
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Health,
    Investigation,
    LedgerEntry,
    Revision,
    Rollback,
    RollbackPolicyStatus,
    SafetySpec,
    Severity,
    Trust,
    VerdictValue,
)
from rollback_operator.api.verification import ProbeRecord
from rollback_operator.decide.decide import Decision
from rollback_operator.evidence.scrape_state import Direct
from rollback_operator.evidence.trends import Trends
from rollback_operator.judge import explain, integrity_trials, matrix_probes
from rollback_operator.model import commands, conditions
from rollback_operator.model.context import Refusal
from rollback_operator.model.message import RevisionLabel
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Workload
from rollback_operator.releases import quarantine, watch_time, way_back
from rollback_operator.releases.ledger import (
    entry_of,
    health_of,
    last_known_good,
    revision_of,
)
from rollback_operator.releases.replacements import runs_on
from rollback_operator.releases.usefulness import CLEAN, FAILS_ALIKE, fails_alike
from rollback_operator.report import recent, recovery, rollout_hold, sources, trusted
from rollback_operator.report.summary import severity_of_all, summary

_IN_PROGRESS_OR_DONE = (Reason.ALREADY_ROLLED_BACK, Reason.ROLLBACK_ACTIVE)
_SUSPENDED = frozenset({Reason.SUSPENDED, Reason.EVERYTHING_SUSPENDED})
"""Reasons of Ready with which no release is evaluated until a person resumes."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """The results of a pass that the status reports."""

    ready: Condition
    workload: Workload | None = None
    ledger: Sequence[LedgerEntry] = ()
    decision: Decision | None = None
    """None: no release is watched."""
    missing: Missing | None = None
    folded: str = ""
    """The counts that are merged to bound memory; empty: none."""
    direct: Direct = field(default_factory=Direct)
    """The state of reading the metrics pages of the pods."""
    rollbacks: Sequence[Rollback] = ()
    """Those of the policy for its present target."""
    own: Sequence[Rollback] = ()
    """All of the policy, including those for a deleted or an earlier target."""
    safety: SafetySpec | None = None
    """Of the policy; None: it cannot be read."""
    of_target: Sequence[Rollback] = ()
    """All of its present target, whichever policy they name."""
    quarantined: Sequence[QuarantineEntry] | None = None
    """The entries that the policies on the target have stored; None: those of the old status."""
    quarantine_seconds: int | None = None
    """Of the policy; None: its rollbacks were not read."""
    opened: datetime | None = None
    """When the current template appeared."""
    investigation: Investigation | None = None
    """Started in this pass."""
    evaluation: Evaluation | None = None
    """To be stored while a person watches the release."""
    trends: Trends = field(default_factory=Trends)
    """Slow signals: which are unreadable, and the results of the matrix probes."""
    trust: Sequence[Trust] = ()
    """The trusted releases of the policy."""
    configuration: Condition | None = None
    """Of what a release consists; None: as reported before."""
    notified: Condition | None = None
    """Whether messages were delivered; None: unknown in this pass."""
    key: tuple[str, str] = ("NAMESPACE", "NAME")
    """Of the policy, for quoted commands."""


def is_quiet(refusal: Refusal) -> bool:
    """Return whether another Rollback reports a refusal, and no person has to end it."""
    return refusal.reason in _IN_PROGRESS_OR_DONE and not refusal.needs_person


def ready(reason: Reason, message: str = "") -> Condition:
    """Make the condition Ready."""
    return conditions.condition(ConditionType.READY, True, reason, message)


def not_ready(reason: Reason, message: str) -> Condition:
    """Make the condition Ready=False, with the cause and the remedy."""
    return conditions.condition(ConditionType.READY, False, reason, message)


def next_status(
    old: RollbackPolicyStatus, seen: StatusInputs, generation: int, now: datetime
) -> RollbackPolicyStatus:
    """Make the new status; equal to the old status if nothing has changed."""
    verdict, severity = _verdict(old, seen)
    made = [seen.ready, *_sources(seen, now)]
    revision = _revision(old, seen)
    recovered = _recovered(old, seen)
    made += [_healthy(old, seen, verdict, now), rollout_hold.condition_of(old, revision), recovered]
    kept = _quarantine(old, seen, now)
    made.append(quarantine.condition(kept, revision, _images(seen, revision), seen.of_target, now))
    was_trusted = conditions.find(old.conditions, ConditionType.TRUSTED) is not None
    ledger = _revisions(old, seen)
    made += [trusted.condition(seen.trust, ledger)] if seen.trust or was_trusted else []
    made += [each for each in (seen.configuration, seen.notified) if each is not None]
    failed = recovery.reported(old.not_recovered, _reported_rollbacks(seen), recovered)
    before = _of_same_release(recovery.of_same_rollback(old, failed), old, revision)
    updated = conditions.upsert(before, made, generation, now)
    rollbacks, times = (*seen.rollbacks, *seen.own), _watched(old, seen, now)
    return RollbackPolicyStatus(
        observed_generation=generation,
        summary=summary(updated, (verdict, severity), old.hold, rollbacks),
        conditions=updated,
        missing_metrics=sources.still_missing(old.missing_metrics, updated),
        deployment=old.deployment,
        revision=revision,
        watched_since=times.since,
        watched_until=times.until,
        last_known_good=_last_known_good(old, seen) if seen.workload else old.last_known_good,
        verdict=verdict,
        severity=severity_of_all(severity, rollbacks),
        revisions=list(ledger),
        recent_rollbacks=recent.recent(old, seen.own, seen.safety, seen.workload, now),
        quarantine=kept,
        earlier_targets=old.earlier_targets,
        last_rollback=recent.last(old, rollbacks, now),
        not_recovered=failed,
        hold=old.hold,
        investigation=_investigation(old, seen),
        evaluation=seen.evaluation,
        probes=_probes(old, seen, now),
        notifications=old.notifications,
    )


def _of_same_release(
    before: Sequence[Condition], old: RollbackPolicyStatus, revision: Revision | None
) -> list[Condition]:
    """Return the conditions so that Healthy does not keep its message of another release."""
    is_same = old.revision is None or revision is None or old.revision.release == revision.release
    return [
        item if is_same or item.type != ConditionType.HEALTHY else conditions.outdated(item)
        for item in before
    ]


def _probes(old: RollbackPolicyStatus, seen: StatusInputs, now: datetime) -> list[ProbeRecord]:
    if seen.workload is None:
        return old.probes
    release = seen.workload.deployment.template.release
    trials = {**seen.trends.trials, **integrity_trials.titled(seen.trends.integrity)}
    return matrix_probes.recorded(old.probes, trials, release, now)


def _quarantine(
    old: RollbackPolicyStatus, seen: StatusInputs, now: datetime
) -> list[QuarantineEntry]:
    stored = old.quarantine if seen.quarantined is None else seen.quarantined
    if seen.quarantine_seconds is None:
        return [entry for entry in stored if entry.until_time > now]
    ledger, seconds = _revisions(old, seen), seen.quarantine_seconds
    return quarantine.entries(seen.of_target, ledger, stored, seconds, now)


def _revisions(old: RollbackPolicyStatus, seen: StatusInputs) -> Sequence[LedgerEntry]:
    return seen.ledger if seen.workload is not None or seen.ledger else old.revisions


def _images(seen: StatusInputs, revision: Revision | None) -> Sequence[str]:
    """List all running images, including those that exceed the limit of the status."""
    current = seen.workload.current if seen.workload else None
    if current is not None:
        return current.template.all_images
    return [*revision.images, *revision.init_images] if revision is not None else []


def _recovered(old: RollbackPolicyStatus, seen: StatusInputs) -> Condition:
    known = conditions.find(old.conditions, ConditionType.RECOVERED)
    if known is not None and seen.workload is None and not _reported_rollbacks(seen):
        return known  # the policy is suspended or not ready: nothing was observed
    return recovery.so_far(
        _reported_rollbacks(seen),
        _revision(old, seen),
        recovery.Reported(known, old.not_recovered),
        recovery.Findings(seen.decision, _running(old, seen)),
    )


def _reported_rollbacks(seen: StatusInputs) -> Sequence[Rollback]:
    """Return the Rollbacks of the target; of two policies on it only the older reports them."""
    return () if seen.ready.reason == Reason.TARGET_ALREADY_WATCHED else seen.of_target


def _investigation(old: RollbackPolicyStatus, seen: StatusInputs) -> Investigation | None:
    if seen.investigation is not None or seen.workload is None:
        return seen.investigation or old.investigation
    known, release = old.investigation, seen.workload.deployment.template.release
    return known if known is not None and known.release == release else None


def _verdict(old: RollbackPolicyStatus, seen: StatusInputs) -> tuple[VerdictValue, Severity]:
    entry, health = _running(old, seen), _health(old, seen)
    found_as = entry.condemned.severity if entry is not None and entry.condemned else None
    worst = Severity(found_as) if found_as else Severity.NONE
    if seen.decision is not None:
        value = seen.decision.verdict.value
        is_clean = seen.decision.verdict.reason in CLEAN
        is_trusted = health in (Health.GOOD, Health.ASSUMED)
        restored = _restored(old, seen)
        is_verified = restored is not None and restored.status == "True"
        if _fails_alike(seen):
            value = VerdictValue.SUSPECT
        elif (value is VerdictValue.WATCHING and is_clean and is_trusted) or is_verified:
            value = VerdictValue.HEALTHY
        severity = seen.decision.severity
        if worst is not Severity.NONE and (severity is Severity.NONE or worst < severity):
            # A finding stays until it is cured, trusted or rolled back.
            return VerdictValue.BAD, worst
        return value, severity
    known = {Health.BAD: VerdictValue.BAD}
    if seen.ready.reason not in _SUSPENDED:
        known[Health.GOOD] = VerdictValue.HEALTHY
    return known.get(health or Health.UNKNOWN, VerdictValue.NO_VERDICT), worst


def _fails_alike(seen: StatusInputs) -> str:
    return fails_alike(seen.decision.verdict) if seen.decision is not None else ""


def _health(old: RollbackPolicyStatus, seen: StatusInputs) -> Health | None:
    entry = _running(old, seen)
    return entry.health if entry is not None else None


def _running(old: RollbackPolicyStatus, seen: StatusInputs) -> LedgerEntry | None:
    """Return the ledger entry of the running release."""
    if seen.workload is not None:
        return entry_of(seen.ledger, seen.workload.deployment.template.release)
    return entry_of(_revisions(old, seen), old.revision.release) if old.revision else None


def _sources(seen: StatusInputs, now: datetime) -> list[Condition]:
    verdict = seen.decision.verdict if seen.decision is not None else None
    unripe = sources.early(seen.workload, now)
    return [
        sources.metrics(verdict, seen.missing, seen.folded, unripe),
        sources.pod_metrics(verdict, seen.direct),
        sources.slow_signals(verdict, seen.trends, unripe),
    ]


def _found_bad(
    old: RollbackPolicyStatus, seen: StatusInputs, verdict: VerdictValue
) -> Condition | None:
    """Report an earlier finding against the running release, if there is no current evidence.

    Its words hold as long as the release runs: until then the condition keeps its message.
    """
    entry = _running(old, seen)
    is_reported = seen.decision is not None and seen.decision.severity is not Severity.NONE
    is_new = verdict in (VerdictValue.SUSPECT, VerdictValue.HEALTHY)
    if entry is None or entry.condemned is None or is_reported or is_new:
        return None
    finding, (namespace, name) = entry.condemned, seen.key
    undo = way_back.recorded(old, seen.key)
    how = f"To roll back now: {undo}" if undo else "Its status records no rollback target"
    if seen.workload is not None:
        how = way_back.now(seen.ledger, seen.workload, seen.key)
    message = (
        f"{RevisionLabel(entry.number, tuple(entry.images))} runs again or still, and was found "
        f"bad before. {how}; an earlier finding alone "
        "leads to no rollback, only new evidence within spec.safety.watchSeconds. Found at "
        f"{finding.time:%Y-%m-%d %H:%M:%S} UTC: {finding.message}. No rollback leads to it unless "
        f"a person trusts it: {commands.trust(name, namespace, entry.number)}"
    )
    status = False if verdict is VerdictValue.BAD else None
    return conditions.condition(ConditionType.HEALTHY, status, Reason.FOUND_BAD, message)


def _healthy(
    old: RollbackPolicyStatus, seen: StatusInputs, verdict: VerdictValue, now: datetime
) -> Condition:
    kind = ConditionType.HEALTHY
    status = {VerdictValue.HEALTHY: True, VerdictValue.BAD: False}.get(verdict)
    found_bad = _found_bad(old, seen, verdict)
    if found_bad is not None:
        return found_bad
    if seen.decision is None:
        return _unwatched(old, seen, status, now)
    refusal = seen.decision.refusal
    if refusal is not None and not _is_shown_elsewhere(old, seen, refusal):
        message = f"{seen.decision.evidence}. Not rolled back: {refusal.message}"
        return conditions.condition(kind, status, refusal.reason, message)
    if _fails_alike(seen):
        message = f"{FAILS_ALIKE}{_fails_alike(seen)}: {seen.decision.verdict.message}"
        return conditions.condition(kind, None, Reason.ENVIRONMENT_SUSPECTED, message)
    return _compared(old, seen, status)


def _is_shown_elsewhere(old: RollbackPolicyStatus, seen: StatusInputs, refusal: Refusal) -> bool:
    """Return whether a Rollback on record shows why no other begins."""
    if refusal.reason is not Reason.ALREADY_ROLLED_BACK:
        return is_quiet(refusal)
    revision = _revision(old, seen)
    releases = {rollback.spec.from_revision.release for rollback in seen.of_target}
    return revision is not None and revision.release in releases


def _unwatched(
    old: RollbackPolicyStatus, seen: StatusInputs, status: bool | None, now: datetime
) -> Condition:
    kind = ConditionType.HEALTHY
    if seen.ready.reason in _SUSPENDED:
        # Another release may run by now: the earlier verdict may be about another.
        message = f"no release is evaluated: {seen.ready.message}"
        return conditions.condition(kind, status, Reason(seen.ready.reason), message)
    is_open = _health(old, seen) is Health.UNKNOWN
    message = watch_time.ended(old, seen.safety if is_open else None, now)
    return conditions.condition(kind, status, Reason.NO_RELEASE_WATCHED, message)


def _compared(old: RollbackPolicyStatus, seen: StatusInputs, status: bool | None) -> Condition:
    """Report the comparison with the control, or what stands for it."""
    assert seen.decision is not None
    kind, judged = ConditionType.HEALTHY, seen.decision.verdict
    restored = _restored(old, seen)
    if restored is not None:
        message = f"this revision was restored by a rollback: {restored.message}"
        return conditions.condition(kind, status, Reason(restored.reason), message)
    if status and judged.reason is Reason.NO_CONTROL and judged.scopes:
        # A healthy and trusted release does not need a control.
        reason = Reason.NO_EVIDENCE_AGAINST
        return conditions.condition(
            kind, status, reason, explain.describe_scope(judged.scopes[0], reason)
        )
    return conditions.condition(kind, status, judged.reason, judged.message)


def _restored(old: RollbackPolicyStatus, seen: StatusInputs) -> Condition | None:
    judged = seen.decision.verdict if seen.decision is not None else None
    if not recovery.is_the_evidence(_reported_rollbacks(seen), _revision(old, seen), judged):
        return None
    recovered = _recovered(old, seen)
    return None if recovered.reason == Reason.NOT_ROLLED_BACK else recovered


def _revision(old: RollbackPolicyStatus, seen: StatusInputs) -> Revision | None:
    current = seen.workload.current if seen.workload else None
    if current is None:
        return old.revision
    is_same = runs_on(old.revision, current.template.digest, current.revision)
    since = old.revision.since if is_same and old.revision else seen.opened
    by = seen.workload.deployment.changed_by[:128] if seen.workload else ""
    return revision_of(current, since).model_copy(update={"changed_by": by or None})


def _watched(old: RollbackPolicyStatus, seen: StatusInputs, now: datetime) -> watch_time.Times:
    known = watch_time.Times(old.watched_since, old.watched_until)
    current, safety = seen.workload.current if seen.workload else None, seen.safety
    if current is None:
        return known
    is_earned = safety is None or _health(old, seen) in watch_time.EARNED
    verdict = seen.decision.verdict if seen.decision is not None else None
    is_same = runs_on(old.revision, current.template.digest, current.revision)
    if old.revision is None or not is_same:
        known = watch_time.begun(seen.opened, now)
    elif safety is not None and not is_earned and watch_time.is_evaluation(verdict, seen.missing):
        made = old.revision.since or now
        known = watch_time.extended(known, made, safety.watch_seconds, now)
    return replace(known, until=None) if is_earned else known


def _last_known_good(old: RollbackPolicyStatus, seen: StatusInputs) -> Revision | None:
    if seen.workload is None:
        return None
    current = seen.workload.current
    if current is not None and _health(old, seen) in (Health.GOOD, Health.ASSUMED):
        return revision_of(current, None)
    good = last_known_good(seen.ledger, seen.workload)
    if good is None or health_of(seen.ledger, good.template.release) is None:
        return None
    return revision_of(good, None)
