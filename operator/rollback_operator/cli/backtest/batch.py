"""Runs many cases, each a line of a file, in several processes; results keep the order."""

import asyncio
import os
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from rollback_operator.api.user_text.documents import UnparsableError, load_json
from rollback_operator.cli.backtest.case import OPTIONS, parse_options, run_case
from rollback_operator.cli.backtest.files import BadFileError
from rollback_operator.cli.backtest.plot import draw, require_matplotlib
from rollback_operator.cli.backtest.report import as_json

Line = tuple[int, str]
LINE_OPTIONS = frozenset({*OPTIONS, "continue", "plot", "output"})


def run_batch(path: Path, given: Mapping[str, Any], jobs: int) -> Iterator[dict[str, Any]]:
    """Run each line of a file; the result of a line that fails is an object with `error`.

    Args:
        path: of the file; paths in it are relative to its folder.
        given: default options of the lines.
        jobs: number of processes.

    Raises:
        BadFileError: the file itself cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError("batch", f"{path}: {error}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise BadFileError("batch", f"{path}: has no case")
    work = partial(run_line, given=dict(given), folder=path.parent)
    if jobs == 1:
        yield from map(work, lines)
        return
    # Not forked: a copy of a thread that holds a lock would wait for ever.
    with workers(jobs) as pool:
        yield from pool.map(work, lines)


def workers(jobs: int) -> ProcessPoolExecutor:
    """Make processes that end with their parent, however it ends: a signal runs no cleanup."""
    return ProcessPoolExecutor(
        jobs, mp_context=get_context("forkserver"), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        Thread(target=_wait_for_end, args=(parent,), daemon=True).start()


def _wait_for_end(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)  # The main thread may compute for minutes: it would not see an exception.


def run_line(line: Line, given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run one line."""
    number, text = line
    warnings: list[str] = []
    try:
        raw = _object(text)
        unknown = [name for name in raw if name not in LINE_OPTIONS]
        warnings += [f"{name} is unknown to this version and is ignored" for name in unknown]
        options = parse_options({**given, **raw}, folder)
        drawn = _path("plot", raw)
        if drawn is not None:
            require_matplotlib()
            options = options.model_copy(update={"keeps_evaluations": True})
        ran = asyncio.run(run_case(options, warnings.append))
        if drawn is not None:
            draw(ran, folder / drawn)
    except BadFileError as error:
        return _failed(number, error.field, error.message)
    except Exception as error:
        # A bug in one case must not lose the results of the others.
        traceback.print_exc()
        return _failed(number, "", f"failed: {type(error).__name__}: {error}")
    return as_json(ran) | ({"warnings": warnings} if warnings else {})


def _failed(number: int, field: str, message: str) -> dict[str, Any]:
    return {"error": {"line": number, "field": field, "message": message}}


def _path(name: str, raw: Mapping[str, Any]) -> str | None:
    given = raw.get(name)
    if given is not None and not isinstance(given, str):
        raise BadFileError(name, f"must be the path of a file, not {given!r}")
    return given


def _object(text: str) -> Mapping[str, Any]:
    try:
        raw = load_json(text)
    except UnparsableError as error:
        raise BadFileError("", str(error)) from None
    except ValueError as error:
        raise BadFileError("", f"the line is not JSON: {error}") from None
    if not isinstance(raw, Mapping):
        raise BadFileError("", "the line is not a JSON object")
    return raw
