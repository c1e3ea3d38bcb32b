"""Runs the agent: observes services, takes requests, and makes passes, until it is stopped."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rollback_operator.adapters.compose.ledger import ServiceRecord
from rollback_operator.adapters.compose.revisions import ServicePlace
from rollback_operator.api.v1alpha1 import (
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
    rollback_of,
)
from rollback_operator.cli.compose import inbox, policies
from rollback_operator.cli.compose.wiring import AgentParts
from rollback_operator.model.context import is_active
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Key

_log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
"""Between two looks at the containers where no event says that something has changed."""
LEAST_LOOK_SECONDS = 0.2
EVENTS_AGAIN_SECONDS = 2.0
WORKERS = 4


@dataclass
class Agent:
    """The agent of a Compose project."""

    parts: AgentParts
    watched: Sequence[tuple[RollbackPolicy, ServicePlace]]
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _logged: dict[str, str] = field(default_factory=dict)
    """The last obstacle that was logged, by service: repetitions are not."""
    _unread: set[Key] = field(default_factory=set)
    """Policies whose status says that their service cannot be read."""

    def prepare(self) -> Failure | None:
        """Put policies and services that are new on record, and take in what it holds."""
        ledger, cache, now = self.parts.ledger, self.parts.cache, self.parts.reconciler.clock()
        state = ledger.state
        services = dict(state.services)
        known = {
            name: record.model_copy(update={"watched": False})
            for name, record in state.policies.items()
        }
        for policy, place in self.watched:
            name = policy.metadata.name
            known[name] = policies.record_of(policy, known.get(name), now)
            uid = f"{place.service}.{now.timestamp():.0f}"
            services.setdefault(place.service, ServiceRecord(uid=uid))
        watched = {place.service for _, place in self.watched}
        services = {
            name: record.model_copy(update={"watched": name in watched})
            for name, record in services.items()
        }
        prepared = state.model_copy(update={"policies": known, "services": services})
        if prepared != state and (failure := ledger.store(prepared)) is not None:
            return failure
        for policy, _ in self.watched:
            cache.remember(policies.with_record(policy, ledger.state))
        for each in self.parts.store.stored():
            cache.remember(each)
            key = each.metadata.namespace, each.spec.policy_ref.name
            if each.status.outcome is None and key not in cache.policies:
                _log.warning(
                    "%s: no policy of the file is its own any more: it ends, or, if it has begun, "
                    "goes on to its end",
                    each.metadata.name,
                )
                self._keep_service(each)
                self.parts.queue.add(key)
        for name, record in services.items():
            if record.pinned and not record.watched:
                compose = self.parts.workloads.compose
                _log.warning(
                    "service %s is pinned by %s, and no policy names it: %s up -d %s from your own "
                    "files ends the pin",
                    *(name, compose.override, compose.program, name),
                )
        return None

    def _keep_service(self, left: Rollback | RollbackRequest) -> None:
        """Let passes read the service of a Rollback whose policy the file no longer has."""
        if isinstance(left, RollbackRequest):
            return
        ref, namespace = left.spec.target_ref, left.metadata.namespace
        for service, record in self.parts.ledger.state.services.items():
            if record.uid == ref.uid:
                place = ServicePlace(namespace, ref.name, service)
                self.parts.workloads.left[namespace, ref.name] = place

    async def run(self, is_over: Callable[[], bool], stop: asyncio.Event) -> None:
        """Run until stopped, or until `is_over`, which is asked at each look."""
        tasks = [
            asyncio.create_task(self.parts.queue.run(self._pass, WORKERS, lambda: True)),
            asyncio.create_task(self.parts.reconciler.teller.run()),
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._look_until(is_over)),
            asyncio.create_task(stop.wait()),
        ]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.parts.reconciler.teller.finish()
        await self.parts.connections.aclose()
        for task in done:
            task.result()

    async def _pass(self, key: Key) -> float | None:
        return await self.parts.reconciler.reconcile(key)

    async def _listen(self) -> None:
        """Look at once when Docker reports a change of a container."""
        while True:
            with suppress(OSError):  # the next look says that the daemon is away
                async for _ in self.parts.engine.events(self.parts.workloads.compose.files.project):
                    self._changed.set()
            await asyncio.sleep(EVENTS_AGAIN_SECONDS)

    async def _look_until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self._changed.clear()
            for policy, place in self.watched:
                await self._look(policy.key, place)
            failure = await self.parts.workloads.settle_pins()
            if failure is not None:
                self._say("", failure.message)
            self._take_requests()
            await asyncio.sleep(LEAST_LOOK_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()

    async def _look(self, key: Key, place: ServicePlace) -> None:
        """Bring the view of a service up to date; a change makes its policy due."""
        if place.service in self.parts.workloads.acting:
            # Its containers are between two states. Compose waits in silence for a silent daemon.
            away = await self.parts.engine.ping()
            if away is not None:
                self._say(place.service, away.message)
            return
        if not any(map(is_active, self.parts.cache.rollbacks_by(key))):
            failure = self.parts.workloads.give_up(place.service)
            if failure is not None:
                self._say(place.service, failure.message)
                return
        target = place.namespace, place.name
        read = await self.parts.workloads.inspect(*target)
        known = self.parts.cache.deployments.get(target)
        if isinstance(read, Failure):
            self._say(place.service, read.message)
            if read.kind is FailureKind.GONE and known is not None:
                self.parts.cache.drop_deployment(target)
                self.parts.queue.add(key)
            elif known is None and key not in self._unread:
                self._unread.add(key)
                self.parts.queue.add(key)  # its status says that there is no such service
            return
        if self._logged.pop(place.service, None):
            _log.info("service %s can be read again", place.service)
        self.parts.cache.deployments[target] = read.deployment
        if known is None or _urgent(known) != _urgent(read.deployment):
            self.parts.queue.add(key)

    def _say(self, service: str, message: str) -> None:
        if self._logged.get(service) != message:
            self._logged[service] = message
            _log.warning("%s", message)

    # -- requests ----------------------------------------------------------------------------------

    def _take_requests(self) -> None:
        """Put requests on record, and remove their files after that."""
        letters, refused = inbox.letters(self.parts.ledger.folder)
        if refused:
            self._say("unreadable requests", "\n".join(refused))
        for letter in letters:
            failure = self._take(letter)
            if failure is not None and failure.kind is FailureKind.UNAVAILABLE:
                self._say("requests", failure.message)  # a full disk: again at the next look
                continue
            if failure is not None and failure.kind is not FailureKind.EXISTS:
                _log.warning("%s %s: %s", letter.asked.verb, letter.asked.name, failure.message)
            try:
                letter.path.unlink(missing_ok=True)
            except OSError as error:  # taken again it changes nothing: its name is on record
                self._say("requests", f"{letter.path} cannot be removed: {error.strerror}")

    def _take(self, letter: inbox.Letter) -> Failure | None:
        asked, cache = letter.asked, self.parts.cache
        if asked.verb != "undo":
            rollback = next(
                (each for each in cache.rollbacks.values() if each.metadata.name == asked.name),
                None,
            )
            if rollback is None:
                return Failure(FailureKind.GONE, "there is no such rollback")
            decided = self.parts.store.decide(rollback, inbox.approval_of(letter))
            return self._remember(decided)
        policy = next(
            (each for each, _ in self.watched if each.metadata.name == asked.policy), None
        )
        if policy is None:
            return Failure(FailureKind.GONE, f"the agent has no policy {asked.policy}")
        spec = inbox.spec_of(letter, policy.spec.target_ref.name)
        namespace = policy.metadata.namespace
        raw = self.parts.store.create(namespace, asked.name, spec)
        if isinstance(raw, Failure):
            return raw
        return self._remember(rollback_of(raw))

    def _remember(self, made: Resource | Failure) -> Failure | None:
        if isinstance(made, Failure):
            return made
        self.parts.cache.remember(made)
        for policy, _ in self.watched:
            self.parts.queue.add(policy.key)
        return None


def _urgent(deployment: Deployment) -> tuple[object, ...]:
    return deployment.template.digest, deployment.replicas, deployment.updated, deployment.owner
