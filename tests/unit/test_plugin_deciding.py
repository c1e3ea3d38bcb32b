"""`kubectl rollback undo|approve|reject|suspend|resume` as a person meets it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import (
    MOST_TRUSTED,
    Condemnation,
    Health,
    RollbackPolicyStatus,
    RollbackRequest,
    TargetRef,
    Trust,
    rollback_of,
)
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model import stop
from rollback_operator.ports.failure import Failure
from rollback_operator.releases.usefulness import LAST_FAILED
from tests.builders import (
    NAME,
    NAMESPACE,
    at,
    make_deployment,
    make_entry,
    make_policy,
    make_rollback,
    make_template,
    make_workload,
)
from tests.fakes.failures import CONFLICT, GONE, REFUSAL
from tests.kubectl import Shell, stored

POLICIES, ROLLBACKS, LEASES = "rollbackpolicies", "rollbacks", "leases"
GOOD = RollbackPolicyStatus(revisions=[make_entry("v1")])
BY_HAND = f"{NAME}-by-hand-x7k2p"
OLD_IMAGE = "registry.example.com/ticket-service:v1"
DIGEST = "0123456789abcdef"


def template(version: str) -> Record:
    return Record(
        {
            "metadata": {"labels": {"app": NAME, "pod-template-hash": f"hash{version}"}},
            "spec": {"containers": [{"name": NAME, "image": f"example.com/app:{version}"}]},
        }
    )


def lease(namespace: str, annotations: dict[str, str]) -> Record:
    metadata = {"namespace": namespace, "name": "rollback-operator"}
    labels = {stop.LABEL: "true"}
    return Record({"metadata": {**metadata, "labels": labels, "annotations": annotations}})


@pytest.fixture
def shell() -> Shell:
    found = Shell()
    found.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": GOOD})))
    found.cluster.templates = {
        f"deployments/{NAME}": template("v2"),
        f"replicasets/{NAME}-hashv1": template("v1"),
    }
    return found


def undo(shell: Shell, *words: str) -> int:
    return shell.run("undo", NAME, "--reason", "customers call", *words)


class TestUndo:
    @pytest.mark.parametrize(
        ("words", "remedy"),
        [
            pytest.param([], {"type": "Undo", "to": "LastKnownGood"}, id="default"),
            pytest.param(["--to", "previous"], {"type": "Undo", "to": "Previous"}, id="previous"),
            pytest.param(
                ["--to", "1"], {"type": "Undo", "to": "Revision", "revision": 1}, id="number"
            ),
            pytest.param(
                ["--image", f"{NAME}={OLD_IMAGE}"],
                {"type": "PinImage", "container": NAME, "image": OLD_IMAGE},
                id="image",
            ),
            pytest.param(["--replicas", "8"], {"type": "Scale", "replicas": 8}, id="replicas"),
        ],
    )
    def test_makes_what_the_operator_takes_for_a_request(
        self, shell: Shell, words: list[str], remedy: dict[str, Any]
    ) -> None:
        assert undo(shell, *words) == 0
        made = shell.cluster.objects[ROLLBACKS, NAMESPACE, BY_HAND]
        assert made.part("spec.remedy").raw == remedy
        request = rollback_of(dict(made.raw))
        assert isinstance(request, RollbackRequest)
        assert (request.spec.reason, request.spec.requested_by) == ("customers call", "ann")
        assert f"kubectl rollback explain {BY_HAND}" in shell.out

    @pytest.mark.parametrize(
        "words",
        [
            pytest.param(["--to", "nonsense", "--reason", "x"], id="no revision"),
            pytest.param(["--image", "v1", "--reason", "x"], id="no container"),
            pytest.param(["--image", "a=b", "--replicas", "3", "--reason", "x"], id="two ways"),
            pytest.param(["--reason", " "], id="empty reason"),
            pytest.param(["--reason", "x" * 1025], id="endless reason"),
            pytest.param(["--replicas", "-1", "--reason", "x"], id="fewer than no replicas"),
            pytest.param(["--replicas", "99999", "--reason", "x"], id="too many replicas"),
            pytest.param(["--wait", "--timeout", "nan", "--reason", "x"], id="no time"),
            pytest.param(["--wait", "--timeout", "-1", "--reason", "x"], id="time that is over"),
        ],
    )
    def test_wrong_usage_is_told_before_anything_is_asked(
        self, shell: Shell, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            shell.run("undo", NAME, *words)
        assert end.value.code == 2
        assert shell.logins == []
        assert "usage:" in capsys.readouterr().err

    def test_a_rehearsal_shows_plan_and_difference_and_does_nothing(self, shell: Shell) -> None:
        before = dict(shell.cluster.objects)
        assert undo(shell, "--dry-run") == 0
        assert "Undo, RolloutComplete, Verify" in shell.out
        changed = [one for one in shell.out.splitlines() if "image: example.com" in one]
        assert [(one[0], one[-2:]) for one in changed] == [("-", "v2"), ("+", "v1")]
        assert "pod-template-hash" not in shell.out
        assert shell.cluster.objects == before

    def test_a_rehearsal_for_machines_holds_the_plan(self, shell: Shell) -> None:
        undo(shell, "--dry-run", "-o", "json")
        assert json.loads(shell.out)["status"]["plan"]["toRevision"]["number"] == 1

    def test_a_rehearsal_tells_what_would_be_refused(self, shell: Shell) -> None:
        container = shell.cluster.workload.deployment.template.containers[0]
        image = f"{container}=evil.example.com/x:1"
        assert undo(shell, "--dry-run", "--image", image) == 1
        assert "ForeignImage" in shell.err

    def test_what_the_operator_would_refuse_is_refused_at_once(self, shell: Shell) -> None:
        assert undo(shell, "--to", "99") == 1
        assert not any(kind == ROLLBACKS for kind, _, _ in shell.cluster.objects)
        assert "99" in shell.err.splitlines()[0]
        assert shell.err.splitlines()[1:] == [
            f"Deployment {NAME} has:",
            "     2  registry.example.com/ticket-service:v2  (running)",
            "     1  registry.example.com/ticket-service:v1  (Good)",
        ]

    @pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["request", "rehearsal"])
    def test_while_everything_is_stopped_it_is_refused_at_once(
        self, shell: Shell, words: list[str]
    ) -> None:
        annotations = {stop.ANNOTATION: stop.annotation_value("bob", "maintenance", at(0))}
        shell.cluster.put(LEASES, lease("one", annotations))
        assert undo(shell, *words) == 1
        assert "EverythingSuspended: everything is suspended by bob since 2027" in shell.err
        assert "maintenance (kubectl rollback resume --all-namespaces)" in shell.err
        assert not any(kind == ROLLBACKS for kind, _, _ in shell.cluster.objects)

        # Another operator goes on, and may be the one that serves this namespace.
        shell.cluster.put(LEASES, lease("two", {}))
        assert undo(shell, *words) == 0

    def test_who_may_not_read_the_leases_hears_nothing_of_a_stop(self, shell: Shell) -> None:
        listing = shell.cluster.list

        async def refuses(plural: str, namespace: str) -> list[Record] | Failure:
            return REFUSAL if plural == LEASES else await listing(plural, namespace)

        shell.cluster.list = refuses  # type: ignore[method-assign]
        assert undo(shell) == 0

    def test_what_the_own_operator_reports_of_a_stop_counts_where_the_leases_do_not_tell(
        self, shell: Shell
    ) -> None:
        self.reports(shell, "EverythingSuspended", "everything is suspended by bob")
        shell.cluster.put(LEASES, lease("one", {}))
        assert undo(shell) == 0
        annotations = {stop.ANNOTATION: stop.annotation_value("bob", "maintenance", at(0))}
        shell.cluster.put(LEASES, lease("two", annotations))
        assert undo(shell) == 1
        assert "EverythingSuspended: everything is suspended by bob\n" in shell.err

    @pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["request", "rehearsal"])
    @pytest.mark.parametrize(
        "reason",
        ["TargetAlreadyWatched", "AddressNotAllowed", "QueryNotAllowed", "TenantNotAllowed"],
    )
    def test_what_only_the_operator_knows_is_refused_as_it_reports(
        self, shell: Shell, words: list[str], reason: str
    ) -> None:
        self.reports(shell, reason, "the older policy watches it")
        assert undo(shell, *words) == 1
        said = f"the operator would refuse it: {reason}: the older policy watches it"
        assert said in shell.err
        assert not any(kind == ROLLBACKS for kind, _, _ in shell.cluster.objects)

        self.reports(shell, reason, "the older policy watches it", observedGeneration=7)
        assert undo(shell, *words) == 0, "the policy has been corrected since"

    def reports(self, shell: Shell, reason: str, message: str, **more: int) -> None:
        why = {"reason": reason, "message": message, "lastTransitionTime": at(0).isoformat()}
        ready = {"type": "Ready", "status": "False", **why, **more}
        policy = make_policy().model_copy(update={"status": GOOD})
        shell.cluster.put(POLICIES, stored(policy, conditions=[ready]))

    @pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["request", "rehearsal"])
    def test_of_a_paused_deployment_it_is_refused_at_once(
        self, shell: Shell, words: list[str]
    ) -> None:
        shell.cluster.workload = make_workload(deployment=make_deployment("v2", paused=True))
        assert undo(shell, *words) == 1
        assert "TargetPaused: the Deployment is paused, so no release can be" in shell.err
        assert f"kubectl rollout resume deployment/{NAME} -n {NAMESPACE}" in shell.err
        assert not any(kind == ROLLBACKS for kind, _, _ in shell.cluster.objects)

    def test_of_no_deployment_the_field_and_the_list_are_named(self, shell: Shell) -> None:
        shell.cluster.fail_next("inspect", GONE)
        assert undo(shell) == 1
        assert f"spec.targetRef.name: there is no Deployment {NAME} in this namespace" in shell.err

    def test_what_runs_is_named_as_what_runs(self, shell: Shell) -> None:
        assert undo(shell, "--to", "2") == 1
        assert "NoTargetRevision: revision 2 (registry.example.com/ticket-service:v2) is what" in (
            shell.err
        )
        entries = [make_entry("v2", health=Health.ASSUMED), make_entry("v1", health=Health.BAD)]
        status = RollbackPolicyStatus(revisions=entries)
        shell.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": status})))
        assert undo(shell) == 1
        assert "recorded as Assumed, already runs; no other is known good" in shell.err

    def test_a_rehearsal_needs_no_reason(self, shell: Shell) -> None:
        assert shell.run("undo", NAME, "--dry-run") == 0
        assert "Undo, RolloutComplete, Verify" in shell.out

    def test_a_rehearsal_asks_the_admission_policies_too(self, shell: Shell) -> None:
        shell.cluster.fail_next("rehearse", REFUSAL)
        assert undo(shell, "--dry-run") == 1

    def test_a_refusal_by_the_api_server_is_told(self, shell: Shell) -> None:
        shell.cluster.fail_next("create", REFUSAL)
        assert undo(shell) == 1
        assert "forbidden" in shell.err

    @pytest.mark.parametrize(
        ("outcome", "status"), [("Verified", 0), ("NotRecovered", 3), ("Refused", 3)]
    )
    def test_followed_it_tells_the_steps_and_the_end(
        self, shell: Shell, outcome: str, status: int
    ) -> None:
        states = [
            {"step": "Undo", "steps": [{"name": "Undo"}]},
            {"steps": [{"name": "Undo", "finishedTime": "x", "message": "changed"}]},
            {"outcome": outcome},
        ]

        def advance() -> None:
            known = shell.cluster.objects[ROLLBACKS, NAMESPACE, BY_HAND]
            shell.cluster.put(ROLLBACKS, Record({**known.raw, "status": states.pop(0)}))

        shell.on_sleep = advance
        assert undo(shell, "--wait") == status
        assert outcome in shell.out
        told = shell.err.splitlines()
        assert told == [f"{BY_HAND}: Undo begins", f"{BY_HAND}: Undo: changed"]

    def test_followed_it_states_what_it_waits_for_and_how_long_at_most(self, shell: Shell) -> None:
        plan = {"verification": {"timeoutSeconds": 60}}
        begun = shell.now
        steps = [{"name": "Verify", "startedTime": begun.isoformat()}]

        def advance() -> None:
            known = shell.cluster.objects[ROLLBACKS, NAMESPACE, BY_HAND]
            is_over = (shell.now - begun).total_seconds() > 21
            status = {"outcome": "Verified"} if is_over else {"plan": plan, "steps": steps}
            shell.cluster.put(ROLLBACKS, Record({**known.raw, "status": status}))

        shell.on_sleep = advance
        assert undo(shell, "--wait") == 0
        said = shell.err.splitlines()
        assert said == [
            f"{BY_HAND}: Verify begins",
            f"{BY_HAND}: Verify: verifies the recovery, at most 60 s more",
            f"{BY_HAND}: Verify: verifies the recovery, at most 50 s more",
            f"{BY_HAND}: Verify: verifies the recovery, at most 40 s more",
        ]

    def test_followed_it_ends_in_time(self, shell: Shell) -> None:
        assert undo(shell, "--wait", "--timeout", "5") == 4
        assert "the operator continues it" in shell.out

    @pytest.fixture
    def strict(self, shell: Shell) -> Shell:
        status = RollbackPolicyStatus(revisions=[make_entry("v1", health=Health.ASSUMED)])
        policy = make_policy(safety={"requireVerified": True})
        shell.cluster.put(POLICIES, stored(policy.model_copy(update={"status": status})))
        return shell

    def test_says_beforehand_that_a_person_will_be_asked(self, strict: Shell) -> None:
        assert undo(strict, "--dry-run") == 0
        assert "Approval is required: spec.safety.requireVerified is true" in strict.out
        assert undo(strict) == 0
        assert "Approval is required" in strict.out
        assert f"kubectl rollback approve {BY_HAND} -n {NAMESPACE} --reason TEXT" in strict.out

    def test_says_nothing_of_a_person_where_none_is_asked(self, shell: Shell) -> None:
        undo(shell)
        assert "Approval is required" not in shell.out

    @pytest.mark.parametrize("reason", [LAST_FAILED, "serves again"])
    def test_warns_of_a_target_that_failed_when_it_last_served(
        self, shell: Shell, reason: str
    ) -> None:
        status = RollbackPolicyStatus(revisions=[make_entry("v1", reason=reason)])
        shell.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": status})))
        for words in (["--dry-run"], []):
            assert undo(shell, *words) == 0
            assert (f"Warning: revision 1 is {LAST_FAILED}" in shell.out) is (reason == LAST_FAILED)
        assert undo(shell, "--wait", "--timeout", "1") == 4
        assert (LAST_FAILED in shell.err) is (reason == LAST_FAILED)

    def test_a_rehearsal_says_what_becomes_of_what_runs(self, shell: Shell) -> None:
        undo(shell, "--dry-run")
        assert "From revision 2: " in " ".join(shell.out.split())
        assert "Afterwards revision 2 counts as Bad" in shell.out
        assert "its images are in quarantine for 7d" in shell.out
        undo(shell, "--dry-run", "--replicas", "8")
        assert "Afterwards" not in shell.out


class TestDecision:
    @pytest.fixture
    def waiting(self, shell: Shell) -> Record:
        found = stored(make_rollback(), step="AwaitingApproval", planDigest=DIGEST)
        shell.cluster.put(ROLLBACKS, found)
        return found

    @pytest.mark.parametrize(("verb", "decision"), [("approve", "Approve"), ("reject", "Reject")])
    def test_is_given_in_ones_own_name_for_the_plan_as_seen(
        self, shell: Shell, waiting: Record, verb: str, decision: str
    ) -> None:
        assert shell.run(verb, waiting.name, "--reason", "asked Jo") == 0
        given = shell.cluster.objects[ROLLBACKS, NAMESPACE, waiting.name].part("spec.approval")
        assert given.raw == {
            "decision": decision,
            "by": "ann",
            "reason": "asked Jo",
            "planDigest": DIGEST,
        }

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            pytest.param({"outcome": "Verified"}, "has ended (Verified)", id="over"),
            pytest.param({"step": "Undo"}, "does not await approval", id="under way"),
            pytest.param({}, "(not started)", id="not begun"),
        ],
    )
    def test_there_must_be_a_question(
        self, shell: Shell, waiting: Record, status: dict[str, Any], said: str
    ) -> None:
        shell.cluster.put(ROLLBACKS, Record({**waiting.raw, "status": status}))
        assert shell.run("approve", waiting.name, "--reason", "x") == 1
        assert said in shell.err

    @pytest.mark.parametrize(
        ("running", "is_left"), [("v1", True), ("v2", False)], ids=["rolled back", "still bad"]
    )
    def test_after_the_end_a_rollback_is_advised_only_where_the_release_runs(
        self, shell: Shell, waiting: Record, running: str, is_left: bool
    ) -> None:
        policy = stored(make_policy(), revision={"release": make_template(running).release})
        shell.cluster.put(POLICIES, policy)
        shell.run("approve", waiting.name, "--reason", "asked Jo")
        spec = shell.cluster.objects[ROLLBACKS, NAMESPACE, waiting.name].part("spec").raw
        ended: dict[str, object] = {**waiting.raw, "spec": spec, "status": {"outcome": "Verified"}}
        shell.cluster.put(ROLLBACKS, Record(ended))
        assert shell.run("approve", waiting.name, "--reason", "x") == 1
        assert "has ended (Verified, approved by ann)" in shell.err
        assert ("another release runs now: nothing is left" in shell.err) == is_left
        assert ("To roll back: " in shell.err) != is_left

    @pytest.mark.parametrize("verb", ["approve", "reject"])
    def test_where_no_decision_counts_none_is_taken(
        self, shell: Shell, waiting: Record, verb: str
    ) -> None:
        told = {
            "type": "Approved",
            "status": "False",
            "reason": "ApprovalUnprotected",
            "message": "decisions are ignored: admission.create installs it",
        }
        raw = dict(waiting.raw)
        shell.cluster.put(
            ROLLBACKS, Record({**raw, "status": {**raw["status"], "conditions": [told]}})
        )
        assert shell.run(verb, waiting.name, "--reason", "x") == 1
        assert "decisions are ignored: admission.create installs it" in shell.err

    def test_another_plan_is_not_approved(self, shell: Shell, waiting: Record) -> None:
        assert shell.run("approve", waiting.name, "--reason", "x", "--plan", "fedc") == 1
        assert DIGEST in shell.err
        assert shell.run("approve", waiting.name, "--reason", "x", "--plan", DIGEST[:6]) == 0

    def test_a_plan_is_decided_on_once(self, shell: Shell, waiting: Record) -> None:
        shell.run("reject", waiting.name, "--reason", "fixed forward")
        assert shell.run("approve", waiting.name, "--reason", "x") == 1
        assert "ann has already decided on this plan: Reject, fixed forward" in shell.err

    def test_a_plan_that_changed_meanwhile_is_not_approved(
        self, shell: Shell, waiting: Record
    ) -> None:
        shell.cluster.fail_next("patch", CONFLICT)
        assert shell.run("approve", waiting.name, "--reason", "x") == 1
        assert "has changed meanwhile" in shell.err


class TestSuspension:
    def test_is_set_and_lifted(self, shell: Shell) -> None:
        assert shell.run("suspend", NAME, "--reason", "load test") == 0
        policy = shell.cluster.objects[POLICIES, NAMESPACE, NAME]
        assert policy.text("spec.suspend") == "true"
        assert shell.run("resume") == 0
        policy = shell.cluster.objects[POLICIES, NAMESPACE, NAME]
        assert policy.text("spec.suspend") == "false"

    def test_twice_is_once(self, shell: Shell) -> None:
        shell.run("suspend", NAME, "--reason", "load test")
        shell.cluster.fail_next("patch", REFUSAL)  # it would fail if it wrote
        assert shell.run("suspend", NAME, "--reason", "another") == 0
        assert "already suspended by ann since 2027-01-15T08:05:00Z: load test." in shell.out

    def test_says_how_to_let_it_act_again(self, shell: Shell) -> None:
        shell.run("suspend", NAME, "--reason", "load test")
        assert f"kubectl rollback resume {NAME} -n {NAMESPACE}" in shell.out

    def test_stores_who_suspended_it_and_why_until_it_is_resumed(self, shell: Shell) -> None:
        shell.run("suspend", NAME, "--reason", "load test")
        policy = shell.cluster.objects[POLICIES, NAMESPACE, NAME]
        stored_reason = stop.suspension_reason(policy.part("metadata.annotations").raw)
        assert stored_reason == "suspended by ann since 2027-01-15T08:05:00Z: load test"

        shell.run("status")
        assert "load test" in shell.out
        shell.run("resume", NAME)
        policy = shell.cluster.objects[POLICIES, NAMESPACE, NAME]
        assert policy.part("metadata.annotations").raw == {}

    def test_needs_a_reason(self, shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            shell.run("suspend", NAME)
        assert "--reason TEXT is required" in capsys.readouterr().err


class TestBounds:
    """Those of an autoscaler, which a Scale has raised."""

    @pytest.fixture
    def raised(self, shell: Shell) -> Record:
        bounds = {"minReplicas": 2, "maxReplicas": 4}
        bounds |= {"raisedMinReplicas": 6, "raisedMaxReplicas": 6}
        found = stored(make_rollback(), outcome="Unknown", autoscaler=bounds)
        shell.cluster.put(ROLLBACKS, found)
        return found

    @pytest.mark.parametrize("is_suspended", [True, False])
    def test_are_put_back_by_resuming(
        self, shell: Shell, raised: Record, is_suspended: bool
    ) -> None:
        if is_suspended:
            shell.run("suspend", NAME, "--reason", "load test")
        assert shell.run("resume", NAME) == 0
        assert f"restores the autoscaler bounds that {raised.name} raised" in shell.out
        found = shell.cluster.objects[ROLLBACKS, NAMESPACE, raised.name]
        assert found.part("metadata.annotations").raw == {
            "rollback.tickettoken.io/restore-bounds": "requested"
        }

    def test_are_put_back_though_the_policy_is_gone(self, shell: Shell, raised: Record) -> None:
        del shell.cluster.objects[POLICIES, NAMESPACE, NAME]
        assert shell.run("resume", NAME) == 0
        assert f"there is no policy {NAME} any more; the operator restores" in shell.out
        found = shell.cluster.objects[ROLLBACKS, NAMESPACE, raised.name]
        assert "rollback.tickettoken.io/restore-bounds" in found.part("metadata.annotations").raw
        assert shell.run("resume", "another") == 1

    def test_that_are_put_back_already_are_left_alone(self, shell: Shell, raised: Record) -> None:
        known = {**raised.part("status.autoscaler").raw, "restoredTime": "2027-01-15T09:00:00Z"}
        shell.cluster.put(ROLLBACKS, stored(make_rollback(), autoscaler=known))
        assert shell.run("resume", NAME) == 0
        assert "bounds" not in shell.out

    def test_who_may_not_put_them_back_is_told(self, shell: Shell, raised: Record) -> None:
        shell.cluster.fail_next("patch", REFUSAL)
        assert shell.run("resume", NAME) == 1

    def test_are_explained(self, shell: Shell, raised: Record) -> None:
        assert shell.run("explain", raised.name) == 0
        assert "2 to 4 replicas" in shell.out
        assert "not yet" in shell.out


def test_undo_says_what_runs_so_that_nothing_else_is_undone(shell: Shell) -> None:
    shell.cluster.workload = make_workload("v5", older=("v4",))
    assert shell.run("undo", NAME, "--reason", "customers call", "-o", "json") == 0
    made = json.loads(shell.out)
    assert made["spec"]["seen"] == {"deployment": NAME, "revision": 5, "digest": "digest-v5"}


def trust(shell: Shell, *words: str) -> int:
    return shell.run("trust", NAME, "--reason", "it was the database", *words)


def trusted(shell: Shell) -> list[dict[str, Any]]:
    found = shell.cluster.objects[POLICIES, NAMESPACE, NAME].part("spec").raw.get("trust")
    assert isinstance(found, list)
    return found


class TestTrust:
    def test_puts_a_persons_word_into_the_policy(self, shell: Shell) -> None:
        shell.cluster.workload = make_workload("v3", older=("v2", "v1"))
        assert trust(shell, "--revision", "2") == 0
        (word,) = trusted(shell)
        assert (word["release"], word["revision"]) == ("release-v2", 2)
        assert (word["reason"], word["by"]) == ("it was the database", "ann")
        assert datetime.fromisoformat(word["time"]).tzinfo is not None
        assert "revision 2" in shell.out
        assert "trusted by ann" in shell.out

    def test_is_dated_after_what_it_overrules_also_by_a_slow_clock(self, shell: Shell) -> None:
        later = at(86400)
        said = Condemnation(time=later, message="rolled back by r")
        bad = make_entry("v1", Health.BAD, condemned=said)
        status = RollbackPolicyStatus(revisions=[bad])
        shell.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": status})))
        assert trust(shell, "--revision", "1") == 0
        assert datetime.fromisoformat(trusted(shell)[0]["time"]) == later + timedelta(seconds=1)

    def test_replaces_the_word_on_the_same_release_and_keeps_the_others(self, shell: Shell) -> None:
        shell.cluster.workload = make_workload("v3", older=("v2", "v1"))
        for revision in ("2", "1", "2"):
            assert trust(shell, "--revision", revision) == 0
        assert [one["revision"] for one in trusted(shell)] == [1, 2]

    def test_drops_what_is_gone_where_the_list_is_full(self, shell: Shell) -> None:
        word = {"revision": 9, "reason": "x", "by": "x", "time": "2027-01-15T08:00:00Z"}
        gone = [Trust(release=f"gone-{one}", **word) for one in range(MOST_TRUSTED)]
        shell.cluster.put(POLICIES, stored(make_policy(trust=gone)))
        assert trust(shell, "--revision", "1") == 0
        assert [one["release"] for one in trusted(shell)] == ["release-v1"]

    def test_of_a_revision_that_is_not_there_says_which_are(self, shell: Shell) -> None:
        assert trust(shell, "--revision", "7") == 1
        assert "has no revision 7; it has:\n     2  " in shell.err
        assert "ticket-service:v1  (Good)" in shell.err
        assert "kubectl rollout history" in shell.err

    def test_shows_what_it_would_overrule(self, shell: Shell) -> None:
        assert trust(shell, "--revision", "1", "--dry-run") == 0
        assert "dry run" in shell.out
        assert "Recorded as  Good" in shell.out
        assert shell.cluster.objects[POLICIES, NAMESPACE, NAME].rows("spec.trust") == []

    @pytest.mark.parametrize("words", [(), ("--revision", "0"), ("--revision", "x")])
    def test_takes_the_number_of_a_revision(self, shell: Shell, words: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit) as stopped:
            trust(shell, *words)
        assert stopped.value.code == 2

    def test_is_shown_by_history_and_explain(self, shell: Shell) -> None:
        shell.cluster.put(ROLLBACKS, stored(make_rollback()))
        assert trust(shell, "--revision", "1") == 0
        for words in (("history",), ("explain", f"policy/{NAME}")):
            assert shell.run(*words) == 0
            assert "ann" in shell.out, words
            assert "it was the database" in shell.out, words


@pytest.mark.parametrize("verb", ["undo", "approve", "reject", "trust", "suspend", "resume"])
def test_help_teaches_by_examples(
    shell: Shell, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        shell.run(verb, "--help")
    assert end.value.code == 0
    assert f"kubectl rollback {verb}" in capsys.readouterr().out.partition("examples:")[2]


class TestStopForEverything:
    @pytest.fixture
    def leases(self, shell: Shell) -> Shell:
        for namespace, name, labels in (
            ("rollback-operator", "rollback-operator", {stop.LABEL: "true"}),
            ("kube-system", "scheduler", {}),
        ):
            metadata = {"namespace": namespace, "name": name, "labels": labels}
            shell.cluster.put(LEASES, Record({"metadata": {**metadata, "annotations": {"a": "b"}}}))
        return shell

    def lease(self, shell: Shell, namespace: str, name: str) -> dict[str, Any]:
        return dict(shell.cluster.objects[LEASES, namespace, name].part("metadata.annotations").raw)

    def test_is_put_on_the_operators_lease_and_taken_off(self, leases: Shell) -> None:
        assert leases.run("suspend", "-A", "--reason", "maintenance") == 0
        assert "operator rollback-operator/rollback-operator: stopped" in leases.out
        found = self.lease(leases, "rollback-operator", "rollback-operator")
        assert "by ann" in stop.stop_message(found)
        assert "maintenance" in stop.stop_message(found)
        assert self.lease(leases, "kube-system", "scheduler") == {"a": "b"}

        assert leases.run("suspend", "-A", "--reason", "again") == 0
        assert "was already suspended by ann since 2027-" in leases.out
        assert "Z: maintenance. Your name and reason replace these" in leases.out
        found = self.lease(leases, "rollback-operator", "rollback-operator")
        assert "again" in stop.stop_message(found)

        assert leases.run("resume", "--all-namespaces") == 0
        assert "operator rollback-operator/rollback-operator: resumed" in leases.out
        assert self.lease(leases, "rollback-operator", "rollback-operator") == {"a": "b"}

    def test_a_resume_of_nothing_says_so(self, leases: Shell) -> None:
        assert leases.run("resume", "-A") == 0
        assert leases.out == "operator rollback-operator/rollback-operator: was not suspended\n"

    @pytest.mark.parametrize("words", [("suspend", "-A", "--reason", "x"), ("resume", "-A")])
    def test_a_renewal_in_the_same_moment_is_no_reason_to_fail(
        self, leases: Shell, words: tuple[str, ...]
    ) -> None:
        assert leases.run("suspend", "-A", "--reason", "earlier") == 0
        leases.cluster.fail_next("patch", CONFLICT)
        assert leases.run(*words) == 0, leases.err

    def test_one_operator_that_is_not_reached_keeps_no_other_one_going(self, leases: Shell) -> None:
        for namespace in ("another", "third"):
            metadata = {"namespace": namespace, "name": "b", "labels": {stop.LABEL: "true"}}
            leases.cluster.put(LEASES, Record({"metadata": metadata}))
        leases.cluster.fail_next("patch", GONE)
        assert leases.run("suspend", "-A", "--reason", "x") == 0
        leases.cluster.fail_next("patch", REFUSAL)
        assert leases.run("resume", "-A") == 1
        assert leases.err.count("resumed") == 1
        assert leases.err.count("was not suspended") == 1
        assert leases.err.count("NOT reached") == 1

    def test_the_operator_that_the_chart_names_is_stopped_first_whatever_tenants_label(
        self, leases: Shell
    ) -> None:
        own = "rollback-operator"
        metadata = {"namespace": own, "name": own, "resourceVersion": "1"}  # of an older version
        leases.cluster.put(LEASES, Record({"metadata": metadata}))
        for number in range(40):
            forged = {"namespace": "a", "name": f"l{number}", "labels": {stop.LABEL: "true"}}
            leases.cluster.put(LEASES, Record({"metadata": forged}))
        anchor = {"name": stop.ANCHOR, "annotations": {stop.LABEL: f"{own}/{own}"}}
        leases.cluster.put("validatingadmissionpolicies", Record({"metadata": anchor}))

        assert leases.run("suspend", "-A", "--reason", "x") == 0

        first, *others = leases.out.splitlines()
        assert first == f"operator {own}/{own}: stopped; takes effect within 5 s"
        assert "(by its label; not verified)" in others[0]
        assert stop.ANNOTATION in self.lease(leases, own, own)
        forged = {"namespace": "a", "name": "l0", "labels": {stop.LABEL: "true"}}
        leases.cluster.put(LEASES, Record({"metadata": forged}))
        assert leases.run("undo", NAME, "--dry-run") == 1
        assert "everything is suspended by ann" in leases.err + leases.out

        assert leases.run("resume", "-A") == 0
        assert stop.ANNOTATION not in self.lease(leases, own, own)
        leases.cluster.objects = {
            key: one for key, one in leases.cluster.objects.items() if key[:2] != (LEASES, "a")
        }
        forged |= {"annotations": {stop.ANNOTATION: "x"}}
        leases.cluster.put(LEASES, Record({"metadata": forged}))
        leases.run("undo", NAME, "--dry-run")
        assert "everything is suspended" not in leases.err + leases.out

    def test_without_admission_policies_the_names_are_for_the_person_to_compare(
        self, leases: Shell
    ) -> None:
        assert leases.run("suspend", "-A", "--reason", "x") == 0
        assert "Check that your operator is among these" in leases.out

    def test_needs_a_reason(self, leases: Shell, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            leases.run("suspend", "-A")
        assert "--reason TEXT is required" in capsys.readouterr().err

    def test_without_an_operator_the_way_by_hand_is_told(self, shell: Shell) -> None:
        assert shell.run("suspend", "-A", "--reason", "x") == 1
        assert f"kubectl annotate lease NAME -n NAMESPACE {stop.ANNOTATION}=" in shell.err

    def test_who_may_not_is_told(self, leases: Shell) -> None:
        leases.cluster.fail_next("patch", REFUSAL)
        assert leases.run("suspend", "-A", "--reason", "x") == 1


# -- what is said where something is wrong ---------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", NAME), ("history",), ("explain",), ("suspend", "--reason", "x")],
)
def test_a_namespace_that_does_not_exist_is_named_with_the_nearest(
    shell: Shell, words: tuple[str, ...]
) -> None:
    assert shell.run(*words, "-n", "stagin") == 1
    assert "namespace stagin does not exist in this cluster (did you mean staging?)" in shell.err


@pytest.mark.parametrize("words", [("status",), ("history",)])
def test_an_empty_namespace_and_one_that_may_not_be_listed_are_empty(
    shell: Shell, words: tuple[str, ...]
) -> None:
    assert shell.run(*words, "-n", "staging") == 0
    assert "Nothing found in namespace staging" in shell.out
    shell.cluster.fail_next("namespaces", REFUSAL)
    assert shell.run(*words, "-n", "stagin") == 0


@pytest.mark.parametrize("verb", ["undo", "approve", "reject", "trust", "suspend"])
def test_a_missing_reason_is_answered_with_an_example_and_not_with_the_usage(
    shell: Shell, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--revision", "1"] if verb == "trust" else []
    with pytest.raises(SystemExit) as end:
        shell.run(verb, NAME, *more, "-n", "a b")
    assert end.value.code == 2
    assert shell.logins == []
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("kubectl rollback: --reason TEXT is required; it is stored with")
    given = " ".join([verb, NAME, *more])
    assert rest == [f"kubectl rollback {given} -n 'a b' --reason \"customers call\""]


@pytest.mark.parametrize("prefix", ["deployment", "deployments", "deploy"])
def test_a_policy_may_be_named_by_its_deployment(shell: Shell, prefix: str) -> None:
    policy = make_policy("watcher", target_ref=TargetRef(name=NAME))
    shell.cluster.objects.clear()
    shell.cluster.put(POLICIES, stored(policy))
    assert shell.run("suspend", f"{prefix}/{NAME}", "--reason", "x") == 0
    assert "watcher: suspended" in shell.out


def test_a_container_that_there_is_not_is_named_as_it_was_given(shell: Shell) -> None:
    assert undo(shell, "--image", f"web={OLD_IMAGE}") == 1
    assert "or --image" in shell.err


def test_without_a_known_good_revision_another_one_can_be_named(shell: Shell) -> None:
    status = RollbackPolicyStatus(revisions=[make_entry("v1", health=Health.UNKNOWN)])
    shell.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": status})))
    assert undo(shell) == 1
    back = f"kubectl rollback undo {NAME} -n {NAMESPACE} --to 1 --reason TEXT"
    assert f"To restore revision 1 ({OLD_IMAGE}): {back}" in shell.err


def test_another_namespace_is_offered_in_a_sentence(shell: Shell) -> None:
    shell.cluster.objects.clear()
    assert undo(shell) == 1
    assert "To ask in another namespace: -n NAMESPACE" in shell.err
    shell.run("status")
    assert f"Nothing found in namespace {NAMESPACE}. All namespaces: -A" in shell.out
