"""`approve`, `reject`, `suspend`, `resume`: what a person decides, in their own name."""

from rollback_operator.core.autoscaling import RESTORE
from rollback_operator.plugin import finding
from rollback_operator.plugin.asked import Answer, Asked
from rollback_operator.plugin.cluster import POLICIES, ROLLBACKS, Stop, needed
from rollback_operator.plugin.record import Record


async def approve(asked: Asked) -> Answer:
    """Let a rollback go on."""
    return await _decide(asked, "Approve", "approved")


async def reject(asked: Asked) -> Answer:
    """End a rollback before it does anything."""
    return await _decide(asked, "Reject", "rejected")


async def _decide(asked: Asked, decision: str, done: str) -> Answer:
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


async def suspend(asked: Asked) -> Answer:
    """Keep the operator from acting by itself."""
    said = "suspended: nothing is judged or done by itself. Again: kubectl rollback resume"
    return await _switch(asked, True, said)


async def resume(asked: Asked) -> Answer:
    """Let the operator act again, and have it put back what it has raised."""
    found = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    known = needed(await asked.cluster.list(ROLLBACKS, found.namespace))
    raised = [one for one in finding.of_policy(known, found.name) if _is_raised(one)]
    for one in raised:
        wanted = {**one.part("metadata.annotations").raw, RESTORE: "requested"}
        needed(await asked.cluster.patch(ROLLBACKS, one, "/metadata/annotations", wanted))
    names = ", ".join(one.name for one in raised)
    more = f"; the autoscaler's bounds that {names} has raised are put back" if raised else ""
    return await _switch(asked, False, f"resumed{more}")


def _is_raised(rollback: Record) -> bool:
    """Tell whether a Rollback has raised an autoscaler's bounds and not put them back."""
    record = rollback.part("status.autoscaler")
    return bool(record.raw) and not record.text("restoredTime")


async def _switch(asked: Asked, wanted: bool, said: str) -> Answer:
    found = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    if (found.text("spec.suspend") == "true") == wanted:
        return asked.said(found, f"{found.name}: already {said}")
    written = needed(await asked.cluster.patch(POLICIES, found, "/spec/suspend", wanted))
    return asked.said(written, f"{found.name}: {said}")
