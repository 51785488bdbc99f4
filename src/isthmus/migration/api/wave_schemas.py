"""The bodies of waves, which are Isthmus' own: unknown keys are refused, so that a misspelt one is not lost."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from isthmus.migration.api.schemas import Chosen, Identifier, Name, No, Text

Limit = Annotated[int, Field(ge=1, le=1000)]
After = Annotated[
    list[Identifier], Field(max_length=100), BeforeValidator(lambda value: [] if value is None else value)
]


class WaveBody(BaseModel):
    """Parent of waves' bodies."""

    model_config = ConfigDict(strict=True, extra="forbid")


class WaveMember(WaveBody):
    """A transfer, or some of its instances."""

    transfer_id: Identifier
    instances: Chosen = None


class WaveGroup(WaveBody):
    """Members that may run side by side. `gate`: manual waits for an approval before the group begins."""

    name: Name
    gate: Literal["auto", "manual"] = "auto"
    members: Annotated[list[WaveMember], Field(min_length=1, max_length=1000)]


def _names_once(groups: list[WaveGroup] | None) -> list[WaveGroup] | None:
    names = [group.name for group in groups or ()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"has some names twice: {', '.join(twice)}")
    return groups


Groups = Annotated[list[WaveGroup], Field(min_length=1, max_length=100)]


class WaveCreate(WaveBody):
    """`wave` of POST waves. With `starts_at` (ISO 8601) it begins by itself."""

    name: Name
    description: Text | None = None
    starts_at: Text | None = None
    max_in_flight: Limit = 10
    auto_deploy: No = False
    shutdown_instances: No = False
    after: After = []
    groups: Annotated[Groups, AfterValidator(_names_once)]


class WaveUpdate(WaveBody):
    """`wave` of PUT waves: what is left out or null stays."""

    name: Name | None = None
    description: Text | None = None
    starts_at: Text | None = None
    max_in_flight: Limit | None = None
    auto_deploy: bool | None = None
    shutdown_instances: bool | None = None
    after: list[Identifier] | None = Field(default=None, max_length=100)
    groups: Annotated[Groups | None, AfterValidator(_names_once)] = None


class Approve(WaveBody):
    """`approve` of the actions: a group's name or id; without one the group that waits."""

    group: Name | None = None
