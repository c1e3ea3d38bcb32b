"""Quarantine: what was rolled back and must not come back for a while, by any name.

Pure. Known by the release, and by the images that what was gone back to does not have, those of
init containers among them; one that a person trusts, or a flag has cured, is free. Admission (the
chart's policy) compares the same images.
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
    """List what is in quarantine, the newest first; of a release only the newest rollback.

    Args:
        rollbacks: those of one policy.
        ledger: what is known of the revisions by now.
        stored: what was in quarantine before: a record that is deleted sets nothing free.
        seconds: how long a release stays, from the decision.
        now: the current time.
    """
    found: dict[str, QuarantineEntry] = {}
    known = {one.metadata.name for one in rollbacks}
    for one in sorted(rollbacks, key=lambda one: one.spec.trigger.decided_time, reverse=True):
        until = decided_time(one, now) + timedelta(seconds=seconds)
        release = one.spec.from_revision.release
        is_free = health_of(ledger, release) is Health.GOOD
        if until > now and not is_free and _went_away(one):
            found.setdefault(release, _entry(one, until))
    for kept in (_bounded(one, seconds, now) for one in stored if seconds):
        is_lost = kept.rollback not in known and kept.until_time > now
        if is_lost and health_of(ledger, kept.release) is not Health.GOOD:
            found.setdefault(kept.release, kept)
    return list(found.values())[:MOST_ENTRIES]


def _bounded(entry: QuarantineEntry, seconds: int, now: datetime) -> QuarantineEntry:
    """Have an entry last no longer from now on than one of today, where its time is not believed.

    Put on record so, it runs down.
    """
    longest = now + timedelta(seconds=seconds)
    if is_believed(entry.until_time, longest):
        return entry
    return entry.model_copy(update={"until_time": longest})


def _went_away(rollback: Rollback) -> bool:
    is_real = rollback.spec.mode is Mode.ENFORCE and has_acted(rollback)
    return is_real and rollback.spec.remedy.type not in KEEP_THE_RELEASE


def _entry(rollback: Rollback, until: datetime) -> QuarantineEntry:
    spec = rollback.spec
    target, bad = spec.to_revision, spec.from_revision
    if bad.brought_images is not None:
        pinned = fitted([spec.remedy.image]) if spec.remedy.image is not None else []
        brought = [one for one in listed(bad.brought_images) if one not in pinned]
        return _known_by(rollback, brought, bad.image_digests if brought else [], until)
    # Planned by a version that did not record brought_images.
    kept = {*target.images, *target.init_images} if target else set(fitted([spec.remedy.image]))
    if target is None:
        # An image was pinned in one container, which is listed first: those of the others were not
        # what was wrong.
        kept |= {*bad.images[1:], *bad.init_images}
    every = dict.fromkeys((*bad.images, *bad.init_images))
    images = [image for image in every if image not in kept][:MOST_IMAGES]
    known = (bad.images[:1],) if target is None else _lists(bad, target)
    if not all(map(is_whole, known)):
        # What was not listed may be in both: the release is known by its digest alone, and by what
        # its pods ran, which was told from all of the images.
        return _known_by(rollback, [], bad.image_digests, until)
    return _known_by(rollback, images, bad.image_digests if images else [], until)


def _lists(*revisions: RevisionRef) -> list[list[str]]:
    return [listed for one in revisions for listed in (one.images, one.init_images)]


def _known_by(
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
    known: Iterable[QuarantineEntry],
    revision: Revision,
    images: Sequence[str],
    now: datetime,
) -> QuarantineEntry | None:
    """Find the entry that keeps a revision out, by its release or an image; None: none does.

    Args:
        known: what is in quarantine.
        revision: that runs.
        images: all of its images; the revision may list some of them only.
        now: the current time.
    """
    digests = {image.rpartition("@")[2] for image in images if "@" in image}
    for one in known:
        is_it = (
            one.release == revision.release
            or any(is_among(image, one.images) for image in images)
            or digests & set(one.image_digests)
        )
        if is_it and one.until_time > now:
            return one
    return None


def barred(
    ledger: Iterable[LedgerEntry],
    known: Sequence[QuarantineEntry],
    templates: Iterable[Template],
    now: datetime,
) -> list[LedgerEntry]:
    """Mark the releases that have an image in quarantine: no target while it is, nor Good by that.

    One that a person trusts is free; the release that is in quarantine itself is Bad already.

    Args:
        ledger: what is known of the revisions.
        known: what is in quarantine.
        templates: those that there are: an entry may list some of its images only.
        now: the current time.
    """
    of_release = {one.release: one.all_images for one in templates}
    marked = []
    for one in ledger:
        images = of_release.get(one.release, (*one.images, *one.init_images))
        found = match(known, one, images, now) if one.trusted_time is None else None
        by = found.rollback if found is not None and found.release != one.release else ""
        marked.append(one.model_copy(update={"quarantined_by": by}))
    return marked


def came_back_message(entry: QuarantineEntry, by: str | None) -> str:
    """Say that a release is back, and who has brought it, if that is known."""
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
    """Report whether the running release is one that was rolled back and has returned."""
    open_ = {one.metadata.name for one in rollbacks if one.status.outcome is None}
    ended = [one for one in kept if one.rollback not in open_]
    left = {one.metadata.name: one.spec.from_revision.number for one in rollbacks}
    # A release that a failed rollback left running has not come back: that gives a new number.
    back = [
        one
        for one in ended
        if revision is not None
        and (one.release != revision.release or revision.number != left.get(one.rollback))
    ]
    found = match(back, revision, images, now) if revision is not None else None
    kind = ConditionType.QUARANTINED
    if found is None:
        return conditions.condition(kind, False, Reason.NOT_IN_QUARANTINE)
    message = came_back_message(found, revision.changed_by if revision is not None else None)
    return conditions.condition(kind, True, Reason.RELEASE_IN_QUARANTINE, message)


def next_end(known: Iterable[QuarantineEntry], now: datetime) -> float | None:
    """Return the seconds until the first entry is free; None: there is none."""
    return min((max(1.0, (one.until_time - now).total_seconds()) for one in known), default=None)
