"""`explain`: all stored facts of a decision. Fields of newer operators come last."""

from collections.abc import Sequence
from datetime import datetime

import yaml

from rollback_operator.cli.plugin.next_step import is_watched, policy_headline, rollback_headline
from rollback_operator.cli.plugin.overview import took
from rollback_operator.cli.plugin.page import TextPage, clock, span
from rollback_operator.cli.plugin.record import (
    Record,
    decided,
    decided_time,
    remedy_text,
    requester,
    revision,
    severity_of,
)
from rollback_operator.rollback.approval_notice import route_of

ROLLBACK_KNOWN = frozenset(
    {
        "conditions", "severity", "step", "steps", "strategy", "outcome", "finishedTime",
        "checklist", "verification", "notifications", "planDigest", "approvalDeadlineTime",
        "message", "plan", "pace", "escalatedTime", "escalatedMessage",
        "autoscaler", "owner", "traffic", "assessment", "diagnosis", "migrations",
    }
)  # fmt: skip
POLICY_KNOWN = frozenset(
    {
        "observedGeneration", "conditions", "revision", "lastKnownGood", "verdict", "severity",
        "revisions", "lastRollback", "hold", "investigation", "quarantine", "summary",
        "evaluation", "deployment", "watchedSince", "watchedUntil", "recentRollbacks",
        "earlierTargets", "notifications", "probes", "notRecovered", "missingMetrics",
    }
)  # fmt: skip


def explain_rollback(page: TextPage, rollback: Record, policy: Record) -> None:
    """Show why a rollback was decided, what was done, and whether it helped.

    Args:
        page: receives the lines.
        rollback: as it is stored.
        policy: its policy, for a bad release that runs again; empty: it cannot be read.
    """
    _summary(page, rollback, policy)
    _why(page, rollback)
    _rows(page, "Checklist", rollback.rows("status.checklist"), ("result", "name", "message"))
    _approval(page, rollback)
    _steps(page, rollback)
    _bounds(page, rollback)
    _owner(page, rollback)
    _database(page, rollback)
    _verification(page, rollback)
    _notifications(page, rollback)
    _end(page, rollback)
    _others(page, rollback.part("status"), ROLLBACK_KNOWN)


def _summary(page: TextPage, rollback: Record, policy: Record) -> None:
    page.head(f"Rollback {rollback.name} (namespace {rollback.namespace})")
    rollback_headline(page, rollback, policy)
    page.head("What")
    page.pairs(facts(rollback))


def facts(rollback: Record) -> list[tuple[str, str]]:
    """List the facts of a plan; a missing fact is empty."""
    spec = decided(rollback)
    return [
        ("Severity", severity_of(rollback)),
        ("Policy", spec.text("policyRef.name")),
        ("Target", f"Deployment {spec.text('targetRef.name') or '(not resolved yet)'}"),
        ("Mode", spec.text("mode")),
        ("Decided by", requester(rollback)),
        ("Remedy", remedy_text(rollback) + (", express" if _is_express(rollback) else "")),
        ("Escalated", clock(rollback.time("status.escalatedTime"))),
        ("From", revision(spec.part("fromRevision"))),
        ("To", revision(spec.part("toRevision"))),
        ("Flag", _flag(spec)),
        ("Took", took(rollback, decided_time(rollback))),
    ]


def _flag(spec: Record) -> str:
    """Describe the flag, its old and new value, and how the pods receive it."""
    flag, plan = spec.part("remedy.flag"), spec.part("flag")
    if not flag.raw or not plan.raw:
        return ""
    how = {
        "Restart": "pods replaced",
        "Template": "pods replaced",
        "Mount": "updated in the running pods",
    }
    taken = how.get(plan.text("takenBy"), plan.text("takenBy"))
    container = flag.text("env.container")
    place = f"container {container}" if container else f"ConfigMap {flag.text('configMapRef.name')}"
    where = f"{place}, {flag.text('name')}"
    return f"{where}: {plan.text('oldValue')!r} -> {flag.text('value')!r} ({taken})"


def _is_express(rollback: Record) -> bool:
    """Report whether the effective pace, or before it is known the planned pace, is express."""
    return (rollback.text("status.pace") or decided(rollback).text("pace")) == "Express"


def _why(page: TextPage, rollback: Record) -> None:
    trigger = decided(rollback).part("trigger")
    if not trigger.raw:
        return
    page.head("Why")
    page.pairs(
        [
            ("Reason", trigger.text("reason")),
            ("Request", rollback.text("spec.reason") if trigger.text("message") else ""),
            *evidence(trigger),
            ("Limit to prove it", clock(trigger.time("deadlineTime"))),
        ]
    )


def evidence(trigger: Record) -> list[tuple[str, str]]:
    """List the counts, odds and times of a decision; a missing fact is empty."""
    return [
        ("New revision", _counts(trigger, "errors", "requests") + _where(trigger)),
        ("Old revision", _counts(trigger, "controlErrors", "controlRequests")),
        ("Odds that the new revision is worse", trigger.text("odds")),
        ("Odds that the release is to blame", trigger.text("blameOdds")),
        ("First bad sample", clock(trigger.time("firstBadTime"))),
        ("Decided", clock(trigger.time("decidedTime")) + _after(trigger)),
    ]


def _counts(trigger: Record, errors: str, requests: str) -> str:
    whole = trigger.number(requests)
    if not whole:
        return ""
    share = 100 * trigger.number(errors) / whole
    return f"{trigger.number(errors)} of {whole} requests failed ({share:.1f} %)"


def _where(trigger: Record) -> str:
    """Name the route of the counts, which the message states; empty: all routes."""
    route = route_of(trigger.text("message"))
    return f" on {route}" if route and trigger.number("requests") else ""


def _after(trigger: Record) -> str:
    first, then = trigger.time("firstBadTime"), trigger.time("decidedTime")
    if first is None or then is None:
        return ""
    return f", {span((then - first).total_seconds())} after the first bad sample"


def _rows(page: TextPage, head: str, rows: Sequence[Record], fields: Sequence[str]) -> None:
    if rows:
        page.head(head)
        page.rows([[row.text(field) for field in fields] for row in rows])


def _approval(page: TextPage, rollback: Record) -> None:
    approval, digest = rollback.part("spec.approval"), rollback.text("status.planDigest")
    is_over = bool(rollback.text("status.outcome"))
    is_waiting = rollback.text("status.step") == "AwaitingApproval" and not is_over
    if not approval.raw and not is_waiting:
        return
    approved = approval.text("planDigest")
    page.head("Approval")
    page.pairs(
        [
            ("Decision", approval.text("decision") or "awaited"),
            ("By", approval.text("by")),
            ("Because", approval.text("reason")),
            ("Plan", digest),
            ("Approved plan", approved if approved != digest else ""),
            ("Decide until", clock(rollback.time("status.approvalDeadlineTime"))),
        ]
    )


def _steps(page: TextPage, rollback: Record) -> None:
    rows, end_message = [], rollback.condition("Complete").text("message")
    for step in rollback.rows("status.steps"):
        start, end = step.time("startedTime"), step.time("finishedTime")
        duration = span((end - start).total_seconds()) if start and end else "running"
        tries, message = step.number("attempts"), step.text("message")
        message = message.replace(end_message, "") if end_message else message
        message += f" ({tries} attempts)" if tries > 1 else ""
        rows.append([step.text("name"), clock(start), duration, message])
    if rows:
        page.head("Steps")
        page.rows(rows)


def _bounds(page: TextPage, rollback: Record) -> None:
    record = rollback.part("status.autoscaler")
    if not record.raw:
        return
    page.head(f"HorizontalPodAutoscaler {decided(rollback).text('autoscaler.name')}")
    page.pairs(
        [
            ("Before", f"{record.text('minReplicas')} to {record.text('maxReplicas')} replicas"),
            (
                "Raised to",
                f"{record.text('raisedMinReplicas')} to {record.text('raisedMaxReplicas')}",
            ),
            ("Put back", clock(record.time("restoredTime")) or "not yet"),
            ("Because", record.text("restoreMessage")),
        ]
    )


def _owner(page: TextPage, rollback: Record) -> None:
    """Show the suspension of the GitOps owner of the Deployment."""
    record, plan = rollback.part("status.owner"), decided(rollback).part("owner")
    if not record.raw:
        return
    page.head(f"{plan.text('kind') or 'Owner'} {plan.text('name')}".rstrip())
    was_suspended = record.text("wasSuspended") == "true"
    page.pairs(
        [
            ("Namespace", record.text("namespace")),
            ("Before", "already suspended, and stays suspended" if was_suspended else ""),
            ("Suspended", clock(record.time("suspendedTime"))),
            ("Released", "" if was_suspended else clock(record.time("releasedTime")) or "not yet"),
            ("Because", record.text("releaseMessage")),
        ]
    )


def _database(page: TextPage, rollback: Record) -> None:
    """Show the diagnosis, the stopped traffic, the damage and the migrations rolled back."""
    diagnosis, traffic = rollback.part("status.diagnosis"), rollback.part("status.traffic")
    down = rollback.part("status.migrations")
    if diagnosis.raw:
        page.head("Diagnosis")
        names = (("Pod", "pod"), ("Result", "message"), ("Memory", "memory"), ("Output", "output"))
        page.pairs([(head, diagnosis.text(field)) for head, field in names])
    if traffic.raw:
        page.head("Traffic")
        before = traffic.text("selector") or f"{traffic.text('replicas')} replicas"
        restored = clock(traffic.time("restoredTime")) or "not yet"
        page.pairs(
            [
                ("Before", before),
                ("Restored", restored),
                ("Because", traffic.text("restoreMessage")),
            ]
        )
    for answer in rollback.rows("status.assessment"):
        page.head(f"Damage: {answer.text('name')}")
        for line in (*answer.words("rows"), answer.text("message")):
            page.line(f"  {line}" if line else "")
    if down.raw:
        page.head("Migrations")
        page.pairs(
            [
                ("To roll back", ", ".join(down.words("names"))),
                ("Order", down.text("order")),
                ("Rolled back", ", ".join(down.words("undone"))),
                ("Unknown loss", down.text("unknownLoss")),
            ]
        )
        _rows(page, "Data lost", down.rows("losses"), ("place", "how", "values"))


def _verification(page: TextPage, rollback: Record) -> None:
    """Show the checks; the operator stores them as soon as one of them fails."""
    checks = rollback.rows("status.verification")
    is_running = rollback.text("status.step") == "Verify" and not rollback.text("status.outcome")
    if is_running and not checks:
        limit = span(decided(rollback).number("verification.timeoutSeconds"))
        page.head("Verification")
        page.line(f"  in progress for at most {limit}; no check has failed. The checks are shown")
        page.line("  here after a failure or at the end")
    _rows(page, "Verification", checks, ("result", "name", "message"))


def _notifications(page: TextPage, rollback: Record) -> None:
    rows = []
    for sent in rollback.rows("status.notifications"):
        when = clock(sent.time("deliveredTime")) or "not delivered"
        tries = f"{sent.number('attempts')} attempts" if sent.number("attempts") > 1 else ""
        detail = "; ".join(filter(None, (tries, sent.text("message"))))
        rows.append([sent.text("transition"), sent.text("channel"), when, detail])
    if rows:
        page.head("Notifications")
        page.rows(rows)


def _end(page: TextPage, rollback: Record) -> None:
    complete, is_over = rollback.condition("Complete"), bool(rollback.text("status.outcome"))
    if not complete.raw:
        return
    page.head("End" if is_over else "Now")
    page.pairs(
        [
            ("Reason", complete.text("reason")),
            ("Message", "" if is_over else complete.text("message")),
            ("Time", clock(rollback.time("status.finishedTime"))),
        ]
    )


def _others(page: TextPage, status: Record, known: frozenset[str]) -> None:
    for name, value in status.others(known):
        page.head(name)
        shown = yaml.safe_dump(value, sort_keys=False, allow_unicode=True).removesuffix("...\n")
        for line in shown.splitlines():
            page.line(f"  {line}")


def explain_policy(page: TextPage, policy: Record) -> None:
    """Show the verdict on the running release, and its evidence."""
    page.head(f"RollbackPolicy {policy.name} (namespace {policy.namespace})")
    policy_headline(page, policy)
    page.head("What")
    status = policy.part("status")
    last, running = status.part("lastRollback"), status.part("revision")
    suspended = "true: automatic evaluation and rollback are suspended"
    page.pairs(
        [
            ("Target", f"Deployment {policy.text('spec.targetRef.name')}"),
            ("Mode", policy.text("spec.mode")),
            ("Suspended", suspended if policy.text("spec.suspend") == "true" else ""),
            ("Verdict", status.text("verdict")),
            ("Severity", status.text("severity").replace("None", "")),
            ("Running" if is_watched(policy) else "Last watched", revision(running)),
            ("Since", clock(running.time("since"))),
            ("Watched since", clock(status.time("watchedSince"))),
            ("Evaluated until at least", clock(_evaluated(status))),
            _target_of_rollback(policy),
            ("Last rollback", f"{last.text('name')} {last.text('outcome')}".strip()),
        ]
    )
    conditions = policy.rows("status.conditions")
    _rows(page, "Conditions", conditions, ("type", "status", "reason", "message"))
    _rows(page, "Trusted", policy.rows("spec.trust"), ("revision", "by", "time", "reason"))
    _held(page, status.part("hold"))
    investigation = status.part("investigation")
    _rows(
        page,
        f"Investigation ({investigation.text('severity')})",
        investigation.rows("findings"),
        ("name", "message"),
    )
    _rows(
        page,
        "Ledger",
        policy.rows("status.revisions"),
        ("number", "health", "templateHash", "reason"),
    )
    _quarantine(page, policy)
    _others(page, status, POLICY_KNOWN)


def _evaluated(status: Record) -> datetime | None:
    """Return a time at which data was evaluated; None: none is recorded since the watch began."""
    until = status.time("watchedUntil")
    is_begin = until in (status.time("watchedSince"), status.time("revision.since"))
    return None if is_begin else until


def _target_of_rollback(policy: Record) -> tuple[str, str]:
    """Name the revision of a rollback; it is called good only if its health was observed."""
    status = policy.part("status")
    good, rows = status.part("lastKnownGood"), status.rows("revisions")
    entry = next((row for row in rows if row.text("release") == good.text("release")), Record())
    if entry.text("health") != "Assumed":
        return "Last known good", revision(good)
    if good.text("release") == status.text("revision.release"):
        return "Would roll back to", ""  # it runs: nothing would be rolled back to it
    assumed = Record({**good.raw, "health": "Assumed: never observed as good"})
    return "Would roll back to", revision(assumed)


def _held(page: TextPage, hold: Record) -> None:
    if hold.text("pausedTime") and not hold.text("releasedTime"):
        page.head(f"Rollout held ({hold.text('reason')})")
        page.pairs([("Why", hold.text("message")), ("Until", clock(hold.time("untilTime")))])


def _quarantine(page: TextPage, policy: Record) -> None:
    rows = [
        [
            ", ".join(entry.words("images")),
            clock(entry.time("untilTime")),
            entry.text("rollback"),
        ]
        for entry in policy.rows("status.quarantine")
    ]
    if rows:
        page.head("Quarantine")
        page.rows(rows)
