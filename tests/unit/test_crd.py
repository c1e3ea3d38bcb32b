"""The CRDs: made from the models, structural (KEP-2335), bounded, and complete."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, Field, ValidationError

from rollback_operator.api.checklist import Approval, CheckItem, CheckName, CheckResult
from rollback_operator.api.crd import (
    NotStructuralError,
    custom_resource_definition,
    structural,
)
from rollback_operator.api.database.rolling_back import DataLoss, MigrationRecord
from rollback_operator.api.policy_status import NotRecovered
from rollback_operator.api.remedy import (
    AutoscalerPlan,
    AutoscalerRecord,
    ConfigMapPlan,
    OwnerPlan,
    OwnerRecord,
    TrafficPlan,
    TrafficRecord,
)
from rollback_operator.api.rollback import SeenByPerson
from rollback_operator.api.safety import DiagnosisRecord, PodCommand
from rollback_operator.api.v1alpha1 import (
    KINDS,
    CounterSignal,
    Health,
    Investigation,
    InvestigationFinding,
    LatencySignal,
    MatrixCondition,
    MatrixRule,
    Outcome,
    Pace,
    Remedy,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackStatus,
    SafetySpec,
    SignalsSpec,
    StepName,
    StoredStrategy,
)
from rollback_operator.api.verification import (
    DamageAssessment,
    HttpProbe,
    LogCheck,
    ProbeRecord,
    VerificationCheck,
    VerificationSpec,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.model.conditions import condition
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import (
    at,
    make_ended,
    make_entry,
    make_evaluation,
    make_flag_plan,
    make_hold,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
    make_verdict,
    make_workload,
)

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("deploy/crds", "deploy/helm/rollback-operator/files/crds")
Node = Mapping[str, Any]
KEYS = {
    "type",
    "description",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "format",
    "items",
    "properties",
    "additionalProperties",
    "required",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
}
"""What a schema here may hold: no $ref, no unions, nothing of OpenAPI 3.1."""


def schema_of(kind: type[Resource]) -> Node:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    return version["schema"]["openAPIV3Schema"]


def nodes(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in node:
            yield from nodes(node[key], path + mark)


NODES = [
    (path, node)
    for kind in KINDS
    for part in ("spec", "status")
    for path, node in nodes(schema_of(kind)["properties"][part], f"{kind.KIND}.{part}")
]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_the_committed_file_is_the_generated_one(kind, folder) -> None:
    committed = (ROOT / folder / f"{kind.PLURAL}.yaml").read_text()
    assert yaml.load(committed, yaml.CSafeLoader) == custom_resource_definition(kind), (
        "run `make generate`"
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_kubernetes_takes_it_for_a_crd(kind) -> None:
    kubernetes_validate.validate(custom_resource_definition(kind), "1.34", strict=True)


def test_a_node_is_structural() -> None:
    for path, node in NODES:
        assert set(node) <= KEYS, path
        assert node["type"] in ("object", "array", "string", "integer", "boolean"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        if node["type"] == "object":
            assert "properties" in node or "additionalProperties" in node, path
            assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        if node["type"] == "array":
            assert "items" in node, path
            kind = node.get("x-kubernetes-list-type")
            assert kind in ("atomic", "set", "map"), path
            keys = node.get("x-kubernetes-list-map-keys", [])
            assert bool(keys) == (kind == "map"), path
            assert set(keys) <= set(node["items"].get("required", ())), path
        if "minimum" in node or "maximum" in node:
            assert isinstance(node.get("minimum", 0), int), path


def test_a_node_is_bounded() -> None:
    for path, node in NODES:
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_rules_have_messages_and_patterns_compile() -> None:
    for path, node in NODES:
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            assert "self" in rule["rule"], path
        re.compile(node.get("pattern", ""))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_the_root_and_the_columns(kind) -> None:
    schema = schema_of(kind)
    assert schema["required"] == ["spec"]
    assert schema["properties"]["metadata"] == {"type": "object"}
    assert schema["description"]
    for column in kind.COLUMNS:
        path = column["jsonPath"]
        if path.startswith(".metadata") or "[?" in path:
            continue
        for one in columns_alternatives(path):
            node: Node = {"properties": schema["properties"]}
            for name in one.split("."):
                node = node["properties"][name]
            assert node["type"] == column["type"], path


def columns_alternatives(path: str) -> list[str]:
    """Where a column is looked for: a plan is the spec, or, made by hand, in the status."""
    if not path.startswith(".*["):
        return [path.strip(".")]
    of_spec, of_status = re.fullmatch(r"\.\*\['(.+)','(.+)'\]", path).groups()
    return [f"spec.{of_spec}", f"status.{of_status}"]


def test_the_columns_of_a_plan_are_shown_wherever_it_is_stored() -> None:
    paths = {column["name"]: column["jsonPath"] for column in Rollback.COLUMNS}
    assert {name: columns_alternatives(paths[name]) for name in ("From", "To", "Why")} == {
        "From": ["spec.fromRevision.number", "status.plan.fromRevision.number"],
        "To": ["spec.toRevision.number", "status.plan.toRevision.number"],
        "Why": ["spec.trigger.message", "status.plan.trigger.message"],
    }


# -- what is written fits ------------------------------------------------------------------------


def unknown_keys(value: Any, node: Node, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        properties, free = node.get("properties"), node.get("additionalProperties")
        for key, child in value.items():
            if properties is not None and key not in properties:
                yield f"{path}.{key}"
            else:
                inner = properties[key] if properties is not None else free
                yield from unknown_keys(child, inner, f"{path}.{key}")
    if isinstance(value, list):
        for child in value:
            yield from unknown_keys(child, node["items"], f"{path}[]")


def filled_rollback() -> Rollback:
    steps = [make_step(name, 10, 11) for name in StepName]
    status = RollbackStatus(
        conditions=[condition("Complete", True, "Recovered", "well")],  # type: ignore[arg-type]
        severity="P1",
        step=StepName.VERIFY,
        steps=steps,
        strategy=StoredStrategy(max_surge="25%", max_unavailable="25%"),
        owner=OwnerRecord(
            namespace="argocd",
            automated="{}",
            suspended_time=at(11),
            released_time=at(90),
            release_message="Git contains the restored state",
        ),
        autoscaler=AutoscalerRecord(
            min_replicas=2,
            max_replicas=4,
            raised_min_replicas=6,
            raised_max_replicas=6,
            restored_time=at(3660),
            restore_message="it has 2 to 4 replicas as before",
        ),
        diagnosis=DiagnosisRecord(pod="shop-1", time=at(11), message="the command succeeded"),
        traffic=TrafficRecord(
            replicas=3, restored_time=at(55), restore_message="3 replicas are set as before"
        ),
        assessment=[DamageAssessment(name="invalid-tickets", time=at(12), rows=['{"id":7}'])],
        checklist=[CheckItem(name=CheckName.ROOM, result=CheckResult.PASSED)],
        migrations=MigrationRecord(
            names=["002"],
            applied=2,
            order="UndoFirst",
            losses=[DataLoss(place="public.tickets.seat", values=7)],
            unknown_loss="it is down",
            jobs=["rollback-backup-0123456789abcdef"],
            undone=["002"],
        ),
        pace=Pace.NORMAL,
        plan_digest="0123456789abcdef",
        approval_deadline_time=at(3600),
        escalated_time=at(70),
        escalated_message="all requests still fail",
        verification=[VerificationCheck(name="ErrorRate", result="Passed", message="0 of 300")],
        outcome=Outcome.VERIFIED,
        finished_time=at(60),
    )
    trigger = make_trigger_record(
        first_bad_time=at(5), deadline_time=at(65), blame_odds="9331 : 1", signal="Latency"
    )
    approval = Approval(
        decision="Approve", by="jane", reason="seen", plan_digest="0123456789abcdef"
    )
    made = make_rollback(
        status=status,
        trigger=trigger,
        approval=approval,
        reason="customers call",
        requested_by="ann",
        kept_configuration="ConfigMap b: it is immutable",
        config_maps=[ConfigMapPlan(name="a", uid="u", digest="d", previous_digest="e")],
        seen=SeenByPerson(deployment="ticket-service", revision=7, digest="d" * 64),
        owner=OwnerPlan(tool="Argo CD", kind="Application", name="shop", response="Suspend"),
        flag=make_flag_plan(),
        autoscaler=AutoscalerPlan(name="shop", uid="u", restore_after_seconds=3600),
        diagnosis=PodCommand(command=["heap"]),
        traffic=TrafficPlan(stop="Replicas"),
    )
    planned = status.model_copy(update={"plan": made.spec.plan})
    return made.model_copy(update={"status": planned})


def filled_policy() -> RollbackPolicy:
    steps = [make_step(StepName.UNDO, 10, 11)]
    taken_back = make_ended().model_copy(update={"steps": steps})
    seen = StatusInputs(
        ready("WatchingTarget", "yes"),  # type: ignore[arg-type]
        workload=make_workload(),
        ledger=(make_entry("v2", Health.UNKNOWN, reason="new"), make_entry("v1")),
        decision=Decision(make_verdict()),
        rollbacks=(make_rollback(status=taken_back),),
        of_target=(make_rollback(status=taken_back),),
        own=(make_rollback(status=taken_back),),
        safety=SafetySpec(max_rollbacks_per_day=100),
        quarantine_seconds=604800,
        opened=at(0),
        evaluation=make_evaluation(),
    )
    held = make_hold(released_time=at(40), release_reason="SuspicionFaded", release_message="faded")
    found = Investigation(
        severity="P3",
        release="release-v2",
        since=at(5),
        findings=[InvestigationFinding(name="restarts", message="none")],
    )
    probe = ProbeRecord(name="buy", release="release-v1", passed_time=at(0))
    failed = NotRecovered(rollback=make_rollback().metadata.name, reasons=["StillFailing"])
    before = RollbackPolicyStatus(
        hold=held, investigation=found, probes=[probe], not_recovered=failed
    )
    status = next_status(before, seen, 3, at(600))
    return make_policy().model_copy(update={"status": status})


@pytest.mark.parametrize("resource", [filled_policy(), filled_rollback()], ids=lambda one: one.KIND)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_what_is_dumped_has_no_field_that_the_crd_lacks(resource, part) -> None:
    dumped = getattr(resource, part).model_dump(mode="json", by_alias=True, exclude_none=True)
    node = schema_of(type(resource))["properties"][part]
    assert list(unknown_keys(dumped, node, part)) == []
    filled = set(dumped)
    optional = {"prometheus", "signals", "database"}
    missing = set(node["properties"]) - filled - optional
    assert not missing, f"the test does not fill {missing}"


@pytest.mark.parametrize("resource", [filled_policy(), filled_rollback()], ids=lambda one: one.KIND)
def test_what_is_dumped_can_be_read_again(resource) -> None:
    dumped = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert type(resource).model_validate(dumped) == resource


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("spec.safety.watchSeconds", "3600"),
        ("spec.signals.errors.metric", "http_request_errors_total"),
        ("spec.database.onNewerSchema", "Block"),
        ("spec.verification.http[].timeoutSeconds", "5"),
        ("spec.notify[].mail.port", "587"),
    ],
)
def test_the_reference_tells_what_is_left_out(field: str, default: str) -> None:
    rows = (ROOT / "docs" / "api.md").read_text().splitlines()
    (row, *_) = [one.split(" | ") for one in rows if one.startswith(f"| `{field}` |")]
    assert row[2] == f"`{default}`"


RATE = {"signal": "ErrorRate", "above": "0.01"}
PROBE = {"name": "list", "url": "http://shop.production.svc/api/v1/tickets"}


# -- what a file given to the command line is refused for ------------------------------------------


@pytest.mark.parametrize(
    ("model", "fields", "said"),
    [
        (MatrixCondition, {"signal": "ErrorRate"}, "exactly one of above and atLeast"),
        (HttpProbe, {**PROBE, "name": "ErrorRate"}, "name of a built-in check"),
        (HttpProbe, {**PROBE, "body": "{}"}, "a method other than GET"),
        (HttpProbe, {**PROBE, "url": "http://user@shop.svc/"}, "should match pattern"),
        (HttpProbe, {**PROBE, "expectJson": {"path": "a..b", "value": ""}}, "should match pattern"),
        (LogCheck, {"pattern": "ERROR|"}, "should match pattern"),
        (VerificationSpec, {"http": [PROBE, PROBE]}, "names must be unique"),
        (
            MatrixCondition,
            {"signal": "ErrorRate", "above": "0.1", "atLeast": "0.2"},
            "exactly one of above and atLeast",
        ),
        (
            MatrixCondition,
            {"signal": "Unavailable", "above": "0.1"},
            "do not accept above or atLeast",
        ),
        (MatrixCondition, {"signal": "StuckRollout", "routes": "Purchase"}, "only for ErrorRate"),
        (MatrixCondition, {"signal": "Probe"}, "Probe requires name"),
        (
            MatrixCondition,
            {"signal": "Probe", "name": "x", "above": "1"},
            "do not accept above or atLeast",
        ),
        (MatrixCondition, {"signal": "Probe", "name": "x", "query": "up"}, "only for Query"),
        (MatrixCondition, {"signal": "ErrorRate", "above": "1.0"}, "less than 1"),
        (MatrixCondition, {"signal": "ErrorRate", "atLeast": "0"}, "greater than 0"),
        (
            MatrixCondition,
            {"signal": "LatencyRatio", "atLeast": "2"},
            "MemoryGrowth require above",
        ),
        (
            MatrixCondition,
            {"signal": "OOMKills", "atLeast": "0.5"},
            "require atLeast, a whole number",
        ),
        (MatrixCondition, {"signal": "Restarts"}, "require atLeast, a whole number"),
        (MatrixCondition, {"signal": "Query", "query": "up"}, "exactly one of above and below"),
        (MatrixCondition, {"signal": "Query", "above": "1"}, "requires query"),
        (MatrixCondition, {"signal": "Unavailable", "query": "up"}, "are allowed only for Query"),
        (
            MatrixCondition,
            {"signal": "Query", "query": "up", "above": "1", "times": 4, "looks": 3},
            "times must be at most looks",
        ),
        (
            MatrixCondition,
            {"signal": "ErrorRate", "above": "0.1", "times": 1},
            "times and looks are allowed only for Query",
        ),
        (MatrixCondition, {"signal": "OOMKills", "atLeast": "2", "looks": 9}, "only for Query"),
        (
            MatrixRule,
            {"severity": "P4", "when": [RATE], "response": "Report", "onTimeout": "Rollback"},
            "onTimeout requires response Investigate",
        ),
        (MatrixCondition, {"signal": "ErrorRate", "above": "1.5"}, "above"),
        (MatrixCondition, {"signal": "ErrorRate", "above": "5 %"}, "above"),
        (Remedy, {"type": "Undo"}, "to is required"),
        (Remedy, {"type": "Undo", "to": "Revision"}, "revision is required"),
        (Remedy, {"type": "Undo", "to": "Previous", "revision": 3}, "revision is required"),
        (Remedy, {"type": "PinImage", "image": "x"}, "container and image are required"),
        (
            Remedy,
            {"type": "Scale", "replicas": 3, "image": "x"},
            "container and image are required",
        ),
        (CounterSignal, {"metric": "x", "matchers": {"a-b": "c"}}, "'a-b' is not a label name"),
        (CounterSignal, {"metric": "x", "matchers": {"code": "=~5(.."}}, "not a valid RE2"),
        (
            CounterSignal,
            {"metric": "x", "matchers": {"code": "=~(?!2..).*"}},
            "not a valid RE2 regular expression",
        ),
        (CounterSignal, {"metric": "x", "matchers": {"code": r"!~(.)\1"}}, "no lookahead"),
        (CounterSignal, {"metric": "x", "matchers": {"code": "=~(a{500}){9}"}}, "not a valid RE2"),
        (CounterSignal, {"metric": "x", "matchers": {"code": r"=~\pL{9}"}}, "instructions"),
        (CounterSignal, {"metric": "rate(x[5m])"}, "metric"),
        (CounterSignal, {"metric": "job:http_requests:rate5m"}, "not a recording rule"),
        (LatencySignal, {"metric": "job:latency:seconds"}, "not a recording rule"),
        (
            SignalsSpec,
            {"requests": {"metric": "x_total"}, "errors": {"metric": "x_total"}},
            "errors must not select the same series",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(model, fields, said) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        model.model_validate(fields)


@pytest.mark.parametrize(
    "value", [r"=~(?:5..|499)", r"=~(?i)get", r"=~\\\\1", "=~", "!=", "=~[*+]"]
)
def test_what_re2_takes_is_taken(value) -> None:
    CounterSignal.model_validate({"metric": "http.requests/total", "matchers": {"a.b": value}})


# -- what has no structural form -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (int | str, "a union"),
        (tuple[int, str], "an array needs items"),
        (float, "'number'"),
        (Any, "None"),
        (dict, "a map needs values"),
    ],
)
def test_what_has_no_structural_form_is_refused(annotation, said) -> None:
    model = type("Odd", (BaseModel,), {"__annotations__": {"field": annotation}})
    full = model.model_json_schema()
    with pytest.raises(NotStructuralError, match=said) as error:
        structural(full, full.get("$defs", {}), path="spec")
    assert "spec.field" in str(error.value)


def test_a_constant_becomes_a_list_of_one() -> None:
    node = structural({"type": "string", "const": "x"}, {})
    assert node == {"type": "string", "enum": ["x"]}


def test_a_field_s_own_words_win_over_those_of_its_type() -> None:
    class Inner(BaseModel):
        """The type's words."""

        size: Annotated[int, Field(ge=0)] = 0

    class Outer(BaseModel):
        inner: Annotated[Inner | None, Field(description="The  field's\nwords.")] = None

    full = Outer.model_json_schema()
    node = structural(full, full["$defs"])
    assert node["properties"]["inner"]["description"] == "The field's words."
    assert node["properties"]["inner"]["properties"]["size"]["minimum"] == 0


def test_the_api_server_takes_one_decision_on_a_stored_plan() -> None:
    """The texts; tests/integration/test_admission.py has a real API server apply them."""
    (version,) = custom_resource_definition(Rollback)["spec"]["versions"]
    once, stored = version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"]

    assert "oldSelf.spec.approval.planDigest == self.status.planDigest" in once["rule"]
    assert "self.spec.approval.planDigest == self.status.planDigest" in stored["rule"]
    assert "planDigest != oldSelf" not in str(version)
