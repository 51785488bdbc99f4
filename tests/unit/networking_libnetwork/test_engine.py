"""When something that Docker lacks is left over."""

from isthmus.networking.libnetwork.engine import missing_too_long

NEVER = float("inf")


def test_what_docker_has_is_not_missing() -> None:
    assert missing_too_long(500.0, frozenset({"e"}), {"e": 100.0}, 120.0) == ({}, ())


def test_what_is_missing_for_the_first_time_is_noted() -> None:
    assert missing_too_long(500.0, frozenset(), {"e": NEVER}, 120.0) == ({"e": 500.0}, ())


def test_what_is_missing_too_long_is_left_over() -> None:
    held = {"e": 380.0, "f": 381.0}

    assert missing_too_long(500.0, frozenset(), held, 120.0) == (held, ("e",))


def test_what_came_back_starts_anew() -> None:
    since, _ = missing_too_long(500.0, frozenset({"e"}), {"e": 300.0}, 120.0)

    assert "e" not in since
