"""Quarantine: rolled-back releases that must not return for a while, under any name.

Pure. The keys are the release and the images that the rollback target does not have, including
those of init containers. A release that a person trusts, or that a flag has cured, is free.
Admission (the chart's policy) compares the same images.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rollback_operator.api.policy_status import MOST_ENTRIES, QuarantineEntry
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import MOST_IMAGES, fitted, is_among, is_whole, listed
from rollback_operator.api.v1alpha1 import (
    Condition,
    Health,
    LedgerEntry,
    Mode,
    Revision,
    RevisionRef,
    Rollback,
)
from rollback_operator.model import conditions
from rollback_operator.model.workload import Template
from rollback_operator.releases.ledger import health_of
from rollback_operator.remedies.progress import decided_time, has_acted, is_believed
from rollback_operator.remedies.steps import KEEP_THE_RELEASE


def entries(
    rollbacks: Sequence[Rollback],
    ledger: Sequence[LedgerEntry],
    stored: Sequence[QuarantineEntry],
    seconds: int,
    now: datetime,
) -> list[QuarantineEntry]:
    """List the quarantine entries, newest first; only the newest rollback of each release.

    Args:
        rollbacks: all of the Deployment, whichever policy they name: a policy under another name
            frees no release.
        ledger: the current ledger.
        stored: the earlier entries: the deletion of a record frees no release.
        seconds: the length of a quarantine, from the decision.
        now: the current time.
    """
    by_release: dict[str, QuarantineEntry] = {}
    names = {rollback.metadata.name for rollback in rollbacks}
    for rollback in sorted(
        rollbacks, key=lambda rollback: rollback.spec.trigger.decided_time, reverse=True
    ):
        until = decided_time(rollback, now) + timedelta(seconds=seconds)
        release = rollback.spec.from_revision.release
        is_free = health_of(ledger, release) is Health.GOOD
        if until > now and not is_free and _has_replaced_release(rollback):
            by_release.setdefault(release, _entry(rollback, until))
    for kept in (_bounded(entry, seconds, now) for entry in stored if seconds):
        is_lost = kept.rollback not in names and kept.until_time > now
        if is_lost and health_of(ledger, kept.release) is not Health.GOOD:
            by_release.setdefault(kept.release, kept)
    return list(by_release.values())[:MOST_ENTRIES]


def _bounded(entry: QuarantineEntry, seconds: int, now: datetime) -> QuarantineEntry:
    """Limit an entry with an implausible end to the length of a new entry.

    Once stored, the limited entry expires.
    """
    longest = now + timedelta(seconds=seconds)
    if is_believed(entry.until_time, longest):
        return entry
    return entry.model_copy(update={"until_time": longest})


def _has_replaced_release(rollback: Rollback) -> bool:
    is_real = rollback.spec.mode is Mode.ENFORCE and has_acted(rollback)
    return is_real and rollback.spec.remedy.type not in KEEP_THE_RELEASE


def _entry(rollback: Rollback, until: datetime) -> QuarantineEntry:
    spec = rollback.spec
    target, bad = spec.to_revision, spec.from_revision
    if bad.brought_images is not None:
        pinned = fitted([spec.remedy.image]) if spec.remedy.image is not None else []
        brought = [image for image in listed(bad.brought_images) if image not in pinned]
        return _identified_by(rollback, brought, bad.image_digests if brought else [], until)
    # Planned by a version that did not record brought_images.
    kept = {*target.images, *target.init_images} if target else set(fitted([spec.remedy.image]))
    if target is None:
        # The image was pinned in one container, which is listed first: the images of the others
        # were not at fault.
        kept |= {*bad.images[1:], *bad.init_images}
    all_images = dict.fromkeys((*bad.images, *bad.init_images))
    images = [image for image in all_images if image not in kept][:MOST_IMAGES]
    image_lists = (bad.images[:1],) if target is None else _image_lists(bad, target)
    if not all(map(is_whole, image_lists)):
        # Unlisted images may be in both: only the digest identifies the release, and the image
        # digests of its pods, which derive from all of the images.
        return _identified_by(rollback, [], bad.image_digests, until)
    return _identified_by(rollback, images, bad.image_digests if images else [], until)


def _image_lists(*revisions: RevisionRef) -> list[list[str]]:
    return [listed for revision in revisions for listed in (revision.images, revision.init_images)]


def _identified_by(
    rollback: Rollback, images: list[str], digests: list[str], until: datetime
) -> QuarantineEntry:
    spec = rollback.spec
    return QuarantineEntry(
        rollback=rollback.metadata.name,
        release=spec.from_revision.release,
        template_hash=spec.from_revision.template_hash,
        images=images,
        image_digests=digests,
        until_time=until,
    )


def match(
    entries: Iterable[QuarantineEntry],
    revision: Revision,
    images: Sequence[str],
    now: datetime,
) -> QuarantineEntry | None:
    """Return the entry that bars a revision, by its release or an image; None: no entry does.

    Args:
        entries: the quarantine entries.
        revision: the running revision.
        images: all of its images; the revision may list only some of them.
        now: the current time.
    """
    digests = {image.rpartition("@")[2] for image in images if "@" in image}
    for entry in entries:
        is_it = (
            entry.release == revision.release
            or any(is_among(image, entry.images) for image in images)
            or digests & set(entry.image_digests)
        )
        if is_it and entry.until_time > now:
            return entry
    return None


def barred(
    ledger: Iterable[LedgerEntry],
    entries: Sequence[QuarantineEntry],
    templates: Iterable[Template],
    now: datetime,
) -> list[LedgerEntry]:
    """Mark the releases with an image in quarantine: meanwhile no target, and not to become Good.

    A release that a person trusts is free; the quarantined release itself is Bad already.

    Args:
        ledger: the known health of the revisions.
        entries: the quarantine entries.
        templates: all existing templates: an entry may list only some of its images.
        now: the current time.
    """
    of_release = {template.release: template.all_images for template in templates}
    marked = []
    for entry in ledger:
        images = of_release.get(entry.release, (*entry.images, *entry.init_images))
        matched = match(entries, entry, images, now) if entry.trusted_time is None else None
        by = matched.rollback if matched is not None and matched.release != entry.release else ""
        marked.append(entry.model_copy(update={"quarantined_by": by}))
    return marked


def came_back_message(entry: QuarantineEntry, by: str | None) -> str:
    """Describe the return of a release, and the client that deployed it, if known."""
    who = f", deployed by {by}" if by else ""
    images = f" with {', '.join(entry.images)}" if entry.images else ""
    return (
        f"the release{images} that {entry.rollback} rolled back has come back{who}. It is in "
        f"quarantine until {entry.until_time:%Y-%m-%d %H:%M:%S} UTC: remove it at its source"
    )


def condition(
    kept: Sequence[QuarantineEntry],
    revision: Revision | None,
    images: Sequence[str],
    rollbacks: Sequence[Rollback],
    now: datetime,
) -> Condition:
    """Report whether the running release was rolled back and has returned."""
    open_ = {rollback.metadata.name for rollback in rollbacks if rollback.status.outcome is None}
    ended = [entry for entry in kept if entry.rollback not in open_]
    numbers = {rollback.metadata.name: rollback.spec.from_revision.number for rollback in rollbacks}
    # A release that a failed rollback left running has not returned: a return has a new number.
    returned = [
        entry
        for entry in ended
        if revision is not None
        and (entry.release != revision.release or revision.number != numbers.get(entry.rollback))
    ]
    matched = match(returned, revision, images, now) if revision is not None else None
    kind = ConditionType.QUARANTINED
    if matched is None:
        return conditions.condition(kind, False, Reason.NOT_IN_QUARANTINE)
    message = came_back_message(matched, revision.changed_by if revision is not None else None)
    return conditions.condition(kind, True, Reason.RELEASE_IN_QUARANTINE, message)


def next_end(entries: Iterable[QuarantineEntry], now: datetime) -> float | None:
    """Return the seconds until the first entry expires; None: there is no entry."""
    return min(
        (max(1.0, (entry.until_time - now).total_seconds()) for entry in entries), default=None
    )
