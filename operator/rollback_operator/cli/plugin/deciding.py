"""`approve`, `reject`, `suspend`, `resume`: what a person decides, in their own name."""

from rollback_operator.cli.plugin import finding
from rollback_operator.cli.plugin.asked import Answer, CommandContext
from rollback_operator.cli.plugin.cluster import (
    DONE,
    LEASES,
    POLICIES,
    ROLLBACKS,
    USAGE,
    Stop,
    needed,
)
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model import commands, stop
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.autoscaling import RESTORE

MOST_LEASE_TRIES = 20
"""A Lease is renewed every few seconds: one of them finds it as it was read."""


async def approve(asked: CommandContext) -> Answer:
    """Let a rollback go on."""
    return await _decide(asked, "Approve", "approved")


async def reject(asked: CommandContext) -> Answer:
    """End a rollback before it does anything."""
    return await _decide(asked, "Reject", "rejected")


async def _decide(asked: CommandContext, decision: str, done: str) -> Answer:
    found = await finding.read_rollback(asked.cluster, asked.namespace, asked.name)
    digest = found.text("status.planDigest")
    _expect_question(found, digest, str(asked.given["plan"]))
    known = found.condition("Approved")
    if known.text("reason") == "ApprovalUnprotected":
        raise Stop(f"{found.name}: {known.text('message')}")
    user = needed(await asked.cluster.user())
    approval = {"decision": decision, "by": user, "reason": asked.reason, "planDigest": digest}
    written = needed(await asked.cluster.patch(ROLLBACKS, found, "/spec/approval", approval))
    return asked.said(written, f"{found.name}: {done} by {user}, plan {digest}")


def _expect_question(found: Record, digest: str, wanted: str) -> None:
    if found.text("status.outcome"):
        raise Stop(f"{found.name} is over ({found.text('status.outcome')}): nothing to decide")
    if found.text("status.step") != "AwaitingApproval" or not digest:
        raise Stop(
            f"{found.name} waits for nobody; it is at step "
            f"{found.text('status.step') or '(not begun)'}"
        )
    if wanted and not digest.startswith(wanted):
        raise Stop(
            f"the plan is {digest} by now, not {wanted}.\n"
            f"Look at it anew: kubectl rollback explain {found.name} -n {found.namespace}"
        )
    given = found.part("spec.approval")
    if given.text("planDigest") == digest:
        raise Stop(
            f"{given.text('by')} has decided on this plan already: {given.text('decision')}, "
            f"{given.text('reason')}"
        )


async def suspend(asked: CommandContext) -> Answer:
    """Keep the operator from acting by itself, or from acting at all."""
    if asked.given["all_namespaces"]:
        if not asked.reason:
            raise Stop("-A stops everything: say why, for all who look (--reason)", USAGE)
        user = needed(await asked.cluster.user())
        return await _on_leases(asked, stop.annotation_value(user, asked.reason, asked.now))
    if asked.reason:
        said = (
            "--reason goes with --all-namespaces only: leave it out (spec.suspend is true or false)"
        )
        raise Stop(said, USAGE)
    found = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    again = commands.resume(found.name, found.namespace)
    said = f"suspended: nothing is judged or done by itself. To let it act again: {again}"
    return await _switch(asked, found, True, said)


async def resume(asked: CommandContext) -> Answer:
    """Let the operator act again, and have it put back what it has raised."""
    if asked.given["all_namespaces"]:
        return await _on_leases(asked, None)
    found = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    known = needed(await asked.cluster.list(ROLLBACKS, found.namespace))
    raised = [one for one in finding.of_policy(known, found.name) if _is_raised(one)]
    for one in raised:
        wanted = {**one.part("metadata.annotations").raw, RESTORE: "requested"}
        needed(await asked.cluster.patch(ROLLBACKS, one, "/metadata/annotations", wanted))
    names = ", ".join(one.name for one in raised)
    more = f"; the autoscaler's bounds that {names} has raised are put back" if raised else ""
    return await _switch(asked, found, False, f"resumed{more}")


async def _on_leases(asked: CommandContext, word: str | None) -> Answer:
    """Put a stop on the Lease of each operator of the cluster, or take it off."""
    listed = needed(await asked.cluster.list(LEASES, ""))
    ours = [one for one in listed if stop.LABEL in one.part("metadata.labels").raw]
    if not ours:
        raise Stop(
            "no Lease of an operator is found: is it installed, and has it run since its upgrade?\n"
            f"By hand: kubectl annotate lease NAME -n NAMESPACE {stop.ANNOTATION}=REASON"
        )
    done = "goes on" if word is None else "stopped; within 5 s nobody acts"
    lines, failed = [], []
    for one in ours:
        found, where = await _marked(asked, one, word), f"operator {one.namespace}/{one.name}"
        if not isinstance(found, Failure):
            lines.append(f"{where}: {done}")
        elif found.kind is not FailureKind.GONE:  # whose Lease is gone does not run
            failed.append(found)
            lines.append(f"{where}: NOT reached: {found.message}")
    if len(failed) == len(ours):
        needed(failed[0])
    if failed:
        raise Stop("\n".join([*lines, "Repeat it for those that were not reached."]))
    if word is not None:
        lines.append("To let them act again: kubectl rollback resume --all-namespaces")
    return "\n".join(lines), DONE


async def _marked(asked: CommandContext, seen: Record, word: str | None) -> Record | Failure:
    """Put the word on a Lease, or take it off; its holder may renew it in the same moment."""
    for _ in range(MOST_LEASE_TRIES):
        kept = dict(seen.part("metadata.annotations").raw)
        kept.pop(stop.ANNOTATION, None)
        wanted = kept if word is None else {**kept, stop.ANNOTATION: word}
        written = await asked.cluster.patch(LEASES, seen, "/metadata/annotations", wanted)
        if not isinstance(written, Failure) or written.kind is not FailureKind.CONFLICT:
            return written
        again = await asked.cluster.read(LEASES, seen.namespace, seen.name)
        if isinstance(again, Failure):
            return again
        seen = again
    return written


def _is_raised(rollback: Record) -> bool:
    """Tell whether a Rollback has raised an autoscaler's bounds and not put them back."""
    record = rollback.part("status.autoscaler")
    return bool(record.raw) and not record.text("restoredTime")


async def _switch(asked: CommandContext, found: Record, wanted: bool, said: str) -> Answer:
    if (found.text("spec.suspend") == "true") == wanted:
        return asked.said(found, f"{found.name}: already {said}")
    written = needed(await asked.cluster.patch(POLICIES, found, "/spec/suspend", wanted))
    return asked.said(written, f"{found.name}: {said}")
