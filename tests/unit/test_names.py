"""What a policy or a Rollback names has the form that Kubernetes gives it, in the CRD and here."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from rollback_operator.api.crd import custom_resource_definition
from rollback_operator.api.notify import MailSpec
from rollback_operator.api.remedy import ConfigMapRef, Flag, Remedy
from rollback_operator.api.shape import FORMS, DataKey, Name, SecretKeyRef
from rollback_operator.api.user_text.documents import fault_of
from rollback_operator.api.v1alpha1 import KINDS, RequestedPolicy, SignalsSpec, TargetRef
from rollback_operator.reconcile.cache import Cache, Unreadable

TRAVERSAL = "../../victim/secrets/payments"
LONGEST = ".".join(["a" * 63] * 3 + ["a" * 61])
FREE = frozenset(
    {
        *("advice", "automated", "blameOdds", "body", "changedBy", "channel", "id"),
        "escalatedMessage",
        *(
            "broughtImages[]",
            "imageDigests[]",
            "images[]",
            "impact",
            "initImages[]",
            "matchers.*",
            "maxSurge",
        ),
        *("maxUnavailable", "message", "names[]", "odds", "oldValue", "query", "reason"),
        *("releaseMessage", "releaseReason", "restoreMessage", "severity", "text", "tool"),
        *("transition", "type", "value"),
        *("command[]", "how", "place", "undone[]", "unknownLoss"),
        *("diff", "expect", "keptConfiguration", "memory", "output", "rows[]", "selector"),
    }
)
"""Fields whose text has no form: words, queries, values, and what the API server took elsewhere."""
WORDS = frozenset(("findings[].name", "probes[].name", "verification[].name"))
"""Names that are only shown: the operator's own, or of a field that has a form."""


def strings() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in KINDS:
        (version,) = custom_resource_definition(kind)["spec"]["versions"]
        parts = version["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            yield from _strings(parts[part], f"{kind.KIND}.{part}")


def _strings(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if node["type"] == "string":
        yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _strings(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in node:
            yield from _strings(node[key], path + mark)


STRINGS = [*strings()]


def test_a_text_has_a_form_or_is_known_to_be_free() -> None:
    """A new field that names something must say in which form."""
    for path, node in STRINGS:
        last = path.replace(".*", "*").rpartition(".")[2].replace("*", ".*")
        is_word = any(path.endswith(one) for one in WORDS)
        has_form = bool({"pattern", "enum", "format"} & set(node))

        assert has_form or is_word or last in FREE, path
        assert has_form or "maxLength" in node, path


NAMING = re.compile(
    r"((Ref|flag|owner|autoscaler|lastRollback)\.name|\.(key|container|deployment|replicaSet|rollback"
    r"|namespace|uid|[a-zA-Z]*Uid|templateHash|digest|release|planDigest))$"
)


def test_what_names_something_holds_no_path() -> None:
    for path, node in STRINGS:
        if not NAMING.search(path):
            continue
        for one in (TRAVERSAL, "a/b", "a%2fb", "a\\b", "a b", "a\n", "\x00", "?a", "#"):
            assert not re.fullmatch(node["pattern"], one), (path, one)
        assert node["maxLength"] <= 253, path


def test_a_form_takes_one_line_of_text() -> None:
    for path, node in STRINGS:
        if "pattern" in node and not path.endswith(
            (".schema", ".sql", "history.table")
        ):  # PostgreSQL takes any
            assert not re.fullmatch(node["pattern"], "a\nb"), path


REFUSED: dict[str, tuple[type[BaseModel], dict[str, Any], str]] = {
    "a Secret's name": (SecretKeyRef, {"name": TRAVERSAL, "key": "token"}, "Kubernetes object"),
    "a Secret's key": (SecretKeyRef, {"name": "a", "key": "../token"}, "key of a ConfigMap"),
    "a key of dots": (SecretKeyRef, {"name": "a", "key": ".."}, "key of a ConfigMap"),
    "a ConfigMap's name": (ConfigMapRef, {"name": "a/../b"}, "Kubernetes object"),
    "a flag's key": (
        Flag,
        {"name": "a/b", "value": "", "configMapRef": {"name": "a"}},
        "key of a ConfigMap",
    ),
    "a target's name": (TargetRef, {"name": "shop/status"}, "Kubernetes object"),
    "a policy's name": (RequestedPolicy, {"name": ".."}, "Kubernetes object"),
    "a container": (
        Remedy,
        {"type": "PinImage", "container": "a.b", "image": "shop:v1"},
        "DNS label",
    ),
    "an image": (
        Remedy,
        {"type": "PinImage", "container": "shop", "image": "shop:v1 --privileged"},
        "image's reference",
    ),
    "a route": (SignalsSpec, {"purchaseRoutes": ["/buy\n/free"]}, "one line"),
    "a host": (
        MailSpec,
        {"host": "mail..:", "from": "a@b.example", "to": ["c@d.example"]},
        "host's name",
    ),
}


@pytest.mark.parametrize(("model", "raw", "said"), REFUSED.values(), ids=REFUSED)
def test_another_form_is_refused_in_words(
    model: type[BaseModel], raw: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(raw)
    assert said in fault_of(caught.value.errors()[0])


IMAGES = (
    "shop",
    "shop:v1",
    "localhost:5000/team/shop",
    "registry.example.com/team/shop_a__b--c:V1.0-rc_1",
    "[::1]:5000/shop:v1",
    "shop@sha256:" + "a" * 64,
    "registry.example.com:443/a/b/c:v1@sha256:" + "0" * 64,
    "xn--80ak6aa92e.example.com/a.b/c",
)


@pytest.mark.parametrize("image", IMAGES)
def test_images_in_all_their_forms_are_taken(image: str) -> None:
    Remedy(type="PinImage", container="shop", image=image)


@pytest.mark.parametrize("name", ["a", "0", LONGEST, "a.b-c.0", "a--b"])
def test_unusual_names_are_taken(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize("key", [".env", "tls.crt", "A_B-c.d", "a..b", "-", "_", "a" * 253])
def test_unusual_keys_are_taken(key: str) -> None:
    assert TypeAdapter(DataKey).validate_python(key) == key


@pytest.mark.parametrize("form", FORMS)
def test_forms_mean_the_same_to_both_engines(form: str) -> None:
    """The API server's RE2 and pydantic's engine both take `$` for the end of the text."""
    with pytest.raises(ValidationError):
        TypeAdapter(SecretKeyRef).validate_python({"name": "a\n", "key": "b"})
    re.compile(form)


def test_a_stored_policy_with_a_path_for_a_name_is_unreadable_and_says_why() -> None:
    """Written before the CRD had the form."""
    cache = Cache()
    key = cache.put_policy(
        {
            "metadata": {"name": "shop", "namespace": "attacker", "uid": "u"},
            "spec": {
                "targetRef": {"name": "shop"},
                "mode": "Observe",
                "prometheus": {"bearerTokenSecretRef": {"name": TRAVERSAL, "key": "token"}},
            },
        }
    )

    found = cache.policies[key]

    assert isinstance(found, Unreadable)
    assert found.message == (
        "spec.prometheus.bearerTokenSecretRef.name: must be the name of a Kubernetes object: at "
        "most 253 lower-case letters, digits, hyphens and dots, with a letter or digit at both "
        f"ends and around each dot (it is '{TRAVERSAL}')"
    )
