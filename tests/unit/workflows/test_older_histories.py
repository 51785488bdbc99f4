"""Executions that an earlier version began go on: today's workflows follow the histories which it made."""

import json
from pathlib import Path

import pytest
from lab import histories
from temporalio.client import WorkflowHistory

SCHEDULED = "activityTaskScheduledEventAttributes"
ARCHIVES = sorted((Path(__file__).parent / "histories").glob("*.json.gz"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def test_histories_of_an_earlier_version_are_followed(archive: Path) -> None:
    kept = histories.archived(archive)
    assert kept
    assert histories.complaints(kept) == []


def test_there_are_earlier_histories() -> None:
    assert ARCHIVES


def test_a_workflow_that_asked_for_something_else_is_told() -> None:
    kept = next(each for each in histories.archived(ARCHIVES[0]) if SCHEDULED in each.to_json())
    document = json.loads(kept.to_json())
    first = next(event[SCHEDULED] for event in document["events"] if SCHEDULED in event)
    first["activityType"]["name"] = "of-another-version"

    told = histories.complaints([WorkflowHistory.from_json(kept.workflow_id, document)])

    assert len(told) == 1
    assert kept.workflow_id in told[0]
    assert "of-another-version" in told[0]
