"""What a person types: the project that Compose would find, and requests that nobody is to take."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.adapters.compose.ledger import Ledger, LedgerState, PolicyRecord
from rollback_operator.cli.compose import command, inbox

ROOT = Path(__file__).parents[3]
CREATED = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a project, in which a person types."""
    for name in list(os.environ):
        if name.startswith(("COMPOSE_", "DOCKER_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "Shop.1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def typed(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return vars(parser.parse_args(["compose", *arguments]))


def names(*arguments: str) -> list[str]:
    return [path.name for path in command.files_of(typed(*arguments)).files]


def write(*files: str) -> None:
    for name in files:
        Path(name).write_text("services: {}\n")


def test_files_are_those_that_compose_finds(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("docker-compose.yml", "docker-compose.override.yml", "more.yml")
    assert names() == ["docker-compose.yml", "docker-compose.override.yml"]
    assert names("-f", "docker-compose.yml") == ["docker-compose.yml"]
    Path(".env").write_text("A=1\nCOMPOSE_FILE=docker-compose.yml:more.yml\n")
    assert names() == ["docker-compose.yml", "more.yml"]
    monkeypatch.setenv("COMPOSE_FILE", "more.yml")
    assert names() == ["more.yml"]


def test_the_project_has_the_name_that_compose_gives_it(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("docker-compose.yml")

    def project(*arguments: str) -> str:
        return command.files_of(typed(*arguments)).project

    assert project() == "shop1"
    Path("docker-compose.yml").write_text("# name: no\nname: 'fromfile'\nservices: {}\n")
    assert project() == "fromfile"
    Path(".env").write_text(
        '# COMPOSE_PROJECT_NAME=no\nexport COMPOSE_PROJECT_NAME="FromEnv" # x\n'
    )
    assert project() == "fromenv"
    Path("other.env").write_text("COMPOSE_PROJECT_NAME=other\n")
    assert project("--env-file", "other.env") == "other"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "variable")
    assert project() == "variable"
    assert project("-p", "given") == "given"
    with pytest.raises(command.UsageError, match="--project"):
        project("-p", "Given")


def test_a_file_of_variables_that_is_no_text_is_named(shop: Path) -> None:
    write("docker-compose.yml")
    Path(".env").write_bytes(b"\xff\xfe")
    with pytest.raises(command.UsageError, match=r"\.env: cannot be read"):
        names()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--policy: no agent runs"),
        (["--policy", "policy.yaml", "--compose-command", "true"], "prints no services"),
    ],
)
def test_a_refused_undo_leaves_no_request(
    shop: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    write("docker-compose.yml")
    Path("policy.yaml").write_text(
        "apiVersion: rollback.tickettoken.io/v1alpha1\nkind: RollbackPolicy\n"
        "metadata: {name: shop}\nspec: {mode: Enforce, targetRef: {name: shop}, signals: "
        "{requests: {metric: requests_total, matchers: {job: shop}}}}\n"
    )
    folder = shop / command.AGENT_FOLDER / "shop1"
    ledger = Ledger.open(folder)
    seen = {"revision": {"number": 2, "digest": "d"}}
    policies = {"shop": PolicyRecord(uid="u", created=CREATED, status=seen)}
    assert ledger.store(LedgerState(policies=policies)) is None
    ledger.close()
    assert command.run(typed("undo", "--reason", "a test", *options)) == 2
    assert said in capsys.readouterr().err
    assert list((folder / inbox.REQUESTS).glob("*")) == []


def test_the_systemd_unit_starts_what_there_is(tmp_path: Path) -> None:
    (unit,) = (ROOT / "deploy" / "compose").glob("*.service")
    text = unit.read_text()
    _, _, started = text.partition("ExecStart=/usr/local/bin/rollback-operator compose ")
    given = typed(*started.partition("\n#")[0].replace("\\\n", " ").split())
    assert (given["verb"], given["files"]) == ("run", [Path("/srv/%i/docker-compose.yml")])
    if not shutil.which("systemd-analyze"):
        pytest.skip("NOT TESTED: the unit's other lines need systemd-analyze")
    installed = tmp_path / unit.name
    installed.write_text(text.replace("/usr/local/bin/rollback-operator", "/bin/true"))
    asked = ["systemd-analyze", "verify", str(installed).replace("@.", "@shop.")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_status_and_explain_show_a_rollback_in_progress_with_its_policy(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("docker-compose.yml")
    ledger = Ledger.open(shop / command.AGENT_FOLDER / "shop1")
    last = {"name": "shop-1f0c", "time": CREATED}
    status = {"summary": "RollingBack", "lastRollback": last}
    rollback = {
        "metadata": {"name": "shop-1f0c", "namespace": "shop"},
        "spec": {"policyRef": {"name": "shop"}, "remedy": {"type": "Undo", "to": "LastKnownGood"}},
        "status": {"step": "Verify"},
    }
    policy = PolicyRecord(uid="u", created=CREATED, namespace="shop", status=status)
    state = LedgerState(policies={"shop": policy}, rollbacks={"shop-1f0c": rollback})
    assert ledger.store(state) is None
    ledger.close()

    assert command.run(typed("status")) == 0
    assert "shop: RollingBack: Undo to LastKnownGood" in capsys.readouterr().out
    assert command.run(typed("explain")) == 0
    assert "running, at step Verify" in capsys.readouterr().out
