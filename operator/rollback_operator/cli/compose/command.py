"""`rollback-operator compose`: parses what a person types, and runs the agent or answers."""

import argparse
import asyncio
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollback_operator.adapters.compose.ledger import Ledger, LedgerError
from rollback_operator.adapters.compose.project import Compose, ComposeFiles
from rollback_operator.adapters.compose.revisions import ServicePlace
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli.compose import policies, record
from rollback_operator.cli.compose.agent import Agent
from rollback_operator.cli.compose.record import StoredRecord
from rollback_operator.cli.compose.wiring import Setup, wire
from rollback_operator.cli.compose.words import ComposeWords, WordedLog
from rollback_operator.ports.failure import Failure

FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""Where Compose looks without -f, in the order of version 2."""
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
"""Of these, Compose adds the first that is there to the file that it found."""
AGENT_FOLDER = ".rollback-operator"
"""Of the agent, beside the Compose file: two agents on one file meet there."""
COMPOSE_VERBS = ("run", "status", "history", "explain", "undo", "approve", "reject")
DOCKER_SOCKET = Path("/var/run/docker.sock")
VERSION_SECONDS = 15
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class UsageError(Exception):
    """What was typed cannot be done; the text names the option or file, and the remedy."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compose",
        help="roll back services of a Docker Compose file",
        description="Watches services of a Docker Compose project, and takes a bad image back. "
        "Without a verb it runs the agent.",
    )
    parser.add_argument("verb", nargs="?", choices=COMPOSE_VERBS, default="run", metavar="VERB",
                        help=f"{', '.join(COMPOSE_VERBS)} (default: run)")  # fmt: skip
    parser.add_argument("name", nargs="?", default="", metavar="NAME",
                        help="policy of undo, rollback of other verbs; default: the only policy, "
                        "or the newest")  # fmt: skip
    for flags, settings in _OPTIONS:
        parser.add_argument(*flags, **settings)
    parser.set_defaults(command=run)


_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-f", "--file"),
        {
            "dest": "files",
            "metavar": "FILE",
            "type": Path,
            "action": "append",
            "help": "Compose file; repeat it as for Compose (default: the file that Compose finds)",
        },
    ),
    (("--policy",), {"type": Path, "metavar": "FILE", "help": "policies, one per service"}),
    (
        ("--service",),
        {"metavar": "NAME", "help": "service of the policy (default: its spec.targetRef.name)"},
    ),
    (("-p", "--project"), {"metavar": "NAME", "help": "project, as for Compose"}),
    (
        ("--profile",),
        {
            "dest": "profiles",
            "metavar": "NAME",
            "action": "append",
            "default": [],
            "help": "active profile; repeat it",
        },
    ),
    (
        ("--env-file",),
        {
            "dest": "env_files",
            "metavar": "FILE",
            "type": Path,
            "action": "append",
            "default": [],
            "help": "file of variables, as for Compose",
        },
    ),
    (
        ("--prometheus-url",),
        {
            "metavar": "URL",
            "default": "http://127.0.0.1:9090",
            "help": "of policies that name none (default: http://127.0.0.1:9090)",
        },
    ),
    (
        ("--secrets",),
        {
            "type": Path,
            "metavar": "FOLDER",
            "help": "folder of the Secrets that policies name: FOLDER/NAME/KEY",
        },
    ),
    (
        ("--docker-socket",),
        {"type": Path, "metavar": "PATH", "help": "default: that of DOCKER_HOST, or of Docker"},
    ),
    (
        ("--compose-command",),
        {
            "metavar": "COMMAND",
            "help": "default: docker compose, or docker-compose where that is missing",
        },
    ),
    (
        ("--to",),
        {
            "default": "",
            "metavar": "REVISION",
            "help": "with undo: a revision's number, or previous (default: the last known good)",
        },
    ),
    (("--reason",), {"default": "", "metavar": "TEXT", "help": "with undo, approve, reject"}),
    (("--log-level",), {"default": "info", "choices": ("debug", "info", "warning", "error")}),
)


def run(given: dict[str, Any]) -> int:
    """Run the agent or a verb, and return the exit status."""
    try:
        files = files_of(given)
        folder = files.files[0].parent / AGENT_FOLDER / files.project
        words = _words(given, files)
        log = logging.StreamHandler()
        log.setFormatter(WordedLog(words))
        logging.basicConfig(level=given["log_level"].upper(), handlers=[log])
        match given["verb"]:
            case "run":
                return _serve(_agent_setup(given, files, words), folder, lambda state: False)
            case "undo":
                return _undo(given, files, folder, words)
            case verb:
                return record.answer(verb, given["name"], given["reason"], folder, words)
    except (UsageError, LedgerError, policies.PolicyError, record.NoAnswerError) as error:
        for line in str(error).splitlines():
            print(f"rollback-operator: {line}", file=sys.stderr)  # noqa: T201
        return 2


def _undo(given: dict[str, Any], files: ComposeFiles, folder: Path, words: ComposeWords) -> int:
    """Leave the request, and wait; without an agent, be the agent until it is done.

    What is refused leaves no request: the next agent would take it.
    """
    order = record.UndoOrder(given["name"], given["to"], given["reason"])
    order.check()
    if record.is_watched(folder):
        return record.wait(folder, record.follower(order.ask(folder), words))
    if given["policy"] is None:
        raise UsageError("--policy: no agent runs; pass its policy, and this command does the undo")
    undo = record.OwnUndo(order, folder, words)
    print("no agent runs: this command does the undo itself", flush=True)  # noqa: T201
    try:
        _serve(_agent_setup(given, files, words), folder, undo.is_over)
    finally:
        undo.withdraw()
    return undo.end()


def _serve(
    setup: tuple[Setup, list[tuple[RollbackPolicy, ServicePlace]]],
    folder: Path,
    is_over: Callable[[StoredRecord], bool],
) -> int:
    """Run the agent under its lock."""
    ledger = Ledger.open(folder)
    try:
        return asyncio.run(_live(setup, ledger, is_over))
    finally:
        ledger.close()


async def _live(
    setup: tuple[Setup, list[tuple[RollbackPolicy, ServicePlace]]],
    ledger: Ledger,
    is_over: Callable[[StoredRecord], bool],
) -> int:
    parts = wire(setup[0], ledger, _now)
    agent = Agent(parts, setup[1])
    services = await parts.workloads.compose.resolved()
    faults = services.message if isinstance(services, Failure) else _missing(setup, services)
    failure = agent.prepare()
    if faults or failure is not None:
        await parts.connections.aclose()
        raise UsageError(faults or (failure.message if failure is not None else ""))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    names = ", ".join(place.service for _, place in setup[1])
    logging.getLogger(__name__).info(
        "watching %s of %s by %s; the record is in %s",
        names,
        setup[0].compose.files.named,
        setup[0].compose.program,
        ledger.folder,
    )
    await agent.run(lambda: is_over(StoredRecord(ledger.state)), stop)
    return 0


def _missing(setup: tuple[Setup, list[tuple[RollbackPolicy, ServicePlace]]], resolved: Any) -> str:
    """Name the services that the files do not have."""
    known = resolved["services"]
    faults = [
        f"spec.targetRef.name: {setup[0].compose.files.named} has no service {place.service}, only "
        f"{', '.join(sorted(map(str, known)))}: correct the name, pass --service, or --profile "
        "if the service has a profile"
        for _, place in setup[1]
        if place.service not in known
    ]
    return "\n".join(faults)


def _agent_setup(
    given: dict[str, Any], files: ComposeFiles, words: ComposeWords
) -> tuple[Setup, list[tuple[RollbackPolicy, ServicePlace]]]:
    if given["policy"] is None:
        raise UsageError("--policy: is required: the file of the RollbackPolicy")
    watched = policies.load(given["policy"], files.project, given["service"])
    folder = files.files[0].parent / AGENT_FOLDER / files.project
    made = Setup(
        compose=Compose(_program(given), files, folder),
        places=[place for _, place in watched],
        prometheus_url=given["prometheus_url"],
        secrets=given["secrets"],
        words=words,
    )
    return made, watched


def files_of(given: dict[str, Any]) -> ComposeFiles:
    """Find the project as Compose itself would, by options, variables and file names.

    Raises:
        UsageError: a file is missing, or the project has no name.
    """
    named = _named_files(given)
    if not named:
        raise UsageError(f"--file: there is no {', '.join(FILES)} here: name the Compose file")
    for path in (*named, *given["env_files"]):
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file: correct --file or --env-file")
    paths = tuple(path.absolute() for path in named)
    env_files = tuple(path.absolute() for path in given["env_files"])
    variables = env_files or (paths[0].parent / ".env",)
    given_name = given["project"] or _variable("COMPOSE_PROJECT_NAME", variables)
    name = given_name or _named_in(paths) or paths[0].parent.name
    project = name if given["project"] else re.sub(r"[^-_a-z0-9]", "", name.lower()).lstrip("_-")
    if not _PROJECT.fullmatch(project):
        raise UsageError(
            f"--project: {name!r} is no project name: lower-case letters, digits, hyphens, "
            "underscores"
        )
    return ComposeFiles(paths, project, tuple(given["profiles"]), env_files, _socket(given))


def _named_files(given: dict[str, Any]) -> list[Path]:
    """List the files that Compose would take here; it decides so only without -f."""
    if given["files"]:
        return list(given["files"])
    variables = given["env_files"] or [Path(".env")]
    listed = _variable("COMPOSE_FILE", variables)
    if listed:
        separator = _variable("COMPOSE_PATH_SEPARATOR", variables) or os.pathsep
        return [Path(name) for name in listed.split(separator) if name]
    known = [Path(name) for name in FILES if Path(name).exists()][:1]
    return known + [Path(name) for name in OVERRIDES if known and Path(name).exists()][:1]


def _variable(name: str, files: Sequence[Path]) -> str:
    """Read a variable of Compose's own from the environment, else from its files of variables."""
    value = os.environ.get(name, "")
    if value:
        return value
    for path in files:
        for line in _lines(path) if path.is_file() else ():
            key, _, given = line.strip().removeprefix("export ").partition("=")
            if key.strip() == name:
                value = given.partition(" #")[0].strip().strip("\"'")
    return value


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _named_in(paths: Sequence[Path]) -> str:
    """Read the project's name from the files; the last counts. Variables in it are not known."""
    name = ""
    for line in (line for path in paths for line in _lines(path)):
        match = re.match(r"name:[ \t]*[\"']?([a-z0-9][a-z0-9_-]*)[\"']?[ \t]*$", line)
        name = match[1] if match else name
    return name


def _socket(given: dict[str, Any]) -> Path:
    if given["docker_socket"] is not None:
        return Path(given["docker_socket"])
    host = os.environ.get("DOCKER_HOST", "")
    if not host:
        return DOCKER_SOCKET
    if not host.startswith("unix://"):
        raise UsageError(
            f"DOCKER_HOST: {host} is no Unix socket: run the agent on the machine of the daemon"
        )
    return Path(host.removeprefix("unix://"))


def _program(given: dict[str, Any]) -> tuple[str, ...]:
    if given["compose_command"]:
        return tuple(shlex.split(given["compose_command"]))
    plugin = ("docker", "compose")
    if shutil.which("docker") and _works((*plugin, "version")):
        return plugin
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise UsageError(
        "--compose-command: neither docker compose nor docker-compose is here: install one of them"
    )


def _works(command: tuple[str, ...]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _words(given: dict[str, Any], files: ComposeFiles) -> ComposeWords:
    is_named = given["project"] or os.environ.get("COMPOSE_PROJECT_NAME")
    options = [part for path in files.files for part in ("-f", str(path))]
    named = shlex.join([*options, *(("-p", files.project) if is_named else ())])
    try:
        program = " ".join(_program(given))
    except UsageError:
        program = "docker compose"  # a verb that reads the record needs none
    return ComposeWords(f"rollback-operator compose {named}", f"{program} {named}")


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 (the edge of the agent)
