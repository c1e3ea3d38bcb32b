"""`approve`, `reject`, `suspend`, `resume`, `trust`: decisions of a person, under their name."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import MOST_TRUSTED
from rollback_operator.cli.plugin import finding
from rollback_operator.cli.plugin.asked import Answer, CommandContext
from rollback_operator.cli.plugin.connection import (
    DONE,
    LEASES,
    POLICIES,
    ROLLBACKS,
    Stop,
    needed,
)
from rollback_operator.cli.plugin.next_step import way_back
from rollback_operator.cli.plugin.page import TextPage
from rollback_operator.cli.plugin.record import Record, decided, repeated
from rollback_operator.model import commands, stop
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.autoscaling import RESTORE
from rollback_operator.remedies.stopped_traffic import RESTORE_TRAFFIC

MOST_LEASE_TRIES = 20
"""The holder renews a Lease every few seconds: one of the tries meets no conflict."""
MOST_AT_ONCE = 16
"""Leases that are marked at the same time."""
_DECIDED = {"Approve": "approved", "Reject": "rejected"}
_SECOND = timedelta(seconds=1)
_SHOWN = 12


async def approve(asked: CommandContext) -> Answer:
    """Approve the plan of a rollback that awaits approval."""
    return await _decide(asked, "Approve", "approved")


async def reject(asked: CommandContext) -> Answer:
    """End a rollback before it changes anything."""
    return await _decide(asked, "Reject", "rejected")


async def _decide(asked: CommandContext, decision: str, done: str) -> Answer:
    rollback = await finding.read_rollback(asked.cluster, asked.namespace, asked.name)
    digest = rollback.text("status.planDigest")
    if rollback.text("status.outcome"):
        raise Stop(await _ended(asked, rollback))
    _expect_question(rollback, digest, str(asked.given["plan"]))
    approved = rollback.condition("Approved")
    if approved.text("reason") == "ApprovalUnprotected":
        raise Stop(f"{rollback.name}: {approved.text('message')}")
    user = needed(await asked.cluster.user())
    approval = {"decision": decision, "by": user, "reason": asked.reason, "planDigest": digest}
    answer = await asked.cluster.patch(ROLLBACKS, rollback, "/spec/approval", approval)
    if isinstance(answer, Failure) and "Forbidden" in answer.message:
        raise Stop(
            f"{rollback.name} is not {done}: {user} may not decide on rollbacks in namespace "
            f"{rollback.namespace}.\nAsk a person who may edit this namespace. {answer.message}"
        )
    written = needed(answer)
    return asked.result(written, f"{rollback.name}: {done} by {user}, plan {digest}")


async def _ended(asked: CommandContext, rollback: Record) -> str:
    """State the outcome, the earlier decision, and the command where the release still runs."""
    given, plan = rollback.part("spec.approval"), decided(rollback)
    words = _DECIDED.get(given.text("decision"), "")
    before = f", {words} by {given.text('by')}" if words else ""
    ended = f"{rollback.name} has ended ({rollback.text('status.outcome')}{before})"
    policy = await asked.cluster.read(POLICIES, rollback.namespace, plan.text("policyRef.name"))
    running = "" if isinstance(policy, Failure) else policy.text("status.revision.release")
    judged = plan.text("fromRevision.release")
    if running and judged and running != judged:
        return f"{ended}, and another release runs now: nothing is left to decide"
    undo = "" if isinstance(policy, Failure) else way_back(policy)
    undo = repeated(rollback) if rollback.part("status.plan").raw else undo
    return f"{ended}: there is nothing to decide." + (f"\nTo roll back: {undo}" if undo else "")


def _expect_question(rollback: Record, digest: str, wanted: str) -> None:
    name = rollback.name
    step = rollback.text("status.step")
    if step != "AwaitingApproval" or not digest:
        raise Stop(f"{name} does not await approval; it is at step {step or '(not started)'}")
    if wanted and not digest.startswith(wanted):
        raise Stop(
            f"the current plan is {digest}, not {wanted}.\n"
            f"Review it again: kubectl rollback explain {name} -n {rollback.namespace}"
        )
    given = rollback.part("spec.approval")
    if given.text("planDigest") == digest:
        raise Stop(
            f"{given.text('by')} has already decided on this plan: {given.text('decision')}, "
            f"{given.text('reason')}"
        )


# -- suspend and resume ----------------------------------------------------------------------------


async def suspend(asked: CommandContext) -> Answer:
    """Suspend automatic evaluation and rollback of a policy, or stop every operator."""
    if asked.given["all_namespaces"]:
        user = needed(await asked.cluster.user())
        return await _on_leases(asked, stop.annotation_value(user, asked.reason, asked.now))
    policy = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    again = commands.resume(policy.name, policy.namespace)
    text = f"suspended: automatic evaluation and rollback are off. To resume: {again}"
    if policy.text("spec.suspend") == "true":
        if earlier := stop.suspension_reason(policy.part("metadata.annotations").raw):
            text = f"{earlier}. That reason is kept. To resume: {again}"
    else:
        user = needed(await asked.cluster.user())
        # Before spec.suspend: the operator that observes the suspension reads the reason too.
        policy = await _annotated(
            asked, policy, stop.annotation_value(user, asked.reason, asked.now)
        )
    return await _switch(asked, policy, True, text)


async def resume(asked: CommandContext) -> Answer:
    """Resume a policy; restore the bounds and the traffic that its rollbacks changed."""
    if asked.given["all_namespaces"]:
        return await _on_leases(asked, None)
    try:
        policy = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    except Stop:
        # What its rollbacks have changed outlives a policy.
        asked_for = await _ask_to_restore(asked, asked.namespace, asked.name)
        if not asked_for:
            raise
        return f"there is no policy {asked.name} any more{asked_for}", 0
    more = await _ask_to_restore(asked, policy.namespace, policy.name)
    if policy.text("spec.suspend") == "true":
        policy = await _annotated(asked, policy, None)
    return await _switch(asked, policy, False, f"resumed{more}")


async def _ask_to_restore(asked: CommandContext, namespace: str, name: str) -> str:
    """Request that what the rollbacks of a policy changed is restored; empty: nothing is."""
    stored, more = needed(await asked.cluster.list(ROLLBACKS, namespace)), ""
    for field, annotation, what in _RESTORED:
        changed = [item for item in finding.of_policy(stored, name) if _is_changed(item, field)]
        for rollback in changed:
            wanted = {**rollback.part("metadata.annotations").raw, annotation: "requested"}
            needed(await asked.cluster.patch(ROLLBACKS, rollback, "/metadata/annotations", wanted))
        names = ", ".join(rollback.name for rollback in changed)
        more += f"; the operator restores the {what.format(names)}" if changed else ""
    return more


async def _on_leases(asked: CommandContext, value: str | None) -> Answer:
    """Set the stop on the Lease of each operator of the cluster; None: remove it."""
    own = await finding.own_lease(asked.cluster)
    # The real operator first and alone: no number of forged Leases delays the stop.
    first = [] if own is None else [await _on_own_lease(asked, own, value)]
    listed = await finding.operator_leases(asked.cluster)
    if isinstance(listed, Failure):
        first += [_Marked(f"other operators: not listed: {listed.message}")] if first else []
        listed = [] if first else needed(listed)
    known = _place(own) if isinstance(own, Record) else ""
    others = [lease for lease in listed if _place(lease) != known]
    if not first and not others:
        raise Stop(
            "no Lease of an operator exists: is it installed, and has it run since its upgrade?\n"
            f"By hand: kubectl annotate lease NAME -n NAMESPACE {stop.ANNOTATION}=REASON"
        )
    done = first + await _on_others(asked, others, value, bool(first))
    lines = [line.text for line in done if line.text]
    failures = [line.failure for line in done if line.failure is not None]
    if failures and len(failures) == len(done):
        needed(failures[0])
    if failures:
        raise Stop(
            "\n".join([*lines, "Repeat the command for each operator that was not reached."])
        )
    if value is not None and not first:
        lines.append("Check that your operator is among these: any Lease can have their label.")
    if value is not None:
        lines.append("To resume: kubectl rollback resume --all-namespaces")
    return "\n".join(lines), DONE


@dataclass(frozen=True, slots=True)
class _Marked:
    text: str
    """Empty: there is no such Lease any more; an operator without a Lease does not run."""
    failure: Failure | None = None


async def _on_own_lease(asked: CommandContext, own: Record | Failure, value: str | None) -> _Marked:
    if isinstance(own, Failure) and own.kind is FailureKind.GONE:
        return _Marked("the operator of the chart has no Lease: it has not run yet")
    return await _on_lease(asked, needed(own), value)


async def _on_others(
    asked: CommandContext, leases: list[Record], value: str | None, is_doubtful: bool
) -> list[_Marked]:
    """Mark the Leases that have the label, several at a time."""
    slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def marked(lease: Record) -> _Marked:
        async with slots:
            return await _on_lease(asked, lease, value)

    done = await asyncio.gather(*map(marked, leases))
    doubt = " (by its label; not verified)" if is_doubtful else ""
    return [replace(line, text=f"{line.text}{doubt}") if line.text else line for line in done]


async def _on_lease(asked: CommandContext, lease: Record, value: str | None) -> _Marked:
    where = f"operator {_place(lease)}"
    earlier = stop.suspension_reason(lease.part("metadata.annotations").raw)
    if value is None and not earlier:
        return _Marked(f"{where}: was not suspended")
    written = await _mark(asked, lease, value)
    if isinstance(written, Failure):
        if written.kind is FailureKind.GONE:
            return _Marked("")
        return _Marked(f"{where}: NOT reached: {written.message}", written)
    if value is not None and earlier:
        return _Marked(f"{where}: was already {earlier}. Your name and reason replace these")
    return _Marked(f"{where}: {'resumed' if value is None else 'stopped; takes effect within 5 s'}")


def _place(lease: Record) -> str:
    return f"{lease.namespace}/{lease.name}"


async def _mark(asked: CommandContext, lease: Record, value: str | None) -> Record | Failure:
    """Set or remove the annotation of a Lease; its holder may renew it at the same moment."""
    for _ in range(MOST_LEASE_TRIES):
        kept = dict(lease.part("metadata.annotations").raw)
        kept.pop(stop.ANNOTATION, None)
        wanted = kept if value is None else {**kept, stop.ANNOTATION: value}
        written = await asked.cluster.patch(LEASES, lease, "/metadata/annotations", wanted)
        if not isinstance(written, Failure) or written.kind is not FailureKind.CONFLICT:
            return written
        again = await asked.cluster.read(LEASES, lease.namespace, lease.name)
        if isinstance(again, Failure):
            return again
        lease = again
    return written


_RESTORED = (
    ("status.autoscaler", RESTORE, "autoscaler bounds that {} raised"),
    ("status.traffic", RESTORE_TRAFFIC, "traffic that {} stopped"),
)


def _is_changed(rollback: Record, field: str) -> bool:
    """Report whether a Rollback has changed something and not restored it."""
    record = rollback.part(field)
    return bool(record.raw) and not record.text("restoredTime")


async def _annotated(asked: CommandContext, policy: Record, value: str | None) -> Record:
    """Store who suspends a policy and why, or remove that; unchanged if there is nothing to do."""
    known = policy.part("metadata.annotations").raw
    wanted = {name: text for name, text in known.items() if name != stop.ANNOTATION}
    wanted |= {} if value is None else {stop.ANNOTATION: value}
    if wanted == known:
        return policy
    return needed(await asked.cluster.patch(POLICIES, policy, "/metadata/annotations", wanted))


async def _switch(asked: CommandContext, policy: Record, wanted: bool, text: str) -> Answer:
    if (policy.text("spec.suspend") == "true") == wanted:
        return asked.result(policy, f"{policy.name}: already {text}")
    written = needed(await asked.cluster.patch(POLICIES, policy, "/spec/suspend", wanted))
    return asked.result(written, f"{policy.name}: {text}")


# -- trust -----------------------------------------------------------------------------------------


async def trust(asked: CommandContext) -> Answer:
    """Let rollbacks lead to a revision, whatever its recorded health."""
    policy = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    workload = await finding.read_workload(asked.cluster, policy)
    trusted = _revision(policy, workload, int(asked.given["revision"]))
    recorded = finding.entry(policy, trusted.template.release)
    entry = {
        "release": trusted.template.release,
        "revision": trusted.revision,
        "reason": asked.reason,
        "by": needed(await asked.cluster.user()),
        "time": _later(asked.now, recorded.time("condemned.time")).isoformat(),
    }
    whole = [*_others(policy, workload, trusted.template.release), entry]
    if asked.given["dry_run"]:
        changed = {**policy.raw, "spec": {**policy.part("spec").raw, "trust": whole}}
        return asked.shown(Record(changed), lambda page: _draw(page, trusted, recorded, entry))
    written = needed(await asked.cluster.patch(POLICIES, policy, "/spec/trust", whole))
    images = ", ".join(trusted.template.images)
    return asked.result(
        written,
        f"{policy.name}: revision {trusted.revision} ({images}) is trusted by {entry['by']}. "
        "Later findings against it count again.",
    )


def _revision(policy: Record, workload: Workload, number: int) -> ReplicaSet:
    for item in workload.replica_sets:
        if item.revision == number:
            return item
    there = "\n".join(finding.revisions(policy, workload))
    raise Stop(
        f"Deployment {workload.deployment.name} has no revision {number}; it has:\n{there}\n"
        "A revision that is rolled out again gets a new number: kubectl rollout history "
        f"deployment/{workload.deployment.name} -n {policy.namespace}"
    )


def _later(now: datetime, condemned: datetime | None) -> datetime:
    """Return a time after the finding that is overruled, even if this clock is slow."""
    return now if condemned is None else max(now, condemned + _SECOND)


def _others(policy: Record, workload: Workload, release: str) -> Sequence[object]:
    """Keep the other entries; if the list is full, only those of existing revisions."""
    kept = [entry for entry in policy.rows("spec.trust") if entry.text("release") != release]
    if len(kept) >= MOST_TRUSTED:
        there = {item.template.release for item in workload.replica_sets}
        kept = [entry for entry in kept if entry.text("release") in there]
    if len(kept) >= MOST_TRUSTED:
        raise Stop(
            f"{policy.name} trusts {MOST_TRUSTED} releases that all exist: remove an entry from "
            f"spec.trust first (kubectl edit rollbackpolicy {policy.name} -n {policy.namespace})"
        )
    return [entry.raw for entry in kept]


def _draw(page: TextPage, trusted: ReplicaSet, recorded: Record, entry: dict[str, object]) -> None:
    page.head("Trust (dry run: nothing was changed)")
    page.pairs(
        [
            ("Revision", f"{trusted.revision}: {', '.join(trusted.template.images)}"),
            ("Release", trusted.template.release[:_SHOWN]),
            ("Recorded as", recorded.text("health") or "nothing"),
            ("Because", recorded.text("reason")),
            ("Trusted by", str(entry["by"])),
            ("Reason", str(entry["reason"])),
        ]
    )
