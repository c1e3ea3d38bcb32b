"""Runs a verb: parse, connect, ask, print. Everything of the process comes in as a Terminal."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from rollback_operator.cli.plugin import (
    completion,
    deciding,
    finding,
    incident_report,
    trusting,
    undoing,
)
from rollback_operator.cli.plugin.arguments import parse, parser
from rollback_operator.cli.plugin.asked import COLUMNS, Answer, CommandContext, Live, OpenScreen
from rollback_operator.cli.plugin.cluster import DONE, POLICIES, ROLLBACKS, Stop, needed
from rollback_operator.cli.plugin.connection import Connection, Login
from rollback_operator.cli.plugin.explanation import explain_policy, explain_rollback
from rollback_operator.cli.plugin.overview import history_page, status_page, trust_lines
from rollback_operator.cli.plugin.page import Paint, TextPage
from rollback_operator.cli.plugin.record import Record, decided, newest_first

Connect = Callable[[Login], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where words go, whether colours are seen there, what time it is, and how to connect."""

    out: TextIO
    err: TextIO
    shows_colours: bool
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    connect: Connect
    open_screen: OpenScreen | None = None
    """Shows what replaces itself; None: there is no terminal to show it on."""
    columns: int = COLUMNS


def main(arguments: Sequence[str], terminal: Terminal) -> int:
    """Run one verb; gives the exit status."""
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
            text, status = asyncio.run(_ask(given, terminal))
    except Stop as stop:
        print(f"kubectl rollback: {stop}", file=terminal.err)
        return stop.status
    except KeyboardInterrupt:
        return 130
    try:
        print(text, file=terminal.out, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
    return status


async def _ask(given: dict[str, Any], terminal: Terminal) -> Answer:
    wish = given.get("color", "auto")
    is_coloured = wish == "always" or (wish == "auto" and terminal.shows_colours)
    async with terminal.connect(_login(given)) as found:
        live = Live(
            terminal.now,
            terminal.sleep,
            lambda text: print(text, file=terminal.err, flush=True),
            terminal.open_screen,
            terminal.columns,
        )
        asked = CommandContext(given, found.cluster, found.namespace, Paint(is_coloured), live)
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
    is_one = bool(asked.name) and not asked.shape[0]
    if is_one:
        known = [await finding.read_policy(asked.cluster, asked.namespace, asked.name)]
    else:
        known = needed(await asked.cluster.list(POLICIES, asked.scope))
        known = finding.called(known, asked.name) if asked.name else known
    waiting = await finding.waiting(asked.cluster, known)

    def draw(page: TextPage) -> None:
        status_page(page, known, waiting, asked.shape, asked.now)

    return asked.shown(known[0], draw) if is_one else asked.listed(known, draw)


async def _history(asked: CommandContext) -> Answer:
    known = newest_first(needed(await asked.cluster.list(ROLLBACKS, asked.scope)))
    if asked.name:
        known = finding.of_policy(known, finding.split(asked.name)[1])
    trusted = await _trusted(asked)

    def draw(page: TextPage) -> None:
        history_page(page, known, asked.shape, asked.now)
        trust_lines(page, trusted, has_namespaces=asked.shape[0])

    return asked.listed(known, draw)


async def _trusted(asked: CommandContext) -> list[Record]:
    """Read what people trust, where that may be read: it stands beside the rollbacks."""
    found = await asked.cluster.list(POLICIES, asked.scope)
    bare = finding.split(asked.name)[1]
    policies = found if isinstance(found, list) else []
    return [one for one in policies if bare in ("", one.name, one.text("spec.targetRef.name"))]


async def _explain(asked: CommandContext) -> Answer:
    found = await finding.read_any(asked.cluster, asked.namespace, asked.name)
    explain = explain_policy if found.text("kind") == "RollbackPolicy" else explain_rollback
    return asked.shown(found, lambda page: explain(page, found))


async def _report(asked: CommandContext) -> Answer:
    found = await finding.read_rollback(asked.cluster, asked.namespace, asked.name)
    policy = await asked.cluster.read(
        POLICIES, asked.namespace, decided(found).text("policyRef.name")
    )
    known = policy if isinstance(policy, Record) else Record()
    return incident_report.report(found, known).rstrip("\n"), DONE


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
    "trust": trusting.trust,
    "suspend": deciding.suspend,
    "resume": deciding.resume,
}


async def _complete(words: Sequence[str], terminal: Terminal) -> int:
    """Print candidates for the last word, and nothing where the cluster does not answer."""
    options = completion.options(parser(), words)
    if completion.wants_name(words):
        login = completion.login(words)
        try:
            async with (
                asyncio.timeout(completion.COMPLETION_SECONDS),
                terminal.connect(login) as found,
            ):
                place = found.namespace
                for plural in completion.kinds(words):
                    known = await found.cluster.list(plural, place)
                    options += [one.name for one in known] if isinstance(known, list) else []
        except (Stop, TimeoutError):
            pass
    last = words[-1] if words else ""
    for one in options:
        if one.startswith(last):
            print(one, file=terminal.out)
    print(":4", file=terminal.out, flush=True)  # to kubectl: no file names besides
    return DONE
