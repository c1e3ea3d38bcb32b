"""Live counts on a real API server: asked for by an annotation, bounded, gone when it is over."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from rollback_operator.api.policy_status import WATCHED_UNTIL
from tests.integration.api import Object, eventually, policies, throughout
from tests.integration.conftest import RunningOperator
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, GOOD

pytestmark = [
    pytest.mark.xdist_group("watching"),
    pytest.mark.usefixtures("operator"),
    pytest.mark.timeout(1200),
]

PLUGIN = Path(sys.executable).with_name("kubectl-rollback")
WATCHED_SECONDS, QUIET_SECONDS = 20.0, 12.0
EVERY_SECONDS = 2.0


def ask(service: Service, value: str | None) -> None:
    """Ask for counts as any client may; None: ask no more."""
    path = f"{policies(service.namespace)}/{service.name}"
    service.stand.api.merge(path, {"metadata": {"annotations": {WATCHED_UNTIL: value}}})


def soon(seconds: float = 100.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def evaluation(service: Service) -> Object | None:
    return service.status().get("evaluation")


def version(service: Service) -> str:
    return str(service.policy()["metadata"]["resourceVersion"])


def healthy_release(service: Service) -> None:
    """Have a release under watch that does well, about which all is written."""
    service.prepare()
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()
    service.wait_for("Healthy", "NoEvidenceAgainst")
    eventually(lambda: is_quiet(service), "its status is settled", 120.0)


@pytest.fixture(scope="module")
def healthy(
    stand: Stand,
    operator: RunningOperator,  # it watches
) -> Iterator[Service]:
    """One release for the tests that leave it as it was."""
    service = Service(stand, stand.namespace("healthy"))
    healthy_release(service)
    yield service
    service.retire()


def is_quiet(service: Service) -> bool:
    before = version(service)
    time.sleep(QUIET_SECONDS)
    return version(service) == before


@pytest.mark.extended
def test_counts_are_on_record_while_they_are_asked_for_and_no_longer(healthy: Service) -> None:
    service = healthy
    assert evaluation(service) is None

    ask(service, soon())
    found = eventually(lambda: evaluation(service), "counts are on record")
    assert found["new"]["pods"] == 4
    assert found["new"]["requests"] > 0
    assert (found["new"]["errors"], found["past"]["errors"]) == (0, 0)
    assert found["past"]["requests"] > 0
    assert found["revision"] == service.status()["revision"]["number"]
    assert (found["suspectOdds"], found["badOdds"]) == (100, 10_000)
    assert found["reason"] == "NoEvidenceAgainst"

    first = found["new"]["requests"]
    eventually(lambda: (evaluation(service) or found)["new"]["requests"] > first, "they go on")
    times: set[str] = set()
    until = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < until:
        seen = evaluation(service) or found
        times.add(seen["time"])
        assert seen["reason"] == found["reason"]
        time.sleep(0.1)
    stamps = sorted(datetime.fromisoformat(one) for one in times)
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(stamps)]
    assert min(gaps, default=EVERY_SECONDS) >= EVERY_SECONDS - 0.001

    ask(service, None)
    eventually(lambda: evaluation(service) is None, "counts are taken off")
    eventually(lambda: is_quiet(service), "nothing is written any more", 60.0)


@pytest.mark.parametrize(
    "value", ["forever", "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "x" * 5000]
)
@pytest.mark.extended
def test_any_other_value_asks_for_nothing(service: Service, value: str) -> None:
    healthy_release(service)
    ask(service, value)
    before = version(service)

    throughout(QUIET_SECONDS, lambda: None if version(service) == before else service.status())

    assert evaluation(service) is None
    assert service.reason("Ready")[0] == "True"


@pytest.mark.extended
def test_a_request_for_counts_runs_out(service: Service) -> None:
    healthy_release(service)
    ask(service, soon(8.0))
    eventually(lambda: evaluation(service), "counts are on record")
    eventually(lambda: evaluation(service) is None, "the request has run out")
    eventually(lambda: is_quiet(service), "nothing is written any more", 60.0)


def plugin(stand: Stand, service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PLUGIN), *words, f"--kubeconfig={stand.cluster.kubeconfig}", "-n", service.namespace],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Terminal:
    """A person's terminal of 80 columns with a live view on it."""

    def __init__(self, stand: Stand, service: Service) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 80))
        config = f"--kubeconfig={stand.cluster.kubeconfig}"
        self.process = subprocess.Popen(
            [str(PLUGIN), "watch", config, "-n", service.namespace],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
            start_new_session=True,
        )
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        os.set_blocking(self._ours, False)
        self.text = ""

    def shows(self, text: str) -> bool:
        """Read what was drawn since, and tell whether a text was drawn so far."""
        with suppress(BlockingIOError):
            self.text += os.read(self._ours, 1 << 20).decode(errors="replace")
        return text in self.text

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    def has_ended(self) -> bool:
        self.shows("")
        return self.process.poll() is not None

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.mark.parametrize("end", ["q", "signal"])
@pytest.mark.extended
def test_a_live_view_is_ended_by_a_key_or_a_signal_and_leaves_nothing(
    healthy: Service, stand: Stand, end: str
) -> None:
    service = healthy
    terminal = Terminal(stand, service)
    try:
        eventually(lambda: terminal.shows("suspect from 100 : 1"), "counts are shown")
        assert WATCHED_UNTIL in service.policy()["metadata"]["annotations"]
        if end == "q":
            terminal.press("q")
        else:
            terminal.process.send_signal(signal.SIGINT)
        eventually(terminal.has_ended, f"it ends\n{terminal.text[-2000:]}")
        assert terminal.process.returncode == 0, terminal.text[-2000:]
        assert terminal.is_as_before()
    finally:
        terminal.close()
    assert WATCHED_UNTIL not in service.policy()["metadata"].get("annotations", {})


def row(text: str, name: str) -> Sequence[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))


def test_the_command_shows_one_frame_with_counts_and_leaves_nothing(
    healthy: Service, stand: Stand
) -> None:
    service = healthy

    done = plugin(stand, service, "watch", "shop", "--once")

    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert row(done.stdout, "new")[2:5] == ["4", "4", "4"]
    assert int(row(done.stdout, "new")[5]) > 0
    assert "suspect from 100 : 1, bad from 10000 : 1" in done.stdout
    assert WATCHED_UNTIL not in service.policy()["metadata"].get("annotations", {})
    eventually(lambda: evaluation(service) is None, "counts are taken off")


def test_a_bad_release_is_shown_with_its_rollback(service: Service, stand: Stand) -> None:
    service.prepare()
    ask(service, soon())
    service.roll_out("v2", BAD)
    found = service.wait_for_rollback()
    assert outcome(found) == ("Verified", "Recovered"), service.told()

    done = plugin(stand, service, "watch")

    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert f"Rollback {found['metadata']['name']}" in done.stdout
    assert "Undo to revision 1: Verified" in done.stdout


@pytest.mark.extended
def test_who_may_only_read_sees_pods_and_is_told_why_there_are_no_counts(
    healthy: Service, stand: Stand
) -> None:
    service = healthy
    grant_reading(stand, service.namespace)

    done = plugin(stand, service, "watch", "--as", READER)

    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert row(done.stdout, "new")[2:5] == ["4", "4", "-"]
    assert "No counts: a request for them patches the policy." in done.stdout


READER = "reader@example.com"


def grant_reading(stand: Stand, namespace: str) -> None:
    """Let somebody read what the view shows, and change nothing."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    read = ["get", "list", "watch"]
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": read},
        {"apiGroups": [""], "resources": ["pods"], "verbs": read},
        {"apiGroups": ["autoscaling"], "resources": ["*"], "verbs": read},
        {"apiGroups": ["rollback.tickettoken.io"], "resources": ["*"], "verbs": read},
    ]
    stand.api.create(f"{path}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    person = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": READER}
    stand.api.create(
        f"{path}/rolebindings",
        {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [person]},
    )
