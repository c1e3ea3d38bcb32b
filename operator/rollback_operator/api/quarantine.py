"""Releases that were rolled back and must not come back for a while."""

from enum import StrEnum

from pydantic import AwareDatetime

from rollback_operator.api.shape import Digest, Images, Model, Name, PodHash

MOST_ENTRIES = 20


class QuarantineResponse(StrEnum):
    """What happens to a release with an image that is in quarantine."""

    TELL = "Tell"
    REFUSE = "Refuse"


class QuarantineEntry(Model):
    """A release that was rolled back, and until when it must not come back."""

    rollback: Name
    """The Rollback that went away from it."""
    release: Digest
    """Digest of its template without annotations."""
    template_hash: PodHash = ""
    images: Images = []
    """Those that what was gone back to does not have, init containers' among them."""
    image_digests: Images = []
    """What these images were when they ran: sha256:..."""
    until_time: AwareDatetime
