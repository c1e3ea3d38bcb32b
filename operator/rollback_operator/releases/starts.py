"""Whether the pods of a service fail in their first seconds, by what earlier releases recorded."""

from collections.abc import Iterable, Sequence

from rollback_operator.api.v1alpha1 import LedgerEntry, Starts


def with_starts(
    ledger: Sequence[LedgerEntry], release: str, starts: Starts | None
) -> list[LedgerEntry]:
    """Record how the pods of a release started, once: a later look has forgotten their seconds."""
    return [
        entry.model_copy(update={"starts": starts})
        if entry.release == release and entry.starts is None
        else entry
        for entry in ledger
    ]


def has_warm_up(ledger: Iterable[LedgerEntry], release: str) -> bool:
    """Return whether pods of a new release may fail in their first seconds, as earlier pods did.

    Unknown where no earlier start is on record: then they may.
    """
    known = [
        entry.starts for entry in ledger if entry.release != release and entry.starts is not None
    ]
    return not known or Starts.FAILING in known
