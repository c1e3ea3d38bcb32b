"""`rollback-operator check`: what a policy could be judged by, told before it is applied."""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.login import usual_kubeconfig
from rollback_operator.adapters.kube.secrets import ApiSecrets
from rollback_operator.adapters.kube.target.flags import ApiFlags
from rollback_operator.adapters.kube.target.tools import ApiTools
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.adapters.prometheus import Access, PrometheusMetrics, PrometheusTrends
from rollback_operator.adapters.prometheus.credentials import LOGIN_KEYS
from rollback_operator.api.shape import base_address
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli import refused
from rollback_operator.cli.check import checkup
from rollback_operator.cli.check.surveying import Surveyor
from rollback_operator.cli.documents import Document, read
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.runtime.settings import Settings, faults

_DESCRIPTION = """\
Reads a RollbackPolicy from a file, looks in Prometheus for the series that it names and, where a
cluster can be seen, at its target; tells what is missing, and how fast a bad release could be
proved. Nothing is written.
"""
_EPILOG = """\
exit status: 0 what there is suffices to judge; 1 something prevents it; 2 the file or an
option is bad.

From outside the cluster open a way to Prometheus with kubectl:
  kubectl -n monitoring port-forward service/prometheus 9090
  rollback-operator check -f policy.yaml --prometheus http://127.0.0.1:9090
"""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What was asked for."""

    file: Path
    prometheus: str | None
    access: Access
    kubeconfig: str | None
    namespace: str
    is_json: bool
    settings: Settings

    @property
    def brings_credentials(self) -> bool:
        """Tell whether they are given here, in place of what policies' Secrets hold."""
        access = self.access
        return any((access.token_file, access.login_folder, access.ca_file))


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="tell what a policy could be judged by, before it is applied",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f",
        "--file",
        type=Path,
        required=True,
        metavar="FILE",
        help="the policy; -: standard input",
    )
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        help="where to ask; default: the policy's spec.prometheus.url, then the operator's own "
        "setting (ROLLBACK_OPERATOR_PROMETHEUS_URL)",
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
        help="of the cluster to look at; default: $KUBECONFIG, ~/.kube/config, the pod's own",
    )
    parser.add_argument(
        "-n", "--namespace", default="default", help="of a policy that names none (default)"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Check each policy of the file; gives the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        return refused(faults(error))
    wrong = tuple(_wrong(given))
    if wrong:
        return refused(wrong)
    documents = read(given["file"], given["namespace"])
    options = CheckOptions(
        file=given["file"],
        prometheus=given["prometheus"],
        access=Access(
            given["prometheus_token_file"],
            given["prometheus_ca_file"],
            login_folder=given["prometheus_basic_auth_folder"],
        ),
        kubeconfig=given["kubeconfig"] or usual_kubeconfig(),
        namespace=given["namespace"],
        is_json=given["output"] == "json",
        settings=settings,
    )
    found = asyncio.run(_check_all(documents, options))
    if options.is_json:
        print(json.dumps([checkup.as_json(one) for one in found], indent=2))  # noqa: T201 (this command's output)
    else:
        print("\n\n".join(checkup.as_text(one) for one in found))  # noqa: T201
    return max(one.status for one in found)


def _wrong(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell which options cannot be used, before anybody is asked."""
    if given["prometheus"] is not None:
        try:
            base_address(given["prometheus"])
        except ValueError as error:
            yield "--prometheus", f"{error}, not {given['prometheus']!r}"
    folder = given["prometheus_basic_auth_folder"]
    if folder is not None and given["prometheus_token_file"] is not None:
        yield "--prometheus-basic-auth-folder", "a request has one login: leave out the token file"
    files = {
        "--prometheus-token-file": [given["prometheus_token_file"]],
        "--prometheus-ca-file": [given["prometheus_ca_file"]],
        "--prometheus-basic-auth-folder": [folder and folder / one for one in LOGIN_KEYS],
    }
    for option, one in ((option, one) for option, some in files.items() for one in some if one):
        try:
            one.read_bytes()
        except OSError as error:
            yield option, f"{one}: {error.strerror or error}"


async def _check_all(
    documents: tuple[Document, ...], options: CheckOptions
) -> list[checkup.Checkup]:
    found: list[checkup.Checkup] = []
    async with _surveyor(options) as (api, make):
        for one in documents:
            if one.policy is None:
                found.append(checkup.Checkup(str(options.file), one))
                continue
            asked = Prometheus.of(one.policy, options.settings.prometheus_url)
            tenant = asked.tenant or _tenant(asked.url, options.settings)
            asked = replace(asked, url=options.prometheus or asked.url, tenant=tenant)
            surveyor = make(asked.url)
            if surveyor.workloads is None or options.brings_credentials:
                asked = asked.without_secrets()
            survey = await surveyor.survey(one.policy, asked)
            earlier = [same.document.policy for same in found if same.document.policy is not None]
            survey = replace(
                survey,
                is_address_allowed=_is_allowed(one.policy, options.settings),
                is_tenant_allowed=_may_read_as(one.policy, options.settings),
                rival=await _rival(api, one.policy, earlier),
            )
            found.append(checkup.Checkup(str(options.file), one, survey))
    return found


def _is_allowed(policy: RollbackPolicy, settings: Settings) -> bool:
    url = policy.spec.prometheus.url
    return url is None or settings.allows(url, policy.metadata.namespace)


def _may_read_as(policy: RollbackPolicy, settings: Settings) -> bool:
    source = policy.spec.prometheus
    url, namespace = source.url or settings.prometheus_url, policy.metadata.namespace
    return source.tenant is None or settings.may_read_as(source.tenant, url, namespace)


def _tenant(url: str, settings: Settings) -> str:
    """Give whose metrics the operator reads at an address for a policy that names nobody."""
    return settings.prometheus_tenant or "" if url == settings.prometheus_url else ""


async def _rival(
    api: ApiServer | None, policy: RollbackPolicy, earlier: Sequence[RollbackPolicy]
) -> str:
    """Find another policy on the same target; what may not be listed is taken as absent."""
    namespace, target = policy.metadata.namespace, policy.spec.target_ref.name
    known = [
        (one.metadata.name, one.spec.target_ref.name)
        for one in earlier
        if one.metadata.namespace == namespace
    ]
    if api is not None:
        listing = Listing(paths.in_namespace(paths.POLICIES, namespace), _named)
        listed = await api.list_of(listing)
        known += [] if isinstance(listed, Failure) else listed
    mine = policy.metadata.name
    return next((name for name, of in known if of == target and name != mine), "")


def _named(raw: dict[str, Any]) -> tuple[str, str]:
    return raw["metadata"]["name"], raw["spec"]["targetRef"]["name"]


@asynccontextmanager
async def _surveyor(options: CheckOptions) -> AsyncIterator[Any]:
    """Open what can be opened: Prometheus by its address, the cluster if there is one."""
    api, blind = await _connect(options.kubeconfig)
    opened: list[PrometheusMetrics] = []

    def make(url: str) -> Surveyor:
        access = options.access
        own = replace(access, url=url)
        secrets = _CallerSecrets(ApiSecrets(api)) if api else None
        opened.append(PrometheusMetrics(own, secrets=secrets))
        workloads = ApiWorkloads(api) if api else None
        trends = PrometheusTrends(opened[-1])
        flags = ApiFlags(api) if api else None
        tools = ApiTools(api, options.settings.argo_cd_namespace, time.monotonic) if api else None
        unread = "" if api or options.brings_credentials else blind
        return Surveyor(
            opened[-1],
            time.time,  # noqa: TID251 (the command's own clock)
            trends,
            workloads,
            blind,
            flags,
            tools,
            unread,
        )

    try:
        yield api, make
    finally:
        for one in opened:
            one.close()
        if api:
            await api.close()


class _CallerSecrets:
    """Secrets, with the rights of who asks: what is refused here the operator may read."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read one value."""
        found = await self._secrets.read(namespace, name, key)
        return _with_remedy(found, name) if isinstance(found, Failure) else found

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all values."""
        found = await self._secrets.read_all(namespace, name)
        return _with_remedy(found, name) if isinstance(found, Failure) else found


def _with_remedy(failure: Failure, name: str) -> Failure:
    said = failure.message
    if failure.kind is FailureKind.REJECTED and "may not" in said:
        said = f"you may not get Secret {name}"
    instead = "--prometheus-token-file or --prometheus-basic-auth-folder is used in its place"
    return Failure(failure.kind, f"{said} ({instead})")


async def _connect(kubeconfig: str | None) -> tuple[ApiServer | None, str]:
    try:
        return await ApiServer.connect(kubeconfig, lambda *_: None), ""
    except ConfigException as error:
        return None, f"no cluster is known ({error})"
