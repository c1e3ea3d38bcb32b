"""The story on a cluster that is reached by a kubeconfig: one of kind, or the user's own.

All of it runs as pods. What is made is told before it is made, bears the demo's label, and goes
again by that label.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from lab import chart
from lab.demo import context, delivery, kind, preflight, removal, servers
from lab.demo.context import Context
from lab.demo.delivery import Images
from lab.demo.removal import MARK, NAMESPACE, OPERATOR_NAMESPACE
from lab.demo.stage import Customers
from lab.errors import LabError
from lab.story import Story
from lab.tickets import Operator, Tickets, operator_objects

# Until then nothing is changed, and Ctrl-C leaves no trace.
THOUGHT_SECONDS = 5
THEIRS, OURS = "namespace: production", f"namespace: {NAMESPACE}"


class ClusterStage(ABC):
    """The parts that all clusters but the lab share."""

    name: str

    def __init__(
        self,
        images: Images,
        build: Callable[[], Mapping[str, Path]] = delivery.archives,
    ) -> None:
        self._images = images
        self._build = build
        self._password = secrets.token_hex(12)
        self._context: Context | None = None
        self._is_installed = False

    @abstractmethod
    def prepare(self, story: Story) -> None: ...

    @property
    def context(self) -> Context:
        """The cluster, once it is known."""
        if self._context is None:
            raise LabError("there is no cluster yet")
        return self._context

    @property
    def tickets(self) -> Tickets:
        return Tickets(
            self.context,
            NAMESPACE,
            database_url=servers.database_url(self._password),
            images=self._images.prefix,
            pull_policy=self._images.pull_policy,
        )

    @property
    def operator(self) -> Operator:
        return Operator(self.context)

    @property
    def farewell(self) -> str:
        if self._context is None:
            return "Nothing was changed in any cluster."
        return (
            f"Everything stays up: inspect it with `kubectl --context={self._context.name} "
            f"--namespace={NAMESPACE} get all`, remove it with "
            f"`make demo-down CLUSTER={self.name}`."
        )

    def policy(self, text: str) -> str:
        if THEIRS not in text:
            raise LabError(f"the policy has no `{THEIRS}` to be changed to `{OURS}`")
        print(f"         The file says `{THEIRS}`; it is applied with `{OURS}`.", flush=True)
        return text.replace(THEIRS, OURS)

    def customers(self, rate: float) -> AbstractContextManager[Customers]:
        return servers.customers(self.context, self._images, rate)

    def purchases(self) -> int:
        return servers.purchases(self.context)

    def show(self, arguments: Sequence[str]) -> None:
        self.context.show(arguments)

    def evidence(self) -> Mapping[str, Callable[[], str]]:
        if self._context is None:
            return {}
        pods = {
            f"The pods in {space}": partial(
                self._context.kubectl, "get", "pods", f"--namespace={space}", "-o", "wide"
            )
            for space in (NAMESPACE, OPERATOR_NAMESPACE)
        }
        if not self._is_installed:
            return pods
        return {
            **pods,
            "Policies and Rollbacks": lambda: self.tickets.kubectl(
                "describe", "rollbackpolicies,rollbacks"
            ),
            "The end of the operator's log": self.operator.log,
        }

    def objects(self) -> list[dict[str, Any]]:
        """Return the chart and the shop's namespace, with labels on cluster-wide objects."""
        settings = {
            "image": {
                "repository": self._images.reference("rollback-operator"),
                "tag": delivery.OPERATOR.partition(":")[2],
                "pullPolicy": self._images.pull_policy,
            },
            "prometheus": {"url": servers.PROMETHEUS_URL},
        }
        space = chart.namespace(NAMESPACE)
        space["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
        objects = [space, *operator_objects(settings)]
        for one in preflight.of_the_cluster(objects):
            one["metadata"].setdefault("labels", {}).update(MARK)
        return objects

    def _look(self, story: Story, chosen: Context) -> None:
        """Print what the demo will use and create, and refuse conflicts; change nothing."""
        story.say(
            f"The demo uses the context {chosen.name}: the API server {chosen.server}, Kubernetes "
            f"{chosen.version()}. It creates two namespaces with their contents, and these "
            "cluster-wide objects:"
        )
        made = preflight.of_the_cluster(self.objects())
        print(preflight.announcement(made), flush=True)
        if preflight.check(chosen, made):
            story.say(f"Removing an earlier demo first (`make demo-down CLUSTER={self.name}`).")

    def _install(self, story: Story, chosen: Context, remedy: str) -> None:
        """Install everything, in the order that shows the cause of a failure."""
        if removal.remains(chosen) and not removal.remove(chosen, story.say):
            raise LabError("others use the operator of an earlier demo; see above what is left")
        self._context = chosen
        objects = self.objects()
        spaces = [one for one in objects if one["kind"] == "Namespace"]
        self._apply(spaces)
        story.say("Checking that every node has the images, including the bad release.")
        delivery.await_arrival(chosen, self._images, remedy)
        story.say(f"Starting Prometheus and PostgreSQL as pods in the namespace {NAMESPACE}.")
        servers.start(chosen, self._images, self._password)
        story.say(
            "Installing the operator from its chart: one pod with its own service account, in a "
            "namespace for restricted pods only."
        )
        self._apply(objects)
        self._is_installed = True
        self.operator.wait_ready()

    def _apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self.context.kubectl("apply", "--server-side", "-f", "-", input=chart.stream(objects))

    def _archives(self, story: Story) -> Mapping[str, Path]:
        story.say(
            "Building Prometheus and the images of the ticket shop, the operator and their "
            "servers. This takes some minutes the first time on a machine."
        )
        with story.waiting("still building"):
            return self._build()


class CurrentStage(ClusterStage):
    """The cluster of the user's current context."""

    name = "current"

    def prepare(self, story: Story) -> None:
        chosen = context.current()
        self._look(story, chosen)
        story.say(f"Nothing is changed yet. Press Ctrl-C within {THOUGHT_SECONDS} s to cancel.")
        time.sleep(THOUGHT_SECONDS)  # a person's time to read is what is waited for
        built = self._archives(story)
        remedy = delivery.loading(list(built.values()))
        if self._images.are_local:
            print(remedy, flush=True)
        else:
            remedy = (
                f"They were pushed to {self._images.prefix}: check that the nodes can pull them"
            )
            story.say(f"Pushing the images to {self._images.prefix}.")
            with story.waiting("still pushing"):
                delivery.push(built, self._images)
        self._install(story, chosen, remedy)


class KindStage(ClusterStage):
    """A cluster of kind, made for the demo."""

    name = "kind"

    def prepare(self, story: Story) -> None:
        kind.require()
        chosen = kind.find()
        built = self._archives(story)
        if chosen:
            story.say(f"Using the kind cluster {kind.NAME} of an earlier demo.")
        else:
            story.say(f"Creating the kind cluster {kind.NAME}; it becomes your current context.")
            chosen = kind.create()
        self._context = chosen
        self._look(story, chosen)
        story.say("Loading the images into its node.")
        for archive in built.values():
            kind.load(archive)
        again = " and ".join(
            f"`kind load image-archive {each} --name {kind.NAME}`" for each in built.values()
        )
        self._install(
            story, chosen, f"They were loaded by {again}: check the output of these commands"
        )
