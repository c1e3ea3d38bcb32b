"""Docker's description of a container and its image -> the values that identify a release."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rollback_operator.adapters.compose.project import REVISION_LABEL
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.model.pod import page_path

COMPOSE_LABEL = "com.docker.compose"
LONGEST_CONTAINER_FAILURE = 400
MOST_CONTAINER_NAMES = 32
_COMMIT = "org.opencontainers.image.revision"
_NEVER = "0001-01-01"
STOPPED_STATUSES = (0, 137, 143)
"""Exit codes of a container that ended without an error, or that a person stopped."""
_HOST_SETTINGS = ("Binds", "Memory", "NanoCpus", "NetworkMode", "PortBindings", "Privileged")


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a service."""

    id: str
    name: str
    number: str
    """Its place among the containers of the service; its replacement has the same."""
    image: str
    """As it was created from."""
    image_id: str
    repo_digest: str
    settings: str
    """Digest of what the Compose file adds to the image."""
    commit: str
    restored: str
    """The revision that the agent's override file has started it for; empty: none."""
    config_hash: str
    config_files: str
    compose_version: str
    created: float
    started: float | None
    is_running: bool
    health: str
    """healthy, unhealthy or starting; empty: no health check."""
    healthy_since: float | None
    is_ended: bool
    ended: float | None
    """When it ended last; None: never."""
    is_failed: bool
    """It ended with an error, or the daemon restarts it because of an error."""
    failure: str
    restarts: int
    is_out_of_memory: bool
    memory: float | None
    networks: tuple[tuple[str, str], ...]
    """Its own names and IP addresses, each with the network."""
    published: frozenset[int]
    """Ports of the machine that lead to it."""
    exposed: tuple[int, ...]
    page: tuple[int, str]
    """Port and path of its metrics page by its labels; 0: they name none."""

    @property
    def key(self) -> str:
        """Its name among all containers that have had its name."""
        return f"{self.name}-{self.id[:12]}"

    @property
    def address(self) -> str:
        """Its own IP address; empty: it has none, or the machine's."""
        return next((address for _, address in self.networks if address), "")


def container_of(raw: Mapping[str, Any], image: Mapping[str, Any] | None) -> Container:
    """Project a container.

    Args:
        raw: Docker's description of it.
        image: of its image; None: the image was removed while the container still runs.
    """
    config, state, host = raw["Config"], raw["State"], raw.get("HostConfig") or {}
    labels = config.get("Labels") or {}
    health = state.get("Health") or {}
    built = (image or {}).get("Config") or {}
    ended = str(state.get("Status")) in ("exited", "dead")
    code = int(state.get("ExitCode") or 0)
    is_failed = bool(state.get("Restarting")) or (
        ended and (code not in STOPPED_STATUSES or bool(state.get("OOMKilled")))
    )
    ports = (raw.get("NetworkSettings") or {}).get("Ports") or {}
    return Container(
        id=str(raw["Id"]),
        name=str(raw["Name"]).lstrip("/"),
        number=str(labels.get(f"{COMPOSE_LABEL}.container-number") or raw["Id"]),
        image=str(config.get("Image")),
        image_id=str(raw["Image"]),
        repo_digest=next(iter((image or {}).get("RepoDigests") or ()), ""),
        settings=_settings(config, host, built),
        commit=str((built.get("Labels") or {}).get(_COMMIT) or "")[:128],
        restored=str(labels.get(REVISION_LABEL) or ""),
        config_hash=str(labels.get(f"{COMPOSE_LABEL}.config-hash") or ""),
        config_files=str(labels.get(f"{COMPOSE_LABEL}.project.config_files") or ""),
        compose_version=str(labels.get(f"{COMPOSE_LABEL}.version") or ""),
        created=seconds_of(raw.get("Created")) or 0.0,
        started=seconds_of(state.get("StartedAt")),
        is_running=bool(state.get("Running")) and not state.get("Restarting"),
        health=_health(health),
        healthy_since=_healthy_since(health),
        is_ended=ended,
        ended=seconds_of(state.get("FinishedAt")),
        is_failed=is_failed,
        failure=_failure(state, health, code) if is_failed or health else "",
        restarts=int(raw.get("RestartCount") or 0),
        is_out_of_memory=bool(state.get("OOMKilled")),
        memory=float(host.get("Memory") or 0) or None,
        networks=tuple(_networks(raw, config))[:MOST_CONTAINER_NAMES],
        published=frozenset(_published(ports)),
        exposed=tuple(sorted(_numbers(config.get("ExposedPorts") or ()))),
        page=(
            whole(str(labels.get("prometheus.io/port") or ""), 65535) or 0,
            page_path(labels.get("prometheus.io/path")),
        ),
    )


def foreign_cause(raw: Mapping[str, Any], image: Mapping[str, Any] | None, file: Path) -> str:
    """State why a container that bears Compose's labels is not of a project's files; empty: it is.

    Compose itself asks only for the names of project and service.

    Args:
        raw: Docker's description of it.
        image: of its image; None: the image was removed.
        file: the first of the project's files.
    """
    labels = raw["Config"].get("Labels") or {}
    brought = ((image or {}).get("Config") or {}).get("Labels") or {}
    made = [labels.get(f"{COMPOSE_LABEL}.{name}") for name in ("config-hash", "image")]
    if not made[0] or not str(labels.get(f"{COMPOSE_LABEL}.container-number")).isdecimal():
        return "not started by Compose"
    if made == [brought.get(f"{COMPOSE_LABEL}.{name}") for name in ("config-hash", "image")]:
        return "not started by Compose: its labels are those of its image"
    files = str(labels.get(f"{COMPOSE_LABEL}.project.config_files") or "")
    folder = str(labels.get(f"{COMPOSE_LABEL}.project.working_dir") or "")
    if not folder or _is_same(folder, file.parent) or _is_same(files.partition(",")[0], file):
        return ""
    return f"of the project in {folder[:LONGEST_CONTAINER_FAILURE]}"


def _is_same(name: str, path: Path) -> bool:
    return os.path.isabs(name) and os.path.realpath(name) == os.path.realpath(path)


def revision_of(container: Container) -> str:
    """Identify the release of a container by its own properties."""
    return digest_of([container.image_id, container.settings])


def digest_of(value: Any) -> str:
    """Compute a digest of a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:40]


def seconds_of(time: Any) -> float | None:
    """Parse Docker's time in nanoseconds; None: never, or no time."""
    text = str(time or "")
    if not text or text.startswith(_NEVER):
        return None
    head, dot, tail = text.partition(".")
    digits = "".join(c for c in tail[:9] if c.isdigit())
    zone = tail.lstrip("0123456789") if dot else ""
    try:
        if dot:
            return datetime.fromisoformat(f"{head}{zone or 'Z'}").timestamp() + float(f"0.{digits}")
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _settings(config: Mapping[str, Any], host: Mapping[str, Any], built: Mapping[str, Any]) -> str:
    """Compute the digest of what the service adds to its image; values may be secrets."""
    own = {name: config.get(name) for name in ("Cmd", "Entrypoint", "User", "WorkingDir")}
    changed = {name: value for name, value in own.items() if value and value != built.get(name)}
    environment = sorted(set(config.get("Env") or ()) - set(built.get("Env") or ()))
    limits = {name: host.get(name) for name in _HOST_SETTINGS if host.get(name)}
    if "Binds" in limits:
        limits["Binds"] = sorted(str(bind) for bind in host["Binds"])
    return digest_of([changed, environment, limits])


def _health(health: Mapping[str, Any]) -> str:
    status = str(health.get("Status") or "")
    return "" if status == "none" else status


def _healthy_since(health: Mapping[str, Any]) -> float | None:
    """Return the begin of the last row of passed checks, as far as Docker keeps them."""
    since = None
    for entry in reversed(health.get("Log") or []):
        if entry.get("ExitCode"):
            break
        since = seconds_of(entry.get("End")) or since
    return since


def _failure(state: Mapping[str, Any], health: Mapping[str, Any], code: int) -> str:
    if state.get("OOMKilled"):
        return "was killed for its memory usage"
    if state.get("Restarting") or code:
        error = str(state.get("Error") or "")
        return f"exited with {code}{f': {error}' if error else ''}"[:LONGEST_CONTAINER_FAILURE]
    if _health(health) == "unhealthy":
        entries = health.get("Log") or [{}]
        output = " ".join(str(entries[-1].get("Output") or "").split())
        return f"its health check fails: {output}"[:LONGEST_CONTAINER_FAILURE]
    return ""


def _networks(raw: Mapping[str, Any], config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    for network in networks.values():
        address = str(network.get("IPAddress") or network.get("GlobalIPv6Address") or "")
        yield "", address
        for alias in network.get("Aliases") or ():
            yield str(alias), ""
    yield str(config.get("Hostname") or ""), ""


def _published(ports: Mapping[str, Any]) -> Iterable[int]:
    for bindings in ports.values():
        for binding in bindings or ():
            number = whole(str(binding.get("HostPort") or ""), 65535)
            if number:
                yield number


def _numbers(ports: Iterable[str]) -> Iterable[int]:
    for port in ports:
        number = whole(str(port).partition("/")[0], 65535)
        if number and not str(port).endswith("/udp"):
            yield number
