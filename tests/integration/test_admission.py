"""The chart's admission policies on a real API server: people with and without rights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane
from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.remedies.autoscaling import RESTORE
from rollback_operator.remedies.stopped_traffic import RESTORE_TRAFFIC
from tests.integration.api import Api, ApiError, Object, eventually, policies, rollbacks

pytestmark = pytest.mark.xdist_group("admission")

NAMESPACE, EMPTY = "production", "empty"
API = {"apiVersion": "rollback.tickettoken.io/v1alpha1"}
VALUES = {
    "prometheus": {"url": "http://prometheus"},
    "gitOps": {"argoCD": {"namespaces": ["argocd"]}, "flux": {"namespaces": ["flux-system"]}},
}
OWNERS = {
    # namespace: group and resource of what may be suspended there
    "argocd": [("argoproj.io", "applications")],
    "flux-system": [
        ("kustomize.toolkit.fluxcd.io", "kustomizations"),
        ("helm.toolkit.fluxcd.io", "helmreleases"),
    ],
}
JOB = {"job": {"command": ["down"]}}
SUSPENDING = {"gitOps": "Suspend"}
SCALE = {"type": "Scale", "replicas": 6}
TRUST = {
    "release": "b" * 64,
    "revision": 2,
    "reason": "the fault was the database's",
    "by": "boss",
    "time": "2030-01-01T00:00:00Z",
}
SEEN = {"deployment": "shop", "revision": 1, "digest": "b"}
OPERATOR = "system:serviceaccount:operators:rollback-operator"
DIGEST = "0123456789abcdef"
GROUP = "rollback.tickettoken.io"
OURS = "rollback-operator-"
"""How the names of the chart's admission policies begin."""
RIGHTS: dict[str, list[tuple[str, str, list[str], list[str]]]] = {
    # user: (group, resource, names, verbs)
    "author": [
        (GROUP, "rollbackpolicies", [], ["create", "get", "update", "patch"]),
        ("apps", "deployments", ["shop"], ["patch"]),
        ("", "secrets", ["probe"], ["get"]),
        ("", "configmaps", ["flags"], ["patch"]),
        ("", "services", ["shop"], ["patch"]),
    ],
    "platform": [
        (GROUP, "rollbackpolicies", [], ["create", "get"]),
        (GROUP, "rollbacks", [], ["create", "get", "patch"]),
        ("apps", "deployments", ["shop"], ["patch"]),
        ("autoscaling", "horizontalpodautoscalers", [], ["patch"]),
        ("batch", "jobs", [], ["create"]),
        ("", "secrets", ["probe"], ["get"]),
    ],
    "stranger": [(GROUP, "rollbackpolicies", [], ["create", "get", "update", "patch"])],
    "oncall": [
        (GROUP, "rollbacks", [], ["create", "get", "list"]),
        (GROUP, "rollbackpolicies", [], ["get", "list"]),
        ("apps", "deployments", ["shop"], ["patch"]),
    ],
    "passerby": [(GROUP, "rollbacks", [], ["create", "get"])],
    "approver": [
        (GROUP, "rollbacks", [], ["get", "list", "patch"]),
        (GROUP, "rollbacks/approval", [], ["update"]),
    ],
    "patcher": [(GROUP, "rollbacks", [], ["get", "list", "patch"])],
}


USED: dict[str, tuple[Object, str]] = {
    "SQL": (
        {
            "onNewerSchema": "RollbackMigrations",
            "rollbackMigrations": {
                "sql": {"migrationsSecretRef": {"name": "owner", "key": "dsn"}},
                "backup": {"required": False},
                "migrations": [{"name": "2", "sql": "DROP TABLE x"}],
            },
        },
        "you may not get the Secret of database.rollbackMigrations.sql",
    ),
    "a Service": (
        {"onCorruption": {"response": "Proceed", "stopTraffic": "Service", "service": "shop"}},
        "you may not patch the Service of database.onCorruption",
    ),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        for one in (NAMESPACE, EMPTY, *OWNERS):
            found.kubectl("create", "namespace", one)
        rendered = chart.rendered(VALUES, name="rollback-operator", namespace="operators")
        objects = [*chart.crds(), chart.namespace("operators"), *rendered]
        found.kubectl("apply", "-f", "-", input=chart.stream(objects))
        wait_for_crds(found.kubectl, chart.crd_names())
        found.kubectl("apply", "-f", "-", input=chart.stream(_roles()))
        yield found


def _roles() -> Iterator[Object]:
    for namespace in (NAMESPACE, EMPTY):
        for user, rights in RIGHTS.items():
            yield from _role(namespace, user, rights)
    for namespace, kinds in OWNERS.items():
        yield from _role(namespace, "platform", [(*one, [], ["patch"]) for one in kinds])


def _role(
    namespace: str, user: str, rights: list[tuple[str, str, list[str], list[str]]]
) -> Iterator[Object]:
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    metadata = {"name": user, "namespace": namespace}
    rules = [
        {
            "apiGroups": [group],
            "resources": [resource],
            "verbs": verbs,
            **({"resourceNames": names} if names else {}),
        }
        for group, resource, names, verbs in rights
    ]
    yield {**rbac, "kind": "Role", "metadata": metadata, "rules": rules}
    yield {
        **rbac,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": user,
        },
        "subjects": [{"kind": "User", "name": user}],
    }


@pytest.fixture(scope="module")
def as_user(cluster: ControlPlane) -> Iterator[Callable[[str], Api]]:
    made: dict[str, Api] = {}

    def login(user: str) -> Api:
        if user not in made:
            made[user] = Api(cluster.kubeconfig)
            if user:
                made[user].impersonate(user)
        return made[user]

    # A policy bites only once the API server has taken it in.
    eventually(
        lambda: refusal(lambda: login("stranger").create(policies(NAMESPACE), policy("probe"))),
        "the policy on rights bites",
    )
    eventually(
        lambda: refusal(lambda: login("passerby").create(rollbacks(EMPTY), by_hand())),
        "the policy on requests bites",
    )
    login("author").create(policies(NAMESPACE), policy("shop"))
    login("").create(policies(NAMESPACE), policy("others", "other"))
    # Parameters reach the API server's admission by a watch.
    eventually(
        lambda: (
            "watches other"
            in refusal(
                lambda: login("platform").create(
                    rollbacks(NAMESPACE), by_hand(policyRef={"name": "others"})
                )
            )
        ),
        "the policy's target is known",
    )
    yield login
    for one in made.values():
        one.close()


def refusal(call: Callable[[], object]) -> str:
    """Say why the API server refuses; empty if it does not."""
    try:
        call()
    except ApiError as error:
        return str(error)
    return ""


def stopping(service: str) -> Object:
    """A database whose damage stops the traffic of a Service."""
    rules = {"stopTraffic": "Service", "service": service}
    return {"connectionSecretRef": {"name": "probe"}, "onCorruption": rules}


def migrating(**backup: Any) -> Object:
    """A database whose migrations a Job rolls back, or SQL after the backup of a Job."""
    owner = {"name": "probe", "key": "dsn"}
    way = {"sql": {"migrationsSecretRef": owner}} if backup else JOB
    terms = {**way, "backup": backup or {"required": False}}
    return {
        "connectionSecretRef": {"name": "probe"},
        "onNewerSchema": "RollbackMigrations",
        "rollbackMigrations": terms,
    }


def policy(name: str, target: str = "shop", **spec: Any) -> Object:
    return {
        **API,
        "kind": "RollbackPolicy",
        "metadata": {"name": name},
        "spec": {"targetRef": {"name": target}, "mode": "Observe", **spec},
    }


def probing(name: str, *secrets: str) -> Object:
    """A policy with a probe for each of these Secrets."""
    probes = [
        {"name": f"p{place}", "url": "http://shop.production/", "headersSecretRef": {"name": one}}
        for place, one in enumerate(secrets)
    ]
    return policy(name, verification={"http": probes})


def flagging(name: str, *config_maps: str) -> Object:
    """A policy that sets a flag in each of these ConfigMaps."""
    remedies = [
        {
            "type": "DisableFlag",
            "flag": {"name": "NEW", "value": "false", "configMapRef": {"name": one}},
        }
        for one in config_maps
    ]
    return policy(name, remedies=remedies)


def restoring(name: str, *config_maps: str) -> Object:
    """A policy with a remedy that restores these ConfigMaps, and a remedy that restores none."""
    undo = {"type": "Undo", "to": "LastKnownGood", "restore": list(config_maps)}
    return policy(name, remedies=[{"type": "Undo", "to": "Previous"}, undo])


def by_hand(**spec: Any) -> Object:
    return {
        **API,
        "kind": "Rollback",
        "metadata": {"generateName": "shop-by-hand-"},
        "spec": {
            "policyRef": {"name": "shop"},
            "remedy": {"type": "Undo", "to": "Previous"},
            "reason": "customers call",
            "seen": SEEN,
            **spec,
        },
    }


def planned(name: str) -> Object:
    """A Rollback with a plan, as only the operator makes it."""
    revision = {"number": 2, "templateHash": "b", "digest": "b", "release": "b"}
    made = by_hand(
        policyRef={"name": "shop", "uid": "u"},
        targetRef={"name": "shop", "uid": "d"},
        mode="Enforce",
        severity="P1",
        fromRevision=revision,
        toRevision={**revision, "number": 1},
        trigger={"reason": "x", "message": "x", "decidedTime": "2027-01-15T08:00:00Z"},
    )
    del made["spec"]["reason"], made["spec"]["seen"]
    return {**made, "metadata": {"name": name}}


class TestAuthors:
    def test_may_what_they_may_themselves(self, as_user: Callable[[str], Api]) -> None:
        as_user("author").create(policies(NAMESPACE), probing("own", "probe", "probe"))
        as_user("author").create(policies(NAMESPACE), policy("st", database=stopping("shop")))
        as_user("author").create(policies(NAMESPACE), restoring("rs", "flags"))

    @pytest.mark.parametrize(
        ("user", "made", "said"),
        [
            pytest.param("stranger", policy("a"), "patch Deployment shop", id="target"),
            pytest.param("author", policy("b", "other"), "patch Deployment other", id="another"),
            pytest.param("author", probing("c", "db"), "get Secret db", id="Secret"),
            pytest.param(
                "author", probing("d", "probe", "db"), "get Secret db", id="second Secret"
            ),
            pytest.param(
                "author", flagging("m", "flags", "other"), "patch ConfigMap other", id="ConfigMap"
            ),
            pytest.param(
                "author",
                restoring("r", "flags", "other"),
                "patch ConfigMap other, which the operator would restore for you",
                id="restored ConfigMap",
            ),
            pytest.param(
                "author",
                policy("x", diagnosis={"exec": {"command": ["id"]}}),
                "spec.diagnosis.exec: you may not create pods/exec",
                id="command",
            ),
            pytest.param(
                "author",
                policy("v", database=stopping("other")),
                "spec.database.onCorruption.service: you may not patch Service other",
                id="Service",
            ),
            pytest.param(
                "author",
                policy("l", verification={"logs": {"pattern": "ERROR"}}),
                "get logs of pods",
                id="logs",
            ),
            pytest.param(
                "author", policy("t", trust=[TRUST]), "by must be author", id="another's trust"
            ),
            pytest.param(
                "author",
                policy("g", safety=SUSPENDING),
                "patch Applications in argocd",
                id="GitOps owner",
            ),
            pytest.param(
                "author",
                policy("s", remedies=[SCALE]),
                "spec.remedies: you may not patch HorizontalPodAutoscalers",
                id="autoscaler",
            ),
            pytest.param(
                "author",
                policy("j", database=migrating()),
                "spec.database.rollbackMigrations: you may not create Jobs",
                id="Job of a migration",
            ),
            pytest.param(
                "author",
                policy("k", database=migrating(**JOB)),
                "spec.database.rollbackMigrations: you may not create Jobs",
                id="Job of a backup",
            ),
        ],
    )
    def test_gain_nothing_through_the_operator(
        self, as_user: Callable[[str], Api], user: str, made: Object, said: str
    ) -> None:
        assert said in refusal(lambda: as_user(user).create(policies(NAMESPACE), made))

    def test_who_may_patch_owners_may_have_them_suspended(
        self, as_user: Callable[[str], Api]
    ) -> None:
        as_user("platform").create(policies(NAMESPACE), policy("steered", safety=SUSPENDING))
        asked = by_hand(policyRef={"name": "steered"})

        said = refusal(lambda: as_user("oncall").create(rollbacks(NAMESPACE), asked))
        assert "spec.safety.gitOps: you may not patch Applications in argocd" in said
        assert refusal(lambda: as_user("platform").create(rollbacks(NAMESPACE), asked)) == ""
        # Where nobody is suspended nobody is asked for that right.
        as_user("author").create(policies(NAMESPACE), policy("p", safety={"gitOps": "Proceed"}))

    def test_who_may_patch_autoscalers_may_have_them_raised(
        self, as_user: Callable[[str], Api]
    ) -> None:
        as_user("platform").create(policies(NAMESPACE), policy("scaled", remedies=[SCALE]))
        asked = by_hand(remedy=SCALE)

        said = refusal(lambda: as_user("oncall").create(rollbacks(NAMESPACE), asked))
        assert "spec.remedy: you may not patch HorizontalPodAutoscalers" in said
        made = as_user("platform").create(rollbacks(NAMESPACE), asked)

        # ... and who may, may have them put back.
        path = f"{rollbacks(NAMESPACE)}/{made['metadata']['name']}"
        wish = {"metadata": {"annotations": {RESTORE: "requested"}}}
        said = refusal(lambda: as_user("patcher").merge(path, wish))
        assert "metadata.annotations: you may not patch HorizontalPodAutoscalers" in said
        as_user("patcher").merge(path, {"metadata": {"annotations": {"team": "shop"}}})
        as_user("platform").merge(path, wish)
        as_user("patcher").merge(path, {"metadata": {"annotations": {"team": None}}})
        wish = {"metadata": {"annotations": {RESTORE_TRAFFIC: "requested"}}}
        for lacking in ("patcher", "platform"):
            said = refusal(lambda user=lacking: as_user(user).merge(path, wish))
            assert "you may not patch Deployments and Services" in said
        as_user("").merge(path, wish)

    def test_who_may_create_jobs_may_have_migrations_rolled_back(
        self, as_user: Callable[[str], Api]
    ) -> None:
        migrates = policy("migrates", database=migrating())
        as_user("platform").create(policies(NAMESPACE), migrates)
        asked = by_hand(policyRef={"name": "migrates"})

        said = refusal(lambda: as_user("oncall").create(rollbacks(NAMESPACE), asked))
        assert "spec.policyRef: you may not create Jobs" in said
        assert refusal(lambda: as_user("platform").create(rollbacks(NAMESPACE), asked)) == ""

    def test_nor_by_a_change(self, as_user: Callable[[str], Api]) -> None:
        path = f"{policies(NAMESPACE)}/shop"
        said = refusal(lambda: as_user("stranger").merge(path, {"spec": {"mode": "Enforce"}}))
        assert "patch Deployment shop" in said

    def test_trust_in_their_own_name_and_leave_what_others_have_trusted(
        self, as_user: Callable[[str], Api]
    ) -> None:
        own = {**TRUST, "by": "author"}
        as_user("author").create(policies(NAMESPACE), policy("trusting", trust=[own]))
        path = f"{policies(NAMESPACE)}/trusting"
        changed = {"spec": {"trust": [{**own, "by": "platform"}]}}
        said = refusal(lambda: as_user("author").merge(path, changed))
        assert "by must be author" in said
        # Whoever else changes the policy leaves the entry as it is.
        as_user("").merge(path, {"spec": {"mode": "Enforce"}})

    def test_what_lends_no_right_is_free(self, as_user: Callable[[str], Api]) -> None:
        path = f"{policies(NAMESPACE)}/shop"
        as_user("stranger").merge(path, {"metadata": {"labels": {"team": "shop"}}})

    def test_as_many_objects_as_a_policy_may_name_are_asked_for(
        self, as_user: Callable[[str], Api]
    ) -> None:
        """What the questions cost is bounded by the API server."""
        most = [*["probe"] * 15, "db"]
        said = refusal(lambda: as_user("author").create(policies(NAMESPACE), probing("e", *most)))
        assert "get Secret db" in said
        as_user("author").create(policies(NAMESPACE), probing("f", *["probe"] * 16))
        last = flagging("h", *["flags"] * 3, "other")
        said = refusal(lambda: as_user("author").create(policies(NAMESPACE), last))
        assert "spec.remedies: you may not patch ConfigMap other" in said
        as_user("author").create(policies(NAMESPACE), flagging("i", *["flags"] * 4))
        more = flagging("j", *["flags"] * 5)
        said = refusal(lambda: as_user("author").create(policies(NAMESPACE), more))
        assert "at most 4 flags" in said
        whole = probing("k", *["probe"] * 16)
        whole["spec"]["remedies"] = flagging("k", *["flags"] * 4)["spec"]["remedies"]
        as_user("author").create(policies(NAMESPACE), whole)


class TestRequests:
    def test_are_for_those_who_may_patch_the_target(self, as_user: Callable[[str], Api]) -> None:
        made = as_user("oncall").create(rollbacks(NAMESPACE), by_hand(requestedBy="oncall"))
        assert made["spec"]["requestedBy"] == "oncall"

    @pytest.mark.parametrize(
        ("user", "made", "said"),
        [
            pytest.param("passerby", by_hand(), "may not patch", id="no right on the target"),
            pytest.param(
                "passerby",
                by_hand(policyRef={"name": "not-there-yet"}),
                "may not patch Deployment shop",
                id="a policy that is not there yet",
            ),
            pytest.param(
                "passerby",
                by_hand(policyRef={"name": "not-there-yet"}, seen={**SEEN, "deployment": "other"}),
                "may not patch Deployment other",
                id="a Deployment that nobody watches",
            ),
            pytest.param("oncall", by_hand(seen=None), "spec.seen", id="no Deployment is named"),
            pytest.param(
                "platform",
                by_hand(policyRef={"name": "others"}),
                "RollbackPolicy others watches other",
                id="another Deployment than the policy's",
            ),
            pytest.param(
                "oncall", by_hand(requestedBy="boss"), "in the name of another", id="for another"
            ),
            pytest.param("oncall", planned("plan"), "with a plan", id="a plan of one's own"),
            pytest.param(
                "oncall",
                {**by_hand(), "metadata": {"name": "shop-0123456789"}},
                "are the operator's",
                id="the operator's name",
            ),
            pytest.param(
                "oncall",
                by_hand(targetRef={"name": "shop", "uid": "d"}),
                "plans the rest",
                id="half a plan",
            ),
        ],
    )
    def test_are_refused_otherwise(
        self, as_user: Callable[[str], Api], user: str, made: Object, said: str
    ) -> None:
        assert said in refusal(lambda: as_user(user).create(rollbacks(NAMESPACE), made))

    def test_say_why(self, as_user: Callable[[str], Api]) -> None:
        silent = by_hand()
        del silent["spec"]["reason"]
        said = refusal(lambda: as_user("oncall").create(rollbacks(NAMESPACE), silent))
        assert "reason is required" in said

    def test_need_no_policy_in_the_namespace(self, as_user: Callable[[str], Api]) -> None:
        made = as_user("oncall").create(rollbacks(EMPTY), by_hand())
        assert made["spec"]["seen"]["deployment"] == "shop"

    @pytest.mark.parametrize(
        ("user", "made", "expected"),
        [
            ("passerby", by_hand(), "may not patch Deployment shop"),
            ("oncall", by_hand(seen={**SEEN, "deployment": "other"}), "may not patch Deployment"),
            ("oncall", by_hand(seen=None), "spec.seen"),
            ("oncall", by_hand(requestedBy="boss"), "in the name of another"),
            ("oncall", planned("plan"), "with a plan"),
            ("oncall", {**by_hand(), "metadata": {"name": "shop-0123456789"}}, "the operator's"),
            ("oncall", by_hand(remedy={"type": "Scale", "replicas": 4}), "may not patch Horiz"),
        ],
    )
    def test_give_no_right_where_no_policy_exists(
        self, as_user: Callable[[str], Api], user: str, made: Object, expected: str
    ) -> None:
        assert expected in refusal(lambda: as_user(user).create(rollbacks(EMPTY), made))

    @pytest.mark.parametrize(("field", "said"), USED.values(), ids=list(USED))
    def test_use_no_permission_of_the_author(
        self, as_user: Callable[[str], Api], field: Object, said: str
    ) -> None:
        secret = {"name": "probe", "key": "dsn"}
        made = policy("lent", database={"connectionSecretRef": secret, **field})
        as_user("").create(policies(NAMESPACE), made)
        request = by_hand(policyRef={"name": "lent"})
        try:
            eventually(
                lambda: (
                    said in refusal(lambda: as_user("oncall").create(rollbacks(NAMESPACE), request))
                ),
                "admission knows the policy",
            )
        finally:
            as_user("").delete(f"{policies(NAMESPACE)}/lent")

    def test_never_change(self, as_user: Callable[[str], Api]) -> None:
        made = as_user("oncall").create(rollbacks(NAMESPACE), by_hand())
        path = f"{rollbacks(NAMESPACE)}/{made['metadata']['name']}"
        change = {"spec": {"remedy": {"to": "LastKnownGood"}}}
        assert "spec is immutable except for approval" in refusal(
            lambda: as_user("approver").merge(path, change)
        )

    def test_a_plan_is_the_operators(self, as_user: Callable[[str], Api]) -> None:
        as_user("").create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": "operator-admin"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [{"kind": "User", "name": OPERATOR}],
            },
        )
        eventually(
            lambda: (
                not refusal(
                    lambda: as_user(OPERATOR).create(
                        rollbacks(NAMESPACE), planned("shop-aaaaaaaaaa")
                    )
                )
            ),
            "the operator stores a plan",
        )


class TestApprovals:
    @pytest.fixture
    def unplanned(self, as_user: Callable[[str], Api]) -> str:
        made = as_user("oncall").create(rollbacks(NAMESPACE), by_hand())
        return f"{rollbacks(NAMESPACE)}/{made['metadata']['name']}"

    @pytest.fixture
    def path(self, as_user: Callable[[str], Api], unplanned: str) -> str:
        self.plan(as_user, unplanned, DIGEST)
        return unplanned

    @staticmethod
    def plan(as_user: Callable[[str], Api], path: str, digest: str) -> None:
        """Store the digest of a plan, as the operator does."""
        as_user(OPERATOR).merge(f"{path}/status", {"status": {"planDigest": digest}})

    @staticmethod
    def approval(by: str, decision: str = "Approve", digest: str = DIGEST) -> Object:
        given = {"decision": decision, "by": by, "reason": "x", "planDigest": digest}
        return {"spec": {"approval": given}}

    def test_are_given_by_whoever_has_the_right(
        self, as_user: Callable[[str], Api], path: str
    ) -> None:
        made = as_user("approver").merge(path, self.approval("approver"))
        assert made["spec"]["approval"]["by"] == "approver"
        # The operator knows from there when a decision was made.
        found = Rollback.model_validate({**made, "spec": {**made["spec"], **planned("a")["spec"]}})
        assert found.decision_time is not None
        age = datetime.now(UTC) - found.decision_time
        assert timedelta(seconds=-5) < age < timedelta(seconds=60)

    @pytest.mark.parametrize(
        ("user", "by", "said"),
        [
            pytest.param("patcher", "patcher", "rollbacks/approval", id="without the right"),
            pytest.param("approver", "boss", "must be approver", id="in the name of another"),
        ],
    )
    def test_are_refused_otherwise(
        self, as_user: Callable[[str], Api], path: str, user: str, by: str, said: str
    ) -> None:
        assert said in refusal(lambda: as_user(user).merge(path, self.approval(by)))

    def test_are_given_once_for_a_plan(self, as_user: Callable[[str], Api], path: str) -> None:
        approver = as_user("approver")
        approver.merge(path, self.approval("approver", "Reject"))
        said = refusal(lambda: approver.merge(path, self.approval("approver")))
        assert "once" in said
        assert refusal(lambda: approver.merge(path, {"spec": {"approval": None}}))

        other = "fedcba9876543210"
        assert refusal(lambda: approver.merge(path, self.approval("approver", digest=other)))
        self.plan(as_user, path, other)
        said = refusal(lambda: approver.merge(path, self.approval("approver")))
        assert "planDigest" in said
        approver.merge(path, self.approval("approver", digest=other))

    def test_are_not_given_before_there_is_a_plan(
        self, as_user: Callable[[str], Api], unplanned: str
    ) -> None:
        said = refusal(lambda: as_user("approver").merge(unplanned, self.approval("approver")))
        assert "planDigest" in said

    def test_a_rejection_does_not_become_an_approval(
        self, as_user: Callable[[str], Api], path: str
    ) -> None:
        approver = as_user("approver")
        approver.merge(path, self.approval("approver", "Reject"))
        for digest in ("b" * 16, DIGEST):
            change = self.approval("approver", digest=digest)
            assert refusal(lambda change=change: approver.merge(path, change))
        assert approver.get(path)["spec"]["approval"]["decision"] == "Reject"

    def test_are_not_brought_along(self, as_user: Callable[[str], Api]) -> None:
        given = self.approval("oncall")["spec"]["approval"]
        made = by_hand(approval=given)
        said = refusal(lambda: as_user("oncall").create(rollbacks(NAMESPACE), made))
        assert "rollbacks/approval" in said


def test_everything_the_policies_say_is_understood(cluster: ControlPlane) -> None:
    """The API server warns of expressions whose types do not fit, without refusing them."""
    listed = json.loads(cluster.kubectl("get", "validatingadmissionpolicies", "--output=json"))
    warned = {
        one["metadata"]["name"]: one["status"]["typeChecking"].get("expressionWarnings")
        for one in listed["items"]
        if (one.get("status") or {}).get("typeChecking")
    }
    assert not {name: found for name, found in warned.items() if found}


BAD, GOOD = "registry.example/shop:v2", "registry.example/shop:v1"
BAD_DIGEST = f"sha256:{'a' * 64}"


def deployment(name: str, image: str, replicas: int = 1) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "shop", "image": image}]},
            },
        },
    }


class TestQuarantine:
    """Each case in a Deployment of its own, with a policy that has rolled v2 back."""

    DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"

    @staticmethod
    def put_up(api: Api, name: str, image: str, response: str) -> str:
        """Make a Deployment and its policy; the Deployment's path."""
        api.create(TestQuarantine.DEPLOYMENTS, deployment(name, image))
        safety = {"onQuarantined": response}
        api.create(policies(NAMESPACE), policy(name, name, safety=safety))
        entry = {
            "rollback": f"{name}-0123456789",
            "release": "b",
            "images": [BAD],
            "imageDigests": [BAD_DIGEST],
            "untilTime": "2037-01-15T08:00:00Z",
        }
        path = f"{policies(NAMESPACE)}/{name}"
        api.merge(f"{path}/status", {"status": {"quarantine": [entry]}})
        return f"{TestQuarantine.DEPLOYMENTS}/{name}"

    @staticmethod
    def image(name: str) -> Object:
        containers = [{"name": "shop", "image": name}]
        return {"spec": {"template": {"spec": {"containers": containers}}}}

    @classmethod
    def refusal_of(cls, api: Api, path: str, image: str) -> str:
        """Return the refusal of an image, as soon as the API server knows of the policy."""

        def look() -> str:
            api.merge(path, cls.image(GOOD))
            return refusal(lambda: api.merge(path, cls.image(image)))

        return str(eventually(look, "the policy on quarantine bites"))

    def test_an_image_that_was_rolled_back_does_not_come_back(
        self, as_user: Callable[[str], Api]
    ) -> None:
        api = as_user("")
        path = self.put_up(api, "refused", GOOD, "Refuse")

        for image in (BAD, f"registry.example/shop@{BAD_DIGEST}"):
            said = self.refusal_of(api, path, image)
            assert "refused-0123456789 went back from this image" in said
            assert "2037-01-15" in said
            assert "RollbackPolicy refused" in said
        api.merge(path, self.image("registry.example/shop:v3"))

    def test_an_image_does_not_come_back_as_an_init_container_either(
        self, as_user: Callable[[str], Api]
    ) -> None:
        api = as_user("")
        path = self.put_up(api, "first", GOOD, "Refuse")
        assert self.refusal_of(api, path, BAD)

        for image in (BAD, f"registry.example/shop@{BAD_DIGEST}"):
            first = [{"name": "migrate", "image": image}]
            change = {"spec": {"template": {"spec": {"initContainers": first}}}}
            said = refusal(lambda change=change: api.merge(path, change))
            assert "first-0123456789 went back from this image" in said
        other = [{"name": "migrate", "image": "registry.example/migrate:v3"}]
        api.merge(path, {"spec": {"template": {"spec": {"initContainers": other}}}})

    def test_what_runs_already_may_be_scaled_and_left(self, as_user: Callable[[str], Api]) -> None:
        api = as_user("")
        path = self.put_up(api, "running", BAD, "Refuse")

        api.merge(path, {"spec": {"replicas": 3, "paused": True}})
        api.merge(path, self.image(GOOD))
        assert self.refusal_of(api, path, BAD)

    def test_is_only_told_where_the_policy_says_so(self, as_user: Callable[[str], Api]) -> None:
        api = as_user("")
        refused = self.put_up(api, "strict", GOOD, "Refuse")
        path = self.put_up(api, "told", GOOD, "Tell")
        assert self.refusal_of(api, refused, BAD)

        assert (
            api.merge(path, self.image(BAD))["spec"]["template"]["spec"]["containers"][0]["image"]
            == BAD
        )


def test_each_expression_has_the_types_that_it_needs(
    cluster: ControlPlane, as_user: Callable[[str], Api]
) -> None:
    """The API server checks types after it has stored a policy, and only warns."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    ours = [
        one for one in as_user("").get(path)["items"] if one["metadata"]["name"].startswith(OURS)
    ]
    assert len(ours) > 10

    def unchecked() -> list[str]:
        seen = {
            one["metadata"]["name"]: one.get("status", {}).get("observedGeneration")
            for one in as_user("").get(path)["items"]
        }
        return [one["metadata"]["name"] for one in ours if seen[one["metadata"]["name"]] is None]

    eventually(lambda: not unchecked(), "each is checked")
    warned = {
        one["metadata"]["name"]: warnings
        for one in as_user("").get(path)["items"]
        if (warnings := one.get("status", {}).get("typeChecking", {}).get("expressionWarnings"))
    }
    assert warned == {}
