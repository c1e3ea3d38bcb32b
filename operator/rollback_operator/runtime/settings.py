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
"""Plain enough for every parser to see the same host: with `http://a\\.b` the check would read one
and the client call another. A base address: behind `?` or `#` no path could follow."""


_PREFIX = "ROLLBACK_OPERATOR_"
_PORTS = {"http": 80, "https": 443}


class Settings(BaseSettings):
    """What holds for all policies of this operator."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    prometheus_url: BaseAddress = "http://prometheus.monitoring:9090"
    """Prometheus for policies that name none."""
    prometheus_token_file: Path | None = None
    """File with a bearer token for that Prometheus, and no other; read anew for each query."""
    prometheus_basic_auth_folder: Path | None = None
    """Folder with the files username and password for that Prometheus, in place of a token."""
    prometheus_tenant: Tenant | None = None
    """Tenant whose metrics policies read there that name none: the header X-Scope-OrgID."""
    prometheus_ca_file: Path | None = None
    """File with the certificate authority of Prometheus."""
    allowed_prometheus_hosts: Names = ()
    """Further hosts that policies may name in spec.prometheus.url, comma separated."""
    allowed_tenants: Names = ()
    """Tenants that policies may name in spec.prometheus.tenant, each as NAMESPACE/TENANT, comma
    separated; at Services of their own namespace they may name any."""
    own_queries: Literal["allowed", "own-credentials"] = "allowed"
    """Whose conditions with signal Query are taken: own PromQL reads what any namespace counts.
    allowed: every policy's; own-credentials: those of policies that read a Prometheus of their
    namespace, or bring a token of their own."""
    allowed_hosts: Names = ()
    """Further hosts that policies may have called for probes, messages, mail and databases, comma
    separated."""
    loopback: Literal["refused", "allowed"] = "refused"
    """Whether such a host may be this machine itself: for tests and labs only."""
    namespaces: Names = ()
    """Namespaces to watch, comma separated; none means the whole cluster."""
    kubeconfig: Path | None = None
    """Kubeconfig file; by default the pod's service account."""
    lease_namespace: str = "rollback-operator"
    """Namespace of the Lease that elects the leader."""
    lease_name: str = "rollback-operator"
    """Name of that Lease."""
    lease_seconds: Annotated[float, Field(ge=3, le=600)] = 15.0
    """How long a leader that has died keeps the others waiting."""
    identity: str = Field(default_factory=socket.gethostname)
    """Name of this replica in the Lease: the pod's name."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Policies that are worked on at the same time."""
    max_concurrent: Annotated[int, Field(ge=0, le=1000)] = 10
    """Rollbacks that may run at the same time over all policies; 0: any number."""
    max_rollbacks_per_day: Annotated[int, Field(ge=0, le=10000)] = 0
    """Rollbacks over all policies in any 24 hours; 0: any number."""
    argo_cd_namespace: str = "argocd"
    """Where Argo CD keeps its Applications."""
    http_host: str = "0.0.0.0"
    """Address of /healthz, /readyz and /metrics."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of log lines."""
    log_format: Literal["json", "text"] = "json"
    """Form of log lines."""

    @field_validator("namespaces", "lease_namespace", "argo_cd_namespace")
    @classmethod
    def _are_namespaces(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        """Take names that there can be: of others the API server says that nothing is in them."""
        names = (value,) if isinstance(value, str) else value
        wrong = [one for one in names if not DNS_LABEL.fullmatch(one)]
        if wrong:
            raise ValueError(
                f"{wrong[0]!r} is no namespace: up to 63 lower-case letters, digits and hyphens"
            )
        return value

    @field_validator("prometheus_basic_auth_folder")
    @classmethod
    def _is_one_login(cls, value: Path | None, known: ValidationInfo) -> Path | None:
        if value is not None and known.data.get("prometheus_token_file") is not None:
            raise ValueError("a request has one login: give this or the token file, not both")
        return value

    @field_validator("allowed_tenants")
    @classmethod
    def _are_tenants(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            namespace, _, tenant = one.partition("/")
            if not (DNS_LABEL.fullmatch(namespace) and is_tenant(tenant)):
                raise ValueError(f"{one!r} is not of the form NAMESPACE/TENANT")
        return value

    @field_validator(
        "allowed_prometheus_hosts",
        "allowed_hosts",
        "allowed_tenants",
        "namespaces",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", "log_format", "loopback", "own_queries", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    def allows(self, url: str, namespace: str) -> bool:
        """Tell whether a policy of this namespace may have its metrics read from there.

        Its own namespace's Services, the operator's own Prometheus, exactly, and what the
        operator's owner has listed: else a policy could make the operator call any address.
        """
        found = _ADDRESS.fullmatch(url)
        parts = None if found is None else _parts(url)
        if found is None or parts is None:
            return False
        is_own = parts == _parts(self.prometheus_url)
        return is_own or self.may_read(found[1].strip("[]"), namespace)

    def may_read(self, host: str, namespace: str) -> bool:
        """Tell whether a policy of this namespace may name that host in spec.prometheus.url."""
        return _is_listed(host.lower(), namespace, self.allowed_prometheus_hosts)

    def may_read_as(self, tenant: str, url: str, namespace: str) -> bool:
        """Tell whether a policy of this namespace may have that tenant's metrics read.

        A server takes the header for granted, and its owner often lets nobody but the operator ask:
        whoever may choose the tenant reads all of them. Of several, each must be allowed.
        """
        if _is_listed(urlsplit(url).hostname or "", namespace, ()):
            return True
        if tenant == self.prometheus_tenant and _parts(url) == _parts(self.prometheus_url):
            return True
        return all(f"{namespace}/{one}" in self.allowed_tenants for one in tenant.split("|"))

    def may_query(self, policy: RollbackPolicy) -> bool:
        """Tell whether the own queries of a policy, if it has any, may be put to its Prometheus.

        A query is the author's, an answer shows in the status: with the operator's credentials it
        would tell them what they may not read themselves.
        """
        source, namespace = policy.spec.prometheus, policy.metadata.namespace
        if self.own_queries == "allowed" or source.has_login:
            return True
        host = urlsplit(source.url or self.prometheus_url).hostname or ""
        has_queries = any(
            one.signal is SignalName.QUERY for rule in policy.spec.matrix for one in rule.when
        )
        return not has_queries or _is_listed(host, namespace, ())

    def may_call(self, host: str, namespace: str) -> bool:
        """Tell whether a policy of this namespace may have that host called.

        Not the operator's own Prometheus: it is there to be read, and whoever may choose method
        and path could have it deleted or stopped.
        """
        return _is_listed(host.strip("[]").lower(), namespace, self.allowed_hosts)

    def service_called(self, host: str, namespace: str) -> str | None:
        """Name the Service that a host is, unless the operator's owner vouches for the host."""
        return _service_of(host.strip("[]").lower(), namespace, self.allowed_hosts)

    def service_read(self, host: str, namespace: str) -> str | None:
        """Name the Service that a host of spec.prometheus.url is."""
        return _service_of(host.strip("[]").lower(), namespace, self.allowed_prometheus_hosts)


def faults(error: ValidationError, flags: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
    """Name each setting at fault as it was given, with what is wrong.

    Args:
        error: what making Settings has raised.
        flags: names of the settings that were given as flags; the others are the environment's.
    """
    found = []
    for one in error.errors():
        name = "_".join(str(part) for part in one["loc"])
        shown = f"--{name.replace('_', '-')}" if name in flags else f"{_PREFIX}{name.upper()}"
        found.append((shown, str(one["msg"]).removeprefix("Value error, ")))
    return tuple(found)


def _parts(url: str) -> tuple[str, str | None, int | None, str] | None:
    """Take an address apart: behind another port or path of a host there may be somebody else."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/")


def _is_listed(host: str, namespace: str, hosts: Names) -> bool:
    """Tell whether a host is a Service of the namespace, or on a list."""
    return _is_named(host, hosts) or _service_of(host, namespace, hosts) is not None


def _service_of(host: str, namespace: str, hosts: Names) -> str | None:
    """Name the Service of the namespace that a host is; None: it is none, or is listed."""
    if _is_named(host, hosts):
        return None
    for suffix in (f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local"):
        name = host.removesuffix(suffix)
        if name and name != host and "." not in name:
            return name
    return None


def _is_named(host: str, hosts: Names) -> bool:
    return host in {one.strip("[]").lower() for one in hosts}
