"""What the workflow of an assessment and its activities say to each other. JSON-able facts, free of secrets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.migration.planning.concerns import Arrival, Observed, Wishes
from isthmus.migration.planning.work import EndpointRef

OUTLINE_ASSESSMENT = "outline_assessment"
RECORD_LISTING = "record_listing"
NEXT_BATCH = "next_batch"
RECORD_BATCH = "record_batch"
END_ASSESSMENT = "end_assessment"
LIST_INSTANCES = "list_instances"
SURVEY_SOURCE = "survey_source"
SURVEY_DESTINATION = "survey_destination"


@dataclass(frozen=True)
class Outline:
    """What an assessment was asked. `listed` tells whether its machines are written down already."""

    endpoint: EndpointRef
    destination: EndpointRef | None
    trust_id: str | None
    source_environment: Mapping[str, Any]
    wishes: Wishes
    listed: bool


@dataclass(frozen=True)
class Listing:
    """The machines of a whole endpoint, by id."""

    assessment_id: str
    instances: tuple[str, ...]


@dataclass(frozen=True)
class Cloud:
    """A cloud that is asked for its machines."""

    endpoint: EndpointRef
    trust_id: str | None


@dataclass(frozen=True)
class SourceSurvey:
    """Some machines to be looked at."""

    endpoint: EndpointRef
    trust_id: str | None
    environment: Mapping[str, Any]
    instances: tuple[str, ...]


@dataclass(frozen=True)
class DestinationSurvey:
    """Some machines that would arrive."""

    endpoint: EndpointRef
    trust_id: str | None
    wishes: Wishes
    observed: tuple[Observed, ...]


@dataclass(frozen=True)
class Batch:
    """What was seen of some machines at both ends."""

    assessment_id: str
    wishes: Wishes
    observed: tuple[Observed, ...]
    arrival: Arrival | None = None


@dataclass(frozen=True)
class AssessmentEnd:
    """An assessment has ended; `error` says why it could not be completed."""

    assessment_id: str
    error: str | None = None
