"""The operator's chart as one stream of YAML for `kubectl apply -f -`, without the helm binary.

    python -m lab.chart [--set a=b ...] [--namespace N] [--name RELEASE] | kubectl apply -f -

First the CRDs, then the rest in an order in which each finds what it needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "rollback-operator"
DEFINITION = "CustomResourceDefinition"
ORDER = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.chart", description=__doc__)
    parser.add_argument("--namespace", default="rollback-operator", help="made if it is missing")
    parser.add_argument("--name", default="rollback-operator", help="name of the release")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", dest="settings")
    parser.add_argument("--values", type=Path, metavar="FILE", help="YAML; --set wins")
    arguments = parser.parse_args()
    try:
        values = merged(_read(arguments.values), *(_parsed(each) for each in arguments.settings))
        objects = [*crds(), namespace(arguments.namespace)]
        objects += rendered(values, name=arguments.name, namespace=arguments.namespace)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    print(stream(objects), end="")
    return 0


def crds() -> Iterator[dict[str, Any]]:
    """The definitions of the chart, as `kubectl apply -f deploy/crds` has them: of no release."""
    for path in sorted((CHART / "files" / "crds").glob("*.yaml")):
        yield from _documents(path.read_text())


def crd_names() -> list[str]:
    return [definition["metadata"]["name"] for definition in crds()]


def namespace(name: str) -> dict[str, Any]:
    """The release's namespace; bare, so that one which is there stays as it is."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def rendered(values: Mapping[str, Any], *, name: str, namespace: str) -> list[dict[str, Any]]:
    """The chart's objects for these values, without its hooks and CRDs: what follows `crds`.

    Raises:
        LabError: the values do not fit the chart's schema; says which.
    """
    found = _everything(values, name=name, namespace=namespace)
    return [each for each in found if not _hook(each) and each["kind"] != DEFINITION]


def hooks(
    values: Mapping[str, Any], *, name: str, namespace: str, at: str = "pre-delete"
) -> list[dict[str, Any]]:
    """The objects that helm applies at one point of a release's life only."""
    found = _everything(values, name=name, namespace=namespace)
    return [each for each in found if at in _hook(each).split(",")]


def _documents(text: str) -> Iterator[Any]:
    # By libyaml: the CRDs have a megabyte, for which the parser in Python takes a second.
    yield from yaml.load_all(text, yaml.CSafeLoader)


def _hook(found: Mapping[str, Any]) -> str:
    return str((found["metadata"].get("annotations") or {}).get("helm.sh/hook", ""))


def _everything(values: Mapping[str, Any], *, name: str, namespace: str) -> list[dict[str, Any]]:
    helm = _helm()
    try:
        with helm.Chart.load(CHART) as chart:
            files = chart.render(dict(values), name=name, namespace=namespace, is_install=True)
    except helm.HelmError as error:
        raise LabError(f"the chart refuses these values: {str(error).strip()}") from error
    texts = [text for path, text in files.items() if not path.endswith("NOTES.txt")]
    found = [each for text in texts for each in _documents(text) if each]
    return sorted(found, key=_rank)


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later values over earlier ones, maps key by key."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                result[key] = merged(old, value)
            else:
                result[key] = value
    return result


def stream(objects: Sequence[Mapping[str, Any]]) -> str:
    return yaml.safe_dump_all(map(dict, objects), sort_keys=False, explicit_start=True)


def _rank(found: Mapping[str, Any]) -> tuple[int, str, str]:
    kind = found["kind"]
    position = ORDER.index(kind) if kind in ORDER else len(ORDER)
    return position, kind, found["metadata"]["name"]


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"cannot read values from {path}: {error}") from error
    if not isinstance(found, dict):
        raise LabError(f"{path} holds no map of values; write them as in {CHART}/values.yaml")
    return found


def _parsed(setting: str) -> dict[str, Any]:
    helm = _helm()
    try:
        found: dict[str, Any] = helm.parse_set_string(setting)
    except helm.HelmError as error:
        raise LabError(f"--set {setting}: {error}; write it as a.b=c") from error
    return found


def _helm() -> Any:
    try:
        import helm_python  # noqa: PLC0415 (only this module's callers need it)
    except ImportError as error:
        raise LabError("helm-python-sdk is not installed; run `make install`") from error
    return helm_python


if __name__ == "__main__":
    sys.exit(main())
