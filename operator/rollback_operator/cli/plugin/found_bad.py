"""A running release that was found bad before: whether it is back, and why it stays."""

from rollback_operator.cli.plugin.page import clock
from rollback_operator.cli.plugin.record import Record, summary_of

JUDGED = frozenset({"Bad", "Suspect", "Watching", "NoVerdict", "Degraded"})
"""Summaries of a release that may be bad, and that nothing is about to replace."""


def condemnation(policy: Record) -> Record:
    """Return the finding against the running release; empty: there is none."""
    release = policy.text("status.revision.release")
    rows = policy.rows("status.revisions") if release else []
    entry = next((row for row in rows if row.text("release") == release), Record())
    return entry.part("condemned")


def condemned_release(policy: Record) -> str:
    """Name the images of the last rollback's release if another runs; empty: it runs, or unknown.

    A rollback without a finding, such as a manual request, has no such release.
    """
    rollback, running = (
        policy.text("status.lastRollback.name"),
        policy.text("status.revision.release"),
    )
    rows = policy.rows("status.revisions") if rollback else []
    return next(
        (
            ", ".join(row.words("images"))
            for row in rows
            if row.text("condemned.rollback") == rollback and row.text("release") != running
        ),
        "",
    )


def came_back(policy: Record) -> bool:
    """Report whether the running release was rolled back before and was rolled out again."""
    recovered = policy.condition("Recovered")
    is_reverted = (recovered.text("status"), recovered.text("reason")) == ("False", "UndoReverted")
    is_back = is_reverted or policy.condition("Quarantined").text("status") == "True"
    return is_back and bool(condemnation(policy).text("rollback"))


def known_bad(policy: Record) -> str:
    """State that the running release was found bad before, and why it stays; empty: it was not."""
    healthy, finding = policy.condition("Healthy"), condemnation(policy)
    is_found_bad = healthy.text("reason") == "FoundBad"
    is_back = came_back(policy)
    if summary_of(policy) not in JUDGED or not finding.raw or not (is_found_bad or is_back):
        return ""
    running = policy.part("status.revision")
    release = ", ".join(running.words("images")) or f"revision {running.text('number')}"
    by = f"by {running.text('changedBy')}, " if running.text("changedBy") else ""
    then = f"was found bad at {clock(finding.time('time'))}"
    now = "and runs now"
    if is_back:
        then = f"was rolled back by {finding.text('rollback')}"
        now = f"and runs again ({by}{clock(running.time('since'))})"
    if is_found_bad:
        return f"{release} {then} {now}; it is not judged now: {missing(policy)}"
    why = " ".join(healthy.text("message").split()).partition("Not rolled back: ")[2]
    _, dot, until = why.partition(". It is ")
    stays = f"It is {until}" if dot else f"Not rolled back: {why}"
    return f"{release} {then} {now}" + (f". {stays}" if why else "")


def missing(policy: Record) -> str:
    """State why the release is not judged."""
    metrics = policy.condition("MetricsAvailable")
    if metrics.text("status") != "False":
        return "there is no new evidence so far"
    is_silent = metrics.text("reason") == "ProviderUnreachable"
    return "Prometheus does not answer" if is_silent else "its metrics are missing"
