"""What one operator costs with many policies: at its start, and at rest.

    python -m bench.scale [--policies 10000] [--seconds 120] [--output bench/results/scale.json]

A real API server with its controllers; KWOK plays the nodes. There are as many Deployments of one
pod, and a policy on each. An operator takes them on; when their releases are no longer watched it
is ended, and another one is started, as after an update of the operator itself. Of that one are
told: the time until it is ready, the most memory that it ever held, and then, over some time in
which nothing happens, its memory, the share of a core that it takes, and its writes to the API
server beside the renewals of its Lease. The load of the whole machine stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from bench.node import ROOT, Results
from lab import chart
from lab.control_plane import ControlPlane
from lab.prometheus_server import Prometheus
from lab.tickets import writes_in
from tests.integration.api import Api, Object, deployments, eventually, policies
from tests.integration.operator_process import InstalledOperator, Options
from tests.integration.stand import ACCOUNT, HOME, rights

OUTPUT = ROOT / "bench" / "results" / "scale.json"
NODES = 20
POLICIES_PER_NAMESPACE = 100
MANY_PODS = "100000"
LONGEST_SECONDS = 7200.0
WATCH_SECONDS = 60
PASSES = "rollback_operator_passes_total"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/rollback-operator"
HERTZ = os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--policies", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=120, help="how long it is looked at at rest")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="scale-") as folder, ExitStack() as stack:
        cluster = stack.enter_context(ControlPlane())
        prometheus = stack.enter_context(Prometheus())
        api = Api(cluster.kubeconfig)
        stack.callback(api.close)
        _prepare(cluster, api, arguments.policies)
        options = Options(
            cluster.service_account_kubeconfig(HOME, ACCOUNT),
            prometheus.url,
            lease_seconds=15,
        )
        log = Path(folder) / "operator.log"
        first = InstalledOperator(options, log)
        stack.callback(first.kill)
        found = {"policies": arguments.policies, "cores": os.cpu_count()}
        found["adoption"] = _adopted(first, api, arguments.policies)
        first.end()
        second = InstalledOperator(options, log)
        stack.callback(second.kill)
        found["restart"] = _restarted(second)
        found["rest"] = _rested(second, api, arguments.seconds)
    Results(arguments.output).change(str(arguments.policies), lambda _: found)
    print(json.dumps(found, indent=1))
    return 0


# -- what there is ---------------------------------------------------------------------------------


def _prepare(cluster: ControlPlane, api: Api, count: int) -> None:
    wide = [*chart.crds(), chart.namespace(HOME), *rights(HOME)]
    cluster.kubectl("apply", "-f", "-", input=chart.stream(wide))
    cluster.start_kwok(NODES)
    for number in range(NODES):
        resources = {"allocatable": {"pods": MANY_PODS}, "capacity": {"pods": MANY_PODS}}
        api.merge(f"/api/v1/nodes/fake-{number}/status", {"status": resources})
    names = [(f"team-{n // POLICIES_PER_NAMESPACE}", f"service-{n}") for n in range(count)]
    for namespace in sorted({one for one, _ in names}):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        api.create("/api/v1/namespaces", body)
    _each(names, lambda one: api.create(deployments(one[0]), _deployment(*one)), "Deployments")
    eventually(lambda: _ready(api) >= count, "all Deployments are rolled out", LONGEST_SECONDS)
    _each(names, lambda one: api.create(policies(one[0]), _policy(*one)), "policies")


def _each(
    names: Sequence[tuple[str, str]], make: Callable[[tuple[str, str]], object], what: str
) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number, _ in enumerate(pool.map(make, names), start=1):
            if number % 1000 == 0:
                print(f"{number} {what} made", flush=True)


def _deployment(namespace: str, name: str) -> Object:
    labels = {"app": name}
    container = {
        "name": "service",
        "image": "registry.example.com/shop:v1",
        "ports": [{"containerPort": 8080}],
        "env": [{"name": f"SETTING_{n}", "value": f"value {n}"} for n in range(10)],
        "readinessProbe": {"httpGet": {"path": "/health/ready", "port": 8080}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _policy(namespace: str, name: str) -> Object:
    return {
        "apiVersion": "rollback.tickettoken.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "targetRef": {"name": name},
            "mode": "Enforce",
            "safety": {"watchSeconds": WATCH_SECONDS, "goodAfterSeconds": WATCH_SECONDS},
        },
    }


def _ready(api: Api) -> int:
    time.sleep(5.0)
    return sum(one["status"].get("availableReplicas", 0) for one in _listed(api, "deployments"))


def _listed(api: Api, what: str) -> Iterable[Object]:
    group = {"deployments": "apps/v1", "rollbackpolicies": "rollback.tickettoken.io/v1alpha1"}[what]
    query = {"limit": "500"}
    while True:
        found = api.get(f"/apis/{group}/{what}", **query)
        yield from found["items"]
        if not found["metadata"].get("continue"):
            return
        query["continue"] = found["metadata"]["continue"]


# -- what it costs ---------------------------------------------------------------------------------


def _adopted(operator: InstalledOperator, api: Api, count: int) -> dict[str, Any]:
    """Wait until every policy knows its release, and none is watched any more."""
    began = time.monotonic()
    operator.wait_until_ready(LONGEST_SECONDS)

    def known() -> int:
        time.sleep(5.0)
        found = sum("revision" in one.get("status", {}) for one in _listed(api, "rollbackpolicies"))
        print(f"{found} policies know their release", flush=True)
        return found

    eventually(lambda: known() == count, "all policies know their release", LONGEST_SECONDS)
    seconds = time.monotonic() - began
    eventually(lambda: _passes(operator, 20.0) == 0, "nothing is watched", LONGEST_SECONDS)
    return {"seconds": round(seconds, 1), "peakMiB": _mebibytes(operator, "VmHWM")}


def _restarted(operator: InstalledOperator) -> dict[str, Any]:
    began = time.monotonic()
    operator.wait_until_ready(LONGEST_SECONDS)
    seconds = time.monotonic() - began
    eventually(lambda: _passes(operator, 10.0) == 0, "all have been looked at", LONGEST_SECONDS)
    return {
        "readySeconds": round(seconds, 1),
        "processorSeconds": round(_processor_seconds(operator), 1),
        "peakMiB": _mebibytes(operator, "VmHWM"),
    }


def _rested(operator: InstalledOperator, api: Api, seconds: int) -> dict[str, Any]:
    began, spent, written = time.monotonic(), _processor_seconds(operator), _writes(operator)
    renewals = set()
    while time.monotonic() < began + seconds:
        renewals.add(api.get(LEASE)["metadata"]["resourceVersion"])
        time.sleep(1.0)
    passed = time.monotonic() - began
    return {
        "seconds": round(passed, 1),
        "cores": round((_processor_seconds(operator) - spent) / passed, 4),
        "residentMiB": _mebibytes(operator, "VmRSS"),
        "writes": _writes(operator) - written,
        "renewals": len(renewals) - 1,
        "load": round(os.getloadavg()[0], 2),
    }


def _passes(operator: InstalledOperator, seconds: float) -> float:
    before = operator.metric(PASSES)
    time.sleep(seconds)
    return operator.metric(PASSES) - before


def _writes(operator: InstalledOperator) -> int:
    """Give how often it has written to the API server."""
    return sum(writes_in(requests.get(f"{operator.url}/metrics", timeout=30).text).values())


def _processor_seconds(operator: InstalledOperator) -> float:
    after_name = Path(f"/proc/{operator.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / HERTZ


def _mebibytes(operator: InstalledOperator, what: str) -> int:
    lines = Path(f"/proc/{operator.pid}/status").read_text().splitlines()
    return round(int(next(one for one in lines if one.startswith(what)).split()[1]) / 1024)


if __name__ == "__main__":
    sys.exit(main())
