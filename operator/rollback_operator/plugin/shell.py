"""Runs a verb: parse, connect, ask, print. Everything of the process comes in as a Terminal."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

import yaml

from rollback_operator.plugin import completion, finding, incident_report
from rollback_operator.plugin.arguments import parser
from rollback_operator.plugin.cluster import DONE, POLICIES, ROLLBACKS, Cluster, Stop, needed
from rollback_operator.plugin.connection import Connection, Login
from rollback_operator.plugin.explanation import explain_policy, explain_rollback
from rollback_operator.plugin.overview import history_page, status_page
from rollback_operator.plugin.page import Page, Paint
from rollback_operator.plugin.record import Record, decided, newest_first

Connect = Callable[[Login], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where words go, whether colours are seen there, what time it is, and how to connect."""

    out: TextIO
    err: TextIO
    shows_colours: bool
    now: Callable[[], datetime]
    connect: Connect


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, and whom."""

    given: dict[str, Any]
    cluster: Cluster
    namespace: str
    now: datetime
    paint: Paint

    @property
    def name(self) -> str:
        """The object's name, empty if none was given."""
        return str(self.given.get("name", ""))

    @property
    def shape(self) -> tuple[bool, bool]:
        """Tell whether namespaces are shown, and whether all columns are."""
        return bool(self.given.get("all_namespaces")), self.given.get("output") == "wide"

    @property
    def scope(self) -> str:
        """The namespace that is listed; empty: all of them."""
        return "" if self.given.get("all_namespaces") else self.namespace


def main(arguments: Sequence[str], terminal: Terminal) -> int:
    """Run one verb; gives the exit status."""
    if list(arguments[:1]) == ["__complete"]:
        return asyncio.run(_complete(arguments[1:], terminal))
    given = vars(parser().parse_args(arguments))
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


async def _ask(given: dict[str, Any], terminal: Terminal) -> tuple[str, int]:
    wish = given.get("color", "auto")
    is_coloured = wish == "always" or (wish == "auto" and terminal.shows_colours)
    async with terminal.connect(_login(given)) as found:
        asked = Asked(given, found.cluster, found.namespace, terminal.now(), Paint(is_coloured))
        return await _VERBS[given["verb"]](asked)


def _login(given: dict[str, Any]) -> Login:
    return Login(
        kubeconfig=given["kubeconfig"],
        context=given["context"],
        namespace=given["namespace"],
        user=given["user"],
        group=given["group"],
    )


async def _status(asked: Asked) -> tuple[str, int]:
    if asked.name and not asked.shape[0]:
        found = [await finding.read_policy(asked.cluster, asked.namespace, asked.name)]
        return _shown(
            asked, found[0], lambda page: status_page(page, found, asked.shape, asked.now)
        )
    known = needed(await asked.cluster.list(POLICIES, asked.scope))
    if asked.name:
        known = [one for one in known if asked.name in (one.name, one.text("spec.targetRef.name"))]
    return _listed(asked, known, lambda page: status_page(page, known, asked.shape, asked.now))


async def _history(asked: Asked) -> tuple[str, int]:
    known = newest_first(needed(await asked.cluster.list(ROLLBACKS, asked.scope)))
    if asked.name:
        known = finding.of_policy(known, finding.split(asked.name)[1])
    return _listed(asked, known, lambda page: history_page(page, known, asked.shape, asked.now))


async def _explain(asked: Asked) -> tuple[str, int]:
    found = await finding.read_any(asked.cluster, asked.namespace, asked.name)
    explain = explain_policy if found.text("kind") == "RollbackPolicy" else explain_rollback
    return _shown(asked, found, lambda page: explain(page, found))


async def _report(asked: Asked) -> tuple[str, int]:
    found = await finding.read_rollback(asked.cluster, asked.namespace, asked.name)
    policy = await asked.cluster.read(
        POLICIES, asked.namespace, decided(found).text("policyRef.name")
    )
    known = policy if isinstance(policy, Record) else Record()
    return incident_report.report(found, known).rstrip("\n"), DONE


_VERBS = {"status": _status, "history": _history, "explain": _explain, "report": _report}


def _listed(asked: Asked, found: Sequence[Record], draw: Callable[[Page], None]) -> tuple[str, int]:
    output = asked.given.get("output")
    if output in ("json", "yaml"):
        whole = {"apiVersion": "v1", "kind": "List", "items": [one.raw for one in found]}
        return _written(whole, output), DONE
    if output == "name":
        return "\n".join(_name(one) for one in found), DONE
    if not found:
        where = "the cluster" if asked.shape[0] else f"namespace {asked.namespace}"
        return f"Nothing found in {where}.", DONE
    return _drawn(asked, draw), DONE


def _shown(asked: Asked, found: Record, draw: Callable[[Page], None]) -> tuple[str, int]:
    output = asked.given.get("output")
    if output in ("json", "yaml"):
        return _written(dict(found.raw), output), DONE
    if output == "name":
        return _name(found), DONE
    return _drawn(asked, draw), DONE


def _drawn(asked: Asked, draw: Callable[[Page], None]) -> str:
    page = Page(asked.paint)
    draw(page)
    return page.text()


def _written(whole: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(whole, indent=2, ensure_ascii=False)
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True).rstrip("\n")


def _name(found: Record) -> str:
    return f"{found.text('kind').lower()}.rollback.tickettoken.io/{found.name}"


async def _complete(words: Sequence[str], terminal: Terminal) -> int:
    """Print candidates for the last word, and nothing where the cluster does not answer."""
    options = completion.options(parser(), words)
    if completion.wants_name(words):
        login = completion.login(words)
        try:
            async with asyncio.timeout(completion.PATIENCE), terminal.connect(login) as found:
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
