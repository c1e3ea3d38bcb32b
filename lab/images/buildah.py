"""buildah with settings of its own: storage in the cache, no daemon, nothing left mounted."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.images import cache

# Not above the hard limit, which some machines do not let root raise.
MOST_FILES = 20000
# buildah 1.28 fails above 32768.
PROCESSES = 30000
KEY = "lab.key"


@dataclass(frozen=True)
class Job:
    """One image to build: from which folder, under which name and key.

    `volumes` maps folders of the machine to where the build finds them, beside what is copied.
    """

    context: Path
    image: str
    key: str
    arguments: Mapping[str, str]
    volumes: Mapping[Path, str]


def key_of(image: str) -> str | None:
    """The key that an image in the storage was built under; None where there is no such image."""
    form = '{{index .OCIv1.Config.Labels "' + KEY + '"}}'
    result = _buildah(["inspect", "--type", "image", "--format", form, image], check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def build(job: Job) -> None:
    """Build `Containerfile` in the job's folder, without a network."""
    argv = ["bud", "--isolation=oci", "--network=none", "--pull-never", "--timestamp=0"]
    # No cache of layers: it sees neither what a RUN reads through a mount nor a changed argument.
    argv += ["--layers=false", "--label", f"{KEY}={job.key}"]
    for name, value in job.arguments.items():
        argv += ["--build-arg", f"{name}={value}"]
    for folder, place in job.volumes.items():
        argv += ["--volume", f"{folder}:{place}:ro"]
    _buildah([*argv, "-t", job.image, "-f", str(job.context / "Containerfile"), str(job.context)])


def export(image: str, layout: Path) -> None:
    """Write one image as a folder in the OCI image layout."""
    _buildah(["push", image, f"oci:{layout}:{image}"])


def publish(archive: Path, image: str, target: str) -> None:
    """Push one image of an archive to a registry, with the user's own logins and settings."""
    _buildah(["pull", f"oci-archive:{archive}:{image}"])
    _buildah(["push", image, f"docker://{target}"])


def prune() -> None:
    """Forget images whose name another build has taken over."""
    _buildah(["rmi", "--prune"], check=False)


def _buildah(arguments: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    if os.geteuid() != 0:
        raise LabError("building images needs root; run this as root")
    with tempfile.TemporaryDirectory(prefix="rollback-lab-buildah-") as scratch:
        # A mount namespace of its own takes every mount along, however the command ends.
        argv = ["unshare", "--mount", "--propagation", "private", "buildah", *arguments]
        result = subprocess.run(
            argv,
            env={**os.environ, **_settings(Path(scratch))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if check and result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise LabError(f"buildah {arguments[0]} failed:\n{tail}")
    return result


def _settings(scratch: Path) -> dict[str, str]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    containers, storage = scratch / "containers.conf", scratch / "storage.conf"
    containers.write_text(
        "[containers]\n"
        f'default_ulimits = ["nofile={files}:{files}", "nproc={PROCESSES}:{PROCESSES}"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    storage.write_text(
        '[storage]\ndriver = "overlay"\n'
        f'graphroot = "{cache.folder()}/storage"\nrunroot = "{scratch}/run"\n'
    )
    return {"CONTAINERS_CONF": str(containers), "CONTAINERS_STORAGE_CONF": str(storage)}
