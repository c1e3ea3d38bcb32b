"""Operator-wide settings: flags, then environment (ROLLBACK_OPERATOR_...), then defaults."""

import re
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rollback_operator.api.shape import DNS_LABEL, BaseAddress, Tenant, is_tenant
from rollback_operator.api.v1alpha1 import RollbackPolicy, SignalName

Names = Annotated[tuple[str, ...], NoDecode]
_ADDRESS = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)(:[0-9]{1,5})?(/[!\"$->@-~]*)?",
    re.IGNORECASE | re.ASCII,
)
"""Plain enough for all parsers to see the same host: of `http://a\\.b` the check would read another
host than the client calls. It is a base address: no path can follow `?` or `#`."""
_PREFIX = "ROLLBACK_OPERATOR_"
_PORTS = {"http": 80, "https": 443}
_CLUSTER_SUFFIXES = (".svc", ".svc.cluster.local")


class Settings(BaseSettings):
    """Settings that apply to all policies of this operator."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    prometheus_url: BaseAddress = "http://prometheus.monitoring:9090"
    """Prometheus of policies without spec.prometheus.url."""
    prometheus_token_file: Path | None = None
    """File with a bearer token for that Prometheus, and no other; read again for each query."""
    prometheus_basic_auth_folder: Path | None = None
    """Folder with the files username and password for that Prometheus, instead of a token."""
    prometheus_tenant: Tenant | None = None
    """Tenant (header X-Scope-OrgID) for that Prometheus, for policies that name no tenant."""
    prometheus_ca_file: Path | None = None
    """File with the certificate authority of Prometheus."""
    secret_digest_key_file: Path | None = None
    """File with the key, at least 16 bytes, of the digests of Secrets that pods read; read again
    for each digest. None: Secrets are not part of a release."""
    allowed_prometheus_hosts: Names = ()
    """Further hosts that policies may name in spec.prometheus.url, comma separated."""
    allowed_tenants: Names = ()
    """Tenants that policies may name in spec.prometheus.tenant, each as NAMESPACE/TENANT, comma
    separated; for Services of its own namespace a policy may name any tenant."""
    own_queries: Literal["allowed", "own-credentials"] = "allowed"
    """Policies that may use conditions with signal Query, whose PromQL can read the metrics of any
    namespace. allowed: all policies; own-credentials: policies that read a Prometheus in their
    namespace, or that have credentials of their own, which the server must check."""
    allowed_hosts: Names = ()
    """Further hosts that the operator may call for policies (probes, messages, mail, databases),
    comma separated."""
    loopback: Literal["refused", "allowed"] = "refused"
    """Whether such a host may be the local machine; only for tests and labs."""
    namespaces: Names = ()
    """Namespaces to watch, comma separated; by default the whole cluster."""
    kubeconfig: Path | None = None
    """Kubeconfig file; by default the pod's service account."""
    lease_namespace: str = "rollback-operator"
    """Namespace of the Lease that elects the leader."""
    lease_name: str = "rollback-operator"
    """Name of that Lease."""
    lease_seconds: Annotated[float, Field(ge=3, le=600)] = 15.0
    """Duration of the Lease: a standby waits this long after the leader has died."""
    identity: str = Field(default_factory=socket.gethostname)
    """Name of this replica in the Lease: the pod's name."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Policies that are reconciled at the same time."""
    max_concurrent: Annotated[int, Field(ge=0, le=1000)] = 10
    """Limit of concurrent rollbacks over all policies; 0: no limit."""
    max_rollbacks_per_day: Annotated[int, Field(ge=0, le=10000)] = 0
    """Limit of rollbacks over all policies in any 24 hours; 0: no limit."""
    argo_cd_namespace: str = "argocd"
    """Namespace of Argo CD's Applications."""
    http_host: str = "0.0.0.0"
    """Address of /healthz, /readyz and /metrics."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of log lines."""
    log_format: Literal["json", "text"] = "json"
    """Format of log lines."""

    @field_validator("namespaces", "lease_namespace", "argo_cd_namespace")
    @classmethod
    def _are_namespaces(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        """Refuse impossible names, for which the API server lists nothing and reports no error."""
        names = (value,) if isinstance(value, str) else value
        wrong = [name for name in names if not DNS_LABEL.fullmatch(name)]
        if wrong:
            raise ValueError(
                f"{wrong[0]!r} is no namespace: use up to 63 lower-case letters, digits and hyphens"
            )
        return value

    @field_validator("prometheus_basic_auth_folder")
    @classmethod
    def _is_single_login(cls, value: Path | None, known: ValidationInfo) -> Path | None:
        if value is not None and known.data.get("prometheus_token_file") is not None:
            raise ValueError("a request has one login: set this or the token file, not both")
        return value

    @field_validator("allowed_tenants")
    @classmethod
    def _are_tenants(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            namespace, _, tenant = entry.partition("/")
            if not (DNS_LABEL.fullmatch(namespace) and is_tenant(tenant)):
                raise ValueError(f"{entry!r} is not of the form NAMESPACE/TENANT")
        return value

    @field_validator(
        "allowed_prometheus_hosts",
        "allowed_hosts",
        "allowed_tenants",
        "namespaces",
        mode="before",
    )
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", "log_format", "loopback", "own_queries", mode="before")
    @classmethod
    def _to_lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    def allows(self, url: str, namespace: str) -> bool:
        """Report whether a policy of this namespace may read metrics from this address.

        Allowed are Services of its own namespace, exactly the operator's own Prometheus, and listed
        hosts: otherwise a policy could make the operator call any address.
        """
        address = _ADDRESS.fullmatch(url)
        parts = None if address is None else _address_parts(url)
        if address is None or parts is None:
            return False
        is_own = parts == _address_parts(self.prometheus_url)
        return is_own or self.may_read(address[1].strip("[]"), namespace)

    def may_read(self, host: str, namespace: str) -> bool:
        """Report whether a policy of this namespace may name the host in spec.prometheus.url."""
        return _is_listed(host.lower(), namespace, self.allowed_prometheus_hosts)

    def may_read_as(self, tenant: str, url: str, namespace: str) -> bool:
        """Report whether a policy of this namespace may read the metrics of a tenant.

        The server trusts the header, and often accepts it from the operator alone: a policy that
        chooses the tenant freely reads the metrics of all tenants. Of several tenants, each must be
        allowed.
        """
        if self._is_of_namespace(url, namespace):
            return True
        if tenant == self.prometheus_tenant and _address_parts(url) == _address_parts(
            self.prometheus_url
        ):
            return True
        return all(f"{namespace}/{part}" in self.allowed_tenants for part in tenant.split("|"))

    def may_query(self, policy: RollbackPolicy) -> bool:
        """Report whether the queries of a policy, if it has any, may go to its Prometheus.

        The status shows the answer: with the operator's credentials, the author of a query could
        read metrics without a right to them.
        """
        source, namespace = policy.spec.prometheus, policy.metadata.namespace
        if self.own_queries == "allowed" or source.has_login:
            return True
        url = source.url or self.prometheus_url
        has_queries = any(
            condition.signal is SignalName.QUERY
            for rule in policy.spec.matrix
            for condition in rule.when
        )
        return not has_queries or self._is_of_namespace(url, namespace)

    def needs_login_proof(self, url: str, namespace: str) -> bool:
        """Report whether own queries of a policy need a server that refuses wrong logins."""
        return self.own_queries != "allowed" and not self._is_of_namespace(url, namespace)

    def _is_of_namespace(self, url: str, namespace: str) -> bool:
        """Report whether an address is a Service of the namespace, whose data are its own.

        Listed hosts and the operator's own Prometheus are called by their DNS name, and
        `mimir.internal` is no Service of a namespace `internal`. Only a name that ends with `.svc`
        is certain there.
        """
        host = (urlsplit(url).hostname or "").lower()
        is_own = host == urlsplit(self.prometheus_url).hostname
        if is_own and not host.endswith(_CLUSTER_SUFFIXES):
            return False
        return self.service_read(host, namespace) is not None

    def may_call(self, host: str, namespace: str) -> bool:
        """Report whether the operator may call the host for a policy of this namespace.

        The operator's own Prometheus is excluded: a policy chooses the method and the path of a
        call, and could delete its data or stop it.
        """
        return _is_listed(host.strip("[]").lower(), namespace, self.allowed_hosts)

    def service_called(self, host: str, namespace: str) -> str | None:
        """Name the Service of the namespace that a host is; None: none, or a listed host."""
        return _service_of(host.strip("[]").lower(), namespace, self.allowed_hosts)

    def service_read(self, host: str, namespace: str) -> str | None:
        """Do the same for a host of spec.prometheus.url."""
        return _service_of(host.strip("[]").lower(), namespace, self.allowed_prometheus_hosts)


def faults(error: ValidationError, flags: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
    """Name each invalid setting, as a flag or a variable, with the reason.

    Args:
        error: raised by the construction of Settings.
        flags: names of the settings that were given as flags; the others are variables.
    """
    faulty = []
    for fault in error.errors():
        name = "_".join(str(part) for part in fault["loc"])
        shown = f"--{name.replace('_', '-')}" if name in flags else f"{_PREFIX}{name.upper()}"
        faulty.append((shown, str(fault["msg"]).removeprefix("Value error, ")))
    return tuple(faulty)


def _address_parts(url: str) -> tuple[str, str | None, int | None, str] | None:
    """Split an address: another port or path of a host may belong to another server."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/")


def _is_listed(host: str, namespace: str, hosts: Names) -> bool:
    """Report whether a host is a Service of the namespace, or listed."""
    return _is_named(host, hosts) or _service_of(host, namespace, hosts) is not None


def _service_of(host: str, namespace: str, hosts: Names) -> str | None:
    """Name the Service of the namespace that a host is; None: none, or a listed host."""
    if _is_named(host, hosts):
        return None
    for suffix in (f".{namespace}", *(f".{namespace}{end}" for end in _CLUSTER_SUFFIXES)):
        name = host.removesuffix(suffix)
        if name and name != host and "." not in name:
            return name
    return None


def _is_named(host: str, hosts: Names) -> bool:
    return host in {name.strip("[]").lower() for name in hosts}
