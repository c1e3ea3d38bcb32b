"""Every limit of the judgement with its reason: odds, priors, floors, ceilings and windows.

docs/judgement.md has the method; `bench/detection` measures what the limits do together. Not here:
bounds on memory, the grid of a computation, and the defaults of what a policy sets.
"""

# Odds.
CLEAN_ODDS = 100.0
"""Odds against the failing pods' rate from which a pod is known to be well."""
SURELY_BAD_ODDS = 10_000.0
"""Odds from which a pod is known to have the fault by its own counts."""
HYSTERESIS_TIMES = 10.0
"""A release stays suspect until its odds are so many times lower than those that made it so."""
SHARED_ODDS = 100.0
"""Odds against the usual rate from which pods are known to have the fault by their own counts."""
ALIGNED_ODDS = 100.0
"""Odds from which pods are known to have failed at the same age rather than at the same time."""
ALIKE_ODDS = 100.0
"""Odds from which the old pods are known to have come to fail like the release before they went."""
SLOWER_ODDS = 100.0
"""Odds from which requests are known to be slower than those of the reference."""
WARM_UP_ODDS = 100.0
"""Odds at which first errors count as lasting errors, or as those of a warm-up."""
FADING_ODDS = 3.0
"""Odds of a fading warm-up from which the verdict waits; nearly total failure never waits."""

# Priors of blame: docs/judgement.md, "Blame".
BAD_RELEASES = 0.02
"""Share of releases that are bad."""
OUTAGES_PER_SECOND = 1 / (30 * 86400)
"""One outage of the environment a month."""
FROM_FIRST_REQUEST = 0.9
"""Share of the faults of releases that show from the first request on."""
LATENT = 0.1
"""Share of the faults of releases that begin later, spread over the logarithm of the time."""
ASKED_BLAME = 2.0
"""Odds of blame from which people are asked whether to roll back: ADR 29."""
DOWN_BLAME = 3.0
"""Odds of blame from which a question is answered for them while the service is down: ADR 29."""
DOWN_SHARE = 0.9
"""With more of all requests failing the service is down: a wrong undo can hardly make it worse."""
DOWN_SECONDS = 120.0
"""Time that people have to answer while the service is down."""
REACH_SECONDS = 10.0
"""Time in which an outage reaches all pods: open connections serve a while longer."""

# Floors: no verdict from fewer counts, docs/judgement.md, "Bounds".
LEAST_REQUESTS = 20
"""With fewer requests an error rate is no estimate, neither of the release nor of a control."""
VERDICT_REQUESTS = 20
"""With fewer requests the counts give no verdict, and do not contradict lost traffic."""
LEAST_ERRORS = 10
"""Fewer errors are no fault, unless all requests fail."""
LEAST_SAMPLES = 2
"""Samples of different times: one scrape alone proves nothing, nor does its absence."""
LEAST_PODS = 2
"""Pods that show a fault, where there are as many: a single pod is not the release."""
LATE_REQUESTS = 10
"""Requests after the pods' start that show by reads of their pages whether they go on failing."""
EXPECTED_ERRORS = 3.0
"""Expected errors whose absence is a surprise: 20 : 1 (Poisson)."""
LEAST_EXPECTED = 100.0
"""Expected requests from which their absence is no chance, at the pace of the quietest minute."""
START_REQUESTS = 100
"""Requests to pods in their first seconds that show whether a service has a warm-up."""
LEAST_TIMED_REQUESTS = 100
"""Requests from which a high quantile of durations is an estimate."""
TIMED_POD_REQUESTS = 20
"""Requests from which a high quantile of a single pod is an estimate."""
BASELINE_SECONDS = 60
"""A history stands for the old revision from a full minute on: its worst minute is then known. With
less, ceilings are higher by what is missing: ADR 31."""
BASELINE_REQUESTS = 100
"""Requests from which a history bounds an error rate as well as any: ADR 31."""
LEAST_SPAN_REQUESTS = 200
"""Requests of a span from which its error rate may be the worst of the history."""
SPANS_Z = 3.5
"""The worst of a few hundred overlapping spans with few requests is so by chance: the lower bound
of each is taken at 1 in 4,000."""
LEAST_FAILURES = 3
"""Failed matrix probes in a row before they count: a single failure may be that of the network."""
RESTARTS = 3
"""Restarts of every new pod that show a crash loop."""

# Ceilings and shares.
LEAST_CEILING = 0.01
"""No service is held to fewer errors than 1 %."""
CEILING_TIMES = 3.0
"""Up to so many times the control's rate is no fault: the smallest effect that is tested."""
STEADY_TIMES = 1.5
"""However steady the control's rate was, so many times as much is no reason for suspicion."""
MOST_CEILING = 0.9
"""Above it the control itself fails, and shows nothing."""
CERTAIN = 0.99
"""A ceiling above which no rate is worse."""
BRIEF_CEILING = 0.5
"""However short a past of 100 requests is, a release that fails most of its requests is worse."""
SHARE_TIMES = 2.0
"""The new revision's share of the requests may be so many times its share of the ready pods, or
that part of it: endpoints follow readiness, and connections stay where they are."""
PROBE_TIMES = 10.0
"""From so many times more requests than probes on, probes hardly change a rate."""
AFFECTED_RATE = 0.001
"""No error rate is taken for less, and no share of successes."""
USELESS = 0.5
"""Share of failed requests from which on a revision is no useful rollback target.

Not the matrix's 5 %: a service that fails a tenth, year in, year out, has good releases. Not its
90 % of purchases: a revision that fails four of five is no rollback target.
"""
NEARLY_ALL = 0.9
"""Share of failed requests that no control explains: nearly all fail."""
POD_START_SHARE = 0.98
"""Share of failed requests of a young pod from which it is no warm-up: hardly one passes."""
SPIKE_TIMES = 3.0
"""Times the busiest minute of the past from which load may be the cause."""
LOST_SHARE = 0.01
"""Below this share of the expected requests the traffic is lost."""
SLOWER_TIMES = 1.5
"""How much more often than in the past slow requests may come without suspicion."""
ALIKE_ERRORS = 2.0
"""Errors of the old pods from which a fault of theirs may be seen."""
ALIKE_COUNTS = 2
"""One clump of errors that belong together is not yet a fault: so many counts must hold some."""
FIRST_REQUESTS_WEIGHT = 0.8
"""Weight of the ceiling that bounds the first seconds; those of later windows share the rest."""
MOST_SHARE = 0.5
"""Routes with this share of the errors of the worst route are named as failing."""
UNRATED_SHARE = 0.1
"""From this share of the errors on, those on routes without requests are no accident of labels."""
SHARING_ROUTES = 8
"""Other routes that may share the fault of the worst; of more, those with most errors."""
RECENT_ERRORS_Z = 3.5
"""Every evaluation of a long watch tests recent errors: a chance run of them is not enough."""
DEFAULT_MARGIN = 0.05
"""Margin of proof where no rule of the matrix has a threshold: that of the runbook's P2."""
ROUTE_MARGIN_TIMES = 4.0
"""A single route has a part of the traffic only: it is proved against a larger fault, or the
rollout of a healthy release would wait for its least asked route."""
MOST_MARGIN = 0.9
"""A larger margin would prove nothing."""

# Windows.
STALE_INTERVALS = 3
"""A reader that has had nothing new of a pod for so many scrape intervals is silent about it."""
SHORTEST_SECONDS = 0.001
"""Prometheus' times are no finer; a count of no time would be in no span."""
SLOWEST_SCRAPE_SECONDS = 10.0
"""Prometheus waits so long for a pod's answer by default, and never longer than an interval."""
RESTORED_SECONDS = 120.0
"""A ReplicaSet that is so much older than its watch has run before: the watch of a new revision
begins seconds after it, and a minute after it where an operator had to be replaced."""
LATE_SCRAPE_SECONDS = 1.0
"""Scrapes are so much late now and then: the interval before is none of the newest."""
TIME_TOLERANCE_SECONDS = 0.05
"""The delay after the old pods within which a new pod is read and still compared with them."""
RECENT_WINDOWS = (60.0, 300.0, 900.0)
"""The recent past is the shortest of these windows that has enough requests."""
POD_START_SECONDS = 0.5
"""From this time after a pod's first request on, failures are no accident of its start alone."""
POD_SETTLED_SECONDS = 10.0
"""Age of the oldest pod from which pages that are read need no further proof that errors last."""
WARM_UP_SECONDS = 20.0
"""A pod's first seconds, from its first request on, count only if nearly all fails, or if the
service is known to have no warm-up: ADR 20, ADR 30."""
FADING_SECONDS = 60.0
"""A warm-up that is seen to fade may take so long."""
FADING_ERRORS = 5
"""Fewer first errors do not show that they fade."""
SETTLING_SECONDS = 30.0
"""For how long, beyond a stale sample's age, a ready pod's counters may be missing."""
TRAFFIC_SECONDS = 30.0
"""The shortest window in which traffic counts as lost, or as ended before the release."""
GRACE_SECONDS = 30.0
"""Beyond the old revision's start-up time before pods that are not ready are unavailable."""
SUDDEN_SECONDS = 6.0
"""A fault within this time of being available is the release's: 100 : 1 by blame.py's formula."""
LATENCY_WARM_UP_SECONDS = 30.0
"""A pod's first half minute says nothing about its durations."""
TREND_SECONDS = 15.0
"""How often durations, memory and restarts are read."""
SUSTAINED_TREND_SECONDS = 60.0
"""A slow release is also slow in the newest minute: slowness often passes."""

# Memory growth: docs/judgement.md, "Slower signals".
GROWTH_WARM_UP_SECONDS = 60.0
"""A pod's first minute of memory is its start."""
GROWTH_SECONDS = 300.0
"""Shortest history of memory whose slope differs from noise."""
GROWTH_ALONE_SECONDS = 900.0
"""Time that memory must have grown where the growth of the old pods is unknown."""
GROWTH_ALONE_SHARE = 0.2
"""Share of the limit that memory must have grown by where that of the old pods is unknown."""
GROWTH_POINTS = 8
"""Fewest points of a slope."""
GROWTH_ERRORS = 4.0
"""Slope in standard errors: about 16,000 : 1 for independent points."""
GROWTH_SLOWED_SHARE = 0.5
"""A heap that is being filled slows down; a leak does not."""
