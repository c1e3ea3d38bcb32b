"""Answers what people ask for: a stored plan, or a stored refusal. Carrying out is execution's."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Resource, RollbackRequest, RollbackSpec, RollbackStatus
from rollback_operator.decide import requests
from rollback_operator.model.context import Case, Refusal
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.store import Store
from rollback_operator.report import events

_log = logging.getLogger(__name__)
GRACE = timedelta(seconds=10)
"""A policy that is applied together with a Rollback may be seen after it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Takes requests, one after the other."""

    store: Store
    remember: Callable[[Resource], None]
    clock: Callable[[], datetime]
    announced: Callable[[RollbackRequest, RollbackStatus], RollbackStatus]
    """Adds to a refusal what it has to tell people, so that both are one write."""

    async def answer(self, case: Case, asked: Iterable[RollbackRequest]) -> float:
        """Plan the first, so that the others find it active; gives when to look again."""
        waits = [0.05]
        for request in asked:
            now = self.clock()
            made = requests.make_manual_plan(case, request, now)
            if isinstance(made, Refusal):
                waits.append(await self.refuse(request, made))
                continue
            return max([*waits, await self._plan(case, request, made)])
        return max(waits)

    async def _plan(self, case: Case, request: RollbackRequest, made: RollbackSpec) -> float:
        """Store a plan, unless a fresh look shows a rollback that the watches have not told yet."""
        fresh = await self.store.list_rollbacks(request.metadata.namespace)
        if isinstance(fresh, Failure):
            return fresh.wait
        known = {one.metadata.uid for one in case.rollbacks}
        unseen = [
            one
            for one in fresh
            if one.metadata.uid not in known and one.spec.target_ref.uid == made.target_ref.uid
        ]
        for one in unseen:
            self.remember(one)
        if unseen:
            return 0.05
        return await self._store(request, requests.planned(request.status, made))

    async def refuse(self, request: RollbackRequest, refusal: Refusal) -> float:
        """Store why nothing is done."""
        status = requests.refused(request.status, refusal, self.clock())
        wait = await self._store(request, self.announced(request, status))
        if not wait:
            await self.store.post(request, events.request_refused(refusal))
        return wait

    async def without_policy(self, asked: Iterable[RollbackRequest]) -> float | None:
        """Refuse what names a policy that is not there, once it cannot be merely unseen."""
        waits = []
        for request in asked:
            made, now = request.metadata.creation_timestamp, self.clock()
            if made is not None and now - made < GRACE:
                waits.append((made + GRACE - now).total_seconds())
                continue
            name = request.spec.policy_ref.name
            said = f"spec.policyRef.name: there is no RollbackPolicy {name} in this namespace"
            waits.append(await self.refuse(request, Refusal(Reason.POLICY_NOT_FOUND, said)))
        return min((one for one in waits if one), default=None)

    async def _store(self, request: RollbackRequest, status: RollbackStatus) -> float:
        written = await self.store.answer_request(request, status)
        if isinstance(written, Failure):
            _log.warning("%s: not answered: %s", request.metadata.name, written.message)
            return written.wait
        self.remember(written)
        return 0.0
