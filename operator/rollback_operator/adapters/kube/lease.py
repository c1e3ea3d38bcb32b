"""Leader election on a Lease: the leader acts, the standbys keep their caches current.

Expiry is measured on this machine's clocks since the last renewal that it saw; clocks of two
machines are never compared. Every call has a deadline shorter than the lease, so that a hanging
renewal cannot outlive it. Every write is guarded by resourceVersion.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.model import stop
from rollback_operator.ports.failure import Failure, FailureKind

_log = logging.getLogger(__name__)
MOST_SECONDS = 4.0
"""Limit between two reads of the Lease, whatever its duration: it may hold a global stop."""


@dataclass(frozen=True, slots=True)
class LeaseName:
    """A Lease, its holder and its duration."""

    namespace: str
    name: str
    identity: str
    seconds: float

    @property
    def renew_every(self) -> float:
        """At most a third of the lease: two renewals may be lost."""
        return min(self.seconds / 3, MOST_SECONDS)

    @property
    def give_up_after(self) -> float:
        """The holder stops before another replica may begin."""
        return self.seconds * 2 / 3


class Elector:
    """Holds the Lease while it can."""

    def __init__(
        self,
        api: ApiServer,
        lease: LeaseName,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        """Hold nothing yet.

        Args:
            api: writes the Lease whether or not this replica leads.
            lease: which Lease.
            now: the time that the Lease records.
            monotonic: this machine's monotonic clock.
            wall: this machine's wall clock.
        """
        self._api = api
        self._lease = lease
        self._now = now
        self._monotonic = monotonic
        self._wall = wall
        self._renewed = 0.0, 0.0
        """Time of the last renewal, by both clocks."""
        self._seen: tuple[str, float] | None = None
        self.leading = asyncio.Event()
        self.lost = asyncio.Event()
        self.stopped = ""
        """Author, time and reason of the global stop; empty: it is not set."""
        self.on_stop: Callable[[], None] = lambda: None
        """Called when `stopped` changes."""

    def is_leading(self) -> bool:
        """Report whether the lease is ours at this very moment, also after a long sleep.

        Both clocks must agree: the monotonic clock stops while a virtual machine is paused,
        and the wall clock may be set back.
        """
        ages = (now - then for now, then in zip(self._clocks(), self._renewed, strict=True))
        return self.leading.is_set() and max(ages) < self._lease.give_up_after

    async def run(self) -> None:
        """Acquire and renew until the lease is lost for good or the task is cancelled."""
        while not self.lost.is_set():
            held = await self.renew()
            await asyncio.sleep(
                self._lease.renew_every if held else min(1.0, self._lease.seconds / 10)
            )

    async def renew(self) -> bool | None:
        """Acquire or renew once. True: ours; False: held by another replica; None: unknown."""
        asked = self._clocks()
        try:
            async with asyncio.timeout(self._lease.renew_every):
                held = await self._try_to_lead()
        except TimeoutError:
            held = None
        self._record_attempt(held, asked)
        return held

    async def take(self) -> float | Failure:
        """Take the lease from any holder; return the seconds after which that holder has stopped.

        It is not renewed: after it has expired, the replicas elect a leader again.
        """
        raw = await self._api.get(self._path)
        if isinstance(raw, Failure):
            if raw.kind is not FailureKind.GONE:
                return raw
            made = await self._api.create(self._collection, self._body({}, {}))
            return made if isinstance(made, Failure) else 0.0
        spec = raw.get("spec") or {}
        taken = await self._api.update(self._path, self._body(raw.get("metadata") or {}, spec))
        if isinstance(taken, Failure):
            return taken
        if self._holder(raw) in ("", self._lease.identity):
            return 0.0
        seconds = float(spec.get("leaseDurationSeconds") or self._lease.seconds)
        return replace(self._lease, seconds=seconds).give_up_after

    async def release(self) -> None:
        """Release the lease, so that the next leader does not wait for its expiry."""
        if not self.leading.is_set():
            return
        self.leading.clear()
        raw = await self._api.get(self._path)
        if isinstance(raw, Failure) or self._holder(raw) != self._lease.identity:
            return
        spec = {**raw["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        done = await self._api.update(self._path, {**raw, "spec": spec})
        if not isinstance(done, Failure):
            _log.info("lease released")

    @property
    def _path(self) -> paths.ApiPath:
        return paths.object_in(paths.LEASES, self._lease.namespace, self._lease.name)

    @property
    def _collection(self) -> paths.ApiPath:
        return paths.in_namespace(paths.LEASES, self._lease.namespace)

    def _clocks(self) -> tuple[float, float]:
        return self._monotonic(), self._wall().timestamp()

    def _record_attempt(self, held: bool | None, asked: tuple[float, float]) -> None:
        if held:
            self._renewed = asked
            if not self.leading.is_set():
                _log.info("leading as %s", self._lease.identity)
                self.leading.set()
            return
        if not self.leading.is_set():
            return
        # By the monotonic clock alone: a wall clock that is set ahead must not end the process.
        age = self._monotonic() - self._renewed[0]
        if held is False or age >= self._lease.give_up_after:
            _log.error("the lease is lost: this replica stops")
            self.leading.clear()
            self.lost.set()

    async def _try_to_lead(self) -> bool | None:
        raw = await self._api.get(self._path)
        if isinstance(raw, Failure):
            if raw.kind is not FailureKind.GONE:
                _log.warning("the lease cannot be read: %s", raw.message)
                return None
            made = await self._api.create(self._collection, self._body({}, {}))
            if isinstance(made, Failure):
                # It is lost only if another replica created it; an outage leaves it unknown.
                return False if made.kind is FailureKind.EXISTS else None
            self._record_stop({})
            return True
        self._record_stop((raw.get("metadata") or {}).get("annotations") or {})
        holder = self._holder(raw)
        if holder and holder != self._lease.identity and not self._has_expired(raw):
            return False
        done = await self._api.update(
            self._path, self._body(raw.get("metadata") or {}, raw.get("spec") or {})
        )
        # A conflict leaves it unknown: it may be our own write, whose answer was lost.
        return None if isinstance(done, Failure) else True

    def _record_stop(self, annotations: dict[str, Any]) -> None:
        """Record a global stop or its end, before the leader is known."""
        stopped = stop.stop_message(annotations)
        if stopped == self.stopped:
            return
        _log.warning("%s", stopped or "the global stop has ended")
        self.stopped = stopped
        self.on_stop()

    def _holder(self, raw: dict[str, Any]) -> str:
        return str((raw.get("spec") or {}).get("holderIdentity") or "")

    def _has_expired(self, raw: dict[str, Any]) -> bool:
        version = str(raw["metadata"]["resourceVersion"])
        if self._seen is None or self._seen[0] != version:
            self._seen = version, self._monotonic()
        seconds = float((raw.get("spec") or {}).get("leaseDurationSeconds") or self._lease.seconds)
        return self._monotonic() - self._seen[1] > seconds

    def _body(self, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        # MicroTime needs exactly six digits of fraction.
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        is_ours = spec.get("holderIdentity") == self._lease.identity
        kept: dict[str, Any] = {"name": self._lease.name, "namespace": self._lease.namespace}
        kept["labels"] = {**(metadata.get("labels") or {}), stop.LABEL: "true"}
        for name in ("resourceVersion", "annotations"):
            if name in metadata:
                kept[name] = metadata[name]
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": kept,
            "spec": {
                "holderIdentity": self._lease.identity,
                "leaseDurationSeconds": max(1, round(self._lease.seconds)),
                "acquireTime": spec.get("acquireTime", stamp) if is_ours else stamp,
                "renewTime": stamp,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (not is_ours),
            },
        }
