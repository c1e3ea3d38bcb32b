"""One run of the load generator, and what it recorded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.binaries import cache_folder
from lab.errors import LabError

MODULE = Path(__file__).parent
# A request may take five seconds; then the summary is written.
END_SECONDS = 15


def program() -> Path:
    """The program, brought up to date; Go's own cache makes a second build a matter of moments."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    target = cache_folder() / "loadgen"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="loadgen-") as scratch:
        built = Path(scratch, "loadgen")
        argv = [
            go,
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
            str(built),
            ".",
        ]
        environment = {**os.environ, "CGO_ENABLED": "0"}
        try:
            result = subprocess.run(
                argv, cwd=MODULE, env=environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise LabError(
                "the load generator is a Go program: install Go 1.26 or newer"
            ) from error
        if result.returncode != 0:
            raise LabError(f"building the load generator failed:\n{result.stderr}")
        built.rename(target)
    return target


@dataclass(frozen=True)
class Failure:
    """One request that a user would have called failed: 5xx, no answer, or none in time."""

    time: datetime
    route: str
    status: int
    error: str


@dataclass(frozen=True)
class RouteSummary:
    """What became of the requests to one route, or to all of them."""

    sent: int
    ok: int
    refused: int
    failed: int
    first_failure: datetime | None
    last_failure: datetime | None
    p50_milliseconds: float
    p99_milliseconds: float


@dataclass(frozen=True)
class Summary:
    """A whole run."""

    started: datetime
    ended: datetime
    total: RouteSummary
    routes: Mapping[str, RouteSummary]


class Load:
    """A running load for the time of a `with` block; `folder` keeps its log and summary.

    `prefix` goes before the command, such as a session's `network_prefix()`. The load ends with
    the program that started it, however that ends.
    """

    def __init__(
        self,
        target: str,
        token: str,
        folder: Path,
        rate: float = 20,
        prefix: Sequence[str] = (),
    ) -> None:
        self.log = folder / "loadgen.log"
        self._summary = folder / "loadgen.json"
        self._argv = [*prefix, str(program()), "-stdin", "-target", target, "-token", token]
        self._argv += ["-rate", str(rate), "-log", str(self.log), "-summary", str(self._summary)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._summary.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=END_SECONDS)
            self._process = None

    def failures(self) -> list[Failure]:
        """Every failure up to now, in the order in which users saw them."""
        if not self.log.exists():
            return []
        return failures_in(self.log.read_text())

    def now(self) -> datetime:
        """The time by the clock that its log is told by."""
        return datetime.now(UTC)

    def stop(self) -> Summary:
        """End the load, wait for what is in flight, and say what came of it."""
        self.__exit__(None, None, None)
        if not self._summary.exists():
            raise LabError(f"the load generator left no {self._summary}; see its message above")
        return summary_in(self._summary.read_text())


def failures_in(log: str) -> list[Failure]:
    """Read a log: one failure a line."""
    return [_failure(json.loads(line)) for line in log.splitlines()]


def _failure(line: Mapping[str, Any]) -> Failure:
    return Failure(
        time=_time(line["time"]),
        route=line["route"],
        status=line.get("status", 0),
        error=line.get("error", ""),
    )


def summary_in(text: str) -> Summary:
    """Read what the load generator writes when it ends."""
    document = json.loads(text)
    return Summary(
        started=_time(document["started"]),
        ended=_time(document["ended"]),
        total=_route(document["total"]),
        routes={path: _route(each) for path, each in document["routes"].items()},
    )


def _route(document: Mapping[str, Any]) -> RouteSummary:
    first, last = document["firstFailure"], document["lastFailure"]
    return RouteSummary(
        sent=document["sent"],
        ok=document["ok"],
        refused=document["refused"],
        failed=document["failed"],
        first_failure=_time(first) if first else None,
        last_failure=_time(last) if last else None,
        p50_milliseconds=document["p50Milliseconds"],
        p99_milliseconds=document["p99Milliseconds"],
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
