"""From an ordinary process to process 1 of a node; a script of its own, run in two steps.

`enter` joins the lab's cgroups and unshares every namespace but the user's. `inside` makes the
mounts and the network of the node, then becomes its keeper. Nothing of it is seen on the machine,
and all of it goes with process 1.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
UNSHARE = ("unshare", "-n", "-m", "-p", "-f", "-u", "-i", "-C", "--kill-child", "--mount-proc")
KEEPER = Path(__file__).with_name("keeper.py")
V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


def enter(directory: Path) -> None:
    for group in _groups(directory):
        Path(group["own_group"], "cgroup.procs").write_text("0")
    again = (sys.executable, "-I", __file__, "inside", str(directory))
    os.execvp(UNSHARE[0], [*UNSHARE, *again])


def inside(directory: Path) -> None:
    socket.sethostname("node1")
    _run("mount", "--make-rshared", "/")
    _mount_system(directory)
    _mount_cgroups(_groups(directory))
    _make_network()
    keeper = (sys.executable, "-I", str(KEEPER), str(directory), "node.sock", "node")
    os.execv(sys.executable, keeper)


def _groups(directory: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((directory / "cgroups.json").read_text())
    return found


def _mount_system(directory: Path) -> None:
    """Private copies of what the node's programs write to under fixed names."""
    resolver = Path(os.path.realpath("/etc/resolv.conf"))
    _run("umount", "-R", str(CGROUPS))
    # A new mount shows the interfaces of this network namespace.
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/containerd").mkdir()
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/log")
    upper, work = Path("/run/lab/upper"), Path("/run/lab/work")
    upper.mkdir(parents=True)
    work.mkdir()
    layers = f"lowerdir=/var/lib,upperdir={upper},workdir={work}"
    _run("mount", "-t", "overlay", "-o", layers, "overlay", "/var/lib")
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", str(directory)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    if kind == "overlayfs":
        # Container layers are overlays too, and those cannot lie on an overlay.
        _run("mount", "-t", "tmpfs", "tmpfs", str(directory / "containerd"))
    if not resolver.exists():  # a link into /run, which is empty now
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.touch()
    _run("mount", "--bind", str(directory / "resolv.conf"), str(resolver))
    _run("mount", "--bind", str(directory / "hosts"), "/etc/hosts")


def _mount_cgroups(groups: list[dict[str, Any]]) -> None:
    """The hierarchies of the machine, with the lab's own group as their top."""
    if all(not group["options"] for group in groups):
        _mount_cgroup2()
        return
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", str(CGROUPS))
    for group in groups:
        options = group["options"]
        folder = CGROUPS / options.removeprefix("name=")
        folder.mkdir()
        named = f"none,{options}" if options.startswith("name=") else options
        _run("mount", "-t", "cgroup", "-o", named, "cgroup", str(folder))
        for name in options.split(",") if "," in options else ():
            (CGROUPS / name).symlink_to(folder.name)


def _mount_cgroup2() -> None:
    """Not tried on a machine yet: written after the kernel's cgroup v2 documentation."""
    _run("mount", "-t", "cgroup2", "cgroup2", str(CGROUPS))
    # A group cannot both hold processes and hand out controllers.
    leaf = CGROUPS / "init"
    leaf.mkdir()
    for pid in (CGROUPS / "cgroup.procs").read_text().split():
        (leaf / "cgroup.procs").write_text(pid)
    offered = (CGROUPS / "cgroup.controllers").read_text().split()
    for controller in V2_CONTROLLERS:
        if controller in offered:
            (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")


def _make_network() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():
        bridged.write_text("1")
    commands = """
        link set lo up
        link add node0 type bridge
        addr add 198.18.0.2/24 dev node0
        link set node0 up
        route add default via 198.18.0.1 dev node0
        route add unreachable 169.254.169.254/32
    """
    # The kubelet wants a default route; cloud metadata is asked for and must fail at once.
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    {"enter": enter, "inside": inside}[sys.argv[1]](Path(sys.argv[2]))
