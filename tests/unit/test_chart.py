"""The chart renders what Kubernetes accepts: a pod of the strictest level with its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from lab import chart
from lab.errors import LabError
from rollback_operator.api.v1alpha1 import GROUP
from rollback_operator.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "rollback-operator"
KUBERNETES = "1.34"
URL = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
NO_POLICIES = {"admission": {"create": False}}
IN_NAMESPACES = {**URL, **NO_POLICIES, "watchNamespaces": ["production", "staging"]}
WITH_SECRETS = {
    "prometheus": {
        **URL["prometheus"],
        "tokenSecret": {"name": "prometheus", "key": "bearer"},
        "caSecret": {"name": "authority"},
    }
}
WITH_LOGIN = {
    "prometheus": {**URL["prometheus"], "basicAuthSecret": {"name": "login"}, "tenant": "all"},
}
EVERYTHING = {
    **WITH_SECRETS,
    "allowedTenants": ["shop/team-shop", "shop/team-cart"],
    "allowedPrometheusHosts": ["metrics.example.com", "thanos", "2001:db8::1"],
    "ownQueries": "own-credentials",
    "replicas": 3,
    "lease": {"seconds": 30},
    "log": {"level": "debug", "format": "text"},
    "image": {
        "repository": "registry.example.com/rollback-operator",
        "digest": "sha256:" + "a" * 64,
    },
    "imagePullSecrets": [{"name": "registry"}],
    "httpPort": 9000,
    "serviceAccount": {"name": "operator", "annotations": {"example.com/role": "reader"}},
    "podLabels": {"team": "shop"},
    "podAnnotations": {"example.com/note": "1"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
        }
    ],
    "priorityClassName": "system-cluster-critical",
}
CASES = {
    "cluster": URL,
    "namespaces": IN_NAMESPACES,
    "secrets": WITH_SECRETS,
    "everything": EVERYTHING,
}


def render(
    values: Mapping[str, Any], *, name: str = "guard", namespace: str = "operators"
) -> list[dict[str, Any]]:
    return chart.rendered(values, name=name, namespace=namespace)


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def deployment(values: Mapping[str, Any], **release: str) -> dict[str, Any]:
    (found,) = of_kind(render(values, **release), "Deployment")
    return found


def container(values: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = deployment(values)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(values: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "ROLLBACK_OPERATOR_"
    listed = container(values)["env"]
    assert all(each["name"].startswith(prefix) for each in listed)
    return {
        each["name"].removeprefix(prefix): each.get("value", each.get("valueFrom"))
        for each in listed
    }


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_kubernetes_knows_every_field(values: Mapping[str, Any]) -> None:
    for found in render(values):
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_before_its_removal_held_rollouts_are_let_go(values: Mapping[str, Any]) -> None:
    (hook,) = chart.hooks(values, name="guard", namespace="operators")
    kubernetes_validate.validate(hook, KUBERNETES, strict=True)
    template = hook["spec"]["template"]
    spec, operator = template["spec"], deployment(values)["spec"]["template"]["spec"]
    (found,), (service,) = spec["containers"], of_kind(render(values), "Service")
    settings = {each["name"]: each.get("value") for each in found["env"]}
    own = {each["name"]: each.get("value") for each in operator["containers"][0]["env"]}

    assert hook not in render(values)
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert found["args"] == ["release"]
    for name in ("image", "imagePullPolicy", "securityContext"):
        assert found[name] == operator["containers"][0][name]
    for name in ("serviceAccountName", "securityContext"):
        assert spec[name] == operator[name]
    for name in ("tolerations", "nodeSelector", "imagePullSecrets"):
        assert spec.get(name) == operator.get(name)
    assert spec.get("affinity") == values.get("affinity")  # one Job has nobody to be apart from
    for name in ("NAMESPACES", "LEASE_NAME"):
        full = f"ROLLBACK_OPERATOR_{name}"
        assert settings[full] == own[full]
    assert not service["spec"]["selector"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("values", [{}, *CASES.values()], ids=["nothing set", *CASES])
def test_helm_lints_it_clean(values: dict[str, Any]) -> None:
    report = helm_python.lint(CHART, values, strict=True)

    assert report["errors"] == []
    assert {each["error"] for each in report["messages"]} <= {"icon is recommended"}


def test_its_crds_are_the_projects() -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "deploy" / "crds").iterdir()}
    charts = {path.name: path.read_text() for path in (CHART / "files" / "crds").iterdir()}

    assert ours == charts
    assert {each["spec"]["group"] for each in chart.crds()} == {GROUP}


def definitions(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    with helm_python.Chart.load(CHART) as loaded:
        files = loaded.render(dict(values), name="guard", namespace="operators", is_install=True)
    texts = [text for path, text in files.items() if not path.endswith("NOTES.txt")]
    found = [one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader) if one]
    return [one for one in found if one["kind"] == chart.DEFINITION]


def test_its_crds_are_part_of_the_release_and_outlive_it() -> None:
    found = definitions(URL)

    assert [one["spec"] for one in found] == [one["spec"] for one in chart.crds()]
    for one, ours in zip(found, chart.crds(), strict=True):
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
        assert one["metadata"]["name"] == ours["metadata"]["name"]
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "guard"
        assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert one["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false"


def test_its_crds_can_be_left_to_others() -> None:
    assert definitions({**URL, "crds": {"install": False}}) == []
    assert not list(CHART.glob("crds/*"))  # what Helm installs, and never upgrades


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_every_object_says_where_it_belongs(values: Mapping[str, Any]) -> None:
    for found in render(values):
        metadata = found["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == "guard"
        is_the_clusters = found["kind"].startswith(("Cluster", "ValidatingAdmission"))
        assert ("namespace" in metadata) != is_the_clusters


class TestPod:
    @pytest.mark.parametrize("values", CASES.values(), ids=CASES)
    def test_fits_the_restricted_level(self, values: Mapping[str, Any]) -> None:
        spec = deployment(values)["spec"]["template"]["spec"]

        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        assert {kind for volume in spec.get("volumes", []) for kind in volume} <= {"name", "secret"}
        (found,) = spec["containers"]
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    def test_asks_for_what_it_needs(self) -> None:
        assert container(URL)["resources"] == {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"memory": "768Mi"},
        }

    @pytest.mark.parametrize(("values", "port"), [(URL, 8080), (EVERYTHING, 9000)])
    def test_is_probed_and_scraped_where_it_listens(
        self, values: Mapping[str, Any], port: int
    ) -> None:
        found = container(values)
        (service,) = of_kind(render(values), "Service")
        template = deployment(values)["spec"]["template"]

        assert found["ports"] == [{"name": "http", "containerPort": port}]
        assert environment(values)["HTTP_PORT"] == str(port)
        assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
        assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
        assert service["spec"]["ports"] == [{"name": "metrics", "port": port, "targetPort": "http"}]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
        assert template["metadata"]["annotations"]["prometheus.io/path"] == "/metrics"

    def test_gets_its_settings_by_environment(self) -> None:
        assert environment(URL) == {
            "PROMETHEUS_URL": "http://prometheus.monitoring:9090",
            "OWN_QUERIES": "allowed",
            "ALLOWED_PROMETHEUS_HOSTS": "",
            "ALLOWED_TENANTS": "",
            "ALLOWED_HOSTS": "",
            "MAX_CONCURRENT": "10",
            "MAX_ROLLBACKS_PER_DAY": "0",
            "NAMESPACES": "",
            "LEASE_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
            "LEASE_NAME": "guard-rollback-operator",
            "LEASE_SECONDS": "15",
            "IDENTITY": {"fieldRef": {"fieldPath": "metadata.name"}},
            "HTTP_PORT": "8080",
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
        }
        assert environment(IN_NAMESPACES)["NAMESPACES"] == "production,staging"

        found = environment(EVERYTHING)
        assert found["ALLOWED_PROMETHEUS_HOSTS"] == "metrics.example.com,thanos,2001:db8::1"
        assert (found["LEASE_SECONDS"], found["LOG_LEVEL"]) == ("30", "debug")
        assert found["LOG_FORMAT"] == "text"

    @pytest.mark.parametrize("values", CASES.values(), ids=CASES)
    def test_settings_are_the_operators_own(
        self, values: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = environment(values)
        for name, value in found.items():
            by_the_kubelet = f"from-{name.lower()}".replace("_", "-")
            text = value if isinstance(value, str) else by_the_kubelet
            monkeypatch.setenv(f"ROLLBACK_OPERATOR_{name}", text)

        settings = Settings()

        assert {name.lower() for name in found} <= set(Settings.model_fields)
        assert settings.prometheus_url == URL["prometheus"]["url"]
        assert settings.namespaces == tuple(values.get("watchNamespaces", ()))
        assert settings.allowed_prometheus_hosts == tuple(values.get("allowedPrometheusHosts", ()))
        assert settings.allowed_tenants == tuple(values.get("allowedTenants", ()))
        assert settings.own_queries == values.get("ownQueries", "allowed")
        assert settings.identity == "from-identity"
        assert settings.http_port == container(values)["ports"][0]["containerPort"]

    def test_finds_its_secrets_where_it_is_told(self) -> None:
        spec = deployment(WITH_SECRETS)["spec"]["template"]["spec"]
        found = environment(WITH_SECRETS)
        files = {}
        for mount in spec["containers"][0]["volumeMounts"]:
            (volume,) = (each for each in spec["volumes"] if each["name"] == mount["name"])
            (item,) = volume["secret"]["items"]
            source = volume["secret"]["secretName"], item["key"]
            files[f"{mount['mountPath']}/{item['path']}"] = source

        assert files == {
            found["PROMETHEUS_TOKEN_FILE"]: ("prometheus", "bearer"),
            found["PROMETHEUS_CA_FILE"]: ("authority", "ca.crt"),
        }

    def test_finds_its_login_where_it_is_told(self) -> None:
        spec = deployment(WITH_LOGIN)["spec"]["template"]["spec"]
        found = environment(WITH_LOGIN)
        (volume,) = spec["volumes"]
        (mount,) = spec["containers"][0]["volumeMounts"]

        assert mount["name"] == volume["name"]
        assert mount["mountPath"] == found["PROMETHEUS_BASIC_AUTH_FOLDER"]
        assert volume["secret"]["secretName"] == "login"
        items = {one["key"]: one["path"] for one in volume["secret"]["items"]}
        assert items == {"username": "username", "password": "password"}
        assert found["PROMETHEUS_TENANT"] == "all"
        assert "PROMETHEUS_TOKEN_FILE" not in found

    def test_image_is_the_charts_version_unless_told_otherwise(self) -> None:
        metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())

        assert container(URL)["image"] == f"rollback-operator:{metadata['appVersion']}"
        tagged = {**URL, "image": {"tag": "dev", "repository": "localhost/rollback-operator"}}
        assert container(tagged)["image"] == "localhost/rollback-operator:dev"
        assert container(EVERYTHING)["image"].endswith("operator@sha256:" + "a" * 64)

    def test_labels_of_ones_own_cannot_break_the_selector(self) -> None:
        found = deployment({**URL, "podLabels": {"app.kubernetes.io/name": "other", "team": "a"}})
        labels = found["spec"]["template"]["metadata"]["labels"]

        assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels["team"] == "a"


AROUND = {
    **URL,
    "replicas": 2,
    "extraArgs": ["--workers=8"],
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ssl/own.pem"}],
    "podDisruptionBudget": {"create": True},
    "networkPolicy": {
        "create": True,
        "scrapeFrom": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
    },
    "monitoring": {
        "serviceMonitor": {"create": True, "labels": {"release": "kube-prometheus"}},
        "rules": {"create": True, "labels": {"release": "kube-prometheus"}},
        "dashboard": {"create": True},
    },
}
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


def test_what_stands_around_it_is_made_where_asked_for() -> None:
    assert {each["kind"] for each in render(URL)}.isdisjoint(
        {*FOREIGN, "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"}
    )
    objects = render(AROUND)
    for found in objects:
        if found["kind"] not in FOREIGN:
            kubernetes_validate.validate(found, KUBERNETES, strict=True)
    (operator,) = of_kind(objects, "Deployment")
    labels = operator["spec"]["template"]["metadata"]["labels"].items()
    (budget,), (policy,) = (
        of_kind(objects, kind) for kind in ("PodDisruptionBudget", "NetworkPolicy")
    )
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"] == AROUND["networkPolicy"]["scrapeFrom"]
    assert rule["ports"] == [{"port": 8080, "protocol": "TCP"}]
    (monitor,), (service,) = (of_kind(objects, kind) for kind in ("ServiceMonitor", "Service"))
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus"
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    assert selected <= service["metadata"]["labels"].items()
    (rules,) = of_kind(objects, "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    (dashboard,) = of_kind(objects, "ConfigMap")
    shown = json.loads(dashboard["data"]["rollback-operator.json"])
    assert shown == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_its_arguments_and_variables_can_be_added_to() -> None:
    found = container(AROUND)
    assert found["args"] == ["run", "--workers=8"]
    assert AROUND["extraEnv"][0] in found["env"]
    assert "args" not in container(URL)


def test_replicas_prefer_nodes_of_their_own() -> None:
    spec = deployment(URL)["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    labels = deployment(URL)["spec"]["template"]["metadata"]["labels"].items()
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels


def test_a_budget_that_would_keep_nodes_from_being_drained_is_refused() -> None:
    with pytest.raises(LabError, match="set replicas to 2 or more"):
        render({**URL, "podDisruptionBudget": {"create": True}})
