"""A ticket shop, its customers and its policy, in the words of a scenario."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import chart
from lab.e2e import VALUES
from lab.errors import LabError
from lab.loadgen import Failure, Load
from lab.namespace import network_of
from lab.remote_write import Sample, write
from lab.session import Session
from lab.tickets import OPERATOR, TicketService, operator_objects, query, wait_for

GOOD = "v1.2.3"
CONFIG_MAP, FLAG = "ticket-service-config", "FEATURE_NEW_CHECKOUT"
QUICKLY_GOOD = {"goodAfterSeconds": 15}
ERRORS_ONLY = [
    {
        "severity": "P1",
        "when": [{"signal": "ErrorRate", "atLeast": "0.90", "routes": "Purchase"}],
        "response": "Rollback",
        "withinSeconds": 60,
    }
]
"""A matrix that names memory keeps a release from being Good until a leak would show."""
ROUTES = {
    ("GET", "/api/v1/tickets"): 0.4,
    ("POST", "/api/v1/tickets/reserve"): 0.3,
    ("POST", "/api/v1/tickets/purchase"): 0.3,
}
"""The share of each route in the load generator's mix."""
PAST_SECONDS = 300
LIVE_SECONDS = 16
"""Three scrapes of the pods that serve: they are known to Prometheus beside their past."""
REVISION = "deployment.kubernetes.io/revision"
DECISION_SECONDS = 120
OUTCOME_SECONDS = 180
SALES_SECONDS = 30
QUESTION_SECONDS = 240
QUIET_SECONDS = 5
LOOK_SECONDS = 0.5


@dataclass
class Shop:
    lab: Session
    namespace: str
    folder: Path
    replicas: int
    environment: Mapping[str, str] = field(default_factory=dict)
    service: TicketService = field(init=False)
    _load: Load | None = None
    _rate: float = 0.0
    _serves_since: float = 0.0

    def __post_init__(self) -> None:
        # A node that runs many shops at once is slow to send a pod that goes no more customers.
        more = {"SHUTDOWN_DELAY_MS": "8000", **self.environment}
        self.service = TicketService(self.lab, self.namespace, self.replicas, more)

    # -- given -------------------------------------------------------------------------------------

    def opens(self, version: str = GOOD, rate: float = 15, **policy: Any) -> None:
        """A release serves customers, under a policy that differs from the least in these."""
        self.service.deploy(version)
        self.is_watched(rate, **policy)

    def is_watched(self, rate: float = 15, **policy: Any) -> None:
        """What is deployed serves customers, under a policy as that of `opens`."""
        self.service.apply_policy(policy)
        self._has_customers(rate)

    def has_customers_of(self, version: str, rate: float = 15) -> None:
        """A release serves customers, and no policy is there yet."""
        self.service.deploy(version)
        self._has_customers(rate)

    def _has_customers(self, rate: float) -> None:
        self._load = self.service.load(rate, self.folder)
        self._load.__enter__()
        self._rate = rate
        self._serves_since = time.monotonic()

    def has_served(self, seconds: float = LIVE_SECONDS) -> None:
        """The newest release has served for so long."""
        time.sleep(max(0.0, self._serves_since + seconds - time.monotonic()))

    def has_a_past(self) -> None:
        """The newest release has served for long enough to be compared with.

        Prometheus holds five minutes of the same load on a pod of it that is gone, and the first
        samples of the pods that are there.
        """
        pod = f"{self._replica_set()}-past0"
        series = self._series(pod, time.clock_gettime(time.CLOCK_REALTIME))
        is_outside = bool(self.lab.network_prefix())
        with network_of(self.lab.node_pid) if is_outside else contextlib.nullcontext():
            write(self.lab.prometheus_url, series)
        self.has_served()

    def _series(self, pod: str, end: float) -> Iterator[tuple[Mapping[str, str], Sequence[Sample]]]:
        times = range(-PAST_SECONDS, 0, 5)
        for (method, route), share in ROUTES.items():
            labels = {"namespace": self.namespace, "pod": pod, "job": "pods", "instance": "past"}
            labels |= {"method": method, "route": route, "service": "ticket-service"}
            requests = {**labels, "__name__": "http_request_duration_seconds_count"}
            rate = self._rate * share
            counted = [(end + at, rate * (PAST_SECONDS + at)) for at in times]
            yield {**requests, "status": "200"}, counted
            errors = {**labels, "__name__": "http_request_errors_total"}
            for none in (errors, {**requests, "status": "400"}):
                yield none, [(end + at, 0.0) for at in times]

    def _replica_set(self) -> str:
        """Give the name of the newest release's ReplicaSet."""
        number = self.service.deployment()["metadata"]["annotations"][REVISION]
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        return next(
            str(item["metadata"]["name"])
            for item in self.lab.get(path)["items"]
            if item["metadata"]["annotations"].get(REVISION) == number
        )

    def serves_after(self, version: str = GOOD, rate: float = 15, **policy: Any) -> None:
        """A release has served for long enough to be compared with."""
        self.opens(version, rate, **policy)
        self.has_a_past()

    # -- when --------------------------------------------------------------------------------------

    def releases(self, version: str) -> None:
        self.service.release(version)

    def is_reached_by_port_name(self, name: str) -> None:
        """The Service finds the pods' port by its name."""
        ports = [{"port": 80, "targetPort": name}]
        patch = json.dumps({"spec": {"ports": ports}})
        self.service.kubectl("patch", "service", "ticket-service", "--patch", patch)

    def releases_with_port_name(self, version: str, name: str) -> None:
        """A release goes out that calls the port on which it serves by this name."""
        container = {
            "name": "ticket-service",
            "image": f"localhost/ticket-service:{version}",
            "ports": [{"containerPort": 8080, "name": name}],
        }
        patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
        self.service.kubectl("patch", "deployment", "ticket-service", "--patch", patch)

    def has_secret(self, name: str, **values: str) -> None:
        """A Secret is there that the operator may read, as by the chart's readSecrets."""
        literals = [f"--from-literal={key}={value}" for key, value in values.items()]
        self.service.kubectl("create", "secret", "generic", name, *literals)
        self._operator_may("get", "secrets", name)

    def has_flag_on(self) -> None:
        """The feature is on for pods that start from now on, and the operator may turn it off."""
        patch = json.dumps({"data": {FLAG: "true"}})
        self.service.kubectl("patch", "configmap", CONFIG_MAP, "--patch", patch)
        self._operator_may("get,patch", "configmaps", CONFIG_MAP)

    def has_settings_to_restore(self) -> None:
        """The operator may restore the ConfigMap, as by the chart's restoreConfigMaps."""
        listed = [{"namespace": self.namespace, "names": [CONFIG_MAP]}]
        url = {"prometheus": {"url": self.lab.prometheus_url_in_cluster}}
        values = {**VALUES, **url, "restoreConfigMaps": listed}
        kinds = ("Role", "RoleBinding", "ValidatingAdmissionPolicy")
        changed = [
            made
            for made in operator_objects(values)
            if made["kind"] in kinds and made["metadata"]["name"].endswith("-configmaps")
        ]
        self.lab.kubectl("apply", "--server-side", "-f", "-", input=chart.stream(changed))

    def has_stored_its_settings(self) -> None:
        """The running release is Good, and the content of its ConfigMap is stored."""

        def look() -> bool:
            status = self.service.policy().get("status", {})
            release = status.get("revision", {}).get("release")
            running = [one for one in status.get("revisions", []) if one["release"] == release]
            return any("digest" in one for each in running for one in each.get("configMaps", []))

        wait_for("the ConfigMap to be stored", DECISION_SECONDS, look)

    def changes_settings(self, data: Mapping[str, str]) -> None:
        """A release goes out that is a changed ConfigMap and a restart."""
        patch = json.dumps({"data": data})
        self.service.kubectl("patch", "configmap", CONFIG_MAP, "--patch", patch)
        self.service.kubectl("rollout", "restart", "deployment/ticket-service")

    def _operator_may(self, verb: str, resource: str, name: str) -> None:
        kubectl, role = self.service.kubectl, f"operator-{name}"
        asked = (f"--verb={verb}", f"--resource={resource}", f"--resource-name={name}")
        kubectl("create", "role", role, *asked)
        account = f"--serviceaccount={OPERATOR}:{OPERATOR}"
        kubectl("create", "rolebinding", role, f"--role={role}", account)

    def releases_unscraped(self, version: str) -> None:
        """A release goes out whose pods no longer ask to be scraped."""
        image = {"name": "ticket-service", "image": f"localhost/ticket-service:{version}"}
        metadata = {"annotations": {"prometheus.io/scrape": None}}
        self.changes_template({"metadata": metadata, "spec": {"containers": [image]}})

    def changes_template(self, template: Mapping[str, Any]) -> None:
        """Something else of the pods is released."""
        patch = json.dumps({"spec": {"template": template}})
        self.service.kubectl("patch", "deployment", "ticket-service", "--patch", patch)

    def changes_pace(self, seconds: int) -> None:
        """From now on a pod has to serve for so long before the rollout goes on."""
        patch = json.dumps({"spec": {"minReadySeconds": seconds}})
        self.service.kubectl("patch", "deployment", "ticket-service", "--patch", patch)

    def has_rolled_out(self) -> None:
        self.service.wait_rolled_out()
        self._serves_since = time.monotonic()

    def customers_leave(self) -> None:
        """Without requests nothing can be verified: a rollback stays open until they return."""
        assert self._load is not None
        self._load.stop()

    def customers_return(self) -> None:
        assert self._load is not None
        self._load.__enter__()

    def begins_to_go_back(self) -> dict[str, Any]:
        """The act is done, its end is not and cannot be: the Rollback as it stands then."""
        self.has_a_rollback()
        self.customers_leave()

        def look() -> dict[str, Any] | None:
            found = self.service.rollbacks()
            return found[-1] if found and _finished(found[-1], "Undo") else None

        begun: dict[str, Any] = wait_for("the undo", DECISION_SECONDS, look)
        assert "outcome" not in begun["status"], begun["status"]
        return begun

    # -- then --------------------------------------------------------------------------------------

    def has_a_rollback(self) -> dict[str, Any]:
        found = wait_for("a Rollback", DECISION_SECONDS, self.service.rollbacks)
        return dict(found[-1])

    def is_over(self) -> dict[str, Any]:
        """The first Rollback has ended."""
        self.has_a_rollback()
        return self._ended(lambda one: True)

    def is_over_with(self, version: str) -> dict[str, Any]:
        """A Rollback away from this version has ended, and has been verified."""
        ended = self._ended(lambda one: _images(one["spec"]["fromRevision"]).endswith(version))
        assert ended["status"]["outcome"] == "Verified", ended["status"]
        return ended

    def is_over_by(self, remedy: str) -> dict[str, Any]:
        """A Rollback by this remedy has ended."""
        return self._ended(lambda one: one["spec"]["remedy"]["type"] == remedy)

    def _ended(self, is_meant: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            meant = [one for one in self.service.rollbacks() if is_meant(one)]
            return next((one for one in meant if "outcome" in one.get("status", {})), None)

        ended: dict[str, Any] = wait_for("a Rollback's outcome", OUTCOME_SECONDS, look)
        return ended

    def goes_back_to(self, version: str) -> dict[str, Any]:
        """One Rollback to this version, verified; it runs, whole, as fast as before, and sells."""
        ended = self.is_over()
        assert ended["status"]["outcome"] == "Verified", ended["status"]
        assert [one["metadata"]["name"] for one in self.service.rollbacks()] == [
            ended["metadata"]["name"]
        ]
        self.runs(version)
        self.sells()
        return ended

    def awaits_approval(self) -> dict[str, Any]:
        """A Rollback waits for a person."""

        def look() -> dict[str, Any] | None:
            found = self.service.rollbacks()
            is_asked = found and found[-1].get("status", {}).get("step") == "AwaitingApproval"
            return found[-1] if is_asked else None

        return dict(wait_for("a question", DECISION_SECONDS, look))

    def tells(self, reason: str, seconds: float = DECISION_SECONDS) -> str:
        """An Event with this reason is posted; its message."""

        def look() -> str:
            found = self.service.kubectl(
                "get",
                "events",
                "--field-selector",
                f"reason={reason}",
                "-o",
                "jsonpath={.items[*].message}",
            )
            return found.strip()

        return str(wait_for(f"the Event {reason}", seconds, look))

    def is_held(self, reason: str) -> datetime:
        """The rollout is paused for this reason, with both revisions' pods; gives since when."""

        def look() -> dict[str, Any] | None:
            hold = self.service.policy().get("status", {}).get("hold") or {}
            return hold if hold.get("reason") == reason and "pausedTime" in hold else None

        hold: dict[str, Any] = wait_for(f"a hold for {reason}", DECISION_SECONDS, look)
        return datetime.fromisoformat(hold["pausedTime"])

    def is_let_go(self, reason: str) -> None:
        """The rollout that was held goes on for this reason, and its pause was our own to lift."""

        def look() -> dict[str, Any] | None:
            told = self.condition("RolloutHeld")
            return told if told.get("status") == "False" else None

        told = wait_for("the end of the hold", OUTCOME_SECONDS, look)
        assert told["reason"] == reason, told
        assert not self.service.deployment()["spec"].get("paused")
        policy = self.service.policy
        wait_for("the finalizer to go", 30, lambda: "finalizers" not in policy()["metadata"])

    def runs(self, version: str) -> None:
        """The Deployment wants this version, at the pace that its manifest gives it."""
        deployment = self.service.deployment()
        assert self.service.image() == version
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": "25%", "maxUnavailable": "25%"}
        assert not deployment["spec"].get("paused")

    def is_whole(self) -> None:
        """All its pods are available."""

        def look() -> bool:
            status = self.service.deployment()["status"]
            return bool(status.get("availableReplicas") == self.replicas)

        wait_for("all pods to be available", 90, look)

    def sells(self) -> None:
        """No request fails any more; those to pods that are just going may have, until now."""

        def look() -> bool:
            before = len(self.failures())
            time.sleep(QUIET_SECONDS)
            return len(self.failures()) == before

        wait_for("a time in which no request fails", SALES_SECONDS, look)

    def is_left_alone(self, version: str, seconds: float) -> set[str]:
        """For so long nothing is rolled back; gives the verdicts that were told meanwhile."""
        until, verdicts = time.monotonic() + seconds, set()
        while time.monotonic() < until:
            assert self.service.rollbacks() == []
            verdicts.add(self.verdict())
            time.sleep(LOOK_SECONDS)
        self.runs(version)
        return verdicts

    def is_at_most_asked_about(self, version: str, seconds: float) -> None:
        """For so long nothing is rolled back; people may be asked if the release is to blame."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # A question has no status until its first step is stored.
            known = [made.get("status", {}) for made in self.service.rollbacks()]
            steps = {step["name"] for status in known for step in status.get("steps", [])}
            assert steps <= {"AwaitingApproval"}
            time.sleep(LOOK_SECONDS)
        self.runs(version)

    def needs_no_answer(self) -> None:
        """Whatever was asked is over, and nothing was changed."""
        wait_for(
            "questions to end: a whole window of requests has to be clean",
            QUESTION_SECONDS,
            lambda: all("outcome" in made.get("status", {}) for made in self.service.rollbacks()),
        )
        outcomes = {made["status"]["outcome"] for made in self.service.rollbacks()}
        assert outcomes <= {"Abandoned"}

    def is_looked_into(self, severity: str, seconds: float = 240) -> dict[str, str]:
        """People are asked to look, and told what is known; nothing else happens."""

        def look() -> dict[str, Any] | None:
            assert self.service.rollbacks() == []
            status = self.service.policy().get("status", {})
            return status if "investigation" in status else None

        status = wait_for("an investigation", seconds, look)
        assert status["severity"] == severity, status
        assert status["verdict"] == "Bad", status
        found = status["investigation"]
        assert found["severity"] == severity
        return {one["name"]: one["message"] for one in found["findings"]}

    def becomes_good(self, version: str) -> None:
        """The policy calls the running release good, and one to go back to."""

        def look() -> bool:
            known = self.service.policy()["status"].get("lastKnownGood") or {}
            healths = {
                one["images"][0].rsplit(":", 1)[-1]: one["health"]
                for one in self.service.policy()["status"]["revisions"]
            }
            is_it = known.get("images", [""])[0].endswith(f":{version}")
            return is_it and healths.get(version) == "Good" and self.verdict() == "Healthy"

        wait_for(f"{version} to be good", DECISION_SECONDS, look)

    # -- looks -------------------------------------------------------------------------------------

    def flag(self) -> str:
        """What the ConfigMap says of the feature."""
        path = f"jsonpath={{.data.{FLAG}}}"
        return self.service.kubectl("get", "configmap", CONFIG_MAP, "-o", path).strip()

    def verdict(self) -> str:
        return str(self.service.policy().get("status", {}).get("verdict"))

    def condition(self, kind: str) -> dict[str, Any]:
        found = self.service.policy().get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == kind), {})

    def failures(self) -> list[Failure]:
        assert self._load is not None
        return self._load.failures()

    def errors(self) -> list[Failure]:
        """What the service has answered badly; what a busy machine was too slow for is none."""
        return [one for one in self.failures() if one.status > 0]

    def watched_since(self) -> str:
        """When the watch of the running release began."""
        look = self.service.policy
        wait_for("a watch", 30, lambda: look().get("status", {}).get("revision", {}).get("since"))
        return str(look()["status"]["revision"]["since"])

    def pods_have_served(self, version: str, seconds: float) -> None:
        """The pods of this version, as many as there are yet, have been ready for so long."""

        def look() -> bool:
            pods = json.loads(self.service.kubectl("get", "pods", "-o", "json"))["items"]
            since = [
                datetime.fromisoformat(one["lastTransitionTime"])
                for pod in pods
                if pod["spec"]["containers"][0]["image"].endswith(f":{version}")
                for one in pod["status"].get("conditions", [])
                if one["type"] == "Ready" and one["status"] == "True"
            ]
            now = datetime.now(UTC)
            return bool(since) and all((now - one).total_seconds() >= seconds for one in since)

        wait_for(f"{version} to have served for {seconds} s", DECISION_SECONDS, look)

    def scrapes_of(self, revision: Mapping[str, Any]) -> dict[str, int]:
        """How often Prometheus has scraped each pod of a revision."""
        pods = f"ticket-service-{revision['templateHash']}-.*"
        series = f'up{{namespace="{self.namespace}",pod=~"{pods}"}}[10m]'
        return {one["metric"]["pod"]: len(one["values"]) for one in query(self.lab, series)}

    def account(self) -> str:
        """Everything that tells why a scenario failed."""
        asked = (
            ("get", "deployments,replicasets,pods", "-o", "wide"),
            ("get", "rollbackpolicies,rollbacks", "-o", "yaml"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        )
        told = []
        for arguments in asked:
            try:
                told.append(self.service.kubectl(*arguments))
            except LabError as error:
                told.append(str(error))
        if self._load is not None:
            found = self._load.failures()
            told.append(f"{len(found)} requests failed, the last: {found[-20:]}")
        return "\n".join(told)

    def close(self) -> None:
        if self._load is not None:
            self._load.stop()
        self.lab.kubectl("delete", "namespace", self.namespace, "--wait=false")


def _finished(rollback: Mapping[str, Any], step: str) -> bool:
    steps = rollback.get("status", {}).get("steps", [])
    return any(one["name"] == step and "finishedTime" in one for one in steps)


def _images(revision: Mapping[str, Any]) -> str:
    return ",".join(revision["images"])
