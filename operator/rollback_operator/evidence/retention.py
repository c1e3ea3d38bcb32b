"""Bounds on what a watch keeps, however long it lasts.

Each answer has its limits; a watch takes hundreds of them. Routes beyond a number are counted
together, what is counted is merged to longer times, and series that have ceased are forgotten, each
only where a bound is met. An answer that is still too large is refused.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from rollback_operator.evidence.series_identity import Book, Labels
from rollback_operator.model.pod import Endpoint, Pod
from rollback_operator.stats.windows import Increment, add, widened

MIB = 1 << 20
MOST_INCREMENTS = 150_000
INCREMENT_BYTES = 192
MOST_ROUTES = 2000
"""Beyond this, only the busiest half and the routes that the policy names stay separate."""
MOST_SERIES = 20_000
"""Twice what one answer may hold."""
MOST_SERIES_BYTES = 32 * MIB
SERIES_BYTES, LABEL_BYTES = 320, 160
POD_BYTES, ENDPOINT_BYTES = 1024, 320
"""Of memory, beside the characters."""
LONGEST_ROUTE = 512
"""Characters; a policy names none that is longer."""
CEASED_SECONDS = 300.0
CEASED_INTERVALS = 5
"""Without a sample for so long, on a pod that is scraped or gone, a series has ceased."""
OTHER = "(other routes)"
_WIDTHS = (10.0, 60.0, 300.0, math.inf)
_HASHED = 32


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes that are counted separately."""

    known: Mapping[str, str] = field(default_factory=dict)
    """Each to itself: one string for all that is counted on it."""
    is_full: bool = False
    """Others are counted together."""

    def of(self, route: str, named: Collection[str]) -> str:
        """Give the name under which a route is counted.

        Args:
            route: as a series has it.
            named: routes that the policy names, which are always counted separately.
        """
        known = self.known.get(route)
        if known is not None or route in named:
            return known or route
        return OTHER if self.is_full else shortened(route)

    def having(self, routes: Iterable[str]) -> "Routes":
        """Add routes."""
        new = {route: route for route in routes if route not in self.known}
        return Routes({**self.known, **new}, self.is_full) if new else self


def shortened(route: str) -> str:
    """Cut a long name; what is different remains so."""
    if len(route) <= LONGEST_ROUTE:
        return route
    digest = hashlib.sha256(route.encode(errors="surrogatepass")).hexdigest()[:_HASHED]
    return f"{route[: LONGEST_ROUTE - _HASHED - 1]}~{digest}"


def within(
    increments: tuple[Increment, ...], routes: Routes, named: Collection[str]
) -> tuple[tuple[Increment, ...], Routes]:
    """Keep increments within their bounds; within bounds they are returned unchanged.

    Once other routes are counted together, so are all their counts, earlier and later: a route that
    was separate for a time would otherwise seem to begin anew.
    """
    if len(increments) > MOST_INCREMENTS:
        increments = widened(increments, 1.0)
    if len(increments) > MOST_INCREMENTS or (
        len(routes.known) > MOST_ROUTES + len(named) and not routes.is_full
    ):
        routes = _busiest(increments, named)
        increments = _folded(increments, routes)
    for width in _WIDTHS:
        if len(increments) > MOST_INCREMENTS:
            increments = widened(increments, width)
    return increments, routes


def _busiest(increments: Iterable[Increment], named: Collection[str]) -> Routes:
    """Choose by requests: by errors, a chance run of errors would look like a fault."""
    requests: dict[str, float] = {}
    counts: dict[str, int] = {}
    for increment in increments:
        requests[increment.route] = requests.get(increment.route, 0.0) + increment.requests
        counts[increment.route] = counts.get(increment.route, 0) + 1
    kept = {route: route for route in requests if route in named}
    left = MOST_INCREMENTS // 2
    others = requests.keys() - kept.keys() - {OTHER}
    for route in sorted(others, key=lambda route: (-requests[route], route))[: MOST_ROUTES // 2]:
        left -= counts[route]
        if left < 0:
            break
        kept[route] = route
    return Routes(kept, is_full=True)


def _folded(increments: Iterable[Increment], routes: Routes) -> tuple[Increment, ...]:
    """Count together what is on other routes, pod by pod and time by time."""
    folded: dict[tuple[str, str, float], Increment] = {}
    for increment in increments:
        route = increment.route if increment.route in routes.known else OTHER
        on_route = increment if route == increment.route else replace(increment, route=route)
        add(folded, (increment.pod, route, increment.end), on_route)
    return tuple(folded.values())


@dataclass(frozen=True, slots=True)
class Scraped:
    """How far Prometheus' samples reach."""

    pods: Mapping[str, float]
    """Per pod, the time of its newest sample."""
    gone: Collection[str]
    """Pods that are no longer there."""
    interval: float

    def has_ceased(self, pod: str, time: float) -> bool:
        """Return whether a series without a later sample has ended: no answer shows it again."""
        newest = max(self.pods.values(), default=-math.inf)
        limit = newest - CEASED_SECONDS - CEASED_INTERVALS * self.interval
        return time < limit and (pod in self.gone or self.pods.get(pod, -math.inf) >= limit)


def without_ceased(book: Book, scraped: Scraped) -> Book:
    """Forget series that have ceased, if there are too many; name any excess that remains."""
    book = _weighed(book)
    if not book.excess:
        return book
    kept = {
        key: head for key, head in book.heads.items() if not scraped.has_ceased(key[1], head.time)
    }
    pairs = {page: key for page, key in book.pairs.items() if key in kept}
    return _weighed(replace(book, heads=kept, pairs=pairs))


def _weighed(book: Book) -> Book:
    """Estimate its bytes, and name the excess."""
    page = (key[2] for key, name in book.pairs.items() if key is not name)
    labels = (*(key[2] for key in book.heads), *page, *(shape[1] for shape in book.foreign))
    size, count = sum(map(_size, labels)), max(len(book.heads), len(book.foreign))
    excess = ""
    if count > MOST_SERIES:
        excess = f"{count} recent series exceed the limit of {MOST_SERIES}"
    elif size > MOST_SERIES_BYTES:
        most = MOST_SERIES_BYTES // MIB
        excess = f"{count} recent series take {size // MIB} MiB, over the limit of {most} MiB"
    return replace(book, size=size, excess=excess)


def _size(labels: Labels) -> int:
    return SERIES_BYTES + sum(LABEL_BYTES + weight(name) + weight(value) for name, value in labels)


def pod_size(pod: Pod) -> int:
    """Estimate how many bytes a pod takes."""
    texts = (pod.name, pod.pod_hash, pod.node, pod.address, pod.page.path)
    characters = sum(map(weight, (*texts, pod.own_failure, pod.environment)))
    digests = sum(LABEL_BYTES + len(name) + len(digest) for name, digest in pod.image_digests)
    return POD_BYTES + characters + digests + sum(map(endpoint_size, pod.endpoints))


def endpoint_size(endpoint: Endpoint) -> int:
    """Estimate how many bytes one of a pod's probes takes."""
    headers = sum(LABEL_BYTES + weight(name) + weight(value) for name, value in endpoint.headers)
    return ENDPOINT_BYTES + weight(endpoint.path) + headers


def weight(text: str) -> int:
    """Give the bytes that a text: a character outside ASCII widens all of them."""
    return len(text) if text.isascii() else 4 * len(text)
