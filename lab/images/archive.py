"""From one built image to one OCI archive with several images that differ in their settings alone.

The variants share every layer, so ten releases cost a node no more than one.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONTAINERD_NAME = "io.containerd.image.name"
OCI_NAME = "org.opencontainers.image.ref.name"
VERSION = "org.opencontainers.image.version"


def write(layout: Path, variants: Mapping[str, Mapping[str, str]], made: Path) -> None:
    """Write the layout's one image under each name, with that name's environment set on top."""
    index = json.loads((layout / "index.json").read_text())
    (original,) = index["manifests"]
    index["manifests"] = [
        _variant(layout, original, name, environment) for name, environment in variants.items()
    ]
    (layout / "index.json").write_text(json.dumps(index))
    with tarfile.open(made, "w") as tar:
        for path in sorted(layout.rglob("*")):
            tar.add(path, path.relative_to(layout), recursive=False)


def _variant(
    layout: Path, original: Mapping[str, Any], name: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    manifest = _read(layout, original)
    image = _read(layout, manifest["config"])
    settings = image["config"]
    kept = [each for each in settings.get("Env", []) if each.partition("=")[0] not in environment]
    settings["Env"] = kept + [f"{key}={value}" for key, value in environment.items()]
    settings["Labels"] = {**settings.get("Labels", {}), VERSION: name.rpartition(":")[2]}
    manifest["config"] |= _write(layout, image)
    annotations = {CONTAINERD_NAME: name, OCI_NAME: name}
    return {**original, **_write(layout, manifest), "annotations": annotations}


def _read(layout: Path, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    blob: dict[str, Any] = json.loads(_blob(layout, descriptor["digest"]).read_text())
    return blob


def _write(layout: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(content).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    _blob(layout, digest).write_bytes(text)
    return {"digest": digest, "size": len(text)}


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
