"""Who else is at work besides those who release: people and tenants, drawn from the seed.

Faults strike calls; actors change objects. Each kind of actor is a maker of deeds, spells and
changes to the policy; every pair of a kind of fault and a kind of actor is drawn in turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.simulation.releases import Release, Truth
from bench.simulation.scenario import (
    APP,
    HASTY,
    KINDS,
    OLDEST,
    OPERATORS,
    WITHIN,
    Act,
    Cue,
    Deed,
    Reflex,
    Scenario,
    a_release,
    plain,
)
from bench.simulation.weather import Effect, Spell

OTHER = "basket"
"""Another Deployment in the namespace, which a policy may be made to name."""
ABSENT = 3600.0
"""Seconds for which the operator is down."""
SHIPPED = 20
"""Version of the first release that an actor brings."""


@dataclass(frozen=True, slots=True)
class Team:
    """What a kind of actor adds to a scenario."""

    deeds: tuple[Deed, ...] = ()
    spells: tuple[Spell, ...] = ()
    policy: Mapping[str, Any] | None = None
    """Fields of the policy's spec that are other than drawn."""
    is_alone: bool = False
    """Nothing but what this actor does is done."""
    is_known: bool | None = None
    names_config: bool = False
    operators: int | None = None
    past: tuple[Release, ...] | None = None
    reflex: Reflex | None = None
    """What is done once an operator acts; None: what was drawn for everybody."""


Maker = Callable[[random.Random, float], Team]


def _times(dice: random.Random, around: float, count: int) -> list[float]:
    """Draw moments before, during and after a release."""
    spans = ((-20.0, 0.0), (0.0, 15.0), (5.0, 60.0), (30.0, 200.0))
    return sorted(max(1.0, around + dice.uniform(*dice.choice(spans))) for _ in range(count))


def _on_cue(dice: random.Random, deed: Deed, then: Deed | None = None) -> Reflex | None:
    """Do something just when an operator acts, half of the time."""
    if dice.random() < 0.5:
        return None
    cue = dice.choice((Cue.INTENT, Cue.INTENT, Cue.HELD, Cue.SENT, Cue.UNDONE))
    release = deed.release or a_release(dice, HASTY)
    return Reflex(cue, dice.choice(WITHIN[cue]), deed.act, release, deed.value, then)


def _editor(dice: random.Random, released: float) -> Team:
    deeds = []
    for at in _times(dice, released, dice.choice((1, 2, 3, 4))):
        if dice.random() < 0.15:
            deeds.append(Deed(at, Act.STRATEGY, value=dice.choice(("1", "50%"))))
        else:
            deeds.append(Deed(at, Act.EDIT, value=dice.choice(EDITS)))
            if dice.random() < 0.6:
                deeds.append(Deed(at + dice.uniform(1.0, 90.0), Act.EDIT, value=None))
    back = Deed(dice.uniform(1.0, 90.0), Act.EDIT) if dice.random() < 0.5 else None
    reflex = _on_cue(dice, Deed(0.0, Act.EDIT, value=dice.choice(EDITS)), back)
    return Team(tuple(deeds) if reflex is None else (), reflex=reflex)


REPORTS = [{"severity": "P1", "when": [{"signal": "Unavailable"}], "response": "Report"}]
EDITS: tuple[Mapping[str, Any], ...] = (
    {"mode": "Observe"},
    {"suspend": True},
    {"matrix": REPORTS},
    {"remedies": [{"type": "Undo", "to": "Previous"}]},
    {"remedies": [{"type": "Undo", "to": "LastKnownGood", "severities": ["P4"]}]},
    {"safety": {"badOdds": 1_000_000}},
    {"safety": {"suspectOdds": 20, "badOdds": 1000}},
    {"safety": {"pauseOnSuspicion": False, "express": []}},
    {"safety": {"watchSeconds": 600, "goodAfterSeconds": 60}},
    {"stage": {"maxSeconds": 60}},
    {"verification": {"timeoutSeconds": 60}},
    {"notify": []},
)
"""What people set in a policy; None: all is as it was at first."""


def _breaker(dice: random.Random, released: float) -> Team:
    at, *_ = _times(dice, released, 1)
    broken = Deed(at, Act.BREAK, value=dice.choice(BROKEN))
    seconds = dice.uniform(1.0, 120.0)
    is_mended = dice.random() < 0.6
    reflex = _on_cue(dice, broken, Deed(seconds, Act.MEND) if is_mended else None)
    deeds = (broken, Deed(at + seconds, Act.MEND)) if is_mended else (broken,)
    return Team(deeds if reflex is None else (), reflex=reflex)


BROKEN: tuple[Mapping[str, Any], ...] = (
    {"mode": "Automatic"},
    {"safety": {"watchSeconds": "long"}},
    {"matrix": [{"severity": "P9", "response": "Rollback"}]},
    {"notify": [{"name": "first", "type": "Pigeon"}]},
)
"""What an older CRD would admit."""


def _retargeter(dice: random.Random, released: float) -> Team:
    at, *_ = _times(dice, released, 1)
    seconds = dice.uniform(0.2, 120.0)
    is_back = dice.random() < 0.6
    again = at + seconds + dice.uniform(20.0, 120.0)
    deeds = [Deed(at, Act.RETARGET), Deed(again, Act.RELEASE, a_release(dice, SHIPPED))]
    if is_back:
        deeds.append(Deed(at + seconds, Act.TARGET_BACK))
    back = Deed(seconds, Act.TARGET_BACK) if is_back else None
    reflex = _on_cue(dice, Deed(0.0, Act.RETARGET), back)
    return Team(tuple(deeds) if reflex is None else (), reflex=reflex)


def _second(dice: random.Random, released: float) -> Team:
    times = _times(dice, released, dice.choice((1, 2, 3)))
    deeds = [Deed(at, Act.SECOND_POLICY) for at in times]
    if dice.random() < 0.4:
        deeds.append(Deed(times[0] + dice.uniform(1.0, 90.0), Act.DELETE_POLICY))
    return Team(tuple(deeds), reflex=_on_cue(dice, Deed(0.0, Act.DELETE_POLICY)))


def _shipper(dice: random.Random, released: float) -> Team:
    deeds, version = [], SHIPPED
    for at in _times(dice, released, dice.choice((2, 3, 4, 6))):
        act = dice.choice(SHIPPING)
        if act is Act.RELEASE:
            deeds.append(Deed(at, act, a_release(dice, version)))
            version += 1
        elif act is Act.SCALE:
            deeds.append(Deed(at, act, value=dice.choice((0, 1, 3, 8))))
            deeds.append(Deed(at + dice.uniform(1.0, 60.0), act, value=dice.choice((2, 4))))
        elif act is Act.STRATEGY:
            deeds.append(Deed(at, act, value=dice.choice(("1", "50%"))))
        elif act is Act.PAUSE:
            deeds.append(Deed(at, act))
            deeds.append(Deed(at + dice.uniform(1.0, 90.0), Act.LIFT))
        else:
            deeds.append(Deed(at, act))
    act, value = dice.choice(ON_CUE)
    back = Deed(dice.uniform(1.0, 60.0), Act.SCALE, value=3) if act is Act.SCALE else None
    reflex = _on_cue(dice, Deed(0.0, act, value=value), back)
    return Team(tuple(deeds), reflex=reflex)


ON_CUE: tuple[tuple[Act, Any], ...] = (
    *((Act.UNDO_ALONE, None), (Act.RESTART, None), (Act.PAUSE, None), (Act.LIFT, None)),
    *((Act.SCALE, 0), (Act.SCALE, 8), (Act.STRATEGY, "1"), (Act.STRATEGY, "50%")),
)
SHIPPING = (
    *(Act.RELEASE, Act.UNDO_ALONE, Act.RESTART) * 2,
    *(Act.REVERT, Act.RELEASE_AGAIN, Act.PAUSE, Act.LIFT, Act.SCALE, Act.STRATEGY),
)


def _asker(dice: random.Random, released: float) -> Team:
    deeds, spells = [], []
    for number, at in enumerate(_times(dice, released, dice.choice((1, 2, 3)))):
        deeds.append(Deed(at, Act.ASK))
        if dice.random() < 0.5:
            # Asked and forgotten: something else is shipped before anybody answers.
            release = a_release(dice, SHIPPED + number)
            deeds.append(Deed(at + dice.uniform(0.0, 30.0), Act.RELEASE, release))
        if dice.random() < 0.4:
            since = at - dice.uniform(0.1, 20.0)
            until = at + dice.choice((30.0, 120.0, 700.0))
            spells.append(Spell(Effect.DOWN, max(0.5, since), until))
        elif dice.random() < 0.4:
            deeds.append(Deed(at - dice.uniform(0.1, 1.0), Act.DELETE_POLICY))
            deeds.append(Deed(at + dice.choice((1.0, 60.0)), Act.REMAKE_POLICY))
    return Team(tuple(deeds), tuple(spells))


def _approver(dice: random.Random, released: float) -> Team:
    ask = {"timeoutSeconds": dice.choice((30, 90)), "onTimeout": dice.choice(TIMEOUTS)}
    deeds = [
        Deed(at, dice.choice((Act.APPROVE, Act.APPROVE, Act.REJECT)))
        for at in _times(dice, released, dice.choice((1, 2, 4, 6)))
    ]
    if dice.random() < 0.3:
        deeds.append(Deed(released + dice.uniform(5.0, 60.0), Act.ASK))
    policy = {"approval": ask, "safety": {"requireVerified": True}}
    return Team(tuple(deeds), policy=policy, is_known=False)


TIMEOUTS = ("Abandon", "Abandon", "Proceed")


def _loser(dice: random.Random, released: float) -> Team:
    deeds, now = [], released
    for _ in range(dice.choice((1, 1, 2))):
        lost, found = dice.choice(
            ((Act.LOSE_CONFIG, Act.BRING_CONFIG),) * 2 + ((Act.LOSE_SETS, Act.BRING_SETS),)
        )
        at = max(1.0, now + dice.uniform(-15.0, 20.0))
        deeds += [Deed(at, lost), Deed(at + dice.uniform(2.0, 90.0), found)]
        now += 100.0
    lost, found = dice.choice(
        ((Act.LOSE_CONFIG, Act.BRING_CONFIG), (Act.LOSE_SETS, Act.BRING_SETS))
    )
    reflex = _on_cue(dice, Deed(0.0, lost), Deed(dice.uniform(2.0, 90.0), found))
    return Team(tuple(deeds), names_config=True, reflex=reflex)


def _remaker(dice: random.Random, released: float) -> Team:
    at, *_ = _times(dice, released, 1)
    again = Deed(at + dice.uniform(30.0, 120.0), Act.RELEASE, a_release(dice, SHIPPED))
    deeds = (Deed(at, Act.REMAKE_TARGET), *((again,) if dice.random() < 0.7 else ()))
    reflex = _on_cue(dice, Deed(0.0, Act.REMAKE_TARGET))
    return Team(deeds if reflex is None else (again,), reflex=reflex)


def _hanger(dice: random.Random, released: float) -> Team:
    effects = dice.sample(HANGING, dice.choice((1, 1, 2)))
    spells = []
    for one in effects:
        start = max(0.5, released + dice.uniform(-30.0, 30.0))
        longest = 40.0 if one is Effect.API_HUNG else 400.0
        spells.append(Spell(one, start, start + dice.uniform(5.0, longest)))
    deeds: tuple[Deed, ...] = ()
    if dice.random() < 0.6:
        deeds = (Deed(released + dice.uniform(1.0, 40.0), Act.ASK),)
    return Team(deeds, tuple(spells))


HANGING = (Effect.METRICS_HUNG, Effect.METRICS_HUNG, Effect.API_HUNG, Effect.CHANNELS_HUNG)


def _absent(dice: random.Random, released: float) -> Team:
    down = max(1.0, released + dice.uniform(-30.0, 40.0))
    until = down + ABSENT
    deeds = []
    for number in range(dice.choice((0, 1, 2))):
        at = dice.choice((down + dice.uniform(1.0, ABSENT), until - dice.uniform(1.0, 120.0)))
        act = dice.choice((Act.RELEASE, Act.ASK, Act.UNDO_ALONE, Act.RESTART, Act.REMAKE_POLICY))
        release = a_release(dice, SHIPPED + number) if act is Act.RELEASE else None
        deeds.append(Deed(at, act, release))
    deeds.append(Deed(until + dice.uniform(5.0, 60.0), Act.RELEASE, a_release(dice, SHIPPED + 9)))
    return Team(tuple(deeds), (Spell(Effect.DOWN, down, until),))


def _restorer(dice: random.Random, released: float) -> Team:
    backed_up = max(1.0, released + dice.uniform(-20.0, 60.0))
    at = backed_up + dice.uniform(5.0, 200.0)
    act = dice.choice((Act.RESTORE, Act.RESTORE_ANEW))
    deeds = [Deed(backed_up, Act.BACK_UP), Deed(at, act, value=dice.random() < 0.5)]
    if dice.random() < 0.5:
        release = dice.choice((None, a_release(dice, SHIPPED)))
        then = Act.RELEASE_AGAIN if release is None else Act.RELEASE
        deeds.append(Deed(at + dice.uniform(0.5, 60.0), then, release))
    back = Deed(dice.uniform(5.0, 200.0), act, value=dice.random() < 0.5)
    return Team(tuple(deeds), reflex=_on_cue(dice, Deed(0.0, Act.BACK_UP), back))


def _lingerer(dice: random.Random, released: float) -> Team:
    """Let a release that is looked into, or that people took back, be followed by a bad one."""
    first = Release(APP, 2, Truth.RESTARTING)
    healthy = Release(APP, 3)
    now = released + dice.uniform(150.0, 300.0)
    deeds = [Deed(released, Act.RELEASE, dice.choice((first, first, healthy)))]
    if dice.random() < 0.5:
        deeds.append(Deed(now, dice.choice((Act.ASK, Act.UNDO_ALONE, Act.RESTART))))
        now += dice.uniform(20.0, 150.0)
    if dice.random() < 0.3:
        deeds.append(Deed(now - 10.0, Act.TRUST))
    deeds.append(Deed(now, Act.RELEASE, Release(APP, SHIPPED, Truth.FAILING, 1.0)))
    return Team(tuple(deeds), policy={"safety": {"goodAfterSeconds": 60}}, is_alone=True)


def _spoiler(dice: random.Random, released: float) -> Team:
    """Let what is gone back to not come up any more: a rollback is not rolled back."""
    bad = Release(APP, 2, Truth.FAILING, dice.choice((0.3, 1.0)))
    deeds = [Deed(released, Act.RELEASE, bad)]
    if dice.random() < 0.6:
        deeds.append(Deed(released + dice.uniform(60.0, 150.0), Act.RESTART))
    reflex = Reflex(Cue.SENT, 0.05, Act.SPOIL, bad)
    older = (Release(APP, OLDEST),)
    return Team(tuple(deeds), reflex=reflex, is_alone=True, is_known=True, past=older)


def _orphans(dice: random.Random, released: float) -> Team:
    return Team()


def _successor(dice: random.Random, released: float) -> Team:
    """Let an operator take over that no watch has told anything since the release."""
    first, second = OPERATORS
    blind = Spell(Effect.WATCH_MUTE, max(1.0, released - 15.0), released + 200.0, second)
    ends = [released + dice.uniform(5.0, 90.0) for _ in range(dice.choice((1, 2)))]
    spells = [blind, *(Spell(Effect.RESTARTED, at, at + 1.0, first) for at in ends)]
    deeds = [Deed(at + dice.uniform(-15.0, 5.0), Act.ASK) for at in ends if dice.random() < 0.7]
    return Team(tuple(deeds), tuple(spells), operators=2)


ACTORS: Mapping[str, Maker] = {
    "nobody": lambda dice, released: Team(),
    "editor": _editor,
    "breaker": _breaker,
    "retargeter": _retargeter,
    "second policy": _second,
    "shipper": _shipper,
    "asker": _asker,
    "approver": _approver,
    "loser": _loser,
    "remaker": _remaker,
    "hanging servers": _hanger,
    "absent operator": _absent,
    "restorer": _restorer,
    "lingerer": _lingerer,
    "spoiler": _spoiler,
    "orphans": _orphans,
    "blind successor": _successor,
}
"""By the name of who it is."""


def draw(seed: int) -> Scenario:
    """Draw a scenario. Seeds that follow each other go through all faults, and all actors."""
    scenario = plain(seed)
    actor = tuple(ACTORS)[seed // len(KINDS) % len(ACTORS)]
    dice = random.Random(f"actor {seed}")
    released = scenario.deeds[0].at
    team = ACTORS[actor](dice, released)
    deeds = team.deeds if team.is_alone else (*scenario.deeds, *team.deeds)
    policy = merged(scenario.policy, team.policy or {})
    made = replace(
        scenario,
        actor=actor,
        deeds=tuple(sorted(deeds, key=lambda one: one.at)),
        spells=(*scenario.spells, *team.spells),
        policy=policy,
        reflex=scenario.reflex if team.reflex is None else team.reflex,
        is_known=scenario.is_known if team.is_known is None else team.is_known,
        names_config=team.names_config,
    )
    if team.past is not None:
        made = replace(made, past=team.past)
    if team.operators is not None:
        offsets = (*scenario.offsets, 0.0)[: team.operators]
        made = replace(made, operators=team.operators, offsets=offsets)
    if team.is_known is False:
        # Who has not seen what ran before cannot know that it was bad.
        made = replace(made, past=tuple(one for one in made.past if not one.is_bad))
    return _configured(made) if team.names_config else made


def merged(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set fields of a spec; objects are merged, everything else is replaced."""
    made = dict(spec)
    for name, value in changes.items():
        is_object = isinstance(value, Mapping) and isinstance(made.get(name), Mapping)
        made[name] = {**made[name], **value} if is_object else value
    return made


def _configured(scenario: Scenario) -> Scenario:
    """Have all releases name a ConfigMap and a Secret."""

    def named(release: Release) -> Release:
        return replace(release, names_config=True)

    deeds = (
        one if one.release is None else replace(one, release=named(one.release))
        for one in scenario.deeds
    )
    reflex = scenario.reflex
    return replace(
        scenario,
        deeds=tuple(deeds),
        past=tuple(map(named, scenario.past)),
        reflex=None if reflex is None else replace(reflex, release=named(reflex.release)),
    )
