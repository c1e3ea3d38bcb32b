"""How long a person waits for an undo while Prometheus hangs, is slow, refuses, or is well.

    python -m bench.undo_latency [--policies 0 8 40 100] [--runs 10]
                                 [--output bench/results/undo_latency.json]

A real API server (control plane, KWOK) and one operator per cell. So many policies have a release
under watch, and read their metrics from one Prometheus that does as the cell says. Then undos are
asked for by hand, of other Deployments whose policies name the same Prometheus; what counts is the
time from the Rollback's creation to the change of the Deployment. Each cell is written as it ends;
a second call goes on where the first was broken off.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bench.node import ROOT, Results
from lab.ports import free_ports
from rollback_operator.adapters.kube import paths
from tests.integration.api import deployments, rollbacks
from tests.integration.faulty_prometheus import FaultyPrometheus, hanging, passed_on
from tests.integration.operator_process import Options, Zygote
from tests.integration.service import API_VERSION, Service
from tests.integration.stand import HOME, Stand

OUTPUT = ROOT / "bench" / "results" / "undo_latency.json"
LONGEST_SECONDS = 60.0
"""After which a run is given up, and counted as so long."""
SETTLE_SECONDS = 15.0
"""Every policy has asked its Prometheus by then, and most have waited for it in vain."""
SLOW_SECONDS = 5.0
SAFETY = {"watchSeconds": 7200, "goodAfterSeconds": 7200}


async def slow(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
    await asyncio.sleep(SLOW_SECONDS)
    return await passed_on(request, server)


FAULTS = {"hanging": hanging, "slow": slow, "refusing": None, "healthy": passed_on}


@dataclass
class Ground:
    """What all cells stand on."""

    stand: Stand
    zygote: Zygote
    server: FaultyPrometheus
    folder: Path
    runs: int
    namespace: str
    others: str
    """The namespace of the policies that are under watch."""
    watched: int = 0
    cells: int = 0
    targets: list[Service] = field(default_factory=list)

    def prepare(self) -> None:
        """Make the Deployments that are undone."""
        for number in range(self.runs):
            one = Service(self.stand, self.namespace, f"shop-{number}")
            one.deploy("v1", replicas=1)
            one.watch()
            self.targets.append(one)

    def grow(self, policies_wanted: int) -> None:
        """Make policies whose Deployments have a release under watch."""
        made = range(self.watched, policies_wanted)
        found = [Service(self.stand, self.others, f"other-{number}") for number in made]
        for one in found:
            body = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": one.name, "namespace": self.others},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": one.name}},
                    "template": one.template("v1"),
                },
            }
            self.stand.api.create(deployments(self.others), body)
        for one in found:
            one.wait_for_rollout()
            one.watch(safety=SAFETY)
        self.watched = max(self.watched, policies_wanted)

    def reset(self) -> None:
        """Have v2 on every target, known as good for long, and no Rollback."""
        path = rollbacks(self.namespace)
        for one in self.stand.api.get(path)["items"]:
            self.stand.api.merge(
                f"{path}/{one['metadata']['name']}", {"metadata": {"finalizers": None}}
            )
            self.stand.api.delete(f"{path}/{one['metadata']['name']}")
        for target in self.targets:
            target.roll_out("v2")
        for target in self.targets:
            target.wait_for_rollout()
            target.settle()

    def cell(self, fault: str) -> list[float]:
        """Measure the undos of one cell, in seconds."""
        self.reset()
        self.cells += 1
        name = f"cell-{self.cells}"
        chosen = FAULTS[fault]
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        if chosen is not None:
            self.server.fail(name, chosen)
            url = self.server.url(name)
        proxy = self.stand.proxy()
        proxy.start()
        options = Options(proxy.write_kubeconfig(self.folder / f"kubeconfig-{name}"), url)
        process = self.zygote.start(options, self.folder / f"{name}.log")
        try:
            process.wait_until_ready()
            time.sleep(SETTLE_SECONDS)
            return [self.undo(one) for one in self.targets]
        finally:
            process.kill()
            process.wait_for_end()
            proxy.stop()
            self.server.mend(name)
            lease = paths.object_in(paths.LEASES, HOME, "rollback-operator")
            if self.stand.api.find(lease) is not None:
                self.stand.api.delete(lease)

    def undo(self, target: Service) -> float:
        """Ask for an undo by hand, and wait until the Deployment is changed."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "Rollback",
            "metadata": {"generateName": "by-hand-", "namespace": self.namespace},
            "spec": {
                "policyRef": {"name": target.name},
                "remedy": {"type": "Undo", "to": "Previous"},
                "reason": "bench",
                "seen": target.seen(),
            },
        }
        begin = time.monotonic()
        made = self.stand.api.create(rollbacks(self.namespace), body)["metadata"]["name"]
        while (seconds := time.monotonic() - begin) < LONGEST_SECONDS:
            if target.image == "v1":
                return seconds
            time.sleep(0.02)
        print(f"{made} was not done within {LONGEST_SECONDS:.0f} s", flush=True)
        return LONGEST_SECONDS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.undo_latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--policies", type=int, nargs="+", default=[0, 8, 40, 100])
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    results = Results(arguments.output)
    cells = [
        (count, fault)
        for count in sorted(arguments.policies)
        for fault in arguments.faults
        if results.part(f"{count} {fault}").get("runs", 0) < arguments.runs
    ]
    if cells:
        measure(results, cells, arguments.runs)
    print("\n".join(table(results, arguments.policies, arguments.faults)))
    return 0


def measure(results: Results, cells: Sequence[tuple[int, str]], runs: int) -> None:
    """Measure cells that are not measured yet."""
    with tempfile.TemporaryDirectory(prefix="undo-latency-") as folder, ExitStack() as stack:
        stand = stack.enter_context(Stand(Path(folder)))
        zygote = stack.enter_context(Zygote())
        server = stack.enter_context(FaultyPrometheus(stand.background, stand.prometheus.url))
        server.listen()
        places = stand.namespace("undo"), stand.namespace("others")
        ground = Ground(stand, zygote, server, Path(folder), runs, *places)
        ground.prepare()
        for count, fault in cells:
            ground.grow(count)
            seconds = ground.cell(fault)
            results.change(f"{count} {fault}", lambda _, seconds=seconds: summary(seconds))
            print(f"{count} policies, {fault}: {summary(seconds)}", flush=True)


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Give the median and the longest."""
    return {
        "runs": len(seconds),
        "medianSeconds": round(statistics.median(seconds), 2),
        "maxSeconds": round(max(seconds), 2),
        "givenUp": sum(one >= LONGEST_SECONDS for one in seconds),
        "cores": os.cpu_count(),
    }


def table(results: Results, counts: Sequence[int], faults: Sequence[str]) -> Iterator[str]:
    """Show what is known, in Markdown: median and longest, seconds."""
    yield "| policies | " + " | ".join(faults) + " |"
    yield "| ---: |" + " ---: |" * len(faults)
    for count in sorted(counts):
        known = [results.part(f"{count} {fault}") for fault in faults]
        shown = [
            f"{one['medianSeconds']:.2f} / {one['maxSeconds']:.2f}" if one else "-" for one in known
        ]
        yield f"| {count} | " + " | ".join(shown) + " |"


if __name__ == "__main__":
    raise SystemExit(main())
