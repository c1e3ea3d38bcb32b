"""A circuit breaker for one address: a server that does not answer costs a time-out now and then.

Closed, everything is asked. A question that is not answered has a light one asked beside it: only
if that is not answered either is the circuit opened, so that one policy's slow query keeps nobody
else from asking. Open, nothing is asked; after a rest the light question is asked again
(half-open), and nobody waits for it. Times are those of a monotonic clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_api_client import PrometheusConnect

from rollback_operator.adapters.prometheus.connections import AnswerError
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import LONGEST_REST_SECONDS, Missing

FIRST_REST_SECONDS = 2.0


@dataclass
class Breaker:
    """Whether an address is worth asking."""

    rest: float = 0.0
    """How long it is left alone after the last failure; 0: closed."""
    due: float = 0.0
    """When it may be tried again."""
    is_trying: bool = False
    """The light question is under way."""
    why: str = ""
    """What was wrong when it was opened: the same words as long as it is, or it would be news."""

    @property
    def is_open(self) -> bool:
        """Tell whether nothing is to be asked."""
        return self.rest > 0

    def begins_trial(self, now: float) -> bool:
        """Tell whether the light question is to be asked now; whoever is told so asks it."""
        if self.is_trying or (self.is_open and now < self.due):
            return False
        self.is_trying = True
        return True

    def close(self) -> None:
        """Note that the server answers, whatever it says."""
        self.rest = 0.0

    def open(self, now: float) -> None:
        """Note that not even the light question was answered."""
        self.rest = min(LONGEST_REST_SECONDS, max(FIRST_REST_SECONDS, 2 * self.rest))
        self.due = now + self.rest


def light(api: PrometheusConnect) -> Any:
    """Ask what costs a server nothing."""
    return api.custom_query("time()")


def left_alone(breaker: Breaker) -> Missing:
    """Say that an address is not asked, and what became of the last question."""
    return Missing(Reason.PROVIDER_UNREACHABLE, breaker.why)


def unless_open(
    breaker: Breaker, call: Callable[[PrometheusConnect], Any]
) -> Callable[[PrometheusConnect], Any]:
    """Spare those who have waited for a thread the time-out that others have had meanwhile."""

    def asked(api: PrometheusConnect) -> Any:
        if breaker.is_open:
            raise AnswerError(Reason.PROVIDER_UNREACHABLE, left_alone(breaker).message)
        return call(api)

    return asked
