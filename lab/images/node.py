"""What the images need of npm: the service's modules, and npm itself for the migrations.

Modules are installed on the machine, once for each lock file, by the machine's npm and its
settings; no registry is named here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from lab import packages
from lab.binaries import say
from lab.errors import LabError
from lab.images import cache
from lab.images.downloads import require_way_out

# The last npm that runs on Debian 12's Node 18. Debian's own npm is several hundred packages.
NPM = "npm@10.9.9"
INTEGRITY = (
    "sha512-1g+6jLQvaIuB4zwvHL7yrXuXcWZwDsCtBX8bbWDqbvJS"
    "Sr9nPiDDWTHNgwXR27iIcTTW7v3A57hDW9RYv2W4Yg=="
)
HOME = "usr/lib/node_modules/npm"


def modules(project: Path) -> Path:
    """The project's node_modules for production, by its lock file."""
    lock = [project / "package.json", project / "package-lock.json"]
    target = cache.folder() / f"modules-{project.name}-{cache.key(*lock)}"
    if target.is_dir():
        return target
    say(f"installing the node modules of {project.name}")
    with cache.scratch() as scratch:
        for file in lock:
            shutil.copy(file, scratch)
        _npm(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], scratch)
        return cache.keep(scratch / "node_modules", target, f"modules-{project.name}")


def add_npm(rootfs: Path) -> None:
    """Put npm and its command into the tar of a root file system."""
    with cache.scratch() as scratch:
        _npm(["pack", NPM, "--pack-destination", str(scratch)], scratch)
        (package,) = scratch.glob("npm-*.tgz")
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != INTEGRITY:
            raise LabError(f"{NPM} as downloaded has the digest sha512-{digest}, not {INTEGRITY}")
        with tarfile.open(package) as source, tarfile.open(rootfs, "a") as target:
            for member in source:
                member.name = f"{HOME}/{member.name.removeprefix('package/')}"
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                target.addfile(member, source.extractfile(member))
            link = tarfile.TarInfo("usr/bin/npm")
            link.type, link.linkname = tarfile.SYMTYPE, "../lib/node_modules/npm/bin/npm-cli.js"
            target.addfile(link)


def _npm(arguments: Sequence[str], folder: Path) -> None:
    require_way_out("node modules")
    if not shutil.which("npm"):
        packages.ensure({"npm": "installs the ticket service's modules"})
    result = subprocess.run(
        ["npm", *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise LabError(f"npm {arguments[0]} failed:\n{tail}")
