"""Prometheus and the cluster, as the options of a command name them."""

import argparse
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubernetes.aio.config import ConfigException

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.login import usual_kubeconfig
from rollback_operator.adapters.kube.secrets import ApiSecrets
from rollback_operator.adapters.kube.target.flags import ApiFlags
from rollback_operator.adapters.kube.target.tools import ApiTools
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.adapters.prometheus import Access, PrometheusMetrics, PrometheusTrends
from rollback_operator.adapters.prometheus.credentials import LOGIN_KEYS
from rollback_operator.advise.survey import Survey
from rollback_operator.api.shape import base_address
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli.check.surveying import ClusterPorts, Surveyor
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options that name Prometheus and the cluster."""

    prometheus: str | None
    access: Access
    kubeconfig: str | None
    settings: Settings

    @property
    def brings_credentials(self) -> bool:
        """Whether options replace the credentials in the policies' Secrets."""
        access = self.access
        return any((access.token_file, access.login_folder, access.ca_file))


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options that name Prometheus and the cluster."""
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        help="address of Prometheus; default: the policy's spec.prometheus.url, then "
        "the operator's own setting (ROLLBACK_OPERATOR_PROMETHEUS_URL)",
    )
    parser.add_argument(
        "--prometheus-token-file",
        type=Path,
        metavar="FILE",
        help="file with a bearer token for that Prometheus, in place of the policy's Secrets",
    )
    parser.add_argument(
        "--prometheus-basic-auth-folder",
        type=Path,
        metavar="FOLDER",
        help="folder with the files username and password for that Prometheus, in place of the "
        "policy's Secrets",
    )
    parser.add_argument(
        "--prometheus-ca-file",
        type=Path,
        metavar="FILE",
        help="file with the certificate authority of Prometheus, in place of the policy's Secrets",
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="of the cluster; default: $KUBECONFIG, ~/.kube/config, the pod's own",
    )


def sources_of(given: Mapping[str, Any], settings: Settings) -> SourceOptions:
    """Take the options that `add_sources` has added."""
    return SourceOptions(
        prometheus=given["prometheus"],
        access=Access(
            given["prometheus_token_file"],
            given["prometheus_ca_file"],
            login_folder=given["prometheus_basic_auth_folder"],
        ),
        kubeconfig=given["kubeconfig"] or usual_kubeconfig(),
        settings=settings,
    )


def wrong_sources(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options that cannot be used, before anything is read."""
    if given["prometheus"] is not None:
        try:
            base_address(given["prometheus"])
        except ValueError as error:
            yield "--prometheus", f"{error}, not {given['prometheus']!r}"
    folder = given["prometheus_basic_auth_folder"]
    if folder is not None and given["prometheus_token_file"] is not None:
        yield "--prometheus-basic-auth-folder", "a request has one login: leave out the token file"
    files = [
        ("--prometheus-token-file", given["prometheus_token_file"]),
        ("--prometheus-ca-file", given["prometheus_ca_file"]),
        *(("--prometheus-basic-auth-folder", folder and folder / key) for key in LOGIN_KEYS),
    ]
    for option, path in files:
        if path is None:
            continue
        try:
            path.read_bytes()
        except OSError as error:
            yield option, f"{path}: {error.strerror or error}"


@dataclass(frozen=True, slots=True)
class Sources:
    """An open connection to the cluster, if its address is known, and the surveyors."""

    options: SourceOptions
    api: ApiServer | None
    no_cluster: str
    """Why there is no cluster."""
    make: Callable[[str], Surveyor]

    async def survey(self, policy: RollbackPolicy, earlier: Sequence[RollbackPolicy]) -> Survey:
        """Read all that a policy names.

        Args:
            policy: as it is, or would be, stored.
            earlier: policies beside those in the cluster.
        """
        options, settings = self.options, self.options.settings
        prometheus = Prometheus.of(policy, settings.prometheus_url)
        tenant = prometheus.tenant or _tenant(prometheus.url, settings)
        url = options.prometheus or prometheus.url
        prometheus = replace(prometheus, url=url, tenant=tenant)
        if self.api is None or options.brings_credentials:
            prometheus = prometheus.without_secrets()
        survey = await self.make(url).survey(policy, prometheus)
        return replace(
            survey,
            is_address_allowed=_is_allowed(policy, settings),
            is_tenant_allowed=_may_read_as(policy, settings),
            rival=await _rival(self.api, policy, earlier),
        )


def _is_allowed(policy: RollbackPolicy, settings: Settings) -> bool:
    url = policy.spec.prometheus.url
    return url is None or settings.allows(url, policy.metadata.namespace)


def _may_read_as(policy: RollbackPolicy, settings: Settings) -> bool:
    source = policy.spec.prometheus
    url, namespace = source.url or settings.prometheus_url, policy.metadata.namespace
    return source.tenant is None or settings.may_read_as(source.tenant, url, namespace)


def _tenant(url: str, settings: Settings) -> str:
    """Return the tenant that the operator reads at an address for a policy that names none."""
    return settings.prometheus_tenant or "" if url == settings.prometheus_url else ""


async def _rival(
    api: ApiServer | None, policy: RollbackPolicy, earlier: Sequence[RollbackPolicy]
) -> str:
    """Return another policy on the same target; policies that may not be listed are ignored."""
    namespace, target = policy.metadata.namespace, policy.spec.target_ref.name
    known = [
        (other.metadata.name, other.spec.target_ref.name)
        for other in earlier
        if other.metadata.namespace == namespace
    ]
    if api is not None:
        listing = Listing(paths.in_namespace(paths.POLICIES, namespace), _named)
        listed = await api.list_of(listing)
        known += [] if isinstance(listed, Failure) else listed
    mine = policy.metadata.name
    return next((name for name, its in known if its == target and name != mine), "")


def _named(raw: dict[str, Any]) -> tuple[str, str]:
    return raw["metadata"]["name"], raw["spec"]["targetRef"]["name"]


@asynccontextmanager
async def opened(options: SourceOptions) -> AsyncIterator[Sources]:
    """Connect to the cluster, if its address is known."""
    api, no_cluster = await _connect(options.kubeconfig)
    cluster = None
    if api is not None:
        tools = ApiTools(api, options.settings.argo_cd_namespace, time.monotonic)
        secrets = _CallerSecrets(ApiSecrets(api))
        cluster = ClusterPorts(ApiWorkloads(api), ApiFlags(api), tools, secrets)
    for_prometheus = _CallerSecrets(ApiSecrets(api), _IN_THEIR_PLACE) if api else None
    made: list[PrometheusMetrics] = []

    def make(url: str) -> Surveyor:
        metrics = PrometheusMetrics(replace(options.access, url=url), secrets=for_prometheus)
        made.append(metrics)
        return Surveyor(
            metrics,
            time.time,  # noqa: TID251 (the command's own clock)
            PrometheusTrends(metrics),
            cluster,
            no_cluster,
            "" if api or options.brings_credentials else no_cluster,
        )

    try:
        yield Sources(options, api, no_cluster, make)
    finally:
        for metrics in made:
            metrics.close()
        if api:
            await api.close()


class _CallerSecrets:
    """Reads Secrets with the rights of the caller, which may be narrower than the operator's."""

    def __init__(self, secrets: Secrets, remedy: str = "") -> None:
        self._secrets = secrets
        self._remedy = remedy

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read one value."""
        value = await self._secrets.read(namespace, name, key)
        return self._failed(value, name) if isinstance(value, Failure) else value

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all values."""
        values = await self._secrets.read_all(namespace, name)
        return self._failed(values, name) if isinstance(values, Failure) else values

    def _failed(self, failure: Failure, name: str) -> Failure:
        if failure.kind is FailureKind.REJECTED and "may not" in failure.message:
            # The operator may have the right: nothing is known of the Secret.
            failure = Failure(FailureKind.UNAVAILABLE, f"you may not get Secret {name}")
        return replace(failure, message=failure.message + self._remedy)


_IN_THEIR_PLACE = (
    " (--prometheus-token-file or --prometheus-basic-auth-folder is used in its place)"
)


async def _connect(kubeconfig: str | None) -> tuple[ApiServer | None, str]:
    try:
        return await ApiServer.connect(kubeconfig, lambda *_: None), ""
    except ConfigException as error:
        return None, f"no cluster is known ({error})"
