"""Which images there are, what each is built from, and how.

A recipe names its inputs for the key and prepares the folder that buildah builds from.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import packages
from lab.binaries import programs, say
from lab.errors import LabError
from lab.images import archive, buildah, cache, debian, node, wheels
from lab.loadgen import load

ROOT = Path(__file__).parents[2]
BASE_CONTAINERFILE = Path(__file__).with_name("base.Containerfile")
SERVERS_CONTAINERFILE = Path(__file__).with_name("servers.Containerfile")
SERVICE = ROOT / "lab" / "ticket-service"
OPERATOR = ("pyproject.toml", "README.md", "operator")
"""What the operator's Dockerfile copies."""
WHEELS = "/collected"
PROGRAMS = {**packages.IMAGES, "runc": packages.NODE["runc"]}


@dataclass(frozen=True)
class Recipe:
    """How one archive comes about; `variants` maps each image in it to its own environment.

    `volumes` maps folders that are prepared to where the build finds them.
    """

    what: str
    key: str
    variants: Mapping[str, Mapping[str, str]]
    prepare: Callable[[Path], None]
    base: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)

    @property
    def built(self) -> str:
        """The image that buildah builds; the others are variants of it."""
        return next(iter(self.variants))


def build(name: str) -> Path:
    """The OCI archive of an image, or of all its tags, built now if its inputs changed."""
    recipe = _recipe(name)
    target = cache.folder() / f"{name}-{recipe.key}.tar"
    if target.is_file():
        return target
    packages.ensure(PROGRAMS)
    with cache.lock():
        if target.is_file():
            return target
        began = time.monotonic()
        say(f"building {recipe.what}")
        _make_image(recipe)
        with cache.scratch() as scratch:
            buildah.export(recipe.built, scratch / "layout")
            archive.write(scratch / "layout", recipe.variants, scratch / "archive.tar")
            cache.keep(scratch / "archive.tar", target, name)
        buildah.prune()
        size = target.stat().st_size / 1e6
        say(f"built {target.name}: {size:.0f} MB in {time.monotonic() - began:.0f} s")
    return target


def references(name: str) -> Sequence[str]:
    """The image names that the archive of this name brings into a node."""
    return list(_recipe(name).variants)


def _recipe(name: str) -> Recipe:
    if name not in _RECIPES:
        raise LabError(f"there is no image {name}; say one of {', '.join(NAMES)}")
    return _RECIPES[name]()


def _make_image(recipe: Recipe) -> None:
    base = {"BASE_IMAGE": _base_image(recipe.base)} if recipe.base else {}
    with cache.scratch() as scratch:
        recipe.prepare(scratch)
        arguments = {**base, **recipe.arguments}
        volumes = {scratch / name: place for name, place in recipe.volumes.items()}
        buildah.build(buildah.Job(scratch, recipe.built, recipe.key, arguments, volumes))


def _base_image(name: str) -> str:
    """Make sure that the base image in buildah's storage is the one of today's inputs."""
    recipe = _recipe(name)
    if buildah.key_of(recipe.built) != recipe.key:
        say(f"building {recipe.what}")
        _make_image(recipe)
    return recipe.built


def _base_python() -> Recipe:
    return _base("base-python", ("python3", "python3-venv", "libstdc++6"), extra=None)


def _base_node() -> Recipe:
    return _base("base-node", ("nodejs",), extra=node.add_npm)


def _base(
    name: str, debian_packages: Sequence[str], extra: Callable[[Path], None] | None
) -> Recipe:
    def prepare(context: Path) -> None:
        shutil.copy(BASE_CONTAINERFILE, context / "Containerfile")
        debian.make_rootfs(debian_packages, context / "rootfs.tar")
        if extra:
            extra(context / "rootfs.tar")

    sources = "\n".join(map(str, debian.sources()))
    chosen = " ".join([*debian.PACKAGES, *debian_packages])
    npm = node.NPM if extra else ""
    key = cache.key(sources, chosen, npm, BASE_CONTAINERFILE, debian.HOOK)
    return Recipe(
        what=f"the image localhost/{name}:1 from Debian packages",
        key=key,
        variants={f"localhost/{name}:1": {}},
        prepare=prepare,
    )


def _ticket_service() -> Recipe:
    folders = ["src", "migrations"]
    files = ["Containerfile", "package.json", "package-lock.json"]

    def prepare(context: Path) -> None:
        _copy(SERVICE, context, [*folders, *files])
        shutil.copytree(node.modules(SERVICE), context / "node_modules", symlinks=True)

    releases = _releases()
    return Recipe(
        what=f"the ticket service's {len(releases)} releases",
        key=cache.key(_base_node().key, *(SERVICE / name for name in [*folders, *files])),
        variants={f"localhost/ticket-service:{each}": {"RELEASE": each} for each in releases},
        prepare=prepare,
        base="base-node",
    )


def _releases() -> list[str]:
    file = SERVICE / "src" / "releases.js"
    found = re.findall(r"^  '(v[\d.]+)':", file.read_text(), re.MULTILINE)
    if not found:
        raise LabError(f"{file} names no release; keep one a line: 'v1.2.3': {{...}}")
    return found


def _rollback_operator() -> Recipe:
    containerfile = ROOT / "Dockerfile"
    if not containerfile.is_file():
        raise LabError(f"{containerfile} is missing; the operator's image is built from it")

    def prepare(context: Path) -> None:
        shutil.copy(containerfile, context / "Containerfile")
        _copy(ROOT, context, OPERATOR)
        shutil.copytree(wheels.collect(ROOT), context / "wheels")

    return Recipe(
        what="the operator's image",
        key=cache.key(_base_python().key, containerfile, *(ROOT / name for name in OPERATOR)),
        variants={"localhost/rollback-operator:dev": {}},
        prepare=prepare,
        base="base-python",
        arguments={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS},
        volumes={"wheels": WHEELS},
    )


def _demo_servers() -> Recipe:
    """What the lab runs as plain programs, for a cluster that has nothing but pods."""
    database = tuple(packages.POSTGRES)

    def prepare(context: Path) -> None:
        shutil.copy(SERVERS_CONTAINERFILE, context / "Containerfile")
        debian.make_rootfs(database, context / "rootfs.tar")
        for program in (prometheus, generator):
            shutil.copy(program, context)

    prometheus, generator = programs("prometheus") / "prometheus", load.program()
    sources = "\n".join(map(str, debian.sources()))
    chosen = " ".join([*debian.PACKAGES, *database])
    # A program of that size is known by the folder it was built into.
    built = prometheus.parent.name
    return Recipe(
        what="the image of the demo's Prometheus, PostgreSQL and load generator",
        key=cache.key(sources, chosen, built, generator, SERVERS_CONTAINERFILE, debian.HOOK),
        variants={"localhost/demo-servers:1": {}},
        prepare=prepare,
    )


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns(*cache.IGNORED)
            shutil.copytree(source / name, target / name, ignore=ignored)
        else:
            shutil.copy(source / name, target / name)


_RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "base-python": _base_python,
    "base-node": _base_node,
    "ticket-service": _ticket_service,
    "rollback-operator": _rollback_operator,
    "demo-servers": _demo_servers,
}
NAMES = tuple(_RECIPES)
