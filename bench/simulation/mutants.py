"""Takes guards of the operator away, one at a time, and looks whether the campaign sees it.

Each removal is a change to the product's own objects, made in a process of its own. A guard whose
removal no rule can show by itself, because another one stands behind it, is removed together with
that one; a second row says that alone it is masked, and by which.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

from bench.simulation.actors import draw
from bench.simulation.world import quiet, simulate
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.model.context import Load, is_active
from rollback_operator.reconcile.act.holding import Settled
from rollback_operator.remedies import rollback_status
from rollback_operator.remedies.progress import Act
from rollback_operator.rollback.course import PolicyAuthority


@dataclass(frozen=True, slots=True)
class Removal:
    """What is put in the place of a guard."""

    place: str
    """`module:name` or `module:Class.name`, below rollback_operator."""
    made: Callable[[Any], Any]
    """Makes what stands there from what stood there."""

    def apply(self) -> None:
        """Take the guard away, in this process."""
        owner, name = self._where()
        setattr(owner, name, self.made(getattr(owner, name)))

    def stands(self) -> Any:
        """Give what stands there."""
        owner, name = self._where()
        return getattr(owner, name)

    def _where(self) -> tuple[Any, str]:
        module, _, path = self.place.partition(":")
        *above, name = path.split(".")
        owner: Any = importlib.import_module(f"rollback_operator.{module}")
        for one in above:
            owner = getattr(owner, one)
        return owner, name


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard that is taken away."""

    guard: str
    removals: tuple[Removal, ...]
    seeds: tuple[int, ...] = ()
    """Known to show it."""
    masked_by: str = ""
    """What stands behind the guard: alone it cannot be missed."""
    tests: str = ""
    """Unit tests of which one fails without it, where no seed is known to show it."""


def _always(value: Any) -> Callable[[Any], Any]:
    """Answer the same, whatever is asked."""
    return lambda _: lambda *args, **options: value


def _guard(name: str) -> Removal:
    return Removal(f"decide.guards:{name}", _always(None))


def run(mutant: Mutant, seed: int) -> tuple[str, ...]:
    """Run a seed without a guard, in a process of its own."""
    with get_context("fork").Pool(1, quiet) as pool:
        return pool.apply(_broken, (mutant.guard, seed))


def _broken(guard: str, seed: int) -> tuple[str, ...]:
    for one in BY_NAME[guard].removals:
        one.apply()
    return simulate(draw(seed)).broken


# -- what is put in the place of guards ------------------------------------------------------------


def _seen_as_judged(_: Any) -> Any:
    """Read the Deployment before a write, and look at nothing."""

    async def judged(self: Any, rollback: Any) -> Any:
        where = rollback.metadata.namespace, rollback.spec.target_ref.name
        return await self._api.get(f"/apis/apps/v1/namespaces/{where[0]}/deployments/{where[1]}")

    return judged


def _lifts_without_test(known: Any) -> Any:
    return lambda raw: [one for one in known(raw) if one["op"] != "test"]


def _leads_while_set(_: Any) -> Any:
    return lambda self: self.leading.is_set()


def _writes_always(_: Any) -> Any:
    return lambda self, _: self


def _leads_always(_: Any) -> Any:
    def noted(self: Any, held: Any, asked: tuple[float, float]) -> None:
        self._renewed = asked
        self.leading.set()

    return noted


def _tests_the_name(_: Any) -> Any:
    def unguarded(resource: Any) -> dict[str, Any]:
        return {"op": "test", "path": "/metadata/name", "value": resource.metadata.name}

    return unguarded


def _named_anew(_: Any) -> Any:
    numbers = itertools.count()
    return lambda spec: f"{spec.policy_ref.name[:40]}-{next(numbers):010x}"


def _begins_unstored(_: Any) -> Any:
    async def begun(self: Any, rollback: Any, step: Any, deployment: Any) -> Any:
        strategy, revision = None, deployment.revision
        status = rollback_status.begun(rollback.status, step, self.clock(), strategy, revision)
        return rollback.model_copy(update={"status": status})

    return begun


def _ends_at_once(known: Any) -> Any:
    async def concluded(self: Any, rollback: Any, end: Any, deployment: Any = None) -> Any:
        return await known(self, rollback, end, None)

    return concluded


def _counts_orphans(_: Any) -> Any:
    def load(rollbacks: Any, namespace: Any, budget: Any, now: Any) -> Any:
        known = list(rollbacks)
        return Load(budget, sum(is_active(one) for one in known))

    return load


def _never_over(_: Any) -> Any:
    return lambda hold, policy: hold.since_time + timedelta(days=1)


def _keeps_holding(_: Any) -> Any:
    async def ended(self: Any, policy: Any, end: Any, deployment: Any) -> Any:
        return Settled(policy, deployment)

    return ended


def _carries_nothing(_: Any) -> Any:
    async def carried(*args: Any) -> None:
        return None

    return carried


def _never_compares(_: Any) -> Any:
    async def looked(self: Any) -> None:
        return None

    return looked


def _is_ready_at_once(_: Any) -> Any:
    async def settled(parts: Any, settings: Any, ready: Any) -> None:
        parts.intake.delivered = None
        ready.set()

    return settled


def _old_news(_: Any) -> Any:
    return lambda known, found: False


def _told_again(_: Any) -> Any:
    return lambda known, wanted: [*known, *wanted]


def _sees_no_pause(_: Any) -> Any:
    return lambda rollback, step, now: Act(step)


def _never_recreated(known: Any) -> Any:
    def standing(rollback: Any, policy: Any, ready: Any) -> Any:
        found = known(rollback, policy, ready)
        return PolicyAuthority.ACTIVE if found is PolicyAuthority.RECREATED else found

    return standing


def _tries_for_ever(_: Any) -> Any:
    return lambda last, now: 1 if last is None else min(last.spec.attempt + 1, MOST_ATTEMPTS)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "whether it is on record: _recorded",
        (_guard("_recorded"),),
        masked_by="the name of the Rollback, which follows from what is done",
    ),
    Mutant(
        "whether it is on record, and the name that follows from what is done",
        (_guard("_recorded"), Removal("remedies.attempts:name_of", _named_anew)),
        tests="tests/unit/test_reconcile.py",
    ),
    Mutant(
        "whether one goes on: _active",
        (_guard("_active"),),
        tests="tests/unit/decide/test_decide.py",
    ),
    Mutant("a rollback is never rolled back: _restored", (_guard("_restored"),), (252,)),
    Mutant("what comes back is told: _cooldown", (_guard("_cooldown"),), (1227,)),
    Mutant(
        "a fresh look before the intent",
        (Removal("releases.ownership:records", _always(set())),),
        tests="tests/unit/test_reconcile.py",
    ),
    Mutant(
        "the adapter's own look before a write",
        (Removal("adapters.kube.target.workloads:ApiWorkloads._read_as_judged", _seen_as_judged),),
        tests="tests/unit/test_workloads.py",
    ),
    Mutant(
        "what a patch tests: uid, template, revision",
        (Removal("adapters.kube.target.workloads:_test_as_judged", _always([])),),
        tests="tests/unit/test_workloads.py",
    ),
    Mutant(
        "the adapter's own look, and what a patch tests",
        (
            Removal("adapters.kube.target.workloads:ApiWorkloads._read_as_judged", _seen_as_judged),
            Removal("adapters.kube.target.workloads:_test_as_judged", _always([])),
        ),
        (2759,),
    ),
    Mutant(
        "a person's pause, at the look",
        (Removal("remedies.comparison:_wait_for_resume", _sees_no_pause),),
        tests="tests/unit/remedies/test_progress.py",
    ),
    Mutant(
        "a person's pause, tested by the patch",
        (Removal("adapters.kube.target.workloads:_lift_own_pause", _lifts_without_test),),
        tests="tests/unit/test_workloads.py",
    ),
    Mutant(
        "a person's pause: look, adapter and patch",
        (
            Removal("remedies.comparison:_wait_for_resume", _sees_no_pause),
            Removal("adapters.kube.target.workloads:ApiWorkloads._read_as_judged", _seen_as_judged),
            Removal("adapters.kube.target.workloads:_lift_own_pause", _lifts_without_test),
        ),
        tests="tests/unit/test_workloads.py",
    ),
    Mutant(
        "the lease is fresh: is_leading",
        (Removal("adapters.kube.lease:Elector.is_leading", _leads_while_set),),
        tests="tests/unit/test_lease.py",
    ),
    Mutant(
        "no write after the lease has run out",
        (Removal("adapters.kube.apiserver:ApiServer.fenced", _writes_always),),
        tests="tests/unit/test_write_fence.py",
    ),
    Mutant(
        "one leader: the lease",
        (Removal("adapters.kube.lease:Elector._record_attempt", _leads_always),),
        (10,),
    ),
    Mutant(
        "a status is written by who has seen the last one",
        (Removal("adapters.kube.store:_unchanged", _tests_the_name),),
        (603,),
    ),
    Mutant(
        "a name that follows from what is done",
        (Removal("remedies.attempts:name_of", _named_anew),),
        tests="tests/unit/decide/test_plan.py",
    ),
    Mutant(
        "a step's start is stored before it",
        (Removal("reconcile.act.execution:Executor._begin", _begins_unstored),),
        (306,),
    ),
    Mutant(
        "an end leaves no surge behind",
        (Removal("reconcile.act.execution:Executor.end", _ends_at_once),),
        tests="tests/unit/test_execution.py",
    ),
    Mutant(
        "a hold has a limit",
        (Removal("decide.holds:latest_end", _never_over),),
        (18,),
        tests="tests/unit/test_holding.py",
    ),
    Mutant(
        "a policy at a stand lets go",
        (Removal("reconcile.act.holding:Holder.end", _keeps_holding),),
        tests="tests/unit/test_holding.py",
    ),
    Mutant(
        "what has begun is carried on",
        (Removal("reconcile.keeping:RecordKeeper.carry_open", _carries_nothing),),
        tests="tests/unit/test_ends.py",
    ),
    Mutant(
        "what was gone away from is bad",
        (Removal("releases.statements:condemns", _always(False)),),
        tests="tests/unit/releases/test_statements.py",
    ),
    Mutant(
        "what is known good has earned it",
        (Removal("decide.goodness:is_ripe", _always(True)),),
        tests="tests/unit/decide/test_goodness.py",
    ),
    Mutant(
        "a Rollback is its policy's",
        (Removal("releases.ownership:is_ours", _always(True)),),
        masked_by="what is done for a policy that was made anew",
    ),
    Mutant(
        "a Rollback is its policy's, and what is done for one that was made anew",
        (
            Removal("releases.ownership:is_ours", _always(True)),
            Removal("rollback.course:_state_of", _never_recreated),
        ),
        tests="tests/unit/test_ends.py",
    ),
    Mutant(
        "what was blocked is tried so often, and waits",
        (Removal("remedies.attempts:following", _tries_for_ever),),
        tests="tests/unit/decide/test_decide.py",
    ),
    Mutant(
        "what was found bad is no target",
        (
            Removal("releases.statements:condemns", _always(False)),
            Removal(
                "releases.ledger:condemn", lambda _: lambda ledger, release, found: list(ledger)
            ),
        ),
        tests="tests/unit/releases/test_ledger.py",
    ),
    Mutant(
        "a request acts on what its author saw",
        (Removal("decide.requests:_another_release", _always(None)),),
        tests="tests/unit/test_manual.py",
    ),
    Mutant(
        "a request expires",
        (Removal("decide.requests:expired", _always(None)),),
        tests="tests/unit/test_manual.py",
    ),
    Mutant(
        "a request is no older than its policy",
        (Removal("decide.requests:_before_policy", _always(None)),),
        masked_by="the refusal of a request that finds no policy for ten seconds",
    ),
    Mutant(
        "a request: what was seen, expiry, and the age of its policy",
        (
            Removal("decide.requests:_another_release", _always(None)),
            Removal("decide.requests:expired", _always(None)),
            Removal("decide.requests:_before_policy", _always(None)),
        ),
        (108,),
    ),
    Mutant(
        "every open Rollback is carried on",
        (Removal("reconcile.keeping:RecordKeeper.carry", _carries_nothing),),
        (972,),
    ),
    Mutant(
        "orphans use up no budget",
        (
            Removal("reconcile.reconciler:load_of", _counts_orphans),
            Removal("decide.guards:load_of", _counts_orphans),
        ),
        tests="tests/unit/test_ends.py",
    ),
    Mutant(
        "an undo that others were faster than",
        (Removal("remedies.progress:overtaken", _always(None)),),
        tests="tests/unit/remedies/test_progress.py",
    ),
    Mutant(
        "what is from a backup is stale",
        (Removal("remedies.progress:is_stale", _always(False)),),
        tests="tests/unit/test_ends.py",
    ),
    Mutant(
        "all is listed once a minute",
        (Removal("runtime.intake:Resync.compare", _never_compares),),
        tests="tests/unit/test_resync.py",
    ),
    Mutant(
        "the first lists are complete",
        (Removal("runtime.main:settle", _is_ready_at_once),),
        tests="tests/unit/test_main.py",
    ),
    Mutant(
        "an older version is no news",
        (Removal("reconcile.cache:_is_newer", _old_news),),
        tests="tests/unit/test_resync.py",
    ),
    Mutant("a message is on record once", (Removal("report.outbox:added", _told_again),), (306,)),
)
BY_NAME = {one.guard: one for one in MUTANTS}


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a removal."""

    mutant: Mutant
    runs: int
    seed: int | None = None
    """That has shown it; None: none has."""
    rule: str = ""
    test: str = ""
    """A unit test that has shown it."""

    @property
    def is_as_said(self) -> bool:
        """Tell whether it is caught, or masked by what it says."""
        if self.mutant.masked_by:
            return self.seed is None
        return self.seed is not None or bool(self.test)


def hunt(mutant: Mutant, seeds: Sequence[int]) -> Found:
    """Look for a seed that breaks a rule without a guard, and none with it."""
    for runs, seed in enumerate((*mutant.seeds, *seeds), 1):
        broken = run(mutant, seed)
        if broken and not simulate(draw(seed)).broken:
            return Found(mutant, runs, seed, broken[0])
    return Found(mutant, len(mutant.seeds) + len(seeds))


def table(found: Sequence[Found]) -> str:
    """Show what came of all removals."""
    lines = ["| guard taken away | runs | seed | what shows it |", "| --- | ---: | ---: | --- |"]
    for one in found:
        seed = "" if one.seed is None else str(one.seed)
        by = one.mutant.masked_by and f"masked by {one.mutant.masked_by}"
        said = one.rule or (one.test and f"`{one.test}`") or by or "NOT SEEN"
        lines.append(f"| {one.mutant.guard} | {one.runs} | {seed} | {said} |")
    caught = sum(one.seed is not None for one in found)
    tested = sum(one.seed is None and bool(one.test) for one in found)
    masked = sum(bool(one.mutant.masked_by) and one.seed is None and not one.test for one in found)
    unseen = len(found) - caught - tested - masked
    head = f"{len(found)} removals: {caught} caught by the campaign, {tested} by a unit test, "
    return "\n".join([head + f"{masked} masked as said, {unseen} not seen.", "", *lines]) + "\n"
