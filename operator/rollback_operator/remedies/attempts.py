"""Attempts: a rollback that changed nothing is retried after its cause is resolved.

Pure. Three kinds are retried: blocked by the checklist; abandoned before any change because the
policy or its target was not ready; failed because the target's ReplicaSet was gone (a new plan
selects an existing target). Each attempt is a Rollback of its own, and its name follows from its
number: the earlier result stays on record, and a replay or a second leader reads the existing
attempt.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from rollback_operator.api.reasons import IDLE, ConditionType, Reason
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.v1alpha1 import Outcome, PolicyRef, Rollback, RollbackSpec, StepName
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case
from rollback_operator.remedies.gitops import act_of
from rollback_operator.remedies.progress import NOTHING_DONE, ended_time, has_acted, was_done

NAME_PART = 40


def rollback_name(case: Case, attempt: int = 1) -> str:
    """Make the name under which this policy's rollback of this revision is stored.

    Args:
        case: the policy and its target.
        attempt: the number of the attempt.
    """
    policy = PolicyRef(name=case.policy.metadata.name, uid=case.policy.metadata.uid)
    deployment = case.workload.deployment
    revision = deployment.template.digest, deployment.revision
    kind = f"{case.policy.spec.mode}{_attempt_suffix(attempt)}"
    return _name(policy, deployment.uid, revision, kind)


def name_of(spec: RollbackSpec) -> str:
    """Make the name that a Rollback with this spec has if the operator made it."""
    revision = spec.from_revision.digest, spec.from_revision.number
    # A proposal without an approval must not block a later decision.
    kind = f"{spec.mode}/proposed" if spec.requires_approval else f"{spec.mode}"
    kind = f"{spec.mode}/asked" if spec.is_blame_open else kind
    if spec.remedy.flag is not None:
        # If the flag does not help, another remedy follows for the same revision.
        kind += "/".join(("", *spec.remedy.flag.key, spec.remedy.flag.value))
    return _name(
        spec.policy_ref, spec.target_ref.uid, revision, kind + _attempt_suffix(spec.attempt)
    )


def _attempt_suffix(attempt: int) -> str:
    return f"/attempt-{attempt}" if attempt > 1 else ""


def _name(policy: PolicyRef, target_uid: str, revision: tuple[str, int], kind: str) -> str:
    digest, number = revision
    identity = "/".join((policy.uid, target_uid, digest, str(number), kind))
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:10]
    return f"{policy.name[:NAME_PART].rstrip('-.')}-{suffix}"


FIRST_WAIT = timedelta(seconds=30)
"""Between a blocked attempt and the next; doubled each time."""
ATTEMPT_POLL_SECONDS = 10.0
"""Interval of the checks whether the cause is resolved."""
_TEMPORARY = IDLE | {
    Reason.MODE_CHANGED,
    Reason.POLICY_CHANGED,
    Reason.INVALID_SPEC,
    Reason.TARGET_CHANGED,
    Reason.ROLLBACK_STALE,
    Reason.READ_FAILED,
    Reason.FREEZE_ACTIVE,
    Reason.TRAFFIC_RECOVERED,
}
"""Reasons for an abandoned rollback that are no evidence on the release or on people's intent.

Excluded: an unanswered question, and a template or flag that another client has changed."""
_ATTEMPTS_NEWEST_FIRST = range(MOST_ATTEMPTS, 0, -1)


def of_revision(case: Case) -> Rollback | None:
    """Find the newest attempt to roll back the running revision; None: there is none."""
    return _newest(case.rollbacks, names_of_revision(case))


def names_of_revision(case: Case) -> list[str]:
    """List the names of all attempts to roll back the running revision, the last first."""
    return [rollback_name(case, attempt) for attempt in _ATTEMPTS_NEWEST_FIRST]


def of_plan(rollbacks: Sequence[Rollback], spec: RollbackSpec) -> Rollback | None:
    """Find the newest attempt of a plan, including the plan's own; None: there is none."""
    return _newest(
        rollbacks, [name_of(numbered(spec, attempt)) for attempt in _ATTEMPTS_NEWEST_FIRST]
    )


def _newest(rollbacks: Sequence[Rollback], names: Sequence[str]) -> Rollback | None:
    by_name = {rollback.metadata.name: rollback for rollback in rollbacks}
    return next((by_name[name] for name in names if name in by_name), None)


def numbered(spec: RollbackSpec, attempt: int) -> RollbackSpec:
    """Make another attempt of a plan."""
    return spec.model_copy(update={"attempt": attempt})


def following(last: Rollback | None, now: datetime) -> int | None:
    """Return the number of the attempt that is allowed now; None: none is."""
    if last is None:
        return 1
    attempt = last.spec.attempt
    if not is_unbegun(last) or last.status.finished_time is None or attempt >= MOST_ATTEMPTS:
        return None
    return attempt + 1 if now - ended_time(last, now) >= FIRST_WAIT * 2 ** (attempt - 1) else None


def is_unbegun(last: Rollback) -> bool:
    """Return whether a rollback ended for a temporary reason before it changed anything."""
    if last.status.traffic is not None:
        return False  # it has stopped the traffic, and another attempt would record none
    if last.status.outcome is Outcome.BLOCKED:
        return True
    done = find(last.status.conditions, ConditionType.COMPLETE)
    if last.status.outcome is Outcome.FAILED:
        is_gone = done is not None and done.reason == Reason.REPLICA_SET_GONE
        return is_gone and not was_done(last)
    if (
        last.status.outcome is not Outcome.ABANDONED
        or done is None
        or done.reason not in _TEMPORARY
    ):
        return False
    if done.reason == Reason.ROLLBACK_STALE and _has_only_begun_to_act(last):
        return True  # it ended so because the target showed that the act was not done
    # A person paused the Deployment for the entire step: no change either.
    return done.reason == Reason.TARGET_PAUSED or not has_acted(last)


def _has_only_begun_to_act(rollback: Rollback) -> bool:
    steps = [step for step in rollback.status.steps if step.name is not StepName.AWAITING_APPROVAL]
    return len(steps) == 1 and act_of(rollback) is not None


def is_left(outcome: Outcome | None, is_done: bool, is_retryable: bool) -> bool:
    """Return whether a rollback ended and its remedy was not applied.

    Args:
        outcome: None if the rollback is in progress.
        is_done: whether the act was carried out (`was_done`).
        is_retryable: whether it ended for a temporary reason (`is_unbegun`).
    """
    return (outcome in NOTHING_DONE or is_retryable) and not is_done


def vanished(is_done: bool) -> Outcome:
    """Return the outcome of a rollback whose object was deleted before its end was stored."""
    return Outcome.UNKNOWN if is_done else Outcome.ABANDONED


def attempt_message(last: Rollback, way_back: str) -> str:
    """Explain why no further attempt is made now.

    Args:
        last: the last attempt.
        way_back: what a person can do, as a sentence without its end.
    """
    name, outcome = last.metadata.name, last.status.outcome
    if not is_unbegun(last) or outcome is None:
        return f"{name} already handles this revision"
    message = f"{name} failed" if outcome is Outcome.FAILED else f"{name} was {outcome.lower()}"
    if last.spec.attempt >= MOST_ATTEMPTS:
        return f"{message}, the last of {MOST_ATTEMPTS} attempts. {way_back}"
    return f"{message}: it is retried after the cause is resolved"
