"""One cgroup subtree per lab, so that two kubelets never see each other's pods.

On cgroup v1 the lab gets a child group of the caller's own group in every hierarchy. On cgroup v2
it gets one group below the top. The v2 path follows the kernel's documentation, and has not been
tried on a machine.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

RECORD = "cgroups.json"
# Against builds and tests beside the node: a process outside has 1024 (v1) or 100 (v2).
V1_SHARES = "32768"
V2_WEIGHT = "3200"
V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: "cpu,cpuacct" or "name=systemd" on v1, "" on v2."""

    options: str
    mount_point: Path
    own_group: Path

    @property
    def is_v2(self) -> bool:
        return not self.options


def hierarchies() -> list[Hierarchy]:
    """What is mounted; v2 only where it holds the controllers (not on a hybrid machine)."""
    own = _own_groups()
    v1: list[Hierarchy] = []
    v2: list[Hierarchy] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        root, mount_point = left.split()[3:5]
        kind, _, super_options = right.split()[:3]
        if kind == "cgroup":
            options = sorted(
                set(super_options.split(",")) - {"rw", "ro", "xattr", "clone_children"}
            )
            options = [o for o in options if not o.startswith("release_agent")]
            key = ",".join(options)
            group = own.get(frozenset(options), "/")
            v1.append(Hierarchy(key, Path(mount_point), _below(mount_point, root, group)))
        elif kind == "cgroup2" and mount_point == "/sys/fs/cgroup":
            # The caller's own group holds processes and so hands out no controllers.
            v2.append(Hierarchy("", Path(mount_point), Path(mount_point)))
    return v1 or v2


def _own_groups() -> dict[frozenset[str], str]:
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups[frozenset(filter(None, controllers.split(",")))] = path
    return groups


def _below(mount_point: str, root: str, group: str) -> Path:
    relative = os.path.relpath(group, root)
    # A group outside of what is mounted here cannot be named; then the mount's top has to do.
    path = Path(mount_point) if relative.startswith("..") else Path(mount_point, relative)
    return path if path.is_dir() else Path(mount_point)


def create(directory: Path) -> list[Hierarchy]:
    """Make the lab's groups; their paths are recorded in its folder before any is made."""
    name = f"rollback-lab-{directory.name}"
    groups = [Hierarchy(h.options, h.mount_point, h.own_group / name) for h in hierarchies()]
    record = [{k: str(v) for k, v in asdict(group).items()} for group in groups]
    (directory / RECORD).write_text(json.dumps(record))
    for group in groups:
        _make(group)
    return groups


def _make(group: Hierarchy) -> None:
    path = group.own_group
    if group.is_v2:
        _make_v2(path)
        return
    path.mkdir(exist_ok=True)
    names = group.options.split(",")
    if "cpuset" in names:
        # A new group starts empty and takes no process until both are set.
        for file in ("cpuset.cpus", "cpuset.mems"):
            (path / file).write_text((path.parent / file).read_text())
    if "cpu" in names:
        (path / "cpu.shares").write_text(V1_SHARES)
    if "memory" in names:
        with contextlib.suppress(OSError):
            (path / "memory.use_hierarchy").write_text("1")


def _make_v2(path: Path) -> None:
    for controller in V2_CONTROLLERS:
        with contextlib.suppress(OSError):  # what is on already or not there need not be on
            (path.parent / "cgroup.subtree_control").write_text(f"+{controller}")
    path.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # the controller may not be handed down to us
        (path / "cpu.weight").write_text(V2_WEIGHT)


def paths_of(directory: Path) -> list[Path]:
    """The groups recorded for a lab's folder; none if it never had any."""
    try:
        record = json.loads((directory / RECORD).read_text())
    except (OSError, ValueError):
        return []
    return [Path(group["own_group"]) for group in record]


def remove(paths: list[Path]) -> None:
    """Remove empty groups, innermost first. A group with a process in it stays."""
    for path in paths:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
