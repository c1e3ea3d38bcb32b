"""`kubectl rollback status|history|explain|report` as a person meets it, through its entry."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    LastRollback,
    Outcome,
    PolicyRef,
    Remedy,
    RemedyType,
    Revision,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    StepName,
    UndoTo,
    VerdictValue,
)
from rollback_operator.cli.plugin import explanation
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model import conditions, stop
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.releases.usefulness import LAST_FAILED
from rollback_operator.report.wording import next_steps_after
from tests.builders import (
    NAME,
    NAMESPACE,
    at,
    make_ended,
    make_entry,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
)
from tests.kubectl import Shell, stored

POLICIES, ROLLBACKS = "rollbackpolicies", "rollbacks"
DIGEST = "0123456789abcdef"
STATUS = RollbackPolicyStatus(
    verdict=VerdictValue.BAD,
    severity=Severity.P1,
    revisions=[make_entry("v1")],
    last_rollback=LastRollback(name="r", outcome=Outcome.VERIFIED, time=at(180)),
)


GOOD = {"lastKnownGood": {"number": 1, "release": "r1"}}
CHOOSE = "choose a revision, the status names no target: kubectl rollout history deployment/"
UNDO = f"kubectl rollback undo {NAME} -n {NAMESPACE}"


def row(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


@pytest.fixture
def shell() -> Shell:
    found = Shell()
    found.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": STATUS})))
    ended = make_rollback(
        status=make_ended().model_copy(
            update={"steps": [make_step(StepName.UNDO, 1, 3), make_step(StepName.VERIFY, 3, 60)]}
        )
    )
    found.cluster.put(
        ROLLBACKS,
        stored(
            ended,
            checklist=[
                {"name": "Schema", "result": "Warned", "message": "no database is named"},
            ],
            verification=[{"name": "live", "result": "Passed", "message": "200 in 12 ms"}],
            notifications=[
                {
                    "id": "1",
                    "transition": "Started",
                    "channel": "slack",
                    "attempts": 2,
                    "message": "time-out",
                }
            ],
            message="Subject: tickets cannot be bought",
            somethingNew={"of": "tomorrow"},
        ),
    )
    return found


def rollback_name(shell: Shell) -> str:
    return next(name for kind, _, name in shell.cluster.objects if kind == ROLLBACKS)


class TestStatus:
    def test_tells_each_policy_in_a_line(self, shell: Shell) -> None:
        assert shell.run("status") == 0
        head, line, *_ = shell.out.splitlines()
        assert head.split()[:5] == ["POLICY", "TARGET", "MODE", "READY", "STATUS"]
        assert line.split()[:6] == [NAME, NAME, "Enforce", "-", "Bad", "P1"]
        assert "Verified 2m" in line

    def test_is_plain_in_a_pipe_and_coloured_on_a_terminal(self, shell: Shell) -> None:
        shell.run("status")
        plain = shell.out
        shell.shows_colours = True
        shell.run("status")
        assert "\x1b[31mBad\x1b[0m" in shell.out
        assert "\x1b" not in plain
        shell.run("status", "--color", "never")
        assert shell.out == plain

    def test_gives_machines_what_is_stored(self, shell: Shell) -> None:
        shell.run("status", "-o", "json")
        assert json.loads(shell.out)["items"][0]["status"]["verdict"] == "Bad"
        shell.run("status", NAME, "-o", "yaml")
        assert yaml.safe_load(shell.out)["kind"] == "RollbackPolicy"
        shell.run("status", "-o", "name")
        assert shell.out == f"rollbackpolicy.rollback.tickettoken.io/{NAME}\n"

    def test_says_below_what_keeps_a_policy_from_its_work(self, shell: Shell) -> None:
        shell.cluster.put(
            POLICIES,
            stored(
                make_policy("other"),
                conditions=[
                    {
                        "type": "Ready",
                        "status": "False",
                        "reason": "TargetPaused",
                        "message": "kubectl rollout resume",
                    }
                ],
            ),
        )
        shell.run("status")
        assert "other: Ready=False TargetPaused: kubectl rollout resume" in shell.out

    def test_a_refused_pause_and_a_failed_rollback_stand_below(self, shell: Shell) -> None:
        refused = "the undo was refused: the operator may not patch Deployment other"
        shell.cluster.put(
            POLICIES,
            stored(
                make_policy("other").model_copy(update={"status": STATUS}),
                conditions=[
                    row("Ready", "True", "RightMissing", "spec.mode: no permission"),
                    row("Recovered", "False", "StepRefused", refused),
                    row("RolloutHeld", "False", "PauseRefused", "is not paused"),
                    row("SlowSignalsAvailable", "False", "NoSeries", "no series. And much more"),
                ],
            ),
        )
        shell.run("status", "other")
        lines = shell.out.splitlines()
        below = [line for line in lines if line.startswith("other: ")]
        assert [line.split()[1] for line in below] == [
            "NotHeld",
            "Recovered=False",
            "Ready=True",
            "SlowSignalsAvailable=False",
        ]
        assert refused in shell.out
        assert "much more" not in shell.out
        shell.run("explain", "policy/other")
        assert f"StepRefused: {refused}" in words(shell)

    def test_a_warning_of_ready_is_the_next_step_of_a_healthy_policy(self, shell: Shell) -> None:
        status = STATUS.model_copy(update={"verdict": VerdictValue.HEALTHY})
        why = row("Ready", "True", "ChannelUnusable", "spec.notify: slack: correct it")
        shell.cluster.put(
            POLICIES,
            stored(make_policy("other").model_copy(update={"status": status}), conditions=[why]),
        )
        shell.run("status", "other")
        assert "other: Ready=True ChannelUnusable: spec.notify: slack: correct it" in shell.out
        shell.run("explain", "policy/other")
        assert "no action is required" not in shell.out
        assert "Next ChannelUnusable: spec.notify: slack: correct it" in words(shell)

    @pytest.mark.parametrize(
        ("word", "command"),
        [("Paused", "kubectl rollout resume"), ("ScaledToZero", "--replicas=N")],
    )
    def test_an_idle_policy_has_a_next_step(self, shell: Shell, word: str, command: str) -> None:
        status = STATUS.model_copy(update={"summary": word})
        shell.cluster.put(
            POLICIES, stored(make_policy("other").model_copy(update={"status": status}))
        )
        shell.run("status", "other")
        assert command in shell.out

    def test_says_below_why_a_bad_release_is_not_rolled_back(self, shell: Shell) -> None:
        healthy = {
            "type": "Healthy",
            "status": "False",
            "reason": "CooldownActive",
            "message": "81 of 90 failed. Not rolled back: the last one ended 4 min ago",
        }
        shell.cluster.put(POLICIES, stored(make_policy("other"), conditions=[healthy]))
        shell.run("status")
        assert "other: Bad CooldownActive: not rolled back: the last" in shell.out

    @pytest.mark.parametrize("is_judged", [True, False])
    def test_a_bad_release_that_is_back_is_named_with_the_command(
        self, shell: Shell, is_judged: bool
    ) -> None:
        name = rollback_name(shell)
        old = f"{name}: 9 of 9 failed (2030-01-01 00:00:00 UTC); kubectl rollback trust other"
        why = "It is not rolled back automatically again before 2030-01-01 01:00:00 UTC"
        new = f"21 of 21 failed. Not rolled back: {name} rolled it back"
        told = ("CooldownActive", new) if is_judged else ("FoundBad", old)
        said = [
            row("Healthy", "False", *told),
            row("Recovered", "False", "UndoReverted", "the bad release runs again"),
            row("MetricsAvailable", str(is_judged), "ProviderUnreachable", "connection refused"),
        ]
        running = {"number": 4, "release": "r4", "images": ["shop:v3"], "changedBy": "ann"}
        finding = {"time": "2030-01-01T00:00:00Z", "message": "9 of 9", "rollback": name}
        policy = stored(
            make_policy(),
            summary="Bad",
            **GOOD,
            recentRollbacks=[{"name": name, "finishedTime": "2030-01-01T00:00:00Z"}],
            revision={**running, "since": "2030-01-01T00:00:02Z"},
            revisions=[{"number": 4, "release": "r4", "condemned": finding}],
            conditions=said,
        )
        shell.cluster.put(POLICIES, policy)
        back = f"shop:v3 was rolled back by {name} and runs again (by ann, 2030-01-01 00:00:02 UTC)"
        stays = f". {why}" if is_judged else "; it is not judged now: Prometheus does not answer"
        undo = f"kubectl rollback undo {NAME} -n {NAMESPACE} --reason TEXT"
        action = f"to roll it back now: {undo}; then remove the release at its source"

        shell.run("status")

        assert f"{NAME}: Bad {told[0]}: {back}{stays}" in shell.out
        assert f"{NAME}: next: {action}" in shell.out
        assert "trust" not in shell.out
        assert "9 of 9" not in shell.out
        assert "UndoReverted" not in shell.out
        for words_ in ((), (f"policy/{NAME}",)):
            shell.run("explain", *words_)
            assert f"Now {back}{stays}" in words(shell)
            assert f"Next {action}" in words(shell)

    def test_a_release_that_is_not_judged_has_a_next_step(self, shell: Shell) -> None:
        silent = row("MetricsAvailable", "False", "ProviderUnreachable", "connection refused")
        policy = stored(make_policy("other"), summary="Degraded", conditions=[silent], **GOOD)
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        undo = f"kubectl rollback undo other -n {NAMESPACE} --reason TEXT"
        why = "the release is not judged: Prometheus does not answer"
        assert f"other: next: {why}. If users report errors: {undo}" in shell.out

    def test_says_below_what_a_rollback_in_progress_replaces(self, shell: Shell) -> None:
        running = stored(make_rollback(), step="Verify")
        shell.cluster.put(ROLLBACKS, running)
        last = {"name": running.name, "time": "2030-01-01T00:00:00Z"}
        policy = stored(make_policy(), summary="RollingBack", lastRollback=last)
        shell.cluster.put(POLICIES, policy)
        old, new = (running.text(f"spec.{end}Revision.images") for end in ("from", "to"))
        shell.run("status")
        line = next(line for line in shell.out.splitlines() if line.startswith(f"{NAME}: "))
        assert line.startswith(f"{NAME}: RollingBack: {old[2:-2]} -> {new[2:-2]} (")
        assert line.endswith(" requests failed), step Verify; no action is required")

    @pytest.mark.parametrize("minutes", [1, 61])
    def test_says_below_what_was_rolled_back_in_the_last_hour(
        self, shell: Shell, minutes: int
    ) -> None:
        shell.now = at(180 + 60 * minutes)
        time = at(180).isoformat()
        policy = stored(
            make_policy(),
            summary="Healthy",
            lastRollback={"name": "shop-1f0c", "outcome": "Verified", "time": time},
            revision={"number": 3, "release": "r1", "images": ["shop:v1"]},
            revisions=[
                {"release": "r2", "images": ["shop:v2"], "condemned": {"rollback": "shop-1f0c"}},
                {"release": "r1", "images": ["shop:v1"]},
            ],
            conditions=[row("Recovered", "True", "Recovered", "0 of 232 failed")],
        )
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        said = f"{NAME}: shop:v2 was rolled back 60s ago (shop-1f0c); shop:v1 runs as revision 3\n"
        assert (said in shell.out) is (minutes == 1)

    def test_without_a_policy_a_rollback_in_progress_is_named(self, shell: Shell) -> None:
        shell.cluster.objects.clear()
        shell.cluster.put(ROLLBACKS, stored(make_rollback(), step="Verify"))
        assert shell.run("status") == 0
        name = rollback_name(shell)
        assert f"{name} is still in progress; its policy {NAME} does not exist" in shell.out
        assert f"kubectl rollback explain {name} -n {NAMESPACE}\n" in shell.out

    def test_a_rollback_without_its_policy_is_named_beside_other_policies(
        self, shell: Shell
    ) -> None:
        shell.cluster.put(ROLLBACKS, stored(make_rollback("known"), step="Verify"))
        deleted = PolicyRef(name="deleted", uid="uid")
        shell.cluster.put(ROLLBACKS, stored(make_rollback("left", policy_ref=deleted)))
        said = "left is still in progress; its policy deleted does not exist. Progress: kubectl "
        for words_ in (("status",), ("status", "-A")):
            assert shell.run(*words_) == 0
            assert shell.out.startswith(("POLICY", "NAMESPACE"))
            assert f"\n{said}rollback explain left -n {NAMESPACE}\n" in shell.out
            assert "known is still" not in shell.out
        shell.run("status", NAME)
        assert "left" not in shell.out
        shell.run("status", "-o", "name")
        assert "left" not in shell.out

    def test_without_a_rollback_the_release_can_be_explained(self, shell: Shell) -> None:
        shell.cluster.objects.clear()
        shell.cluster.put(POLICIES, stored(make_policy()))
        assert shell.run("explain") == 1
        release = f"kubectl rollback explain policy/{NAME} -n {NAMESPACE}"
        said = f"no Rollback yet in namespace {NAMESPACE}. The running release: {release}"
        assert said in shell.err

    @pytest.mark.parametrize("known", ["NoVerdict", "Degraded"])
    def test_says_below_why_there_is_no_verdict_and_what_to_do(
        self, shell: Shell, known: str
    ) -> None:
        healthy = {
            "type": "Healthy",
            "status": "Unknown",
            "reason": "EnvironmentPreventsPods",
            "message": "an image cannot be pulled: shop:v9",
        }
        unread = {
            "type": "MetricsAvailable",
            "status": "False",
            "reason": "NoSeries",
            "message": "there are no series",
        }
        policy = stored(make_policy("other"), summary=known, conditions=[healthy, unread])
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        assert f"other: {known} EnvironmentPreventsPods: an image cannot be pulled" in shell.out
        action = "fix the cause that prevents the new pods from starting, or roll back"
        assert f"other: next: {action}: {CHOOSE}{NAME} -n {NAMESPACE}" in shell.out
        assert "kubectl rollback undo other" not in shell.out

    def test_names_a_new_pod_that_cannot_start_while_nothing_is_judged(self, shell: Shell) -> None:
        healthy = {
            "type": "Healthy",
            "status": "Unknown",
            "reason": "PodFailing",
            "message": "shop-1: ImagePullBackOff",
        }
        policy = stored(make_policy("other"), summary="Watching", conditions=[healthy])
        shell.cluster.put(POLICIES, policy)

        shell.run("status")

        assert "other: Watching PodFailing: shop-1: ImagePullBackOff" in shell.out
        assert "other: next: correct the release, or wait" in shell.out

        healthy["message"] = "shop-1 container shop: InvalidImageName"
        policy = stored(make_policy("other"), summary="Watching", conditions=[healthy], **GOOD)
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        undo = f"kubectl rollback undo other -n {NAMESPACE} --reason TEXT"
        action = f"correct the image name in the pod template, or roll back: {undo}"
        assert f"other: next: {action}" in shell.out

    def test_explains_pods_that_do_not_start_by_what_keeps_them_from_it(self, shell: Shell) -> None:
        healthy = {
            "type": "Healthy",
            "status": "Unknown",
            "reason": "EnvironmentPreventsPods",
            "message": "an image cannot be pulled: shop:v9",
        }
        unread = {"type": "MetricsAvailable", "status": "False", "reason": "NoSeries"}
        policy = stored(make_policy("other"), summary="Degraded", conditions=[healthy, unread])
        shell.cluster.put(POLICIES, policy)
        shell.run("explain", "policy/other")
        first = shell.out.splitlines()[:6]
        assert any("an image cannot be pulled: shop:v9" in line for line in first)
        assert any("prevents the new pods from starting" in line for line in first)

    def test_says_below_what_follows_on_a_rollback_that_was_rejected(self, shell: Shell) -> None:
        healthy = {
            "type": "Healthy",
            "status": "False",
            "reason": "ErrorRateAboveControl",
            "message": "81 of 90 failed",
        }
        last = {"name": "other-1f0c", "time": "2030-01-01T00:00:00Z", "outcome": "Rejected"}
        shell.cluster.put(
            POLICIES,
            stored(
                make_policy("other"),
                summary="Bad",
                lastRollback=last,
                conditions=[healthy],
                **GOOD,
            ),
        )
        shell.run("status")
        assert "other: Bad ErrorRateAboveControl: 81 of 90 failed" in shell.out
        said = "other-1f0c ended as Rejected: roll back manually: kubectl rollback undo other"
        assert f"other: next: {said} -n {NAMESPACE} --reason TEXT" in shell.out
        shell.run("explain", "policy/other")
        assert said in shell.out

    def test_one_command_follows_on_a_rollback_that_changed_nothing(self, shell: Shell) -> None:
        undo = f"kubectl rollback undo other -n {NAMESPACE} --to previous --reason TEXT"
        open_ = f"no decision. Nothing was rolled back: it still runs. To roll back: {undo}; a"
        policy = stored(
            make_policy("other"),
            summary="Bad",
            lastRollback={"name": "other-1f0c", "time": "2030-01-01T00:00:00Z"}
            | {"outcome": "Abandoned"},
            conditions=[
                row("Healthy", "False", "ErrorRateAboveControl", "81 of 90 failed"),
                row("Recovered", "Unknown", "ApprovalTimedOut", open_),
            ],
        )
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        assert (
            f"other: next: other-1f0c ended as Abandoned: roll back manually: {undo}" in shell.out
        )
        assert shell.out.count("kubectl rollback undo") == shell.out.count(undo) == 2

    def test_the_end_of_a_rollback_of_another_release_advises_nothing(self, shell: Shell) -> None:
        rows = [
            {"type": "Healthy", "status": "False", "reason": "ErrorRateAboveControl"},
            {"type": "Recovered", "status": "Unknown", "reason": "NotRolledBack"},
        ]
        last = {"name": "other-1f0c", "time": "2030-01-01T00:00:00Z", "outcome": "Abandoned"}
        status = {"summary": "Bad", "lastRollback": last, "conditions": rows}
        shell.cluster.put(POLICIES, stored(make_policy("other"), **status))
        shell.run("explain", "policy/other")
        assert "ended as Abandoned" not in shell.out
        assert "decides again at each evaluation" in shell.out

    def test_says_nothing_of_a_rollback_of_a_release_that_no_longer_runs(
        self, shell: Shell
    ) -> None:
        gone = {"release": "r5", "images": ["shop:v5"], "condemned": {"rollback": "other-1f0c"}}
        policy = stored(
            make_policy("other"),
            summary="Bad",
            lastRollback={"name": "other-1f0c", "time": "2030-01-01T00:00:00Z"}
            | {"outcome": "Abandoned"},
            revision={"number": 6, "release": "r6"},
            revisions=[gone],
            conditions=[row("Healthy", "False", "ErrorRateAboveControl", "81 of 90 failed")],
        )
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        assert "other: next: the operator decides again at each evaluation" in shell.out
        assert "ended as" not in shell.out

    def test_no_severity_is_a_dash(self, shell: Shell) -> None:
        shell.cluster.put(POLICIES, stored(make_policy("other")))
        shell.run("status")
        assert "None" not in shell.out

    @pytest.mark.parametrize(
        ("approved", "wanted"),
        [
            (
                {"status": "Unknown", "reason": "ApprovalNeeded", "message": "Room: too little"},
                "100 of 100 requests failed. Room: too little. Decide by 2030-01-01 00:00:00 UTC: "
                f"kubectl rollback approve {{name}} -n {NAMESPACE} --reason TEXT (or reject)",
            ),
            (
                {
                    "status": "False",
                    "reason": "ApprovalUnprotected",
                    "message": "no decision counts here. To go back: kubectl rollout undo",
                },
                "100 of 100 requests failed. "
                "no decision counts here. To go back: kubectl rollout undo",
            ),
        ],
    )
    def test_says_below_what_a_person_is_asked_and_how_it_is_answered(
        self, shell: Shell, approved: dict[str, str], wanted: str
    ) -> None:
        waiting = stored(
            make_rollback(),
            step="AwaitingApproval",
            approvalDeadlineTime="2030-01-01T00:00:00Z",
            conditions=[{"type": "Approved", **approved}],
        )
        shell.cluster.put(ROLLBACKS, waiting)
        last = {"name": waiting.name, "time": "2030-01-01T00:00:00Z"}
        policy = stored(make_policy("other"), summary="AwaitingApproval", lastRollback=last)
        shell.cluster.put(POLICIES, policy)
        shell.run("status")
        assert f"other: AwaitingApproval: {wanted.format(name=waiting.name)}\n" in shell.out

    def test_says_where_to_read_what_a_person_is_asked(self, shell: Shell) -> None:
        last = {"name": "other-1f0c", "time": "2030-01-01T00:00:00Z"}
        shell.cluster.put(
            POLICIES,
            stored(make_policy("other"), summary="AwaitingApproval", lastRollback=last),
        )
        shell.run("status")
        assert f"to see the plan: kubectl rollback explain other-1f0c -n {NAMESPACE}" in (shell.out)

    def test_a_suspended_policy_is_told_as_such(self, shell: Shell) -> None:
        shell.cluster.put(POLICIES, stored(make_policy(suspend=True)))
        shell.run("status")
        assert "Suspended" in shell.out

    @pytest.mark.parametrize(
        ("ready", "is_suspended", "is_watched"),
        [
            (row("Ready", "True", "WatchingTarget", ""), False, True),
            (row("Ready", "False", "GitOpsOwner", "Argo CD"), False, True),
            (row("Ready", "True", "WatchingTarget", ""), True, False),
            (row("Ready", "False", "TargetPaused", "paused"), False, False),
            (row("Ready", "False", "EverythingSuspended", "by ann"), False, False),
        ],
    )
    def test_a_revision_that_is_not_watched_now_is_the_last_that_was(
        self, shell: Shell, ready: dict[str, str], is_suspended: bool, is_watched: bool
    ) -> None:
        policy = make_policy(suspend=is_suspended)
        running = {"number": 4, "images": ["shop:v4"]}
        shell.cluster.put(POLICIES, stored(policy, revision=running, conditions=[ready]))
        shell.run("status")
        assert ("4 (last watched)" in shell.out) is not is_watched
        shell.run("explain", f"policy/{NAME}")
        head = "Running" if is_watched else "Last watched"
        assert f"{head} revision 4: shop:v4" in words(shell)

    def test_looks_where_it_is_told_to(self, shell: Shell) -> None:
        words = ("-n", "else", "--context", "c", "--kubeconfig", "k", "--as", "ann")
        assert shell.run("status", *words) == 0
        assert shell.out == "Nothing found in namespace else. All namespaces: -A\n"
        login = shell.logins[-1]
        assert (login.context, login.kubeconfig, login.user) == ("c", "k", "ann")
        shell.run("status", "-A")
        assert shell.out.startswith("NAMESPACE")

    def test_of_the_whole_cluster_a_policy_may_be_named_as_elsewhere(self, shell: Shell) -> None:
        assert shell.run("status", f"policy/{NAME}", "-A") == 0
        assert NAME in shell.out.splitlines()[1]
        assert shell.run("status", "nope", "-A") == 1
        assert "no policy of the cluster is called nope" in shell.err
        assert shell.run("status", "rollback/r", "-A") == 1

    def test_of_the_whole_cluster_what_is_wrong_is_told_with_the_namespace(
        self, shell: Shell
    ) -> None:
        unread = {"status": "False", "reason": "NoSeries", "message": "no histogram"}
        condition = {"type": "SlowSignalsAvailable", **unread}
        shell.cluster.put(POLICIES, stored(make_policy(), conditions=[condition]))
        shell.run("status", "-A")
        wanted = f"{NAMESPACE}/{NAME}: SlowSignalsAvailable=False NoSeries: no histogram"
        assert wanted in shell.out

    def test_a_terminal_does_not_obey_what_the_note_of_a_suspension_says(
        self, shell: Shell
    ) -> None:
        note = {"by": "\x1b[2J\u202eroot", "reason": "\x9b8mx\nb", "time": "now\nshop: resumed"}
        one = stored(make_policy(suspend=True))
        metadata = {
            **one.part("metadata").raw,
            "annotations": {stop.ANNOTATION: json.dumps(note, ensure_ascii=False)},
        }
        shell.cluster.put(POLICIES, Record({**one.raw, "metadata": metadata}))
        shell.run("status")
        assert "suspended by [2J root since now shop: resumed: 8mx b" in shell.out
        assert not {"\x1b", "\x9b", "\u202e"} & set(shell.out)

    def test_an_error_is_printed_as_text(self, shell: Shell) -> None:
        assert shell.run("status", "a\x1b[2J") != 0
        assert "\x1b" not in shell.err

    def test_a_terminal_does_not_obey_what_a_message_quotes(self, shell: Shell) -> None:
        quoted = {"type": "Ready", "status": "False", "reason": "X", "message": "\x1b]0;a\x07b"}
        shell.cluster.put(POLICIES, stored(make_policy(), conditions=[quoted]))
        shell.run("status")
        assert "\\x1b]0;a\\x07b" in shell.out
        assert "\x1b" not in shell.out

    @pytest.mark.parametrize("words", [("status", "-A"), ("status",), ("explain",), ("report",)])
    def test_a_name_that_is_nearly_right_is_suggested(
        self, shell: Shell, words: tuple[str, ...]
    ) -> None:
        assert shell.run(*words, NAME.replace("t-s", "ts")) == 1
        assert f"did you mean {NAME}?" in shell.err

    def test_a_wrong_name_is_answered_with_the_right_ones(self, shell: Shell) -> None:
        assert shell.run("status", "nope") == 1
        assert f"has: {NAME}" in shell.err
        assert shell.out == ""


class TestHistory:
    def test_tells_each_rollback_in_a_line(self, shell: Shell) -> None:
        assert shell.run("history") == 0
        line = shell.out.splitlines()[1].split()
        assert line[0] == rollback_name(shell)
        assert "Verified" in line

    def test_of_a_policy_or_its_deployment_only(self, shell: Shell) -> None:
        shell.run("history", "policy/other")
        assert shell.out.startswith("Nothing found")
        shell.run("history", NAME, "-o", "wide")
        assert "rollback-operator" in shell.out


class TestExplain:
    def test_tells_the_newest_rollback_whole(self, shell: Shell) -> None:
        assert shell.run("explain") == 0
        for wanted in (
            "Why",
            "requests failed",
            "Odds that the new revision is worse",
            "Warned  Schema  no database is named",
            "Undo",
            "Passed  live  200 in 12 ms",
            "not delivered  2 attempts; time-out",
        ):
            assert wanted in shell.out

    def test_tells_the_end_once(self, shell: Shell) -> None:
        said = "0 of 200 requests have failed"
        done = conditions.condition(ConditionType.COMPLETE, True, Reason.RECOVERED, said)
        ended = make_ended().model_copy(update={"conditions": [done]})
        step = make_step(StepName.VERIFY, 3, 60).model_copy(update={"message": said})
        over = make_rollback(status=ended.model_copy(update={"steps": [step]}))
        shell.cluster.put(ROLLBACKS, stored(over))
        shell.run("explain")
        assert shell.out.count(said) == 1

    def test_shows_no_bookkeeping_of_the_operator(self, shell: Shell) -> None:
        policy = stored(make_policy(), deployment="shop", later="x")
        shell.cluster.put(POLICIES, policy)
        shell.run("explain", f"policy/{NAME}")
        assert "\ndeployment\n" not in shell.out
        assert "None" not in shell.out
        assert shell.out.endswith("later\n  x\n")

    def test_leaves_the_message_to_people_to_the_report(self, shell: Shell) -> None:
        shell.run("explain")
        assert "tickets cannot be bought" not in shell.out  # each fact of it stands there already

    def test_begins_with_outcome_cause_and_what_to_do(self, shell: Shell) -> None:
        shell.run("explain")
        lines = [one.split() for one in shell.out.splitlines()[:5]]
        assert [one[0] for one in lines if one][:4] == ["Rollback", "Outcome", "Cause", "Next"]
        assert lines[1][1] == "Verified"
        assert shell.out.count("all purchases fail") == 1
        shell.run("explain", f"policy/{NAME}")
        lines = [one.split() for one in shell.out.splitlines()[:5]]
        assert [one[0] for one in lines if one][:3] == ["RollbackPolicy", "Status", "Next"]
        assert f"To roll back manually: {CHOOSE}{NAME} -n {NAMESPACE}" in shell.out

    def test_shows_fields_of_operators_to_come(self, shell: Shell) -> None:
        shell.run("explain")
        assert "somethingNew\n  of: tomorrow" in shell.out

    def test_tells_what_is_thought_of_the_running_release(self, shell: Shell) -> None:
        assert shell.run("explain", NAME) == 0
        assert "RollbackPolicy" in shell.out
        assert "Ledger" in shell.out

    def test_names_the_way_to_decide_while_an_approval_is_awaited(self, shell: Shell) -> None:
        waiting = stored(make_rollback(), step="AwaitingApproval", planDigest="abc")
        shell.cluster.put(ROLLBACKS, waiting)
        shell.run("explain", waiting.name)
        assert f"kubectl rollback approve {waiting.name}" in shell.out
        assert "awaited" in shell.out

    def test_the_limit_of_the_matrix_is_not_taken_for_that_of_the_decision(
        self, shell: Shell
    ) -> None:
        trigger = make_trigger_record().model_copy(update={"deadline_time": at(300)})
        waiting = stored(make_rollback(trigger=trigger), step="AwaitingApproval")
        shell.cluster.put(ROLLBACKS, waiting)
        shell.run("explain", waiting.name)
        assert f"Limit to prove it {at(300):%Y-%m-%d %H:%M:%S} UTC" in words(shell)
        assert "Deadline" not in shell.out

    def test_tells_of_a_verification_that_is_under_way(self, shell: Shell) -> None:
        step = make_step(StepName.VERIFY, 3)
        status = make_rollback().status.model_copy(update={"steps": [step]})
        going = stored(make_rollback(status=status), step="Verify")
        shell.cluster.put(ROLLBACKS, going)
        shell.run("explain", going.name)
        assert "\nVerification\n  in progress for at most 10m" in shell.out
        failing = [{"name": "live", "result": "Failed", "message": "503"}]
        shell.cluster.put(
            ROLLBACKS, stored(make_rollback(status=status), step="Verify", verification=failing)
        )
        shell.run("explain", going.name)
        assert "in progress for at most" not in shell.out
        assert "503" in shell.out

    def test_a_rollback_that_is_not_there_is_answered_with_where_to_look(
        self, shell: Shell
    ) -> None:
        assert shell.run("explain", "rollback/nope") == 1
        assert "kubectl rollback history -A" in shell.err

    def test_an_unknown_kind_is_refused(self, shell: Shell) -> None:
        assert shell.run("explain", "pod/x") == 1
        assert "use rollback/NAME, policy/NAME or deployment/NAME" in shell.err


class TestReport:
    def test_writes_markdown(self, shell: Shell) -> None:
        assert shell.run("report") == 0
        assert shell.out.startswith("# Incident: ")
        for head in ("## Cause", "## Timeline", "## Checklist", "## Verification"):
            assert head in shell.out

    @pytest.mark.parametrize("outcome", ["Verified", "Failed", "OfANewerOperator"])
    def test_gives_the_next_steps_of_the_notifications(self, shell: Shell, outcome: str) -> None:
        shell.cluster.put(ROLLBACKS, stored(make_rollback(), outcome=outcome))
        steps = next_steps_after(outcome, "", is_flag=False)
        assert shell.run("report") == 0
        assert all(f"- {step}\n" in shell.out for step in steps)
        assert shell.run("explain") == 0
        assert all(step in shell.out for step in steps)

    @pytest.mark.parametrize(
        ("outcome", "reason"),
        [("Abandoned", "ApprovalTimedOut"), ("Rejected", "RejectedByPerson")],
    )
    def test_after_no_approval_the_next_step_is_the_way_out(
        self, outcome: str, reason: str
    ) -> None:
        steps = next_steps_after(outcome, reason, is_flag=False)
        assert "run the command in the message of the outcome" in steps[0]

    @pytest.mark.parametrize("reason", ["TargetMoved", "TargetPaused"])
    @pytest.mark.parametrize("is_flag", [False, True])
    def test_an_abandoned_rollback_is_not_said_to_have_changed_nothing(
        self, reason: str, is_flag: bool
    ) -> None:
        steps = next_steps_after("Abandoned", reason, is_flag=is_flag)
        assert "not rolled back" not in " ".join(steps)
        assert ("evaluated as any other release" in steps[0]) == (reason == "TargetMoved")

    def test_what_others_wrote_is_no_markup(self, shell: Shell) -> None:
        evil = stored(make_rollback(status=make_ended()))
        spec = {**evil.part("spec").raw, "trigger": {"message": "<script>a|b"}}
        shell.cluster.put(ROLLBACKS, type(evil)({**evil.raw, "spec": spec}))
        shell.run("report")
        assert "&lt;script&gt;a\\|b" in shell.out
        assert "<script>" not in shell.out


FAILURES = [
    pytest.param(
        Failure(FailureKind.UNAVAILABLE, "GET /: connection refused"), 2, "--context", id="outage"
    ),
    pytest.param(
        Failure(FailureKind.REJECTED, "403 Forbidden"), 1, "kubectl auth can-i", id="no right"
    ),
    pytest.param(
        Failure(FailureKind.GONE, "404 page not found"), 1, "Install its chart", id="no kinds"
    ),
]


@pytest.mark.parametrize(("failure", "status", "remedy"), FAILURES)
def test_a_refusal_names_the_remedy(
    shell: Shell, failure: Failure, status: int, remedy: str
) -> None:
    shell.cluster.fail_next("list", failure)
    assert shell.run("status") == status
    assert remedy in shell.err


def test_without_a_verb_the_verbs_are_listed() -> None:
    found = Shell()
    assert found.run() == 0
    assert "explain a decision" in found.out
    assert found.logins == []


@pytest.mark.parametrize("verb", ["status", "history", "explain", "report", "completion"])
def test_help_teaches_by_examples(
    shell: Shell, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        shell.run(verb, "--help")
    assert end.value.code == 0
    assert f"kubectl rollback {verb}" in capsys.readouterr().out.partition("examples:")[2]


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "wanted"),
        [
            pytest.param(["st"], ["status"], id="verbs"),
            pytest.param(["status", "tick"], [NAME], id="policies"),
            pytest.param(["status", "-o", "js"], ["json"], id="values"),
            pytest.param(["status", "--all"], ["--all-namespaces"], id="options"),
            pytest.param(["completion", "f"], ["fish"], id="shells"),
            pytest.param(["nonsense", ""], [], id="nothing"),
        ],
    )
    def test_offers_what_may_follow(
        self, shell: Shell, words: list[str], wanted: list[str]
    ) -> None:
        assert shell.run("__complete", *words) == 0
        assert shell.out.splitlines() == [*wanted, ":4"]

    def test_asks_the_cluster_that_is_meant(self, shell: Shell) -> None:
        shell.run("__complete", "explain", "-n", "else", "--context=c", "")
        assert (shell.logins[-1].namespace, shell.logins[-1].context) == ("else", "c")

    def test_is_silent_where_the_cluster_is(self, shell: Shell) -> None:
        shell.cluster.fail_next("list", FAILURES[0].values[0])
        assert shell.run("__complete", "history", "") == 0
        assert shell.out == ":4\n"

    @pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
    def test_gives_a_script_without_a_cluster(self, shell: Shell, name: str) -> None:
        assert shell.run("completion", name) == 0
        assert "kubectl-rollback __complete" in shell.out
        if name == "zsh":  # whose plain arrays lose the empty word that is completed
            assert '"${(@)words[2,CURRENT]}"' in shell.out
        assert shell.logins == []


# -- explain knows every field ---------------------------------------------------------------------


def words(shell: Shell) -> str:
    return " ".join(shell.out.split())


@pytest.mark.parametrize(
    ("model", "known"),
    [
        pytest.param(RollbackPolicyStatus, explanation.POLICY_KNOWN, id="policy"),
        pytest.param(RollbackStatus, explanation.ROLLBACK_KNOWN, id="rollback"),
    ],
)
def test_no_field_of_this_version_is_explained_as_raw_yaml(
    model: type[BaseModel], known: frozenset[str]
) -> None:
    fields = {one.alias or name for name, one in model.model_fields.items()}
    assert sorted(fields - known) == []
    assert sorted(known - fields) == []


def test_what_was_done_about_a_gitops_owner_is_explained(shell: Shell) -> None:
    stopped = stored(
        make_rollback(status=make_ended()),
        owner={"namespace": "argocd", "suspendedTime": "2027-01-15T08:00:00Z"},
    )
    shell.cluster.put(ROLLBACKS, stopped)
    shell.run("explain", stopped.name)
    assert "Suspended 2027-01-15 08:00:00 UTC" in words(shell)
    assert "Released not yet" in words(shell)


UNTIL = "2027-01-15T08:16:00Z"


def test_since_when_a_release_is_watched_is_explained(shell: Shell) -> None:
    times = {"watchedSince": "2027-01-15T08:10:00Z", "watchedUntil": UNTIL}
    shell.cluster.put(POLICIES, stored(make_policy(), **times))
    shell.run("explain", f"policy/{NAME}")
    assert "Watched since 2027-01-15 08:10:00 UTC" in words(shell)
    assert "Evaluated until at least 2027-01-15 08:16:00 UTC" in words(shell)
    for begin in ({"watchedSince": "2027-01-15T08:16:00Z"}, {"revision": {"since": UNTIL}}):
        whole = {"watchedUntil": UNTIL, **begin}
        shell.cluster.put(POLICIES, stored(make_policy(), **whole))
        shell.run("explain", f"policy/{NAME}")
        assert "Evaluated until" not in shell.out, "the watch has begun, and nothing is evaluated"


# -- what people have done -------------------------------------------------------------------------


def test_a_suspended_policy_says_that_it_is_why(shell: Shell) -> None:
    suspended = {
        "type": "Ready",
        "status": "True",
        "reason": "Suspended",
        "message": "spec.suspend is true: automatic evaluation and rollback are suspended",
    }
    watched = {"type": "Healthy", "status": "Unknown", "reason": "NoReleaseWatched", "message": "x"}
    one = stored(make_policy(suspend=True), conditions=[suspended, watched])
    shell.cluster.put(POLICIES, one)
    shell.run("explain", f"policy/{NAME}")
    assert "Cause spec.suspend is true: automatic evaluation and" in words(shell)
    shell.run("status")
    assert f"{NAME}: Suspended: spec.suspend is true" in words(shell)
    assert f"kubectl rollback resume {NAME} -n {NAMESPACE}" in words(shell)


def test_who_has_rejected_a_request_by_hand_may_ask_again(shell: Shell) -> None:
    done = {
        "type": "Complete",
        "status": "True",
        "reason": "RejectedByPerson",
        "message": "rejected by ann: no",
    }
    made = stored(
        make_rollback(
            status=make_ended(Outcome.REJECTED),
            requested_by="ann",
            reason="x",
            remedy=Remedy(type=RemedyType.UNDO, to=UndoTo.PREVIOUS),
        ),
        conditions=[done],
    )
    shell.cluster.put(ROLLBACKS, made)
    shell.run("explain", made.name)
    assert "Outcome Rejected by ann: no" in words(shell)
    assert "Fix forward" not in words(shell)
    assert f"To repeat it: kubectl rollback undo {NAME} -n {NAMESPACE} --to previous" in words(
        shell
    )


def test_a_refused_request_is_explained_by_the_refusal(shell: Shell) -> None:
    done = row("Complete", "True", "TargetPaused", "the Deployment is paused")
    spec = {"policyRef": {"name": NAME}, "remedy": {"type": "Undo", "to": "Previous"}}
    metadata = {"name": "asked", "namespace": NAMESPACE, "creationTimestamp": UNTIL}
    made = {
        "kind": "Rollback",
        "metadata": metadata,
        "spec": {**spec, "reason": "get it out", "requestedBy": "ann"},
        "status": {"outcome": "Refused", "conditions": [done]},
    }
    shell.cluster.put(ROLLBACKS, Record(made))
    shell.run("explain", "asked")
    said = "TargetPaused: the Deployment is paused"
    assert f"Outcome Refused Cause {said} Reason given get it out Next " in words(shell)
    assert "Why" not in shell.out
    shell.run("report", "asked")
    assert f"## Cause {said} " in words(shell)
    assert "| Reason given | get it out |" in shell.out
    shell.run("history", "-o", "wide")
    assert f" ann {said}" in words(shell)


def test_a_person_gives_no_severity(shell: Shell) -> None:
    made = stored(make_rollback(status=make_ended(), requested_by="ann", reason="x"), severity="P3")
    shell.cluster.put(ROLLBACKS, made)
    for asked in (("history",), ("explain", made.name), ("report", made.name)):
        shell.run(*asked)
        assert "P3" not in shell.out


def test_what_would_be_gone_back_to_is_not_called_good_where_it_is_not(shell: Shell) -> None:
    entry = make_entry("v1", health=Health.ASSUMED)
    status = RollbackPolicyStatus(
        revisions=[entry],
        last_known_good=Revision(
            number=entry.number, template_hash="x", digest=DIGEST, release=entry.release
        ),
    )
    shell.cluster.put(POLICIES, stored(make_policy().model_copy(update={"status": status})))
    shell.run("explain", f"policy/{NAME}")
    assert "Last known good" not in words(shell)
    assert "Would roll back to revision 1 (Assumed: never observed as good)" in words(shell)


@pytest.mark.parametrize(
    ("said", "target", "option"),
    [
        ("bad", {"number": 3}, ""),
        (f"bad. To restore revision 3 (shop:v3): {UNDO} --to 3 --reason TEXT", None, " --to 3"),
    ],
    ids=["there is a target", "as Healthy says"],
)
def test_the_next_step_quotes_an_undo_that_is_not_refused(
    shell: Shell, said: str, target: dict[str, int] | None, option: str
) -> None:
    revisions = [
        {"number": number, "release": f"r{number}", "health": health}
        for number, health in ((4, "Bad"), (3, "Bad"), (2, "Unknown"))
    ]
    policy = stored(
        make_policy(),
        summary="Bad",
        revision={"number": 4, "release": "r4", "images": ["shop:v4"]},
        revisions=revisions,
        conditions=[row("Healthy", "False", "NoTargetRevision", said)],
        **({"lastKnownGood": target} if target else {}),
    )
    shell.cluster.put(POLICIES, policy)

    shell.run("status")

    assert f"To roll back manually: {UNDO}{option} --reason TEXT" in shell.out


@pytest.mark.parametrize(
    "good", [{}, {"lastKnownGood": {"number": 4, "release": "r4"}}], ids=["none", "it runs"]
)
def test_no_revision_of_the_record_is_offered_for_it_may_be_deleted(
    shell: Shell, good: dict[str, Any]
) -> None:
    policy = stored(
        make_policy(),
        summary="Bad",
        revision={"number": 4, "release": "r4", "images": ["shop:v4"]},
        revisions=[{"number": 2, "release": "r2", "health": "Unknown"}],
        conditions=[row("Healthy", "False", "CooldownActive", "bad")],
        **good,
    )
    shell.cluster.put(POLICIES, policy)

    shell.run("status")

    assert f"To roll back manually: {CHOOSE}{NAME} -n {NAMESPACE}" in shell.out
    assert "kubectl rollback undo" not in shell.out


def test_the_next_step_is_trust_where_all_others_are_known_bad(shell: Shell) -> None:
    trust = f"kubectl rollback trust {NAME} -n {NAMESPACE} --revision 3 --reason TEXT"
    said = f"bad. Revision 3 is recorded as Bad. If it is good, trust it first: {trust}"
    policy = stored(
        make_policy(),
        summary="Bad",
        revision={"number": 4, "release": "r4", "images": ["shop:v4"]},
        conditions=[row("Healthy", "False", "NoTargetRevision", said)],
    )
    shell.cluster.put(POLICIES, policy)

    shell.run("status")

    assert f"To roll back manually: {trust}" in shell.out


@pytest.mark.parametrize(
    ("runs", "good", "expected"),
    [
        ("not Good: at least half of its requests failed", "", f"{UNDO} --reason TEXT"),
        ("not Good: at least half of its requests failed", LAST_FAILED, "choose a revision"),
        ("", "", ""),
    ],
    ids=["to what is good", "not to what failed last", "fails less"],
)
def test_the_next_step_of_a_suspect_release_that_fails_names_an_undo(
    shell: Shell, runs: str, good: str, expected: str
) -> None:
    revisions = [
        {"number": 3, "release": "r3", "health": "Unknown", "reason": runs},
        {"number": 2, "release": "r2", "health": "Unknown"},
        {"number": 1, "release": "r1", "health": "Good", "reason": good},
    ]
    policy = stored(
        make_policy(),
        summary="Suspect",
        revision={"number": 3, "release": "r3", "images": ["shop:v3"]},
        revisions=revisions,
        lastKnownGood={"number": 1, "release": "r1"},
        conditions=[row("Healthy", "Unknown", "EnvironmentSuspected", "it fails")],
    )
    shell.cluster.put(POLICIES, policy)

    shell.run("status")

    assert "next: check the service" in shell.out
    undo = "To roll back all the same: "
    assert (undo in shell.out) is bool(expected)
    assert not expected or f"{undo}{expected}" in shell.out
