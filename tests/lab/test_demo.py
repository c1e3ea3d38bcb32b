"""The demo on other clusters than the lab: what it asks of kind, refuses, removes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.access import wait_for_crds, write_kubeconfig
from lab.control_plane import ControlPlane
from lab.demo import context, delivery, down, kind, preflight, removal, servers
from lab.demo.__main__ import main
from lab.demo.delivery import Images
from lab.demo.on_cluster import CurrentStage, KindStage
from lab.demo.play import POLICY
from lab.demo.stage import RefusedError
from lab.errors import LabError
from lab.story import Story

pytestmark = pytest.mark.xdist_group("lab-demo")
# Records its arguments; says what there is by the files in its folder, and obeys no `apply`.
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"{folder}/calls"
case "$(basename "$0") $*" in
"kind get clusters") cat "{folder}/clusters" ;;
*"config view"*) cat "{folder}/config" ;;
*"/version"*) echo '{{"gitVersion": "v1.34.0"}}' ;;
*" create -f - "*) grep -o SelfSubject | sed 's/.*/true/' ;;
*"get nodes --selector"*) cat "{folder}/ours" ;;
*"get nodes"*) echo '{{"status": {{"nodeInfo": {{"architecture": "{architecture}"}}}}}}' ;;
*"get pod customers"*) echo Running ;;
*"--dry-run"* | *" --namespace=rollback-demo -f -"*) ;;
*" apply "*) echo "no room" >&2; exit 1 ;;
esac
"""
CONFIG = {
    "current-context": kind.CONTEXT,
    "clusters": [{"cluster": {"server": "https://127.0.0.1:6443"}}],
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a `kind` and a `kubectl`, first on the PATH."""
    text = PROGRAM.format(folder=tmp_path, architecture=delivery.architecture())
    for name in ("kind", "kubectl"):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / "config").write_text(json.dumps(CONFIG))
    (tmp_path / "clusters").write_text("other\n")
    (tmp_path / "ours").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def calls(folder: Path, name: str) -> list[str]:
    lines = (folder / "calls").read_text().splitlines()
    return [one.removeprefix(f"{name} ") for one in lines if one.startswith(f"{name} ")]


def kind_stage(folder: Path) -> KindStage:
    return KindStage(Images(), lambda: {one: folder / f"{one}.tar" for one in delivery.ARCHIVES})


def test_kind_is_made_marked_and_given_the_images(programs: Path) -> None:
    with pytest.raises(LabError, match="no room"):
        kind_stage(programs).prepare(Story())

    assert calls(programs, "kind") == [
        "get clusters",
        "create cluster --name rollback-demo --wait 180s",
        *(
            f"load image-archive {programs}/{one}.tar --name rollback-demo"
            for one in ("rollback-operator", "ticket-service", "demo-servers")
        ),
    ]
    label = "--context=kind-rollback-demo label nodes --all rollback.tickettoken.io/made-by=demo"
    assert label in calls(programs, "kubectl")


def test_a_cluster_of_kind_that_is_ours_is_used_again(programs: Path) -> None:
    (programs / "clusters").write_text("other\nrollback-demo\n")
    (programs / "ours").write_text('{"metadata": {"name": "node"}}')
    with pytest.raises(LabError, match="no room"):
        kind_stage(programs).prepare(Story())

    assert [one.split()[0] for one in calls(programs, "kind")] == ["get", "load", "load", "load"]


def test_a_cluster_of_kind_that_is_not_ours_is_left_alone(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (programs / "clusters").write_text("rollback-demo\n")
    with pytest.raises(RefusedError, match="kind delete cluster --name rollback-demo"):
        kind_stage(programs).prepare(Story())
    assert down.main(["--cluster", "kind"]) == 2

    assert calls(programs, "kind") == ["get clusters", "get clusters"]
    assert "the demo did not create it" in capsys.readouterr().err


def test_down_deletes_the_cluster_of_kind(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert down.main(["--cluster", "kind"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    (programs / "clusters").write_text("rollback-demo\n")
    (programs / "ours").write_text('{"metadata": {"name": "node"}}')
    assert down.main(["--cluster", "kind"]) == 0

    assert calls(programs, "kind")[-1] == "delete cluster --name rollback-demo"
    assert "removed: the kind cluster rollback-demo" in capsys.readouterr().out


@pytest.mark.parametrize("command", [main, down.main])
def test_without_kind_the_remedy_is_said(
    command: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert command(["--cluster", "kind"]) == 2
    assert "install kind and Docker (or Podman)" in capsys.readouterr().err


def test_a_registry_goes_with_the_current_cluster_only() -> None:
    with pytest.raises(SystemExit):
        main(["--cluster", "kind", "--images", "registry.example/team"])


def test_the_policy_is_applied_in_the_demos_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    applied = yaml.safe_load(CurrentStage(Images()).policy(POLICY.read_text()))

    assert applied["metadata"]["namespace"] == "rollback-demo"
    assert "it is applied with `namespace: rollback-demo`" in capsys.readouterr().out


def test_customers_end_with_a_demo_that_is_broken_off(programs: Path) -> None:
    found = context.named(kind.CONTEXT)
    with pytest.raises(KeyboardInterrupt), servers.customers(found, Images(), 5):
        raise KeyboardInterrupt

    assert calls(programs, "kubectl")[-1].endswith("-- sh -c kill -TERM 1")


def test_all_pods_are_restricted_and_have_their_image() -> None:
    images = Images("registry.example/team")
    objects = [
        *servers.filled("demo-servers.yaml", images),
        *servers.filled("demo-load.yaml", images),
    ]
    pods = [one if one["kind"] == "Pod" else one["spec"].get("template") for one in objects[3:]]
    containers = [
        each
        for one in filter(None, pods)
        for each in one["spec"]["containers"] + one["spec"].get("initContainers", [])
    ]
    assert len(containers) == 4
    for one in containers:
        assert one["image"] == "registry.example/team/demo-servers:1"
        assert one["imagePullPolicy"] == "Always"
        assert one["securityContext"]["allowPrivilegeEscalation"] is False


# What is refused and what is removed, by a real API server's word.


@pytest.fixture(scope="module")
def server() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        found.start_kwok(nodes=1)
        yield found


@pytest.fixture
def current(server: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> context.Context:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    monkeypatch.setenv("PATH", f"{server.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}")
    return context.current()


def objects() -> list[preflight.Object]:
    return preflight.of_the_cluster(CurrentStage(Images()).objects())


def make(found: context.Context) -> None:
    text = yaml.safe_dump_all(objects())
    found.kubectl("apply", "--server-side", "-f", "-", input=text)
    made = (one for one in objects() if one["kind"] == "CustomResourceDefinition")
    wait_for_crds(found.kubectl, (one["metadata"]["name"] for one in made))


def test_an_empty_cluster_is_taken(current: context.Context) -> None:
    assert preflight.check(current, objects()) is False
    assert {one["kind"] for one in objects()} >= {
        "Namespace",
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
    }


def test_a_namespace_of_somebody_else_is_refused(current: context.Context) -> None:
    current.kubectl("create", "namespace", "rollback-demo")
    try:
        with pytest.raises(RefusedError, match="namespace rollback-demo exists"):
            preflight.check(current, objects())
        assert removal.foreign(current) == ["Namespace rollback-demo"]
    finally:
        current.kubectl("delete", "namespace", "rollback-demo")


def test_definitions_of_somebody_else_are_refused(current: context.Context) -> None:
    crds = [one for one in objects() if one["kind"] == "CustomResourceDefinition"]
    theirs = yaml.safe_dump({**crds[0], "metadata": {"name": crds[0]["metadata"]["name"]}})
    current.kubectl("apply", "--server-side", "-f", "-", input=theirs)
    try:
        with pytest.raises(RefusedError, match=r"is already installed.*Custom"):
            preflight.check(current, objects())
    finally:
        current.kubectl("delete", "-f", "-", input=theirs)


def test_rights_are_asked_for_first(
    current: context.Context, server: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    current.kubectl("create", "serviceaccount", "nobody")
    kubeconfig = server.service_account_kubeconfig("default", "nobody")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(
        RefusedError, match=r"you may not: get, .*delete namespaces; .*create pods/exec"
    ):
        preflight.check(context.current(), objects())


def test_a_server_that_is_away_is_told(
    current: context.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert current.version().startswith("v1.")
    file = tmp_path / "kubeconfig"
    authority = Path(
        json.loads(Path(os.environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"][
            "certificate-authority"
        ]
    )
    write_kubeconfig(file, "https://127.0.0.1:1", "token", authority)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(RefusedError, match=r"https://127.0.0.1:1 cannot be reached"):
        context.current().version()


@pytest.mark.extended
def test_down_removes_what_the_demo_made_and_nothing_else(
    current: context.Context, capsys: pytest.CaptureFixture[str]
) -> None:
    before = current.find(removal.KINDS)
    make(current)
    assert preflight.check(current, objects()) is True
    policy = POLICY.read_text().replace("production", "rollback-demo")
    held = policy.replace("metadata:\n", "metadata:\n  finalizers: [example.org/held]\n")
    current.kubectl("apply", "-f", "-", input=held)

    assert down.main(["--cluster", "current"]) == 0

    names = [one["metadata"]["name"] for one in before]
    assert [one["metadata"]["name"] for one in current.find(removal.KINDS)] == names
    said = capsys.readouterr().out
    assert "removed: Namespace rollback-demo with its contents" in said
    assert "everything that the demo created is removed" in said


@pytest.mark.extended
def test_down_leaves_the_definitions_that_others_use(
    current: context.Context, capsys: pytest.CaptureFixture[str]
) -> None:
    make(current)
    current.kubectl("apply", "-f", "-", input=POLICY.read_text().replace("production", "default"))

    assert down.main(["--cluster", "current"]) == 1
    assert "policies of others would be deleted with them (default/ticket-service)" in (
        capsys.readouterr().out.replace("\n", " ")
    )
    current.kubectl("delete", removal.POLICIES, "--all", "--namespace=default")
    assert down.main(["--cluster", "current"]) == 0
    assert removal.remains(current) == []
