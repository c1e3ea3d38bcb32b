"""How long nobody acts when the leader ends: in good order, and killed.

    python -m bench.handover [--runs 10] [--lease-seconds 15] [--output bench/results/handover.json]

Two operators on a real API server (control plane, KWOK). In each run the leader is ended by SIGTERM
or by SIGKILL, and a policy is changed as soon as it has ended; what counts, from the signal on, is
when the other one holds the Lease, and when it has stored its answer to the change in the status.
Both are given in seconds and as shares of the lease's duration. Then a new standby is started for
the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.node import ROOT, Results
from tests.integration.api import eventually
from tests.integration.operator_process import OperatorProcess, Options, Zygote
from tests.integration.service import Service
from tests.integration.stand import Stand

OUTPUT = ROOT / "bench" / "results" / "handover.json"
LONGEST_SECONDS = 120.0
SETTLE_SECONDS = 3.0
"""A new standby has read everything and has looked at the Lease by then."""
ENDS: dict[str, Callable[[OperatorProcess], None]] = {
    "graceful": OperatorProcess.terminate,
    "killed": OperatorProcess.kill,
}


@dataclass
class Relay:
    """The operators of one bench, the newest of them the standby."""

    stand: Stand
    zygote: Zygote
    service: Service
    folder: Path
    lease_seconds: int
    running: list[OperatorProcess] = field(default_factory=list)
    started: int = 0

    @contextmanager
    def standby(self) -> Iterator[str]:
        """Start one more operator; gives its name."""
        self.started += 1
        name = f"operator-{self.started}"
        proxy = self.stand.proxy(self.service.namespace)
        proxy.start()
        options = Options(
            proxy.write_kubeconfig(self.folder / f"kubeconfig-{name}"),
            self.stand.prometheus.url,
            identity=name,
            namespaces=self.service.namespace,
            lease_namespace=self.service.namespace,
            lease_seconds=self.lease_seconds,
        )
        process = self.zygote.start(options, self.folder / f"{name}.log")
        try:
            process.wait_until_ready()
            self.running.append(process)
            yield name
        finally:
            process.kill()
            proxy.stop()

    def hand_over(self, end: Callable[[OperatorProcess], None], heir: str) -> dict[str, float]:
        """End the leader; measure until its heir leads, and until it has answered."""
        known = self.service.status()["observedGeneration"]
        mode = "Observe" if self.service.policy()["spec"]["mode"] == "Enforce" else "Enforce"
        leader = self.running.pop(0)
        begin = time.monotonic()
        end(leader)
        leader.wait_for_end()
        self.service.amend(mode=mode)  # which only the heir can answer
        eventually(lambda: self.service.leader == heir, f"{heir} leads", LONGEST_SECONDS)
        leads = time.monotonic() - begin
        eventually(
            lambda: self.service.status()["observedGeneration"] > known,
            f"{heir} answers",
            LONGEST_SECONDS,
        )
        return {"leads": leads, "answers": time.monotonic() - begin}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.handover", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--lease-seconds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    results = Results(arguments.output)
    with tempfile.TemporaryDirectory(prefix="handover-") as folder, ExitStack() as stack:
        stand = stack.enter_context(Stand(Path(folder)))
        zygote = stack.enter_context(Zygote())
        namespace = stand.namespace("handover")
        stand.grant(namespace)
        service = Service(stand, namespace)
        service.deploy(replicas=2)
        relay = Relay(stand, zygote, service, Path(folder), arguments.lease_seconds)
        first = stack.enter_context(relay.standby())
        eventually(lambda: relay.service.leader == first, "the first leads", LONGEST_SECONDS)
        service.adopt()
        for name, end in ENDS.items():
            runs = []
            for number in range(arguments.runs):
                heir = stack.enter_context(relay.standby())
                time.sleep(SETTLE_SECONDS)
                runs.append(relay.hand_over(end, heir))
                print(f"{name} {number + 1}/{arguments.runs}: {runs[-1]}", flush=True)
            results.change(name, lambda _, runs=runs: summary(runs, arguments.lease_seconds))
    print(json.dumps({name: results.part(name) for name in ENDS}, indent=1))
    return 0


def summary(runs: Sequence[dict[str, float]], lease_seconds: int) -> dict[str, Any]:
    """Give medians and the longest, in seconds and as shares of the lease's duration."""
    told: dict[str, Any] = {
        "runs": len(runs),
        "leaseSeconds": lease_seconds,
        "cores": os.cpu_count(),
    }
    for what in ("leads", "answers"):
        seconds = [one[what] for one in runs]
        median, longest = statistics.median(seconds), max(seconds)
        told[what] = {
            "medianSeconds": round(median, 2),
            "maxSeconds": round(longest, 2),
            "medianOfLease": round(median / lease_seconds, 2),
            "maxOfLease": round(longest / lease_seconds, 2),
        }
    return told


if __name__ == "__main__":
    raise SystemExit(main())
