"""The command line: python -m lab build | run | up | down | status | exec | shell."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from lab import machine, session
from lab.binaries import RECIPES, programs, say
from lab.control_plane import ControlPlane
from lab.errors import LabError
from lab.node import Node
from lab.postgres_server import Postgres
from lab.prometheus_server import Prometheus
from lab.workspace import (
    Workspace,
    all_folders,
    base_folder,
    end_detached,
    is_alive,
    obituary,
)

EXTRAS = {session.CONTROL_PLANE: ("kwok", "prometheus", "postgres"), session.NODE: ("kwok",)}
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
NOT_FOUND = 127
INTERRUPTED = 130
GRACE_SECONDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the command's, or 1 with a sentence on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What follows the first -- is the command's own, options and all.
    cut = given.index("--") if "--" in given else len(given)
    options = _parser().parse_args(given[:cut], argparse.Namespace(command=given[cut + 1 :]))
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    try:
        machine.require_linux()
        code: int = options.action(options)
    except LabError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="build the Go programs that are not built yet")
    build.add_argument("names", nargs="*", metavar="NAME", help=" ".join(RECIPES))
    build.set_defaults(action=_build)

    run = commands.add_parser("run", help="run a command in a lab of its own: run MODE -- CMD...")
    run.add_argument("mode", choices=EXTRAS)
    _add_extras(run)
    run.set_defaults(action=_run)

    up = commands.add_parser("up", help="start a lab that stays")
    up.add_argument("name")
    up.add_argument("--mode", choices=EXTRAS, default=session.NODE)
    _add_extras(up)
    up.set_defaults(action=_up)

    down = commands.add_parser("down", help="end a lab")
    down.add_argument("name")
    down.set_defaults(action=_down)

    status = commands.add_parser("status", help="list the labs and their programs")
    status.set_defaults(action=_status)

    inside = commands.add_parser(
        "exec", help="run a command in a lab that is up: exec NAME -- CMD..."
    )
    inside.add_argument("name")
    inside.set_defaults(action=_exec)

    shell = commands.add_parser("shell", help="a shell in a lab that is up")
    shell.add_argument("name")
    shell.set_defaults(action=_exec, command=[os.environ.get("SHELL", "/bin/sh")])
    return parser


def _add_extras(parser: argparse.ArgumentParser) -> None:
    listed = "; ".join(f"{mode}: {','.join(names)}" for mode, names in EXTRAS.items())
    parser.add_argument(
        "--with",
        dest="extras",
        type=lambda text: [name for name in text.split(",") if name],
        default=[],
        metavar="NAME,...",
        help=f"further servers ({listed})",
    )


def _build(options: argparse.Namespace) -> int:
    for name in options.names:
        if name not in RECIPES:
            raise LabError(f"nothing named {name} is built; choose from {', '.join(RECIPES)}")
    for name in options.names or RECIPES:
        programs(name)
    return 0


def _run(options: argparse.Namespace) -> int:
    command = _command(options)
    with Workspace("run") as workspace, _servers(workspace, options) as found:
        code = _call(found, command)
        if code != 0:
            _report_ended(found)
        return code


def _report_ended(found: session.Session) -> None:
    """A program that died under the command may be why the command failed."""
    for name, state in found.programs().items():
        if state["returncode"] is not None:
            say(obituary(name, state, "while the command ran"))


def _up(options: argparse.Namespace) -> int:
    if not NAME.fullmatch(options.name):
        raise LabError(f"{options.name!r} is no lab name: use lower-case letters, digits and -")
    with Workspace("up", options.name) as workspace, _servers(workspace, options):
        workspace.detach()
    say(f"{options.name} is up; python -m lab shell {options.name}")
    return 0


@contextlib.contextmanager
def _servers(workspace: Workspace, options: argparse.Namespace) -> Iterator[session.Session]:
    """Start what the mode and --with ask for; they end with the workspace."""
    allowed = EXTRAS[options.mode]
    for name in options.extras:
        if name not in allowed:
            raise LabError(
                f"--with {name}: in mode {options.mode} choose from {', '.join(allowed)}"
            )
    if options.mode == session.NODE:
        with Node(workspace, kwok_nodes=int("kwok" in options.extras)) as node:
            yield node.session
        return
    with contextlib.ExitStack() as stack:
        prometheus_url = database_url = ""
        if "postgres" in options.extras:
            database_url = stack.enter_context(Postgres(workspace)).url
        if "prometheus" in options.extras:
            prometheus_url = stack.enter_context(Prometheus(workspace=workspace)).url
        cluster = stack.enter_context(ControlPlane(workspace))
        if "kwok" in options.extras:
            cluster.start_kwok()
        found = session.Session(
            mode=session.CONTROL_PLANE,
            name=workspace.directory.name,
            directory=workspace.directory,
            server=cluster.server,
            kubeconfig=cluster.kubeconfig,
            kubectl_path=cluster.kubectl_path,
            prometheus_url=prometheus_url,
            database_url=database_url,
        )
        found.write()
        yield found


def _down(options: argparse.Namespace) -> int:
    end_detached(_existing(options.name))
    return 0


def _status(_options: argparse.Namespace) -> int:
    for directory in all_folders():
        if not is_alive(directory):
            continue
        try:
            found = session.read(directory)
        except LabError:
            sys.stdout.write(f"{directory.name}: starting, or a server of a test\n")
            continue
        sys.stdout.write(f"{found.name}: {found.mode}, {found.server}, in {directory}\n")
        for name, state in found.programs().items():
            code = state["returncode"]
            how = "runs" if code is None else f"ended with {code}"
            sys.stdout.write(f"    {name}: {how}, log {state['log']}\n")
    return 0


def _exec(options: argparse.Namespace) -> int:
    command = _command(options)
    return _call(session.read(_existing(options.name)), command)


def _existing(name: str) -> Path:
    directory = base_folder() / name
    if not directory.is_dir() or not is_alive(directory):
        raise LabError(f"no lab named {name} is up; see python -m lab status")
    return directory


def _command(options: argparse.Namespace) -> list[str]:
    command: list[str] = options.command
    if not command:
        raise LabError("no command given: put it after --")
    return command


def _call(found: session.Session, command: Sequence[str]) -> int:
    """Run the command in the lab; signals meant for it reach it, its exit code is ours."""
    argv, environment = session.command_in(found, command)
    try:
        process = subprocess.Popen(argv, env=environment)
    except FileNotFoundError:
        say(f"error: command not found: {command[0]}")
        return NOT_FOUND
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The terminal has told the command as well; it may need a moment for its own end.
        code = process.wait()
    except SystemExit:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        process.kill()
        raise
    return code if code >= 0 else 128 - code
