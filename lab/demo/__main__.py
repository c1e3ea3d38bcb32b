"""`make demo`: a bad release is taken back on a real cluster, in front of one's eyes.

It says in plain words what it does while it does it. Exit status 0 only if the cluster ended on
the good release, the operator had verified that, and purchases are written to the database again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from lab import binaries, cli, images, machine, session
from lab.errors import LabError
from lab.loadgen.load import Failure, Load
from lab.namespace import network_of
from lab.session import Session
from lab.story import Account, Rest, Story
from lab.tickets import Operator, TicketService, install_operator, wait_for
from lab.workspace import base_folder, is_alive

NAME = "demo"
NAMESPACE = "production"
POLICY = Path(__file__).parents[1] / "examples" / "policy-minimal.yaml"
GOOD, BAD = "v1.2.3", "v1.3.0"
RATE = 50
# The control wants a full minute in which the old release has served; a scrape comes every 5 s.
HISTORY_SECONDS = 75
DECISION_SECONDS = 90
END_SECONDS = 180
REST_SECONDS = 30
LATER = {
    "kind": "a cluster of kind will be offered later",
    "current": "the cluster of your kubeconfig will be offered later",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    parser.add_argument("--cluster", choices=["lab", *LATER], default="lab")
    cluster = parser.parse_args(arguments).cluster
    if cluster in LATER:
        print(f"CLUSTER={cluster}: {LATER[cluster]}; for now use `make demo`", file=sys.stderr)
        return 2
    story = Story()
    operator: Operator | None = None
    try:
        machine.require_node_support()
        archives = _build(story)
        lab = _start(story)
        operator = _install(story, lab, archives)
        return _show(story, lab, operator)
    except (LabError, psycopg.Error) as error:
        return _failed(story, operator, str(error))
    except KeyboardInterrupt:
        story.say(
            "Interrupted. What is up stays up: `make demo-shell` looks, `make demo-down` ends."
        )
        return cli.INTERRUPTED


def _build(story: Story) -> Mapping[str, Path]:
    story.say(
        "Building what is not built yet: Kubernetes, Prometheus, a ticket shop and the operator. "
        "The first time on a machine this takes about ten minutes, later no time at all."
    )
    for name in ("cluster", "coredns", "prometheus"):
        binaries.programs(name)
    with story.waiting("still building container images"):
        return {name: images.build(name) for name in ("ticket-service", "rollback-operator")}


def _start(story: Story) -> Session:
    folder = base_folder() / NAME
    if folder.is_dir() and is_alive(folder):
        story.say("A cluster from an earlier demo is up: it is replaced, to start from nothing.")
        cli.main(["down", NAME])
    story.say("Starting a real Kubernetes of one node, with Prometheus and PostgreSQL ...")
    if cli.main(["up", NAME]) != 0:
        raise LabError("the cluster did not start; the reason stands above")
    return session.read(folder)


def _install(story: Story, lab: Session, archives: Mapping[str, Path]) -> Operator:
    story.say(
        "Installing the operator from its chart: one pod, its own service account, in a namespace "
        "that takes restricted pods only."
    )
    lab.import_image(archives["ticket-service"])
    return install_operator(lab, archives["rollback-operator"], {"lease": {"seconds": 15}})


def _show(story: Story, lab: Session, operator: Operator) -> int:
    service = TicketService(lab, NAMESPACE)
    story.say(f"Deploying ticket-service {GOOD} with four pods into the namespace {NAMESPACE}.")
    service.deploy(GOOD)
    story.say(f"Applying {POLICY.name}: watch this Deployment, and act. That is all it says.")
    service.kubectl("apply", "-f", str(POLICY))
    folder = lab.directory / "load"
    folder.mkdir(exist_ok=True)
    with service.load(RATE, folder) as load:
        _gather_history(story, load)
        sold = [_purchases(lab)]
        pushed = _release(story, service)
        rollback = _await_end(story, service)
        sold.append(_purchases(lab))
        recovered = _now()
        story.say(
            f"Looking on for {REST_SECONDS} s: do purchases work again, and what does the operator "
            "cost while nothing happens?"
        )
        rest = _rest(operator)
        sold.append(_purchases(lab))
        late = [one for one in load.failures() if one.time > recovered]
        summary = load.stop()
    faults = _faults(service, rollback, sold, late)
    Account(pushed, summary, rollback, sold, rest).tell()
    name = rollback["metadata"]["name"]
    _print(lab, "rollback", "explain", name, f"--namespace={NAMESPACE}")
    _print(lab, "rollback", "history", f"--namespace={NAMESPACE}")
    _print(lab, "get", "rollbackpolicies,rollbacks", f"--namespace={NAMESPACE}")
    if faults:
        return _failed(story, operator, "; ".join(faults))
    print("\nThe cluster stays up: `make demo-shell` looks around in it, `make demo-down` ends it.")
    print(f"Done in {story.seconds:.0f} s: {BAD} was taken back, {GOOD} serves.")
    return 0


def _gather_history(story: Story, load: Load) -> None:
    story.say(
        f"Customers arrive: {RATE} requests a second. The operator judges a release against what "
        f"was before it, so {GOOD} now serves for {HISTORY_SECONDS} s: a minute of past is the "
        "least it will trust."
    )
    with story.waiting(f"{GOOD} serves"):
        time.sleep(HISTORY_SECONDS)  # time itself is what is waited for
    failed = load.failures()
    if failed:
        raise LabError(f"{len(failed)} requests failed before the release, first {failed[0]}")


def _release(story: Story, service: TicketService) -> datetime:
    story.say(f"Releasing {BAD}. It starts, reports ready, and fails every purchase.")
    pushed = _now()
    service.release(BAD)
    return pushed


def _await_end(story: Story, service: TicketService) -> Mapping[str, Any]:
    """Tell each step of the rollback as it is stored; give the Rollback when it has ended."""
    wait_for("the operator's decision", DECISION_SECONDS, service.rollbacks)
    story.say("The operator has decided, and stored what it is about to do as a Rollback.")
    told: set[str] = set()

    def look() -> Mapping[str, Any] | None:
        rollback = service.rollbacks()[-1]
        status = rollback.get("status", {})
        for step in status.get("steps", []):
            if "finishedTime" in step and step["name"] not in told:
                told.add(step["name"])
                story.say(f"{step['name']}: {step.get('message', '')}")
        return rollback if "outcome" in status else None

    ended: Mapping[str, Any] = wait_for("the Rollback's outcome", END_SECONDS, look)
    story.say(f"{ended['metadata']['name']} has ended: {ended['status']['outcome']}.")
    return ended


def _purchases(lab: Session) -> int:
    """Rows that customers really got, counted in the database and not in any metric."""
    with network_of(lab.node_pid), psycopg.connect(lab.database_url) as database:
        row = database.execute(
            f"SELECT count(*) FROM {NAMESPACE}.purchases WHERE status = 'completed'"
        ).fetchone()
    assert row is not None
    return int(row[0])


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


def _faults(
    service: TicketService,
    rollback: Mapping[str, Any],
    sold: Sequence[int],
    late: Sequence[Failure],
) -> list[str]:
    """What is not as it should be in the end; nothing is taken from the operator's own word."""
    faults = []
    if service.image() != GOOD:
        faults.append(f"the Deployment runs {service.image()} instead of {GOOD}")
    count = len(service.rollbacks())
    if count != 1:
        faults.append(f"there are {count} Rollbacks instead of one")
    if rollback["status"]["outcome"] != "Verified":
        faults.append(f"the Rollback ended as {rollback['status']['outcome']}, not Verified")
    if late:
        faults.append(f"{len(late)} requests failed after the end of the rollback: {late[0]}")
    if sold[2] - sold[1] < REST_SECONDS:
        faults.append(f"only {sold[2] - sold[1]} purchases came in after the rollback")
    return faults


def _print(lab: Session, *arguments: str) -> None:
    """Show what anybody sees who asks kubectl, or the plugin by its name."""
    argv, environment = session.command_in(lab, ["kubectl", *arguments])
    print(f"\n$ kubectl {' '.join(arguments)}", flush=True)
    if subprocess.run(argv, env=environment, check=False).returncode != 0:
        raise LabError(f"kubectl {' '.join(arguments)} failed; what it said stands above")


def _failed(story: Story, operator: Operator | None, reason: str) -> int:
    story.say(f"The demo has FAILED: {reason}")
    if operator is not None:
        _report(
            "What the operator says of it",
            lambda: operator.lab.kubectl(
                "describe", "rollbackpolicies,rollbacks", f"--namespace={NAMESPACE}"
            ),
        )
        _report("The end of the operator's log", operator.log)
    story.say("What is up stays up: `make demo-shell` looks, `make demo-down` ends it.")
    return 1


def _report(what: str, read: Callable[[], str]) -> None:
    try:
        print(f"\n{what}:\n{read()}", flush=True)
    except LabError as error:
        print(f"\n{what} cannot be read: {error}", flush=True)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
