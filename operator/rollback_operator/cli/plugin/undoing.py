"""`undo`: requests a Rollback; rehearses it with --dry-run, follows it to its end with --wait."""

import difflib
import math
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any

import yaml
from pydantic import ValidationError

from rollback_operator.api.reasons import IDLE, Reason
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
from rollback_operator.cli.plugin.connection import (
    DONE,
    NOT_OVER,
    NOT_VERIFIED,
    ROLLBACKS,
    Stop,
    needed,
)
from rollback_operator.cli.plugin.page import TextPage, span
from rollback_operator.cli.plugin.record import Record, decided, revision
from rollback_operator.decide.evaluate import case_of
from rollback_operator.decide.requests import is_served_at_rest, make_manual_plan
from rollback_operator.model import commands
from rollback_operator.model.context import Refusal
from rollback_operator.model.workload import Workload
from rollback_operator.releases import way_back
from rollback_operator.remedies.attempts import NAME_PART
from rollback_operator.remedies.steps import steps_of
from rollback_operator.report.readiness import Around, readiness
from rollback_operator.rollback.checks import is_asked

PROGRESS_SECONDS = 10
"""`--wait` states the remaining time this often."""
_LIMITED = frozenset({"RolloutComplete", "Verify"})
"""Steps that last, each for spec.verification.timeoutSeconds at most."""
_REPORTED = frozenset(
    {
        Reason.TARGET_ALREADY_WATCHED,
        Reason.ADDRESS_NOT_ALLOWED,
        Reason.QUERY_NOT_ALLOWED,
        Reason.TENANT_NOT_ALLOWED,
    }
)
"""Reasons of a policy at rest that follow from the operator's settings, or from other policies."""


async def undo(asked: CommandContext) -> Answer:
    """Request a rollback."""
    policy = await finding.read_policy(asked.cluster, asked.namespace, asked.name)
    workload = await finding.read_workload(asked.cluster, policy)
    user = needed(await asked.cluster.user())
    request = _request(asked, policy, user, _seen(workload))
    # A refusal that is known here is reported at once; the operator checks again and decides.
    plan = await _plan(asked, policy, request, workload)
    warning = _warning(policy, plan, workload)
    if asked.given["dry_run"]:
        return await _rehearse(asked, policy, request, plan, warning)
    written = needed(await asked.cluster.create(ROLLBACKS, request))
    if asked.given["wait"]:
        if warning:
            print(warning, file=asked.terminal.err, flush=True)
        return await _follow(asked, written)
    question = _question(policy, plan)
    decide = commands.approve(written.name, written.namespace)
    more = f"\n{question} A person with update rights on rollbacks/approval approves it: {decide}"
    return asked.result(
        written,
        f"{written.name}: requested, while revision {request.text('spec.seen.revision')} runs. "
        f"Progress: kubectl rollback explain {written.name} -n {written.namespace}"
        + (more if question else "")
        + (f"\n{warning}" if warning else ""),
    )


def _seen(workload: Workload) -> dict[str, object]:
    """Return the running revision: the operator refuses the request if another revision runs."""
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


# -- dry run ---------------------------------------------------------------------------------------


async def _rehearse(
    asked: CommandContext, policy: Record, request: Record, plan: RollbackSpec, warning: str
) -> Answer:
    """Show the plan with its warning, and the change of the pod template."""
    needed(await asked.cluster.rehearse(ROLLBACKS, request))
    old = needed(
        await asked.cluster.template("deployments", policy.namespace, plan.target_ref.name)
    )
    new = await _after(asked, policy.namespace, plan, old)
    planned = plan.plan.model_dump(by_alias=True, exclude_none=True, mode="json")
    return asked.shown(
        Record({**request.raw, "status": {"plan": planned}}),
        lambda page: _draw(page, policy, plan, warning, list(_difference(old, new))),
    )


def _parsed_policy(policy: Record) -> RollbackPolicy:
    try:
        return RollbackPolicy.model_validate(policy.raw)
    except ValidationError as error:
        raise Stop(f"policy {policy.name} cannot be read: {error}") from None


def _warning(policy: Record, plan: RollbackSpec, workload: Workload) -> str:
    """Warn of a target that failed when it last served; empty: nothing known here shows that."""
    if plan.to_revision is None:
        return ""
    entries, key = _parsed_policy(policy).status.revisions, (policy.namespace, policy.name)
    return way_back.warning(entries, workload, key, plan.to_revision)


def _question(policy: Record, plan: RollbackSpec) -> str:
    """Announce that approval is required; empty: nothing known here requires it."""
    target = plan.to_revision
    if target is None or not is_asked(_parsed_policy(policy), target):
        return ""
    return (
        "Approval is required: spec.safety.requireVerified is true, and revision "
        f"{target.number} is recorded as {target.health}, not as Good."
    )


async def _plan(
    asked: CommandContext, policy: Record, manual: Record, workload: Workload
) -> RollbackSpec:
    """Plan as the operator would; ends the command if the operator would refuse."""
    parsed = _parsed_policy(policy)
    uid = workload.deployment.uid
    stored = needed(await asked.cluster.list(ROLLBACKS, policy.namespace))
    rollbacks = [item for item in map(_parsed, stored) if isinstance(item, Rollback)]
    same = [item for item in rollbacks if item.spec.target_ref.uid == uid]
    case = case_of(parsed, workload, same, asked.now)
    named = {**manual.part("metadata").raw, "name": "rehearsed"}
    request = RollbackRequest.model_validate({**manual.raw, "metadata": named})
    around = Around(stopped=await finding.stopped(asked.cluster, policy))
    ready = readiness(parsed, workload.deployment, around)
    why = Reason(ready.reason)
    if why in IDLE and not is_served_at_rest(why, workload.deployment, request):
        raise Stop(f"the operator would refuse it: {why}: {ready.message}")
    _expect_no_refusal(policy)
    plan = make_manual_plan(case, request, asked.now)
    if not isinstance(plan, Refusal):
        return plan
    there = finding.revisions(policy, workload) if request.spec.remedy.to is not None else []
    listed = "\n".join(["", f"Deployment {workload.deployment.name} has:", *there]) if there else ""
    raise Stop(f"the operator would refuse it: {plan.reason}: {plan.message}{listed}")


def _expect_no_refusal(policy: Record) -> None:
    """End the command if the operator reports an obstacle that only its own settings show."""
    ready, generation = policy.condition("Ready"), policy.text("metadata.generation")
    is_current = ready.text("observedGeneration") in ("", generation)
    if is_current and ready.text("status") == "False" and ready.text("reason") in _REPORTED:
        reason, message = ready.text("reason"), ready.text("message")
        raise Stop(f"the operator would refuse it: {reason}: {message}")


def _parsed(stored: Record) -> Rollback | RollbackRequest | None:
    try:
        return rollback_of(dict(stored.raw))
    except ValidationError:
        return None


async def _after(asked: CommandContext, namespace: str, plan: RollbackSpec, old: Record) -> Record:
    """Return the pod template after the rollback."""
    if plan.to_revision is not None:
        name = plan.to_revision.replica_set
        return needed(await asked.cluster.template("replicasets", namespace, name))
    changed: dict[str, Any] = deepcopy(dict(old.raw))
    for container in (changed.get("spec") or {}).get("containers") or []:
        if plan.remedy.image is not None and container.get("name") == plan.remedy.container:
            container["image"] = plan.remedy.image
    return Record(changed)


def _difference(old: Record, new: Record) -> Iterator[str]:
    return difflib.unified_diff(
        _lines(old), _lines(new), "pod template now", "pod template after", lineterm="", n=2
    )


def _lines(template: Record) -> list[str]:
    """Write a template as YAML, without the label that differs in every revision."""
    raw: dict[str, Any] = deepcopy(dict(template.raw))
    ((raw.get("metadata") or {}).get("labels") or {}).pop("pod-template-hash", None)
    (raw.get("metadata") or {}).pop("creationTimestamp", None)
    text: str = yaml.safe_dump(raw, sort_keys=True, allow_unicode=True)
    return text.splitlines()


def _before(policy: Record, planned: Record) -> Record:
    """Return the running revision with its recorded health: the plan already has it as Bad."""
    health = finding.entry(policy, planned.text("release")).text("health")
    return Record({**planned.raw, "health": health})


def _afterwards(policy: Record, plan: RollbackSpec) -> str:
    """Describe the state of the release after the rollback; empty: the release stays."""
    if plan.remedy.type not in (RemedyType.UNDO, RemedyType.PIN_IMAGE):
        return ""
    seconds = _parsed_policy(policy).spec.safety.quarantine_seconds
    kept = f", and its images are in quarantine for {span(seconds)}" if seconds else ""
    return (
        f"Afterwards revision {plan.from_revision.number} counts as Bad: no rollback leads to it"
        f"{kept}, unless a person trusts it."
    )


def _draw(
    page: TextPage, policy: Record, plan: RollbackSpec, warning: str, difference: list[str]
) -> None:
    planned = Record(plan.plan.model_dump(by_alias=True, exclude_none=True, mode="json"))
    page.head("Plan (dry run: nothing was changed)")
    remedy = plan.remedy
    remedies = {
        "Undo": "Undo",
        "PinImage": f"PinImage {remedy.container}={remedy.image}",
        "Scale": f"Scale to {remedy.replicas} replicas"
        + (f" by HorizontalPodAutoscaler {plan.autoscaler.name}" if plan.autoscaler else ""),
    }
    page.pairs(
        [
            ("Target", f"Deployment {plan.target_ref.name}"),
            ("Remedy", remedies[remedy.type]),
            ("Pace", plan.pace),
            ("From", revision(_before(policy, planned.part("fromRevision")))),
            ("To", revision(planned.part("toRevision"))),
            ("Steps", ", ".join(steps_of(plan))),
        ]
    )
    page.line("  The checklist runs before the first step and may block it or require approval.")
    for text in filter(None, (warning, _question(policy, plan), _afterwards(policy, plan))):
        page.line(f"  {text}")
    page.head("Pod template")
    for line in difference or ["  no change"]:
        colour = {"+": "green", "-": "red"}.get(line[:1], "")
        page.line(page.paint.as_(colour, line))


# -- wait ------------------------------------------------------------------------------------------


async def _follow(asked: CommandContext, request: Record) -> Answer:
    """Print each step as it happens, until the rollback ends or the time is up."""
    until = asked.now.timestamp() + float(asked.given["timeout"])
    printed: set[str] = set()
    while True:
        rollback = needed(await asked.cluster.read(ROLLBACKS, request.namespace, request.name))
        for line in _progress(rollback, asked.now):
            if line not in printed:
                printed.add(line)
                print(line, file=asked.terminal.err, flush=True)
        outcome = rollback.text("status.outcome")
        if outcome:
            message = rollback.condition("Complete").text("message")
            text, _ = asked.result(rollback, f"{rollback.name}: {outcome}: {message}")
            return text, DONE if outcome == "Verified" else NOT_VERIFIED
        if asked.now.timestamp() >= until:
            return f"{rollback.name}: still in progress; the operator continues it", NOT_OVER
        await asked.terminal.sleep(REFRESH_SECONDS)


def _progress(rollback: Record, now: datetime) -> Iterator[str]:
    name, is_over = rollback.name, bool(rollback.text("status.outcome"))
    for step in rollback.rows("status.steps"):
        yield f"{name}: {step.text('name')} begins"
        if step.text("finishedTime"):
            yield f"{name}: {step.text('name')}: {step.text('message') or 'done'}"
        elif step.text("name") in _LIMITED and not is_over:
            yield from _remaining(rollback, step, now)
    if rollback.text("status.step") == "AwaitingApproval" and not is_over:
        yield f"{name}: awaits approval: {commands.approve(name, rollback.namespace)}"


def _remaining(rollback: Record, step: Record, now: datetime) -> Iterator[str]:
    """State how long a step may still take, once in so many seconds."""
    started = step.time("startedTime")
    limit = decided(rollback).text("verification.timeoutSeconds")
    if started is None or not limit.isdecimal():
        return
    left = int(limit) - (now - started).total_seconds()
    shown = max(0, math.ceil(left / PROGRESS_SECONDS) * PROGRESS_SECONDS)
    what = {"Verify": "verifies the recovery"}.get(step.text("name"), "waits for the new pods")
    yield f"{rollback.name}: {step.text('name')}: {what}, at most {shown} s more"
