"""The time as the API server has it, whatever the machine's own clock shows."""

from datetime import timedelta
from email.utils import format_datetime

from aiohttp import web
from kubernetes.aio import client

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.clock import ServerClock
from rollback_operator.adapters.kube.paths import ApiPath
from tests.builders import at


class _Machine:
    """A clock that runs wrong, and a server whose clock is right."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.seconds, self.ahead = 100.25, ahead
        self.clock = ServerClock(lambda: at(self.seconds + self.ahead), lambda: self.seconds)

    def ask(self, out: float = 0.01, back: float = 0.01) -> None:
        asked = self.clock.own()
        self.seconds += out
        date = format_datetime(at(int(self.seconds)), usegmt=True)
        self.seconds += back
        self.clock.hear(date, asked)

    @property
    def error(self) -> float:
        return (self.clock.now() - at(self.seconds)).total_seconds()


def test_a_clock_that_agrees_is_left_as_it_is() -> None:
    machine = _Machine(ahead=0.3)
    for _ in range(20):
        machine.seconds += 0.77
        machine.ask()
        assert abs(machine.error) <= 0.3


def test_a_clock_that_is_wrong_is_set_right_by_the_first_answer() -> None:
    for ahead in (-600.0, -5.0, 45.0, 3600.0):
        machine = _Machine(ahead)
        assert abs(machine.error) == abs(ahead)
        machine.ask()
        assert abs(machine.error) <= 1.05


def test_slow_answers_say_less() -> None:
    machine = _Machine(ahead=300.0)
    machine.ask(out=4.0, back=4.0)
    assert abs(machine.error) <= 9.0
    machine.ask()
    assert abs(machine.error) <= 1.05


def test_a_clock_that_is_set_changes_nothing_not_even_before_the_next_answer() -> None:
    machine = _Machine(ahead=0.2)
    machine.ask()
    for ahead in (372.0, -30.0):
        machine.ahead = ahead
        assert abs(machine.error) <= 1.05
        machine.seconds += 1.6
        assert abs(machine.error) <= 1.05
        machine.ask()
        assert abs(machine.error) <= 1.05


def test_a_monotonic_clock_that_stood_still_is_made_good_by_the_next_answer() -> None:
    slept = 0.0
    seconds = 100.0
    clock = ServerClock(lambda: at(seconds), lambda: seconds - slept)
    seconds, slept = 400.0, 300.0
    assert (clock.now() - at(seconds)).total_seconds() == -300.0
    clock.hear(format_datetime(at(seconds), usegmt=True), clock.own())
    assert clock.now() == at(seconds)


def test_a_date_that_cannot_be_read_changes_nothing() -> None:
    machine = _Machine(ahead=2.0)
    machine.clock.hear("yesterday", machine.clock.own() - timedelta(seconds=1))
    assert machine.error == 2.0


async def test_the_api_server_s_answers_are_heard_and_refusals_are_not() -> None:
    machine = _Machine(ahead=500.0)

    async def serve(request: web.Request) -> web.Response:
        right = format_datetime(at(int(machine.seconds)), usegmt=True)
        if request.path.endswith("/refused"):
            return web.Response(status=503, headers={"Date": right})
        return web.json_response({}, headers={"Date": right})

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    api = ApiServer(client.ApiClient(configuration), lambda *_: None, machine.clock)
    try:
        await api.get(ApiPath("/api/refused"))
        assert machine.error == 500.0
        await api.get(ApiPath("/api/there"))
        assert abs(machine.error) <= 1.0
    finally:
        await api.close()
        await runner.cleanup()
