"""What happens in one simulation: drawn whole from a seed, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bench.simulation.pods import Pace
from bench.simulation.releases import Release, Truth
from bench.simulation.weather import Effect, Spell

APP = "ticket-service"
NAMESPACE = "production"
OPERATORS = ("operator-a", "operator-b")
SLACK = 60.0
"""Seconds within which a hold whose time is up has been let go."""
FURTHEST = 600.0
"""Seconds by which a clock is wrong."""
RELEASED = (30.0, 60.0)
"""When the first release of a simulation goes out, seconds."""


class Act(StrEnum):
    """What somebody other than the operator does."""

    RELEASE = "release"
    REVERT = "revert"
    """Goes back to the first release by hand."""
    RELEASE_AGAIN = "release-again"
    """Rolls the newest release out once more, whatever has become of it."""
    RESTART = "restart"
    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE_POLICY = "delete-policy"
    PAUSE = "pause"
    DELETE_TARGET = "delete-target"
    ASK = "ask"
    """Asks for a rollback by hand."""
    LIFT = "lift"
    """Lifts a pause, whoever's it is."""
    DELETE_ROLLBACK = "delete-rollback"
    REMAKE_POLICY = "remake-policy"
    EDIT = "edit"
    """Changes fields of the policy's spec."""
    BREAK = "break"
    """Leaves the policy with a spec that an older CRD would admit and the models refuse."""
    MEND = "mend"
    """Gives the policy back the spec that it had before it was broken."""
    RETARGET = "retarget"
    """Has the policy name another Deployment."""
    TARGET_BACK = "target-back"
    SECOND_POLICY = "second-policy"
    """Makes another policy on the same Deployment, or deletes it."""
    UNDO_ALONE = "undo-alone"
    """Goes back to the previous revision without the operator, as kubectl rollout undo does."""
    SCALE = "scale"
    STRATEGY = "strategy"
    """Sets other bounds for rolling updates."""
    APPROVE = "approve"
    REJECT = "reject"
    LOSE_CONFIG = "lose-config"
    """Deletes the ConfigMap and the Secret that pods name."""
    BRING_CONFIG = "bring-config"
    LOSE_SETS = "lose-sets"
    """Deletes the ReplicaSets without pods."""
    BRING_SETS = "bring-sets"
    REMAKE_TARGET = "remake-target"
    """Deletes the Deployment and makes it anew a moment later."""
    BACK_UP = "back-up"
    RESTORE = "restore"
    """Puts policies and Rollbacks back as they were when they were backed up."""
    RESTORE_ANEW = "restore-anew"
    """The same, under new uids."""
    TRUST = "trust"
    """Says that the releases which were found bad may be gone back to."""
    SPOIL = "spoil"
    """From now on the first release's containers end too: what they call has changed."""


@dataclass(frozen=True, slots=True)
class Deed:
    """An act at a time."""

    at: float
    act: Act
    release: Release | None = None
    value: Any = None
    """Of an edit: what is changed; of a scale: the replicas."""


class Cue(StrEnum):
    """What operators do that people react to."""

    INTENT = "a rollback is stored"
    HELD = "the rollout is held"
    SENT = "an undo is on its way"
    UNDONE = "the release is taken back"


@dataclass(frozen=True, slots=True)
class Reflex:
    """What somebody does who sees an operator act, the first time."""

    cue: Cue
    within: float
    """Seconds."""
    act: Act
    release: Release
    value: Any = None
    then: Deed | None = None
    """What follows; its time is the seconds after the first."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that is drawn."""

    seed: int
    fault: str
    """Which kind of fault: a key of FAULTS."""
    replicas: int
    rps: float
    surge: str
    unavailable: str
    pace: Pace
    operators: int
    offsets: tuple[float, ...]
    """Seconds by which each operator's clock is ahead from the start."""
    renames: bool
    is_known: bool
    """The policy has watched the first release for long; else it begins with the simulation."""
    policy: Mapping[str, Any]
    deeds: tuple[Deed, ...]
    spells: tuple[Spell, ...]
    reflex: Reflex | None = None
    past: tuple[Release, ...] = ()
    """What ran before the first release, the oldest first; what is bad of it was taken back."""
    actor: str = "nobody"
    """Who else is at work: a key of ACTORS."""
    names_config: bool = False
    """The pods name a ConfigMap and a Secret."""

    @property
    def first(self) -> Release:
        """Give the release that runs from the start."""
        return Release(APP, 1, names_config=self.names_config)

    @property
    def longest_pause(self) -> float:
        """Give the seconds for which a rollout may be held at most, faults and all."""
        stage, suspicion = self.policy["stage"], self.policy["safety"]
        faults = [one.end for one in self.spells] + [one.start for one in self.spells]
        lasting = max(faults, default=0.0) - min(faults, default=0.0)
        return float(stage["maxSeconds"] + suspicion["maxPauseSeconds"] + lasting + SLACK)


LATER = (
    *(Act.RELEASE,) * 4,
    *(Act.REVERT, Act.RELEASE_AGAIN, Act.RESTART, Act.ASK) * 2,
    *(Act.SUSPEND, Act.PAUSE, Act.LIFT),
    *(Act.DELETE_POLICY, Act.DELETE_TARGET, Act.DELETE_ROLLBACK, Act.REMAKE_POLICY),
)
"""What may follow a first release."""
REACTIONS: Mapping[Cue, tuple[Act, ...]] = {
    Cue.INTENT: (Act.RELEASE, Act.REVERT, Act.ASK, Act.SUSPEND, Act.DELETE_POLICY),
    Cue.HELD: (Act.DELETE_POLICY, Act.REMAKE_POLICY, Act.SUSPEND, Act.LIFT, Act.RELEASE),
    Cue.SENT: (Act.RELEASE, Act.RELEASE, Act.REVERT, Act.SUSPEND),
    Cue.UNDONE: (Act.ASK, Act.ASK, Act.RELEASE_AGAIN, Act.RELEASE, Act.RESTART),
}
WITHIN = {
    Cue.INTENT: (0.05, 0.5, 5.0, 30.0),
    Cue.HELD: (0.05, 0.5, 5.0, 30.0),
    Cue.SENT: (0.005,),
    Cue.UNDONE: (0.5, 30.0, 120.0),
}
"""Seconds until somebody reacts; to what is sent, about as long as it takes on its way."""
REACTING = 0.6
"""Share of the simulations in which somebody reacts."""
HAS_PAST = 0.6
OLDEST = 91
"""Version of the oldest release that is on record."""
HASTY = 7
"""Version of the release that a reaction brings."""
Maker = Callable[[random.Random, "Span"], list[Spell]]


@dataclass(frozen=True, slots=True)
class Span:
    """When faults may strike, and whom."""

    start: float
    end: float
    operators: int

    def one(self, dice: random.Random) -> str:
        """Choose an operator."""
        return OPERATORS[dice.randrange(self.operators)]


def _whole(*effects: Effect) -> Maker:
    """Let one of several effects last."""

    def made(dice: random.Random, span: Span) -> list[Spell]:
        effect = dice.choice(effects)
        who = "" if dice.random() < 0.7 else span.one(dice)
        return [Spell(effect, span.start, span.end, who)]

    return made


def _pieces(effect: Effect, longest: float) -> Maker:
    """Let an effect come and go for one operator at a time."""

    def made(dice: random.Random, span: Span) -> list[Spell]:
        found, now = [], span.start
        while now < span.end:
            end = now + dice.uniform(0.5, longest)
            found.append(Spell(effect, now, end, span.one(dice)))
            now = end + dice.uniform(0.5, 30.0)
        return found

    return made


FAULTS: Mapping[str, Maker] = {
    "none": lambda dice, span: [],
    "refused": _whole(Effect.REFUSED),
    "outage": _pieces(Effect.OUTAGE, 60.0),
    "lost": _whole(Effect.LOST),
    "unanswered": _whole(Effect.UNANSWERED),
    "late": _whole(Effect.LATE),
    "slow": _whole(Effect.SLOW),
    "watches": lambda dice, span: _pieces(
        dice.choice((Effect.WATCH_GONE, Effect.WATCH_SILENT, Effect.WATCH_MUTE)), 40.0
    )(dice, span),
    "events": _whole(Effect.WATCH_LATE),
    "killed": _whole(Effect.KILLED),
    "stopped": _pieces(Effect.STOPPED, 60.0),
    "restarted": _pieces(Effect.RESTARTED, 1.0),
    "clock": _pieces(Effect.CLOCK, 1.0),
    "prometheus": lambda dice, span: _pieces(
        dice.choice(
            (
                Effect.METRICS_DOWN,
                Effect.METRICS_SLOW,
                Effect.METRICS_STALE,
                Effect.METRICS_EMPTY,
            )
        ),
        90.0,
    )(dice, span),
    "pages": _pieces(Effect.PAGES_DOWN, 60.0),
    "channels": _whole(Effect.CHANNELS_DEAD, Effect.CHANNELS_HUNG),
    "cluster": _whole(Effect.CLUSTER_SLOW),
    "mixed": lambda dice, span: [
        spell
        for name in dice.sample([one for one in FAULTS if one not in ("none", "mixed")], 3)
        for spell in FAULTS[name](dice, span)
    ],
}
KINDS = tuple(FAULTS)


def plain(seed: int) -> Scenario:
    """Draw a scenario with faults and nobody but those who release."""
    dice = random.Random(f"scenario {seed}")
    fault = KINDS[seed % len(KINDS)]
    operators = 2 if dice.random() < 0.5 or fault in ("stopped", "restarted") else 1
    released = dice.uniform(*RELEASED)
    deeds = _deeds(dice, released)
    start = max(0.0, released + dice.uniform(-25.0, 25.0))
    span = Span(start, start + dice.uniform(20.0, 200.0), operators)
    surge, unavailable = dice.choice((("25%", "25%"), ("1", "0"), ("50%", "25%"), ("0", "1")))
    made = Scenario(
        seed=seed,
        fault=fault,
        replicas=dice.choice((2, 3, 4, 6)),
        rps=dice.choice((20.0, 40.0, 80.0)),
        surge=surge,
        unavailable=unavailable,
        pace=dice.choice((Pace(), Pace(ready=(4.0, 15.0)))),
        operators=operators,
        offsets=tuple(_offset(dice, fault) for _ in range(operators)),
        renames=dice.random() < 0.5,
        is_known=dice.random() < 0.8,
        policy=_policy(dice),
        deeds=deeds,
        spells=tuple(FAULTS[fault](dice, span)),
        reflex=_reflex(random.Random(f"reflex {seed}")),
    )
    past = _past(random.Random(f"past {seed}"), made.is_known)
    return replace(made, past=past)


def _past(dice: random.Random, is_known: bool) -> tuple[Release, ...]:
    """Draw what ran before; only who has seen it can know that it was bad."""
    pasts = [(False,), (False, False)] + ([(False, True), (True,)] if is_known else [])
    if dice.random() >= HAS_PAST:
        return ()
    return tuple(
        Release(APP, OLDEST + number, Truth.FAILING if is_bad else Truth.HEALTHY, float(is_bad))
        for number, is_bad in enumerate(dice.choice(pasts))
    )


def _reflex(dice: random.Random) -> Reflex | None:
    if dice.random() >= REACTING:
        return None
    cue = dice.choice(tuple(REACTIONS))
    within = dice.choice(WITHIN[cue])
    return Reflex(cue, within, dice.choice(REACTIONS[cue]), a_release(dice, HASTY))


def _offset(dice: random.Random, fault: str) -> float:
    is_wrong = fault in ("clock", "mixed") and dice.random() < 0.4
    return dice.uniform(-FURTHEST, FURTHEST) if is_wrong else 0.0


def _deeds(dice: random.Random, released: float) -> tuple[Deed, ...]:
    first = a_release(dice, 2)
    deeds = [Deed(released, Act.RELEASE, first)]
    now, version = released, 3
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2))):
        now += dice.choice((dice.uniform(0.5, 15.0), dice.uniform(10.0, 150.0)))
        act = dice.choice(LATER)
        release = a_release(dice, version) if act is Act.RELEASE else None
        deeds.append(Deed(now, act, release))
        version += 1
        if act is Act.SUSPEND and dice.random() < 0.5:
            now += dice.uniform(5.0, 60.0)
            deeds.append(Deed(now, Act.RESUME))
    return tuple(deeds)


def a_release(dice: random.Random, version: int) -> Release:
    """Draw a release that is good or bad."""
    draw_ = dice.random()
    if draw_ < 0.35:
        return Release(APP, version)
    if draw_ < 0.75:
        return Release(APP, version, Truth.FAILING, dice.choice((0.3, 0.6, 1.0)))
    return Release(APP, version, dice.choice((Truth.CRASHING, Truth.UNREADY)))


def _policy(dice: random.Random) -> dict[str, Any]:
    return {
        "targetRef": {"kind": "Deployment", "name": APP},
        "mode": "Enforce" if dice.random() < 0.95 else "Observe",
        "podMetrics": {"everyMilliseconds": dice.choice((0, 0, 500, 2000))},
        "stage": {"maxSeconds": dice.choice((0, 0, 60))},
        "safety": {
            "pauseOnSuspicion": dice.random() < 0.8,
            "maxPauseSeconds": dice.choice((60, 300)),
            "stuckAfterSeconds": 60,
            "express": dice.choice((["P1"], [], ["P1", "P2"])),
            "maxRollbacksPerDay": 20,
        },
        "verification": {"timeoutSeconds": 120},
        "notify": [
            {"name": name, "type": "Webhook", "url": f"http://{name}.production.svc/hook"}
            for name in ("first", "second")[: dice.choice((1, 2))]
        ],
    }
