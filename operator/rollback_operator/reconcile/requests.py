"""Answers requests with a stored plan or a stored refusal; `execution` carries the plan out."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RollbackRequest, RollbackSpec, RollbackStatus
from rollback_operator.decide import requests
from rollback_operator.model.context import Case, Refusal
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.cache import Cache
from rollback_operator.report import events

_log = logging.getLogger(__name__)
GRACE = timedelta(seconds=10)
"""A policy that is applied together with a Rollback may be seen after it."""


@dataclass(frozen=True, slots=True)
class RequestHandler:
    """Answers requests, the oldest first."""

    store: Store
    cache: Cache
    clock: Callable[[], datetime]
    announced: Callable[[RollbackRequest, RollbackStatus], RollbackStatus]
    """Adds the notifications to a refusal, so that both are one write."""

    async def answer(self, case: Case, asked: Iterable[RollbackRequest]) -> float:
        """Plan the first, so that the others find it active; gives the seconds to the requeue."""
        waits = [0.05]
        for request in asked:
            now = self.clock()
            made = requests.make_manual_plan(case, request, now)
            if isinstance(made, Refusal):
                waits.append(await self.refuse(request, made))
                continue
            return max([*waits, await self._store_plan(case, request, made)])
        return max(waits)

    async def _store_plan(self, case: Case, request: RollbackRequest, made: RollbackSpec) -> float:
        """Store a plan, unless a fresh list shows a rollback that no watch has delivered yet."""
        fresh = await self.store.list_rollbacks(request.metadata.namespace)
        if isinstance(fresh, Failure):
            return fresh.wait
        known = {rollback.metadata.uid for rollback in case.rollbacks}
        unseen = [
            rollback
            for rollback in fresh
            if rollback.metadata.uid not in known
            and rollback.spec.target_ref.uid == made.target_ref.uid
        ]
        for rollback in unseen:
            self.cache.remember(rollback)
        if unseen:
            return 0.05
        return await self._store(request, requests.planned(request.status, made))

    async def refuse(self, request: RollbackRequest, refusal: Refusal) -> float:
        """Store the reason for a refusal."""
        status = requests.refused(request.status, refusal, self.clock())
        wait = await self._store(request, self.announced(request, status))
        if not wait:
            await self.store.post(request, events.request_refused(refusal))
        return wait

    async def without_policy(self, asked: Iterable[RollbackRequest]) -> float | None:
        """Refuse requests that name a missing policy, once a watch must have delivered it."""
        waits = []
        for request in asked:
            made, now = request.metadata.creation_timestamp, self.clock()
            if made is not None and now - made < GRACE:
                waits.append((made + GRACE - now).total_seconds())
                continue
            name = request.spec.policy_ref.name
            message = f"spec.policyRef.name: there is no RollbackPolicy {name} in this namespace"
            waits.append(await self.refuse(request, Refusal(Reason.POLICY_NOT_FOUND, message)))
        return min((wait for wait in waits if wait), default=None)

    async def _store(self, request: RollbackRequest, status: RollbackStatus) -> float:
        written = await self.store.answer_request(request, status)
        if isinstance(written, Failure):
            _log.warning("%s: not answered: %s", request.metadata.name, written.message)
            return written.wait
        self.cache.take_in(written)
        return 0.0
