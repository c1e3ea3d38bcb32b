"""What a policy has left that the file has no more: its pin, and its open rollback."""

from __future__ import annotations

import pytest

from lab.compose_stage import BAD, GOOD, SERVICE, AgentProcess, Project, verb, wait_for
from tests.integration.compose.stage import (
    ASKS,
    NO_PROMETHEUS,
    QUICK,
    ask,
    ended,
    evaluates,
    waiting,
)

CART = f"  cart:\n    image: {GOOD}\n"


@pytest.mark.extended
def test_a_pin_and_an_open_rollback_of_a_policy_that_is_gone_end(
    images: dict[str, str], project: Project
) -> None:
    project.write(GOOD, extra=CART)
    project.policy(**QUICK, **ASKS)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        wait_for("the good release", 300, lambda: evaluates(project, GOOD), lambda: agent.tail)
        project.write(BAD, extra=CART)
        project.up()
        wait_for("the bad release", 300, lambda: evaluates(project, BAD), lambda: agent.tail)
        ask(project)
        wait_for("a question", 300, lambda: waiting(project), lambda: agent.tail)
    watch_cart(project)
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        (left,) = wait_for("the end", 300, lambda: ended(project), lambda: agent.tail)
        assert left["status"]["outcome"] == "Abandoned"
        name = left["metadata"]["name"]
        assert f"{name}: no policy of the file is its own any more: it ends" in agent.tail
    assert project.runs() == {images[BAD]}

    project.policy(**QUICK)
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        ask(project)
        wait_for("its end", 300, lambda: len(ended(project)) == 2, lambda: agent.tail)
        wait_for("the good release", 300, lambda: evaluates(project, GOOD), lambda: agent.tail)
    watch_cart(project)
    override = project.state / "override.yml"
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        named = f"service {SERVICE} is pinned by {override}, and no policy names it"
        wait_for(named, 300, lambda: named in agent.tail, lambda: agent.tail)
        assert f"up -d {SERVICE} from your own files ends the pin" in agent.tail
        assert f"pinned by {override}, and no policy names it" in verb(project, "status")[1]
        assert (override.exists(), project.runs()) == (True, {images[GOOD]})
        project.up()
        wait_for("the end of the pin", 300, lambda: not override.exists(), lambda: agent.tail)
        assert "pinned" not in verb(project, "status")[1]


def watch_cart(project: Project) -> None:
    """Write a file with a policy for another service alone."""
    project.service = "cart"
    project.policy(**QUICK)
    project.service = SERVICE
