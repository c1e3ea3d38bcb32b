"""Every path of the API server's that this program asks for: nothing else makes one.

A name that comes out of a policy, a label or an answer must not lead anywhere but to an object of
that name: each part has the form that Kubernetes gives it and is percent-encoded, and a path with a
part of another form says so (`fault`) and is never sent (`apiserver`).
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
    """A path, encoded; `fault` says why it must not be sent, and is empty where it may."""

    fault: str = ""


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """A kind of object, as its paths name it."""

    group: str
    """Empty: of the core."""
    version: str
    plural: str


@dataclass(frozen=True, slots=True)
class _PathField:
    """A part of a path: what it is called in words, and what it is."""

    what: str
    text: str
    form: str
    longest: int


POLICIES = ResourceKind(GROUP, VERSION, RollbackPolicy.PLURAL)
ROLLBACKS = ResourceKind(GROUP, VERSION, Rollback.PLURAL)
DEPLOYMENTS = ResourceKind("apps", "v1", "deployments")
REPLICA_SETS = ResourceKind("apps", "v1", "replicasets")
PODS = ResourceKind("", "v1", "pods")
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
    """Lead to all objects of a kind, in every namespace or in none."""
    return _path(*_root(kind), _plural(kind))


def in_namespace(kind: ResourceKind, namespace: str) -> ApiPath:
    """Lead to the objects of a kind in one namespace; an empty one is refused."""
    return _path(*_root(kind), *_namespace(namespace), _plural(kind))


def in_namespace_or_all(kind: ResourceKind, namespace: str) -> ApiPath:
    """Lead to the objects of a kind in the namespace that is watched; empty: in all."""
    return in_namespace(kind, namespace) if namespace else whole_cluster(kind)


def one_in(kind: ResourceKind, namespace: str, name: str, part: str = "") -> ApiPath:
    """Lead to one object of a namespace, or to a part of it: its `status`, its `log`."""
    below = [_word("subresource", part)] if part else []
    return _path(*_root(kind), *_namespace(namespace), _plural(kind), _name(name), *below)


def one_of_cluster(kind: ResourceKind, name: str) -> ApiPath:
    """Lead to one object that is in no namespace."""
    return _path(*_root(kind), _plural(kind), _name(name))


def api_groups() -> ApiPath:
    """Lead to what groups the API server has."""
    return _path(_word("root", "apis"))


def api_group(name: str) -> ApiPath:
    """Lead to what versions of a group there are."""
    return _path(_word("root", "apis"), _word("group", name))


def kinds_of(api_version: str) -> ApiPath:
    """Lead to what kinds a version of a group has."""
    return _path(*_root(kind_of(api_version, "")))


def kind_of(api_version: str, plural: str) -> ResourceKind:
    """Give a kind by the apiVersion that its objects carry."""
    group, _, version = api_version.rpartition("/")
    return ResourceKind(group, version, plural)


def namespace_of(path: str) -> str:
    """Tell which namespace a path leads into; empty: none."""
    found = _IN_NAMESPACE.match(path)
    return found[1] if found else ""


def fault_of(path: str) -> str:
    """Say why a path must not be sent; empty: it may. Whoever made it."""
    if isinstance(path, ApiPath) and path.fault:
        return path.fault
    return "" if _PLAIN.fullmatch(path) else f"{path[:_SHOWN]!r} is no path of the API server's"


def only_one(name: str) -> Mapping[str, str]:
    """Give the query of a list that holds one object at most."""
    # A name of another form is no object's: what stands for it chooses nothing and injects nothing.
    is_name = _is(OBJECT_FORM, name, LONGEST_NAME)
    return {"fieldSelector": f"metadata.name={name if is_name else ''}"}


def label_query(selector: Mapping[str, Any]) -> str | Failure:
    """Write a label selector of an object as the API server takes it in a query."""
    terms: list[str] = []
    for key, value in (selector.get("matchLabels") or {}).items():
        terms.append(f"{key}={value}")
        if fault := _selector_fault(key, [value]):
            return fault
    for one in selector.get("matchExpressions") or []:
        key, values = str(one.get("key") or ""), list(one.get("values") or [])
        if fault := _selector_fault(key, values):
            return fault
        among = ",".join(map(str, values))
        forms = {
            "In": f"{key} in ({among})",
            "NotIn": f"{key} notin ({among})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        if one.get("operator") not in forms:
            said = f"spec.selector has the operator {str(one.get('operator'))[:_SHOWN]!r}"
            return Failure(FailureKind.REJECTED, f"{said}, which is not known here")
        terms.append(forms[one["operator"]])
    return ",".join(terms)


def _selector_fault(key: str, values: list[Any]) -> Failure | None:
    prefix, slash, name = key.rpartition("/")
    is_prefix = _is(OBJECT_FORM, prefix, LONGEST_NAME) if slash else not prefix
    is_key = is_prefix and name and _is(LABEL_VALUE_FORM, name, LONGEST_LABEL)
    wrong = [str(one) for one in values if not _is(LABEL_VALUE_FORM, str(one), LONGEST_LABEL)]
    if is_key and not wrong:
        return None
    shown = (wrong or [key])[0][:_SHOWN]
    return Failure(FailureKind.REJECTED, f"spec.selector: {shown!r} is no label of Kubernetes'")


def _root(kind: ResourceKind) -> list[_PathField]:
    version = _word("version", kind.version)
    if not kind.group:
        return [_word("root", "api"), version]
    return [_word("root", "apis"), _word("group", kind.group), version]


def _plural(kind: ResourceKind) -> _PathField:
    return _word("kind", kind.plural)


def _namespace(text: str) -> list[_PathField]:
    return [
        _word("root", "namespaces"),
        _PathField("namespace", text, DNS_LABEL_FORM, LONGEST_LABEL),
    ]


def _name(text: str) -> _PathField:
    return _PathField("name", text, OBJECT_FORM, LONGEST_NAME)


def _word(what: str, text: str) -> _PathField:
    return _PathField(what, text, OBJECT_FORM, LONGEST_NAME)


def _path(*parts: _PathField) -> ApiPath:
    made = ApiPath("".join(f"/{quote(one.text, safe='')}" for one in parts))
    wrong = next((one for one in parts if not _is(one.form, one.text, one.longest)), None)
    if wrong is not None:
        made.fault = f"the {wrong.what} {wrong.text[:_SHOWN]!r} {FORMS[wrong.form]}"
    return made


def _is(form: str, text: str, longest: int) -> bool:
    return len(text) <= longest and re.fullmatch(form, text) is not None
