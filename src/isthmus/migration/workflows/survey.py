"""What a worker looks at for an assessment. One machine that cannot be looked at never hides the others."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from isthmus.control.errors import Cancelled, InvalidInput, IsthmusError
from isthmus.migration.machine import Machine
from isthmus.migration.morphing.support import supports
from isthmus.migration.planning.concerns import Arrival, Observed
from isthmus.migration.planning.mapping import map_disks, map_nics
from isthmus.migration.providers.contract import DestinationProvider, SourceProvider
from isthmus.migration.reporting import Report
from isthmus.migration.workflows.assessment_calls import Cloud, DestinationSurvey, SourceSurvey
from isthmus.migration.workflows.site import Clouds

Found = TypeVar("Found")

LOG = logging.getLogger(__name__)

NOBODY = "assessment"
"""Stands for a transfer's id where a provider asks for one: no transfer has it, so nothing is its own."""


def list_instances(asked: Cloud, clouds: Clouds) -> Sequence[str]:
    """Return the ids of all machines of a cloud."""
    with clouds.source(asked.endpoint, asked.trust_id) as cloud:
        return [machine.id for machine in cloud.list_machines()]


def survey_source(asked: SourceSurvey, clouds: Clouds, report: Report) -> Sequence[Observed]:
    """Return what the source tells of each machine, in their order."""
    found = []
    with clouds.source(asked.endpoint, asked.trust_id) as cloud:
        for instance in asked.instances:
            report.check()
            found.append(_observe(cloud, asked, instance))
    return found


def _observe(cloud: SourceProvider, asked: SourceSurvey, instance: str) -> Observed:
    machine, refusal = _tried(lambda: cloud.validate_source(instance, asked.environment), instance)
    if machine is None:
        machine, reason = _tried(lambda: cloud.get_machine(instance), instance)
        if machine is None:
            return Observed(instance, refusal=reason)
    return Observed(instance, machine, refusal, supports(machine.os_distribution, machine.os_version))


def survey_destination(asked: DestinationSurvey, clouds: Clouds, report: Report) -> Arrival:
    """Return what the destination has, and why it would not take some of the machines."""
    with clouds.destination(asked.endpoint, asked.trust_id) as cloud:
        storage, default = cloud.list_storage()
        arrival = Arrival(tuple(cloud.list_networks()), tuple(storage), default, cloud.capacity())
        for observed in asked.observed:
            report.check()
            refusal = _refusal(cloud, arrival, asked, observed.machine) if observed.machine is not None else None
            if refusal is not None:
                arrival.refusals[observed.instance] = refusal
    return arrival


def _refusal(cloud: DestinationProvider, arrival: Arrival, asked: DestinationSurvey, machine: Machine) -> str | None:
    """Return why the destination would not take the machine; mappings that do not fit are told by `concerns`."""
    environment = asked.wishes.destination_environment
    default = environment.get("storage_pool") or arrival.default_storage
    try:
        disks = map_disks(machine, asked.wishes.storage_mappings, arrival.storage, default)
        nics = map_nics(machine, asked.wishes.network_map, arrival.networks)
    except InvalidInput:
        return None
    _, reason = _tried(lambda: cloud.validate_destination(NOBODY, machine, environment, disks, nics), machine.name)
    return reason


def _tried(look: Callable[[], Found], name: str) -> tuple[Found | None, str | None]:
    """Return what was found, or why not. A cloud that is silent, and a cancel, end the whole survey."""
    try:
        return look(), None
    except IsthmusError as error:
        if error.retryable or isinstance(error, Cancelled):
            raise
        return None, error.message
    except Exception as error:  # a plug-in's surprise about one machine is told as that machine's concern
        LOG.exception("looking at %s failed in an unforeseen way", name)
        told = f"looking at {name} failed in an unforeseen way ({type(error).__name__}): see the worker's log"
        return None, f"{told}, and report it"
