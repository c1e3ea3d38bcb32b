"""The lab's Go programs, each built once from its module and kept in the user's cache folder.

The key of a build is everything it depends on: module files, sources, Go version, build flags.
Concurrent runs wait for one build. Nothing but the Go module proxy is asked.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

HERE = Path(__file__).parent
KUBERNETES = "1.34.4"
PROGRESS_SECONDS = 5
KEPT_BUILDS = 3
_VERSION = "k8s.io/component-base/version"
_COMPOSE = "github.com/docker/compose/v2"
CLUSTER_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True)
class Recipe:
    """How one module becomes programs."""

    name: str
    what: str
    minutes: float
    packages: tuple[str, ...]
    flags: tuple[str, ...] = ()
    ldflags: str = ""
    links: tuple[str, ...] = ()


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "cluster",
            f"Kubernetes {KUBERNETES} and etcd",
            5,
            (".",),
            ldflags=(
                f"-X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitMajor=1 "
                f"-X {_VERSION}.gitMinor=34 -X {_VERSION}.gitTreeState=clean"
            ),
            links=CLUSTER_PROGRAMS,
        ),
        Recipe(
            "kwok",
            "KWOK, which plays nodes and pods",
            1.5,
            ("sigs.k8s.io/kwok/cmd/kwok",),
        ),
        Recipe(
            "prometheus",
            "Prometheus 3 with Kubernetes discovery",
            3,
            (
                "github.com/prometheus/prometheus/cmd/prometheus",
                "github.com/prometheus/prometheus/cmd/promtool",
            ),
            flags=("-tags", "remove_all_sd enable_kubernetes_sd netgo"),
        ),
        Recipe("coredns", "CoreDNS, the cluster's DNS", 1, (".",)),
        Recipe(
            "alertmanager",
            "Alertmanager, whom rollbacks are told to",
            1,
            ("github.com/prometheus/alertmanager/cmd/alertmanager",),
            flags=("-tags", "netgo"),
        ),
        Recipe(
            "metrics-server",
            "metrics-server, which autoscalers read",
            2,
            ("sigs.k8s.io/metrics-server/cmd/metrics-server",),
        ),
        Recipe(
            "compose-v2",
            "Docker Compose 2, which Debian 12 does not have",
            4,
            (f"{_COMPOSE}/cmd",),
            ldflags=f"-X {_COMPOSE}/internal.Version=v2.40.3",
        ),
    )
}


def say(text: str) -> None:
    """Progress for a person; on stderr, so that it never mixes with a command's output."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "rollback-operator", "lab")


def programs(name: str) -> Path:
    """The folder with the programs of one module, built now if it never was."""
    recipe = RECIPES[name]
    target = cache_folder() / f"{name}-{_key(recipe)}"
    if target.is_dir():
        return target
    cache_folder().mkdir(parents=True, exist_ok=True)
    with _lock(cache_folder() / f"{name}.lock", recipe):
        if not target.is_dir():
            _build(recipe, target)
    return target


def missing(names: Iterable[str]) -> list[Recipe]:
    """What is yet to be built of these, in their order."""
    recipes = [RECIPES[name] for name in names]
    return [one for one in recipes if not (cache_folder() / f"{one.name}-{_key(one)}").is_dir()]


def control_plane_program(name: str) -> Path:
    """A control plane's program: from KUBEBUILDER_ASSETS where it is there, else the built one."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        given = Path(assets, name)
        if given.is_file():
            return given
    return programs("cluster") / name


def _go() -> str:
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).is_file():
        raise LabError("the lab builds Kubernetes from Go modules: install Go 1.26 or newer first")
    return go


def _key(recipe: Recipe) -> str:
    folder = HERE / recipe.name
    digest = hashlib.sha256()
    version = subprocess.run(
        [_go(), "env", "GOVERSION", "GOARCH"], stdout=subprocess.PIPE, check=True
    )
    digest.update(version.stdout)
    digest.update(repr((recipe.packages, recipe.flags, recipe.ldflags)).encode())
    for path in sorted([folder / "go.mod", folder / "go.sum", *folder.glob("*.go")]):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _lock(path: Path, recipe: Recipe) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is building {recipe.what}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(recipe: Recipe, target: Path) -> None:
    say(f"building {recipe.what}: once, about {recipe.minutes:g} min on two cores")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{recipe.name}-") as scratch:
        output = Path(scratch, "programs")
        output.mkdir()
        # One package named "." becomes a file, a list of packages files in a folder.
        single = recipe.packages == (".",)
        argv = [_go(), "build", "-trimpath", "-ldflags", f"-s -w {recipe.ldflags}".strip()]
        argv += [*recipe.flags, "-o", str(output / recipe.name) if single else f"{output}/"]
        _run(recipe, [*argv, *recipe.packages], Path(scratch, "build.log"))
        for link in recipe.links:
            (output / link).symlink_to(recipe.name)
        output.rename(target)
    _prune(recipe)


def _prune(recipe: Recipe) -> None:
    """Keep the newest builds, since checkouts of different ages share the folder."""
    found = [path for path in cache_folder().glob(f"{recipe.name}-*") if path.is_dir()]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in found[KEPT_BUILDS:]:
        shutil.rmtree(old, ignore_errors=True)


def _run(recipe: Recipe, argv: list[str], log: Path) -> None:
    began = shown = time.monotonic()
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    with log.open("w") as output:
        process = subprocess.Popen(
            argv, cwd=HERE / recipe.name, env=environment, stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - shown > PROGRESS_SECONDS:
                    shown = time.monotonic()
                    say(f"building {recipe.name}: {shown - began:.0f} s")
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise LabError(f"building {recipe.what} failed ({' '.join(argv[:2])}):\n{tail}")
    say(f"built {recipe.name} in {time.monotonic() - began:.0f} s")
