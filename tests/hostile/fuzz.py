"""Draws manifests, has the real API server admit them, and makes whole passes over what it admits.

    python -m tests.hostile.fuzz [--manifests 5000] [--seed 1]

Fails, and says why, if a pass raises, a call leaves the namespace, a callback of the loop takes
longer than promised, too few manifests are admitted, or an optional field is set too seldom.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane
from tests.hostile import drawing
from tests.hostile.drawing import Drawer, optional_paths, set_paths
from tests.hostile.fields import Manifest
from tests.hostile.passing import NAMESPACE, POLICY, Found, Manifests, go_through
from tests.hostile.stand import ACCOUNT, HOME, RELEASE, VALUES, refusal
from tests.integration.api import Api, eventually, policies, rollbacks
from tests.loop_time import PROMISED_SECONDS

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "fuzz.json"
ADMIN = "admin"
DRY = "?dryRun=All&fieldValidation=Strict"
TRIES = 12
"""How often what is refused of a manifest is drawn anew before it is given up."""
AT_ONCE = 4
LEAST = 20
"""How often each optional field is set, at least."""
SHOWN = 20
COLLECTED = 20
_UNSAYABLE = re.compile(
    r"not a known time zone|not a valid RE2 regular expression|valid datetime|base address"
)
"""What no schema can say; a list for a date-time is taken by the API server, schema or not."""
_PART = re.compile(r"\bspec\.([a-zA-Z]+)")


@dataclass(frozen=True)
class Profile:
    """How much is done."""

    policies: int
    plans: int
    requests: int
    values: int = 120
    created: int = 50
    """How many policies are really stored; a dry run goes the same way but for the last step."""
    least: int = LEAST


@dataclass
class Admitted:
    """What the API server has taken."""

    tried: int = 0
    created: int = 0
    policies: list[Manifest] = field(default_factory=list)
    plans: list[Manifest] = field(default_factory=list)
    requests: list[Manifest] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    given_up: int = 0

    @property
    def count(self) -> int:
        return len(self.policies) + len(self.plans) + len(self.requests)

    def set(self) -> dict[str, int]:
        """Count how often each optional field is set, by kind and path."""
        of = {"RollbackPolicy": self.policies, "Rollback": [*self.plans, *self.requests]}
        found = {}
        for kind, manifests in of.items():
            counts = Counter(path for one in manifests for path in set_paths(one))
            # Nobody decides before a plan is stored, and nothing is stored here.
            paths = (one for one in optional_paths(kind) if not one.startswith("spec.approval."))
            found |= {f"{kind}:{path}": counts[path] for path in paths if path != "spec.approval"}
        return found


class Server:
    """A real API server with the chart's CRDs and admission policies."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.admin, self.account = Api(cluster.kubeconfig), Api(cluster.kubeconfig)
        self.account.impersonate(ACCOUNT)
        rendered = chart.rendered(VALUES, name=RELEASE, namespace=HOME)
        kept = [one for one in rendered if one["kind"] not in ("Deployment", "Service")]
        namespaces = [chart.namespace(one) for one in (HOME, NAMESPACE, "victim", "neighbour")]
        objects = [*chart.crds(), *namespaces, *kept]
        cluster.kubectl("apply", "-f", "-", input=chart.stream(objects))
        wait_for_crds(cluster.kubectl, chart.crd_names())
        base = {"targetRef": {"name": "shop"}, "mode": "Observe"}
        made = {"metadata": {"name": POLICY}, "spec": base}
        head = {"apiVersion": "rollback.tickettoken.io/v1alpha1", "kind": "RollbackPolicy"}
        self.admin.create(policies(NAMESPACE), {**head, **made})
        # What people ask for is held against the policies of a namespace, seen a moment later.
        asked = {
            **head,
            "kind": "Rollback",
            "metadata": {"name": "asked"},
            "spec": {
                "policyRef": {"name": POLICY},
                "remedy": {"type": "Undo", "to": "Previous"},
                "reason": "x",
                "seen": {"deployment": "shop", "revision": 1, "digest": "0123456789abcdef"},
            },
        }
        path = rollbacks(NAMESPACE) + DRY
        eventually(lambda: not refusal(self.admin, path, asked), "requests are taken")

    def close(self) -> None:
        self.admin.close()
        self.account.close()

    def admit(self, profile: Profile, seed: int) -> Admitted:
        """Draw until as many are admitted as are wanted."""
        found = Admitted()
        path = policies(NAMESPACE)
        drawn = drawing.policies(seed, profile.values, ADMIN)
        self._fill(found, found.policies, (drawn, path, self.admin), profile.policies)
        for one in found.policies[: profile.created]:
            self.admin.create(path, one)
            self.admin.delete(f"{path}/{one['metadata']['name']}")
            found.created += 1
        path = rollbacks(NAMESPACE)
        drawn = drawing.plans(seed, profile.values)
        self._fill(found, found.plans, (drawn, path, self.account), profile.plans)
        drawn = drawing.requests(seed, profile.values, ADMIN)
        self._fill(found, found.requests, (drawn, path, self.admin), profile.requests)
        return found

    def _fill(
        self, found: Admitted, into: list[Manifest], by: tuple[Drawer, str, Api], count: int
    ) -> None:
        drawer, path, api = by
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while len(into) < count and found.given_up < max(100, 3 * count):
                batch = [_drawn(drawer, len(into) + one) for one in range(min(64, count))]
                into += self._admitted(found, batch, (drawer, path, api), pool)
        del into[count:]

    def _admitted(
        self,
        found: Admitted,
        batch: list[Manifest],
        by: tuple[Drawer, str, Api],
        pool: ThreadPoolExecutor,
    ) -> Iterator[Manifest]:
        """Give those of a batch that are admitted; what is refused of one is drawn anew."""
        drawer, path, api = by
        for _ in range(TRIES):
            said = list(pool.map(lambda one: refusal(api, path + DRY, one), batch))
            found.tried += len(batch)
            left = []
            for manifest, words in zip(batch, said, strict=True):
                if not words:
                    yield manifest
                    continue
                found.refusals[_kind(words)] += 1
                left.append(_redrawn(drawer, manifest, words))
            batch = left
            if not batch:
                return
        found.given_up += len(batch)


def _kind(words: str) -> str:
    """Make what is said of several alike the same."""
    return re.sub(r"\"[^\"]*\"|'[^']*'|\d+", "…", words)[:160]


def _drawn(drawer: Drawer, number: int) -> Manifest:
    return drawer.manifest(f"drawn-{number}", drawer.dice.uniform(0.2, 0.8))


def _redrawn(drawer: Drawer, manifest: Manifest, words: str) -> Manifest:
    """Draw anew the fields of the spec that a refusal names; all, where it names none."""
    named = {one for one in _PART.findall(words) if one in manifest["spec"]}
    if not named:
        return drawer.manifest(manifest["metadata"]["name"], drawer.dice.uniform(0.1, 0.5))
    spec = dict(manifest["spec"])
    for one in named:
        spec[one] = drawer.part(one, drawer.dice.uniform(0.1, 0.6))
    return {**manifest, "spec": spec}


def go(admitted: Admitted, seed: int) -> Found:
    """Make passes over all that was admitted."""
    whole = Found()
    gc.disable()  # else a callback pays for what these tests have drawn
    others = itertools.cycle([*admitted.plans, *admitted.requests])
    following = [*admitted.policies[1:], admitted.policies[0]]
    for place, (policy, edited) in enumerate(zip(admitted.policies, following, strict=True)):
        asked = tuple(itertools.islice(others, place % 3))
        if place % COLLECTED == 0:
            gc.collect()
        found = go_through(Manifests(policy, edited, asked), seed + place)
        whole.passes += found.passes
        whole.calls += found.calls
        whole.unreadable += found.unreadable
        whole.faults += found.faults
        if found.longest > whole.longest:
            name = f"{found.longest.name}, by the policy at place {place}"
            whole.longest = replace(found.longest, name=name)
    gc.enable()
    return whole


def faults(profile: Profile, admitted: Admitted, found: Found) -> Iterator[str]:
    """Say what is wrong with a run."""
    yield from sorted(found.faults)
    for one in found.unreadable:
        if not all(_UNSAYABLE.search(each) for each in re.split(r"; (?=spec\.)", one)):
            yield f"admitted, and the operator cannot read it: {one}"
    wanted = profile.policies + profile.plans + profile.requests
    if admitted.count < wanted:
        yield f"{admitted.count} manifests were admitted in place of {wanted}"
    for path, count in sorted(admitted.set().items()):
        if count < profile.least:
            yield f"{path} was set {count} times in place of {profile.least}"
    if found.longest.seconds > PROMISED_SECONDS:
        yield f"a callback took {1000 * found.longest.seconds:.0f} ms: {found.longest.name}"


def run(profile: Profile, seed: int) -> tuple[Admitted, Found]:
    """Draw, have admitted, and go through all of it."""
    with ControlPlane() as cluster:
        server = Server(cluster)
        try:
            admitted = server.admit(profile, seed)
        finally:
            server.close()
    return admitted, go(admitted, seed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--manifests", type=int, default=5200, help="how many, of both kinds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rest = max(LEAST, arguments.manifests // 10)
    profile = Profile(arguments.manifests - 2 * rest, rest, rest)
    began = time.monotonic()
    admitted, found = run(profile, arguments.seed)
    said = list(faults(profile, admitted, found))
    counts = admitted.set()
    least = min(counts, key=lambda one: counts[one])
    result = {
        "seed": arguments.seed,
        "manifests": {
            "tried": admitted.tried,
            "admitted": admitted.count,
            "policies": len(admitted.policies),
            "rollbacks": len(admitted.plans) + len(admitted.requests),
            "stored": admitted.created,
        },
        "optionalFields": {"count": len(counts), "leastSet": counts[least], "which": least},
        "passes": found.passes,
        "calls": found.calls,
        "policiesThatTheModelsRefuse": len(found.unreadable),
        "longestCallbackMilliseconds": round(1000 * found.longest.seconds, 1),
        "longestCallback": re.sub(r"/\S*/(?=operator/|tests/|bench/)", "", found.longest.name),
        "faults": len(said),
        "seconds": round(time.monotonic() - began),
    }
    arguments.results.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    for words, count in admitted.refusals.most_common(SHOWN):
        print(f"refused {count} times: {words}", file=sys.stderr)
    for words, count in Counter(_kind(one) for one in found.unreadable).most_common(SHOWN):
        print(f"unreadable {count} times: {words}", file=sys.stderr)
    alike = Counter(_kind(one.strip().splitlines()[-1]) for one in said)
    for words, count in alike.most_common(SHOWN):
        print(f"fault {count} times: {words}", file=sys.stderr)
    for one in said[:SHOWN]:
        print(one, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main())
