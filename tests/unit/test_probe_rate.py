"""How often a template's probes ask."""

import pytest

from rollback_operator.adapters.kube.projections.deployments import deployment_of

GET = {"path": "/health", "port": 80}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{"readinessProbe": {"httpGet": GET, "periodSeconds": 5}}], 0.2),
        ([{"readinessProbe": {"httpGet": GET}, "livenessProbe": {"httpGet": GET}}], 0.2),
        ([{"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}}], 0.0),
        ([{"startupProbe": {"httpGet": GET, "periodSeconds": 1}}], 0.0),
        ([{"livenessProbe": {"httpGet": GET}}, {"livenessProbe": {"httpGet": GET}}], 0.2),
        ([{}], 0.0),
        (None, 0.0),
    ],
)
def test_http_probes_make_requests(containers, expected) -> None:
    metadata = {"namespace": "production", "name": "shop", "uid": "u"}
    template = {"spec": {"containers": containers}}
    found = deployment_of({"metadata": metadata, "spec": {"template": template}})
    assert found.probe_rate == pytest.approx(expected)
