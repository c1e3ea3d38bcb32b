"""The verbs that read the record, and those that leave a request for the agent."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollback_operator.adapters.compose.ledger import LedgerState, ServiceRecord, holder_of, read
from rollback_operator.adapters.compose.project import OVERRIDE
from rollback_operator.api.v1alpha1 import API_VERSION, RollbackPolicy
from rollback_operator.cli.compose import inbox
from rollback_operator.cli.compose.words import ComposeWords
from rollback_operator.cli.plugin.explanation import explain_policy, explain_rollback
from rollback_operator.cli.plugin.next_step import next_action, rollback_headline
from rollback_operator.cli.plugin.overview import history_page, status_page
from rollback_operator.cli.plugin.page import Paint, TextPage
from rollback_operator.cli.plugin.record import Record, newest_first
from rollback_operator.ports.failure import Failure

FOLLOW_SECONDS = 0.3
ANSWERED_SECONDS = 1800.0
"""An undo waits for its verification; the agent goes on after that."""
RESTART_SECONDS = 30.0
"""Without an agent: systemd may be starting it again."""
MOST_LOOKS = 20
"""Of an undo's own agent, until it asks although a release cannot be evaluated."""
GOOD_ENDS = ("Verified",)


class NoAnswerError(Exception):
    """The record has no answer; the text names the argument and the remedy."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """The record, as the plugin's pages read objects."""

    state: LedgerState

    @property
    def rollbacks(self) -> list[Record]:
        """Rollbacks and requests, newest first."""
        return newest_first([Record(raw) for raw in self.state.rollbacks.values()])

    def rollback(self, name: str) -> Record | None:
        """Find a rollback."""
        raw = self.state.rollbacks.get(name)
        return None if raw is None else Record(raw)

    @property
    def policies(self) -> list[Record]:
        """The policies of the agent's file by name, as far as the record holds them."""
        return [each for each in self.all_policies if self.state.policies[each.name].watched]

    @property
    def all_policies(self) -> list[Record]:
        """The policies by name, also those that the file no longer has."""
        return [Record(_policy(name, self.state)) for name in sorted(self.state.policies)]

    def policy_of(self, rollback: Record) -> Record:
        """Return the policy of a rollback; empty: the record does not hold it."""
        name = rollback.text("spec.policyRef.name")
        return next((each for each in self.all_policies if each.name == name), Record())


Follow = Callable[[StoredRecord], int | None]
"""Prints what is new of an undo; gives the exit status once it is over."""


def is_watched(folder: Path) -> bool:
    """Tell whether an agent runs."""
    return bool(holder_of(folder))


def answer(verb: str, name: str, reason: str, folder: Path, words: ComposeWords) -> int:
    """Answer a verb and return the exit status.

    Raises:
        NoAnswerError: nothing is on record, or no such name.
    """
    known = StoredRecord(read(folder))
    if not known.all_policies:
        raise NoAnswerError(f"{folder}: nothing is on record: start the agent first")
    page, now = TextPage(Paint(sys.stdout.isatty())), datetime.now(UTC)  # noqa: TID251 (for ages)
    match verb:
        case "status":
            _status(page, known, folder, now)
        case "history":
            history_page(page, known.rollbacks, (False, False), now)
        case "explain":
            _explain(page, known, name)
        case _:
            return _decide(verb, known, name, reason, folder)
    print(words.text(page.text()))  # noqa: T201 (this command's output)
    return 0


@dataclass(frozen=True, slots=True)
class UndoOrder:
    """An undo as a person types it."""

    policy: str
    to: str
    reason: str

    def check(self) -> None:
        """Check the options.

        Raises:
            NoAnswerError: one is missing or wrong.
        """
        if not self.reason:
            raise NoAnswerError("--reason: say why, for the record: --reason 'cannot buy tickets'")
        to = self.to
        is_number = to.isascii() and to.isdecimal() and 0 < int(to[:10]) < 2**31
        if to not in ("", "previous") and not is_number:
            raise NoAnswerError(
                f"--to: {to!r} is neither a revision's number nor previous: see history"
            )

    def ask(self, folder: Path) -> str:
        """Leave the request, and return the name of the rollback to be.

        Raises:
            NoAnswerError: there is no such policy, or the request cannot be left.
        """
        policy = _chosen(StoredRecord(read(folder)), self.policy, folder)
        running = policy.part("status.revision")
        if not running.number("number"):
            raise NoAnswerError(
                f"{policy.name}: the agent has not seen its service yet: start it first"
            )
        made = inbox.name_of(policy.name)
        asked = inbox.Asked(
            verb="undo",
            name=made,
            reason=self.reason[:1024],
            policy=policy.name,
            to=self.to,
            revision=running.number("number"),
            digest=running.text("digest"),
        )
        _leave(folder, asked)
        return made


@dataclass
class OwnUndo:
    """An undo whose command is the agent too.

    It asks only after a look of its own: the record may be of a release that runs no more.
    """

    order: UndoOrder
    folder: Path
    words: ComposeWords
    status: int | None = None
    """The exit status once it has ended."""
    _looks: int = 0
    _asked: str = ""
    _follow: Follow | None = None

    def is_over(self, known: StoredRecord) -> bool:
        """Go on, between two looks of the agent."""
        self._looks += 1
        if self._follow is not None:
            self.status = self._follow(known)
        elif (self._looks > 1 and _is_seen(known)) or self._looks > MOST_LOOKS:
            self._asked = self.order.ask(self.folder)
            self._follow = follower(self._asked, self.words)
        return self.status is not None

    def end(self) -> int:
        """Return the exit status.

        Raises:
            NoAnswerError: it was stopped before its end.
        """
        if self.status is None:
            on_record = "the next agent continues what is on record: see history"
            raise NoAnswerError(f"stopped before the end of the undo: {on_record}")
        return self.status

    def withdraw(self) -> None:
        """Remove a request that was not taken: the next agent would take it."""
        if self._asked:
            inbox.path_of(self.folder, self._asked, "undo").unlink(missing_ok=True)


def _is_seen(known: StoredRecord) -> bool:
    """Report whether each release that runs, and that a policy names, was evaluated."""
    evaluated = {each.part("status.revision").text("digest") for each in known.policies}
    services = known.state.services.values()
    return {each.current for each in services if each.watched} <= evaluated


def follower(name: str, words: ComposeWords) -> Follow:
    """Follow a rollback through the record."""
    printed: list[str] = []

    def say(text: str) -> None:
        if text not in printed:
            printed.append(text)
            print(words.text(text), flush=True)  # noqa: T201 (this command's output)

    def follow(known: StoredRecord) -> int | None:
        rollback = known.rollback(name)
        if rollback is None:
            say(f"undo requested: {name}")
            return None
        outcome = rollback.text("status.outcome")
        if not outcome:
            step = rollback.text("status.step") or "is planned"
            asked = f": {next_action(rollback)}" if step == "AwaitingApproval" else ""
            say(f"{name}: {step}{asked}")
            return None
        page = TextPage(Paint(sys.stdout.isatty()))
        rollback_headline(page, rollback, known.policy_of(rollback))
        say(page.text())
        return 0 if outcome in GOOD_ENDS else 1

    return follow


def wait(folder: Path, follow: Follow) -> int:
    """Wait for an undo to end, and return the exit status.

    Raises:
        NoAnswerError: it has not ended, and perhaps no agent is left that could end it.
    """
    now = time.monotonic()
    until, agent_until = now + ANSWERED_SECONDS, now + RESTART_SECONDS
    while now < until:
        status = follow(StoredRecord(read(folder)))
        if status is not None:
            return status
        if is_watched(folder):
            agent_until = now + RESTART_SECONDS
        elif now > agent_until:
            raise NoAnswerError("no agent runs any more: the undo waits until it is started again")
        time.sleep(FOLLOW_SECONDS)
        now = time.monotonic()
    raise NoAnswerError("the undo goes on: see status and explain")


def _decide(verb: str, known: StoredRecord, name: str, reason: str, folder: Path) -> int:
    """Leave a decision on a rollback that waits for it."""
    waiting = [
        each
        for each in known.rollbacks
        if each.text("status.step") == "AwaitingApproval" and not each.text("status.outcome")
    ]
    chosen = next((each for each in waiting if name in ("", each.name)), None)
    if chosen is None:
        listed = ", ".join(each.name for each in waiting) or "none"
        raise NoAnswerError(f"{verb}: no such rollback waits for a decision; waiting: {listed}")
    if not reason:
        raise NoAnswerError("--reason: say why, for the record")
    if not is_watched(folder):
        raise NoAnswerError("no agent runs, so nothing waits: start it; it asks again")
    digest = chosen.text("status.planDigest")
    asked = inbox.Asked(verb=verb, name=chosen.name, reason=reason[:1024], digest=digest)
    _leave(folder, asked)
    text = f"{verb}: left for the agent: {chosen.name}; explain shows what becomes of it"
    print(text)  # noqa: T201 (this command's output)
    return 0


def _leave(folder: Path, asked: inbox.Asked) -> None:
    failure = inbox.leave(folder, asked)
    if isinstance(failure, Failure):
        raise NoAnswerError(failure.message)


def _chosen(known: StoredRecord, name: str, folder: Path) -> Record:
    named = [each for each in known.policies if name in ("", each.name)]
    if len(named) == 1:
        return named[0]
    listed = ", ".join(each.name for each in known.policies)
    if not listed:
        raise NoAnswerError(f"{folder}: nothing is on record: start the agent first")
    raise NoAnswerError(f"NAME: name one policy: {listed}")


def _status(page: TextPage, known: StoredRecord, folder: Path, now: datetime) -> None:
    in_progress = {
        (each.namespace, each.text("spec.policyRef.name")): each
        for each in known.rollbacks
        if not each.text("status.outcome")
    }
    status_page(page, known.policies, in_progress, (False, False), now)
    holder = holder_of(folder)
    page.line()
    page.line(f"agent: process {holder}" if holder else "agent: none runs; nothing is watched")
    for name, record in sorted(known.state.policies.items()):
        if not record.watched:
            page.line(f"policy {name}: the file no longer has it")
    for name, service in sorted(known.state.services.items()):
        current = next((x for x in service.revisions if x.revision == service.current), None)
        runs = f"revision {current.number}, {current.image}" if current else "no container yet"
        page.line(f"service {name}: {runs}{_pin_of(service, folder)}")


def _pin_of(service: ServiceRecord, folder: Path) -> str:
    """State a pin, and what ends it."""
    if not service.pinned:
        return "" if service.watched else "; no policy names it"
    unwatched = "" if service.watched else ", and no policy names it"
    override = folder / OVERRIDE
    return f"; pinned by {override}{unwatched}: a plain `up` from your own files ends that"


def _explain(page: TextPage, known: StoredRecord, name: str) -> None:
    rollback = known.rollback(name)
    policy = next((each for each in known.all_policies if each.name == name), None)
    if not name:
        rollback = next(iter(known.rollbacks), None)
        policy = next(iter(known.policies), None) if rollback is None else None
    if rollback is not None:
        explain_rollback(page, rollback, known.policy_of(rollback))
    elif policy is not None:
        explain_policy(page, policy)
    else:
        listed = ", ".join(each.name for each in (*known.all_policies, *known.rollbacks))
        raise NoAnswerError(f"NAME: there is no {name!r}; known: {listed}")


def _policy(name: str, state: LedgerState) -> dict[str, Any]:
    stored = state.policies[name]
    metadata = {
        "name": name,
        "namespace": stored.namespace,
        "creationTimestamp": stored.created,
    }
    spec = {"targetRef": {"name": stored.target}, "mode": stored.mode}
    kind = {"apiVersion": API_VERSION, "kind": RollbackPolicy.KIND}
    return {**kind, "metadata": metadata, "spec": spec, "status": stored.status}
