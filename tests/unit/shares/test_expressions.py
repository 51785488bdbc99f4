from typing import Any

import pytest

from isthmus.shares.scheduling.expressions import BadExpression, evaluate

FACTS: dict[str, dict[str, Any]] = {
    "stats": {"free_capacity_gb": 40, "total_capacity_gb": 100.0},
    "share": {"size": 5},
    "extra": {"limit": "12"},
    "capabilities": {"vendor": "Acme", "fast": True},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ^ 3", 8),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("7 / 2", 3.5),
        ("10 - 3 - 2", 5),
        ("- - 4", 4),
        ("share.size * 100 / stats.total_capacity_gb", 5.0),
        ("share.size < 10", True),
        ("1 < share.size < 5", False),
        ("1 < share.size <= 5", True),
        ("share.size <> 5", False),
        ("not share.size == 5", False),
        ("! (1 > 2) && 1 < 2", True),
        ("share.size > 10 or stats.free_capacity_gb > 30", True),
        ("share.size > 10 || 0", 0),
        ("share.size > 4 ? 100 : 0", 100),
        ("max(1, share.size, 3) + min(2, 1) + abs(0 - 3)", 9),
        ("extra.limit >= share.size", True),
        ("capabilities.vendor == Acme", True),
        ("capabilities.vendor == 'Acme'", True),
        ('capabilities.vendor == "Other"', False),
        ("capabilities.fast", 1),
    ],
)
def test_a_value(text: str, value: object) -> None:
    assert evaluate(text, FACTS) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1 2",
        "share.colour",
        "nothing.at_all",
        "1 / 0",
        "9 ^ 9 ^ 9 ^ 9",
        "1 ? 2",
        "max(1, 2",
        "share.size < red",
        "__import__('os')",
        "().__class__",
        "1; 2",
        "(" * 60 + "1" + ")" * 60,
    ],
)
def test_what_makes_no_sense_is_an_error(text: str) -> None:
    with pytest.raises(BadExpression):
        evaluate(text, FACTS)
