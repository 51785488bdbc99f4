"""What is asked of a Neutron that is overloaded or silent, on a clock of the test's own."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from keystoneauth1 import exceptions

from isthmus.control.errors import Unavailable
from isthmus.networking.neutron.brake import Brake


@dataclass
class Clock:
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Answer:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


def http(status: int, **headers: str) -> exceptions.HttpError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return exceptions.HttpError(http_status=status, response=Answer(named))


class Neutron:
    """Raises or returns what it is given, in turn; the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def brake(clock: Clock) -> Brake:
    return Brake(2, clock=clock.read, sleep=clock.sleep, wall_clock=lambda: 1_800_000_000.0)


def test_a_call_that_may_be_sent_again_is_after_a_pause(brake: Brake, clock: Clock) -> None:
    neutron = Neutron(http(503), exceptions.ConnectFailure(), "done")
    assert brake.run("list ports", neutron, tries=3, limit=10) == "done"
    assert clock.slept == [0.5, 1.0]


def test_a_creation_is_sent_once(brake: Brake) -> None:
    neutron = Neutron(http(503), "done")
    with pytest.raises(exceptions.HttpError):
        brake.run("create a port", neutron, tries=1, limit=10)
    assert neutron.calls == 1


def test_what_is_wrong_with_the_request_is_not_tried_again_and_stops_nobody(brake: Brake) -> None:
    for status in (400, 404, 409) * 3:
        with pytest.raises(exceptions.HttpError):
            brake.run("show a port", Neutron(http(status)), tries=3, limit=10)
    assert brake.refusing() is None


@pytest.mark.parametrize("named", ["4", "Fri, 15 Jan 2027 08:00:04 GMT"])
def test_the_pause_is_the_one_that_neutron_names(brake: Brake, clock: Clock, named: str) -> None:
    neutron = Neutron(http(503, Retry_After=named), "done")
    assert brake.run("list ports", neutron, tries=2, limit=10) == "done"
    assert clock.slept == [4.0]


def test_a_named_pause_that_is_longer_than_the_call_has_refuses_all_until_it_is_over(
    brake: Brake, clock: Clock
) -> None:
    with pytest.raises(exceptions.HttpError):
        brake.run("list ports", Neutron(http(429, Retry_After="60")), tries=2, limit=10)
    assert clock.slept == []
    untouched = Neutron("done")
    with pytest.raises(Unavailable, match=r"not asked to create a port.*429.*in 60 s"):
        brake.run("create a port", untouched, tries=1, limit=10)
    assert untouched.calls == 0
    clock.now += 60
    assert brake.run("create a port", untouched, tries=1, limit=10) == "done"
    assert brake.refusing() is None


def test_after_some_failures_in_a_row_calls_fail_at_once_and_one_looks_now_and_then(brake: Brake, clock: Clock) -> None:
    silent = Neutron(exceptions.ConnectTimeout())
    for _ in range(3):
        with pytest.raises(exceptions.ConnectTimeout):
            brake.run("list ports", silent, tries=1, limit=10)
    with pytest.raises(Unavailable, match="did not answer 3 calls"):
        brake.run("list ports", silent, tries=1, limit=10)
    assert silent.calls == 3
    clock.now += 4
    with pytest.raises(exceptions.ConnectTimeout):
        brake.run("list ports", silent, tries=1, limit=10)
    clock.now += 4
    # The pause has doubled.
    with pytest.raises(Unavailable):
        brake.run("list ports", silent, tries=1, limit=10)
    clock.now += 4
    assert brake.run("list ports", Neutron("done"), tries=1, limit=10) == "done"
    assert brake.run("list ports", Neutron("done"), tries=1, limit=10) == "done"


def test_a_success_forgets_the_failures_before_it(brake: Brake) -> None:
    for answer in (http(503), http(503), "done", http(503), http(503)):
        if isinstance(answer, Exception):
            with pytest.raises(exceptions.HttpError):
                brake.run("list ports", Neutron(answer), tries=1, limit=10)
        else:
            brake.run("list ports", Neutron(answer), tries=1, limit=10)
    assert brake.refusing() is None


def test_a_silent_keystone_counts_too(brake: Brake) -> None:
    for _ in range(3):
        with pytest.raises(Unavailable, match="Keystone"):
            brake.run("list ports", Neutron(Unavailable("Keystone is silent")), tries=2, limit=10)
    assert brake.refusing() is not None


def test_only_so_many_calls_are_in_flight() -> None:
    brake = Brake(2)
    inside, leave, most = threading.Semaphore(0), threading.Event(), []
    running: list[int] = []

    def send() -> str:
        running.append(1)
        most.append(len(running))
        inside.release()
        leave.wait(60)
        running.pop()
        return "done"

    threads = [
        threading.Thread(target=lambda: brake.run("list ports", send, tries=1, limit=60), daemon=True) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert inside.acquire(timeout=60)
    with pytest.raises(Unavailable, match="2 calls are under way"):
        brake.run("list ports", send, tries=1, limit=0.01)
    leave.set()
    for thread in threads:
        thread.join(60)
    assert max(most) == 2
    assert len(most) == 5
