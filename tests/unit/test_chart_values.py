"""The chart's values: wrong ones are refused by name, and odd but right ones are taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import helm_python
import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from lab import chart
from lab.errors import LabError
from tests.sizes import examples

URL = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
NAMES = {"name", "namespace", "value", "serviceAccountName"}
MAPS = {"labels", "matchLabels", "annotations"}
WRONG: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no address": ({}, r"prometheus\.url is required"),
    "misspelt at the top": ({"replica": 2}, "'replica' not allowed"),
    "misspelt within": ({"prometheus": {"tokenSecret": {"nmae": "x"}}}, "'nmae' not allowed"),
    "number as text": ({"replicas": "2"}, "/replicas"),
    "text as a list": ({"watchNamespaces": "production"}, "/watchNamespaces"),
    "two logins": (
        {"prometheus": {"tokenSecret": {"name": "a"}, "basicAuthSecret": {"name": "b"}}},
        "a request has one login",
    ),
    "no tenant's name": ({"prometheus": {"tenant": "a/b"}}, "/prometheus/tenant"),
    "tenants of any namespace": ({"allowedTenants": ["team-shop"]}, "/allowedTenants/0"),
    "no namespace's name": ({"watchNamespaces": ["Production"]}, "/watchNamespaces/0"),
    "address without scheme": ({"prometheus": {"url": "prometheus:9090"}}, "/prometheus/url"),
    "address with a password": ({"prometheus": {"url": "http://a:b@c"}}, "/prometheus/url"),
    "address with a query": ({"prometheus": {"url": "http://a?b=c"}}, "/prometheus/url"),
    "address with half a host": ({"prometheus": {"url": "http://[::1"}}, "/prometheus/url"),
    "host with a path": ({"allowedPrometheusHosts": ["a/b"]}, "/allowedPrometheusHosts/0"),
    "host with a port": ({"allowedPrometheusHosts": ["a:9090"]}, "/allowedPrometheusHosts/0"),
    "called host with a port": ({"allowedHosts": ["a:443"]}, "/allowedHosts/0"),
    "secrets without a namespace": ({"readSecrets": [{"names": ["a"]}]}, "namespace"),
    "no secret's name": ({"readSecrets": [{"namespace": "a", "names": ["A_"]}]}, "/names/0"),
    "config maps without a namespace": ({"patchConfigMaps": [{"names": ["a"]}]}, "namespace"),
    "misspelt of Argo CD": ({"gitOps": {"argoCD": {"enabled": True}}}, "'enabled' not allowed"),
    "no namespace's name of Flux": ({"gitOps": {"flux": {"namespaces": ["A"]}}}, "/namespaces/0"),
    "closed namespace of no name": (
        {"admission": {"closedNamespaces": ["A"]}},
        "/admission/closedNamespaces/0",
    ),
    "admission policies of some namespaces": (
        {"watchNamespaces": ["a"]},
        r"Set admission\.create=false.*approvals do not count",
    ),
    "lease too short": ({"lease": {"seconds": 1}}, "/lease/seconds"),
    "unknown log level": ({"log": {"level": "LOUD"}}, "/log/level"),
    "port of the system": ({"httpPort": 80}, "/httpPort"),
    "text as truth": ({"rbac": {"create": "no"}}, "/rbac/create"),
    "digest cut short": ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
    "misspelt quantity": ({"resources": {"limits": {"memory": "256MiB"}}}, "/resources/limits"),
    "unknown resources": ({"resources": {"limit": {}}}, "'limit' not allowed"),
}


@pytest.mark.parametrize(("values", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_its_name(values: Mapping[str, Any], named: str) -> None:
    complete = chart.merged(URL, values) if values else {}

    with pytest.raises(LabError, match=named):
        chart.rendered(complete, name="guard", namespace="operators")


def test_the_schema_knows_every_value() -> None:
    """A value without a schema would be one that nobody checks."""
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    with helm_python.Chart.load(chart.CHART) as loaded:
        schema = loaded.schema
    assert schema is not None

    assert set(schema["properties"]) == set(values) | {"global"}


dns_name = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


# No shrinking: each rendering takes a twentieth of a second, and the names are short anyway.
@settings(max_examples=examples(20), phases=(Phase.explicit, Phase.generate))
@example(release="1", namespace="true", watched=["null", "0x1", "1e3"], replicas=1, name="007")
@given(
    release=dns_name,
    namespace=dns_name,
    watched=st.lists(dns_name, max_size=3, unique=True),
    replicas=st.integers(0, 10),
    name=st.one_of(st.just(""), dns_name),
)
def test_any_names_give_valid_objects(
    release: str, namespace: str, watched: list[str], replicas: int, name: str
) -> None:
    """Names like `1`, `true` or `0x1` are names, not numbers or truths."""
    values = {
        **URL,
        "watchNamespaces": watched,
        "admission": {"create": not watched},
        "replicas": replicas,
        "fullnameOverride": name,
    }
    objects = chart.rendered(values, name=release, namespace=namespace)

    for found in objects:
        assert all(isinstance(each, str) for each in names_in(found))
        assert found["metadata"].get("namespace") in {None, namespace, *watched}
    keys = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in objects
    ]
    assert len(set(keys)) == len(keys)


def names_in(node: Any) -> Iterator[Any]:
    """Everything that Kubernetes wants as text and YAML may take for something else."""
    if isinstance(node, Mapping):
        yield from (node[key] for key in NAMES & set(node))
        for key in MAPS & set(node):
            yield from node[key].values()
        for child in node.values():
            yield from names_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from names_in(child)
