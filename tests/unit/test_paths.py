"""No name leads out of the namespace, or to anything but an object of that name."""

from pathlib import Path
from token import NAME, STRING, tok_name
from tokenize import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rollback_operator
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.paths import ApiPath, ResourceKind
from rollback_operator.ports.failure import Failure, FailureKind

PACKAGE = Path(rollback_operator.__file__).parent
LONGEST = ".".join(["a" * 63] * 3 + ["a" * 61])
NAMES = {
    "short": "a",
    "digits": "0",
    "dots": "shop.v1.example.com",
    "hyphens": "a--b",
    "the longest": LONGEST,
}
ATTACKS = {
    "another namespace": "../../victim/secrets/payments",
    "one up": "..",
    "itself": ".",
    "nothing": "",
    "a subresource": "shop/status",
    "encoded": "..%2F..%2Fvictim",
    "encoded dots": "%2e%2e",
    "backslash": "..\\victim",
    "query": "shop?watch=true",
    "fragment": "shop#a",
    "end of line": "shop\n",
    "zero": "shop\x00",
    "space": "a b",
    "a letter of another alphabet": "sh\u043ep",
    "wide dots": "\u2024\u2024",
    "upper case": "Shop",
    "matrix": "shop;a=b",
    "too long": LONGEST + "a",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_a_part_of_the_path(name: str) -> None:
    made = paths.object_in(paths.SECRETS, "shop", name)

    assert made == f"/api/v1/namespaces/shop/secrets/{name}"
    assert paths.fault_of(made) == ""


@pytest.mark.parametrize("name", ATTACKS.values(), ids=ATTACKS)
def test_what_is_no_name_is_refused_and_said_to_be_wrong(name: str) -> None:
    of_object = paths.fault_of(paths.object_in(paths.SECRETS, "shop", name))
    of_namespace = paths.fault_of(paths.object_in(paths.SECRETS, name, "shop"))
    of_kind = paths.fault_of(paths.in_namespace(ResourceKind("apps", "v1", name), "shop"))
    of_group = paths.fault_of(paths.api_group(name))

    assert of_object.startswith("the name ")
    assert "must be the name of a Kubernetes object" in of_object
    assert of_namespace.startswith("the namespace ")
    assert "must be a DNS label" in of_namespace
    assert of_kind.startswith("the kind ")
    assert of_group.startswith("the group ")


def test_no_namespace_is_never_all_of_them() -> None:
    assert paths.fault_of(paths.in_namespace(paths.PODS, "")) != ""
    assert paths.in_namespace_or_all(paths.PODS, "") == "/api/v1/pods"


@given(st.text(max_size=300), st.text(max_size=80))
def test_whatever_a_path_is_made_of_it_has_as_many_parts_or_is_refused(name: str, at: str) -> None:
    made = paths.object_in(paths.REPLICA_SETS, at, name)

    assert made.count("/") == len(("apis", "apps", "v1", "namespaces", at, "replicasets", name))
    if not paths.fault_of(made):
        assert made == f"/apis/apps/v1/namespaces/{at}/replicasets/{name}"


UNSENT = {
    "up": "/api/v1/namespaces/a/secrets/../../b",
    "an empty part": "/api/v1//secrets",
    "encoded": "/api/v1/namespaces/a/secrets/%2e%2e",
    "a query": "/api/v1/secrets?watch=1",
    "another root": "/metrics",
    "an address": "//elsewhere/api",
    "a line": "/api/v1\n",
    "refused already": paths.object_in(paths.SECRETS, "shop", ".."),
}


@pytest.mark.parametrize("path", UNSENT.values(), ids=UNSENT)
async def test_a_strange_path_is_not_sent_whoever_made_it(path: str) -> None:
    """Without a client: whatever was sent would raise."""
    api = ApiServer(None, lambda *_: None)  # type: ignore[arg-type]

    found = await api.get(ApiPath(path) if not isinstance(path, ApiPath) else path)
    text = await api.get_text(ApiPath(path) if not isinstance(path, ApiPath) else path)

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert isinstance(text, Failure)


def selector(**expressions: object) -> dict[str, object]:
    return {"matchExpressions": [expressions]}


def test_a_selector_is_written_as_the_api_server_takes_it() -> None:
    found = paths.label_query(
        {
            "matchLabels": {"app.kubernetes.io/name": "shop", "empty": ""},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["web", "api"]},
                {"key": "track", "operator": "NotIn", "values": ["old"]},
                {"key": "a", "operator": "Exists"},
                {"key": "b", "operator": "DoesNotExist", "values": None},
            ],
        }
    )

    assert found == ("app.kubernetes.io/name=shop,empty=,tier in (web,api),track notin (old),a,!b")
    assert paths.label_query({"matchLabels": None, "matchExpressions": None}) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"matchLabels": {"app": "shop,victim"}},
        {"matchLabels": {"app=a,b": "shop"}},
        {"matchLabels": {"/app": "shop"}},
        {"matchLabels": {"app": "a" * 64}},
        selector(key="app", operator="In", values=["a),victim in (b"]),
        selector(key="a in (b),c", operator="Exists"),
        selector(key="", operator="Exists"),
        selector(key="app", operator="Near", values=["a"]),
        selector(operator="Exists"),
    ],
)
def test_a_selector_of_another_form_is_a_failure(wrong: dict[str, object]) -> None:
    found = paths.label_query(wrong)

    assert isinstance(found, Failure)
    assert found.message.startswith("spec.selector")


def test_a_list_of_one_is_asked_for_by_a_name_and_nothing_else() -> None:
    assert paths.name_query("shop.v1") == {"fieldSelector": "metadata.name=shop.v1"}
    assert paths.name_query("a,metadata.namespace!=b") == {"fieldSelector": "metadata.name="}


# -- nobody else makes one -------------------------------------------------------------------------

SHOWN = {
    ("report/incident.py", "/"): "CloudEvents' source, which is sent to nobody as a path",
    ("api/signals.py", "/api/v1/tickets/"): "routes of the service that is watched",
    ("adapters/channels/webhooks.py", "/api/v2/alerts"): "of Alertmanager",
}
STRINGS = {STRING, *(number for number, name in tok_name.items() if name == "FSTRING_MIDDLE")}
BEGINNINGS = ("/api/", "/apis", "/namespaces")
MODULES = sorted(PACKAGE.rglob("*.py"))


def _strays(module: Path) -> list[str]:
    """Find text that begins like a path of the API server's, and paths made beside the builder."""
    name = module.relative_to(PACKAGE).as_posix()
    if name == "adapters/kube/paths.py":
        return []
    found = []
    with module.open("rb") as source:
        for token in tokenize(source.readline):
            text = token.string
            is_path = token.type in STRINGS and any(one in text for one in BEGINNINGS)
            is_shown = any(name == at and one in text for at, one in SHOWN)
            is_made = token.type == NAME and text == "ApiPath" and "ApiPath(" in token.line
            if is_made or (is_path and not is_shown and '"""' not in text):
                found.append(f"{name}:{token.start[0]}: {token.line.strip()}")
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.relative_to(PACKAGE).as_posix())
def test_paths_of_the_api_server_are_made_in_one_module(module: Path) -> None:
    assert _strays(module) == []


def test_the_search_for_strays_finds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_paths.PACKAGE", tmp_path)
    stray = tmp_path / "stray.py"
    stray.write_text('def f(a, n):\n    return f"/api/v1/namespaces/{a}/secrets/{n}"\n')
    assert len(_strays(stray)) == 1
    stray.write_text("p = ApiPath('x')\n")
    assert len(_strays(stray)) == 1
