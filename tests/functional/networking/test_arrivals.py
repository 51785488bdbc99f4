"""Links that come to be are told by their names: once as they are made, once more as they are made again."""

import threading

from lab.network_space import private_space, run, wait_until

from isthmus.networking.binding.arrivals import arrivals


def test_a_link_is_told_when_it_is_made_and_when_it_is_made_again() -> None:
    stopped = threading.Event()
    told: list[str] = []
    with private_space():
        # A thread is in the namespace of its maker.
        listener = threading.Thread(target=lambda: told.extend(arrivals(stopped)), daemon=True)
        listener.start()

        def new(number: int) -> bool:
            # The listener may not listen yet: more links are made until one of them is told.
            run("ip", "tuntap", "add", f"first{number}", "mode", "tap")
            return any(name.startswith("first") for name in told)

        numbers = iter(range(200))
        wait_until(lambda: new(next(numbers)), "the listener listens")
        run("ip", "tuntap", "add", "vm0", "mode", "tap")
        run("ip", "link", "set", "vm0", "up")
        wait_until(lambda: "vm0" in told, "vm0 is told")
        run("ip", "link", "del", "vm0")
        run("ip", "tuntap", "add", "vm0", "mode", "tap")
        wait_until(lambda: told.count("vm0") == 2, "the new vm0 is told")
        stopped.set()
        listener.join(60)
    assert told.count("vm0") == 2
