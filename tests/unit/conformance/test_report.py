"""How a run of somebody else's suite is judged against what Manila itself does."""

from conformance.baseline import Baseline
from conformance.outcomes import Outcome, Verdict, error_line
from conformance.report import Report

MANILA = Baseline(
    passed=frozenset({"test_limits.A.test_one", "test_limits.A.test_two", "test_backup.B.test_three"}),
    failed=frozenset({"test_limits.A.test_bad"}),
    skipped=frozenset({"test_rules.C.setUpClass"}),
)


def report(wanted: set[str], **verdicts: Verdict) -> Report:
    outcomes = tuple(Outcome(name.replace("__", "."), verdict, 0.1, "why") for name, verdict in verdicts.items())
    return Report(frozenset(wanted), outcomes, MANILA)


def test_a_required_test_that_manila_passes_must_pass() -> None:
    run = report({"test_limits.A.test_one"}, test_limits__A__test_one=Verdict.FAILED)
    assert run.required_short == ["test_limits.A.test_one"]


def test_a_test_that_was_not_heard_of_counts_as_one_that_does_not_pass() -> None:
    run = report({"test_limits.A.test_one"})
    assert run.required_short == run.missing == ["test_limits.A.test_one"]


def test_a_test_that_only_isthmus_skips_counts_too() -> None:
    run = report({"test_limits.A.test_two"}, test_limits__A__test_two=Verdict.SKIPPED)
    assert run.required_short == ["test_limits.A.test_two"]
    assert run.missing == []


def test_a_test_that_fails_on_manila_too_is_not_required() -> None:
    run = report({"test_limits.A.test_bad"}, test_limits__A__test_bad=Verdict.FAILED)
    assert run.required_short == []


def test_the_last_stage_is_not_required() -> None:
    run = report({"test_backup.B.test_three"}, test_backup__B__test_three=Verdict.FAILED)
    assert run.short_of_manila == ["test_backup.B.test_three"]
    assert run.required_short == []


def test_the_tests_of_a_class_that_was_skipped_whole_are_not_missing() -> None:
    run = report({"test_rules.C.test_four"}, test_rules__C__setUpClass=Verdict.SKIPPED)
    assert run.missing == []


def test_the_tests_of_a_class_that_did_not_come_up_are_missing() -> None:
    run = report({"test_limits.A.test_one"}, test_limits__A__setUpClass=Verdict.FAILED)
    assert run.missing == ["test_limits.A.test_one"]


def test_what_manila_does_not_pass_and_isthmus_does_is_told() -> None:
    run = report({"test_limits.A.test_bad"}, test_limits__A__test_bad=Verdict.PASSED)
    assert run.beyond_manila == ["test_limits.A.test_bad"]


def test_the_error_line_is_what_follows_the_last_frame() -> None:
    traceback = "Traceback:\n  File x.py, line 1, in f\n    g()\nNotFound: gone\nDetails: {}\n"
    assert error_line(traceback) == "NotFound: gone Details: {}"
