"""Image updaters and rollout tools, from a Deployment's metadata and from their own objects. Pure.

An object counts only if it names the Deployment, or an image that the Deployment runs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollback_operator.api.user_text.expression import is_glob_match
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.model.controllers import Claims, Owner, Updater
from rollback_operator.remedies.gitops import NEW_RELEASE

FLAGGER, ROLLOUTS = "Flagger", "Argo Rollouts"
_FLAGGER_API = "flagger.app/"
_KEEL = ("keel.sh/policy", "keel.observer/policy")
_TRIGGERS = "image.openshift.io/triggers"
IMAGE_LIST = "argocd-image-updater.argoproj.io/image-list"
_HUB = ("index.docker.io/", "docker.io/", "library/")

Raw = Mapping[str, Any]


# -- on the Deployment -----------------------------------------------------------------------------


def updaters_on(metadata: Raw) -> tuple[Updater, ...]:
    """Find image updaters that the Deployment's own metadata activates."""
    return (*_keel(metadata), *_openshift(metadata))


def _keel(metadata: Raw) -> Iterator[Updater]:
    """Find Keel: an annotation takes precedence over a label, and `never` turns it off."""
    for place in ("annotation", "label"):
        marks = metadata.get(f"{place}s") or {}
        key = next((name for name in _KEEL if marks.get(name)), None)
        if key is None:
            continue
        if marks[key] != "never":
            remedy = (
                f"set {key} to never until a newer image is out, or have the bad one refused "
                "(spec.safety.onQuarantined: Refuse)"
            )
            yield Updater("Keel", f"{place} {key}={marks[key]}", remedy)
        return


def _openshift(metadata: Raw) -> Iterator[Updater]:
    text = (metadata.get("annotations") or {}).get(_TRIGGERS)
    for trigger in _parsed_list(text):
        is_paused = str(trigger.get("paused", "")).lower() == "true"
        if not is_paused:
            source = trigger.get("from")
            tag = source.get("name") if isinstance(source, Mapping) else source
            remedy = (
                f"turn it off until a newer image is out: oc set triggers "
                f"deployment/{metadata.get('name')} --manual"
            )
            yield Updater("OpenShift image triggers", f"annotation {_TRIGGERS}: {tag}", remedy)
            return


def _parsed_list(text: Any) -> list[Raw]:
    try:
        items = parsed(text or "[]")
    except (TypeError, ValueError):
        return []
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


# -- rollout tools ---------------------------------------------------------------------------------


def canary_on(listed: Iterable[Raw], deployment: str) -> Claims:
    """Find the Flagger Canary whose target is a Deployment."""
    for canary in listed:
        target = (canary.get("spec") or {}).get("targetRef") or {}
        if (target.get("kind"), target.get("name")) == ("Deployment", deployment):
            return _flagger(str(canary["metadata"]["name"]), deployment, "spec.targetRef")
    return Claims(denied=frozenset({FLAGGER}))


def primary_of(primary: Raw, deployment: str) -> Claims:
    """Find Flagger by its copy of the target, where Canaries may not be read."""
    for owner in primary["metadata"].get("ownerReferences") or []:
        if str(owner.get("apiVersion", "")).startswith(_FLAGGER_API):
            evidence = f"ownerReference of Deployment {primary['metadata']['name']}"
            return _flagger(str(owner.get("name")), deployment, evidence)
    return Claims(denied=frozenset({FLAGGER}))


def _flagger(canary: str, deployment: str, by: str) -> Claims:
    remedy = (
        "roll back where the release comes from: Flagger analyses each release and reverts a bad "
        f"release, see Canary {canary}; {deployment}-primary serves the traffic"
    )
    owner = Owner(FLAGGER, f"Canary {canary}, {by}", remedy, is_rollout_tool=True, then=NEW_RELEASE)
    return Claims(driver=owner)


def rollout_on(listed: Iterable[Raw], deployment: str) -> Claims:
    """Find the Argo Rollout that takes its template from a Deployment."""
    for rollout in listed:
        reference = (rollout.get("spec") or {}).get("workloadRef") or {}
        is_apps = str(reference.get("apiVersion", "")).startswith("apps/")
        if is_apps and (reference.get("kind"), reference.get("name")) == ("Deployment", deployment):
            name, namespace = rollout["metadata"]["name"], rollout["metadata"].get("namespace")
            remedy = (
                f"roll back through the Rollout (kubectl argo rollouts abort {name} -n "
                f"{namespace}), then put the old template into the Deployment where it comes from"
            )
            owner = Owner(
                ROLLOUTS,
                f"Rollout {name}, spec.workloadRef",
                remedy,
                is_rollout_tool=True,
                then=NEW_RELEASE,
            )
            return Claims(driver=owner)
    return Claims(denied=frozenset({ROLLOUTS}))


# -- image updaters --------------------------------------------------------------------------------


def flux_updaters(
    policies: Iterable[Raw], automations: Iterable[Raw], images: Sequence[str]
) -> Iterator[Updater]:
    """Find Flux image automation of a namespace that writes a running image's tag to Git."""
    running = {_repository(image) for image in images}
    going = [
        automation
        for automation in automations
        if not (automation.get("spec") or {}).get("suspend")
    ]
    for policy in policies if going else ():
        metadata, status = policy["metadata"], policy.get("status") or {}
        latest = status.get("latestRef") or {}
        chosen = str(latest.get("name") or status.get("latestImage") or "")
        if chosen and _repository(chosen) in running:
            namespace, name = metadata["namespace"], metadata["name"]
            by = going[0]["metadata"]["name"]
            yield Updater(
                "Flux image automation",
                f"ImagePolicy {namespace}/{name} chooses {_repository(chosen)}, "
                f"ImageUpdateAutomation {by} writes it to Git",
                f"suspend it until a newer image is out (flux suspend image update {by} -n "
                f"{namespace}), or exclude the bad tag in ImagePolicy {name}",
            )


@dataclass(frozen=True, slots=True)
class Application:
    """Fields of an Argo CD Application that image updaters use."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    images: tuple[str, ...]
    """Repositories in the annotation of Argo CD Image Updater."""


def application_of(raw: Raw) -> Application:
    """Project an Application."""
    metadata = raw["metadata"]
    text = str((metadata.get("annotations") or {}).get(IMAGE_LIST) or "")
    named = (image.strip().rpartition("=")[2] for image in text.split(","))
    return Application(
        namespace=str(metadata["namespace"]),
        name=str(metadata["name"]),
        labels=metadata.get("labels") or {},
        images=tuple(_repository(image) for image in named if image),
    )


def argo_cd_updater(
    application: Application, updaters: Iterable[Raw] | None, images: Sequence[str]
) -> Iterator[Updater]:
    """Find Argo CD Image Updater.

    Args:
        application: the owner of the Deployment.
        updaters: ImageUpdaters; None: the kind is absent, or may not be read. If there are any, the
            Application's annotation counts only where one of them uses it.
        images: the images of the Deployment.
    """
    running = {_repository(image) for image in images}
    name = f"Application {application.namespace}/{application.name}"
    remedy = (
        "exclude the bad tag there (ignore-tags), or remove the image from it until a newer image "
        "is out"
    )
    tool, annotated = "Argo CD Image Updater", running & set(application.images)
    if updaters is None:
        if annotated:
            yield Updater(tool, f"annotation {IMAGE_LIST} of {name}", remedy)
        return
    for updater in updaters:
        for part in _selecting_parts(updater, application):
            listed = {
                _repository(str(image.get("imageName"))) for image in part.get("images") or []
            }
            if running & listed or (part.get("useAnnotations") and annotated):
                evidence = f"ImageUpdater {updater['metadata']['name']} for {name}"
                yield Updater(tool, evidence, remedy)
                return


def _selecting_parts(updater: Raw, application: Application) -> Iterator[Raw]:
    """Yield the parts of an ImageUpdater that select an Application."""
    spec = updater.get("spec") or {}
    where = spec.get("namespace") or updater["metadata"].get("namespace")
    for reference in spec.get("applicationRefs") or [] if where == application.namespace else []:
        is_named = is_glob_match(str(reference.get("namePattern") or ""), application.name)
        if is_named and _selects(reference.get("labelSelectors") or {}, application.labels):
            yield reference


def _selects(selector: Raw, labels: Mapping[str, str]) -> bool:
    """Report whether a label selector matches labels."""
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _satisfies(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _satisfies(expression: Raw, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(str(expression.get("key"))), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _repository(image: str) -> str:
    """Return an image name without tag and digest, for Docker Hub in its shortest form."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    name = head if colon and "/" not in tag else name
    for prefix in _HUB:
        name = name.removeprefix(prefix)
    return name
