"""How likely counts of requests and errors are under a rate."""

import math


def log_likelihood(
    requests: float, errors: float, rate: float, bounds: tuple[float, float]
) -> float:
    """Compute the log-likelihood of an error rate (binomial, without its constant).

    Args:
        requests: how many there were.
        errors: how many of them; spread over time they may be more than the requests by a hair.
        rate: the error rate.
        bounds: the least and the highest rate that it is taken for, in (0, 1): no count is a proof.
    """
    # Called a thousand times in a look: comparisons cost a third of min() and max().
    least, most = bounds
    if rate < least:
        rate = least
    elif rate > most:
        rate = most
    passed = requests - errors
    found = errors * math.log(rate) if errors else 0.0
    return found + passed * math.log1p(-rate) if passed > 0 else found
