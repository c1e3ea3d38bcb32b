"""`trust`: a person's word that a release may be gone back to, put on record in the policy."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import MOST_TRUSTED
from rollback_operator.cli.plugin import finding
from rollback_operator.cli.plugin.asked import Answer, CommandContext
from rollback_operator.cli.plugin.cluster import POLICIES, Stop, needed
from rollback_operator.cli.plugin.page import TextPage
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model.workload import ReplicaSet, Workload

_SECOND = timedelta(seconds=1)
_SHOWN = 12


async def trust(asked: CommandContext) -> Answer:
    """Say that a revision is good, whatever it was found to be."""
    policy = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    target = policy.text("spec.targetRef.name")
    workload = needed(await asked.cluster.inspect(policy.namespace, target))
    found = _revision(policy, workload, int(asked.given["revision"]))
    known = finding.entry(policy, found.template.release)
    against = known.part("condemned")
    word = {
        "release": found.template.release,
        "revision": found.revision,
        "reason": asked.reason,
        "by": needed(await asked.cluster.user()),
        "time": _later(asked.now, against.time("time")).isoformat(),
    }
    whole = [*_others(policy, workload, found.template.release), word]
    if asked.given["dry_run"]:
        changed = {**policy.raw, "spec": {**policy.part("spec").raw, "trust": whole}}
        return asked.shown(Record(changed), lambda page: _draw(page, found, known, word))
    written = needed(await asked.cluster.patch(POLICIES, policy, "/spec/trust", whole))
    return asked.said(
        written,
        f"{policy.name}: revision {found.revision} ({', '.join(found.template.images)}) is trusted "
        f"by {word['by']}. What speaks against it from now on counts again.",
    )


def _revision(policy: Record, workload: Workload, number: int) -> ReplicaSet:
    for one in workload.replica_sets:
        if one.revision == number:
            return one
    there = "\n".join(finding.revisions(policy, workload))
    raise Stop(
        f"Deployment {workload.deployment.name} has no revision {number}; it has:\n{there}\n"
        "A revision that comes back gets a new number: kubectl rollout history "
        f"deployment/{workload.deployment.name} -n {policy.namespace}"
    )


def _later(now: datetime, against: datetime | None) -> datetime:
    """Date it after what was read, also by a clock that is slow."""
    return now if against is None else max(now, against + _SECOND)


def _others(policy: Record, workload: Workload, release: str) -> Sequence[object]:
    """Keep what else is trusted; where there is no room, only what is still there."""
    kept = [one for one in policy.rows("spec.trust") if one.text("release") != release]
    if len(kept) >= MOST_TRUSTED:
        there = {one.template.release for one in workload.replica_sets}
        kept = [one for one in kept if one.text("release") in there]
    if len(kept) >= MOST_TRUSTED:
        raise Stop(
            f"{policy.name} trusts {MOST_TRUSTED} releases that are all there: take one out of "
            f"spec.trust first (kubectl edit rollbackpolicy {policy.name} -n {policy.namespace})"
        )
    return [one.raw for one in kept]


def _draw(page: TextPage, found: ReplicaSet, known: Record, word: dict[str, object]) -> None:
    page.head("Trust (dry run: nothing was done)")
    page.pairs(
        [
            ("Revision", f"{found.revision}: {', '.join(found.template.images)}"),
            ("Release", found.template.release[:_SHOWN]),
            ("Recorded as", known.text("health") or "nothing"),
            ("Because", known.text("reason")),
            ("Trusted by", str(word["by"])),
            ("Reason", str(word["reason"])),
        ]
    )
