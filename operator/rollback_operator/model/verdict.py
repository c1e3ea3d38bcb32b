"""The verdict as data that explains itself: counts, odds, blame, vetoes."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import SignalName, VerdictValue

AGAINST_RELEASE = (VerdictValue.SUSPECT, VerdictValue.BAD)
"""Verdicts with evidence against a release."""
SUSPECT_ODDS = 100.0
DEADLINE_ODDS = 1_000.0
BAD_ODDS = 10_000.0
BLAME_ODDS = 100.0
ENDED = "the fault has ended"
"""The unmet floor where the newest counts no longer show the fault."""
CEASED = "no error in one of the two newest samples"
"""The unmet floor where one of the two has no error though some were expected."""


class Cause(Enum):
    """The observation that a verdict rests on."""

    COUNTS = auto()
    """Error rates and symptoms, each with its own odds, or the lack of any."""
    UNAVAILABLE = auto()
    STUCK_ROLLOUT = auto()
    TRAFFIC_LOST = auto()
    ENVIRONMENT = auto()
    """Something outside the release keeps its pods from running."""
    UNATTRIBUTED = auto()
    """An evident fault, which needs no odds; a person decides whether the release causes it."""


@dataclass(frozen=True, slots=True)
class EvidentFault:
    """A fault that needs no odds: Kubernetes, the Services or missing traffic show it."""

    cause: Cause
    message: str
    since: float | None = None


class Method(StrEnum):
    """Basis of the comparison with the new revision."""

    CONTROL = "Control"
    """Old pods in the same seconds."""
    HISTORY = "History"
    """The old revision's time before the release: no old pod is left."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Release against environment: odds by the time at which the fault began."""

    odds: float
    is_from_first_request: bool
    onset: float
    """Seconds from the new revision's first request to the fault; 0: at the first request."""
    is_by_age: bool = False
    """Counted from each pod's own first request: the pods began to fail at one age."""


@dataclass(frozen=True, slots=True)
class ScopeVerdict:
    """The evidence on one route, or on all routes together (`route` None)."""

    route: str | None
    method: Method
    requests: float
    errors: float
    control_requests: float
    control_errors: float
    odds: float
    rate_lower_bound: float
    has_all_failed: bool
    """All of at least 20 requests failed: the lower bound is then as good as 1."""
    first_bad: float | None = None
    blame: Blame | None = None
    unmet: str = ""
    """The first unmet floor, in words; empty: all are met."""
    veto: Reason | None = None
    pods_failing: int = 0
    pods: int = 0
    late_lower_bound: float = 0.0
    """From the newest requests alone: a late fault is a small part of a long watch."""
    late_share: float | None = None
    """Share of the newest requests that failed; None: there are too few."""
    is_adopted: bool = False
    """The revision was already running when the watch began, and has no control."""
    nodes: tuple[str, ...] = ()
    """The nodes that explain the fault: their old pods have it too, those of other nodes do not."""

    @property
    def is_proved(self) -> bool:
        """Return whether floors, vetoes and blame allow an act, whatever the odds."""
        blamed = self.blame is None or self.blame.odds >= BLAME_ODDS
        return not self.unmet and self.veto is None and blamed


@dataclass(frozen=True, slots=True)
class Symptom:
    """A P3 signal that is present."""

    signal: SignalName
    message: str
    odds: float = BAD_ODDS
    """Odds that the release differs from the old revision; for counts of Kubernetes: enough."""
    value: float = 0.0
    pods: tuple[str, ...] = ()
    since: float | None = None
    veto: Reason | None = None
    """The reason why the release is not shown to be the cause; None: it is shown."""
    is_on_every_pod: bool = False
    name: str = ""
    """Of an own query."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Odds from which a release is suspect, bad, and bad enough at a deadline."""

    suspect: float = SUSPECT_ODDS
    bad: float = BAD_ODDS

    @property
    def deadline(self) -> float:
        """A tenth of the odds that act at once, never less than suspect."""
        return max(self.suspect, self.bad * DEADLINE_ODDS / BAD_ODDS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on the running revision, and why."""

    value: VerdictValue
    reason: Reason
    message: str
    scopes: tuple[ScopeVerdict, ...] = ()
    symptoms: tuple[Symptom, ...] = ()
    cause: Cause = Cause.COUNTS
    first_bad: float | None = None
    newest_sample: float | None = None

    @property
    def leading(self) -> ScopeVerdict | None:
        """The scope with the strongest evidence."""
        return max(
            self.scopes,
            key=lambda one: (one.is_proved, one.odds, one.rate_lower_bound),
            default=None,
        )
