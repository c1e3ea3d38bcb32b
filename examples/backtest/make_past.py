"""Writes a made-up past of ticket-service as OpenMetrics text, for promtool to make blocks of.

v1.3.1 comes at 10:00 and fails one request in five; people go back to v1.3.0 at 10:14.
"""

import random
from datetime import datetime

NAMESPACE = "production"
ROUTES = {"/api/v1/tickets": 5.0, "/api/v1/tickets/reserve": 3.0, "/api/v1/tickets/purchase": 2.0}
"""Requests a second on each pod."""
SCRAPE_SECONDS = 5.0
RELEASE = datetime.fromisoformat("2026-11-20T10:00:00+00:00").timestamp()
UNDO = RELEASE + 14 * 60
BEGIN, END = RELEASE - 3600, RELEASE + 1800
GOOD, BAD = "6d5f9c7b48", "7f9b8d6c55"
METRICS = ("http_request_duration_seconds_count", "http_request_errors_total")


def pods():
    """Give each pod with its hash and the time in which it served."""
    for number in range(4):
        shift = 6.0 * number
        yield f"ticket-service-{GOOD}-{'abcd'[number] * 5}", GOOD, BEGIN, RELEASE + 14 + shift
        yield (
            f"ticket-service-{BAD}-{'efgh'[number] * 5}",
            BAD,
            RELEASE + 8 + shift,
            UNDO + 14 + shift,
        )
        yield f"ticket-service-{GOOD}-{'kmnp'[number] * 5}", GOOD, UNDO + 8 + shift, END


def samples(pod, template_hash, begin, end):
    """Count a pod's requests and errors from one scrape to the next."""
    dice = random.Random(pod)
    counts = {(metric, route): 0 for metric in METRICS for route in ROUTES}
    time = before = begin
    while time <= end:
        for route, rate in ROUTES.items():
            served = round(rate * (time - before) * dice.uniform(0.8, 1.2))
            share = 0.2 if template_hash == BAD else 0.001
            counts[METRICS[0], route] += served
            counts[METRICS[1], route] += sum(dice.random() < share for _ in range(served))
        for (metric, route), count in counts.items():
            yield metric, pod, route, time, count
        before, time = time, time + SCRAPE_SECONDS


def main():
    """Print everything, metric by metric as the format wants it."""
    found = [one for pod in pods() for one in samples(*pod)]
    for metric in METRICS:
        print(f"# TYPE {metric} unknown")
        for name, pod, route, time, count in found:
            if name == metric:
                labels = f'namespace="{NAMESPACE}",pod="{pod}",route="{route}"'
                print(f"{metric}{{{labels}}} {count} {time:.3f}")
    print("# EOF")


if __name__ == "__main__":
    main()
