"""How the work of a function grows with the size of what it is given.

Two sizes are measured in one run, by turns, so that a machine that is slow is slow for both:

    assert growth(lambda n: paired(series(n)), 500, 2000) < 8  # squared: 16
"""

import time
from collections.abc import Callable

ROUNDS = 5


def growth(work: Callable[[int], object], small: int, large: int) -> float:
    """CPU time of `work(large)` over that of `work(small)`, each the least of five."""
    taken: dict[int, list[float]] = {small: [], large: []}
    for _ in range(ROUNDS):
        for size, times in taken.items():
            began = time.thread_time()
            work(size)
            times.append(time.thread_time() - began)
    return min(taken[large]) / min(taken[small])
