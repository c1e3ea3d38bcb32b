"""The installed commands kubectl-rollback and kubectl_complete-rollback, and how a verb runs."""

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from rollback_operator.cli.plugin import (
    completion,
    deciding,
    finding,
    incident_report,
    undoing,
)
from rollback_operator.cli.plugin.arguments import parse, parser
from rollback_operator.cli.plugin.asked import (
    COLUMNS,
    Answer,
    CommandContext,
    Screen,
    Terminal,
)
from rollback_operator.cli.plugin.connection import (
    DONE,
    POLICIES,
    ROLLBACKS,
    Login,
    Stop,
    connect,
    needed,
)
from rollback_operator.cli.plugin.explanation import explain_policy, explain_rollback
from rollback_operator.cli.plugin.overview import history_page, status_page, trust_lines
from rollback_operator.cli.plugin.page import Paint, TextPage, inert
from rollback_operator.cli.plugin.record import Record, decided, newest_first, shown


def run() -> None:
    """Run kubectl-rollback."""
    raise SystemExit(main(sys.argv[1:], _terminal()))


def complete() -> None:
    """Run kubectl_complete-rollback, which kubectl calls."""
    raise SystemExit(main(["__complete", *sys.argv[1:]], _terminal()))


def _terminal() -> Terminal:
    is_dumb = os.environ.get("TERM") == "dumb"
    is_plain = os.environ.get("NO_COLOR") or is_dumb
    return Terminal(
        out=sys.stdout,
        err=sys.stderr,
        shows_colours=sys.stdout.isatty() and not is_plain,
        now=lambda: datetime.now(UTC),  # noqa: TID251 (the command's own clock)
        sleep=asyncio.sleep,
        connect=connect,
        open_screen=_full_screen if sys.stdout.isatty() and not is_dumb else None,
        columns=shutil.get_terminal_size((COLUMNS, 24)).columns,
    )


def _full_screen(paint: Paint) -> AbstractAsyncContextManager[Screen]:
    from rollback_operator.cli.plugin.watching import full_screen  # noqa: PLC0415 (`watch` alone needs it)

    return full_screen(sys.stdout, paint)


def main(arguments: Sequence[str], terminal: Terminal) -> int:
    """Run a verb and return the exit status."""
    if list(arguments[:1]) == ["__complete"]:
        return asyncio.run(_complete(arguments[1:], terminal))
    given = parse(arguments)
    if given["verb"] is None:
        print(parser().format_help(), end="", file=terminal.out, flush=True)
        return DONE
    try:
        if given["verb"] == "completion":
            text, status = completion.script(given["shell"]), DONE
        else:
            text, status = asyncio.run(_run_verb(given, terminal))
    except Stop as stop:
        print(f"kubectl rollback: {shown(str(stop))}", file=terminal.err)
        return stop.status
    except KeyboardInterrupt:
        return 130
    try:
        is_data = given.get("output") in ("json", "yaml")
        print(text if is_data else inert(text), file=terminal.out, flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        sys.stderr.close()
    return status


async def _run_verb(given: dict[str, Any], terminal: Terminal) -> Answer:
    mode = given.get("color", "auto")
    is_coloured = mode == "always" or (mode == "auto" and terminal.shows_colours)
    async with terminal.connect(_login(given)) as connection:
        paint = Paint(is_coloured)
        asked = CommandContext(given, connection.cluster, connection.namespace, paint, terminal)
        return await _VERBS[given["verb"]](asked)


def _login(given: dict[str, Any]) -> Login:
    return Login(
        kubeconfig=given["kubeconfig"],
        context=given["context"],
        namespace=given["namespace"],
        user=given["user"],
        group=given["group"],
    )


async def _status(asked: CommandContext) -> Answer:
    is_single = bool(asked.name) and not asked.shape[0]
    if is_single:
        policies = [await finding.read_policy(asked.cluster, asked.namespace, asked.name)]
    else:
        policies = needed(await asked.cluster.list(POLICIES, asked.scope))
        if not policies and asked.scope:
            await finding.expect_namespace(asked.cluster, asked.scope)
    is_text = asked.given.get("output") in (None, "", "wide")
    left = []
    if is_text and not asked.name:
        left = await finding.orphans(asked.cluster, asked.scope, policies)
    if left and not policies:
        return "\n".join(left), DONE
    if asked.name and not is_single:
        policies = finding.called(policies, asked.name)
    in_progress = await finding.in_progress(asked.cluster, policies)

    def draw(page: TextPage) -> None:
        status_page(page, policies, in_progress, asked.shape, asked.now)
        for line in left:
            page.line(line)

    return asked.shown(policies[0], draw) if is_single else asked.listed(policies, draw)


async def _history(asked: CommandContext) -> Answer:
    rollbacks = newest_first(needed(await asked.cluster.list(ROLLBACKS, asked.scope)))
    if not rollbacks and asked.scope:
        await finding.expect_namespace(asked.cluster, asked.scope)
    if asked.name:
        rollbacks = finding.of_policy(rollbacks, finding.split(asked.name)[1])
    trusted = await _trusted(asked)

    def draw(page: TextPage) -> None:
        history_page(page, rollbacks, asked.shape, asked.now)
        trust_lines(page, trusted, has_namespaces=asked.shape[0])

    return asked.listed(rollbacks, draw)


async def _trusted(asked: CommandContext) -> list[Record]:
    """Read the policies for spec.trust; empty if they cannot be read."""
    listed = await asked.cluster.list(POLICIES, asked.scope)
    bare = finding.split(asked.name)[1]
    policies = listed if isinstance(listed, list) else []
    return [item for item in policies if bare in ("", item.name, item.text("spec.targetRef.name"))]


async def _explain(asked: CommandContext) -> Answer:
    record = await finding.read_any(asked.cluster, asked.namespace, asked.name)
    if record.text("kind") == "RollbackPolicy":
        return asked.shown(record, lambda page: explain_policy(page, record))
    policy = await _policy_of(asked, record)
    return asked.shown(record, lambda page: explain_rollback(page, record, policy))


async def _policy_of(asked: CommandContext, rollback: Record) -> Record:
    """Read the policy of a Rollback; empty: it cannot be read."""
    name = decided(rollback).text("policyRef.name")
    policy = await asked.cluster.read(POLICIES, asked.namespace, name)
    return policy if isinstance(policy, Record) else Record()


async def _report(asked: CommandContext) -> Answer:
    rollback = await finding.read_rollback(asked.cluster, asked.namespace, asked.name)
    known = await _policy_of(asked, rollback)
    return incident_report.report(rollback, known).rstrip("\n"), DONE


async def _watch(asked: CommandContext) -> Answer:
    try:
        from rollback_operator.cli.plugin import watching  # noqa: PLC0415 (its library may be missing)
    except ImportError as error:
        raise Stop(
            f"watch needs a library that is not installed: {error}\n"
            "Install it, in a clone of the repository: pip install '.[cli]'"
        ) from None
    return await watching.watch(asked)


_VERBS = {
    "status": _status,
    "watch": _watch,
    "history": _history,
    "explain": _explain,
    "report": _report,
    "undo": undoing.undo,
    "approve": deciding.approve,
    "reject": deciding.reject,
    "trust": deciding.trust,
    "suspend": deciding.suspend,
    "resume": deciding.resume,
}


async def _complete(words: Sequence[str], terminal: Terminal) -> int:
    """Print candidates for the last word; no names if the cluster does not answer."""
    options = completion.options(parser(), words)
    if completion.wants_name(words):
        login = completion.login(words)
        try:
            async with (
                asyncio.timeout(completion.COMPLETION_SECONDS),
                terminal.connect(login) as connection,
            ):
                for plural in completion.kinds(words):
                    listed = await connection.cluster.list(plural, connection.namespace)
                    options += [item.name for item in listed] if isinstance(listed, list) else []
        except (Stop, TimeoutError):
            pass
    last = words[-1] if words else ""
    for option in options:
        if option.startswith(last):
            print(option, file=terminal.out)
    print(":4", file=terminal.out, flush=True)  # keeps kubectl from adding file names
    return DONE
