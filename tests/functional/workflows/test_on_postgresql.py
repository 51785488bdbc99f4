"""Executions, deployments, waves, schedules and kills once more, with PostgreSQL in MariaDB's place."""

from collections.abc import Iterator

import pytest
from lab.engine_room import EngineRoom
from tests.functional.workflows.test_crashes import (
    test_killed_conductor_and_engine_go_on_where_they_were as test_killed_conductor_and_engine_go_on,
)
from tests.functional.workflows.test_crashes import (
    test_killed_worker_is_replaced_in_the_midst_of_a_step as test_killed_worker_is_replaced,
)
from tests.functional.workflows.test_deployments import (
    test_machine_that_does_not_live_is_rolled_back_and_its_source_runs_again as test_dead_machine_is_rolled_back,
)
from tests.functional.workflows.test_timekeeping import (
    test_of_many_conductors_on_the_real_database_one_fires as test_of_many_conductors_one_fires,
)
from tests.functional.workflows.test_transfer_executions import (
    test_progress_and_events_are_seen_while_a_step_runs as test_progress_is_seen,
)
from tests.functional.workflows.test_waves import (
    test_machines_are_deployed_and_a_failed_deployment_is_retried as test_a_failed_deployment_is_retried,
)
from tests.functional.workflows.test_waves import (
    test_one_failure_stops_no_other_and_its_retry_completes as test_one_failure_stops_no_other,
)
from tests.postgresql import postgresql

__all__ = [
    "test_a_failed_deployment_is_retried",
    "test_dead_machine_is_rolled_back",
    "test_killed_conductor_and_engine_go_on",
    "test_killed_worker_is_replaced",
    "test_of_many_conductors_one_fires",
    "test_one_failure_stops_no_other",
    "test_progress_is_seen",
]


@pytest.fixture(scope="module")
def room() -> Iterator[EngineRoom]:
    with postgresql() as url, EngineRoom(f"[database]\nconnection = {url}") as made:
        assert made.database.engine.dialect.name == "postgresql"
        yield made
