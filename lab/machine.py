"""What the machine must offer; says what is missing and what to do, before anything is started."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from lab.errors import LabError
from lab.workspace import base_folder

HIDDEN_IN_NODE = ("/run", "/var/lib", "/var/log", "/sys", "/proc", "/dev")


def require_linux() -> None:
    if platform.system() != "Linux":
        raise LabError(
            f"the lab runs on Linux only, this is {platform.system()}; use a Linux machine"
        )


def require_node_support() -> None:
    """The node mode's needs: Linux, root, namespaces, cgroup controllers, overlay, bridge."""
    require_linux()
    if os.geteuid() != 0:
        raise LabError("the lab's node mode makes namespaces and mounts: run it as root (sudo)")
    problems = [
        f"the program {program} is missing: install util-linux"
        for program in ("unshare", "nsenter", "mount")
        if not shutil.which(program)
    ]
    problems += _kernel_problems()
    base = str(base_folder().resolve())
    if base.startswith(HIDDEN_IN_NODE):
        problems.append(f"{base} is hidden inside a node: set ROLLBACK_LAB_BASE to another folder")
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise LabError(f"this machine cannot run the lab's node mode:\n{listed}")


def _kernel_problems() -> list[str]:
    problems = [
        f"the kernel has no {kind} namespaces"
        for kind in ("net", "mnt", "pid", "uts", "ipc", "cgroup")
        if not Path("/proc/self/ns", kind).exists()
    ]
    for module in ("overlay", "br_netfilter") if shutil.which("modprobe") else ():
        # Built in on some kernels; then modprobe fails and the checks below still pass.
        subprocess.run(["modprobe", "-q", module], check=False, capture_output=True)
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        problems.append("the kernel has no overlay file system (module overlay)")
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        problems.append("bridged packets pass no iptables rules (module br_netfilter)")
    if not Path("/sys/fs/cgroup").is_dir():
        problems.append("no cgroups are mounted at /sys/fs/cgroup")
    return problems
