"""Reads the policy of a replay: a manifest or its spec alone.

Signals and remedies of a newer version are ignored with a warning; the rest decides.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from rollback_operator.api.crd import API_VERSION, GROUP
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
from rollback_operator.cli.backtest.files import BadFileError, parse_model
from rollback_operator.cli.backtest.rollouts import Rollouts
from rollback_operator.decide import matrix

_MANIFEST = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
Warn = Callable[[str], None]


def parse_policy(raw: Any, rollouts: Rollouts, warn: Warn = lambda _: None) -> RollbackPolicy:
    """Make the policy of a replay; its target is the Deployment of the rollouts.

    Args:
        raw: the content of the file.
        rollouts: the past of the target.
        warn: receives a warning for everything that is ignored.

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
        warn(f"{key} is unknown to this version and is ignored")
    spec = parse_model(RollbackPolicySpec, _known(given, warn), "spec")
    if spec.target_ref.name != rollouts.deployment:
        warn(
            f"spec.targetRef.name: {spec.target_ref.name} is replaced by {rollouts.deployment}, "
            "the Deployment of the rollouts"
        )
        target = spec.target_ref.model_copy(update={"name": rollouts.deployment})
        spec = spec.model_copy(update={"target_ref": target})
    _warn_of_secrets(spec.prometheus, warn)
    faults = matrix.faults(spec.matrix)
    if faults:
        field, _, message = faults[0].partition(" ")
        raise BadFileError(field, message)
    return RollbackPolicy(metadata=_metadata(raw, rollouts), spec=spec)


def _warn_of_secrets(prometheus: PrometheusSpec, warn: Warn) -> None:
    if prometheus.names_secrets:
        warn(
            "spec.prometheus: Secrets are not read here. Set "
            "ROLLBACK_OPERATOR_PROMETHEUS_TOKEN_FILE to a file with the token, "
            "..._BASIC_AUTH_FOLDER to a folder with username and password, and ..._CA_FILE to a "
            "file with the authority"
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
    """Leave out the signals and remedies of another version."""
    known = dict(spec)
    if isinstance(spec.get("matrix"), list):
        known["matrix"] = _known_rules(spec["matrix"], warn)
        if spec["matrix"] and not known["matrix"]:
            names = ", ".join(name.value for name in SignalName)
            raise BadFileError("spec.matrix", f"has no known signal; the known signals are {names}")
    if isinstance(spec.get("remedies"), list):
        remedies = _of_known(spec["remedies"], "type", RemedyType, _at("spec.remedies", warn))
        known["remedies"] = remedies
        if not remedies:
            del known["remedies"]
    return known


def _known_rules(rules: list[Any], warn: Warn) -> list[Any]:
    known = []
    for index, rule in enumerate(rules):
        if not isinstance(rule, Mapping) or not isinstance(rule.get("when"), list):
            known.append(rule)
            continue
        path = f"spec.matrix[{index}]"
        when = _of_known(rule["when"], "signal", SignalName, _at(f"{path}.when", warn))
        if when or not rule["when"]:
            known.append({**rule, "when": when})
        else:
            warn(f"{path} is ignored: it has no known signal")
    return known


def _at(path: str, warn: Warn) -> Warn:
    """Prefix warnings with a path."""
    return lambda message: warn(f"{path}{message}")


def _of_known(items: list[Any], key: str, known: type[StrEnum], warn: Warn) -> list[Any]:
    result = []
    for index, item in enumerate(items):
        value = item.get(key) if isinstance(item, Mapping) else None
        if isinstance(value, str) and value not in set(known):
            warn(f"[{index}].{key}: {value} is unknown to this version and is ignored")
        else:
            result.append(item)
    return result
