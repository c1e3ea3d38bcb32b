"""Quarantine of releases that were rolled back."""

from enum import StrEnum

from pydantic import AwareDatetime

from rollback_operator.api.shape import Digest, Images, Model, Name, PodHash

MOST_ENTRIES = 20


class QuarantineResponse(StrEnum):
    """Handling of a release that contains a quarantined image."""

    TELL = "Tell"
    REFUSE = "Refuse"


class QuarantineEntry(Model):
    """Release that was rolled back and is quarantined until untilTime."""

    rollback: Name
    """Name of the Rollback that replaced the release."""
    release: Digest
    """Digest of the pod template without annotations."""
    template_hash: PodHash = ""
    """pod-template-hash of the ReplicaSet."""
    images: Images = []
    """Images of the release, including init containers, that the restored revision does not use."""
    image_digests: Images = []
    """Digests (sha256:...) of these images when they ran."""
    until_time: AwareDatetime
    """Time when the quarantine ends."""
