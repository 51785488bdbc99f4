"""Names of tests, and the lists that hold them."""

from dataclasses import replace

import pytest
from conformance import baseline, names
from conformance.shares import choose, parse
from conformance.stages import MODULES, REQUIRED, Stage, stage_of
from conformance.subjects import POSITIVE, TERMS, Subject


@pytest.mark.parametrize(
    ("test_id", "name"),
    [
        ("manila_tempest_tests.tests.api.admin.test_quotas.Q.test_x_1[api,id-1]", "admin.test_quotas.Q.test_x_1"),
        ("setUpClass (manila_tempest_tests.tests.api.test_rules.R)", "test_rules.R.setUpClass"),
    ],
)
def test_a_name_is_short(test_id: str, name: str) -> None:
    assert names.short(test_id) == name


def test_module_and_class_are_parts_of_the_name() -> None:
    name = "admin.test_quotas.Q.test_x"
    assert (names.class_of(name), names.module_of(name)) == ("admin.test_quotas.Q", "admin.test_quotas")


def test_no_module_is_in_two_stages() -> None:
    listed = [module for modules in MODULES.values() for module in modules.split()]
    assert len(listed) == len(set(listed))


def test_a_module_that_is_in_no_list_is_of_the_last_stage() -> None:
    assert stage_of("test_replication") is Stage.MOVEMENT


def test_all_stages_are_run_and_three_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["conformance.shares"])
    assert parse().stages == frozenset(Stage)
    assert TERMS[Subject.DUMMY].required == REQUIRED < frozenset(Stage)


def test_btrfs_is_tested_with_modules_that_manila_passes_tests_of() -> None:
    assert {names.module_of(name) for name in baseline.load().passed} >= POSITIVE


def test_manila_did_one_thing_with_each_test() -> None:
    manila = baseline.load()
    assert not manila.passed & manila.failed
    assert not manila.passed & manila.skipped
    assert len(manila.passed) == 1106


def test_what_a_back_end_cannot_do_is_left_out() -> None:
    tests = [f"manila_tempest_tests.tests.api.test_revert_to_snapshot.R.test_revert{what}[id-1]" for what in ("", "_2")]
    terms = replace(TERMS[Subject.BTRFS_NFS], cannot=("revert_2",))
    assert choose(tests, frozenset(Stage), "", terms) == tests[:1]
