"""The story: a bad release goes out and is rolled back, and the demo counts the effects.

It prints each step, and does not depend on the cluster that it runs on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.demo.stage import Customers, Stage
from lab.errors import LabError
from lab.loadgen.load import Failure
from lab.story import Account, Rest, Story
from lab.tickets import Operator, Tickets, wait_for

POLICY = Path(__file__).parents[2] / "examples" / "policy-minimal.yaml"
GOOD, BAD = "v1.2.3", "v1.3.0"
RATE = 50
# The control wants a full minute in which the old release has served; a scrape comes every 5 s.
HISTORY_SECONDS = 75
DECISION_SECONDS = 90
END_SECONDS = 180
REST_SECONDS = 30


def play(story: Story, stage: Stage) -> list[str]:
    """Play the story from the first release; return the deviations from its expected end.

    Raises:
        LabError: the story could not reach its end.
    """
    tickets = stage.tickets
    story.say(
        f"Deploying ticket-service {GOOD} with four pods into the namespace {tickets.namespace}."
    )
    tickets.deploy(GOOD)
    story.say(f"Applying {POLICY.name}: it names the Deployment and sets mode Enforce.")
    tickets.kubectl("apply", "-f", "-", input=stage.policy(POLICY.read_text()))
    with stage.customers(RATE) as customers:
        _gather_history(story, customers)
        sold = [stage.purchases()]
        story.say(f"Releasing {BAD}. It starts, reports ready, and fails every purchase.")
        pushed = customers.now()
        tickets.release(BAD)
        rollback = _await_end(story, tickets)
        sold.append(stage.purchases())
        recovered = customers.now()
        story.say(
            f"Measuring for {REST_SECONDS} s whether purchases work again, and the cost at rest."
        )
        rest = _rest(stage.operator)
        sold.append(stage.purchases())
        late = _failures_after(recovered, customers)
        summary = customers.stop()
    faults = _faults(tickets, rollback, sold, late)
    Account(pushed, summary, rollback, sold, rest).tell()
    name, namespace = rollback["metadata"]["name"], f"--namespace={tickets.namespace}"
    stage.show(["rollback", "explain", name, namespace])
    stage.show(["rollback", "history", namespace])
    stage.show(["get", "rollbackpolicies,rollbacks", namespace])
    return faults


def _gather_history(story: Story, customers: Customers) -> None:
    story.say(
        f"Sending {RATE} requests a second. The operator compares a release with the time before "
        f"it and needs at least a minute of history, so {GOOD} now serves for {HISTORY_SECONDS} s."
    )
    with story.waiting(f"{GOOD} serves"):
        time.sleep(HISTORY_SECONDS)  # the history itself takes time
    failed = customers.failures()
    if failed:
        raise LabError(f"{len(failed)} requests failed before the release, first {failed[0]}")


def _await_end(story: Story, tickets: Tickets) -> Mapping[str, Any]:
    """Print each step of the rollback as it is stored; return the ended Rollback."""
    wait_for("the operator's decision", DECISION_SECONDS, tickets.rollbacks)
    story.say("The operator has decided, and stored its plan as a Rollback.")
    told: set[str] = set()

    def look() -> Mapping[str, Any] | None:
        rollback = tickets.rollbacks()[-1]
        status = rollback.get("status", {})
        for step in status.get("steps", []):
            if "finishedTime" in step and step["name"] not in told:
                told.add(step["name"])
                story.say(f"{step['name']}: {step.get('message', '')}")
        return rollback if "outcome" in status else None

    ended: Mapping[str, Any] = wait_for("the Rollback's outcome", END_SECONDS, look)
    story.say(f"{ended['metadata']['name']} has ended: {ended['status']['outcome']}.")
    return ended


def _rest(operator: Operator) -> Rest:
    began, before = time.monotonic(), operator.writes()
    renewals = operator.renewals(REST_SECONDS)
    after, seconds = operator.writes(), time.monotonic() - began
    return Rest(
        seconds=seconds,
        mebibytes=operator.resident_mib(),
        writes=sum(after.values()) - sum(before.values()) - renewals,
        renewals=renewals,
    )


def _failures_after(moment: datetime, customers: Customers) -> list[Failure]:
    return [one for one in customers.failures() if one.time > moment]


def _faults(
    tickets: Tickets,
    rollback: Mapping[str, Any],
    sold: Sequence[int],
    late: Sequence[Failure],
) -> list[str]:
    """List the deviations from the expected end, measured without the operator's own claims."""
    faults = []
    if tickets.image() != GOOD:
        faults.append(f"the Deployment runs {tickets.image()} instead of {GOOD}")
    count = len(tickets.rollbacks())
    if count != 1:
        faults.append(f"there are {count} Rollbacks instead of one")
    if rollback["status"]["outcome"] != "Verified":
        faults.append(f"the Rollback ended as {rollback['status']['outcome']}, not Verified")
    if late:
        faults.append(f"{len(late)} requests failed after the end of the rollback: {late[0]}")
    if sold[2] - sold[1] < REST_SECONDS:
        faults.append(f"only {sold[2] - sold[1]} purchases came in after the rollback")
    return faults
