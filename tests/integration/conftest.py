"""The stand, one for each worker, and an operator for it, whose log is shown when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.api import eventually
from tests.integration.api_proxy import ApiProxy
from tests.integration.operator_process import InstalledOperator, Options, Zygote
from tests.integration.service import Service
from tests.integration.stand import Stand

PASSES = "rollback_operator_passes_total"
LOGS: pytest.StashKey[list[Path]] = pytest.StashKey()


@dataclass(frozen=True)
class RunningOperator:
    """The operator that the tests of a module share, and what came through its proxy."""

    process: InstalledOperator
    proxy: ApiProxy

    def wait_for_passes(self, count: int = 3) -> None:
        """Wait until the operator has looked so many times more."""
        wanted = self.process.metric(PASSES) + count
        eventually(lambda: self.process.metric(PASSES) >= wanted, f"{count} passes more")


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Stand(tmp_path_factory.mktemp("stand")) as found:
        yield found


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as found:
        yield found


@pytest.fixture(scope="module")
def flags() -> Sequence[str]:
    """Further flags of the operator; a module that needs some has a fixture of its own."""
    return ()


@pytest.fixture(scope="module")
def operator(
    stand: Stand,
    flags: Sequence[str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningOperator]:
    """The installed command, for the whole cluster, under the chart's rights."""
    directory = tmp_path_factory.mktemp("operator")
    proxy = stand.proxy()
    proxy.start()
    kubeconfig = proxy.write_kubeconfig(directory / "kubeconfig")
    options = Options(kubeconfig, stand.prometheus.url, flags=tuple(flags))
    process = InstalledOperator(options, directory / "operator.log")
    request.session.stash.setdefault(LOGS, []).append(process.log)
    try:
        process.wait_until_ready()
        yield RunningOperator(process, proxy)
        assert process.end() == 0, process.tail()
    finally:
        process.kill()
        request.session.stash[LOGS].remove(process.log)
        proxy.stop()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A service in a namespace of its own; nothing of it is there yet."""
    return make_service()


@pytest.fixture
def make_service(stand: Stand, request: pytest.FixtureRequest) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(name: str = "shop") -> Service:
        test = request.node.name.removeprefix("test_").partition("[")[0]
        made.append(Service(stand, stand.namespace(test), name))
        return made[-1]

    yield make
    for one in made:
        one.retire()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    result = yield
    report = result.get_result()  # type: ignore[attr-defined] # pluggy's result
    if report.failed:
        for log in item.session.stash.get(LOGS, []):
            report.sections.append((f"operator {log}", log.read_text()[-8000:]))
