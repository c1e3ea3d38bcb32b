"""The two resources on a real API server: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane
from rollback_operator.api.checklist import (
    AppliedMigrations,
    CheckItem,
    CheckName,
    CheckResult,
    Consequence,
)
from rollback_operator.api.notify import Notification
from rollback_operator.api.policy_status import QuarantineEntry, RecentRollback
from rollback_operator.api.remedy import OwnerRecord
from rollback_operator.api.v1alpha1 import (
    Condition,
    Health,
    Hold,
    HoldReason,
    Investigation,
    InvestigationFinding,
    LastRollback,
    LedgerEntry,
    MatrixSeverity,
    Mode,
    Outcome,
    Pace,
    Revision,
    RollbackPlan,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    StepName,
    StepStatus,
    StoredStrategy,
    VerdictValue,
)
from rollback_operator.api.verification import ProbeRecord, VerificationCheck, VerificationResult
from tests.integration import names
from tests.integration.api import Api, ApiError, policies, rollbacks
from tests.integration.manifests import (
    NAMESPACE,
    REVISION,
    WRONG,
    Manifest,
    by_hand,
    policy,
    rollback,
)

pytestmark = pytest.mark.xdist_group("crds")
ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

Change = Callable[[Manifest], None]


DRY = "?dryRun=All&fieldValidation=Strict"
PATHS = {"RollbackPolicy": policies, "Rollback": rollbacks}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        found.kubectl("apply", "-f", str(ROOT / "deploy" / "crds"))
        wait_for_crds(found.kubectl, chart.crd_names())
        found.kubectl("create", "namespace", NAMESPACE)
        yield found


@pytest.fixture(scope="module")
def api(cluster: ControlPlane) -> Iterator[Api]:
    found = Api(cluster.kubeconfig)
    yield found
    found.close()


PLAN = {**rollback()["spec"], "verification": {"http": [], "logs": {"pattern": "ERROR"}}}
NOW = datetime(2030, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC)
CONDITION = Condition(
    type="Ready",
    status="True",
    observed_generation=3,
    last_transition_time=NOW,
    reason="WatchingTarget",
    message="all is well",
)
ENTRY = LedgerEntry(
    number=7,
    template_hash="6d5f9c",
    digest="a" * 64,
    release="b" * 64,
    images=["ticket-service:v1"],
    since=NOW,
    health=Health.GOOD,
    reason="ten minutes without anything bad",
    migrations=AppliedMigrations(count=2, names=["001", "002"], time=NOW),
)
_KNOWN = {"health", "reason", "migrations"}
TOLD = Notification(
    id="u/Started",
    transition="Started",
    channel="slack",
    time=NOW,
    delivered_time=NOW,
    gave_up_time=NOW,
    attempts=2,
    message="503",
    severity="P1",
    text="it failed",
)
FULL_POLICY_STATUS = RollbackPolicyStatus(
    observed_generation=3,
    conditions=[CONDITION],
    revision=Revision(**ENTRY.model_dump(exclude=_KNOWN)),
    last_known_good=Revision(**ENTRY.model_dump(exclude=_KNOWN)),
    verdict=VerdictValue.HEALTHY,
    severity=Severity.P2,
    revisions=[ENTRY],
    recent_rollbacks=[
        RecentRollback(
            name="x",
            deployment="x",
            mode=Mode.ENFORCE,
            severity=MatrixSeverity.P1,
            from_release="x",
            to_release="y",
            outcome=Outcome.VERIFIED,
            decided_time=NOW,
            finished_time=NOW,
        )
    ],
    last_rollback=LastRollback(name="x", outcome=Outcome.VERIFIED, time=NOW),
    quarantine=[
        QuarantineEntry(
            rollback="x",
            release="b" * 64,
            template_hash="6d5f9c",
            images=["ticket-service:v1"],
            image_digests=["sha256:0"],
            until_time=NOW,
        )
    ],
    probes=[ProbeRecord(name="buy", release="b" * 64, passed_time=NOW)],
    notifications=[TOLD],
    hold=Hold(
        reason=HoldReason.SUSPICION,
        message="errors on the new pods",
        deployment="ticket-service",
        deployment_uid="u",
        digest="a" * 64,
        since_time=NOW,
        until_time=NOW,
        paused_time=NOW,
        released_time=NOW,
        release_reason="SuspicionFaded",
        release_message="it faded",
        earlier_seconds=7,
    ),
    investigation=Investigation(
        severity=MatrixSeverity.P3,
        release="b" * 64,
        since=NOW,
        findings=[InvestigationFinding(name="latency", message="slower")],
    ),
)
FULL_ROLLBACK_STATUS = RollbackStatus(
    plan=RollbackPlan.model_validate(PLAN),
    conditions=[CONDITION],
    checklist=[
        CheckItem(
            name=name,
            result=CheckResult.WARNED,
            consequence=Consequence.REQUIRE_APPROVAL,
            message="it is not known",
        )
        for name in CheckName
    ],
    pace=Pace.EXPRESS,
    plan_digest="c" * 64,
    approval_deadline_time=NOW,
    escalated_time=NOW,
    escalated_message="all requests still fail",
    message="it is over",
    notifications=[TOLD],
    severity=MatrixSeverity.P1,
    step=StepName.VERIFY,
    steps=[
        StepStatus(name=name, started_time=NOW, finished_time=NOW, attempts=2, message="done")
        for name in StepName
    ],
    strategy=StoredStrategy(max_surge="25%", max_unavailable="1"),
    owner=OwnerRecord(
        namespace="argocd",
        was_suspended=True,
        automated='{"selfHeal": true}',
        suspended_time=NOW,
        released_time=NOW,
        release_message="Git contains the restored state",
    ),
    verification=[
        VerificationCheck(name="ErrorRate", result=VerificationResult.PASSED, message="0 of 300")
    ],
    outcome=Outcome.VERIFIED,
    finished_time=NOW,
)


def tried(api: Api, manifest: Manifest) -> Manifest:
    """Ask the API server what it would store, under a name that nothing has."""
    body = {**manifest, "metadata": {**manifest["metadata"], "name": "tried"}}
    return api.create(PATHS[manifest["kind"]](NAMESPACE) + DRY, body)


def send(api: Api, manifest: Manifest) -> Manifest:
    """Apply it, as `kubectl apply --server-side` does."""
    name = manifest["metadata"]["name"]
    return api.apply(f"{PATHS[manifest['kind']](NAMESPACE)}/{name}", manifest, "tests")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken_as_it_is(api: Api, path: Path) -> None:
    example = yaml.safe_load(path.read_text())
    stored = tried(api, example)

    assert stored["spec"] == example["spec"]


@pytest.mark.parametrize(("manifest", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_manifest_is_refused_by_the_fields_name(
    api: Api, manifest: Manifest, said: str
) -> None:
    with pytest.raises(ApiError, match=said):
        tried(api, manifest)


def _refused(api: Api, made: Manifest, field: str) -> None:
    with pytest.raises(ApiError, match=re.escape(field)):
        tried(api, made)


@pytest.mark.parametrize("field", names.FIELDS)
def test_a_name_that_leads_elsewhere_is_refused_by_the_fields_name(api: Api, field: str) -> None:
    for one in names.ATTACKS:
        _refused(api, names.FIELDS[field](one), field)


@pytest.mark.parametrize("field", names.OPTIONAL)
def test_a_name_that_need_not_be_there_leads_nowhere_else_either(api: Api, field: str) -> None:
    for one in names.ATTACKS[:-1]:
        _refused(api, names.OPTIONAL[field](one), field)


@pytest.mark.parametrize("field", names.LINES)
def test_a_second_line_is_refused_by_the_fields_name(api: Api, field: str) -> None:
    _refused(api, names.LINES[field]("/a\nb"), field)


@pytest.mark.parametrize("manifest", names.UNUSUAL.values(), ids=names.UNUSUAL)
def test_an_unusual_name_is_taken(api: Api, manifest: Manifest) -> None:
    tried(api, manifest)


def _other_severity(found: Manifest) -> None:
    found["spec"]["severity"] = "P2"


def _other_revision(found: Manifest) -> None:
    found["spec"]["toRevision"]["number"] = 5


def _one_field_less(found: Manifest) -> None:
    del found["spec"]["toRevision"]


def _one_field_more(found: Manifest) -> None:
    found["spec"]["pace"] = "Express"


@pytest.mark.parametrize(
    "change", [_other_severity, _other_revision, _one_field_less, _one_field_more]
)
def test_a_stored_intent_never_changes(api: Api, change: Change) -> None:
    manifest = rollback()
    send(api, manifest)
    change(manifest)

    with pytest.raises(ApiError, match=r"spec: .*immutable except for approval"):
        send(api, manifest)


def test_columns_answer_what_people_ask_first(cluster: ControlPlane, api: Api) -> None:
    send(api, policy())
    send(api, rollback())
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "WatchingTarget",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    status = {
        "summary": "RollingBack",
        "verdict": "Bad",
        "severity": "P1",
        "revision": REVISION,
        "lastRollback": {
            "name": "ticket-service",
            "outcome": "Verified",
            "time": "2030-01-01T00:00:00Z",
        },
        "conditions": [condition],
    }
    _patch_status(api, "RollbackPolicy", status)
    listed = [
        {"name": "References", "result": "Failed", "consequence": "Block", "message": "gone"},
        {"name": "Room", "result": "Warned", "consequence": "Proceed", "message": "little"},
    ]
    verified = {"severity": "P1", "step": "Verify", "outcome": "Verified", "checklist": listed}
    _patch_status(api, "Rollback", verified)

    assert _table(cluster, "rbp") == {
        "NAME": "ticket-service",
        "TARGET": "ticket-service",
        "MODE": "Enforce",
        "READY": "True",
        "STATUS": "RollingBack",
        "SEVERITY": "P1",
        "REVISION": "7",
        "LAST-ROLLBACK": "Verified",
        "VERDICT": "Bad",
        "WHY": "",
    }
    found = _table(cluster, "rbk")
    # The one column with spaces in it comes last but for the age.
    assert found.pop("WHY").startswith("240")
    assert found == {
        "NAME": "ticket-service",
        "POLICY": "ticket-service",
        "SEVERITY": "P1",
        "FROM": "7",
        "TO": "6",
        "STEP": "Verify",
        "OUTCOME": "Verified",
        "CHECKLIST": "gone",
    }


def test_columns_of_a_rollback_made_by_hand_show_what_was_made_of_it(
    cluster: ControlPlane, api: Api
) -> None:
    made = by_hand("by-hand")
    send(api, made)
    assert _table(cluster, "rbk", "by-hand") == {
        "NAME": "by-hand",
        "POLICY": "ticket-service",
        "SEVERITY": "",
        "FROM": "",
        "TO": "",
        "STEP": "",
        "OUTCOME": "",
        "CHECKLIST": "",
        "WHY": "",
    }

    plan = rollback()["spec"]
    _patch_status(api, "Rollback", {"plan": plan, "severity": "P3"}, "by-hand")

    found = _table(cluster, "rbk", "by-hand")
    assert found.pop("WHY").startswith("240")
    assert (found["SEVERITY"], found["FROM"], found["TO"]) == ("P3", "7", "6")


def _patch_status(
    api: Api, kind: str, status: Mapping[str, Any], name: str = "ticket-service"
) -> None:
    api.merge(f"{PATHS[kind](NAMESPACE)}/{name}/status", {"status": status})


def _table(cluster: ControlPlane, kind: str, name: str = "ticket-service") -> dict[str, str]:
    listed = cluster.kubectl("get", kind, name, "--namespace", NAMESPACE, "--output=wide")
    heading, row = listed.splitlines()
    names = [one for one in heading.split() if one != "AGE"]
    begins = [*(heading.index(one) for one in names), heading.index("AGE")]
    cells = [row[begin:end] for begin, end in pairwise(begins)]
    return {one: (cell.split() or [""])[0] for one, cell in zip(names, cells, strict=True)}


def test_a_status_is_no_part_of_what_people_write(api: Api) -> None:
    manifest = policy(mode="Observe") | {"status": {"verdict": "Bad"}}
    manifest["metadata"]["name"] = "fresh"

    stored = send(api, manifest)

    assert "status" not in stored


def test_nothing_of_a_full_status_is_dropped(api: Api) -> None:
    """The API server cuts off what its schema does not know, and says nothing."""
    send(api, policy())
    send(api, rollback())
    for kind, status in (
        ("RollbackPolicy", FULL_POLICY_STATUS),
        ("Rollback", FULL_ROLLBACK_STATUS),
    ):
        # The API server keeps no null.
        written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        _patch_status(api, kind, written)
        read = api.get(f"{PATHS[kind](NAMESPACE)}/ticket-service")["status"]

        assert read == written
        assert type(status).model_validate(read) == status


def test_one_category_lists_both_kinds(cluster: ControlPlane, api: Api) -> None:
    send(api, policy())
    send(api, rollback())
    listed = cluster.kubectl("get", "rollback-operator", "-n", NAMESPACE, "--output=name")

    assert "rollbackpolicy.rollback.tickettoken.io/ticket-service" in listed.split()
    assert "rollback.rollback.tickettoken.io/ticket-service" in listed.split()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("rollbackpolicy", "rolls back bad releases"),
        ("rbp.spec.mode", "Observe evaluates and records; Enforce also acts"),
        ("rbp.spec.matrix.when.atLeast", "equal or greater"),
        ("rbp.spec.safety.express", "maxSurge 100 %"),
        ("rbk.spec.trigger.firstBadTime", "first bad sample"),
    ],
)
def test_explain_tells_what_a_field_is_for(cluster: ControlPlane, field: str, said: str) -> None:
    explained = " ".join(cluster.kubectl("explain", field).split())

    assert said in explained


def test_explain_lists_the_choices(cluster: ControlPlane) -> None:
    explained = cluster.kubectl("explain", "rbp.spec.mode").split()

    assert explained[explained.index("ENUM:") + 1 :][:2] == ["Observe", "Enforce"]
