"""Objects that a pod template names: whether they exist, and with which keys, never the values."""

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.target.surroundings import REFERENCE_KINDS
from rollback_operator.ports.failure import Failure, FailureKind

_WITH_KEYS = ("ConfigMap", "Secret")


class ApiNamedObjects:
    """Reads with the rights of the user of a command."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def keys(self, namespace: str, kind: str, name: str) -> frozenset[str] | Failure | None:
        """Return the keys of an object, none for a kind without keys; None: there is no object.

        Rejected: the user has no right to read it; the message names the right.
        """
        plural = REFERENCE_KINDS[kind]
        path = paths.object_in(plural, namespace, name)
        if path.fault:
            return None  # a template may name anything, and no object can have this name
        has_keys = kind in _WITH_KEYS
        # The keys come only with the values, which are dropped here.
        raw = await (self._api.get(path) if has_keys else self._api.get_metadata(path))
        if isinstance(raw, Failure):
            if raw.kind is FailureKind.GONE:
                return None
            if raw.kind is FailureKind.REJECTED:
                right = f"get {plural.plural} in namespace {namespace}"
                return Failure(raw.kind, f"the user of this command may not {right}")
            return raw
        if (raw.get("metadata") or {}).get("deletionTimestamp"):
            return None
        parts = ((raw.get(part) or {}) if has_keys else {} for part in ("data", "binaryData"))
        return frozenset(key for part in parts for key in part)
