"""`undo`: a Rollback made by hand; rehearsed, made, or followed to its end."""

import difflib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml
from pydantic import ValidationError

from rollback_operator.api.v1alpha1 import (
    API_VERSION,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
    RollbackSpec,
    rollback_of,
)
from rollback_operator.cli.plugin import finding
from rollback_operator.cli.plugin.asked import REFRESH_SECONDS, Answer, CommandContext
from rollback_operator.cli.plugin.cluster import (
    DONE,
    NOT_OVER,
    NOT_VERIFIED,
    ROLLBACKS,
    Stop,
    needed,
)
from rollback_operator.cli.plugin.explanation import revision
from rollback_operator.cli.plugin.page import TextPage, span
from rollback_operator.cli.plugin.record import Record
from rollback_operator.decide.evaluate import case_of
from rollback_operator.decide.requests import make_manual_plan
from rollback_operator.model import commands
from rollback_operator.model.context import Refusal
from rollback_operator.model.workload import Workload
from rollback_operator.remedies.steps import steps_of
from rollback_operator.rollback.checks import is_asked

NAME_PART = 40


async def undo(asked: CommandContext) -> Answer:
    """Ask for a rollback."""
    policy = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    target = policy.text("spec.targetRef.name")
    workload = needed(await asked.cluster.inspect(policy.namespace, target))
    user = needed(await asked.cluster.user())
    made = _request(asked, policy, user, _seen(workload))
    # What is known here is said at once; the operator looks again, and has the last word.
    plan = await _plan(asked, policy, made, workload)
    if asked.given["dry_run"]:
        return await _rehearse(asked, policy, made, plan)
    written = needed(await asked.cluster.create(ROLLBACKS, made))
    if asked.given["wait"]:
        return await _follow(asked, written)
    asks = _asks(policy, plan)
    decide = commands.approve(written.name, written.namespace)
    more = f"\n{asks} Whoever may update rollbacks/approval then lets it go on: {decide}"
    return asked.said(
        written,
        f"{written.name}: asked for, while revision {made.text('spec.seen.revision')} runs. How it "
        f"goes: kubectl rollback explain {written.name} -n {written.namespace}"
        + (more if asks else ""),
    )


def _seen(workload: Workload) -> dict[str, object]:
    """Say what runs now: something else by the time, and the operator refuses."""
    deployment, current = workload.deployment, workload.current
    runs = current.revision if current is not None else deployment.revision
    return {
        "deployment": deployment.name,
        "revision": max(1, runs),
        "digest": deployment.template.digest,
    }


def _request(asked: CommandContext, policy: Record, user: str, seen: dict[str, object]) -> Record:
    replicas, image = asked.given["replicas"], asked.given["image"]
    remedy = asked.given["to"] if image is None else image
    if replicas is not None:
        remedy = {"type": "Scale", "replicas": replicas}
    return Record(
        {
            "apiVersion": API_VERSION,
            "kind": Rollback.KIND,
            "metadata": {
                "generateName": f"{policy.name[:NAME_PART].rstrip('-.')}-by-hand-",
                "namespace": policy.namespace,
            },
            "spec": {
                "policyRef": {"name": policy.name},
                "remedy": remedy,
                "reason": asked.reason or "rehearsed",
                "requestedBy": user,
                "seen": seen,
            },
        }
    )


# -- rehearsed -------------------------------------------------------------------------------------


async def _rehearse(
    asked: CommandContext, policy: Record, made: Record, plan: RollbackSpec
) -> Answer:
    """Show what would become of the pod template."""
    needed(await asked.cluster.rehearse(ROLLBACKS, made))
    old = needed(
        await asked.cluster.template("deployments", policy.namespace, plan.target_ref.name)
    )
    new = await _after(asked, policy.namespace, plan, old)
    planned = plan.plan.model_dump(by_alias=True, exclude_none=True, mode="json")
    return asked.shown(
        Record({**made.raw, "status": {"plan": planned}}),
        lambda page: _draw(page, policy, plan, list(_difference(old, new))),
    )


def _known(policy: Record) -> RollbackPolicy:
    try:
        return RollbackPolicy.model_validate(policy.raw)
    except ValidationError as error:
        raise Stop(f"policy {policy.name} cannot be read: {error}") from None


def _asks(policy: Record, plan: RollbackSpec) -> str:
    """Say beforehand that a person will be asked; empty: nothing known here asks."""
    target = plan.to_revision
    if target is None or not is_asked(_known(policy), target):
        return ""
    return (
        "A person will be asked first: spec.safety.requireVerified is true, and revision "
        f"{target.number} is recorded as {target.health}, not as Good."
    )


async def _plan(
    asked: CommandContext, policy: Record, made: Record, workload: Workload
) -> RollbackSpec:
    """Plan as the operator would; ends the command where it would refuse."""
    known = _known(policy)
    uid = workload.deployment.uid
    stored = needed(await asked.cluster.list(ROLLBACKS, policy.namespace))
    rollbacks = [one for one in map(_parsed, stored) if isinstance(one, Rollback)]
    same = [one for one in rollbacks if one.spec.target_ref.uid == uid]
    case = case_of(known, workload, same, asked.now)
    named = {**made.part("metadata").raw, "name": "rehearsed"}
    request = RollbackRequest.model_validate({**made.raw, "metadata": named})
    plan = make_manual_plan(case, request, asked.now)
    if not isinstance(plan, Refusal):
        return plan
    there = finding.revisions(policy, workload) if request.spec.remedy.to is not None else []
    listed = "\n".join(["", f"Deployment {workload.deployment.name} has:", *there]) if there else ""
    raise Stop(f"it would be refused: {plan.reason}: {plan.message}{listed}")


def _parsed(one: Record) -> Rollback | RollbackRequest | None:
    try:
        return rollback_of(dict(one.raw))
    except ValidationError:
        return None


async def _after(asked: CommandContext, namespace: str, plan: RollbackSpec, old: Record) -> Record:
    """Give the pod template as it would be."""
    if plan.to_revision is not None:
        name = plan.to_revision.replica_set
        return needed(await asked.cluster.template("replicasets", namespace, name))
    changed: dict[str, Any] = deepcopy(dict(old.raw))
    for one in (changed.get("spec") or {}).get("containers") or []:
        if plan.remedy.image is not None and one.get("name") == plan.remedy.container:
            one["image"] = plan.remedy.image
    return Record(changed)


def _difference(old: Record, new: Record) -> Iterator[str]:
    return difflib.unified_diff(
        _lines(old), _lines(new), "pod template now", "pod template after", lineterm="", n=2
    )


def _lines(template: Record) -> list[str]:
    """Write a template without the label by which Kubernetes tells revisions apart."""
    raw: dict[str, Any] = deepcopy(dict(template.raw))
    ((raw.get("metadata") or {}).get("labels") or {}).pop("pod-template-hash", None)
    (raw.get("metadata") or {}).pop("creationTimestamp", None)
    text: str = yaml.safe_dump(raw, sort_keys=True, allow_unicode=True)
    return text.splitlines()


def _before(policy: Record, shown: Record) -> Record:
    """Show what runs by what is known of it now: a plan has it as Bad already."""
    known = finding.entry(policy, shown.text("release")).text("health")
    return Record({**shown.raw, "health": known})


def _afterwards(policy: Record, plan: RollbackSpec) -> str:
    """Say what becomes of the release that is left; empty: it stays."""
    if plan.remedy.type not in (RemedyType.UNDO, RemedyType.PIN_IMAGE):
        return ""
    seconds = _known(policy).spec.safety.quarantine_seconds
    kept = f", and its images are in quarantine for {span(seconds)}" if seconds else ""
    return (
        f"Afterwards revision {plan.from_revision.number} counts as Bad: no rollback leads to it"
        f"{kept}, unless a person trusts it."
    )


def _draw(page: TextPage, policy: Record, plan: RollbackSpec, difference: list[str]) -> None:
    shown = Record(plan.plan.model_dump(by_alias=True, exclude_none=True, mode="json"))
    page.head("Plan (dry run: nothing was done)")
    remedy = plan.remedy
    what = {
        "Undo": "Undo",
        "PinImage": f"PinImage {remedy.container}={remedy.image}",
        "Scale": f"Scale to {remedy.replicas} replicas"
        + (f" by HorizontalPodAutoscaler {plan.autoscaler.name}" if plan.autoscaler else ""),
    }[remedy.type]
    page.pairs(
        [
            ("Target", f"Deployment {plan.target_ref.name}"),
            ("Remedy", what),
            ("Pace", plan.pace),
            ("From", revision(_before(policy, shown.part("fromRevision")))),
            ("To", revision(shown.part("toRevision"))),
            ("Steps", ", ".join(steps_of(plan))),
        ]
    )
    page.line("  The checklist is gone through before the first step and may stop it or ask.")
    for said in filter(None, (_asks(policy, plan), _afterwards(policy, plan))):
        page.line(f"  {said}")
    page.head("Pod template")
    for line in difference or ["  no change"]:
        colour = {"+": "green", "-": "red"}.get(line[:1], "")
        page.line(page.paint.as_(colour, line))


# -- followed --------------------------------------------------------------------------------------


async def _follow(asked: CommandContext, made: Record) -> Answer:
    """Tell each step as it comes, until it is over or time is up."""
    until = asked.now.timestamp() + float(asked.given["timeout"])
    told: set[str] = set()
    while True:
        found = needed(await asked.cluster.read(ROLLBACKS, made.namespace, made.name))
        for line in _progress(found):
            if line not in told:
                told.add(line)
                asked.live.say(line)
        outcome = found.text("status.outcome")
        if outcome:
            done = found.condition("Complete")
            text, _ = asked.said(found, f"{found.name}: {outcome}: {done.text('message')}")
            return text, DONE if outcome == "Verified" else NOT_VERIFIED
        if asked.now.timestamp() >= until:
            return f"{found.name}: not over yet, and goes on without you", NOT_OVER
        await asked.live.sleep(REFRESH_SECONDS)


def _progress(found: Record) -> Iterator[str]:
    for step in found.rows("status.steps"):
        yield f"{found.name}: {step.text('name')} begins"
        if step.text("finishedTime"):
            yield f"{found.name}: {step.text('name')}: {step.text('message') or 'done'}"
    if found.text("status.step") == "AwaitingApproval" and not found.text("status.outcome"):
        yield f"{found.name}: waits for: {commands.approve(found.name, found.namespace)}"
