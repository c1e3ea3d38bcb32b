"""Docker's answers, as short as a test allows."""

from __future__ import annotations

from typing import Any

from rollback_operator.adapters.compose.containers import Container, container_of

T0 = 1_764_590_400.0  # 2025-12-01T12:00:00Z


def image(**changes: Any) -> dict[str, Any]:
    return {"RepoDigests": [], "Config": {"Env": ["PATH=/bin"], "Cmd": ["serve"]}, **changes}


def raw(
    image_id: str = "sha256:" + "a" * 64,
    second: int = 0,
    *,
    state: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Describe a container that was created `second` seconds after noon and runs since."""
    time = f"2025-12-01T12:{second // 60:02d}:{second % 60:02d}.500000000Z"
    known = {"com.docker.compose.container-number": "1", **(labels or {})}
    return {
        "Id": f"{second:012x}".ljust(64, "0"),
        "Name": "/shop-shop-1",
        "Image": image_id,
        "Created": time,
        "RestartCount": 0,
        "Config": {
            "Image": "shop:1.0",
            "Env": ["PATH=/bin", "KEY=secret"],
            "Cmd": ["serve"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": known,
            **(config or {}),
        },
        "State": {"Status": "running", "Running": True, "StartedAt": time, **(state or {})},
        "HostConfig": {"Memory": 0},
        "NetworkSettings": {
            "Networks": {"shop_default": {"IPAddress": "172.20.0.2", "Aliases": ["shop"]}},
            "Ports": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]},
        },
        **changes,
    }


def container(*arguments: Any, **settings: Any) -> Container:
    return container_of(raw(*arguments, **settings), image())
