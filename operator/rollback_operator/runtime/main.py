"""Runs the operator: settings -> parts -> elector, queue, watches and endpoints, to the end.

Read `run` first, then `live` (the tasks) and `_end` (the order of the shutdown).
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import kopf

from rollback_operator.api.v1alpha1 import KINDS
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile import tags
from rollback_operator.reconcile.cache import Key
from rollback_operator.runtime import handlers, telemetry
from rollback_operator.runtime.bootstrap import Parts, build
from rollback_operator.runtime.intake import path_of
from rollback_operator.runtime.settings import Settings

_log = logging.getLogger(__name__)
STALL_SECONDS = 60.0
INTAKE_SETTLE_SECONDS = 0.2
WATCHES_SECONDS = 5.0
"""Time for the watches to end after the stop flag is set."""
SHUTDOWN_SECONDS = 2.0
"""Time for the remaining tasks to end after they are cancelled."""
MOST_NESTED = 25_000
"""Python's recursion limit. The API server admits objects with 10,000 levels (the limit of its JSON
decoder), and a copy takes two calls per level. kopf parses every line of a watch: with Python's
default of 1,000, one such object ended the operator at each start. A stack of 8 MiB is enough for
json at this depth, in all threads."""


@dataclass(frozen=True, slots=True)
class Life:
    """The turning points of a process."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """The watches have delivered all existing objects: passes may begin."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """The process has to end."""


def serve(settings: Settings) -> int:
    """Run to the end and return the exit status; tasks that do not end are abandoned."""
    sys.setrecursionlimit(max(MOST_NESTED, sys.getrecursionlimit()))
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(run(settings))
    finally:
        loop.set_exception_handler(lambda _, __: None)  # no task waits for abandoned tasks
        loop.run_until_complete(_cancel_other_tasks())
        loop.close()


async def _cancel_other_tasks() -> None:
    """Cancel all remaining tasks: kopf's connections, and watches that may never end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=SHUTDOWN_SECONDS)


async def run(settings: Settings) -> int:
    """Run until SIGTERM, SIGINT, a lost lease or a dead watch; return the exit status."""
    configure_logging(settings)
    parts = await build(settings)
    life = Life()
    _end_by_signal(life.stop)
    health = telemetry.ProcessHealth(
        is_alive=lambda: _is_alive(parts),
        is_ready=life.ready.is_set,
        is_leading=parts.elector.is_leading,
        depth=lambda: len(parts.queue),
    )
    runner = await telemetry.serve(parts.telemetry, health, settings.http_host, settings.http_port)
    status = await live(parts, settings, life, _watch(parts, settings, life))
    await runner.cleanup()
    return status


async def live(
    parts: Parts, settings: Settings, life: Life, watch: Coroutine[Any, Any, None]
) -> int:
    """Elect, watch, reconcile and notify until the end; return the exit status.

    Args:
        parts: the wired parts.
        settings: of this operator.
        life: set by signals and by `watch`.
        watch: fills the cache and the queue, and ends when `life.stop` is set.
    """
    tasks = {
        asyncio.create_task(parts.elector.run(), name="elector"),
        asyncio.create_task(_work(parts, settings, life.ready), name="queue"),
        asyncio.create_task(parts.reconciler.teller.run(), name="teller"),
        asyncio.create_task(parts.resync.run(), name="resync"),
        asyncio.create_task(life.stop.wait(), name="stop"),
        asyncio.create_task(parts.elector.lost.wait(), name="lost"),
    }
    watches = asyncio.create_task(watch, name="watches")
    done, _ = await asyncio.wait({*tasks, watches}, return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in done if not task.cancelled() and task.exception()]
    for task in failed:
        _log.error("%s ended: %r", task.get_name(), task.exception())
    is_orderly = not failed and (life.stop.is_set() or watches in done)
    await _end(parts, {*tasks, watches} - done, life.stop)
    return 0 if is_orderly else 1


def _is_alive(parts: Parts) -> bool:
    """Report whether the workers are alive; a standby has none."""
    beats = time.monotonic() - parts.queue.beat < STALL_SECONDS
    return beats or not parts.elector.leading.is_set()


async def _end(parts: Parts, tasks: set[asyncio.Task[Any]], stop: asyncio.Event) -> None:
    """Stop the passes, then release the lease, then close the connections."""
    stop.set()
    working = {task for task in tasks if task.get_name() in ("queue", "elector")}
    for task in working:
        task.cancel()
    if working:
        await asyncio.wait(working, timeout=5)
    for last in (parts.reconciler.teller.finish, parts.elector.release):
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await last()
    # The stop flag ends the watches.
    watches = {task for task in tasks if task.get_name() == "watches"}
    if watches:
        await asyncio.wait(watches, timeout=WATCHES_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await parts.close()


async def _work(parts: Parts, settings: Settings, ready: asyncio.Event) -> None:
    """Run the passes while leading; standbys only keep their caches current."""
    await ready.wait()
    await parts.elector.leading.wait()
    parts.queue.beat = time.monotonic()

    async def run_pass(key: Key) -> float | None:
        parts.telemetry.passes.inc()
        policy = parts.intake.cache.policy_at(key)
        target = policy.spec.target_ref.name if policy is not None else ""
        with (
            tags.tagged(namespace=key[0], policy=key[1], deployment=target),
            parts.telemetry.seconds.time(),
            parts.telemetry.failures.count_exceptions(),
        ):
            return await parts.reconciler.reconcile(key)

    await parts.queue.run(run_pass, settings.workers, parts.elector.is_leading)


async def _watch(parts: Parts, settings: Settings, life: Life) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, parts.intake)
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    handlers.register_login(registry, kubeconfig, parts.api.response_budget)
    operator_settings = kopf.OperatorSettings()
    handlers.configure(operator_settings)
    settled = asyncio.create_task(settle(parts, settings, life.ready))
    settled.add_done_callback(partial(_end_by_failure, life.stop))
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=operator_settings,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=life.stop,
    )
    # kopf has replaced the signal handlers: its own would end the watches first, the lease last.
    _end_by_signal(life.stop)
    try:
        # kopf's own shutdown may wait forever for a dead watch, and before that it cancels the
        # tasks of others.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        settled.cancel()
    for task in done:
        task.result()


def _end_by_signal(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _end_by_failure(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """End a process that would never begin: after a restart it may."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("existing objects cannot be listed: %r", error)
        stop.set()


async def settle(parts: Parts, settings: Settings, ready: asyncio.Event) -> None:
    """Wait for the initial lists: no decision is made on an incomplete cache.

    kopf does not report when they are complete, hence the existing objects are listed once more.
    Deployments are not: a pass reads its own where the watch has not delivered it.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    while not await _has_all_objects(parts, settings):
        # List half of the time at most: the same thread takes in the awaited objects.
        await asyncio.sleep(max(INTAKE_SETTLE_SECONDS, clock() - began))
        began = clock()
    parts.intake.delivered = None
    ready.set()


async def _has_all_objects(parts: Parts, settings: Settings) -> bool:
    for kind in KINDS:
        for namespace in settings.namespaces or ("",):
            listed = await parts.api.list_metadata(path_of(kind.PLURAL, namespace))
            if isinstance(listed, Failure):
                _log.warning("not ready: %s cannot be listed: %s", kind.PLURAL, listed.message)
                return False
            delivered = parts.intake.delivered or ()  # by now: a list takes a while
            if not all(item["uid"] in delivered for item in listed):
                return False
    return True


def configure_logging(settings: Settings) -> None:
    """Set the format and level of log lines; kopf logs at level warning and above."""
    form = kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL
    kopf.configure(debug=settings.log_level == "debug", log_format=form)
    tags.put_on(logging.getLogger())
    logging.getLogger().setLevel(settings.log_level.upper())
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
