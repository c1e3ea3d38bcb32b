"""The parts of the image builds that need neither a network nor root."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.images import archive, builds, cache, debian

DEB822 = """\
# The archive's own comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
# and one between two fields
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://old.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/a/key.gpg] http://mirror.example/debian bookworm main non-free
deb-src http://mirror.example/debian bookworm main
"""


def etc(folder: Path, files: Mapping[str, str]) -> Path:
    (folder / "apt" / "sources.list.d").mkdir(parents=True)
    (folder / "os-release").write_text('NAME="Debian"\nVERSION_CODENAME=bookworm\n')
    for name, text in files.items():
        (folder / "apt" / name).write_text(text)
    return folder


def test_sources_of_the_new_format(tmp_path: Path) -> None:
    found = debian.sources(etc(tmp_path, {"sources.list.d/debian.sources": DEB822}))
    assert list(map(str, found)) == [
        "deb http://mirror.example/debian bookworm main contrib",
        "deb http://mirror.example/debian bookworm-updates main contrib",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]


def test_sources_of_the_old_format_without_other_vendors(tmp_path: Path) -> None:
    vendor = "deb http://vendor.example/apt nodistro main\n"
    found = debian.sources(
        etc(tmp_path, {"sources.list": ONE_LINE, "sources.list.d/vendor.list": vendor})
    )
    assert list(map(str, found)) == ["deb http://mirror.example/debian bookworm main non-free"]


def test_no_source_of_the_release_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="have no bookworm"):
        debian.sources(etc(tmp_path, {"sources.list": ONE_LINE.replace("bookworm", "trixie")}))


def test_an_unknown_image_is_said() -> None:
    with pytest.raises(LabError, match="no image nginx; say one of base-python"):
        builds.build("nginx")


def test_every_release_becomes_an_image() -> None:
    found = builds.references("ticket-service")
    releases = (builds.SERVICE / "src" / "releases.js").read_text()
    assert found[0] == "localhost/ticket-service:v1.2.3"
    assert len(found) == len(re.findall(r"^  'v", releases, re.MULTILINE))


def test_a_key_follows_contents_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "a.py").write_text("1")
    first = cache.key("text", folder)
    (folder / "__pycache__" / "a.pyc").write_text("ignored")
    assert cache.key("text", folder) == first
    (folder / "a.py").rename(folder / "b.py")
    renamed = cache.key("text", folder)
    (folder / "b.py").write_text("2")
    assert len({first, renamed, cache.key("text", folder), cache.key("other", folder)}) == 4


class TestArchive:
    """One built image under several names."""

    def layout(self, folder: Path) -> Path:
        (folder / "blobs" / "sha256").mkdir(parents=True)
        config = {"config": {"Env": ["PATH=/bin", "RELEASE=v0"], "Labels": {"a": "b"}}}
        manifest = {"config": self.blob(folder, config), "layers": [{"digest": "sha256:1"}]}
        index = {"manifests": [{**self.blob(folder, manifest), "mediaType": "manifest"}]}
        (folder / "index.json").write_text(json.dumps(index))
        return folder

    def blob(self, folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(content).encode()
        digest = hashlib.sha256(text).hexdigest()
        (folder / "blobs" / "sha256" / digest).write_bytes(text)
        return {"digest": f"sha256:{digest}", "size": len(text)}

    def test_variants_differ_in_environment_and_share_layers(self, tmp_path: Path) -> None:
        variants = {"localhost/app:v1": {"RELEASE": "v1"}, "localhost/app:v2": {"RELEASE": "v2"}}
        archive.write(self.layout(tmp_path / "layout"), variants, tmp_path / "made.tar")
        found = {}
        with tarfile.open(tmp_path / "made.tar") as tar:
            for entry in self.read(tar, "index.json")["manifests"]:
                manifest = self.verified(tar, entry)
                config = self.verified(tar, manifest["config"])["config"]
                assert manifest["layers"] == [{"digest": "sha256:1"}]
                assert config["Labels"]["a"] == "b"
                found[entry["annotations"]["io.containerd.image.name"]] = config["Env"]
        assert found == {name: ["PATH=/bin", f"RELEASE={name[-2:]}"] for name in variants}

    def read(self, tar: tarfile.TarFile, name: str) -> Any:
        file = tar.extractfile(name)
        assert file is not None
        return json.load(file)

    def verified(self, tar: tarfile.TarFile, descriptor: Mapping[str, Any]) -> Any:
        file = tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))
        assert file is not None
        text = file.read()
        assert f"sha256:{hashlib.sha256(text).hexdigest()}" == descriptor["digest"]
        assert len(text) == descriptor["size"]
        return json.loads(text)
