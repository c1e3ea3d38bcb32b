"""Leader election on a Lease: one acts, the others keep their caches warm.

Expiry is measured on the own monotonic clock from the moment a renewal was seen, never by comparing
clocks of two machines. Every call has a deadline shorter than the lease, so that a hanging renewal
cannot outlive it; every write is guarded by resourceVersion.
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
"""Between two looks at the Lease, however long it is: it may hold a stop for everything."""


@dataclass(frozen=True, slots=True)
class LeaseName:
    """Which Lease, held by whom, for how long."""

    namespace: str
    name: str
    identity: str
    seconds: float

    @property
    def renew_every(self) -> float:
        """A third of the lease: two renewals may be lost. A stop is seen as soon."""
        return min(self.seconds / 3, MOST_SECONDS)

    @property
    def give_up_after(self) -> float:
        """The holder stops before anybody else may begin."""
        return self.seconds * 2 / 3


class Elector:
    """Holds the Lease while it can; `leading` says whether it does."""

    def __init__(
        self,
        api: ApiServer,
        lease: LeaseName,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._api = api
        self._lease = lease
        self._now = now
        self._monotonic = monotonic
        self._renewed = 0.0
        self._seen: tuple[str, float] | None = None
        self.leading = asyncio.Event()
        self.lost = asyncio.Event()
        self.stopped = ""
        """Who has stopped everything, when and why; empty: nobody has."""
        self.told: Callable[[], None] = _nobody
        """Called when that changes."""

    def is_leading(self) -> bool:
        """Tell whether the lease is ours at this very moment, also after a long sleep."""
        fresh = self._monotonic() - self._renewed < self._lease.give_up_after
        return self.leading.is_set() and fresh

    async def run(self) -> None:
        """Acquire and renew until the lease is lost for good or the task is cancelled."""
        while not self.lost.is_set():
            started = self._monotonic()
            try:
                async with asyncio.timeout(self._lease.renew_every):
                    held = await self._try()
            except TimeoutError:
                held = None
            self._note(held, started)
            await asyncio.sleep(
                self._lease.renew_every if held else min(1.0, self._lease.seconds / 10)
            )

    async def take(self) -> float | Failure:
        """Take the lease, whoever holds it; gives the seconds after which the holder has stopped.

        It is not renewed: when it has expired, the others elect a leader as ever.
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
        """Give the lease up, so that the next leader need not wait for its end."""
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
        return paths.one_in(paths.LEASES, self._lease.namespace, self._lease.name)

    @property
    def _collection(self) -> paths.ApiPath:
        return paths.in_namespace(paths.LEASES, self._lease.namespace)

    def _note(self, held: bool | None, started: float) -> None:
        if held:
            self._renewed = started
            if not self.leading.is_set():
                _log.info("leading as %s", self._lease.identity)
                self.leading.set()
            return
        if not self.leading.is_set():
            return
        if held is False or self._monotonic() - self._renewed >= self._lease.give_up_after:
            _log.error("the lease is lost: acting stops")
            self.leading.clear()
            self.lost.set()

    async def _try(self) -> bool | None:
        """Acquire or renew once. True: ours; False: somebody else's; None: not known."""
        raw = await self._api.get(self._path)
        if isinstance(raw, Failure):
            if raw.kind is not FailureKind.GONE:
                _log.warning("the lease cannot be read: %s", raw.message)
                return None
            made = await self._api.create(self._collection, self._body({}, {}))
            if isinstance(made, Failure):
                # Only one that somebody else has made is lost; an outage tells nothing yet.
                return False if made.kind is FailureKind.EXISTS else None
            self._hear({})
            return True
        self._hear((raw.get("metadata") or {}).get("annotations") or {})
        holder = self._holder(raw)
        if holder and holder != self._lease.identity and not self._has_expired(raw):
            return False
        done = await self._api.update(
            self._path, self._body(raw.get("metadata") or {}, raw.get("spec") or {})
        )
        # A conflict tells nothing yet: it may be our own write, whose answer was lost.
        return None if isinstance(done, Failure) else True

    def _hear(self, annotations: dict[str, Any]) -> None:
        """Take note of a stop, or of its end, before it is known who leads."""
        said = stop.stop_message(annotations)
        if said == self.stopped:
            return
        _log.warning("%s", said or "nothing is suspended any more")
        self.stopped = said
        self.told()

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


def _nobody() -> None:
    """Tell nobody."""
