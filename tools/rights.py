"""Compare what the operator's account used in a run with what the chart gives it, for each value.

    python -m tools.rights            # runs the tests below on a real API server, by its audit log
    python -m tools.rights --check    # compares the last run with the chart as it is

Writes bench/results/rights.json and docs/security-rights.md. A right that was not used and one that
was refused both are faults.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab import chart  # noqa: E402 (path first)

RECORD = ROOT / "bench" / "results" / "rights.json"
PAGE = ROOT / "docs" / "security-rights.md"
HERE = "tests/integration"
TESTS = (
    f"{HERE}/test_rollback.py::test_a_bad_release_is_undone_to_the_last_known_good",
    f"{HERE}/test_rollback.py::test_a_release_that_its_service_leads_past_is_undone",
    f"{HERE}/test_holds.py::test_a_healthy_release_is_held_with_its_first_pods_proved_and_let_go",
    f"{HERE}/test_checklist.py::test_a_person_approves_and_it_goes_on",
    f"{HERE}/test_checklist.py::test_a_schema_that_the_target_knows_lets_it_go_back",
    f"{HERE}/test_rights_used.py",
    f"{HERE}/test_traffic.py",
    f"{HERE}/test_autoscaler.py::"
    "test_replicas_are_raised_through_the_bounds_and_the_bounds_are_put_back",
    f"{HERE}/test_gitops.py::test_an_application_is_suspended_until_git_wants_what_runs",
    f"{HERE}/test_gitops.py::test_a_kustomization_is_suspended_until_a_person_resumes_it",
    f"{HERE}/test_gitops.py::test_what_an_application_set_lets_be_is_suspended",
    f"{HERE}/test_other_tools.py",
)
URL = {"prometheus": {"url": "http://prometheus"}}
FEATURES: Mapping[str, Mapping[str, Any]] = {
    "(always)": {},
    "rbac.podLogs": {"rbac": {"podLogs": True}},
    "rbac.autoscalers": {"rbac": {"autoscalers": True}},
    "rbac.otherTools": {"rbac": {"otherTools": True}},
    "readConfigMaps": {"readConfigMaps": [{"namespace": "a"}]},
    "patchConfigMaps": {"patchConfigMaps": [{"namespace": "a"}]},
    "readSecrets": {"readSecrets": [{"namespace": "a"}]},
    "migrations": {"migrations": {"namespaces": ["a"]}},
    "traffic.namespaces": {"traffic": {"namespaces": ["a"]}},
    "podCommands.namespaces": {"podCommands": {"namespaces": ["a"]}},
    "gitOps.argoCD": {"gitOps": {"argoCD": {"namespaces": ["a"]}}},
    "gitOps.flux": {"gitOps": {"flux": {"namespaces": ["a"]}}},
}
PURPOSES = {
    "(always)": "watch, evaluate, undo, hold, record, notify, lead",
    "rbac.podLogs": "`spec.verification.logs`",
    "rbac.autoscalers": "a remedy `Scale` where a HorizontalPodAutoscaler sets the replicas",
    "rbac.otherTools": "detect other tools that roll out releases or push images",
    "readConfigMaps": "the checklist checks that the ConfigMaps exist that pods reference",
    "patchConfigMaps": "a remedy `DisableFlag`",
    "readSecrets": "webhooks, mail, probe headers, a database, a login at Prometheus",
    "migrations": "`database.rollbackMigrations`",
    "traffic.namespaces": "`database.onCorruption` with `stopTraffic: Service`",
    "podCommands.namespaces": "`diagnosis.exec`",
    "gitOps.argoCD": "`safety.gitOps: Suspend` of an Application",
    "gitOps.flux": "`safety.gitOps: Suspend` of a Kustomization or a HelmRelease",
}
NOT_RUN = {
    "create pods/exec": "the run has no kubelet",
    "get pods/exec": "the run has no kubelet",
    "list pods.metrics.k8s.io": "the run has no metrics-server",
    "create jobs.batch": "its operators have one namespace each (test_migration_crashes.py)",
    "get jobs.batch": "its operators have one namespace each (test_migration_crashes.py)",
    "get helmreleases.helm.toolkit.fluxcd.io": "the run has no HelmRelease",
    "patch helmreleases.helm.toolkit.fluxcd.io": "the run has no HelmRelease",
    "list imageupdaters.argocd-image-updater.argoproj.io": "the run has no ImageUpdater",
}
"""Rights of which the run proves nothing, and why."""
FREE = ("selfsubjectaccessreviews", "selfsubjectreviews")
"""What every authenticated user may do."""


def right(verb: str, group: str, resource: str, subresource: str = "") -> str:
    """Write a right as `VERB RESOURCE[.GROUP][/SUBRESOURCE]`."""
    tail = f".{group}" if group else ""
    return f"{verb} {resource}{tail}" + (f"/{subresource}" if subresource else "")


@cache
def granted() -> Mapping[str, Sequence[str]]:
    """List the rights that each value of the chart gives, beside those that are given always."""
    always = set(_rights({}))
    return {
        name: sorted(set(_rights(values)) - (always if values else set()))
        for name, values in FEATURES.items()
    }


def _rights(values: Mapping[str, Any]) -> Iterator[str]:
    people = ("-view", "-edit", "-admin", "-approver")
    for one in chart.rendered({**URL, **values}, name="guard", namespace="operators"):
        if one["kind"] not in ("Role", "ClusterRole") or one["metadata"]["name"].endswith(people):
            continue
        for rule in one["rules"]:
            for group in rule["apiGroups"]:
                for full in rule["resources"]:
                    resource, _, subresource = full.partition("/")
                    yield from (right(verb, group, resource, subresource) for verb in rule["verbs"])


def used(events: Iterable[Mapping[str, Any]]) -> tuple[dict[str, int], list[str]]:
    """Count the rights that an audit log shows as used, and list those that were refused."""
    counts: dict[str, int] = {}
    refused: set[str] = set()
    for one in events:
        what = one.get("objectRef")
        if what is None or what["resource"] in FREE:
            continue
        name = right(
            one["verb"], what.get("apiGroup", ""), what["resource"], what.get("subresource", "")
        )
        if one["annotations"].get("authorization.k8s.io/decision") == "allow":
            counts[name] = counts.get(name, 0) + 1
        else:
            refused.add(name)
    return dict(sorted(counts.items())), sorted(refused)


def faults(record: Mapping[str, Any]) -> list[str]:
    """List the rights that are given and not used, used and not given, or refused."""
    given = {one for listed in granted().values() for one in listed}
    seen = set(record["used"])
    found = [f"given and not used: {one}" for one in sorted(given - seen - set(NOT_RUN))]
    found += [f"used and not given by the chart: {one}" for one in sorted(seen - given)]
    found += [f"refused: {one}" for one in record["refused"]]
    return found + [f"not run, yet used: {one}" for one in sorted(seen & set(NOT_RUN))]


def page(record: Mapping[str, Any]) -> str:
    """Write the table."""
    lines = [
        "# Rights of the operator's account",
        "",
        "`make rights` writes this page from the chart and the audit log of a real API server on",
        "which tests use every feature. `tests/unit/test_rights.py` fails if the run does not use",
        "a granted right, or if the API server refuses a request. Admission policies further limit",
        "what the account may change of an object",
        "([ADR 21](adr/0021-a-fence-around-the-operator.md)).",
        "",
        "| chart value | for | right | requests in the run |",
        "| --- | --- | --- | --- |",
    ]
    for value, listed in granted().items():
        for one in listed:
            count = record["used"].get(one)
            seen = str(count) if count is not None else NOT_RUN.get(one, "**none**")
            lines.append(f"| `{value}` | {PURPOSES[value]} | `{one}` | {seen} |")
    return "\n".join(lines) + "\n"


def run() -> dict[str, Any]:
    """Run the tests, and read what the API server has logged."""
    with tempfile.TemporaryDirectory(prefix="rights-") as folder:
        log = Path(folder) / "audit.log"
        argv = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--timeout", "600", *TESTS]
        environment = {**os.environ, "ROLLBACK_OPERATOR_AUDIT_LOG": str(log)}
        done = subprocess.run(argv, cwd=ROOT, env=environment, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the tests failed ({done.returncode}): nothing is written")
        counts, refused = used(map(json.loads, log.read_text().splitlines()))
    return {"tests": list(TESTS), "used": counts, "refused": refused}


def main(arguments: Sequence[str]) -> int:
    """Run or check; the number of faults decides the status."""
    parser = argparse.ArgumentParser(prog="python -m tools.rights", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run nothing: take the last record")
    record = json.loads(RECORD.read_text()) if parser.parse_args(arguments).check else run()
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    PAGE.write_text(page(record))
    found = faults(record)
    print("\n".join(found) or "every right is used, and none is missing")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
