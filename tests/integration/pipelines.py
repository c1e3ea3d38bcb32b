"""What a runner does with the pipelines of docs/prevention.md: each step, as it stands there.

GitHub's runner, GitLab's runner and Argo CD's sync, as far as a pipeline of that page uses them;
what a page uses beyond that fails here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab import chart
from rollback_operator.api.user_text.documents import load_all
from tests.integration.api import Api

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "prevention.md"
EXPRESSION = re.compile(r"\$\{\{\s*(\w+)\.(\w+)\s*\}\}")
HOOK, WAVE = "argocd.argoproj.io/hook", "argocd.argoproj.io/sync-wave"
ENTRYPOINT = "rollback-operator"
"""Of the operator's image, see Dockerfile."""


@dataclass(frozen=True)
class Machine:
    """Where the steps run: a folder with the programs of the pipeline's image."""

    home: Path
    kubectl: Path
    kubeconfig: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Give the variables of a step: those of the image, and no others of this machine."""
        programs = self.home / "programs"
        if not programs.exists():
            programs.mkdir(parents=True)
            (programs / "kubectl").symlink_to(self.kubectl)
            command = programs / ENTRYPOINT
            command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rollback_operator "$@"\n')
            command.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        source = str(ROOT / "operator")
        return {"PATH": path, "HOME": str(self.home), "PYTHONPATH": source, **more}

    def checkout(self, repository: Path, name: str) -> Path:
        """Copy a repository, as each job begins."""
        place = self.home / name
        shutil.copytree(repository, place)
        return place


@dataclass
class Outcome:
    """What a pipeline did."""

    output: str = ""
    failed: str = ""
    """The step or job that failed; empty: none."""
    done: list[str] = field(default_factory=list)
    """Steps or jobs that succeeded."""


def shown(title: str) -> Iterator[str]:
    """List the YAML blocks of a section of the page."""
    text = PAGE.read_text()
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert section is not None, f"{PAGE.name} has no section {title}"
    for block in re.finditer(r"^```yaml\n(.*?)^```", section[1], re.S | re.M):
        yield block[1]


# -- GitHub Actions --------------------------------------------------------------------------------


def run_workflow(
    machine: Machine, text: str, repository: Path, contexts: Mapping[str, Mapping[str, str]]
) -> Outcome:
    """Run the steps of a workflow's only job with bash, until one fails."""
    (job,) = yaml.safe_load(text)["jobs"].values()
    place = machine.home / "workspace"
    place.mkdir()
    temporary = machine.home / "temporary"
    temporary.mkdir()
    exported = temporary / "env"
    exported.touch()
    outcome = Outcome()
    for step in job["steps"]:
        if "uses" in step:
            assert step["uses"].startswith("actions/checkout@"), step["uses"]
            shutil.copytree(repository, place, dirs_exist_ok=True)
            continue
        given = {
            name: EXPRESSION.sub(lambda hit: contexts[hit[1]][hit[2]], str(value))
            for name, value in {**job.get("env", {}), **step.get("env", {})}.items()
        }
        given |= {"GITHUB_ENV": str(exported), "RUNNER_TEMP": str(temporary)}
        given |= dict(line.split("=", 1) for line in exported.read_text().splitlines())
        script = temporary / "step.sh"
        script.write_text(EXPRESSION.sub(lambda hit: contexts[hit[1]][hit[2]], step["run"]))
        argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        if not _run(outcome, step["name"], argv, machine.environment(**given), place):
            break
    return outcome


def _run(
    outcome: Outcome, name: str, argv: list[str], environment: dict[str, str], place: Path
) -> bool:
    done = subprocess.run(
        argv,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    outcome.output += done.stdout
    if done.returncode:
        outcome.failed = name
        return False
    outcome.done.append(name)
    return True


# -- GitLab CI -------------------------------------------------------------------------------------


def run_stages(
    machine: Machine, text: str, repository: Path, variables: Mapping[str, str]
) -> Outcome:
    """Run the jobs of a `.gitlab-ci.yml` by stage, each in a checkout, until one fails."""
    pipeline = yaml.safe_load(text)
    outcome, artifacts = Outcome(), dict[str, bytes]()
    known = {"stages", "default", "variables"}
    jobs = {name: job for name, job in pipeline.items() if name not in known}
    given = {**pipeline.get("variables", {}), **variables}
    for stage in pipeline["stages"]:
        for name, job in jobs.items():
            if job["stage"] != stage:
                continue
            place = machine.checkout(repository, f"build-{name}")
            for file, content in artifacts.items():
                (place / file).write_bytes(content)
            script = "\n".join(("set -eo pipefail", *job["script"]))
            argv = ["bash", "--noprofile", "--norc", "-c", script]
            if not _run(outcome, name, argv, machine.environment(**given), place):
                return outcome
            for file in job.get("artifacts", {}).get("paths", ()):
                artifacts[file] = (place / file).read_bytes()
    return outcome


# -- Argo CD ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sync:
    """One sync of an Application: its PreSync hooks, by wave, then everything else."""

    machine: Machine
    api: Api
    namespace: str
    prometheus: str
    """What the address in the Job's environment stands for."""

    def run(self, folder: Path) -> Outcome:
        rendered = self._kubectl("kustomize", str(folder))
        objects = [each for each in load_all(rendered) if each is not None]
        hooks = [each for each in objects if _annotation(each, HOOK) == "PreSync"]
        outcome = Outcome()
        for hook in sorted(hooks, key=lambda each: int(_annotation(each, WAVE) or "0")):
            if hook["kind"] != "Job":
                self._apply([hook])
            elif not self._job(hook, outcome):
                return outcome
        self._apply([each for each in objects if not _annotation(each, HOOK)])
        outcome.done.append("Sync")
        return outcome

    def _apply(self, objects: list[dict[str, Any]]) -> None:
        self._kubectl(
            "apply", f"--namespace={self.namespace}", "-f", "-", text=chart.stream(objects)
        )

    def _kubectl(self, *arguments: str, text: str | None = None) -> str:
        argv = [str(self.machine.kubectl), "--kubeconfig", str(self.machine.kubeconfig)]
        done = subprocess.run(
            [*argv, *arguments], input=text, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _job(self, job: dict[str, Any], outcome: Outcome) -> bool:
        """Run a Job's container with its account, its variables and its ConfigMaps as files."""
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        folders = self._volumes(pod["volumes"])
        arguments = list(container["args"])
        for mount in container["volumeMounts"]:
            path, folder = mount["mountPath"], folders[mount["name"]]
            arguments = [each.replace(f"{path}/", f"{folder}/") for each in arguments]
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert "ROLLBACK_OPERATOR_PROMETHEUS_URL" in variables
        variables |= {
            "ROLLBACK_OPERATOR_PROMETHEUS_URL": self.prometheus,
            "KUBECONFIG": str(self._login(pod["serviceAccountName"])),
        }
        environment = self.machine.environment(**variables)
        argv = [ENTRYPOINT, *arguments]
        name = job["metadata"]["name"]
        # `sh -c` looks the program up in the PATH of the step, as the image's own does.
        return _run(
            outcome, name, ["sh", "-c", 'exec "$@"', "sh", *argv], environment, self.machine.home
        )

    def _volumes(self, volumes: list[dict[str, Any]]) -> dict[str, Path]:
        folders = {}
        for volume in volumes:
            name = volume["configMap"]["name"]
            path = f"/api/v1/namespaces/{self.namespace}/configmaps/{name}"
            folder = self.machine.home / f"volume-{volume['name']}"
            folder.mkdir(exist_ok=True)
            for key, content in self.api.get(path)["data"].items():
                (folder / key).write_text(content)
            folders[volume["name"]] = folder
        return folders

    def _login(self, account: str) -> Path:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        token = self.api.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        return write_kubeconfig(self.machine.home / "pod-kubeconfig", self.api, token)


def write_kubeconfig(path: Path, api: Api, token: str) -> Path:
    """Write how a client with a token reaches the API server."""
    cluster = {"server": api.server, "certificate-authority": api.authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def _annotation(raw: Mapping[str, Any], name: str) -> str:
    return str((raw["metadata"].get("annotations") or {}).get(name, ""))
