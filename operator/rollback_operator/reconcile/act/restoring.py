"""Restores ConfigMaps before the revision that they belong to.

Each is compared before it is written: a replay after a crash does no harm.
"""

import logging
from dataclasses import dataclass

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import ConfigMapPlan
from rollback_operator.api.v1alpha1 import Outcome, Rollback
from rollback_operator.model.surroundings import Reference
from rollback_operator.ports.cluster import Configurations
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.progress import Done, RollbackEnd
from rollback_operator.remedies.restoring import compare
from rollback_operator.remedies.rollouts import is_configuration_only

_log = logging.getLogger(__name__)
MOST_USERS_SHOWN = 3


@dataclass
class ConfigurationRestorer:
    """Writes the ConfigMaps of a rollback."""

    configurations: Configurations

    async def restore(self, rollback: Rollback) -> Done | RollbackEnd | Failure:
        """Restore the ConfigMaps of a rollback whose step has begun.

        What another client has changed since, or must not be changed, stays. The revision is
        restored without it, unless only the configuration differs: then nothing is left to do.
        """
        restored, kept = list[str](), list[str]()
        for item in rollback.spec.config_maps:
            reason = await self._restore(rollback, item)
            if isinstance(reason, Failure):
                return reason
            if reason:
                kept.append(f"ConfigMap {item.name} stays as it is: {reason}")
            else:
                restored.append(item.name)
        message = "; ".join([f"ConfigMap {name} was restored" for name in restored] + kept)
        if restored or not is_configuration_only(rollback.spec):
            return Done(message)
        return RollbackEnd(Outcome.ABANDONED, Reason.CONFIGURATION_CHANGED, message)

    async def _restore(self, rollback: Rollback, item: ConfigMapPlan) -> str | Failure:
        """Restore a ConfigMap; gives why it stays, empty: it has the planned content."""
        namespace = rollback.metadata.namespace
        state = await self.configurations.read(namespace, Reference("ConfigMap", item.name))
        if isinstance(state, Failure):
            return _final(state)
        reason: str | Failure | None = compare(item, state)
        if reason is None:
            reason = await self._used_by_others(rollback, item)
        if reason is not None:
            return reason
        contents = await self.configurations.read_stored(namespace, item.name)
        if isinstance(contents, Failure):
            return _final(contents)
        if item.digest not in contents:
            return f"ConfigMap {item.name}.known-good does not hold the planned content any more"
        _log.info("%s: restore ConfigMap %s", namespace, item.name)
        text = contents[item.digest]
        written = await self.configurations.restore(namespace, item.name, state, text)
        return _final(written) if isinstance(written, Failure) else ""

    async def _used_by_others(
        self, rollback: Rollback, item: ConfigMapPlan
    ) -> str | Failure | None:
        """Look again: since the decision hours may have passed, until a person approved."""
        namespace, target = rollback.metadata.namespace, rollback.spec.target_ref.name
        users = await self.configurations.users(namespace, item.name, target)
        if isinstance(users, Failure):
            return _final(users)
        return f"{', '.join(users[:MOST_USERS_SHOWN])} uses it too" if users else None


def _final(failure: Failure) -> str | Failure:
    """Give the reason of a refusal; other failures are tried again."""
    if failure.kind is FailureKind.GONE:
        return Failure(FailureKind.CONFLICT, failure.message)  # the next look shows the reason
    return failure.message if failure.kind is FailureKind.REJECTED else failure
