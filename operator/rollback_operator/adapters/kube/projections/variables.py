"""Environment variables of a pod template: a flag in a container, and the change that sets it."""

import copy
from collections.abc import Mapping
from typing import Any

from rollback_operator.adapters.kube.projections.owners import changed_by
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.api.remedy import Flag
from rollback_operator.model.workload import FlagState


def variable_of(raw: Mapping[str, Any], flag: Flag, container: str) -> FlagState:
    """Project a variable of a container of a Deployment, and the template with its new value."""
    metadata, template = raw["metadata"], raw["spec"]["template"]
    place = variable_at(template, container, flag.name)
    state = FlagState(uid=metadata["uid"], changed_by=changed_by(metadata))
    if isinstance(place, str):
        return FlagState(uid=state.uid, obstacle=place, changed_by=state.changed_by)
    at, position = place
    known = template["spec"]["containers"][at]["env"][position]
    changed = copy.deepcopy(template)
    variable = changed["spec"]["containers"][at]["env"][position]
    variable["value"] = flag.value
    if not flag.value:
        del variable["value"]  # as the API server stores it
    return FlagState(
        uid=state.uid,
        value=str(known.get("value") or ""),
        bare=template_of(changed).bare,
        changed_by=state.changed_by,
    )


def variable_at(template: Mapping[str, Any], container: str, name: str) -> tuple[int, int] | str:
    """Find the container and the variable, by position; else why it cannot be set."""
    containers = template["spec"]["containers"]
    names = [each["name"] for each in containers]
    if container not in names:
        return f"the pod template has no container {container}, only {', '.join(names)}"
    at = names.index(container)
    env = containers[at].get("env") or []
    # Of two variables of the same name the last counts.
    positions = [place for place, each in enumerate(env) if each.get("name") == name]
    if not positions:
        from_env = " If it comes from envFrom," if containers[at].get("envFrom") else " Otherwise"
        return (
            f"container {container} has no variable {name} in env.{from_env} set configMapRef to "
            "its ConfigMap, or add it to env"
        )
    if env[positions[-1]].get("valueFrom"):
        source = (env[positions[-1]]["valueFrom"].get("configMapKeyRef") or {}).get("name")
        where = f" (configMapRef: {source})" if source else ""
        return f"variable {name} has valueFrom: set the flag at its source{where}"
    return at, positions[-1]
