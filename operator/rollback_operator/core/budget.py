"""How many rollbacks there may be in the whole cluster: at a time, and in a day.

Many releases that go bad at once are seldom so many bad releases: past some number people look.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Budget:
    """The operator's own limits over all policies; 0: none."""

    max_concurrent: int = 0
    max_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What of the limits is used up."""

    budget: Budget = field(default_factory=Budget)
    active: int = 0
    day: int = 0

    @property
    def exhausted(self) -> str:
        """Say which limit is reached; empty: none."""
        if 0 < self.budget.max_concurrent <= self.active:
            most = self.budget.max_concurrent
            return (
                f"{self.active} rollbacks run in this cluster and --max-concurrent is {most}: it "
                "waits its turn; where so many releases fail at once, look at what they share"
            )
        if 0 < self.budget.max_per_day <= self.day:
            return (
                f"{self.day} rollbacks in this cluster in the last 24 hours, "
                f"--max-rollbacks-per-day is {self.budget.max_per_day}"
            )
        return ""
