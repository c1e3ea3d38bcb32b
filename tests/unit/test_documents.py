"""Policies from files: every fault with its field, unknown keys told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from rollback_operator.cli.documents import Document, read_policies

HEAD = "apiVersion: rollback.tickettoken.io/v1alpha1\nkind: RollbackPolicy\n"
GOOD = HEAD + "metadata: {name: shop}\nspec: {targetRef: {name: shop}, mode: Observe}\n"


def with_more(field: str) -> str:
    return GOOD.replace("mode: Observe", f"mode: Observe, {field}")


BOMB = "[&a [1, 2, 3], " + ", ".join(
    f"&{chr(one + 1)} [{', '.join([f'*{chr(one)}'] * 9)}]" for one in range(ord("a"), ord("k"))
) + "]"  # fmt: skip
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("policy-*.yaml"))


def read_text(directory: Path, text: str) -> tuple[Document, ...]:
    path = directory / "policy.yaml"
    path.write_text(text)
    return read_policies(path, "default")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_no_fault(path: Path) -> None:
    (found,) = read_policies(path, "default")
    assert found.policy is not None
    assert (found.faults, found.unknown) == ((), ())


def test_a_policy_without_a_namespace_gets_the_one_given(tmp_path: Path) -> None:
    (found,) = read_text(tmp_path, GOOD)
    assert found.policy is not None
    assert found.policy.key == ("default", "shop")


def test_all_faults_are_told_at_once_each_with_its_field(tmp_path: Path) -> None:
    spec = """
spec:
  targetRef: {kind: StatefulSet}
  mode: Enforc
  signals:
    requests: {metric: "job:requests:rate5m"}
    errors: {metric: x_total, matchers: {code: "=~5("}}
  matrix:
  - {severity: P1, response: Rollback, when: [{signal: ErrorRate}]}
  safety: {watchSeconds: 5}
"""
    (found,) = read_text(tmp_path, HEAD + "metadata: {name: shop}" + spec)
    told = {one.path: one.message for one in found.faults}

    assert found.policy is None
    assert told["spec.targetRef.name"] == "is missing"
    assert "'StatefulSet'" in told["spec.targetRef.kind"]
    assert "'Enforc'" in told["spec.mode"]
    assert "recording rule" in told["spec.signals.requests.metric"]
    assert "not a valid RE2 regular expression" in told["spec.signals.errors.matchers"]
    assert "exactly one of above and atLeast" in told["spec.matrix[0].when[0]"]
    assert "60" in told["spec.safety.watchSeconds"]
    assert not any(one.startswith("Value error") for one in told.values())


def test_keys_that_no_field_has_are_told_at_any_depth(tmp_path: Path) -> None:
    text = GOOD.replace(
        "mode: Observe",
        "mode: Observe, signal: 1, safety: {cooldown: 5}, "
        "matrix: [{severity: P1, response: Report, when: [{signal: Unavailable, treshold: 3}]}]",
    )
    (found,) = read_text(tmp_path, text + "extra: 1\n")
    assert found.policy is not None
    assert set(found.unknown) == {
        "spec.signal",
        "spec.safety.cooldown",
        "spec.matrix[0].when[0].treshold",
        "extra",
    }


def test_every_policy_of_a_stream_is_read_and_nothing_else(tmp_path: Path) -> None:
    text = f"{GOOD}---\napiVersion: v1\nkind: Service\n---\n{GOOD.replace('shop', 'till')}---\n"
    assert [one.policy.metadata.name for one in read_text(tmp_path, text) if one.policy] == [
        "shop",
        "till",
    ]


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("a: [", "", "neither YAML nor JSON"),
        ("just words", "", "holds str where an object is expected"),
        ("[1, 2]", "", "holds list"),
        ("", "kind", "holds no RollbackPolicy"),
        ("kind: Service", "kind", "holds no RollbackPolicy"),
        ("kind: RollbackPolicy", "apiVersion", "must be rollback.tickettoken.io/v1alpha1"),
        (HEAD, "metadata", "is missing"),
        (HEAD + "metadata: {name: a}\nspec: 5", "spec", "must be an object"),
        ("!!python/object/apply:os.getcwd []", "", "neither YAML nor JSON"),
        ("x: " + "[" * 5000, "", "neither YAML nor JSON"),
        ("\ufeff\x01", "", "neither YAML nor JSON"),
        ("[" * 100_000, "", "nested too deeply"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "", "the key 'c' occurs twice, again in line 4"),
        ('{"a": 1, "a": 2}', "", "the key 'a' occurs twice"),
        (with_more("x: &x {y: *x}"), "", "in line 4 contains itself"),
        (with_more(f"x: {BOMB}"), "", "more than 1000000 values"),
        ("a:\n\tb: 1", "", "a tab: YAML is indented with spaces"),
        ("kind: Service", "kind", "only Service"),
        (GOOD.replace("kind: RollbackPolicy\n", ""), "kind", "is missing"),
        (GOOD.replace("{name: shop}", "{name: A b}", 1), "metadata.name", "lower-case"),
        (GOOD.replace("{name: shop}", "{name: a, namespace: a.b}", 1), "metadata.namespace", "63"),
        (with_more('suspend: "yes"'), "spec.suspend", "true or false, without quotes"),
        (with_more("suspend: 1"), "spec.suspend", "boolean"),
        (
            with_more('signals: {requests: {metric: "sum(x)"}}'),
            "spec.signals.requests.metric",
            "must be a metric's name, not a query (it is 'sum(x)')",
        ),
        (
            with_more("safety: {freeze: [{name: a, from: '25:00', until: '03:00'}]}"),
            "spec.safety.freeze[0].from",
            "must be a clock time as 22:00",
        ),
        (
            with_more("prometheus: {url: 'ftp://a'}"),
            "spec.prometheus.url",
            "must be a base address",
        ),
        (with_more('safety: {watchSeconds: "60"}'), "spec.safety.watchSeconds", "without quotes"),
        (with_more("safety: {watchSeconds: true}"), "spec.safety.watchSeconds", "integer"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, text: str, path: str, said: str
) -> None:
    found = read_text(tmp_path, text)
    faults = {one.path: one.message for one in found[0].faults}
    assert path in faults
    assert said in faults[path]


def test_a_list_as_kubectl_prints_it_is_opened(tmp_path: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(yaml.safe_load_all(GOOD))}
    (found,) = read_text(tmp_path, yaml.safe_dump(listed))
    assert found.policy is not None


def test_a_policy_may_come_from_standard_input() -> None:
    (found,) = read_policies(Path("-"), "default", io.StringIO(GOOD))
    assert found.policy is not None


def test_what_yaml_may_say_twice_is_taken(tmp_path: Path) -> None:
    """Merged keys may be overridden, and 60.0 is 60."""
    merged = "{<<: [{watchSeconds: 60}, {watchSeconds: 900}], watchSeconds: 600.0}"
    (found,) = read_text(tmp_path, with_more(f"safety: {merged}"))
    assert found.policy is not None
    assert found.policy.spec.safety.watch_seconds == 600


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    (absent,) = read_policies(tmp_path / "absent.yaml", "default")
    assert "No such file" in absent.faults[0].message
    (folder,) = read_policies(tmp_path, "default")
    assert str(tmp_path) in folder.faults[0].message
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    (found,) = read_policies(binary, "default")
    assert "neither YAML nor JSON" in found.faults[0].message
