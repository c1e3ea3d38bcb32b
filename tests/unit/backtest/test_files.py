"""What a person hands in: which field is wrong, which is not known."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollback_operator.__main__ import main
from rollback_operator.api.v1alpha1 import Mode
from rollback_operator.cli.backtest.batch import run_batch
from rollback_operator.cli.backtest.case import parse_options, run_case
from rollback_operator.cli.backtest.files import BadFileError, read_file
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.rollouts import (
    Rollouts,
    parse_rollouts,
    warn_of_contradictions,
)
from rollback_operator.cli.backtest.tracks import Track, Tracks
from tests.builders import NAME, NAMESPACE, T0
from tests.unit.backtest.past import NEW, OLD, make_file, rfc3339

REPORT = {"severity": "P1", "when": [{"signal": "StuckRollout"}], "response": "Report"}
OBSERVED = {"time": rfc3339(0)}
ROLLOUT = {"time": rfc3339(0), "templateHash": NEW}


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ([], "rollouts"),
        ({}, "deployment"),
        (make_file(deployment=3), "deployment"),
        (make_file(namespace=""), "namespace"),
        (make_file(rollouts=[]), "rollouts"),
        (make_file(rollouts={}), "rollouts"),
        (make_file(rollouts=[ROLLOUT, {"time": rfc3339(1)}]), "rollouts[1].templateHash"),
        (make_file(rollouts=[ROLLOUT | {"time": "10:00"}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"time": "2026-11-20T10:00:00"}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"time": 1_800_000_000}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"time": None}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"time": 1e300}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"time": math.inf}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"time": "9999-12-31T00:00:00Z"}]), "rollouts[0].time"),
        (make_file(rollouts=[ROLLOUT | {"replicas": -1}]), "rollouts[0].replicas"),
        (make_file(rollouts=[ROLLOUT | {"replicas": 10**9}]), "rollouts[0].replicas"),
        (make_file(rollouts=[ROLLOUT | {"replicas": True}]), "rollouts[0].replicas"),
        (make_file(observations=[{}]), "observations[0].time"),
        (make_file(observations=[OBSERVED | {"restarts": "x"}]), "observations[0].restarts"),
        (make_file(pods=[{"name": "a", "ready": "soon"}]), "pods[0].ready"),
        (make_file(pods=[{"name": "a"}, {"name": "a"}]), "pods[1].name"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_rollout_file_names_its_field(raw: Any, field: str) -> None:
    with pytest.raises(BadFileError) as error:
        parse_rollouts(raw)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        ({"name": "other-1-abcde"}, "pods[0].name: "),
        ({"name": f"{NAME}-{NEW}-abcde", "templateHash": "x"}, "pods[0].templateHash: "),
        ({"name": f"{NAME}-{NEW}-abcde", "templateHash": OLD}, "pods[0].templateHash: "),
        ({"name": f"{NAME}-{NEW}-abcde"}, ""),
        ({"name": "a-name-cut-at-63-characters", "templateHash": NEW}, ""),
    ],
)
def test_a_pod_that_fits_no_rollout_is_told(pod: dict[str, str], told: str) -> None:
    found: list[str] = []
    parse_rollouts(make_file(pods=[pod]), found.append)
    assert [one.startswith(told) for one in found] == ([True] if told else [])


@pytest.mark.parametrize(
    ("updated", "at", "is_told"),
    [(0, 100, True), (0, 20, False), (0, 400, False), (2, 100, False), (None, 100, False)],
    ids=["contradiction", "no sample yet", "no sample any more", "as counted", "not observed"],
)
def test_an_observation_without_pods_that_have_samples_is_told(
    updated: int | None, at: float, is_told: bool
) -> None:
    observed = {"time": rfc3339(at)} | ({} if updated is None else {"updatedReplicas": updated})
    found = parse_rollouts(make_file(rollouts=[ROLLOUT], observations=[observed, observed]))
    times = tuple(T0 + second for second in range(30, 200, 5))
    pods = {f"{NAME}-{NEW}-{n}": Track(f"{NAME}-{NEW}-{n}", NEW, times) for n in "ab"}
    old = {f"{NAME}-{OLD}-c": Track(f"{NAME}-{OLD}-c", OLD, times)}
    told: list[str] = []
    warn_of_contradictions(found, Tracks(pods | old), told.append)
    assert len(told) == is_told
    assert all("updatedReplicas: 0 at" in each and "2 pods of" in each for each in told)
    assert all("1 more observations" in each for each in told)


def test_times_are_read_and_put_in_order() -> None:
    file = make_file(
        rollouts=[
            {"time": "2027-01-15T09:00:01+01:00", "templateHash": NEW, "revision": "7"},
            {"time": "2027-01-15T07:59:00.5Z", "templateHash": OLD, "extra": 1},
        ],
        pods=None,
    )
    told: list[str] = []
    found = parse_rollouts(file, told.append)
    assert [one.time - T0 for one in found.rollouts] == [-59.5, 1]
    assert found.label_of(NEW, T0 + 5) == "7"
    assert found.label_of(OLD, T0 + 5) == OLD
    assert len(told) == 1
    assert told[0].startswith("rollouts[1].extra ")


def known() -> Rollouts:
    return parse_rollouts(make_file())


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ([], "spec"),
        ({}, "spec"),
        ({"kind": "RollbackPolicy", "metadata": {"name": NAME}}, "spec"),
        ({"apiVersion": "v1", "spec": {}}, "apiVersion"),
        ({"spec": []}, "spec"),
        ({"matrix": [REPORT | {"when": [{"signal": "Vibes"}]}]}, "spec.matrix"),
        ({"kind": "Rollback", "spec": {}}, "kind"),
        ({"spec": {"mode": "Enforce"}}, "spec.targetRef"),
        ({"spec": {"mode": "Never", "targetRef": {"name": NAME}}}, "spec.mode"),
        ({"safety": {"watchSeconds": 1}}, "spec.safety.watchSeconds"),
        ({"signals": {"requests": {"metric": "a b"}}}, "spec.signals.requests.metric"),
        (
            {"matrix": [REPORT | {"when": [{"signal": "ErrorRate"}]}]},
            "spec.matrix[0].when[0]",
        ),
        (
            {"matrix": [REPORT, REPORT | {"severity": "P2"}]},
            "spec.matrix[1].when[0]",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_policy_names_its_field(raw: Any, field: str) -> None:
    with pytest.raises(BadFileError) as error:
        parse_policy(raw, known())
    assert error.value.field == field


def test_a_number_where_a_string_belongs_is_told_how_to_write_it() -> None:
    for given, told in ((0.05, '"0.05"'), (3, '"3"')):
        raw = {"matrix": [REPORT | {"when": [{"signal": "ErrorRate", "above": given}]}]}
        with pytest.raises(BadFileError, match=f"must be a string: write {told}, in quotes"):
            parse_policy(raw, known())


def test_a_line_that_this_program_trips_over_leaves_the_others(tmp_path: Path) -> None:
    class Tripping(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError

    path = tmp_path / "cases.jsonl"
    path.write_text("{}\n[]\n")
    first, second = run_batch(path, GIVEN | {"rollouts": Tripping()}, 1)
    assert first["error"]["line"] == 1
    assert "RuntimeError" in first["error"]["message"]
    assert second["error"]["line"] == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"step": 5, "step": 6}', "the key 'step' occurs twice"),
    ],
    ids=["deep", "twice"],
)
def test_a_line_that_cannot_be_read_says_why(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(line)
    (found,) = run_batch(path, {}, 1)
    assert told in found["error"]["message"]


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(ends: signal.Signals) -> None:
    program = (
        "import os, time\n"
        "from rollback_operator.cli.backtest.batch import workers\n"
        "if __name__ == '__main__':\n"
        "    pool = workers(1)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 600)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(ends)
        assert parent.wait(60) == -ends
    end = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_a_batch_without_a_case_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("\n")
    with pytest.raises(BadFileError, match="has no case"):
        list(run_batch(path, {}, 1))


def test_a_spec_alone_is_a_policy() -> None:
    found = parse_policy({"safety": {"watchSeconds": 900}}, known())
    assert (found.metadata.namespace, found.spec.target_ref.name) == (NAMESPACE, NAME)
    assert (found.spec.mode, found.spec.safety.watch_seconds) == (Mode.ENFORCE, 900)


def test_a_policy_for_another_deployment_is_taken_for_this_one_and_told() -> None:
    told: list[str] = []
    raw = {"spec": {"targetRef": {"name": "other"}, "mode": "Observe"}}
    assert parse_policy(raw, known(), told.append).spec.target_ref.name == NAME
    assert told[0].startswith("spec.targetRef.name")


def test_what_another_version_knows_is_left_out_and_told() -> None:
    raw = yaml.safe_load("""
    apiVersion: rollback.tickettoken.io/v1alpha1
    kind: RollbackPolicy
    metadata: {name: x, namespace: y}
    spec:
      targetRef: {kind: Deployment, name: ticket-service}
      mode: Enforce
      teleport: {speed: 3}
      safety: {watchSeconds: 600, goodAfterSeconds: 60, mood: calm}
      matrix:
      - severity: P1
        when: [{signal: Telepathy}, {signal: Unavailable}]
        response: Rollback
      - severity: P2
        when: [{signal: Telepathy}]
        response: Rollback
      remedies:
      - {type: Prayer, to: Heaven}
      - {type: Undo, to: Previous}
    """)
    told: list[str] = []
    spec = parse_policy(raw, known(), told.append).spec
    assert spec.safety.watch_seconds == 600
    assert [(one.severity, len(one.when)) for one in spec.matrix] == [("P1", 1)]
    assert [one.to for one in spec.remedies] == ["Previous"]
    names = [one.partition(" ")[0].rstrip(":") for one in told]
    assert names == [
        "spec.safety.mood",
        "spec.teleport",
        "spec.matrix[0].when[0].signal",
        "spec.matrix[1].when[0].signal",
        "spec.matrix[1]",
        "spec.remedies[0].type",
    ]


def test_files_are_json_or_yaml_with_times_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("time: 2026-11-20T10:00:00Z\n")
    assert read_file(path) == {"time": "2026-11-20T10:00:00Z"}
    path.write_text('{\n\t"a": [1]\n}')
    assert read_file(path) == {"a": [1]}
    path.write_text("")
    assert read_file(path) is None
    for content in ("{", "a: [", "\tx: y", "a: 1\na: 2", '{"a": 1, "a": 2}', "[" * 100_000):
        path.write_text(content)
        with pytest.raises(BadFileError, match=str(path)):
            read_file(path)
    path.write_text("a: 1\n---\na: 2\n")
    with pytest.raises(BadFileError, match="holds 2 documents"):
        read_file(path)
    with pytest.raises(BadFileError, match="absent"):
        read_file(tmp_path / "absent")


GIVEN = {
    "policy": {},
    "rollouts": {},
    "prometheus": "http://localhost:9090",
    "start": rfc3339(0),
    "end": rfc3339(60),
    "step": 5,
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"policy": None}, "policy"),
        ({"rollouts": "absent.json"}, "rollouts"),
        ({"prometheus": "localhost"}, "prometheus"),
        ({"prometheus": 3}, "prometheus"),
        ({"prometheus": "http://"}, "prometheus"),
        ({"prometheus": "http://[::1"}, "prometheus"),
        ({"prometheus": "http://localhost:99999"}, "prometheus"),
        ({"start": "yesterday"}, "start"),
        ({"end": rfc3339(-1)}, "end"),
        ({"start": 1e18}, "start"),
        ({"start": "0001-01-01T00:00:00Z"}, "start"),
        ({"end": -1}, "end"),
        ({"step": 0}, "step"),
        ({"step": "often"}, "step"),
        ({"step": True}, "step"),
        ({"step": 1e-6}, "step"),
        ({"continue": "yes"}, "continue"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError) as error:
        parse_options(GIVEN | changes, tmp_path)
    assert error.value.field == field


def test_options_of_a_line_and_of_the_command_line_are_the_same() -> None:
    by_line, by_command = (parse_options(GIVEN | {"step": step}, Path()) for step in (5, "5"))
    assert by_line == by_command
    assert (by_line.span.start, by_line.span.end, by_line.span.step) == (T0, T0 + 60, 5)
    assert by_line.span.moments()[-1] == T0 + 60


async def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_OPERATOR_WORKERS", "many")
    options = parse_options(
        GIVEN | {"policy": {"mode": "Observe"}, "rollouts": make_file()}, Path()
    )

    with pytest.raises(BadFileError) as error:
        await run_case(options, lambda _: None)
    assert error.value.field == "ROLLBACK_OPERATOR_WORKERS"


def files(directory: Path) -> list[str]:
    """Write a case whose Prometheus does not answer: its command."""
    (directory / "policy.json").write_text('{"mode": "Enforce"}')
    (directory / "rollouts.json").write_text(json.dumps(make_file()))
    given = GIVEN | {
        "policy": directory / "policy.json",
        "rollouts": directory / "rollouts.json",
        "prometheus": "http://127.0.0.1:1",
    }
    return [
        "backtest",
        *(word for name, value in given.items() for word in (f"--{name}", str(value))),
    ]


def test_a_plot_that_cannot_be_written_takes_no_result_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.json").write_text("{}")
    assert main([*files(tmp_path), "--plot", str(tmp_path / "nowhere" / "plot.svg")]) == 2
    said = capsys.readouterr()
    assert "At the end, " in said.out
    assert said.err.startswith("rollback-operator: plot: ")


def test_a_plot_without_matplotlib_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    given = files(tmp_path)

    assert main([*given, "--plot", str(tmp_path / "plot.svg")]) == 2
    refused = capsys.readouterr()
    assert (refused.out, refused.err.count("the extra `plot`")) == ("", 1)
    batch = tmp_path / "cases.jsonl"
    batch.write_text(json.dumps({"plot": "plot.svg"}))
    assert main([*given, "--batch", str(batch)]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["error"]["field"] == "plot"


def test_a_plot_is_for_one_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = tmp_path / "cases.jsonl"
    batch.write_text("{}")
    assert main(["backtest", "--batch", str(batch), "--plot", str(tmp_path / "plot.svg")]) == 2
    assert "rollback-operator: --plot: " in capsys.readouterr().err


def test_that_a_policy_s_secrets_are_not_read_is_told() -> None:
    told: list[str] = []
    ref = {"bearerTokenSecretRef": {"name": "prometheus", "key": "token"}}

    parse_policy({"prometheus": ref}, known(), told.append)
    parse_policy({"prometheus": {"url": "http://p"}}, known(), told.append)

    (said,) = told
    assert said.startswith("spec.prometheus: Secrets are not read here")
    assert "ROLLBACK_OPERATOR_PROMETHEUS_TOKEN_FILE" in said
    assert "_BASIC_AUTH_FOLDER" in said
