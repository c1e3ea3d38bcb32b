"""What is kept between builds, and the one lock that all builds take.

A key is a digest of everything a build reads; equal inputs are never built twice. Nothing here
knows what an image is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.binaries import say

KEEP_SECONDS = 3600
IGNORED = {"__pycache__", "node_modules"}


def folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(root, "rollback-operator", "images")
    path.mkdir(parents=True, exist_ok=True)
    return path


def key(*inputs: str | Path) -> str:
    """Digest of texts, files and whole folders, names included."""
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            digest.update(f"text\0{item}\0".encode())
            continue
        for file in files_below(item):
            digest.update(f"file\0{file.relative_to(item.parent)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def files_below(path: Path) -> Iterable[Path]:
    """The file itself, or every file of a folder that a build may read, in a fixed order."""
    if path.is_file():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.is_file())
    return [each for each in found if not IGNORED.intersection(each.relative_to(path).parts)]


@contextmanager
def lock() -> Iterator[None]:
    """Held during a build: images build on one another and share one storage."""
    with (folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is building images; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the cache's own file system, so that what is made in it can be renamed."""
    with tempfile.TemporaryDirectory(dir=folder(), prefix="scratch-") as path:
        yield Path(path)


def keep(made: Path, target: Path, family: str) -> Path:
    """Put a finished file or folder in place at once, and drop its forerunners of long ago."""
    made.rename(target)
    os.utime(target)
    long_ago = target.stat().st_mtime - KEEP_SECONDS
    for old in folder().glob(f"{family}-*"):
        # Another run may still read what was built a moment ago from other inputs.
        if len(old.name) == len(target.name) and old.stat().st_mtime < long_ago:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    return target
