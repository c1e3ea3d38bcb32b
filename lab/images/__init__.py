"""The lab's container images, built without a registry and kept as OCI archives.

`build(name)` returns the archive to import; what it was built from is its key in the user's cache
folder, so a second call costs nothing. `references(name)` says which images the archive holds.
They are made by buildah from Debian packages; no system file is touched and no daemon runs.
A newer Debian package changes no key: remove the folder to take it.
"""

from lab.images.builds import NAMES, build, references

__all__ = ["NAMES", "build", "references"]
