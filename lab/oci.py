"""Write an OCI image archive with the standard library, for images too small to need a builder.

The same content always gives the same bytes, so digests are stable.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAUSE = "localhost/pause:1"
BUSYBOX = "localhost/busybox:1"
BUSYBOX_PROGRAM = Path("/bin/busybox")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """An image of one layer. Files are given by their content, links by their target."""

    name: str
    entrypoint: Sequence[str]
    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ()
    env: Sequence[str] = ("PATH=/bin",)
    user: str = ""
    command: Sequence[str] = ()


def busybox_image(name: str, entrypoint: Sequence[str], command: Sequence[str] = ()) -> Image:
    """Debian's static busybox as the only program of an image."""
    applets = ("sh", "sleep", "nslookup", "wget", "httpd", "cat", "tail", "env", "ls", "nc", "dd")
    return Image(
        name=name,
        entrypoint=entrypoint,
        command=command,
        files={
            "bin/busybox": BUSYBOX_PROGRAM.read_bytes(),
            "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
            "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
        },
        links={f"bin/{applet}": "busybox" for applet in applets},
        folders=("tmp", "proc", "sys", "dev"),
    )


def write(image: Image, archive: Path) -> None:
    """Write the image as an archive that `ctr images import` takes."""
    layer = _layer(image)
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    config = _config(image, layer)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": _descriptor(f"{MEDIA}.config.v1+json", config),
            "layers": [_descriptor(f"{MEDIA}.layer.v1.tar+gzip", packed)],
        }
    )
    names = {
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": image.name,
    }
    entry = {**_descriptor(f"{MEDIA}.manifest.v1+json", manifest), "annotations": names}
    blobs = {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (packed, config, manifest)}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), 0o644)
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}), 0o644)
        for name, blob in sorted(blobs.items()):
            _add(tar, name, blob, 0o644)


def write_for_docker(image: Image, archive: Path) -> None:
    """Write the image as an archive that `docker load` takes, of whatever version."""
    layer = _layer(image)
    config = _config(image, layer)
    names = {"Config": "config.json", "RepoTags": [image.name], "Layers": ["layer.tar"]}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "config.json", config, 0o644)
        _add(tar, "layer.tar", layer, 0o644)
        _add(tar, "manifest.json", _json([names]), 0o644)


def _config(image: Image, layer: bytes) -> bytes:
    return _json(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {
                "Entrypoint": list(image.entrypoint),
                "Cmd": list(image.command),
                "Env": list(image.env),
                "User": image.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        parents = {str(p) for name in (*image.files, *image.links) for p in Path(name).parents}
        for folder in sorted({*parents, *image.folders} - {"."}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        for name, content in sorted(image.files.items()):
            _add(tar, name, content, 0o755 if "bin" in Path(name).parts else 0o644)
        for name, target in sorted(image.links.items()):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
