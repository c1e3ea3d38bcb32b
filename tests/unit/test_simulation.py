"""Whole operators on virtual time (bench/simulation): a seed of each kind of fault, and its rules.

The campaign is `make simulate`; what fails here is replayed by `python -m bench.simulation --seed`.
"""

import asyncio
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.simulation import campaign, mutants
from bench.simulation.actors import ACTORS, draw
from bench.simulation.audit import Audit
from bench.simulation.conduct import Conduct
from bench.simulation.loop import NOBODY, Process, VirtualLoop, own
from bench.simulation.operators import Pass
from bench.simulation.patching import PatchError, apply
from bench.simulation.releases import Release, Truth, pod_hash
from bench.simulation.scenario import APP, KINDS, NAMESPACE, OPERATORS, plain
from bench.simulation.server import Raw, Request, Server
from bench.simulation.world import BARE_NOISE, simulate
from rollback_operator.adapters.kube.projections.templates import template_of
from tests.sizes import few_of

ROOT = Path(__file__).resolve().parents[2]
BY_KIND = dict(zip(KINDS, range(len(KINDS)), strict=True))
BUSY = ("editor", "retargeter", "shipper")
"""Actors whose runs have several times as many steps."""
BUSY_LAST = sorted(ACTORS, key=BUSY.__contains__)
BY_ACTOR = {name: number * len(KINDS) for number, name in enumerate(ACTORS)}
"""Seeds without faults."""


@pytest.fixture(autouse=True)
def _no_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the operators' logs out of the way, and no other test's: caplog puts the levels back."""
    for name in BARE_NOISE:
        caplog.set_level(logging.CRITICAL, logger=name)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_is_broken_under(kind: str) -> None:
    result = simulate(draw(BY_KIND[kind]))
    assert result.fault == kind
    assert result.steps > 100
    assert list(result.broken) == [], f"python -m bench.simulation --seed {result.seed}"
    assert (result.lost, result.double) == (0, 0)


@pytest.mark.parametrize("actor", few_of(BUSY_LAST, len(ACTORS) - len(BUSY)))
def test_no_rule_is_broken_beside(actor: str) -> None:
    result = simulate(draw(BY_ACTOR[actor]))
    assert (result.actor, result.fault) == (actor, "none")
    assert list(result.broken) == [], f"python -m bench.simulation --seed {result.seed}"


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(6089, id="a patch comes late, when the release is back"),
        pytest.param(10012, id="the release is back, and the undo's answer was lost"),
        pytest.param(30929, id="the release is restarted before the undo"),
        pytest.param(30776, id="the policy is made anew in the midst of a second bad release"),
    ],
)
def test_what_was_once_lost_or_done_twice(seed: int) -> None:
    result = simulate(plain(seed))
    assert list(result.broken) == []
    assert (result.wanted, result.done, result.lost, result.double) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(600107, id="the policy is broken just after a message was stored"),
        pytest.param(600147, id="the Deployment goes while there is no policy"),
        pytest.param(600173, id="people went to what never ran, then scaled to nothing"),
        pytest.param(600179, id="a bad release is replaced while it is held, by a worse one"),
        pytest.param(600283, id="restored from before its undo, a record begins it anew"),
        pytest.param(800422, id="restored to a new Deployment, a release comes back"),
    ],
)
def test_what_once_broke_a_rule(seed: int) -> None:
    result = simulate(draw(seed))
    assert list(result.broken) == []


def test_a_seed_means_one_run_in_any_process() -> None:
    seed = BY_KIND["killed"]
    path = os.pathsep.join(str(ROOT / one) for one in ("operator", "."))
    printed = subprocess.run(
        [sys.executable, "-m", "bench.simulation", "--seed", str(seed), "--lines", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", "")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"trace ([0-9a-f]{8})", printed)
    assert found is not None
    assert found[1] == f"{simulate(draw(seed)).sum:08x}"


def test_a_journal_is_gone_on_with_and_added_up(tmp_path: Path) -> None:
    journal = tmp_path / "simulation.jsonl"
    first = list(campaign.run(0, 1, journal))
    journal.write_text(journal.read_text() + '{"seed": 1, "cut o')
    again = list(campaign.run(0, 1, journal))
    assert again == first
    found = campaign.summary(again)
    assert found["total"]["runs"] == 1
    assert found["faults"]["none"]["steps"] == first[0]["steps"]
    assert "| none | 1 |" in campaign.markdown(found)


# -- processes -------------------------------------------------------------------------------------


def _run(loop: VirtualLoop, until: float) -> None:
    loop.run_until_complete(loop.create_task(asyncio.sleep(until), context=NOBODY.copy()))


async def _count(loop: VirtualLoop, ticks: list[float]) -> None:
    while True:
        await asyncio.sleep(1.0)
        ticks.append(round(loop.time(), 3))


def test_a_stopped_process_finds_its_timers_overdue_and_a_killed_one_nothing() -> None:
    loop, ticks = VirtualLoop(), list[float]()
    process = Process("a")
    task = loop.create_task(_count(loop, ticks), context=own(process))
    loop.after(2.5, process.stop)
    loop.after(7.25, process.go_on)
    loop.after(9.5, process.kill)
    _run(loop, 20.0)
    assert ticks == [1.0, 2.0, 7.25, 8.25, 9.25]
    assert not task.done()
    loop.is_over = True
    loop.close()


def test_what_was_cancelled_while_it_was_stopped_does_not_run() -> None:
    loop, ran = VirtualLoop(), list[str]()
    process = Process("a")

    async def main() -> None:
        handle = loop.call_later(1.0, ran.append, "timer")
        loop.call_later(4.0, handle.cancel)
        await asyncio.sleep(10.0)

    kept = loop.create_task(main(), context=own(process))
    loop.after(0.5, process.stop)
    loop.after(2.0, process.go_on)
    _run(loop, 3.0)
    assert ran == ["timer"]
    assert not kept.done()
    loop.is_over = True
    loop.close()


# -- the API server --------------------------------------------------------------------------------


def test_a_patch_whose_test_fails_changes_nothing() -> None:
    server = Server(lambda: "2027-01-15T08:00:00Z")
    server.make("user", "rollbacks", {"metadata": {"namespace": "n", "name": "a"}, "spec": {}})
    path = "/apis/rollback.tickettoken.io/v1alpha1/namespaces/n/rollbacks/a/status"
    version = server.read(("rollbacks", "n", "a"))["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    add = {"op": "add", "path": "/status", "value": {"step": "Undo"}}
    assert server.handle("a", Request("PATCH", path, {}, [test, add])).status == 200
    assert server.handle("b", Request("PATCH", path, {}, [test, add])).status == 422
    found = server.read(("rollbacks", "n", "a"))
    assert found["status"] == {"step": "Undo"}
    assert found["metadata"]["generation"] == 1


def test_a_finalizer_holds_a_deletion_up() -> None:
    server, told = Server(lambda: "2027-01-15T08:00:00Z"), list[str]()
    server.watchers.append(lambda event: told.append(event.type))
    metadata = {"namespace": "n", "name": "a", "finalizers": ["x"]}
    server.make("user", "rollbacks", {"metadata": metadata, "spec": {}})
    server.delete("user", ("rollbacks", "n", "a"))
    path = "/apis/rollback.tickettoken.io/v1alpha1/namespaces/n/rollbacks/a"
    off = {"op": "add", "path": "/metadata/finalizers", "value": []}
    assert server.handle("a", Request("PATCH", path, {}, [off])).status == 200
    assert told == ["ADDED", "MODIFIED", "DELETED"]
    assert server.handle("a", Request("GET", path, {})).status == 404


def test_absent_is_null_to_a_test_and_no_place_for_a_removal() -> None:
    document: Raw = {"spec": {}}
    apply(document, [{"op": "test", "path": "/spec/paused", "value": None}])
    with pytest.raises(PatchError):
        apply(document, [{"op": "remove", "path": "/spec/paused"}])


# -- the rules -------------------------------------------------------------------------------------

GOOD, BAD = Release(APP, 1), Release(APP, 2, Truth.FAILING, 1.0)
FINE = Release(APP, 3)


class _Audited:
    """A Deployment and its policy, without controllers and operators."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.seconds = 0.0
        self.server = Server(lambda: "2027-01-15T08:00:00Z")
        known = {one.digest: one for one in (GOOD, BAD, FINE)}
        self.audit = Audit(
            self.server,
            lambda: self.seconds,
            self.broken.append,
            lambda template: known[template_of(template).digest],
            dict,
        )
        self.server.auditors.append(self.audit.see)
        metadata = {"namespace": NAMESPACE, "name": APP}
        spec = {"replicas": 1, "template": GOOD.template, "strategy": {}}
        self.server.make("user", "deployments", {"metadata": dict(metadata), "spec": spec})
        spec = {"targetRef": {"name": APP}, "mode": "Enforce"}
        self.server.make("user", "rollbackpolicies", {"metadata": dict(metadata), "spec": spec})

    def write(self, actor: str, release: Release) -> None:
        id_ = "deployments", NAMESPACE, APP
        raw = self.server.read(id_)
        raw["spec"]["template"] = release.template
        self.server.write(actor, id_, raw)

    def intend(self, source: Release, target: Release) -> None:
        way = {
            "fromRevision": {"digest": source.digest, "number": source.version},
            "toRevision": {"digest": target.digest},
        }
        metadata = {"namespace": NAMESPACE, "name": f"intent-{source.version}"}
        status = {"steps": [{"name": "Undo", "startedTime": "2027-01-15T08:00:00Z"}]}
        raw = {"metadata": metadata, "spec": {**way, "severity": "P1"}, "status": status}
        self.server.make(OPERATORS[0], "rollbacks", raw)


def test_an_undo_follows_a_stored_intent() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.write(OPERATORS[0], GOOD)
    assert world.broken == ["an undo without an intent that is stored and open"]


def test_a_persons_pause_stops_an_undo() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    id_ = "deployments", NAMESPACE, APP
    raw = world.server.read(id_)
    raw["spec"]["paused"] = True
    world.server.write("user", id_, raw)
    world.write(OPERATORS[0], GOOD)
    assert world.broken == ["undone although somebody has paused the Deployment"]


def test_what_people_took_back_while_an_undo_began_is_told_when_it_comes_again() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    world.write("user", GOOD)
    intent = next(iter(world.server.listed("rollbacks")))
    intent["status"]["steps"][0]["finishedTime"] = "2027-01-15T08:00:01Z"
    world.server.write(OPERATORS[0], ("rollbacks", NAMESPACE, intent["metadata"]["name"]), intent)
    world.write("user", BAD)
    assert [one.is_wanted for one in world.audit.episodes[-3:]] == [True, False, False]


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_deployment_that_is_gone_is_not_taken_back_by_a_new_policy(is_deleted: bool) -> None:
    world = _Audited()
    world.write("user", BAD)
    world.server.delete("user", ("rollbackpolicies", NAMESPACE, APP))
    assert world.audit.lost() == []
    if is_deleted:
        world.server.delete("user", ("deployments", NAMESPACE, APP))
    metadata = {"namespace": NAMESPACE, "name": APP}
    spec = {"targetRef": {"name": APP}, "mode": "Enforce"}
    world.server.make("user", "rollbackpolicies", {"metadata": metadata, "spec": spec})
    assert len(world.audit.lost()) == (0 if is_deleted else 1)


def _gone_to(older: Release, at: float) -> _Audited:
    """A world in which people go to a fine release, with what ran before, until a time."""
    world = _Audited()
    for number, one in enumerate((older, GOOD if older is FINE else FINE)):
        metadata = {"namespace": NAMESPACE, "name": f"{APP}-{pod_hash(one.template)}"}
        metadata["creationTimestamp"] = f"2027-01-15T0{number}:00:00Z"
        world.server.make("controller", "replicasets", {"metadata": metadata})
    world.write("user", FINE)
    world.seconds = at
    return world


@pytest.mark.parametrize(
    ("older", "at", "is_wanted"),
    [
        pytest.param(FINE, 3.0, False, id="they went back, and it never ran"),
        pytest.param(GOOD, 3.0, True, id="they went on: what ran is still good"),
        pytest.param(FINE, 90.0, True, id="it ran long enough to be compared with"),
    ],
)
def test_what_comes_while_all_is_scaled_to_nothing(
    older: Release, at: float, is_wanted: bool
) -> None:
    world = _gone_to(older, at)
    id_ = "deployments", NAMESPACE, APP
    raw = world.server.read(id_)
    raw["spec"]["replicas"] = 0
    world.server.write("user", id_, raw)
    world.write("user", BAD)
    assert len(world.audit.lost()) == is_wanted


@pytest.mark.parametrize(("before", "is_wanted"), [(1.0, False), (0.3, True), (0.0, True)])
def test_a_release_that_fails_no_more_than_what_it_replaces_is_told(
    before: float, is_wanted: bool
) -> None:
    world = _Audited()
    truth = Truth.FAILING if before else Truth.HEALTHY
    replaced = Release(APP, 4, truth, before)
    known = {one.digest: one for one in (GOOD, BAD, replaced, replace(BAD, restart=1))}
    world.audit.release_of = lambda template: known[template_of(template).digest]
    for one in (replaced, BAD, replace(BAD, restart=1)):
        world.write("user", one)
    assert len(world.audit.lost()) == is_wanted


@pytest.mark.parametrize(
    ("older", "at", "is_wanted"),
    [
        pytest.param(FINE, 3.0, False, id="they went back, and it hardly ran"),
        pytest.param(GOOD, 3.0, True, id="they went on: what ran is still good"),
        pytest.param(FINE, 11.0, True, id="it served long enough to be recorded as good"),
    ],
)
def test_what_replaces_at_once_what_people_went_back_to(
    older: Release, at: float, is_wanted: bool
) -> None:
    world = _gone_to(older, at)
    world.write("user", BAD)
    assert len(world.audit.lost()) == is_wanted


@pytest.mark.parametrize(
    ("is_seen", "recorded", "fails", "is_broken"),
    [
        (False, "Bad", 0.3, False),
        (True, "Bad", 0.3, True),
        (False, "Good", 0.3, True),
        (False, "Bad", 1.0, True),
    ],
)
def test_what_came_and_went_while_nobody_was_there_may_be_gone_back_to(
    is_seen: bool, recorded: str, fails: float, is_broken: bool
) -> None:
    world = _Audited()
    unseen = Release(APP, 4, Truth.FAILING, fails)
    known = {one.digest: one for one in (GOOD, BAD, FINE, unseen)}
    world.audit.release_of = lambda template: known[template_of(template).digest]
    metadata = {"namespace": NAMESPACE, "name": f"{APP}-1"}
    world.server.make(
        "controller", "replicasets", {"metadata": metadata, "spec": {"template": GOOD.template}}
    )
    world.seconds = 10.0
    world.write("user", unseen)
    if is_seen:
        world.audit.sent(OPERATORS[0], Request("GET", "/", {}))
    world.seconds = 20.0
    id_ = "rollbackpolicies", NAMESPACE, APP
    raw = world.server.read(id_)
    assert raw is not None
    raw["status"] = {"revisions": [{"digest": GOOD.digest, "health": recorded}]}
    world.server.write(OPERATORS[0], id_, raw)
    world.write("user", BAD)
    world.intend(BAD, unseen)
    world.write(OPERATORS[0], unseen)
    assert ("gone back to v4, which is bad" in world.broken) == is_broken


@pytest.mark.parametrize(
    ("at", "is_broken"), [(None, True), (1.0, False), (300.0, True)], ids=["never", "soon", "late"]
)
def test_a_message_waits_for_who_can_read_its_channel(at: float | None, is_broken: bool) -> None:
    world = _Audited()
    message = {"id": "a.Started.first", "transition": "Started", "channel": "first"}
    status = {"outcome": "Abandoned", "notifications": [message]}
    metadata = {"namespace": NAMESPACE, "name": "intent-2"}
    spec = {"fromRevision": {"digest": BAD.digest, "number": 2}, "severity": "P1"}
    raw = {"metadata": metadata, "spec": spec, "status": status}
    world.server.make(OPERATORS[0], "rollbacks", raw)
    if at is not None:
        world.seconds = at
        id_ = "rollbackpolicies", NAMESPACE, APP
        policy = world.server.read(id_)
        policy["spec"]["mode"] = "Odd"
        world.server.write("user", id_, policy)
    world.audit.finish()
    assert ("intent-2: first was not told Started" in world.broken) is is_broken


def test_an_undo_of_a_bad_release_breaks_nothing() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    assert len(world.audit.lost()) == 1
    world.write(OPERATORS[0], GOOD)
    assert world.broken == []
    assert (world.audit.wanted(), world.audit.done(), world.audit.double()) == (1, 1, 0)


def test_a_healthy_release_is_not_to_be_taken_back_nor_a_bad_one_gone_back_to() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.write("user", FINE)
    world.intend(FINE, BAD)
    world.write(OPERATORS[0], BAD)
    assert world.broken == ["a healthy release was taken back: v3", "gone back to v2, which is bad"]


def test_what_was_taken_back_is_not_gone_back_to_and_nothing_is_undone_twice() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    world.write(OPERATORS[0], GOOD)
    world.intend(GOOD, BAD)
    world.write(OPERATORS[0], BAD)
    assert "gone back to v2, which was taken back" in world.broken
    assert "undone twice: [1, 2]" in world.broken
    assert world.audit.double() == 1


def test_one_rollback_goes_on_at_a_time() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    assert world.broken == []
    world.intend(GOOD, FINE)
    assert world.broken == ["intent-1 and intent-2 go on at the same time"]


def test_who_has_lost_the_lease_stops_soon() -> None:
    world, mine = _Audited(), Request("PATCH", "/apis/apps/v1/namespaces/n/deployments/a", {})
    lease: Raw = {"metadata": {"name": "lease"}, "spec": {"holderIdentity": "operator-b.2"}}
    world.server.make("operator-b", "leases", lease)
    for seconds, name in ((29.0, "operator-a"), (60.0, "operator-b")):
        world.seconds = seconds
        world.audit.sent(name, mine)
    world.audit.sent("operator-a", Request("GET", mine.path, {}))
    assert world.broken == []
    world.audit.sent("operator-a", mine)
    assert world.broken == ["operator-a writes, and operator-b has held the lease for 60 s"]


def test_a_rollback_is_as_severe_as_the_status_has_told() -> None:
    world = _Audited()
    source = {"digest": BAD.digest, "number": 2}
    for number, said in ((1, "P2"), (2, "P1")):
        raw = {"metadata": {"namespace": NAMESPACE, "name": f"intent-{number}"}, "spec": {}}
        raw["spec"] = {"fromRevision": source, "severity": said, "policyRef": {"uid": "first"}}
        world.server.make(OPERATORS[0], "rollbacks", {**raw, "status": {"outcome": "Failed"}})
    id_ = "rollbackpolicies", NAMESPACE, APP
    for severity in ("P1", "None"):
        policy = world.server.read(id_)
        assert policy is not None
        policy["metadata"]["uid"] = "first"
        policy["status"] = {"revision": source, "severity": severity}
        world.server.write(OPERATORS[0], id_, policy)
    world.audit.finish()
    assert [one for one in world.broken if "P1" in one] == [
        "intent-1 is P2, and the policy's status has told P1"
    ]


def test_what_a_policy_tells_that_was_made_anew_is_not_held_against_the_rollback_before() -> None:
    world = _Audited()
    source = {"digest": BAD.digest, "number": 2}
    for uid in ("first", "second"):
        raw = {"metadata": {"namespace": NAMESPACE, "name": f"intent-of-{uid}"}, "spec": {}}
        raw["spec"] = {"fromRevision": source, "severity": "P2", "policyRef": {"uid": uid}}
        world.server.make(OPERATORS[0], "rollbacks", {**raw, "status": {"outcome": "Abandoned"}})
    id_ = "rollbackpolicies", NAMESPACE, APP
    policy = world.server.read(id_)
    assert policy is not None
    policy["metadata"]["uid"] = "second"
    policy["status"] = {"revision": source, "severity": "P1"}
    world.server.write(OPERATORS[0], id_, policy)
    world.audit.finish()
    assert [one for one in world.broken if "P1" in one] == [
        "intent-of-second is P2, and the policy's status has told P1"
    ]


def test_the_end_tells_what_was_left_behind() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{APP}"
    pause = {"op": "add", "path": "/spec/paused", "value": True}
    world.server.handle(OPERATORS[0], Request("PATCH", path, {}, [pause]))
    world.audit.finish()
    assert world.broken[:3] == [
        "lost: v2 still runs (failing)",
        "intent-2 has not ended: None",
        "the Deployment is still paused by the operator",
    ]


def _end(world: _Audited, source: Release, seconds: float) -> None:
    """Let a rollback be found to have helped."""
    world.seconds = seconds
    id_ = "rollbacks", NAMESPACE, f"intent-{source.version}"
    raw = world.server.read(id_)
    assert raw is not None
    raw["status"]["outcome"] = "Verified"
    world.server.write(OPERATORS[0], id_, raw)


@pytest.mark.parametrize(("seconds", "is_broken"), [(75.0, False), (85.0, True)])
def test_what_ran_a_moment_ago_may_still_be_found_well(seconds: float, is_broken: bool) -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    world.seconds = 20.0
    world.write(OPERATORS[0], GOOD)
    world.seconds = 60.0
    world.write("user", FINE)
    _end(world, BAD, seconds)
    said = "intent-2 is Verified, and its target does not run"
    assert (said in world.broken) is is_broken


@pytest.mark.parametrize("is_recorded", [True, False])
def test_what_no_record_tells_any_more_may_be_gone_back_to(is_recorded: bool) -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    world.write(OPERATORS[0], GOOD)
    _end(world, BAD, 10.0)
    policy = "rollbackpolicies", NAMESPACE, APP
    raw = world.server.read(policy)
    assert raw is not None
    raw["status"] = {"revisions": [{"digest": BAD.digest, "health": "Bad"}]}
    world.server.write(OPERATORS[0], policy, raw)
    if not is_recorded:
        world.server.delete("user", ("rollbacks", NAMESPACE, "intent-2"))
    assert world.audit.taken_back == {BAD.digest}, "the policy's status still tells of it"
    world.server.delete("user", policy)
    assert world.audit.taken_back == ({BAD.digest} if is_recorded else set())


def test_a_rollback_by_hand_that_was_not_done_tells_of_nothing_bad() -> None:
    world = _Audited()
    world.audit.taken_back = {BAD.digest}
    way = {"fromRevision": {"digest": BAD.digest, "number": 2}}
    status = {"plan": {**way, "severity": "P3"}, "outcome": "Abandoned"}
    metadata = {"namespace": NAMESPACE, "name": "by-hand-1"}
    world.server.make("user", "rollbacks", {"metadata": metadata, "spec": {}, "status": status})
    world.server.delete("user", ("rollbackpolicies", NAMESPACE, APP))
    assert world.audit.taken_back == set()


# -- rules on conduct ------------------------------------------------------------------------------


class _Conducted(_Audited):
    """The same, held against the rules on what operators may write."""

    def __init__(self) -> None:
        super().__init__()
        known = {one.digest: one for one in (GOOD, BAD, FINE)}
        self.conduct = Conduct(
            self.server,
            lambda: self.seconds,
            self.broken.append,
            lambda template: known[template_of(template).digest],
        )
        self.server.auditors.append(self.conduct.see)

    def ask(self) -> None:
        metadata = {"namespace": NAMESPACE, "name": "by-hand-1"}
        spec = {"policyRef": {"name": APP}, "remedy": {"type": "Undo", "to": "Previous"}}
        self.server.make("user", "rollbacks", {"metadata": metadata, "spec": spec})

    def plan(self, source: Release) -> None:
        id_ = "rollbacks", NAMESPACE, "by-hand-1"
        raw, target = self.server.read(id_), self.server.read(("deployments", NAMESPACE, APP))
        assert raw is not None
        assert target is not None
        ends = {"fromRevision": {"digest": source.digest}, "policyRef": {"name": APP}}
        uid = target["metadata"]["uid"]
        raw["status"] = {"plan": {**ends, "targetRef": {"name": APP, "uid": uid}}}
        self.server.write(OPERATORS[0], id_, raw)

    def set(self, actor: str, name: str, value: object) -> None:
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{APP}"
        patch = {"op": "add", "path": f"/spec/{name}", "value": value}
        if value is None:
            patch = {"op": "remove", "path": f"/spec/{name}"}
        self.server.handle(actor, Request("PATCH", path, {}, [patch]))


def test_a_request_acts_on_what_its_author_saw() -> None:
    world = _Conducted()
    world.write("user", BAD)
    world.ask()
    world.write("user", FINE)
    world.plan(FINE)
    assert world.broken == ["by-hand-1 acts on v3, its author saw v2"]


def test_a_request_for_what_runs_breaks_nothing() -> None:
    world = _Conducted()
    world.write("user", BAD)
    world.ask()
    world.plan(BAD)
    assert world.broken == []


def test_a_request_expires() -> None:
    world = _Conducted()
    world.write("user", BAD)
    world.ask()
    world.seconds = 700.0
    world.plan(BAD)
    assert "by-hand-1 is planned 700 s after it was asked for" in world.broken


def test_a_request_is_no_older_than_its_policy() -> None:
    world = _Conducted()
    world.ask()
    policy = "rollbackpolicies", NAMESPACE, APP
    raw = world.server.read(policy)
    assert raw is not None
    raw["metadata"]["creationTimestamp"] = "2027-01-15T08:01:00Z"
    world.server.write("user", policy, raw)
    world.plan(GOOD)
    assert world.broken == ["by-hand-1 is done for a policy that was made after it"]


def test_a_request_does_not_act_on_a_deployment_that_came_after_it() -> None:
    world = _Conducted()
    world.ask()
    id_ = "deployments", NAMESPACE, APP
    raw = world.server.read(id_)
    assert raw is not None
    world.server.delete("user", id_)
    world.server.make("user", "deployments", {**raw, "metadata": {**raw["metadata"], "uid": "n"}})
    world.plan(GOOD)
    assert world.broken == ["by-hand-1 acts on a Deployment that its author did not see"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/namespaces/victim/events", "writes to /api/v1/namespaces/victim/events"),
        (
            f"/api/v1/namespaces/{NAMESPACE}/configmaps/a",
            f"writes to /api/v1/namespaces/{NAMESPACE}/configmaps/a",
        ),
        (
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/basket",
            "writes to basket, which no policy names",
        ),
        (f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{APP}", ""),
        (f"/api/v1/namespaces/{NAMESPACE}/events", ""),
    ],
)
def test_an_operator_writes_to_what_is_its_own(path: str, said: str) -> None:
    world = _Conducted()
    world.conduct.sent("operator-a", Request("PATCH", path, {}, []))
    assert world.broken == ([f"operator-a {said}"] if said else [])


CAUSE = "/metadata/annotations/kubernetes.io~1change-cause"


@pytest.mark.parametrize(
    ("cause", "change", "is_allowed"),
    [
        ("rollback-operator: undo of revision 2", {"op": "remove", "path": CAUSE}, True),
        (
            "rollback-operator: undo of revision 2",
            {"op": "replace", "path": CAUSE, "value": ""},
            True,
        ),
        (
            "rollback-operator: undo of revision 2",
            {"op": "replace", "path": CAUSE, "value": "x"},
            False,
        ),
        ("rollback-operator: undo of revision 2", {"op": "remove", "path": "/spec/paused"}, False),
        ("v1.3.1", {"op": "remove", "path": CAUSE}, False),
    ],
)
def test_its_own_change_cause_may_be_taken_off_what_nobody_names_any_more(
    cause: str, change: dict[str, Any], is_allowed: bool
) -> None:
    world = _Conducted()
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/basket"
    known = {"op": "test", "path": CAUSE, "value": cause}
    world.conduct.sent("operator-a", Request("PATCH", path, {}, [known, change]))
    said = "operator-a writes to basket, which no policy names"
    assert world.broken == ([] if is_allowed else [said])


def test_what_people_set_stays() -> None:
    world = _Conducted()
    world.set(OPERATORS[0], "paused", True)
    world.set("user", "paused", None)
    assert world.broken == []
    world.set(OPERATORS[0], "paused", True)
    world.set(OPERATORS[0], "minReadySeconds", 5)
    assert world.broken == [
        "held again after a person has lifted the pause",
        f"{OPERATORS[0]} has changed spec.minReadySeconds",
    ]


def test_a_persons_pause_is_not_lifted() -> None:
    world = _Conducted()
    id_ = "deployments", NAMESPACE, APP
    raw = world.server.read(id_)
    assert raw is not None
    raw["spec"]["paused"] = True
    world.server.write("user", id_, raw)
    world.set(OPERATORS[0], "paused", None)
    assert world.broken == ["a person's pause was lifted"]


@pytest.mark.parametrize("field", ["rejected", "restored"])
def test_what_was_rejected_or_restored_is_not_carried_out(field: str) -> None:
    world = _Conducted()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    id_ = "rollbacks", NAMESPACE, "intent-2"
    raw = world.server.read(id_)
    assert raw is not None
    if field == "restored":
        world.conduct.restored.add("intent-2")
    else:
        raw["status"]["planDigest"] = "d"
        raw["spec"]["approval"] = {"decision": "Reject", "planDigest": "d"}
        world.server.write("user", id_, raw)
    world.write(OPERATORS[0], GOOD)
    said = {"rejected": "was rejected", "restored": "is from a backup"}[field]
    assert world.broken == [f"intent-2 {said}, and was carried out"]


def test_a_pass_ends_in_time_and_raises_nothing() -> None:
    world = _Conducted()
    for one in (Pass("a", 0.0, 59.0), Pass("a", 0.0, 61.0), Pass("a", 0.0, 1.0, "KeyError: 'x'")):
        world.conduct.passed(one)
    world.conduct.is_reachable = False
    world.conduct.passed(Pass("a", 0.0, 170.0))
    assert world.broken == [
        "a pass took 61 s, at most 60 s",
        "a pass has raised KeyError: 'x'",
    ]


def test_nothing_is_written_at_rest() -> None:
    world = _Conducted()
    world.conduct.is_over = True
    lease = Request("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", {}, {})
    for one in [lease] * 20:
        world.conduct.sent("operator-a", one)
    world.conduct.at_rest()
    assert world.broken == []
    status = f"/apis/rollback.tickettoken.io/v1alpha1/namespaces/{NAMESPACE}/rollbacks/a/status"
    for _ in range(5):
        world.conduct.sent("operator-a", Request("PATCH", status, {}, []))
    world.conduct.at_rest()
    assert world.broken == ["5 writes in 40 s at rest"]
    world.write("user", BAD)
    world.conduct.at_rest()
    assert len(world.broken) == 1, "a release is no rest"


def test_what_was_found_bad_is_no_target() -> None:
    world = _Audited()
    world.write("user", FINE)
    id_ = "rollbackpolicies", NAMESPACE, APP
    policy = world.server.read(id_)
    assert policy is not None
    found = {"digest": FINE.digest, "number": 3}
    policy["status"] = {"revision": found, "severity": "P3", "verdict": "Bad"}
    world.server.write(OPERATORS[0], id_, policy)
    world.write("user", BAD)
    world.intend(BAD, FINE)
    world.write(OPERATORS[0], FINE)
    assert world.broken == ["gone back to v3, which was taken back"]


def test_a_restart_of_what_was_taken_back_is_the_same_release() -> None:
    world = _Audited()
    world.audit.taken_back.add(GOOD.digest)
    world.audit.release_of = lambda template: replace(GOOD, restart=1)
    world.audit.known[replace(GOOD, restart=1).digest] = GOOD.digest
    assert world.audit._is_taken_back(replace(GOOD, restart=1))


def test_a_rollback_is_not_rolled_back() -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    world.write(OPERATORS[0], GOOD)
    _end(world, BAD, 10.0)
    world.intend(GOOD, FINE)
    world.write(OPERATORS[0], FINE)
    assert "a rollback was rolled back: v1" in world.broken


def test_a_request_is_answered_soon() -> None:
    world = _Conducted()
    world.write("user", BAD)
    world.conduct.answers_soon = True
    world.ask()
    world.seconds = 31.0
    world.plan(BAD)
    assert world.broken == ["by-hand-1 is answered after 31 s, at most 30 s"]


def _gone(acted: str) -> dict[str, Any]:
    """The ReplicaSet was gone at the ninth second; the act was closed then or before."""
    return {
        "outcome": "Failed",
        "finishedTime": "2027-01-15T08:00:09Z",
        "conditions": [{"type": "Complete", "reason": "ReplicaSetGone"}],
        "steps": [{"name": "Undo", "finishedTime": acted}],
    }


@pytest.mark.parametrize(
    ("status", "attempt", "broken"),
    [
        ({"outcome": "Observed"}, 1, ["intent-2 and intent-1 decide on one revision"]),
        ({"outcome": "Blocked"}, 1, ["intent-2 and intent-1 decide on one revision"]),
        ({"outcome": "Blocked"}, 2, []),
        ({"outcome": "Rejected"}, 2, ["intent-2 and intent-1 decide on one revision"]),
        (
            {
                "outcome": "Abandoned",
                "steps": [{"name": "Undo", "finishedTime": "2027-01-15T08:00:00Z"}],
            },
            2,
            ["intent-2 and intent-1 decide on one revision"],
        ),
        (_gone("2027-01-15T08:00:09Z"), 2, []),
        (_gone("2027-01-15T08:00:00Z"), 2, ["intent-2 and intent-1 decide on one revision"]),
    ],
)
def test_one_revision_is_decided_on_once(
    status: dict[str, Any], attempt: int, broken: list[str]
) -> None:
    world = _Conducted()
    world.write("user", BAD)
    ends = {"fromRevision": {"digest": BAD.digest, "number": 2}, "mode": "Observe"}
    refs = {"policyRef": {"name": APP, "uid": "p"}, "targetRef": {"name": APP, "uid": "t"}}
    for name, number in (("intent-1", 1), ("intent-2", attempt)):
        metadata = {"namespace": NAMESPACE, "name": name}
        raw = {"metadata": metadata, "spec": {**ends, **refs, "severity": "P1", "attempt": number}}
        world.server.make(OPERATORS[0], "rollbacks", {**raw, "status": status})
    assert world.broken == broken


def test_a_release_is_taken_back_once() -> None:
    world = _Audited()
    for seconds in (0.0, 600.0):
        world.seconds = seconds
        world.write("user", BAD)
        if not seconds:
            world.intend(BAD, GOOD)
        intent = world.server.read(("rollbacks", NAMESPACE, "intent-2"))
        assert intent is not None
        intent["status"].pop("outcome", None)
        world.server.write("user", ("rollbacks", NAMESPACE, "intent-2"), intent)
        world.write(OPERATORS[0], GOOD)
        _end(world, BAD, seconds + 1.0)
    assert "v2 was taken back twice" in world.broken


@pytest.mark.parametrize(
    ("begun", "is_told"), [("", False), ("08:00:00", True), ("08:00:15", False)]
)
def test_a_record_from_before_the_undo_tells_nothing_of_it(begun: str, is_told: bool) -> None:
    world = _Audited()
    world.write("user", BAD)
    world.intend(BAD, GOOD)
    world.write(OPERATORS[0], GOOD)
    world.write("user", BAD)
    id_ = "rollbacks", NAMESPACE, "intent-2"
    restored = world.server.read(id_)
    assert restored is not None
    steps = [{"name": "Undo", "startedTime": f"2027-01-15T{begun}Z"}] if begun else []
    restored["status"] = {"outcome": "Abandoned", "steps": steps}
    world.server.write("user", id_, restored)
    ends = {"fromRevision": {"digest": BAD.digest}, "toRevision": {"digest": GOOD.digest}}
    metadata = {"namespace": NAMESPACE, "name": "intent-4"}
    status = {"steps": [{"name": "Undo", "startedTime": "2027-01-15T08:00:00Z"}]}
    raw = {"metadata": metadata, "spec": {**ends, "severity": "P1"}, "status": status}
    world.server.make(OPERATORS[0], "rollbacks", raw)
    world.write(OPERATORS[0], GOOD)
    assert ("v2 was taken back twice" in world.broken) is is_told


def test_what_a_person_trusts_may_be_gone_back_to() -> None:
    world = _Audited()
    world.write("user", FINE)
    world.audit.taken_back.add(FINE.digest)
    id_ = "rollbackpolicies", NAMESPACE, APP
    policy = world.server.read(id_)
    assert policy is not None
    policy["spec"]["trust"] = [{"release": template_of(FINE.template).release}]
    world.server.write("user", id_, policy)
    world.write("user", BAD)
    world.intend(BAD, FINE)
    world.write(OPERATORS[0], FINE)
    assert "gone back to v3, which was taken back" not in world.broken


@pytest.mark.parametrize("one", mutants.MUTANTS, ids=lambda one: one.guard)
def test_a_guard_that_is_taken_away_is_there(one: mutants.Mutant) -> None:
    for removal in one.removals:
        there = removal.stands()
        assert callable(there) or isinstance(there, tuple)
        assert callable(removal.made(there)) or isinstance(removal.made(there), tuple)


def test_a_removal_is_caught_where_nothing_was_broken_before() -> None:
    found = mutants.Found(mutants.Mutant("a", (), masked_by="b"), 3)
    caught = mutants.Found(mutants.Mutant("c", ()), 2, 7, "undone twice")
    unseen = mutants.Found(mutants.Mutant("d", ()), 4)
    assert [one.is_as_said for one in (found, caught, unseen)] == [True, True, False]
    assert mutants.table((found, caught, unseen)).splitlines()[0] == (
        "3 removals: 1 caught by the campaign, 0 by a unit test, 1 masked as said, 1 not seen."
    )
