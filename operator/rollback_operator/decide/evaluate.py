"""Evaluation of a release: evidence -> verdict -> decision -> hold.

Pure, and shared by the operator and the backtest: the caller passes the time and stores the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condemnation,
    Health,
    Hold,
    LedgerEntry,
    MatrixSeverity,
    Rollback,
    RollbackPolicy,
    VerdictValue,
)
from rollback_operator.decide import goodness, holds
from rollback_operator.decide.decide import Decision, decide
from rollback_operator.decide.hold_end import HoldFacts, old_pods
from rollback_operator.evidence.arms import Question, arms_of, excluded_routes
from rollback_operator.evidence.stand_in import with_stand_in
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.judge import non_inferiority
from rollback_operator.judge.judge import judge
from rollback_operator.judge.warm_up import starts_of
from rollback_operator.model.context import Case
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import Thresholds, Verdict
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.releases import ledger, quarantine, records, starts, watch_time
from rollback_operator.releases.baseline_choice import (
    bad_hashes,
    control_hashes,
    good_hashes,
    opened,
    replaced_hashes,
)
from rollback_operator.releases.replacements import runs_on, with_known_times
from rollback_operator.releases.revision_health import failing
from rollback_operator.releases.usefulness import with_last_failures, with_usefulness
from rollback_operator.remedies import flags


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Result of an evaluation."""

    case: Case
    """Its ledger includes the result of this evaluation."""
    question: Question
    verdict: Verdict
    decision: Decision
    hold: Hold | None
    """The hold of the rollout to store."""
    watch: Watch
    """Includes the additions of this evaluation."""


def is_due(policy: RollbackPolicy, deployment: Deployment, now: datetime) -> bool:
    """Return whether a release is due for evaluation: rolled out anew, or still under watch."""
    known, status = policy.status.revision, policy.status
    is_known = runs_on(known, deployment.template.digest, deployment.revision)
    if known is None or known.since is None or not is_known:
        return True
    return not watch_time.is_over(status, policy.spec.safety.watch_seconds, now)


def case_of(
    policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback], now: datetime
) -> Case:
    """Assemble the input of a decision.

    Args:
        policy: the policy, with its status.
        workload: its target.
        rollbacks: all of the target, and all that name the policy, whatever their target.
        now: the current time.
    """
    workload = with_known_times(policy.status.revisions, workload)
    past = records.past(policy, workload, rollbacks, now)
    uid = workload.deployment.uid
    rollbacks = [one for one in rollbacks if one.spec.target_ref.uid == uid]
    entries = ledger.entries(policy, workload, rollbacks, now)
    stored, seconds = policy.status.quarantine, policy.spec.safety.quarantine_seconds
    kept = quarantine.entries(rollbacks, entries, stored, seconds, now)
    templates = [one.template for one in workload.replica_sets]
    known = quarantine.barred(entries, kept, templates, now)
    return Case(policy, workload, known, rollbacks, past)


def watch_of(known: Watch | None, case: Case, read: str, now: datetime) -> Watch:
    """Continue the known watch, or open a watch for another template or other signals.

    Args:
        known: the policy's watch so far.
        case: the target as it is now.
        read: the source of its metrics, and the identity that reads them.
        now: the current time.
    """
    digest = case.workload.deployment.template.digest
    control, good = control_hashes(case), good_hashes(case)
    cured = flags.cured(case)
    since = f" since {cured.metadata.name}" if cured is not None else ""
    source = f"{read} {case.policy.spec.signals!r}{since}"
    if known is None or (known.digest, known.source) != (digest, source):
        watch = open_watch(digest, opened(case, now), control)
        before = replaced_hashes(case)
        pods = _remembered(known, control | good | before)
        against = goodness.stored_against(case)
        return replace(
            watch,
            source=source,
            pods=pods,
            good_hashes=good,
            replaced_hashes=before,
            against=against,
        )
    # A revision that proved bad since is no witness: it caused its own failures.
    if witnesses := known.replaced_hashes & bad_hashes(case):
        known = replace(known, replaced_hashes=known.replaced_hashes - witnesses)
    failed = known.failed_target
    target = known.control_hashes if failed is None else failed.hashes
    is_known = (target, known.good_hashes) == (control, good)
    if is_known and (failed is None or known.replaced_hashes):
        return known
    return replace(
        known,
        control_hashes=control,
        good_hashes=good,
        control=None,
        control_before=None,
        failed_target=None,
    )


def _remembered(known: Watch | None, control: frozenset[str]) -> tuple[Pod, ...]:
    """Keep the names of the control's pods: all may be gone before the first evaluation.

    Where a pod's name has lost its hash, only the kept name leads to its counts.
    """
    return tuple(one for one in known.pods if one.pod_hash in control) if known else ()


def evaluate_release(case: Case, watch: Watch, now: datetime) -> EvaluationResult:
    """Judge the release and decide on the response.

    Args:
        case: policy, target, ledger and earlier rollbacks.
        watch: the counts up to now.
        now: the current time.
    """
    policy, workload = case.policy, case.workload
    release = workload.deployment.template.release
    question = replace(
        _question(policy, workload.deployment),
        has_warm_up=starts.has_warm_up(case.ledger, release),
    )
    watch = with_stand_in(watch, question.purchase_routes)
    verdict = judge(watch, workload, question, now.timestamp())
    case = replace(case, failing=failing(case, watch, question.excluded_routes))
    last_failures = with_last_failures(case.ledger, release, verdict, case.failing.keys())
    case = replace(case, ledger=last_failures)
    decision = decide(case, verdict, now)
    watch = goodness.with_clean_since(watch, decision, now.timestamp())
    watch = goodness.with_against(watch, verdict, question.odds.suspect)
    good_after = policy.spec.safety.good_after_seconds
    since = now.timestamp() - good_after
    is_ripe = goodness.is_ripe(watch, workload, question.conditions, since)
    is_earned = (
        is_ripe
        and ledger.is_proved_good(watch, workload, verdict, since)
        and not ledger.bar(case.ledger, release)
    )
    if is_earned:
        reason = f"fully rolled out for at least {good_after} s without evidence against it"
        if ledger.health_of(case.ledger, release) is not Health.GOOD:
            arms = arms_of(watch, workload, question, now.timestamp())
            shown = starts_of(arms, watch.opened)
            case = replace(case, ledger=starts.with_starts(case.ledger, release, shown))
        case = replace(case, ledger=ledger.with_health(case.ledger, release, Health.GOOD, reason))
    else:
        case = replace(case, ledger=with_usefulness(case.ledger, release, verdict))
    if verdict.value is VerdictValue.BAD:
        case = replace(case, ledger=ledger.found_bad(case.ledger, release))
    case = replace(case, ledger=_blamed(case, decision, now))
    odds = 0.0
    if holds.needs_proof(policy, decision):
        odds = _proof(case, watch, question, now)
    facts = HoldFacts(case, watch.control_hashes, decision, odds)
    return EvaluationResult(case, question, verdict, decision, holds.wanted_hold(facts, now), watch)


def _blamed(case: Case, decision: Decision, now: datetime) -> Sequence[LedgerEntry]:
    """Record the condemnation of the release, with or without a response.

    A person's trust covers all earlier evidence.
    """
    release = case.workload.deployment.template.release
    entry = ledger.entry_of(case.ledger, release)
    if decision.is_asked:
        return case.ledger  # the release is not shown to be the cause
    is_found = decision.severity in ledger.BLAMED or decision.plan is not None
    first = decision.verdict.first_bad
    trusted = entry.trusted_time if entry is not None else None
    is_known = trusted is not None and (first is None or first <= trusted.timestamp())
    if not is_found or (is_known and decision.plan is None):
        return case.ledger
    found = Condemnation(
        time=now,
        message=clipped(f"{decision.severity}: {decision.evidence}", 256),
        severity=MatrixSeverity(decision.severity),
    )
    return ledger.condemn(case.ledger, release, found)


def _proof(case: Case, watch: Watch, question: Question, now: datetime) -> float:
    """Compute the odds that the release is no worse than the old pods."""
    arms = arms_of(_beside(watch, case.workload), case.workload, question, now.timestamp())
    margin = non_inferiority.margin_of(case.policy.spec.matrix)
    return non_inferiority.non_inferiority_odds(arms, question.purchase_routes, margin)


def _beside(watch: Watch, workload: Workload) -> Watch:
    """Compare with the pods under replacement if no pod of the control lives.

    A release in quick succession replaces a revision that is not known good yet.
    """
    living = {pod.pod_hash for pod in old_pods(workload)}
    control = watch.control_hashes & living or living
    return replace(watch, control_hashes=frozenset(control))


def _question(policy: RollbackPolicy, deployment: Deployment) -> Question:
    signals, safety = policy.spec.signals, policy.spec.safety
    objective = signals.latency.objective_seconds
    return Question(
        purchase_routes=tuple(signals.purchase_routes),
        excluded_routes=excluded_routes(signals, deployment),
        watch_seconds=safety.watch_seconds,
        stuck_after=safety.stuck_after_seconds,
        odds=Thresholds(safety.suspect_odds, safety.bad_odds),
        conditions=tuple(one for rule in policy.spec.matrix for one in rule.when),
        quantile=float(signals.latency.quantile),
        objective=float(objective) if objective is not None else None,
        has_pods=bool(signals.labels.pod),
        resumed=holds.resumed(policy, deployment.template.digest),
    )
