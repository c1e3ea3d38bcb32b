"""`rollback-operator preflight` in the pipelines of docs/prevention.md, on a real API server.

Each pipeline is taken from the page and run as its runner does, for a good and a bad change; what
it prints stands on the page. To renew the page: PREFLIGHT_WRITE=1.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import chart
from tests.integration.api import eventually, policies
from tests.integration.pipelines import (
    PAGE,
    Machine,
    Outcome,
    Sync,
    run_stages,
    run_workflow,
    shown,
    write_kubeconfig,
)
from tests.integration.service import Service, outcome
from tests.integration.traffic import BAD
from tests.sizes import rows_of

pytestmark = [
    pytest.mark.xdist_group("preflight"),
    pytest.mark.timeout(1200),
]

NAME = "ticket-service"
WRITE = "PREFLIGHT_WRITE"
CONFIG, SECRET = "ticket-service-config", "ticket-db"
DATABASE = {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "url"}}}
PAYMENT = {"name": "PAYMENT_KEY", "valueFrom": {"secretKeyRef": {"name": "payment", "key": "key"}}}


def deployment(version: str, *variables: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """The manifest in Git."""
    container = {
        "name": NAME,
        "image": f"registry.example.com/{NAME}:{version}",
        "envFrom": [{"configMapRef": {"name": CONFIG}}],
        "env": [DATABASE, *variables],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME, "traffic": NAME}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
            **spec,
        },
    }


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """v1 runs, and stands on record as Good; no operator runs here, which would go on watching."""
    made = deployed(make_service)
    made.watch()
    put_on_record(made)
    eventually(lambda: are_pods_read(made), "each pod is scraped")
    return made


def deployed(make_service: Callable[..., Service]) -> Service:
    """Apply v1 as the pipelines do, with what it needs and five minutes of past."""
    made = make_service(NAME)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
    objects = [
        {**config, "data": {"MODE": "live"}},
        {**secret, "stringData": {"url": "x"}},
        deployment("v1"),
    ]
    made.stand.cluster.kubectl(
        "apply", f"--namespace={made.namespace}", "-f", "-", input=chart.stream(objects)
    )
    made.wait_for_rollout()
    made.remember()
    return made


def put_on_record(service: Service) -> None:
    """Write what the operator writes of a policy that is ready and whose release is Good."""
    now = datetime.now(UTC)
    since = (now - timedelta(days=1)).isoformat()
    revision = {**service.revision(service.replica_set()), "since": since}
    ready = {"type": "Ready", "status": "True", "reason": "WatchingTarget", "message": ""}
    known = {
        "observedGeneration": 1,
        "conditions": [{**ready, "lastTransitionTime": now.isoformat()}],
        "revision": revision,
        "revisions": [{**revision, "health": "Good"}],
    }
    path = f"{policies(service.namespace)}/{service.name}/status"
    service.stand.api.merge(path, {"status": known})


def are_pods_read(service: Service) -> bool:
    """Tell whether Prometheus has two samples of each pod."""
    listed = findings(service, "--deployment", NAME)
    return not any("ready pods have no such series" in str(each) for each in listed["Metrics"])


@pytest.fixture
def machine(service: Service, tmp_path: Path) -> Machine:
    cluster = service.stand.cluster
    return Machine(tmp_path / "machine", cluster.kubectl_path, cluster.kubeconfig)


def preflight(
    service: Service, *arguments: str, given: Any = None, kubeconfig: Path | None = None
) -> tuple[int, str]:
    """Run the command on manifests from its standard input."""
    argv = [sys.executable, "-m", "rollback_operator", "preflight", "-n", service.namespace]
    argv += ["--kubeconfig", str(kubeconfig or service.stand.cluster.kubeconfig)]
    argv += ["--prometheus", service.stand.prometheus.url, *arguments]
    text = None
    if given is not None:
        argv += ["-f", "-"]
        text = given if isinstance(given, str) else yaml.safe_dump_all(given)
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def findings(service: Service, *arguments: str, given: Any = None) -> dict[str, list[Any]]:
    """The findings by check."""
    _, said = preflight(service, "--output", "json", *arguments, given=given)
    (report,) = json.loads(said)
    listed: dict[str, list[Any]] = {}
    for each in report["findings"]:
        listed.setdefault(each["check"], []).append(each)
    return listed


def problems(listed: Mapping[str, list[Any]]) -> list[str]:
    return [
        f"{check}: {each['field']}: {each['message']}"
        for check, found in listed.items()
        for each in found
        if each["level"] == "Problem"
    ]


@pytest.mark.extended
def test_a_release_is_known_by_its_configuration(service: Service) -> None:
    """The operator records a release with its ConfigMaps; the ledger is found all the same."""
    path = f"{policies(service.namespace)}/{service.name}"
    known = service.stand.api.get(path)["status"]["revision"]
    revision = {**known, "release": "0123456789abcdef", "configuration": "fedcba9876543210"}
    entries = [{**revision, "health": "Good"}]
    change = {"status": {"revision": revision, "revisions": entries}}
    service.stand.api.merge(f"{path}/status", change)

    release = findings(service, given=[deployment("v2")])
    restarted = deployment("v1")
    restarted["spec"]["template"]["metadata"]["annotations"] = {"restarted": "now"}
    restart = findings(service, given=[restarted])

    assert problems(release) == []
    assert "is recorded as Good" in release["Target"][0]["message"]
    assert [each["level"] for each in restart["Release"]] == ["Note"]
    assert f"unless the content of ConfigMap {CONFIG}" in restart["Release"][0]["message"]


# -- the pipelines of the page ---------------------------------------------------------------------


def matches_page(outcome: Outcome, service: Service, title: str) -> None:
    """Compare what a pipeline printed with the block of the page under a title, but for figures."""
    said = outcome.output.replace(service.namespace, "production").strip()
    said = said.replace(service.stand.prometheus.url, "http://prometheus.monitoring:9090")
    text = PAGE.read_text()
    block = re.search(rf"^{re.escape(title)}\n\n```text\n(.*?)^```", text, re.S | re.M)
    assert block is not None, f"{PAGE.name} has no output {title}"
    if os.environ.get(WRITE):
        PAGE.write_text(text[: block.start(1)] + said + "\n" + text[block.end(1) :])
        return
    assert without_figures(said) == without_figures(block[1].strip())


def without_figures(text: str) -> list[str]:
    """Leave out what differs from run to run: figures, and where lines break."""
    return re.sub(r"[0-9]+([.,:-][0-9]+)*", "0", text).split()


def overlay(tmp_path: Path, namespace: str, manifest: Mapping[str, Any]) -> Path:
    """Make the repository of a pipeline."""
    repository = tmp_path / "repository"
    (repository / "base").mkdir(parents=True)
    (repository / "base/deployment.yaml").write_text(yaml.safe_dump(manifest))
    (repository / "base/kustomization.yaml").write_text("resources: [deployment.yaml]\n")
    production = repository / "overlays/production"
    production.mkdir(parents=True)
    text = f"namespace: {namespace}\nresources: [../../base]\n"
    (production / "kustomization.yaml").write_text(text)
    return repository


def test_a_github_workflow_deploys_a_good_change(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    outcome = workflow(service, machine, overlay(tmp_path, service.namespace, deployment("v2")))

    assert outcome.failed == "", outcome.output
    assert service.image == "v2"
    matches_page(outcome, service, "A good change (GitHub):")


def test_a_github_workflow_ends_before_a_bad_change(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    bad = deployment("v2", PAYMENT)
    outcome = workflow(service, machine, overlay(tmp_path, service.namespace, bad))

    assert outcome.failed == "Preflight", outcome.output
    assert service.image == "v1"
    assert re.search(r"^::error file=manifest.yaml,title=References of ", outcome.output, re.M)
    matches_page(outcome, service, "A bad change (GitHub):")


def workflow(service: Service, machine: Machine, repository: Path) -> Outcome:
    (text,) = shown("GitHub Actions")
    contexts = {
        "secrets": {"KUBECONFIG": service.stand.cluster.kubeconfig.read_text()},
        "vars": {"PROMETHEUS_URL": service.stand.prometheus.url},
    }
    machine.home.mkdir()
    return run_workflow(machine, text, repository, contexts)


@pytest.mark.extended
def test_a_gitlab_pipeline_deploys_a_good_change(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    outcome = stages(service, machine, overlay(tmp_path, service.namespace, deployment("v2")))

    assert outcome.failed == "", outcome.output
    assert service.image == "v2"
    matches_page(outcome, service, "A good change (GitLab):")


def test_a_gitlab_pipeline_ends_before_a_release_that_was_rolled_back(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    entry = {
        "rollback": "ticket-service-1a2b3c4d5e",
        "release": "c" * 16,
        "images": [f"registry.example.com/{NAME}:v2"],
        "untilTime": (datetime.now(UTC) + timedelta(days=6)).isoformat(),
    }
    path = f"{policies(service.namespace)}/{NAME}/status"
    service.stand.api.merge(path, {"status": {"quarantine": [entry]}})

    outcome = stages(service, machine, overlay(tmp_path, service.namespace, deployment("v2")))

    assert outcome.failed == "preflight", outcome.output
    assert service.image == "v1"
    matches_page(outcome, service, "A bad change (GitLab):")


def stages(service: Service, machine: Machine, repository: Path) -> Outcome:
    (text,) = shown("GitLab CI")
    variables = {
        "KUBECONFIG": str(service.stand.cluster.kubeconfig),
        "PROMETHEUS_URL": service.stand.prometheus.url,
    }
    machine.home.mkdir()
    return run_stages(machine, text, repository, variables)


@pytest.mark.extended
def test_argo_cd_syncs_a_good_change(service: Service, machine: Machine, tmp_path: Path) -> None:
    outcome = sync(service, machine, tmp_path, deployment("v2"))

    assert outcome.failed == "", outcome.output
    assert service.image == "v2"
    matches_page(outcome, service, "A good change (Argo CD):")


def test_argo_cd_does_not_sync_a_bad_change(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    outcome = sync(service, machine, tmp_path, deployment("v2", revisionHistoryLimit=0))

    assert outcome.failed == "preflight", outcome.output
    assert service.image == "v1"
    matches_page(outcome, service, "A bad change (Argo CD):")


def sync(
    service: Service, machine: Machine, tmp_path: Path, manifest: Mapping[str, Any]
) -> Outcome:
    kustomization, hooks = shown("Argo CD")
    folder = tmp_path / "application"
    folder.mkdir()
    machine.home.mkdir()
    (folder / "deployment.yaml").write_text(yaml.safe_dump(manifest))
    (folder / "kustomization.yaml").write_text(kustomization)
    (folder / "preflight.yaml").write_text(hooks.replace("production", service.namespace))
    stand = service.stand
    return Sync(machine, stand.api, service.namespace, stand.prometheus.url).run(folder)


@pytest.mark.usefixtures("operator")
@pytest.mark.extended
def test_a_release_that_the_operator_rolled_back_is_not_deployed_again(
    make_service: Callable[..., Service],
) -> None:
    service = deployed(make_service)
    service.adopt()
    service.flow("v2", BAD)
    manifest = chart.stream([deployment("v2")])
    service.stand.cluster.kubectl(
        "apply", f"--namespace={service.namespace}", "-f", "-", input=manifest
    )
    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()

    status, said = preflight(service, given=[deployment("v2")])

    assert status == 1, said
    name = rollback["metadata"]["name"]
    assert f"{name} rolled registry.example.com/{NAME}:v2 back" in " ".join(said.split())


# -- what is found ---------------------------------------------------------------------------------


def test_where_nothing_is_wrong_all_checks_pass(service: Service) -> None:
    status, said = preflight(service, given=[deployment("v2")])

    assert status == 0, said
    assert f"{service.namespace}/{NAME}: ready to deploy" in said
    listed = findings(service, given=[deployment("v2")])
    assert problems(listed) == []
    assert set(listed) >= {"Policy", "Target", "History", "Release", "References", "Response"}
    assert "How soon a bad release is proved" in said
    assert service.image == "v1"  # the dry run has changed nothing


def test_the_running_manifest_is_recognized_with_the_server_s_defaults(service: Service) -> None:
    (found,) = findings(service, given=[deployment("v1")])["Release"]

    assert found["level"] == "Note"
    assert "nothing is rolled out" in found["message"]


@pytest.mark.extended
def test_without_a_manifest_the_present_state_is_checked(service: Service) -> None:
    status, said = preflight(service, "--deployment", NAME)

    assert status == 0, said
    assert "Target" in said


@pytest.mark.extended
def test_objects_come_from_the_cluster_or_with_the_deploy(service: Service) -> None:
    named = deployment("v2", PAYMENT)
    secret = {"kind": "Secret", "metadata": {"name": "payment"}, "stringData": {"key": "x"}}
    other = {**secret, "stringData": {"other": "x"}}

    assert problems(findings(service, given=[named, secret])) == []
    path = "spec.template.spec.containers[0].env[1].valueFrom.secretKeyRef"
    for given in ([named], [named, other]):
        (said,) = problems(findings(service, given=given))
        assert said.startswith(f"References: {path}: Secret payment, or its key key, does not")


@pytest.mark.extended
def test_a_first_release_is_no_problem(service: Service) -> None:
    new = deployment("v1")
    new["metadata"] = {"name": "till"}
    policy = {
        "apiVersion": "rollback.tickettoken.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": "till"},
        "spec": {"targetRef": {"name": "till"}, "mode": "Enforce"},
    }

    listed = findings(service, given=[new, policy])

    assert problems(listed) == []
    assert "does not exist yet" in listed["Target"][0]["message"]


def test_a_deployment_that_the_server_refuses_is_told(service: Service) -> None:
    wrong = deployment("v2", selector={"matchLabels": {"app": "other"}})

    # On a loaded machine Prometheus may lack a sample, which is listed too.
    listed = problems(findings(service, given=[wrong]))

    refused = "Release: spec: the API server refuses the Deployment: "
    assert ["spec.selector" in each for each in listed if each.startswith(refused)] == [True], (
        listed
    )


@pytest.mark.extended
def test_a_suspended_policy_is_told(service: Service) -> None:
    service.amend(suspend=True)

    listed = problems(findings(service, given=[deployment("v2")]))

    assert any("spec.suspend: the policy is suspended" in each for each in listed), listed


@pytest.mark.extended
def test_two_policies_on_a_deployment_are_told(service: Service) -> None:
    service.watch(name="second")

    listed = problems(findings(service, given=[deployment("v2")]))

    assert any("second already watches" in each for each in listed), listed


@pytest.mark.extended
def test_a_deployment_without_a_policy_is_a_problem(service: Service) -> None:
    service.unwatch()
    eventually(lambda: service.stand.api.find(f"{policies(service.namespace)}/{NAME}") is None, "")

    status, said = preflight(service, given=[deployment("v2")])

    assert status == 1
    assert "no RollbackPolicy of the namespace watches it" in said
    assert preflight(service, "--deployment", NAME)[0] == 1


def test_down_migrations_are_looked_for(service: Service, tmp_path: Path) -> None:
    (tmp_path / "008_add.up.sql").write_text("ALTER TABLE tickets ADD COLUMN new_column int;")
    folder = str(tmp_path)

    (lacking,) = problems(findings(service, "--down-migrations", folder, given=[deployment("v2")]))
    (tmp_path / "008_add.down.sql").write_text("ALTER TABLE tickets DROP COLUMN new_column;")
    listed = findings(service, "--down-migrations", folder, given=[deployment("v2")])

    assert lacking == (
        f"Migrations: {folder}/008_add.up.sql: it has no down migration: once it is applied, no "
        "rollback can revert it"
    )
    assert problems(listed) == []


# -- input and servers that are wrong --------------------------------------------------------------


WRONG: Mapping[str, tuple[tuple[str, ...], Any, str]] = {
    "neither a manifest nor a name": ((), None, "-f: name the manifest"),
    "a file that is not there": (("-f", "/nowhere.yaml"), None, "/nowhere.yaml: No such file"),
    "a folder": (("-f", "/tmp"), None, "/tmp: Is a directory"),
    "a kind that has no releases": (
        (), [{"apiVersion": "apps/v1", "kind": "StatefulSet"}], "holds no Deployment",
    ),
    "a name that is not in it": (
        ("--deployment", "till"), [deployment("v2")], "holds no Deployment till, only",
    ),
    "a Deployment that is not there": (("--deployment", "till"), None, "no RollbackPolicy"),
    "migrations that are not there": (
        ("--down-migrations", "/nowhere"), [deployment("v2")], "/nowhere: No such file",
    ),
    "no cluster": (
        ("--deployment", NAME, "--kubeconfig", "/nowhere"), None, "/nowhere: No such file",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "given", "words"), rows_of(WRONG, ["a folder", "no cluster"])
)
def test_wrong_input_ends_with_the_reason(
    service: Service, arguments: tuple[str, ...], given: Any, words: str
) -> None:
    status, said = preflight(service, *arguments, given=given)

    assert status == (1 if words == "no RollbackPolicy" else 2), said
    assert words in " ".join(said.split())


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.extended
def test_an_api_server_that_hangs_is_given_up(
    service: Service, silent: str, tmp_path: Path
) -> None:
    document = yaml.safe_load(service.stand.cluster.kubeconfig.read_text())
    document["clusters"][0]["cluster"] = {"server": silent}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))

    status, said = preflight(service, given=[deployment("v2")], kubeconfig=path)

    assert status == 2, said
    assert "the API server does not answer" in said


def test_a_right_that_is_missing_is_named(service: Service, tmp_path: Path) -> None:
    core, api = f"/api/v1/namespaces/{service.namespace}", service.stand.api
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pipeline"}}
    api.create(f"{core}/serviceaccounts", account)
    body = {"spec": {"expirationSeconds": 3600}}
    token = api.create(f"{core}/serviceaccounts/pipeline/token", body)["status"]["token"]
    path = write_kubeconfig(tmp_path / "kubeconfig", api, token)

    status, said = preflight(service, given=[deployment("v2")], kubeconfig=path)

    assert status == 2, said
    words = " ".join(said.split())
    assert 'cannot list resource "rollbackpolicies"' in words
    assert "docs/prevention.md has a Role" in words


@pytest.mark.extended
def test_a_prometheus_out_of_reach_is_a_problem_only_if_it_was_named(service: Service) -> None:
    argv = ("--output", "json", "--prometheus", "http://127.0.0.1:1")
    named = preflight(service, *argv, given=[deployment("v2")])

    assert named[0] == 1
    assert "ProviderUnreachable" in named[1]
