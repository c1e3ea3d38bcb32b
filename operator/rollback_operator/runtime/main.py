"""Runs the operator: settings -> parts -> elector, queue, watches and endpoints, until its end."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
import kopf

from rollback_operator.adapters.kube.room import Room
from rollback_operator.adapters.kube.watches import Bounded, ReadLimits
from rollback_operator.api.v1alpha1 import KINDS
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile import tags
from rollback_operator.reconcile.cache import Key
from rollback_operator.runtime import handlers, telemetry
from rollback_operator.runtime.bootstrap import Parts, build, utc_now
from rollback_operator.runtime.intake import path_of
from rollback_operator.runtime.settings import Settings

_log = logging.getLogger(__name__)
STALL_SECONDS = 60.0
INTAKE_SETTLE_SECONDS = 0.2
LOGIN_MINUTES = 10
WATCHES_SECONDS = 5.0
"""How long the watches may take to end by themselves."""
SHUTDOWN_SECONDS = 2.0
"""How long what is left at the end may take to end."""
MOST_NESTED = 25_000
"""Python's limit of recursion. The API server admits objects that are nested 10,000 deep (its JSON
decoder's own limit), and a copy of one takes two calls a level. kopf parses every line of a watch:
with Python's default of 1,000 a single such object ended the operator at each start. A stack of
8 MiB holds json's recursion to this depth, in the main thread and in others."""


@dataclass(frozen=True, slots=True)
class Life:
    """An operator's turning points."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """The watches have delivered what there is: it may begin."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """It is to end."""


def serve(settings: Settings) -> int:
    """Run until the end; gives the exit status. Whoever does not end then is left behind."""
    sys.setrecursionlimit(max(MOST_NESTED, sys.getrecursionlimit()))
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(run(settings))
    finally:
        loop.set_exception_handler(lambda _, __: None)  # nobody waits for what is left
        loop.run_until_complete(_leave())
        loop.close()


async def _leave() -> None:
    """End all that still runs: kopf's connections, and watches that may take for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    if others:
        await asyncio.wait(others, timeout=SHUTDOWN_SECONDS)


async def run(settings: Settings) -> int:
    """Run until SIGTERM, SIGINT, a lost lease or a dead watch; gives the exit status."""
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
    """Elect, watch, work and tell until the end; gives the exit status.

    Args:
        parts: as they were wired.
        settings: of this operator.
        life: set from outside and by `watch`.
        watch: fills cache and queue, and ends by itself when the life is to end.
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
    """Tell whether the queue is being worked on; a standby's is not, and need not be."""
    beats = time.monotonic() - parts.queue.beat < STALL_SECONDS
    return beats or not parts.elector.leading.is_set()


async def _end(parts: Parts, tasks: set[asyncio.Task[Any]], stop: asyncio.Event) -> None:
    """Stop working first, then give the lease up, then close."""
    stop.set()
    for task in tasks:
        if task.get_name() in ("queue", "elector"):
            task.cancel()
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.gather(
                *(one for one in tasks if one.get_name() in ("queue", "elector")),
                return_exceptions=True,
            )
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await parts.reconciler.teller.finish()
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await parts.elector.release()
    # The watches end by the flag.
    watches = {task for task in tasks if task.get_name() == "watches"}
    if watches:
        await asyncio.wait(watches, timeout=WATCHES_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await parts.close()


async def _work(parts: Parts, settings: Settings, ready: asyncio.Event) -> None:
    """Work on the queue while leading; standbys keep their caches warm."""
    await ready.wait()
    await parts.elector.leading.wait()
    parts.queue.beat = time.monotonic()

    async def one_pass(key: Key) -> float | None:
        parts.telemetry.passes.inc()
        policy = parts.intake.cache.policy_at(key)
        target = policy.spec.target_ref.name if policy is not None else ""
        with (
            tags.tagged(namespace=key[0], policy=key[1], deployment=target),
            parts.telemetry.seconds.time(),
            parts.telemetry.failures.count_exceptions(),
        ):
            return await parts.reconciler.reconcile(key)

    await parts.queue.run(one_pass, settings.workers, parts.elector.is_leading)


async def _watch(parts: Parts, settings: Settings, life: Life) -> None:
    registry = kopf.OperatorRegistry()
    delivered = Delivered()
    handlers.register(registry, parts.intake, delivered.mark)
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None

    @kopf.on.login(registry=registry)
    async def login(**options: Any) -> kopf.AiohttpSession | None:
        found = _login(kubeconfig, **options)
        return None if found is None else _bounded(found, parts.api.room)

    operator_settings = kopf.OperatorSettings()
    handlers.configure(operator_settings)
    settled = asyncio.create_task(settle(parts, settings, delivered, life.ready))
    settled.add_done_callback(partial(_end_by_failure, life.stop))
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=operator_settings,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=life.stop,
    )
    # kopf has taken the signals: by its handlers the watches would end first, the lease last.
    _end_by_signal(life.stop)
    try:
        # Not kopf's own end: that may wait for ever for what is left of a watch that has died, and
        # before that it cancels what others have begun.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        settled.cancel()
    for one in done:
        one.result()


def _end_by_signal(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _end_by_failure(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """End an operator that would never begin: started anew, it may."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("what there is cannot be listed: %r", error)
        stop.set()


class Delivered:
    """Which objects the watches have delivered, by uid, until the first lists are complete."""

    def __init__(self) -> None:
        self.uids: set[str] | None = set()

    def mark(self, uid: str) -> None:
        """Note an object."""
        if self.uids is not None:
            self.uids.add(uid)


async def settle(
    parts: Parts, settings: Settings, delivered: Delivered, ready: asyncio.Event
) -> None:
    """Wait for the initial lists: the first decision must not be made on half a view.

    kopf does not tell when they are complete, so what there is is listed once more. Deployments are
    not: a policy asks for its own where the watch has not delivered it.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    while not await _has_all(parts, settings, delivered):
        # Half of the time at most: what is awaited has to be taken in by the same thread.
        await asyncio.sleep(max(INTAKE_SETTLE_SECONDS, clock() - began))
        began = clock()
    delivered.uids = None
    ready.set()


async def _has_all(parts: Parts, settings: Settings, delivered: Delivered) -> bool:
    for kind in KINDS:
        for namespace in settings.namespaces or ("",):
            listed = await parts.api.list_metadata(path_of(kind.PLURAL, namespace))
            if isinstance(listed, Failure):
                _log.warning("not ready: %s cannot be listed: %s", kind.PLURAL, listed.message)
                return False
            if not all(_is_known(parts, kind.PLURAL, one, delivered) for one in listed):
                return False
    return True


def _is_known(parts: Parts, plural: str, one: Mapping[str, Any], delivered: Delivered) -> bool:
    """Tell whether a watch has delivered an object, or the comparison of once a minute has read it.

    A watch that died without a word delivers nothing more, and who waits for it leads for ever.
    """
    if one["uid"] in (delivered.uids or ()):
        return True
    found = parts.intake.cache.version(plural, (one["namespace"], one["name"]))
    return found is not None and found.uid == one["uid"]


def _login(kubeconfig: str | None, **options: Any) -> kopf.ConnectionInfo | None:
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = kubeconfig  # the only way to tell kopf which file
        return kopf.login_with_kubeconfig(**options)
    found = kopf.login_with_service_account(**options)
    # A service account's token is rotated: log in anew well before it expires.
    expiration = utc_now() + timedelta(minutes=LOGIN_MINUTES)
    return None if found is None else _expiring(found, expiration)


def _bounded(found: kopf.ConnectionInfo, room: Room) -> kopf.AiohttpSession:
    """Have kopf read the API server within the memory that there is for answers."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
        headers=found.as_http_headers(),
        proxy=found.proxy_url,
        trust_env=found.trust_env,
        response_class=Bounded,
        middlewares=(ReadLimits(room),),
    )
    return kopf.AiohttpSession(
        server=found.server,
        priority=found.priority,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
        aiohttp_session=session,
    )


def _expiring(found: kopf.ConnectionInfo, expiration: Any) -> kopf.ConnectionInfo:
    return type(found)(**{**vars(found), "expiration": expiration})


def configure_logging(settings: Settings) -> None:
    """Set the form and level of log lines; kopf's own chatter stays out unless asked for."""
    form = kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL
    kopf.configure(debug=settings.log_level == "debug", log_format=form)
    tags.put_on(logging.getLogger())
    logging.getLogger().setLevel(settings.log_level.upper())
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
