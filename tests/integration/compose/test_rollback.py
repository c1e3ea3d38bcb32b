"""A bad image of a Compose service is taken back: on real Docker and Prometheus."""

from __future__ import annotations

import time
from pathlib import Path

from lab.compose_stage import (
    BAD,
    GOOD,
    SERVICE,
    AgentProcess,
    Project,
    load_shop,
    scraping,
    verb,
    wait_for,
)
from lab.docker_server import Docker
from lab.loadgen.load import Load
from lab.prometheus_server import Prometheus
from tests.integration.compose.stage import ended

HISTORY_SECONDS = 70
"""The control needs a minute."""


def test_a_bad_image_is_rolled_back(
    docker: Docker, images: dict[str, str], project: Project, tmp_path: Path
) -> None:
    project.write(GOOD)
    project.policy()
    project.up()
    with (
        Prometheus(scraping(project.files.port)) as prometheus,
        AgentProcess(project, prometheus.url) as agent,
        Load(f"http://127.0.0.1:{project.files.port}", "-", tmp_path, rate=50) as load,
    ):
        wait_for("the first sight", 300, lambda: project.record.get("services"), lambda: agent.tail)
        # A second agent names the first, and leaves.
        with AgentProcess(project, prometheus.url) as second:
            assert second.wait(300) == 2
        assert f"another agent (process {agent.pid}) watches this Compose file" in agent.tail
        time.sleep(HISTORY_SECONDS)
        written = project.write(BAD)
        project.up()
        wait_for(
            "the good image", 450, lambda: project.runs() == {images[GOOD]}, lambda: agent.tail
        )
        (rollback,) = wait_for("the end", 1200, lambda: ended(project), lambda: agent.tail)
        assert rollback["status"]["outcome"] == "Verified", rollback["status"]
        assert rollback["spec"]["severity"] == "P1"
        assert project.files.compose.read_bytes() == written
        # What a person sees.
        status, out, err = verb(project, "status")
        assert status == 0, err
        assert f"agent: process {agent.pid}" in out
        assert "pinned by" in out
        _, out, _ = verb(project, "explain")
        assert "kubectl" not in out
        assert "Deployment" not in out
        assert "Verified" in verb(project, "history")[1]
        # The next release of the user ends the pin.
        fixed = load_shop(docker, "shop:3.0", FIXED="1")
        project.write("shop:3.0")
        project.up()
        override = project.state / "override.yml"
        wait_for("the end of the pin", 150, lambda: not override.exists(), lambda: agent.tail)
        assert project.runs() == {fixed}
        summary = load.stop()
        print(f"failed {summary.total.failed} of {summary.total.sent}")
    assert len(project.rollbacks) == 1
    assert {
        each["Config"]["Labels"]["com.docker.compose.service"] for each in project.containers()
    } == {SERVICE}
