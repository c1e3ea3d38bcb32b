"""`make e2e`: the operator on a real node with real pods, all scenarios at once.

One private node, one operator installed by its chart and one Prometheus; each scenario of
tests/e2e has a namespace of its own. The exit code is pytest's.

    python -m lab.e2e [PYTEST ARGUMENTS...]       # -k NAME chooses, -n 1 runs them one by one

Scenarios that take many minutes (a leak) are left out unless `-m` chooses them: `make e2e` runs
those without a mark, `make e2e-all` those marked `extended` as well.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from lab import images, session
from lab.binaries import programs, say
from lab.errors import LabError
from lab.node import Node
from lab.tickets import Operator, install_operator

ROOT = Path(__file__).parents[1]
# Mostly they wait: for a past to compare with, for scrapes, for what must not happen. With more of
# them on two cores, pods fail their own probes.
WORKERS = 3
LIMIT_SECONDS = 900
STOPPED, LEAKING = "e2e-database-corruption", "e2e-a-memory-leak"
"""The namespaces of scenarios in which the operator has more rights."""
VALUES = {
    # A killed leader keeps its successor waiting for this long.
    "lease": {"seconds": 5},
    "log": {"format": "text"},
    "rbac": {"podLogs": True, "autoscalers": True},
    "gitOps": {"argoCD": {"namespaces": ["argocd"]}},
    "traffic": {"namespaces": [STOPPED]},
    "podCommands": {"namespaces": [LEAKING]},
}
SCENARIOS = ROOT / "tests" / "e2e"
CRDS = ROOT / "tests" / "gitops" / "crds.yaml"


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    try:
        programs("metrics-server")  # a scenario that starts it would wait for it
        archives = {name: images.build(name) for name in ("ticket-service", "rollback-operator")}
        with Node() as node:
            lab = node.session
            lab.import_image(archives["ticket-service"])
            lab.kubectl("apply", "--server-side", "-f", str(CRDS))
            migrating = _migrating()
            for namespace in (*migrating, STOPPED, LEAKING):
                lab.kubectl("create", "namespace", namespace)  # the chart puts a Role into each
            values = {**VALUES, **_vouched_for(), "migrations": {"namespaces": migrating}}
            operator = install_operator(lab, archives["rollback-operator"], values)
            say(f"the operator is ready after {time.monotonic() - began:.0f} s")
            code = _pytest(lab, arguments)
            if code != 0:
                _tell(operator)
    except LabError as error:
        say(f"error: {error}")
        return 1
    say(f"e2e took {time.monotonic() - began:.0f} s in all")
    return code


def namespace_of(test: str) -> str:
    """Name the namespace of a scenario, by its test."""
    name = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower()).strip("-")
    return f"e2e-{name[:50].strip('-')}"


def _vouched_for() -> dict[str, list[str]]:
    """List the hosts of Services that scenarios make by hand, as ways to the lab's own servers.

    What a Service leads to that is no pod of its namespace is called only where the operator's
    owner vouches for the host.
    """
    texts = [path.read_text() for path in sorted(SCENARIOS.glob("test_*.py"))]
    tests = [name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.M)]
    places = [namespace_of(name) for name in tests]
    return {
        "allowedPrometheusHosts": [f"prometheus.{one}.svc" for one in places],
        "allowedHosts": [f"postgres.{one}.svc" for one in places],
    }


def _migrating() -> list[str]:
    """List the namespaces of scenarios in which the operator may create Jobs."""
    text = (SCENARIOS / "test_migrations.py").read_text()
    return [namespace_of(name) for name in re.findall(r"^def (test_\w+)", text, re.M)]


def _pytest(lab: session.Session, arguments: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", "tests/e2e", "-n", str(WORKERS)]
    command += ["--timeout", str(LIMIT_SECONDS), "--durations", "0", "-m", "not long"]
    argv, environment = session.command_in(lab, [*command, *arguments])
    return subprocess.call(argv, cwd=ROOT, env=environment)


def _tell(operator: Operator) -> None:
    try:
        say(f"the end of the operator's log:\n{operator.log(200)}")
    except LabError as error:
        say(f"the operator's log cannot be read: {error}")


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
