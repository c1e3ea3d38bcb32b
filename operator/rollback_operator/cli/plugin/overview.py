"""`status` and `history`: one line a policy, one line a rollback."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from rollback_operator.cli.plugin import headline
from rollback_operator.cli.plugin.page import TextPage, age, clock, span
from rollback_operator.cli.plugin.record import Record, decided, decided_time, way, word

_HEADS = (
    *("POLICY", "TARGET", "MODE", "READY", "STATUS"),
    *("SEVERITY", "REVISION", "LAST ROLLBACK", "AGE"),
)
_WIDE_HEADS = ("VERDICT", "GOOD", "WHY")
_HISTORY = ("ROLLBACK", "POLICY", "SEVERITY", "FROM", "TO", "STEP", "OUTCOME", "TOOK", "AGE")
_HISTORY_WIDE = ("BY", "WHY")
_DOUBTFUL = ("NoVerdict", "Suspect", "Bad")
"""Words that say nothing without a reason."""


def status_page(
    page: TextPage,
    policies: Sequence[Record],
    waiting: Mapping[tuple[str, str], Record],
    shape: tuple[bool, bool],
    now: datetime,
) -> None:
    """Tell how each policy's release does.

    Args:
        page: where to.
        policies: as they are stored.
        waiting: the Rollbacks that wait for a person, by namespace and name of their policy.
        shape: whether namespaces are shown, and whether all columns are.
        now: for ages.
    """
    has_namespaces, is_wide = shape
    heads = [
        *(("NAMESPACE",) if has_namespaces else ()),
        *_HEADS,
        *(_WIDE_HEADS if is_wide else ()),
    ]
    rows = []
    for one in policies:
        last = one.part("status.lastRollback")
        told = last.text("outcome") or ("running" if last.raw else "")
        since = age(last.time("time"), now)
        row = [
            *((one.namespace,) if has_namespaces else ()),
            one.name,
            one.text("spec.targetRef.name"),
            one.text("spec.mode"),
            one.condition("Ready").text("status") or "-",
            word(one) or "-",
            _severity(one),
            one.text("status.revision.number") or "-",
            f"{told} {since}" if told else "-",
            age(one.time("metadata.creationTimestamp"), now),
        ]
        if is_wide:
            healthy, ready = one.condition("Healthy"), one.condition("Ready")
            row += [
                one.text("status.verdict") or "-",
                one.text("status.lastKnownGood.number") or "-",
                _one_line(healthy.text("message") or ready.text("message")),
            ]
        rows.append(row)
    page.table(heads, rows)
    for one in policies:
        name = f"{one.namespace}/{one.name}" if has_namespaces else one.name
        if word(one) == "AwaitingApproval":
            _question(page, name, one, waiting.get((one.namespace, one.name)))
        _concerns(page, name, one)


def _severity(policy: Record) -> str:
    known = policy.text("status.severity")
    return "-" if known in ("", "None") else known


def _question(page: TextPage, name: str, policy: Record, waiting: Record | None) -> None:
    """Say below the table what a person is asked, until when, and how the answer is given."""
    asked = policy.text("status.lastRollback.name")
    said = f"what a person is asked: kubectl rollback explain {asked} -n {policy.namespace}"
    if waiting is not None:
        said = _one_line(headline.following(waiting))
    page.line(f"{name}: {page.paint.word('AwaitingApproval')}: {said}")


def _concerns(page: TextPage, name: str, policy: Record) -> None:
    """Say below the table what keeps a policy from its work, with the remedy in its words."""
    healthy, known = policy.condition("Healthy"), word(policy)
    said = _one_line(healthy.text("message"))
    if "Not rolled back: " in said:
        evidence, _, why = said.partition(". Not rolled back: ")
        said = f"{healthy.text('reason')}: not rolled back: {why}. Why it is bad: {evidence}"
        page.line(f"{name}: {page.paint.word('Bad')} {said}")
    elif said and (known in _DOUBTFUL or headline.are_pods_prevented(policy)):
        page.line(f"{name}: {page.paint.word(known)} {healthy.text('reason')}: {said}")
        page.line(f"{name}: next: {headline.following_policy(policy)}")
    ready = policy.condition("Ready")
    if known == "Suspended" and ready.text("reason") == known:
        page.line(f"{name}: {page.paint.word(known)}: {_one_line(ready.text('message'))}")
        page.line(f"{name}: next: {headline.following_policy(policy)}")
    for kind in ("Ready", "MetricsAvailable", "SlowSignalsAvailable", "Notified", "Trusted"):
        found = policy.condition(kind)
        if found.text("status") == "False":
            said = f"{name}: {kind}={page.paint.word('False')}"
            page.line(f"{said} {found.text('reason')}: {_one_line(found.text('message'))}")


def history_page(
    page: TextPage, rollbacks: Sequence[Record], shape: tuple[bool, bool], now: datetime
) -> None:
    """Tell each rollback in a line.

    Args:
        page: where to.
        rollbacks: as they are stored, in the order in which they are shown.
        shape: whether namespaces are shown, and whether all columns are.
        now: for ages.
    """
    has_namespaces, is_wide = shape
    heads = [
        *(("NAMESPACE",) if has_namespaces else ()),
        *_HISTORY,
        *(_HISTORY_WIDE if is_wide else ()),
    ]
    rows = []
    for one in rollbacks:
        spec, since = decided(one), decided_time(one)
        row = [
            *((one.namespace,) if has_namespaces else ()),
            one.name,
            spec.text("policyRef.name"),
            severity_of(one) or "-",
            spec.text("fromRevision.number") or "-",
            spec.text("toRevision.number") or way(one),
            one.text("status.step") or "-",
            one.text("status.outcome") or "running",
            took(one, since),
            age(since, now),
        ]
        if is_wide:
            row += [by(one), _one_line(spec.text("trigger.message") or spec.text("reason"))]
        rows.append(row)
    page.table(heads, rows)


def trust_lines(page: TextPage, policies: Sequence[Record], *, has_namespaces: bool) -> None:
    """Tell below the rollbacks which releases people trust in spite of them."""
    for one in policies:
        name = f"{one.namespace}/{one.name}" if has_namespaces else one.name
        for said in one.rows("spec.trust"):
            who = f"revision {said.text('revision')} is trusted by {said.text('by')}"
            page.line(
                f"{name}: {who}, {clock(said.time('time'))}: {_one_line(said.text('reason'))}"
            )


def took(rollback: Record, since: datetime | None) -> str:
    """Tell how long a rollback took from the decision to its end."""
    end = rollback.time("status.finishedTime")
    return span((end - since).total_seconds()) if end is not None and since is not None else "-"


def severity_of(rollback: Record) -> str:
    """Give the severity that was found; a person who asks for a rollback gives none."""
    if by(rollback) != "rollback-operator":
        return ""
    return rollback.text("status.severity") or decided(rollback).text("severity")


def by(rollback: Record) -> str:
    """Tell who wanted a rollback: the operator, or a person."""
    if decided(rollback).text("requestedBy"):
        return decided(rollback).text("requestedBy")
    is_asked = "reason" in rollback.part("spec").raw or rollback.part("status.plan").raw
    return "a person" if is_asked else "rollback-operator"


def _one_line(text: str) -> str:
    return " ".join(text.split())
