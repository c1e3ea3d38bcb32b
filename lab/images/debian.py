"""A root file system from the machine's own Debian mirror: as few packages as a program needs.

Maintainer scripts do not run (`--variant=extract`); rootfs-hook.sh does the little of their work
that matters. Suite and mirror come from the machine's apt sources.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.images.downloads import require_way_out

HOOK = Path(__file__).with_name("rootfs-hook.sh")
ETC = Path("/etc")
PACKAGES = ("base-files", "base-passwd", "libc6", "dash", "coreutils", "ca-certificates", "tzdata")


@dataclass(frozen=True)
class Source:
    """One line of apt's sources: where, which suite, which parts of it."""

    uri: str
    suite: str
    components: str

    def __str__(self) -> str:
        return f"deb {self.uri} {self.suite} {self.components}"


def sources(etc: Path = ETC) -> list[Source]:
    """The machine's sources of its own Debian release; other vendors' are left out."""
    codename = _codename(etc)
    wanted = {codename, f"{codename}-updates", f"{codename}-security"}
    found: dict[Source, None] = {}
    apt = etc / "apt"
    for file in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if file.suffix == ".sources":
            found.update(dict.fromkeys(_stanzas(file.read_text())))
        elif file.suffix == ".list" and file.is_file():
            found.update(dict.fromkeys(_lines(file.read_text())))
    chosen = [each for each in found if each.suite in wanted and "main" in each.components.split()]
    if not any(each.suite == codename for each in chosen):
        raise LabError(f"apt's sources in {apt} have no {codename}; add the distribution's mirror")
    return chosen


def make_rootfs(packages: Sequence[str], target: Path) -> None:
    """Write the tar of a root file system with these packages and what they depend on."""
    require_way_out("Debian packages")
    chosen = sources()
    include = ",".join([*PACKAGES, *packages])
    argv = ["mmdebstrap", "--variant=extract", f"--include={include}", f"--extract-hook={HOOK}"]
    argv += [_codename(ETC), str(target), *map(str, chosen)]
    result = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise LabError(f"mmdebstrap failed with the mirror {chosen[0].uri}:\n{tail}")


def _codename(etc: Path) -> str:
    file = etc / "os-release"
    found = re.search(r"^VERSION_CODENAME=(\S+)$", file.read_text(), re.MULTILINE)
    if not found:
        raise LabError(f"{file} has no VERSION_CODENAME; images need a Debian release")
    return found.group(1)


def _lines(text: str) -> list[Source]:
    found = re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(\S.*?)\s*$", text, re.MULTILINE)
    return [Source(*parts) for parts in found]


def _stanzas(text: str) -> list[Source]:
    found = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        fields = {
            name.lower(): " ".join(value.split())
            for name, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if fields.get("enabled", "yes") == "no" or "deb" not in fields.get("types", "").split():
            continue
        found += [
            Source(uri, suite, fields.get("components", "main"))
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found
