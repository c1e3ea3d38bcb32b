"""The condition Recovered: the result of the rollback that led to the running release.

False requires a person: the rollback did not help, and a rollback is never rolled back. It follows
what is known of the restored release: evidence against it makes a recovery False, and missing or
outdated data withdraws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.policy_status import MOST_CAUSES, NotRecovered
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.shape import is_among, is_whole
from rollback_operator.api.v1alpha1 import (
    Condition,
    LedgerEntry,
    Mode,
    Outcome,
    Revision,
    Rollback,
    RollbackPolicyStatus,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.model import commands, conditions
from rollback_operator.model.verdict import Verdict
from rollback_operator.model.workload import digest_of
from rollback_operator.releases.ledger import BLAMED
from rollback_operator.releases.usefulness import CLEAN, useless
from rollback_operator.remedies import attempts, progress, stopped_traffic
from rollback_operator.remedies.steps import KEEP_THE_RELEASE

NEEDED = "a person is needed: a rollback is never rolled back"
AGAIN = "nothing was changed; the operator retries when the obstacle is removed"
_UNDONE = frozenset({Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED})
"""Outcomes before any act: nothing was rolled back."""
_NAME_THE_COMMAND = frozenset(
    {
        Reason.STEP_REFUSED,
        Reason.APPROVAL_TIMED_OUT,
        Reason.REJECTED_BY_PERSON,
        Reason.REQUEST_EXPIRED,
    }
)
"""Reasons of ends whose message names the command of a manual rollback."""
STAYS = "a person is needed: nothing was changed, and the bad release still runs"
REMOVE = "a person is needed: remove it at its source"
FOLLOWS = "if the release is still bad, the next remedy of spec.remedies follows, or else a person"
_STATUS = {Outcome.VERIFIED: True, Outcome.NOT_RECOVERED: False, Outcome.FAILED: False}


@dataclass(frozen=True, slots=True)
class Reported:
    """The last report."""

    condition: Condition | None
    of_rollback: NotRecovered | None
    """The rollback that it concerns, if its condition was False."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a pass knows of the running release."""

    decision: Decision | None
    """None: the release is not evaluated."""
    entry: LedgerEntry | None
    """Its ledger entry; None: it has none."""


def recovered(rollbacks: Sequence[Rollback], running: Revision | None) -> Condition:
    """Report whether a rollback led to the running revision, and whether it helped.

    Args:
        rollbacks: those of the Deployment.
        running: the running revision; None: unknown.
    """
    newest, kind = _newest(rollbacks), ConditionType.RECOVERED
    if newest is None or not _led_to(newest, running):
        message = "no rollback led to the running revision"
        return conditions.condition(kind, None, Reason.NOT_ROLLED_BACK, message)
    name = newest.metadata.name
    done = conditions.find(newest.status.conditions, ConditionType.COMPLETE)
    outcome = newest.status.outcome
    if outcome is Outcome.VERIFIED and _is_back(newest, running):
        by = f", applied by {running.changed_by}" if running and running.changed_by else ""
        message = f"{name} was {outcome}, and the bad release runs again{by}; {REMOVE}"
        return conditions.condition(kind, False, Reason.UNDO_REVERTED, message)
    if outcome is None or done is None:
        return conditions.condition(kind, None, Reason.IN_PROGRESS, f"{name} is still running")
    status = _STATUS.get(outcome)
    # A record of another version may have a reason that is unknown here.
    reason = next((item for item in Reason if item == done.reason), Reason.STILL_FAILING)
    if reason is Reason.TRAFFIC_STOPPED:
        return conditions.condition(kind, status, reason, _stopped(newest))
    message = f"{name}: {done.message}"
    return conditions.condition(
        kind, status, reason, message if status else f"{message}; {_then(newest)}"
    )


def so_far(
    rollbacks: Sequence[Rollback], running: Revision | None, reported: Reported, seen: Findings
) -> Condition:
    """Report the result of the rollback, and what is known of the release since its end.

    Args:
        rollbacks: those of the Deployment.
        running: the running revision; None: unknown.
        reported: the last report.
        seen: what this pass knows of the running release.
    """
    condition = recovered(rollbacks, running)
    newest = _newest(rollbacks)
    if newest is None:
        return condition
    if condition.status == "False":
        return _trusted_since(newest, running, seen.entry) or condition
    if not _has_ended_after_act(newest) or condition.reason == Reason.NOT_ROLLED_BACK:
        return condition
    known = reported.condition if _concerns(reported.of_rollback, newest) else None
    known = known if known is not None and known.status == "False" else None
    against = _against(seen, newest, known)
    if against is None:
        return known if known is not None else condition
    if not against:
        return condition
    message = f"{condition.message}. Since then it is {against}; {_then(newest)}"
    return conditions.condition(ConditionType.RECOVERED, False, Reason.STILL_FAILING, message)


def _against(seen: Findings, newest: Rollback, known: Condition | None) -> str | None:
    """Describe what speaks against the release; empty: nothing does. None: nothing is known."""
    decision, entry = seen.decision, seen.entry
    ended = newest.status.finished_time or newest.spec.trigger.decided_time
    if decision is not None and _is_earlier(decision.verdict, newest, ended):
        decision = None
    verdict = decision.verdict if decision is not None else None
    if decision is not None and decision.severity in BLAMED:
        return f"found bad at {decision.severity}: {decision.evidence}"
    if verdict is not None and useless(verdict):
        return useless(verdict)
    condemned = entry.condemned if entry is not None else None
    if condemned is not None and condemned.time > ended:
        return f"found bad: {condemned.message}"
    trusted = entry.trusted_time if entry is not None else None
    if trusted is not None and known is not None and trusted > known.last_transition_time:
        return ""
    # No series, outdated samples and too few requests prove nothing, and are no recovery.
    is_counted = verdict is not None and bool(verdict.scopes) and verdict.reason in CLEAN
    is_clean = is_counted and verdict is not None and verdict.value is VerdictValue.WATCHING
    return "" if is_clean else None


def _is_earlier(verdict: Verdict, newest: Rollback, ended: datetime) -> bool:
    """Report whether a fault is from before the end of a rollback that kept the release."""
    is_kept = newest.spec.remedy.type in KEEP_THE_RELEASE
    return is_kept and verdict.first_bad is not None and verdict.first_bad <= ended.timestamp()


def reported(
    old: NotRecovered | None, rollbacks: Sequence[Rollback], condition: Condition
) -> NotRecovered | None:
    """Add the reason of a new False to the reported reasons: the Event is posted once for each."""
    newest = _newest(rollbacks)
    if newest is None:
        return old
    kept = old if _concerns(old, newest) else None
    reasons = kept.reasons if kept is not None else []
    if condition.status != "False" or condition.reason in reasons:
        return kept
    return NotRecovered(
        rollback=newest.metadata.name, reasons=[*reasons, condition.reason][-MOST_CAUSES:]
    )


def of_same_rollback(old: RollbackPolicyStatus, failed: NotRecovered | None) -> list[Condition]:
    """Return the conditions without a Recovered of an earlier rollback: its message would stay."""
    known = old.not_recovered
    is_same = known is None or failed is None or known.rollback == failed.rollback
    return [item for item in old.conditions if is_same or item.type != ConditionType.RECOVERED]


def is_the_evidence(
    rollbacks: Sequence[Rollback], running: Revision | None, judged: Verdict | None
) -> bool:
    """Report whether a rollback led to a revision without a control.

    After a rollback only the bad release could be compared with: its verification is the evidence.
    """
    if judged is None or judged.reason is not Reason.NO_CONTROL:
        return False
    if judged.value not in (VerdictValue.WATCHING, VerdictValue.NO_VERDICT):
        return False
    newest = _newest(rollbacks)
    target = newest.spec.to_revision if newest is not None else None
    return running is not None and target is not None and target.release == running.release


def _newest(rollbacks: Sequence[Rollback]) -> Rollback | None:
    """Return the newest rollback; in mode Observe none leads anywhere."""
    real = (item for item in rollbacks if item.spec.mode is Mode.ENFORCE)
    return max(real, key=lambda item: item.spec.trigger.decided_time, default=None)


def _has_ended_after_act(rollback: Rollback) -> bool:
    outcome = rollback.status.outcome
    is_helpful = outcome in (Outcome.VERIFIED, Outcome.UNKNOWN)
    return is_helpful or (outcome is not None and progress.was_done(rollback))


def _concerns(known: NotRecovered | None, rollback: Rollback) -> bool:
    return known is not None and known.rollback == rollback.metadata.name


def _stopped(rollback: Rollback) -> str:
    """State a stop of the traffic so that it stays true when another client ends it."""
    name, record = rollback.metadata.name, rollback.status.traffic
    then = f"To end the stop: {stopped_traffic.command(rollback)}"
    if record is not None and not record.is_open:
        then = f"The stop has ended: {record.restore_message}"
    return f"{name} stopped the traffic, and nothing was rolled back. {then}"


def _then(rollback: Rollback) -> str:
    """Return what follows after a rollback that did not help or was not executed."""
    if rollback.spec.remedy.flag is not None:
        return FOLLOWS
    if _is_unchanged(rollback):
        return _still_runs(rollback)
    if not attempts.is_unbegun(rollback):
        return NEEDED
    if rollback.is_by_hand:
        return _requested_again(rollback)
    return AGAIN if rollback.spec.attempt < MOST_ATTEMPTS else STAYS


def _requested_again(rollback: Rollback) -> str:
    """State how a person repeats their request: the operator does not."""
    return (
        "nothing was changed, and the operator does not repeat a manual rollback. To request it "
        f"again when the obstacle is removed: {commands.repeated(rollback)}"
    )


def _is_unchanged(rollback: Rollback) -> bool:
    """Report whether a rollback ended before it changed anything, and is not repeated."""
    done = conditions.find(rollback.status.conditions, ConditionType.COMPLETE)
    is_refused = done is not None and done.reason == Reason.STEP_REFUSED
    is_undone = rollback.status.outcome in _UNDONE and not progress.has_acted(rollback)
    is_refused = is_refused and not progress.was_done(rollback)
    return (is_refused or is_undone) and not attempts.is_unbegun(rollback)


def _still_runs(rollback: Rollback) -> str:
    """State which release still runs, and how a person rolls back."""
    done = conditions.find(rollback.status.conditions, ConditionType.COMPLETE)
    if done is not None and done.reason in _NAME_THE_COMMAND:
        return "a person is needed: nothing was rolled back"
    back = commands.by_person(rollback)
    return (
        f"nothing was rolled back: revision {rollback.spec.from_revision.number} still runs"
        f"{f'. To roll back: {back}' if back else ''}"
    )


def _trusted_since(
    rollback: Rollback, running: Revision | None, entry: LedgerEntry | None
) -> Condition | None:
    """Report that the release of the rollback runs, and a person has trusted it since."""
    trusted = entry.trusted_time if entry is not None else None
    is_since = trusted is not None and trusted > rollback.spec.trigger.decided_time
    if not is_since or not _is_back(rollback, running):
        return None
    message = f"a person has trusted the running release since {rollback.metadata.name}"
    return conditions.condition(ConditionType.RECOVERED, None, Reason.NOT_ROLLED_BACK, message)


def _is_back(rollback: Rollback, running: Revision | None) -> bool:
    """Report whether the rolled-back release runs again."""
    remedy = rollback.spec.remedy
    is_changed = remedy.replicas is None and remedy.flag is None
    bad = rollback.spec.from_revision.release
    return is_changed and running is not None and running.release == bad


def _led_to(rollback: Rollback, running: Revision | None) -> bool:
    """Report whether the rollback concerns the running release: its target or its subject.

    Compares releases, because a restart does not change the health.
    """
    spec = rollback.spec
    if running is None:
        return False
    if spec.remedy.flag is not None:
        # With the flag's new value the template, or its configuration, is another release.
        bare = spec.flag_digest or spec.from_revision.bare
        made = bare, digest_of([bare, running.configuration])
        return running.release in (spec.from_revision.release, *made)
    is_unchanged = running.release == spec.from_revision.release
    if spec.to_revision is not None:
        # A refused undo leaves the bad release running: that is not recovered either.
        return running.release == spec.to_revision.release or is_unchanged
    # A truncated list may lack the image; the pin itself was observed.
    is_pinned = is_among(spec.remedy.image or "", running.images)
    return is_unchanged or is_pinned or not is_whole(running.images)
