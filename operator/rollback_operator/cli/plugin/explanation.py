"""`explain`: a decision whole, from what is stored of it. Fields of newer operators come last."""

from collections.abc import Sequence

import yaml

from rollback_operator.cli.plugin import headline
from rollback_operator.cli.plugin.overview import by, severity_of, took
from rollback_operator.cli.plugin.page import TextPage, clock, span
from rollback_operator.cli.plugin.record import Record, decided, decided_time, way

ROLLBACK_KNOWN = frozenset(
    {
        "conditions", "severity", "step", "steps", "strategy", "outcome", "finishedTime",
        "checklist", "verification", "notifications", "planDigest", "approvalDeadlineTime",
        "message", "plan", "pace", "escalatedTime", "autoscaler", "owner",
    }
)  # fmt: skip
POLICY_KNOWN = frozenset(
    {
        "observedGeneration", "conditions", "revision", "lastKnownGood", "verdict", "severity",
        "revisions", "lastRollback", "hold", "investigation", "quarantine", "summary",
        "evaluation", "deployment", "watchedSince", "watchedUntil", "recentRollbacks",
        "earlierTargets", "notifications", "probes",
    }
)  # fmt: skip


def explain_rollback(page: TextPage, rollback: Record) -> None:
    """Tell why a rollback was decided, what was done, and whether it helped."""
    _summary(page, rollback)
    _why(page, rollback)
    _rows(page, "Checklist", rollback.rows("status.checklist"), ("result", "name", "message"))
    _approval(page, rollback)
    _steps(page, rollback)
    _bounds(page, rollback)
    _owner(page, rollback)
    _verification(page, rollback)
    _told(page, rollback)
    _end(page, rollback)
    _others(page, rollback.part("status"), ROLLBACK_KNOWN)


def _summary(page: TextPage, rollback: Record) -> None:
    spec = decided(rollback)
    page.head(f"Rollback {rollback.name} (namespace {rollback.namespace})")
    headline.of_rollback(page, rollback)
    page.head("What")
    page.pairs(
        [
            ("Severity", severity_of(rollback)),
            ("Policy", spec.text("policyRef.name")),
            ("Target", f"Deployment {spec.text('targetRef.name') or '(not resolved yet)'}"),
            ("Mode", spec.text("mode")),
            ("Decided by", by(rollback)),
            ("Remedy", way(rollback) + (", express" if _is_express(rollback) else "")),
            ("Escalated", clock(rollback.time("status.escalatedTime"))),
            ("From", revision(spec.part("fromRevision"))),
            ("To", revision(spec.part("toRevision"))),
            ("Flag", _flag(spec)),
            ("Took", took(rollback, decided_time(rollback)).removeprefix("-")),
        ]
    )


def _flag(spec: Record) -> str:
    """Tell what was set to what, what it was, and how the pods came by it."""
    flag, plan = spec.part("remedy.flag"), spec.part("flag")
    if not flag.raw or not plan.raw:
        return ""
    how = {"Restart": "pods replaced", "Mount": "renewed in the running pods"}
    taken = how.get(plan.text("takenBy"), plan.text("takenBy"))
    where = f"ConfigMap {flag.text('configMapRef.name')}, {flag.text('name')}"
    return f"{where}: {plan.text('oldValue')!r} -> {flag.text('value')!r} ({taken})"


def _is_express(rollback: Record) -> bool:
    """Tell the pace that there was room for; before that is known, the one that is planned."""
    return (rollback.text("status.pace") or decided(rollback).text("pace")) == "Express"


def revision(one: Record) -> str:
    """Describe a revision: number, health, images."""
    if not one.raw:
        return ""
    health = f" ({one.text('health')})" if one.text("health") else ""
    return f"revision {one.text('number')}{health}: {', '.join(one.words('images'))}"


def _why(page: TextPage, rollback: Record) -> None:
    spec = decided(rollback)
    trigger = spec.part("trigger")
    page.head("Why")
    page.pairs(
        [
            ("Reason", trigger.text("reason")),
            ("Asked", rollback.text("spec.reason") if trigger.text("message") else ""),
            ("New revision", _counts(trigger, "errors", "requests")),
            ("Old revision", _counts(trigger, "controlErrors", "controlRequests")),
            ("Odds that the new one is worse", trigger.text("odds")),
            ("Odds that the release is to blame", trigger.text("blameOdds")),
            ("First bad sample", clock(trigger.time("firstBadTime"))),
            ("Decided", clock(trigger.time("decidedTime")) + _after(trigger)),
            ("To be sent by", clock(trigger.time("deadlineTime"))),
        ]
    )


def _counts(trigger: Record, errors: str, requests: str) -> str:
    whole = trigger.number(requests)
    if not whole:
        return ""
    share = 100 * trigger.number(errors) / whole
    return f"{trigger.number(errors)} of {whole} requests failed ({share:.1f} %)"


def _after(trigger: Record) -> str:
    first, then = trigger.time("firstBadTime"), trigger.time("decidedTime")
    if first is None or then is None:
        return ""
    return f", {span((then - first).total_seconds())} after the first bad sample"


def _rows(page: TextPage, head: str, found: Sequence[Record], fields: Sequence[str]) -> None:
    if found:
        page.head(head)
        page.rows([[one.text(field) for field in fields] for one in found])


def _approval(page: TextPage, rollback: Record) -> None:
    given, digest = rollback.part("spec.approval"), rollback.text("status.planDigest")
    waits = rollback.text("status.step") == "AwaitingApproval" and not rollback.text(
        "status.outcome"
    )
    if not given.raw and not waits:
        return
    page.head("Approval")
    page.pairs(
        [
            ("Decision", given.text("decision") or "awaited"),
            ("By", given.text("by")),
            ("Because", given.text("reason")),
            ("Plan", digest),
            (
                "Approved plan",
                given.text("planDigest") if given.text("planDigest") != digest else "",
            ),
            ("Decide until", clock(rollback.time("status.approvalDeadlineTime"))),
        ]
    )


def _steps(page: TextPage, rollback: Record) -> None:
    rows, told = [], rollback.condition("Complete").text("message")
    for one in rollback.rows("status.steps"):
        start, end = one.time("startedTime"), one.time("finishedTime")
        took_ = span((end - start).total_seconds()) if start and end else "running"
        tries = one.number("attempts")
        words = one.text("message").replace(told, "") if told else one.text("message")
        said = words + (f" ({tries} attempts)" if tries > 1 else "")
        rows.append([one.text("name"), clock(start), took_, said])
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
    """Tell what was done about who else steers the Deployment."""
    record, plan = rollback.part("status.owner"), decided(rollback).part("owner")
    if not record.raw:
        return
    page.head(f"{plan.text('kind') or 'Owner'} {plan.text('name')}".rstrip())
    was_suspended = record.text("wasSuspended") == "true"
    page.pairs(
        [
            ("Namespace", record.text("namespace")),
            ("Before", "suspended by somebody else, and stays so" if was_suspended else ""),
            ("Suspended", clock(record.time("suspendedTime"))),
            ("Released", "" if was_suspended else clock(record.time("releasedTime")) or "not yet"),
            ("Because", record.text("releaseMessage")),
        ]
    )


def _verification(page: TextPage, rollback: Record) -> None:
    """Show the checks; those that are under way are on record as soon as one of them fails."""
    found = rollback.rows("status.verification")
    is_going = rollback.text("status.step") == "Verify" and not rollback.text("status.outcome")
    if is_going and not found:
        limit = span(decided(rollback).number("verification.timeoutSeconds"))
        page.head("Verification")
        page.line(f"  under way for at most {limit}, and no check is on record as failed: all of")
        page.line("  them are shown here once one fails, or at the end")
    _rows(page, "Verification", found, ("result", "name", "message"))


def _told(page: TextPage, rollback: Record) -> None:
    rows = []
    for one in rollback.rows("status.notifications"):
        when = clock(one.time("deliveredTime")) or "not delivered"
        tries = f"{one.number('attempts')} attempts" if one.number("attempts") > 1 else ""
        said = "; ".join(part for part in (tries, one.text("message")) if part)
        rows.append([one.text("transition"), one.text("channel"), when, said])
    if rows:
        page.head("Told")
        page.rows(rows)


def _end(page: TextPage, rollback: Record) -> None:
    done = rollback.condition("Complete")
    if not done.raw:
        return
    is_over = bool(rollback.text("status.outcome"))
    page.head("End" if is_over else "Now")
    page.pairs(
        [
            ("Reason", done.text("reason")),
            ("In words", "" if is_over else done.text("message")),
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
    """Tell what is thought of the running release, and why."""
    page.head(f"RollbackPolicy {policy.name} (namespace {policy.namespace})")
    headline.of_policy(page, policy)
    page.head("What")
    status = policy.part("status")
    suspended = "true: nothing is judged or done by itself"
    page.pairs(
        [
            ("Target", f"Deployment {policy.text('spec.targetRef.name')}"),
            ("Mode", policy.text("spec.mode")),
            ("Suspended", suspended if policy.text("spec.suspend") == "true" else ""),
            ("Verdict", status.text("verdict")),
            ("Severity", status.text("severity").replace("None", "")),
            ("Running", revision(status.part("revision"))),
            ("Since", clock(status.time("revision.since"))),
            ("Watched since", clock(status.time("watchedSince"))),
            ("Watched until", clock(status.time("watchedUntil"))),
            _way_back(status),
            ("Last rollback", " ".join(
                (status.text("lastRollback.name"), status.text("lastRollback.outcome"))
            ).strip()),
        ]
    )  # fmt: skip
    _rows(
        page,
        "Conditions",
        policy.rows("status.conditions"),
        ("type", "status", "reason", "message"),
    )
    words = policy.rows("spec.trust")
    _rows(page, "Trusted", words, ("revision", "by", "time", "reason"))
    _held(page, status.part("hold"))
    found = status.part("investigation")
    if found.raw:
        page.head(f"Investigation ({found.text('severity')})")
        page.rows([[one.text("name"), one.text("message")] for one in found.rows("findings")])
    _rows(
        page,
        "Ledger",
        policy.rows("status.revisions"),
        ("number", "health", "templateHash", "reason"),
    )
    _quarantine(page, policy)
    _others(page, status, POLICY_KNOWN)


def _way_back(status: Record) -> tuple[str, str]:
    """Tell which revision a rollback leads to; it is called good only where it was seen to be."""
    found, rows = status.part("lastKnownGood"), status.rows("revisions")
    entry = next((one for one in rows if one.text("release") == found.text("release")), Record())
    if entry.text("health") != "Assumed":
        return "Last known good", revision(found)
    known = Record({**found.raw, "health": "Assumed: never seen to be good"})
    return "Would go back to", revision(known)


def _held(page: TextPage, hold: Record) -> None:
    if hold.raw and not hold.text("releasedTime"):
        page.head(f"Rollout held ({hold.text('reason')})")
        page.pairs([("Why", hold.text("message")), ("Until", clock(hold.time("untilTime")))])


def _quarantine(page: TextPage, policy: Record) -> None:
    rows = [
        [one.text("image") or ", ".join(one.words("images")), clock(one.time("untilTime")),
         one.text("reason") or one.text("rollback")]
        for one in policy.rows("status.quarantine")
    ]  # fmt: skip
    if rows:
        page.head("Quarantine")
        page.rows(rows)
