"""The story: a bad release goes out, is taken back, and what that was like is counted.

It says in plain words what it does while it does it, and knows nothing of where it plays.
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
    """Tell the story from the first release on; gives what was not as it should be in the end.

    Raises:
        LabError: it could not be told to its end.
    """
    tickets = stage.tickets
    story.say(
        f"Deploying ticket-service {GOOD} with four pods into the namespace {tickets.namespace}."
    )
    tickets.deploy(GOOD)
    story.say(f"Applying {POLICY.name}: watch this Deployment, and act. That is all it says.")
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
            f"Looking on for {REST_SECONDS} s: do purchases work again, and what does the operator "
            "cost while nothing happens?"
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
        f"Customers arrive: {RATE} requests a second. The operator judges a release against what "
        f"was before it, so {GOOD} now serves for {HISTORY_SECONDS} s: a minute of past is the "
        "least it will trust."
    )
    with story.waiting(f"{GOOD} serves"):
        time.sleep(HISTORY_SECONDS)  # time itself is what is waited for
    failed = customers.failures()
    if failed:
        raise LabError(f"{len(failed)} requests failed before the release, first {failed[0]}")


def _await_end(story: Story, tickets: Tickets) -> Mapping[str, Any]:
    """Tell each step of the rollback as it is stored; give the Rollback when it has ended."""
    wait_for("the operator's decision", DECISION_SECONDS, tickets.rollbacks)
    story.say("The operator has decided, and stored what it is about to do as a Rollback.")
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
    """What is not as it should be in the end; nothing is taken from the operator's own word."""
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
