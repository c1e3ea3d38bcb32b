"""Docker's Engine API on its Unix socket: bounded answers, failures as values.

The API and not the `docker` program: an answer is JSON of one form instead of text that a version
may print otherwise, events arrive at once, and the agent's machine needs no client. Compose itself
has no API, so `project` runs its program.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from rollback_operator.adapters.http.causes import cause
from rollback_operator.ports.failure import Failure, FailureKind

DOCKER_SECONDS = 10.0
MOST_ANSWER_BYTES = 16 * 1024 * 1024
_NOT_FOUND, _SERVER_ERROR, _REDIRECT = 404, 500, 300


class Engine:
    """Reads containers and images of a Docker daemon, and tags images."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def ping(self) -> Failure | None:
        """Ask for a sign of life; Unavailable: the daemon does not answer."""
        answer = await self._bytes("GET", "_ping", {}, MOST_ANSWER_BYTES)
        return answer if isinstance(answer, Failure) else None

    async def containers(self, project: str, service: str) -> list[Any] | Failure:
        """Inspect the containers of a service, stopped containers included, one-off runs not."""
        labels = [
            f"com.docker.compose.project={project}",
            f"com.docker.compose.service={service}",
            "com.docker.compose.oneoff=False",
        ]
        listed = await self._json("GET", "containers/json", all="1", filters=_filters(labels))
        if isinstance(listed, Failure):
            return listed
        ids = [str(each["Id"]) for each in listed]
        read = await asyncio.gather(*(self._json("GET", f"containers/{id_}/json") for id_ in ids))
        kept = []
        for each in read:
            if not isinstance(each, Failure):
                kept.append(each)
            elif each.kind is not FailureKind.GONE:  # removed since it was listed
                return each
        return kept

    async def image(self, name: str) -> Any | Failure:
        """Inspect a local image by name, digest or id; Gone: it is not on this machine."""
        return await self._json("GET", f"images/{name}/json")

    async def tag(self, image: str, repository: str, tag: str) -> Failure | None:
        """Give an image one more name, which keeps `docker image prune` from removing it."""
        path = f"images/{image}/tag"
        done = await self._json("POST", path, repo=repository, tag=tag)
        return done if isinstance(done, Failure) else None

    async def untag(self, name: str) -> Failure | None:
        """Remove a name of an image; containers that run the image keep it."""
        done = await self._json("DELETE", f"images/{name}", noprune="1")
        return done if isinstance(done, Failure) else None

    async def log(self, container: str, since: float, most_bytes: int) -> bytes | Failure:
        """Read a part of a container's log, in Docker's frames unless it has a terminal."""
        asked = {"stdout": "1", "stderr": "1", "since": f"{since:.3f}"}
        return await self._bytes("GET", f"containers/{container}/logs", asked, most_bytes)

    async def events(self, project: str) -> AsyncIterator[None]:
        """Yield at each change of the project's containers, until the daemon ends the stream.

        Raises:
            OSError: the daemon does not answer.
        """
        asked = {"filters": _filters([f"com.docker.compose.project={project}"], "container")}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=DOCKER_SECONDS)
        try:
            async with self._opened().get(
                "http://docker/events", params=asked, timeout=timeout
            ) as answer:
                async for _ in answer.content.iter_any():
                    yield
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    async def _json(self, method: str, path: str, **asked: str) -> Any | Failure:
        body = await self._bytes(method, path, asked, MOST_ANSWER_BYTES)
        if isinstance(body, Failure):
            return body
        if len(body) >= MOST_ANSWER_BYTES:
            return Failure(FailureKind.REJECTED, f"Docker's answer to {path} exceeds 16 MiB")
        try:
            return json.loads(body) if body else None
        except ValueError:
            return Failure(FailureKind.UNAVAILABLE, f"Docker's answer to {path} is no JSON")

    async def _bytes(
        self, method: str, path: str, asked: Mapping[str, str], most: int
    ) -> bytes | Failure:
        timeout = aiohttp.ClientTimeout(total=DOCKER_SECONDS)
        url = f"http://docker/{path}"
        try:
            async with self._opened().request(method, url, params=asked, timeout=timeout) as answer:
                body = await _bounded(answer.content, most)
                if answer.status < _REDIRECT:
                    return body
                return _refused(answer.status, body)
        except PermissionError:
            return self._forbidden()
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PermissionError):
                return self._forbidden()
            return self._away(cause(error))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return self._away(cause(error) or "no answer in time")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(str(self.socket))
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self._session

    def _away(self, why: str) -> Failure:
        text = f"the Docker daemon at {self.socket} does not answer ({why}): start it, or correct"
        return Failure(FailureKind.UNAVAILABLE, f"{text} --docker-socket")

    def _forbidden(self) -> Failure:
        text = f"the Docker socket {self.socket} may not be used: run the agent as root or as a"
        return Failure(FailureKind.REJECTED, f"{text} member of the socket's group")


def _filters(labels: list[str], kind: str = "") -> str:
    return json.dumps({"label": labels} | ({"type": [kind]} if kind else {}))


async def _bounded(content: aiohttp.StreamReader, most: int) -> bytes:
    parts, size = [], 0
    async for part in content.iter_chunked(64 * 1024):
        parts.append(part[: most - size])
        size += len(parts[-1])
        if size >= most:
            break
    return b"".join(parts)


def _refused(status: int, body: bytes) -> Failure:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    text = f"Docker answers {status}: {message[:500]}"
    if status == _NOT_FOUND:
        return Failure(FailureKind.GONE, text)
    kind = FailureKind.UNAVAILABLE if status >= _SERVER_ERROR else FailureKind.REJECTED
    return Failure(kind, text)
