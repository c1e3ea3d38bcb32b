"""Pods: how they start, serve, crash and go, as the kubelet would tell it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.simulation.loop import VirtualLoop
from bench.simulation.releases import ROUTES, Release, Truth
from bench.simulation.server import Server

KUBELET = "kubelet"
BACKOFF = (2.0, 10.0, 20.0, 40.0)
"""Seconds between a crash and the next start."""
RESTARTS = 4
"""How often the container of a restarting release ends before it stays."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take on a node, seconds: from, to."""

    start: tuple[float, float] = (0.5, 2.0)
    ready: tuple[float, float] = (0.5, 3.0)
    end: tuple[float, float] = (0.5, 3.0)


@dataclass(eq=False)
class Pod:
    """One pod, and what it has counted."""

    name: str
    namespace: str
    address: str
    release: Release
    owner: dict[str, str]
    """Name and uid of its ReplicaSet."""
    hash: str
    created: str
    started: str | None = None
    ready_since: str | None = None
    started_at: float = 0.0
    """Seconds of the loop."""
    is_ready: bool = False
    is_leaving: bool = False
    is_gone: bool = False
    restarts: int = 0
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROUTES, 0))
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROUTES, 0))
    available: bool = False

    @property
    def serves(self) -> bool:
        """Tell whether requests come to it."""
        return self.is_ready and not self.is_leaving

    def raw(self) -> dict[str, Any]:
        """Show it as the API server does."""
        metadata: dict[str, Any] = {
            "name": self.name,
            "namespace": self.namespace,
            "labels": {"app": self.release.app, "pod-template-hash": self.hash},
            "annotations": self.release.template["metadata"]["annotations"],
            "creationTimestamp": self.created,
            "ownerReferences": [{"kind": "ReplicaSet", "controller": True, **self.owner}],
        }
        if self.is_leaving:
            metadata["deletionTimestamp"] = self.created
        ready = {"type": "Ready", "status": "True" if self.is_ready else "False"}
        ready["lastTransitionTime"] = self.ready_since or self.created
        return {
            "metadata": metadata,
            "spec": {**self.release.template["spec"], "nodeName": "node-1"},
            "status": {
                "phase": "Running" if self.started else "Pending",
                "podIP": self.address,
                "conditions": [{"type": "PodScheduled", "status": "True"}, ready],
                "containerStatuses": [
                    {
                        "name": self.release.app,
                        "ready": self.is_ready,
                        "restartCount": self.restarts,
                        "state": self._state(),
                    }
                ],
            },
        }

    def _state(self) -> dict[str, Any]:
        if self.started is not None:
            return {"running": {"startedAt": self.started}}
        if self.restarts:
            said = "back-off restarting failed container"
            return {"waiting": {"reason": "CrashLoopBackOff", "message": said}}
        return {"waiting": {"reason": "ContainerCreating"}}


@dataclass
class Kubelet:
    """Carries pods through their lives."""

    loop: VirtualLoop
    server: Server
    dice: random.Random
    changed: Callable[[Pod], None]
    """Told of every change of a pod."""
    pace: Pace = field(default_factory=Pace)
    slowness: Callable[[], float] = lambda: 1.0
    """Factor on what takes time."""
    pods: dict[str, Pod] = field(default_factory=dict)
    spoiled: set[int] = field(default_factory=set)
    """Versions whose containers end a moment after their start by now, whatever they were."""
    _addresses: int = 0

    def address(self) -> str:
        """Give the next pod's address."""
        self._addresses += 1
        return f"10.1.{self._addresses // 250}.{self._addresses % 250 + 1}"

    def add(self, pod: Pod) -> None:
        """Begin a pod's life."""
        self.pods[pod.name] = pod
        self.server.make(KUBELET, "pods", pod.raw())
        self._later(self.pace.start, self._start, pod)

    def adopt(self, pod: Pod) -> None:
        """Take in a pod that has been serving for long."""
        self.pods[pod.name] = pod
        self.server.make(KUBELET, "pods", pod.raw())

    def remove(self, pod: Pod) -> None:
        """End a pod: it is served no more and is gone a moment later."""
        pod.is_leaving = True
        self._show(pod)
        self._later(self.pace.end, self._gone, pod)

    def _start(self, pod: Pod) -> None:
        if pod.is_leaving:
            return
        pod.started, pod.started_at = self.server.now(), self.loop.time()
        self._show(pod)
        match pod.release.truth:
            case _ if pod.release.version in self.spoiled:
                self._later((0.3, 1.5), self._crash, pod)
            case Truth.CRASHING:
                self._later((0.3, 1.5), self._crash, pod)
            case Truth.UNREADY:
                pass
            case Truth.RESTARTING if pod.restarts < RESTARTS:
                self._later(self.pace.ready, self._ready, pod)
                self._later((20.0, 40.0), self._crash, pod)
            case _:
                self._later(self.pace.ready, self._ready, pod)

    def _ready(self, pod: Pod) -> None:
        if not pod.is_leaving:
            pod.is_ready, pod.ready_since = True, self.server.now()
            self._show(pod)

    def _crash(self, pod: Pod) -> None:
        if pod.is_leaving:
            return
        pod.started, pod.restarts, pod.is_ready = None, pod.restarts + 1, False
        pod.requests, pod.errors = dict.fromkeys(ROUTES, 0), dict.fromkeys(ROUTES, 0)
        self._show(pod)
        pause = BACKOFF[min(pod.restarts, len(BACKOFF)) - 1]
        if pod.release.truth is Truth.RESTARTING:
            pause = BACKOFF[0]
        self._later((pause, pause * 1.1), self._start, pod)

    def _gone(self, pod: Pod) -> None:
        pod.is_gone, pod.is_ready = True, False
        self.pods.pop(pod.name, None)
        self.server.delete(KUBELET, ("pods", pod.namespace, pod.name))
        self.changed(pod)

    def _show(self, pod: Pod) -> None:
        id_ = "pods", pod.namespace, pod.name
        known = self.server.read(id_)
        if known is None:
            return
        raw = pod.raw()
        raw["metadata"] = {**known["metadata"], **raw["metadata"]}
        self.server.write(KUBELET, id_, raw)
        self.changed(pod)

    def _later(self, span: tuple[float, float], callback: Callable[[Pod], None], pod: Pod) -> None:
        self.loop.after(self.dice.uniform(*span) * self.slowness(), callback, pod)
