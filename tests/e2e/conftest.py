"""A shop in a namespace of its own for each scenario, and what is told of it when one fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from lab import session
from lab.e2e import namespace_of
from lab.session import Session
from lab.tickets import Operator
from tests.e2e.shop import Shop

SHOPS: pytest.StashKey[list[Shop]] = pytest.StashKey()
MakeShop = Callable[..., Shop]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("LAB_MODE") == session.NODE:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs a node: python -m lab.e2e"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for shop in item.stash.get(SHOPS, []):
            report.sections.append((f"namespace {shop.namespace}", shop.account()))
    return report


@pytest.fixture(scope="session")
def lab() -> Session:
    return session.current()


@pytest.fixture(scope="session")
def operator(lab: Session) -> Operator:
    return Operator(lab)


@pytest.fixture
def make_shop(lab: Session, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeShop]:
    """Make a shop; its customers stay away and its namespace goes when the test is over."""
    made = request.node.stash.setdefault(SHOPS, [])

    def make(replicas: int = 2, **environment: str) -> Shop:
        shop = Shop(lab, namespace_of(request.node.name), tmp_path, replicas, environment)
        made.append(shop)
        return shop

    yield make
    for shop in made:
        shop.close()


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    return make_shop()
