"""Scenarios that were once judged wrongly, each beside its opposite.

`python -m bench.detection explain LINE` shows one look by look.
"""

import pytest

from bench.detection.judged import judge_world
from bench.detection.scenario import parse
from bench.detection.world import build

TAKEN_BACK = {
    "a third more fails, where an eighth failed all the hour": (
        '{"seed":301234,"rps":825.298,"diurnal":0.3,"pods":3,"scrape":15.0,"base":0.01,"clump":3,'
        '"fault":"Errors","size":0.363,"confounder":"OldRevisionToo","extent":0.124,'
        '"since":-3700.0,"horizon":100.0}'
    ),
    "nearly all fails, where a quarter failed all the hour": (
        '{"seed":301334,"rps":52.7328,"pods":2,"base":0.01,"fault":"Errors","size":0.887,'
        '"confounder":"OldRevisionToo","extent":0.25,"since":-3700.0,"horizon":60.0}'
    ),
    "half fails, where a seventh had failed for some minutes": (
        '{"seed":301313,"rps":8.869,"jitter":0.3,"base":0.0,"fault":"Errors","size":0.417,'
        '"confounder":"OlderThanRelease","extent":0.148,"since":-426.0}'
    ),
    "a quarter fails from the first request on, at the usual pace": (
        '{"seed":106762,"rps":88.259,"pods":3,"scrape":15.0,"jitter":0.3,"base":0.0,'
        '"fault":"Errors","size":0.233,"horizon":40.0}'
    ),
    "two thirds fail, and an old pod had one clump of errors at the end": (
        '{"seed":1300190,"rps":9.9622,"pods":6,"scrape":15.0,"jitter":0.05,"loss":0.02,"base":0.01,'
        '"clump":10,"fault":"Errors","size":0.657,"confounder":"Clumps","horizon":1000.0}'
    ),
    "four fifths fail, at a scrape each quarter of a minute": (
        '{"seed":171240,"rps":184.2802,"pods":3,"scrape":15.0,"base":0.0,'
        '"fault":"Errors","size":0.822,"horizon":80.0}'
    ),
    "four fifths fail, at a scrape each half minute": (
        '{"seed":160680,"rps":99.5139,"diurnal":0.3,"pods":3,"scrape":30.0,"base":0.0,'
        '"fault":"Errors","size":0.827,"horizon":120.0}'
    ),
    "no purchase succeeds, where a quarter has begun to fail on both before": (
        '{"seed":360396,"rps":5.9247,"diurnal":0.3,"pods":12,"scrape":30.0,"jitter":0.05,'
        '"loss":0.1,"base":0.0,"fault":"Total","size":1.0,"confounder":"NeighbourDeploy",'
        '"extent":0.25,"since":-13.9,"lasts":120.0,"horizon":1000.0}'
    ),
}
LEFT_ALONE = {
    "an eighth fails as before": (
        '{"seed":301234,"rps":825.298,"diurnal":0.3,"pods":3,"scrape":15.0,"base":0.01,"clump":3,'
        '"confounder":"OldRevisionToo","extent":0.124,"since":-3700.0,"horizon":100.0}'
    ),
    "a quarter fails as before": (
        '{"seed":301334,"rps":52.7328,"pods":2,"base":0.01,'
        '"confounder":"OldRevisionToo","extent":0.25,"since":-3700.0,"horizon":60.0}'
    ),
    "a fifth fails on both from the old pods' last seconds on": (
        '{"seed":107602,"rps":11.424,"pods":3,"scrape":15.0,"base":0.01,'
        '"confounder":"TrafficSpike","extent":0.212,"since":1.4,"horizon":76.4}'
    ),
    "a quarter fails since five times the requests came, seconds after the release": (
        '{"seed":106762,"rps":88.259,"pods":3,"scrape":15.0,"jitter":0.3,"base":0.0,'
        '"confounder":"TrafficSpike","extent":0.233,"since":11.8,"horizon":86.8}'
    ),
    "two thirds fail on both, on several old pods before they go": (
        '{"seed":1300190,"rps":9.9622,"pods":6,"scrape":15.0,"jitter":0.05,"loss":0.02,"base":0.01,'
        '"clump":10,"confounder":"DependencyOutage","extent":0.657,"since":-10.0,"lasts":600.0,'
        '"horizon":150.0}'
    ),
    "four fifths fail on both, for a second and a half before an old pod was last read": (
        '{"seed":171240,"rps":184.2802,"pods":3,"scrape":15.0,"base":0.0,'
        '"confounder":"DependencyOutage","extent":0.822,"since":0.2}'
    ),
    "four fifths fail on both, the old pods' first errors at their last scrape": (
        '{"seed":160680,"rps":99.5139,"diurnal":0.3,"pods":3,"scrape":30.0,"base":0.0,'
        '"confounder":"DependencyOutage","extent":0.827,"since":-7.6,"horizon":120.0}'
    ),
}


@pytest.mark.parametrize("line", TAKEN_BACK.values(), ids=TAKEN_BACK)
def test_a_bad_release_is_taken_back(line) -> None:
    assert judge_world(build(parse(line))).rolled_back is not None


@pytest.mark.parametrize("line", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_a_release_that_is_not_to_blame_stays(line) -> None:
    assert judge_world(build(parse(line))).rolled_back is None
