from typing import Any

import pytest

from isthmus.shares.scheduling.extra_specs import compared, matches, satisfied


@pytest.mark.parametrize(
    ("value", "wanted", "fits"),
    [
        (True, "<is> True", True),
        (False, "<is> True", False),
        ("True", "<is> true", True),
        (False, "<is> False", True),
        (True, "True", True),
        (True, "no", False),
        ("NFS_CIFS", "<in> NFS", True),
        ("NFS_CIFS", "<in> CEPHFS", False),
        ("gold", "gold", True),
        ("GOLD", "gold", True),
        ("gold", "tin", False),
        (5, "5", True),
        ("a", "s== a", True),
        ("a", "s!= a", False),
        ("b", "s> a", True),
        ("b", "s<= a", False),
        (5, "= 4", True),
        (5, "= 6", False),
        (5, "== 5.0", True),
        (5, "!= 5", False),
        (5, ">= 5", True),
        (5, "<= 4", False),
        ("gold", "<or> tin <or> gold", True),
        ("gold", "<or> tin <or> lead", False),
        ("words", ">= 5", False),
        (5, ">=", False),
    ],
)
def test_one_value_against_one_spec(value: object, wanted: str, fits: bool) -> None:
    assert matches(value, wanted) is fits


@pytest.mark.parametrize(
    ("specs", "fits"),
    [
        ({}, True),
        ({"tier": "gold"}, True),
        ({"capabilities:tier": "gold"}, True),
        ({"capabilities:tier": "tin"}, False),
        ({"vendor:anything": "at all"}, True),
        ({"nested:deep": "7"}, True),
        ({"capabilities:nested:deep": "7"}, True),
        ({"capabilities:nested:deep": "8"}, False),
        ({"missing": "x"}, False),
        ({"availability_zones": "east,west"}, True),
        ({"thin_provisioning": "<is> True"}, True),
        ({"thin_provisioning": "<is> False"}, True),
    ],
)
def test_all_specs_against_a_pool(specs: dict[str, str], fits: bool) -> None:
    pool: dict[str, Any] = {"tier": "gold", "nested": {"deep": 7}, "thin_provisioning": [True, False]}
    assert satisfied(pool, specs) is fits


def test_plain_booleans_and_the_protocol_are_spelled_out() -> None:
    assert compared({"snapshot_support": "True", "tier": "gold"}, "NFS") == {
        "snapshot_support": "<is> True",
        "tier": "gold",
        "storage_protocol": "<in> NFS",
    }


def test_a_copy_may_lie_in_another_back_end() -> None:
    specs = {"share_backend_name": "A", "storage_protocol": "NFS"}
    assert compared(specs, "CIFS", any_backend=True) == {"storage_protocol": "NFS"}
