"""Which of the agent's projects an object of Neutron's is seen from, where nobody says."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from isthmus.networking.attaching.contract import Agent
from isthmus.networking.configuration import secret_references
from isthmus.networking.neutron.client import Neutron

Found = TypeVar("Found")


def each_project(agent: Agent) -> Iterator[tuple[str | None, Neutron]]:
    """Return (name, client) of every project, the first under None."""
    for position, name in enumerate(secret_references(agent.conf)):
        project = None if position == 0 else name
        yield project, agent.neutron(project)


def canonical(agent: Agent, project: str | None) -> str | None:
    """Return a project's name, None for the first: one project has one key."""
    return None if project == next(iter(secret_references(agent.conf))) else project


def find_in_projects(
    agent: Agent, look: Callable[[Neutron], tuple[Found, ...]]
) -> tuple[str | None, tuple[Found, ...]]:
    """Return the first project in which `look` finds something, and what; (None, ()) if none."""
    for project, neutron in each_project(agent):
        found = look(neutron)
        if found:
            return project, found
    return None, ()
