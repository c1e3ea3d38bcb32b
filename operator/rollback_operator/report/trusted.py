"""The condition Trusted: the releases that a person trusts, and the entries without effect."""

from collections.abc import Sequence

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Condition, Health, LedgerEntry, Trust
from rollback_operator.model import conditions


def condition(trust: Sequence[Trust], ledger: Sequence[LedgerEntry]) -> Condition:
    """Report the trusted releases, and the entries that have no effect, with the reason.

    Args:
        trust: the entries of the policy.
        ledger: the known health of the revisions.
    """
    kind, known = ConditionType.TRUSTED, {item.release: item for item in ledger}
    if not trust:
        return conditions.condition(kind, None, Reason.NOTHING_TRUSTED)
    idle = []
    for item in trust:
        entry = known.get(item.release)
        if entry is None:
            idle.append(f"revision {item.revision} ({item.release[:12]}) does not exist any more")
        elif entry.condemned is not None and entry.condemned.time >= item.time:
            idle.append(f"revision {entry.number} was found bad later: {entry.condemned.message}")
        elif entry.trusted_time is None and entry.health is not Health.GOOD:
            idle.append(f"revision {entry.number} is trusted from {item.time:%Y-%m-%d %H:%M} UTC")
    if idle:
        message = "; ".join(idle)
        return conditions.condition(kind, False, Reason.TRUST_UNUSED, f"spec.trust: {message}")
    message = "; ".join(f"revision {item.revision} by {item.by}: {item.reason}" for item in trust)
    return conditions.condition(kind, True, Reason.TRUSTED_BY_PERSON, message)
