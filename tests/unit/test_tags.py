"""A log line says of what it tells: policy, Deployment, Rollback; also in JSON, and per task."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
from collections.abc import Iterator

import pytest
from kopf._core.actions.loggers import ObjectJsonFormatter

from rollback_operator.reconcile import tags
from rollback_operator.reconcile.tags import tagged


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a logger of its own writes, as the operator's do."""
    logger, out = logging.getLogger("tagged"), io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(ObjectJsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    tags.put_on(logger)
    tags.put_on(logger)
    yield out
    logger.removeHandler(handler)


def written(out: io.StringIO) -> list[dict[str, str]]:
    known = ("message", *tags.NAMES)
    found = (json.loads(line) for line in out.getvalue().splitlines())
    return [{name: one[name] for name in known if name in one} for one in found]


def say(text: str) -> None:
    logging.getLogger("tagged").info(text)


def test_lines_carry_what_is_worked_on_and_nothing_after(lines: io.StringIO) -> None:
    with tagged(namespace="production", policy="shop", deployment=""):
        say("looked at")
        with tagged(rollback="shop-1f0c"):
            say("undone")
    say("over")

    whose = {"namespace": "production", "policy": "shop"}
    assert written(lines) == [
        {"message": "looked at", **whose},
        {"message": "undone", **whose, "rollback": "shop-1f0c"},
        {"message": "over"},
    ]


async def test_tasks_do_not_mix(lines: io.StringIO) -> None:
    async def work(name: str) -> None:
        with tagged(policy=name):
            await asyncio.sleep(0)
            say(name)

    await asyncio.gather(*(work(name) for name in "abc"))

    assert [(one["message"], one["policy"]) for one in written(lines)] == [
        (name, name) for name in "abc"
    ]


def test_a_coroutine_that_is_abandoned_ends_without_an_error() -> None:
    async def work() -> None:
        with tagged(policy="shop"):
            await asyncio.sleep(3600)

    abandoned = work()

    async def begin() -> None:
        abandoned.send(None)

    contextvars.Context().run(asyncio.run, begin())
    abandoned.close()


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no field of log lines is called pod"), tagged(pod="a"):
        pass


def test_a_text_of_a_stranger_stays_within_its_line(lines: io.StringIO) -> None:
    logging.getLogger("tagged").info("refused: %s", "x\n2027 forged \x1b[2J\u202e")
    (line,) = written(lines)
    assert line["message"] == "refused: x\\n2027 forged  [2J "
