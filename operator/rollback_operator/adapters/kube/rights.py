"""The operator's own rights, by a review that every authenticated user may have made."""

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.model.rights import Right
from rollback_operator.ports.failure import Failure


class ApiRights:
    """The Rights port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def may(self, namespace: str, right: Right) -> bool | Failure:
        """Ask for the right."""
        return await self._api.may(
            {
                "namespace": namespace,
                "verb": right.verb,
                "group": right.group,
                "resource": right.resource,
                "subresource": right.subresource,
            }
        )
