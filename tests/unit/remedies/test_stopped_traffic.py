"""When the traffic of an ended rollback is restored: once the bad release no longer runs."""

from __future__ import annotations

import pytest

from rollback_operator.remedies.stopped_traffic import restore_reason
from tests.builders import make_deployment, make_ref, make_rollback, make_template

BARE = "release-v1"
WHOLE = {"release": "with-config-2", "unannotated_digest": BARE, "configuration": "config-2"}
OF_CONFIGURATION = make_rollback(
    from_revision=make_ref("v2", **WHOLE),
    to_revision=make_ref("v1", release="with-config-1", unannotated_digest=BARE),
)
OF_TEMPLATE = make_rollback(
    from_revision=make_ref("v2", release="with-config", unannotated_digest="release-v2"),
    to_revision=make_ref("v1"),
)


@pytest.mark.parametrize(
    ("rollback", "template", "is_restored"),
    [
        pytest.param(OF_TEMPLATE, make_template("v2"), False, id="the bad template"),
        pytest.param(
            OF_TEMPLATE, make_template("v3", release="release-v2"), False, id="a restart of it"
        ),
        pytest.param(OF_TEMPLATE, make_template("v1"), True, id="the target"),
        pytest.param(
            OF_CONFIGURATION, make_template("v2", release=BARE), False, id="the bad configuration"
        ),
        pytest.param(OF_CONFIGURATION, make_template("v1"), True, id="the good configuration"),
    ],
)
def test_the_deployment_as_read_shows_no_configuration(rollback, template, is_restored) -> None:
    deployment = make_deployment("v2", template=template)

    assert bool(restore_reason(rollback, deployment)) is is_restored
