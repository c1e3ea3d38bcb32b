"""Many policies hold equal parts once, and are what they were."""

from __future__ import annotations

import gc
from typing import Any

from rollback_operator.api.v1alpha1 import Mode, RollbackPolicy
from rollback_operator.reconcile.cache import Cache
from tests.builders import make_policy


def raw(name: str) -> dict[str, Any]:
    found = make_policy().model_dump(mode="json", by_alias=True, exclude_none=True)
    found["metadata"] |= {"name": name, "uid": f"uid of {name}"}
    return dict(found)


def known(cache: Cache, document: dict[str, Any]) -> RollbackPolicy:
    found = cache.policy_at(cache.put_policy(document))
    assert found is not None
    return found


def test_equal_parts_are_there_once() -> None:
    cache = Cache()
    one, two = known(cache, raw("one")), known(cache, raw("two"))

    assert one.spec.safety is two.spec.safety
    assert all(a is b for a, b in zip(one.spec.matrix, two.spec.matrix, strict=True))
    assert one.metadata.name == "one"
    assert two.metadata.name == "two"


def test_other_parts_stay_apart() -> None:
    cache = Cache()
    document = raw("two")
    document["spec"]["stage"] = {"maxSeconds": 77}
    one, two = known(cache, raw("one")), known(cache, document)

    assert (one.spec.stage.max_seconds, two.spec.stage.max_seconds) == (0, 77)
    assert one.spec.safety is two.spec.safety


def test_a_policy_is_what_it_would_be_alone() -> None:
    cache = Cache()
    document = raw("two")
    alone = RollbackPolicy.model_validate(document)
    known(cache, raw("one"))

    found = known(cache, document)

    assert found == alone
    assert found.model_dump_json() == alone.model_dump_json()


def test_a_changed_copy_changes_no_other_policy() -> None:
    cache = Cache()
    one, two = known(cache, raw("one")), known(cache, raw("two"))
    before = two.model_dump_json()

    changed = one.spec.model_copy(update={"mode": Mode.OBSERVE})

    assert changed.mode is Mode.OBSERVE
    assert two.model_dump_json() == before
    assert one.spec.mode is two.spec.mode


def test_parts_that_nobody_holds_are_forgotten() -> None:
    cache = Cache()
    document = raw("one")
    document["spec"]["stage"] = {"maxSeconds": 77}
    known(cache, document)
    parts = cache._sharing._known
    assert any('"max_seconds":77' in text for _, text in parts)

    known(cache, raw("one") | {"metadata": document["metadata"]})
    gc.collect()

    assert not any('"max_seconds":77' in text for _, text in parts)
