"""A policy from a file: a manifest or its spec alone, as far as this version knows its fields.

What a newer version knows (a signal, a kind of remedy) is left out and told: what is left decides.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rollback_operator.api.resource import API_VERSION, GROUP
from rollback_operator.api.signals import PrometheusSpec
from rollback_operator.api.user_text.documents import unknown_keys
from rollback_operator.api.v1alpha1 import (
    Mode,
    ObjectMeta,
    RemedyType,
    RollbackPolicy,
    RollbackPolicySpec,
    SignalName,
)
from rollback_operator.cli.backtest.files import BadFileError, parsed
from rollback_operator.cli.backtest.rollouts import Rollouts
from rollback_operator.decide import matrix

_MANIFEST = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
Warn = Callable[[str], None]


def parse_policy(raw: Any, rollouts: Rollouts, warn: Warn = lambda _: None) -> RollbackPolicy:
    """Make the policy that is replayed; it always watches the Deployment of the rollouts.

    Args:
        raw: what the file holds.
        rollouts: whose past is replayed.
        warn: is told of what is ignored.

    Raises:
        BadFileError: a field is missing or wrong; it is named.
    """
    if not isinstance(raw, Mapping):
        raise BadFileError("spec", "the policy must be an object with a spec")
    is_manifest = "spec" in raw
    if not is_manifest and not set(raw) - _MANIFEST:
        raise BadFileError("spec", "is missing: it holds at least targetRef and mode")
    version = raw.get("apiVersion", API_VERSION)
    if not str(version).startswith(f"{GROUP}/"):
        raise BadFileError("apiVersion", f"must be {API_VERSION}, not {version!r}")
    kind = raw.get("kind", RollbackPolicy.KIND)
    if kind != RollbackPolicy.KIND:
        raise BadFileError("kind", f"must be {RollbackPolicy.KIND}, not {kind!r}")
    given = raw["spec"] if is_manifest else {k: v for k, v in raw.items() if k not in _MANIFEST}
    if not isinstance(given, Mapping):
        raise BadFileError("spec", "must be an object")
    given = dict(given)
    if not is_manifest:
        given = {"targetRef": {"name": rollouts.deployment}, "mode": Mode.ENFORCE} | given
    for key in unknown_keys(RollbackPolicySpec, given, "spec"):
        warn(f"{key} is not known to this version and is ignored")
    spec = parsed(RollbackPolicySpec, _known(given, warn), "spec")
    if spec.target_ref.name != rollouts.deployment:
        warn(f"spec.targetRef.name: the rollouts are those of {rollouts.deployment}: taken instead")
        target = spec.target_ref.model_copy(update={"name": rollouts.deployment})
        spec = spec.model_copy(update={"target_ref": target})
    _tell_of_secrets(spec.prometheus, warn)
    faults = matrix.faults(spec.matrix)
    if faults:
        field, _, told = faults[0].partition(" ")
        raise BadFileError(field, told)
    return RollbackPolicy(metadata=_metadata(raw, rollouts), spec=spec)


def _tell_of_secrets(prometheus: PrometheusSpec, warn: Warn) -> None:
    if prometheus.names_secrets:
        warn(
            "spec.prometheus: Secrets are not read here: a token is taken from the file in "
            "ROLLBACK_OPERATOR_PROMETHEUS_TOKEN_FILE, username and password from the folder in "
            "..._BASIC_AUTH_FOLDER, an authority from the file in ..._CA_FILE"
        )


def _metadata(raw: Mapping[str, Any], rollouts: Rollouts) -> ObjectMeta:
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return ObjectMeta(
        name=str(name or rollouts.deployment),
        namespace=rollouts.namespace,
        uid="backtest-policy",
        generation=1,
    )


def _known(spec: dict[str, Any], warn: Warn) -> dict[str, Any]:
    """Leave out the symptoms and remedies of another version."""
    found = dict(spec)
    if isinstance(spec.get("matrix"), list):
        found["matrix"] = _known_rules(spec["matrix"], warn)
        if spec["matrix"] and not found["matrix"]:
            known = ", ".join(one.value for one in SignalName)
            raise BadFileError("spec.matrix", f"none of its signals is known; known are {known}")
    if isinstance(spec.get("remedies"), list):
        remedies = _of_known(spec["remedies"], "type", set(RemedyType), ("spec.remedies", warn))
        found["remedies"] = remedies
        if not remedies:
            del found["remedies"]
    return found


def _known_rules(rules: list[Any], warn: Warn) -> list[Any]:
    found = []
    for index, rule in enumerate(rules):
        if not isinstance(rule, Mapping) or not isinstance(rule.get("when"), list):
            found.append(rule)
            continue
        where = f"spec.matrix[{index}].when"
        when = _of_known(rule["when"], "signal", set(SignalName), (where, warn))
        if when or not rule["when"]:
            found.append({**rule, "when": when})
        else:
            warn(f"spec.matrix[{index}] is ignored: none of its signals is known")
    return found


def _of_known(items: list[Any], key: str, known: set[Any], told: tuple[str, Warn]) -> list[Any]:
    where, warn = told
    found = []
    for index, one in enumerate(items):
        value = one.get(key) if isinstance(one, Mapping) else None
        if isinstance(value, str) and value not in known:
            warn(f"{where}[{index}].{key}: {value} is not known to this version and is ignored")
        else:
            found.append(one)
    return found
