"""A kubeconfig, or the pod's service account -> a client of the API server.

People and tools write kubeconfigs: any fault is reported in a line.
"""

import os
from pathlib import Path

from kubernetes.aio import client, config

_NO_POD = "no kubeconfig is given, and this process runs in no pod of a cluster"


def usual_kubeconfig() -> str | None:
    """Find the kubeconfig that kubectl uses; None: there is none."""
    listed = os.environ.get("KUBECONFIG", "")
    if listed:
        return listed
    usual = Path.home() / ".kube" / "config"
    return str(usual) if usual.is_file() else None


async def log_in(kubeconfig: str | None, context: str | None = None) -> client.ApiClient:
    """Make a client with a kubeconfig's credentials, or with the pod's service account.

    Args:
        kubeconfig: a list of files, separated as in $KUBECONFIG; None: the service account.
        context: of the kubeconfig; None: its current context.

    Raises:
        config.ConfigException: neither is usable; the message names the file and the fault.
    """
    configuration = client.Configuration()
    if kubeconfig is None:
        try:
            config.load_incluster_config(  # type: ignore[no-untyped-call] # has no annotations
                client_configuration=configuration
            )
        except config.ConfigException as error:
            is_pod = "KUBERNETES_SERVICE_HOST" in os.environ
            raise config.ConfigException(str(error) if is_pod else _NO_POD) from None
        return client.ApiClient(configuration)
    _require_file(kubeconfig)
    try:
        await config.load_kube_config(  # type: ignore[no-untyped-call] # has no annotations
            kubeconfig, context, client_configuration=configuration, persist_config=False
        )
        return client.ApiClient(configuration)  # which reads the certificates
    except config.ConfigException:
        raise
    except OSError as error:
        message = f"{error.filename or kubeconfig}: {error.strerror or error}"
        raise config.ConfigException(message) from None
    except Exception as error:
        # The client raises any error for a file of another shape.
        message = " ".join(str(error).split())[:300]
        raise config.ConfigException(
            f"{kubeconfig} is no usable kubeconfig: {type(error).__name__}: {message}"
        ) from None


def _require_file(kubeconfig: str) -> None:
    """Check that a file exists; kubectl ignores absent files of a list."""
    files = [Path(path) for path in kubeconfig.split(os.pathsep) if path]
    if not any(file.expanduser().exists() for file in files):
        raise config.ConfigException(f"{kubeconfig}: No such file or directory")
