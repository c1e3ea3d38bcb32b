"""Requests of people to the agent: files that a command leaves in the agent's folder.

A file and not a socket: it is there after a restart of either side, and its owner, whom the kernel
knows, is the person who asks. The agent removes it once the record holds the request.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from rollback_operator.adapters.compose.absent import user_of
from rollback_operator.adapters.compose.ledger import replace_file
from rollback_operator.api.crd import LONGEST_REASON
from rollback_operator.api.shape import Model, Name, NameOrNone
from rollback_operator.ports.failure import Failure

REQUESTS = "requests"
MOST_INBOX_BYTES = 64 * 1024
MOST_LETTERS = 100


class Asked(Model):
    """A request."""

    verb: Literal["undo", "approve", "reject"]
    name: Name
    """Of the Rollback that is to be made, or to be decided."""
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    policy: NameOrNone = ""
    to: Annotated[str, Field(pattern=r"^(previous|[1-9][0-9]{0,8})?$")] = ""
    """Revision to restore, by number, or `previous`; empty: the last known good revision."""
    revision: int = 0
    digest: str = ""
    """Of an undo: the revision that the person saw. Of a decision: of the plan."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A request as it lies in the folder."""

    path: Path
    asked: Asked
    by: str


def leave(folder: Path, asked: Asked) -> Failure | None:
    """Leave a request for the agent."""
    with suppress(OSError):  # the write says why
        (folder / REQUESTS).mkdir(mode=0o700, parents=True, exist_ok=True)
    return replace_file(path_of(folder, asked.name, asked.verb), asked.model_dump_json())


def path_of(folder: Path, name: str, verb: str) -> Path:
    """Name the file of a request."""
    return folder / REQUESTS / f"{name}.{verb}.json"


def letters(folder: Path) -> tuple[list[Letter], list[str]]:
    """Read the requests, and say which files were thrown away because they are none."""
    readable, refused = [], []
    paths = sorted((folder / REQUESTS).glob("*.json"))[:MOST_LETTERS]
    for path in paths:
        try:
            if not path.is_file():  # opening a pipe would wait for its writer
                refused.append(f"{path} is no file: remove it")
                continue
            with path.open("rb") as file:
                asked = Asked.model_validate_json(file.read(MOST_INBOX_BYTES))
            readable.append(Letter(path, asked, user_of(path)))
        except FileNotFoundError:
            continue
        except OSError as error:
            refused.append(f"{path} cannot be read: {error.strerror}: let the agent read it")
        except ValidationError as error:
            refused.append(f"{path} is no request: {str(error)[:200]}: {_removed(path)}")
    return readable, refused


def _removed(path: Path) -> str:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"it cannot be removed: {error.strerror}"
    return "it was removed"


def name_of(policy: str) -> str:
    """Name a new request."""
    return f"{policy[:40].rstrip('-.')}-{secrets.token_hex(5)}"


def spec_of(letter: Letter, target: str) -> dict[str, object]:
    """Form the request of an undo, as `kubectl rollback undo` does."""
    asked = letter.asked
    remedy: dict[str, object] = {"type": "Undo", "to": "LastKnownGood"}
    if asked.to == "previous":
        remedy["to"] = "Previous"
    elif asked.to:
        remedy |= {"to": "Revision", "revision": int(asked.to)}
    seen = {"deployment": target, "revision": asked.revision, "digest": asked.digest}
    return {
        "policyRef": {"name": asked.policy},
        "remedy": remedy,
        "reason": asked.reason,
        "requestedBy": letter.by,
        "seen": seen,
    }


def approval_of(letter: Letter) -> dict[str, object]:
    """Form a decision."""
    asked = letter.asked
    decision = "Approve" if asked.verb == "approve" else "Reject"
    fields = {"decision": decision, "by": letter.by, "reason": asked.reason}
    return {**fields, "planDigest": asked.digest}
