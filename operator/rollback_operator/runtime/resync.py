"""What the watches have not told: once a minute all is listed, and what is new is taken in.

A watch on which nothing comes any more looks like one on which nothing happens, and a watch that
begins anew tells nothing of what was deleted in between. kopf ends a watch that is silent for some
seconds (`handlers`) and begins it anew; where the next ones are silent too, because something in
between keeps back what they tell, this list is what shows a release.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import DEPLOYMENTS_PLURAL, Cache, Key, ObjectVersion
from rollback_operator.runtime.intake import WATCHED, Intake, Refresher, path_of

_log = logging.getLogger(__name__)
RESYNC_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Resync:
    """Compares the cache with what there is."""

    api: ApiServer
    cache: Cache
    intake: Intake
    namespaces: Sequence[str] = ()
    """Those that are watched; empty: all."""

    async def run(self) -> None:
        """Compare once a minute until cancelled."""
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Compare now. What cannot be listed is left as it is known."""
        for plural in WATCHED:
            for namespace in self.namespaces or ("",):
                await self._compare(plural, namespace)

    async def _compare(self, plural: str, namespace: str) -> None:
        before = self.cache.versions(plural)
        listed = await self.api.list_metadata(path_of(plural, namespace))
        if isinstance(listed, Failure):
            _log.info("%s: not compared with what there is: %s", plural, listed.message)
            return
        there = {
            (one["namespace"], one["name"]): ObjectVersion(one["uid"], one["resourceVersion"])
            for one in listed
        }
        for key, version in there.items():
            if self._is_news(plural, key, version):
                await Refresher(self.api, self.intake).refresh(plural, key)
        now = self.cache.versions(plural)
        for key, version in before.items():
            is_here = namespace in ("", key[0])
            # What has been made anew since is not what the list shows to be gone.
            if is_here and key not in there and now.get(key) == version:
                _log.info("%s %s/%s is gone: no watch has told it", plural, *key)
                self.intake.drop(plural, key)

    def _is_news(self, plural: str, key: Key, found: ObjectVersion) -> bool:
        """Tell whether an object is not known, or known worse; a Deployment only if one asks."""
        known = self.cache.version(plural, key)
        if plural == DEPLOYMENTS_PLURAL and not self.cache.policies_on(*key):
            return False
        return known is None or (known != found and not known.is_newer(found))
