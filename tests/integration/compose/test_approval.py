"""A rollback that waits for a person: approved and rejected by the verbs."""

from __future__ import annotations

from lab.compose_stage import BAD, GOOD, AgentProcess, Project, verb, wait_for
from tests.integration.compose.stage import (
    ASKS,
    NO_PROMETHEUS,
    QUICK,
    ask,
    ended,
    evaluates,
    waiting,
)


def test_a_rollback_that_waits_is_rejected_and_approved(
    images: dict[str, str], project: Project
) -> None:
    project.write(GOOD)
    project.policy(**QUICK, **ASKS)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        wait_for("the good release", 300, lambda: evaluates(project, GOOD), lambda: agent.tail)
        status, _, err = verb(project, "approve", "--reason", "a test")
        assert (status, "waiting: none" in err) == (2, True), err
        project.write(BAD)
        project.up()
        wait_for("the bad release", 300, lambda: evaluates(project, BAD), lambda: agent.tail)

        ask(project)
        (asked,) = wait_for("a question", 300, lambda: waiting(project), lambda: agent.tail)
        name = asked["metadata"]["name"]
        command = f"rollback-operator compose -f {project.files.compose}"
        for page in (verb(project, "status")[1], verb(project, "explain")[1], agent.tail):
            assert f"{command} approve {name} --reason" in page, page
            assert "kubectl" not in page
        status, _, err = verb(project, "approve", name)
        assert (status, "--reason" in err) == (2, True), err
        status, out, err = verb(project, "reject", name, "--reason", "not now")
        assert status == 0, err
        (rejected,) = wait_for("its end", 300, lambda: ended(project), lambda: agent.tail)
        assert rejected["status"]["outcome"] == "Rejected"
        assert rejected["spec"]["approval"]["by"] == "root"
        assert project.runs() == {images[BAD]}

        ask(project)
        wait_for("a question", 300, lambda: waiting(project), lambda: agent.tail)
        status, out, err = verb(project, "approve", "--reason", "it only adds a column")
        assert status == 0, err
        wait_for("its end", 300, lambda: len(ended(project)) == 2, lambda: agent.tail)
        explained = verb(project, "explain")[1]
        assert "it only adds a column" in explained, explained
        assert project.runs() == {images[GOOD]}
    print(out, explained, agent.tail)
