"""The lab's container images, built without a registry and kept as OCI archives.

`build(name)` returns the archive to import; what it was built from is its key in the user's cache
folder, so a second call costs nothing. `REFERENCES` says which image names an archive brings.
Images are made by buildah from Debian packages; no system file is touched and no daemon runs.
"""

from lab.images.builds import NAMES, build, references

__all__ = ["NAMES", "build", "references"]
