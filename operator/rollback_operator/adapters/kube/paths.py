"""All paths of the API server that this program requests; no other module builds paths.

A name from a policy, a label or an answer must lead only to an object of that name: each part is
percent-encoded and has the form that Kubernetes gives it. A path with a part of another form has
the reason in `fault` and is never sent (`apiserver`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rollback_operator.api.shape import (
    DNS_LABEL_FORM,
    FORMS,
    LABEL_VALUE_FORM,
    LONGEST_LABEL,
    LONGEST_NAME,
    OBJECT_FORM,
)
from rollback_operator.api.v1alpha1 import GROUP, VERSION, Rollback, RollbackPolicy
from rollback_operator.ports.failure import Failure, FailureKind

_SHOWN = 100
_IN_NAMESPACE = re.compile(r"/apis?/[^?]*?/namespaces/([^/?]+)")
_PLAIN = re.compile(r"/(api|apis)(/[A-Za-z0-9][-A-Za-z0-9._]*)*")


class ApiPath(str):
    """An encoded path; `fault` is the reason why it must not be sent, or empty."""

    fault: str = ""


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """A kind of object, as paths name it."""

    group: str
    """Empty: the core group."""
    version: str
    plural: str


@dataclass(frozen=True, slots=True)
class _PathField:
    """A part of a path, with its name for messages."""

    what: str
    text: str
    form: str
    longest: int


POLICIES = ResourceKind(GROUP, VERSION, RollbackPolicy.PLURAL)
ROLLBACKS = ResourceKind(GROUP, VERSION, Rollback.PLURAL)
DEPLOYMENTS = ResourceKind("apps", "v1", "deployments")
REPLICA_SETS = ResourceKind("apps", "v1", "replicasets")
PODS = ResourceKind("", "v1", "pods")
JOBS = ResourceKind("batch", "v1", "jobs")
POD_METRICS = ResourceKind("metrics.k8s.io", "v1beta1", "pods")
NAMESPACES = ResourceKind("", "v1", "namespaces")
NODES = ResourceKind("", "v1", "nodes")
EVENTS = ResourceKind("", "v1", "events")
SERVICES = ResourceKind("", "v1", "services")
SECRETS = ResourceKind("", "v1", "secrets")
CONFIG_MAPS = ResourceKind("", "v1", "configmaps")
SERVICE_ACCOUNTS = ResourceKind("", "v1", "serviceaccounts")
VOLUME_CLAIMS = ResourceKind("", "v1", "persistentvolumeclaims")
QUOTAS = ResourceKind("", "v1", "resourcequotas")
ENDPOINT_SLICES = ResourceKind("discovery.k8s.io", "v1", "endpointslices")
AUTOSCALERS = ResourceKind("autoscaling", "v2", "horizontalpodautoscalers")
LEASES = ResourceKind("coordination.k8s.io", "v1", "leases")
ADMISSION_POLICIES = ResourceKind(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"
)
ADMISSION_BINDINGS = ResourceKind(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"
)
ACCESS_REVIEWS = ResourceKind("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
USER_REVIEWS = ResourceKind("authentication.k8s.io", "v1", "selfsubjectreviews")


def whole_cluster(kind: ResourceKind) -> ApiPath:
    """Return the path of all objects of a kind, with or without namespaces."""
    return _path(*_root_segments(kind), _plural_segment(kind))


def in_namespace(kind: ResourceKind, namespace: str) -> ApiPath:
    """Return the path of the objects of a kind in a namespace; an empty name is a fault."""
    return _path(*_root_segments(kind), *_namespace_segments(namespace), _plural_segment(kind))


def in_namespace_or_all(kind: ResourceKind, namespace: str) -> ApiPath:
    """Return the path of the objects of a kind in a namespace; empty: in all."""
    return in_namespace(kind, namespace) if namespace else whole_cluster(kind)


def object_in(kind: ResourceKind, namespace: str, name: str, part: str = "") -> ApiPath:
    """Return the path of an object in a namespace, or of its subresource."""
    below = [_segment("subresource", part)] if part else []
    return _path(
        *_root_segments(kind),
        *_namespace_segments(namespace),
        _plural_segment(kind),
        _name_segment(name),
        *below,
    )


def cluster_object(kind: ResourceKind, name: str) -> ApiPath:
    """Return the path of a cluster-scoped object."""
    return _path(*_root_segments(kind), _plural_segment(kind), _name_segment(name))


def api_groups() -> ApiPath:
    """Return the path of the served groups."""
    return _path(_segment("root", "apis"))


def api_group(name: str) -> ApiPath:
    """Return the path of the versions of a group."""
    return _path(_segment("root", "apis"), _segment("group", name))


def kinds_of(api_version: str) -> ApiPath:
    """Return the path of the kinds of a version."""
    return _path(*_root_segments(kind_of(api_version, "")))


def kind_of(api_version: str, plural: str) -> ResourceKind:
    """Return the kind of objects with this apiVersion."""
    group, _, version = api_version.rpartition("/")
    return ResourceKind(group, version, plural)


def namespace_of(path: str) -> str:
    """Return the namespace of a path; empty: none."""
    inside = _IN_NAMESPACE.match(path)
    return inside[1] if inside else ""


def fault_of(path: str) -> str:
    """Return why a path must not be sent; empty: it may, even if built elsewhere."""
    if isinstance(path, ApiPath) and path.fault:
        return path.fault
    return "" if _PLAIN.fullmatch(path) else f"{path[:_SHOWN]!r} is no path of the API server"


def name_query(name: str) -> Mapping[str, str]:
    """Return the query of a list with at most one object."""
    # No object has a name of another form: the empty name selects nothing and injects nothing.
    is_name = _matches(OBJECT_FORM, name, LONGEST_NAME)
    return {"fieldSelector": f"metadata.name={name if is_name else ''}"}


def label_query(selector: Mapping[str, Any]) -> str | Failure:
    """Convert a label selector of an object to the form of a query."""
    terms: list[str] = []
    for key, value in (selector.get("matchLabels") or {}).items():
        terms.append(f"{key}={value}")
        if fault := _selector_fault(key, [value]):
            return fault
    for requirement in selector.get("matchExpressions") or []:
        key, values = str(requirement.get("key") or ""), list(requirement.get("values") or [])
        if fault := _selector_fault(key, values):
            return fault
        among = ",".join(map(str, values))
        forms = {
            "In": f"{key} in ({among})",
            "NotIn": f"{key} notin ({among})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        operator = requirement.get("operator")
        if operator not in forms:
            message = f"spec.selector has the unknown operator {str(operator)[:_SHOWN]!r}"
            return Failure(FailureKind.REJECTED, message)
        terms.append(forms[operator])
    return ",".join(terms)


def _selector_fault(key: str, values: list[Any]) -> Failure | None:
    prefix, slash, name = key.rpartition("/")
    is_prefix = _matches(OBJECT_FORM, prefix, LONGEST_NAME) if slash else not prefix
    is_key = is_prefix and name and _matches(LABEL_VALUE_FORM, name, LONGEST_LABEL)
    wrong = [
        str(value) for value in values if not _matches(LABEL_VALUE_FORM, str(value), LONGEST_LABEL)
    ]
    if is_key and not wrong:
        return None
    shown = (wrong or [key])[0][:_SHOWN]
    return Failure(FailureKind.REJECTED, f"spec.selector: {shown!r} is no valid label")


def _root_segments(kind: ResourceKind) -> list[_PathField]:
    version = _segment("version", kind.version)
    if not kind.group:
        return [_segment("root", "api"), version]
    return [_segment("root", "apis"), _segment("group", kind.group), version]


def _plural_segment(kind: ResourceKind) -> _PathField:
    return _segment("kind", kind.plural)


def _namespace_segments(text: str) -> list[_PathField]:
    return [
        _segment("root", "namespaces"),
        _PathField("namespace", text, DNS_LABEL_FORM, LONGEST_LABEL),
    ]


def _name_segment(text: str) -> _PathField:
    return _PathField("name", text, OBJECT_FORM, LONGEST_NAME)


def _segment(what: str, text: str) -> _PathField:
    return _PathField(what, text, OBJECT_FORM, LONGEST_NAME)


def _path(*parts: _PathField) -> ApiPath:
    made = ApiPath("".join(f"/{quote(part.text, safe='')}" for part in parts))
    wrong = next((part for part in parts if not _matches(part.form, part.text, part.longest)), None)
    if wrong is not None:
        made.fault = f"the {wrong.what} {wrong.text[:_SHOWN]!r} {FORMS[wrong.form]}"
    return made


def _matches(form: str, text: str, longest: int) -> bool:
    return len(text) <= longest and re.fullmatch(form, text) is not None
