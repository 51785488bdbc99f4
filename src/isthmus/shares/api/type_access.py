"""Which projects may use a private share type or group type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.store import types


@dataclass(frozen=True)
class Access:
    """The handlers for one kind of type.

    `noun` is its name in messages, `rules` the policies' resource, `listing` and `member` the names in the list;
    `find` returns a type by id.
    """

    noun: str
    rules: str
    listing: str
    member: str
    find: Callable[[Session, str], Mapping[str, Any] | None]

    def index(self, call: Call, type_id: str) -> dict[str, Any]:
        """List the projects."""
        call.allow(f"{self.rules}:list_project_access")
        found = self._found(call, type_id)
        if found["is_public"]:
            raise NotFound(f"Access list not available for public {self.noun}s.")
        projects = types.projects_of(call.session, type_id)
        return {self.listing: [{self.member: type_id, "project_id": project} for project in projects]}

    def add(self, call: Call, type_id: str, argument: object) -> Answer:
        """Let a project use the type."""
        call.allow(f"{self.rules}:add_project_access")
        project = _project(argument)
        self._private(call, type_id)
        if not types.allow(call.session, type_id, project):
            raise Conflict(f"{self.noun.capitalize()} access for {type_id} / {project} combination already exists.")
        return Answer(202)

    def remove(self, call: Call, type_id: str, argument: object) -> Answer:
        """Let a project use the type no longer."""
        call.allow(f"{self.rules}:remove_project_access")
        project = _project(argument)
        self._private(call, type_id)
        if not types.forbid(call.session, type_id, project):
            raise NotFound(f"{self.noun.capitalize()} access not found for {type_id} / {project} combination.")
        return Answer(202)

    def _found(self, call: Call, type_id: str) -> Mapping[str, Any]:
        found = self.find(call.session, type_id)
        if found is None:
            raise NotFound(f"{self.noun.capitalize()} {type_id} not found.")
        return found

    def _private(self, call: Call, type_id: str) -> None:
        if self._found(call, type_id)["is_public"]:
            raise Conflict(f"Type access modification is not applicable to public {self.noun}.")


def _project(argument: object) -> str:
    project = argument.get("project") if isinstance(argument, dict) else None
    try:
        UUID(str(project))
    except ValueError:
        raise InvalidInput(f"Bad project format: project is not in proper format ({project})") from None
    return str(project)
