"""A short chaos of container networking, and that its verdict sees what it is to see."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from lab.attach_chaos import PARTS, Report, run
from lab.attach_truth import Truth

CYCLES = 30


def test_attachments_survive_the_death_of_every_part(tmp_path: Path) -> None:
    report = run(CYCLES, 7, tmp_path / "chaos.json", least_kills=len(PARTS))

    facts = json.loads((tmp_path / "chaos.json").read_text())
    assert report.is_good, json.dumps(facts, indent=2)
    assert set(facts["killed"]) == set(PARTS)
    assert facts["answers"]["ADD ok"] >= CYCLES


@pytest.mark.parametrize("field", ["unexpected", "survivors", "left"])
def test_a_report_with_something_amiss_is_not_good(field: str) -> None:
    good = Report(1, 5, done=5)

    assert good.is_good
    assert not replace(good, done=4).is_good
    assert not replace(good, **{field: ["something"]}).is_good  # type: ignore[arg-type]


PORT, OTHER = "01234567-89ab-4000-8000-000000000000", "fedcba98-7654-4000-8000-000000000000"
WHOLE = Truth(
    attached=frozenset({PORT}),
    spare=frozenset(),
    neutron=frozenset({PORT}),
    links=(f"tap{PORT[:11]}",),
    rows=(PORT,),
    states=("plugged",),
)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"neutron": frozenset({PORT, OTHER})}, f"port {OTHER} is in Neutron and not in the agent's store"),
        ({"neutron": frozenset()}, f"attached port {PORT} is not in Neutron"),
        ({"links": (f"tap{PORT[:11]}", f"tap{OTHER[:11]}")}, f"interface tap{OTHER[:11]} is no recorded port's"),
        ({"links": ()}, f"attached port {PORT[:11]}… has no interface"),
        ({"rows": (PORT, OTHER)}, f"OVSDB has port {OTHER}, which is not recorded"),
        ({"rows": ()}, f"attached port {PORT} is not in OVSDB"),
        ({"rows": (PORT, PORT)}, f"{PORT} is there twice"),
        ({"states": ("plugging",)}, "an attachment is plugging"),
    ],
)
def test_every_leak_and_every_loss_is_told(changed: dict[str, object], said: str) -> None:
    assert WHOLE.disagreements() == []
    assert said in replace(WHOLE, **changed).disagreements()  # type: ignore[arg-type]
