"""What is remembered of a rollback that a guard still asks for, also when its record is gone."""

from pydantic import AwareDatetime

from rollback_operator.api.flags import Flag
from rollback_operator.api.shape import Digest, Model, Name
from rollback_operator.api.terms import MatrixSeverity, Mode, Outcome

MOST_RECENT = 100
"""As many as a policy may decide on in a day."""


class RecentRollback(Model):
    """A rollback, as far as it keeps the next one from being done."""

    name: Name
    deployment: Name
    """Its target, by the name: a Deployment that is made anew has another uid."""
    mode: Mode
    severity: MatrixSeverity
    from_release: Digest
    """What it took back: not taken back again by itself for `safety.cooldownSeconds`."""
    to_release: Digest | None = None
    """What it went back to: not rolled back in its turn for `safety.watchSeconds`."""
    flag: Flag | None = None
    """What it set in place of taking the release back."""
    by_hand: bool = False
    """Whether a person asked for it: it counts for no budget."""
    outcome: Outcome | None = None
    done: bool = False
    """Whether its act was carried out, however it ended."""
    retryable: bool = False
    """Whether it ended for a passing cause before it changed anything, and may be tried again."""
    decided_time: AwareDatetime
    finished_time: AwareDatetime | None = None
