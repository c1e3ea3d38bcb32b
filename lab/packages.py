"""Debian packages that the lab's node mode and images need, installed by name when missing.

Only programs and libraries are used. Services that a package starts on an ordinary machine
(containerd, PostgreSQL) are left alone: the lab runs its own, on its own folders and addresses.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.binaries import cache_folder, say
from lab.errors import LabError

NODE: Mapping[str, str] = {
    "containerd": "runs the pods' containers",
    "runc": "starts one container",
    "containernetworking-plugins": "gives a pod its network",
    "iptables": "writes the rules of Services",
    "conntrack": "lets kube-proxy forget old connections",
    "iproute2": "makes the node's network interface",
    "busybox-static": "is the content of the pause and test images",
    "openssl": "makes the key of ServiceAccount tokens",
}
POSTGRES: Mapping[str, str] = {"postgresql-15": "is the database of policies with a schema check"}
IMAGES: Mapping[str, str] = {
    "buildah": "builds the operator's image without a daemon",
    "mmdebstrap": "makes the base image from Debian packages",
}
CONTROL_PLANE: Mapping[str, str] = {"openssl": NODE["openssl"]}


def ensure(wanted: Mapping[str, str]) -> None:
    """Install what is missing; says what and why."""
    present = _installed(wanted)
    missing = {name: why for name, why in wanted.items() if name not in present}
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get"):
        raise LabError(f"the lab needs Debian's packages, and this machine has no apt-get: {names}")
    if os.geteuid() != 0:
        raise LabError(f"these packages are missing; install them as root: apt-get install {names}")
    for name, why in missing.items():
        say(f"installing {name}: it {why}")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if _apt(install).returncode != 0:
        # A fresh machine has no package lists, an old one has stale ones.
        _apt(["apt-get", "update"])
        result = _apt(install)
        if result.returncode != 0:
            tail = "\n".join(result.stdout.splitlines()[-20:])
            raise LabError(f"apt-get could not install {names}:\n{tail}")


def unpacked(name: str) -> Path:
    """Give the folder with a package's files, without installing it: no service of it starts."""
    target = cache_folder() / f"debian-{name}"
    if target.is_dir():
        return target
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise LabError(f"Debian's package {name} is needed, and this machine has no apt-get")
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"debian-{name}-") as scratch:
        result = _apt(["apt-get", "download", name], cwd=scratch)
        if result.returncode != 0:
            _apt(["apt-get", "update"])
            result = _apt(["apt-get", "download", name], cwd=scratch)
        found = next(Path(scratch).glob("*.deb"), None)
        if found is None:
            tail = "\n".join(result.stdout.splitlines()[-20:])
            raise LabError(f"apt-get could not download {name}:\n{tail}")
        files = Path(scratch, "files")
        subprocess.run(["dpkg-deb", "-x", str(found), str(files)], check=True)
        # Another run may have been quicker: its files are the same.
        with contextlib.suppress(OSError):
            files.rename(target)
    return target


def _installed(names: Iterable[str]) -> set[str]:
    query = ["dpkg-query", "-W", "-f", "${Status} ${Package}\n", *names]
    try:
        result = subprocess.run(query, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return set()
    marker = "install ok installed "
    lines = result.stdout.splitlines()
    return {line.removeprefix(marker) for line in lines if line.startswith(marker)}


def _apt(argv: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
