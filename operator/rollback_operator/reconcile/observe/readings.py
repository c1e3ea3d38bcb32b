"""Reads of metrics in the background: no pass waits for a server of a policy's choice.

A look waits a moment for quick answers. A slow read goes on in the background, and the pass goes
on with what Kubernetes shows; when the answer is there, or the server is given up, the policy is
requeued.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rollback_operator.adapters.fairness.holdings import Holdings
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.watch import Watch, with_read
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Workload
from rollback_operator.reconcile.cache import Key
from rollback_operator.reconcile.observe.observation import Observer, Source

_log = logging.getLogger(__name__)
READ_WAIT_SECONDS = 0.25
"""So long a look waits for answers that come at once."""
READ_LIMIT_SECONDS = 60.0
"""In which all questions of one look are answered or given up, each with its own limit."""


@dataclass(frozen=True, slots=True)
class _Running:
    watch: Watch
    """As it was when the read began."""
    task: "asyncio.Task[Watch]"

    def is_of(self, watch: Watch) -> bool:
        """Tell whether a read belongs to a watch: the same release, compared with the same control.

        The signals and where they are read are part of it.
        """
        old = self.watch
        return (old.digest, old.source, old.opened, old.control_hashes, old.good_hashes) == (
            watch.digest,
            watch.source,
            watch.opened,
            watch.control_hashes,
            watch.good_hashes,
        )


@dataclass
class Readings:
    """Keeps at most one read a policy."""

    observer: Observer
    wake: Callable[[Key], None]
    """Requeues a policy."""
    quick: float = READ_WAIT_SECONDS
    holdings: Holdings = field(default_factory=Holdings)
    """What all watches keep."""
    running: dict[Key, _Running] = field(default_factory=dict)

    async def observe(self, key: Key, watch: Watch, workload: Workload, source: Source) -> Watch:
        """Update the watch from Kubernetes, and from metrics as far as they are read."""
        known = self.running.get(key)
        if known is not None and not known.is_of(watch):
            # Before probes are sent and checks asked: those of this release must not end with it.
            self._give_up(key)
            known = None
        watch = await self.observer.beside(watch, workload, source)
        if known is None:
            known = self._begin(key, watch, workload, source)
            await asyncio.wait({known.task}, timeout=self.quick)
            if not known.task.done():
                known.task.add_done_callback(lambda _: self.wake(key))
        if not known.task.done():
            return watch
        self.running.pop(key, None)
        return self._keep_within_budget(key, watch, with_read(watch, known.task.result()))

    def _keep_within_budget(self, key: Key, watch: Watch, read: Watch) -> Watch:
        """Keep the answer if the budget suffices; else the watch stays, and nothing is judged.

        A namespace with large answers leaves memory for others.
        """
        if self.holdings.hold(key, read.size):
            if read.folded and not watch.folded:
                _log.warning("the watch of %s: %s", "/".join(key), read.folded)
            return read
        message = (
            "the watches of this namespace keep as many samples as they may: reduce the labels of "
            "the metrics"
        )
        missing = Missing(Reason.ANSWER_TOO_LARGE, message)
        return replace(
            read,
            evidence=watch.evidence,
            control=watch.control,
            trends=replace(watch.trends, read=read.trends.read),
            missing=missing,
        )

    def forget(self, key: Key) -> None:
        """Cancel the read of a policy whose release is no longer watched."""
        self.holdings.drop(key)
        self._give_up(key)

    def _give_up(self, key: Key) -> None:
        known = self.running.pop(key, None)
        if known is not None:
            known.task.cancel()
        if self.observer.trier is not None:
            self.observer.trier.forget(key)
        if self.observer.asker is not None:
            self.observer.asker.forget(key)

    async def close(self) -> None:
        """Stop reading."""
        tasks = [read.task for read in self.running.values()]
        self.running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: Key, watch: Watch, workload: Workload, source: Source) -> _Running:
        task = asyncio.create_task(self._read(watch, workload, source))
        made = self.running[key] = _Running(watch, task)
        return made

    async def _read(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        try:
            async with asyncio.timeout(READ_LIMIT_SECONDS):
                return await self.observer.read_metrics(watch, workload, source)
        except TimeoutError:
            limit = f"{READ_LIMIT_SECONDS:.0f} s"
            message = f"{source.prometheus.url}: not all queries were answered within {limit}"
            return replace(watch, missing=Missing(Reason.PROVIDER_UNREACHABLE, message))
        except Exception as error:
            # A bug: the release is judged by what Kubernetes shows, and rollbacks still end.
            _log.exception("the metrics of %s cannot be taken in", workload.deployment.name)
            message = f"the answer cannot be processed: {type(error).__name__}"
            return replace(watch, missing=Missing(Reason.ANSWER_MALFORMED, message))
