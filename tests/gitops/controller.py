"""What Argo CD and Flux do with one Deployment: every three seconds it is made what Git wants.

The loop is theirs as far as it matters here: it reads its own object, honours suspension, applies
server-side under the controller's name, and tells in its object's status what it has seen.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.integration.api import Api, ApiError, Object, deployments

EVERY_SECONDS = 3.0
AUTOMATED = {"prune": True, "selfHeal": True}


@dataclass
class Controller:
    """Applies a container's image, as it is in Git, to a Deployment."""

    api: Api
    name: str
    namespace: str
    """Of the Deployment."""
    deployment: str
    container: str
    image: str
    """What is in Git."""
    home: str = ""
    """The namespace of its own object."""
    faults: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    """The images that it has put there."""
    _end: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    MANAGER: ClassVar[str]
    HOME: ClassVar[str]
    OBJECTS: ClassVar[str]

    def __enter__(self) -> Self:
        self.home = self.home or self.HOME
        self.api.create(self.objects, self.manifest())
        self.reconcile()
        self._thread = threading.Thread(target=self._run, name=f"gitops-{self.name}")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self.api.delete(self.path)
        if error is None:
            assert self.faults == []

    def _run(self) -> None:
        while not self._end.wait(EVERY_SECONDS):
            try:
                self.reconcile()
            except ApiError as fault:
                # Admission may refuse a release: the real ones say so, and try again.
                self.faults.append(str(fault))

    # -- as a person uses it -----------------------------------------------------------------------

    def commit(self, image: str) -> None:
        """Put another image into Git."""
        self.image = image

    def sync(self) -> None:
        """Apply what is in Git now, whether that is done by itself or not."""
        self.reconcile(is_asked=True)

    def object(self) -> Object:
        return self.api.get(self.path)

    # -- the loop ----------------------------------------------------------------------------------

    def reconcile(self, *, is_asked: bool = False) -> None:
        with self._lock:
            # In their order: what is compared is older than the policy by which it is put right. On
            # a busy machine seconds lie between the two, in which somebody may suspend and act.
            is_right = self._is_same() and bool(self.applied)
            found = self.object()
            if self.is_skipped(found):
                return
            if not is_right and (is_asked or self.applies(found)):
                self._apply()
            self.tell(self._is_same())

    def _apply(self) -> None:
        template = {"spec": {"containers": [{"name": self.container, "image": self.image}]}}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.deployment, "namespace": self.namespace, **self.marks()},
            "spec": {"template": template},
        }
        path = f"{deployments(self.namespace)}/{self.deployment}"
        self.api.apply(path, manifest, self.MANAGER)
        self.applied.append(self.image)

    def _is_same(self) -> bool:
        found = self.api.get(f"{deployments(self.namespace)}/{self.deployment}")
        containers = found["spec"]["template"]["spec"]["containers"]
        return any(
            one["name"] == self.container and one["image"] == self.image for one in containers
        )

    @property
    def objects(self) -> str:
        return self.OBJECTS.format(self.home)

    @property
    def path(self) -> str:
        return f"{self.objects}/{self.name}"

    # -- what tells the two apart ------------------------------------------------------------------

    def manifest(self) -> Object:
        raise NotImplementedError

    def marks(self) -> Object:
        raise NotImplementedError

    def is_skipped(self, found: Object) -> bool:
        raise NotImplementedError

    def applies(self, found: Object) -> bool:
        raise NotImplementedError

    def tell(self, is_same: bool) -> None:
        raise NotImplementedError


@dataclass
class ArgoCD(Controller):
    """Argo CD with an Application that heals by itself."""

    automated: Object | None = field(default_factory=lambda: dict(AUTOMATED))
    generator: Object | None = None
    """The ApplicationSet that owns it, as the API server has it."""
    installed: str = "argocd"
    """The namespace of Argo CD itself."""

    MANAGER: ClassVar[str] = "argocd-controller"
    HOME: ClassVar[str] = "argocd"
    OBJECTS: ClassVar[str] = "/apis/argoproj.io/v1alpha1/namespaces/{}/applications"

    def manifest(self) -> Object:
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.home}
        if self.generator is not None:
            owner = {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "ApplicationSet",
                "name": self.generator["metadata"]["name"],
                "uid": self.generator["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
            metadata["ownerReferences"] = [owner]
        policy = {"syncOptions": ["ServerSideApply=true"]}
        if self.automated is not None:
            policy["automated"] = self.automated  # type: ignore[assignment] # another shape
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": metadata,
            "spec": {
                "project": "default",
                "destination": {
                    "server": "https://kubernetes.default.svc",
                    "namespace": self.namespace,
                },
                "source": {"repoURL": "https://git.example.com/shop.git", "path": "."},
                "syncPolicy": policy,
            },
        }

    def marks(self) -> Object:
        app = self.name if self.home == self.installed else f"{self.home}_{self.name}"
        tracked = f"{app}:apps/Deployment:{self.namespace}/{self.deployment}"
        return {"annotations": {"argocd.argoproj.io/tracking-id": tracked}}

    def is_skipped(self, found: Object) -> bool:
        marks = found["metadata"].get("annotations") or {}
        return bool(marks.get("argocd.argoproj.io/skip-reconcile") == "true")

    def applies(self, found: Object) -> bool:
        return (found["spec"].get("syncPolicy") or {}).get("automated") is not None

    def tell(self, is_same: bool) -> None:
        word = "Synced" if is_same else "OutOfSync"
        entry = {
            "group": "apps",
            "version": "v1",
            "kind": "Deployment",
            "namespace": self.namespace,
            "name": self.deployment,
            "status": word,
        }
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"sync": {"status": word}, "reconciledAt": now, "resources": [entry]}
        self.api.merge(self.path, {"status": status})


@dataclass
class Flux(Controller):
    """Flux with a Kustomization that corrects drift."""

    MANAGER: ClassVar[str] = "kustomize-controller"
    HOME: ClassVar[str] = "flux-system"
    OBJECTS: ClassVar[str] = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{}/kustomizations"

    def manifest(self) -> Object:
        return {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": self.name, "namespace": self.home},
            "spec": {
                "interval": "3s",
                "path": ".",
                "prune": True,
                "sourceRef": {"kind": "GitRepository", "name": "shop"},
            },
        }

    def marks(self) -> Object:
        group = "kustomize.toolkit.fluxcd.io"
        return {"labels": {f"{group}/name": self.name, f"{group}/namespace": self.home}}

    def is_skipped(self, found: Object) -> bool:
        return bool(found["spec"].get("suspend"))

    def applies(self, found: Object) -> bool:
        return not self.is_skipped(found)

    def tell(self, is_same: bool) -> None:
        entry = {"id": f"{self.namespace}_{self.deployment}_apps_Deployment", "v": "v1"}
        status = {"inventory": {"entries": [entry]}, "observedGeneration": int(is_same)}
        self.api.merge(f"{self.path}/status", {"status": status})
