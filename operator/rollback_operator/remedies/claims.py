"""What rollout tools and image updaters claim of a Deployment, and what people are told of it.

Pure. A rollout tool is never acted against. An image updater is: it may push again what was taken
back, so it is told beforehand, at the rollback, and with what helps.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rollback_operator.api.remedy import MOST_UPDATERS, UpdaterPlan
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import RemedyType, Rollback
from rollback_operator.model.controllers import Claims, Owner, Updater
from rollback_operator.model.workload import Deployment

NEW_RELEASE = "would take an undo for a new release"
"""What a rollout tool makes of an undo."""
_GO_BACK = (RemedyType.UNDO, RemedyType.PIN_IMAGE)


def claimed(deployment: Deployment, claims: Claims) -> Deployment:
    """Put what other tools' objects say to what they leave on the Deployment itself."""
    return replace(
        deployment,
        owner=claims.driver or _owner(deployment.owner, claims),
        updaters=tuple(dict.fromkeys((*deployment.updaters, *claims.updaters))),
    )


def _owner(found: Owner | None, claims: Claims) -> Owner | None:
    """Look behind a field that a tool has left, if nothing of its own names the Deployment."""
    is_past = found is not None and found.is_trace and found.kind in claims.denied
    return found.behind if found is not None and is_past else found


def joined(parts: Iterable[Claims]) -> Claims:
    """Put together what several tools say; of drivers the first counts."""
    known = tuple(parts)
    return Claims(
        driver=next((one.driver for one in known if one.driver is not None), None),
        updaters=tuple(updater for one in known for updater in one.updaters),
        denied=frozenset(tool for one in known for tool in one.denied),
        unseen=tuple(text for one in known for text in one.unseen),
    )


def warning(updaters: Iterable[Updater]) -> str:
    """Say who may push again what is taken back, and what helps; empty: nobody."""
    return "; ".join(
        f"{one.tool} puts new images into this Deployment ({one.evidence}) and may push again what "
        f"is taken back: {one.remedy}"
        for one in updaters
    )


def planned(deployment: Deployment) -> list[UpdaterPlan]:
    """Put on record who may push the bad image again: messages are made from records alone."""
    return [
        UpdaterPlan(tool=one.tool[:64], advice=clipped(one.remedy, 512))
        for one in deployment.updaters[:MOST_UPDATERS]
    ]


def next_steps(rollback: Rollback) -> Iterator[str]:
    """Say what is left to do so that the bad image is not pushed again."""
    if rollback.spec.remedy.type in _GO_BACK:
        for one in rollback.spec.updaters:
            yield f"Keep {one.tool} from pushing the image again: {one.advice}"
