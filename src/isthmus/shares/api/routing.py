"""Which handler answers: routes and actions as data, each with the microversions it is there for.

Before 2.60 a project id must stand in the path, from then on it may; both forms are one route here. A route that is
not there at the asked version is not there at all: 404. An action's name is the only key of its body.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.shares.api.call import Answer, Call, Handler
from isthmus.shares.api.faults import BadAction, NoSuchRoute
from isthmus.shares.api.versions import NEWEST, OLDEST, Version


class _Versioned:
    """What is there from a version to a version, for some of them only to experimental calls."""

    since: Version
    until: Version
    experimental_until: Version | None

    def is_at(self, version: Version, *, experimental: bool) -> bool:
        """Say whether it is there for a call of this version."""
        if not self.since <= version <= self.until:
            return False
        return experimental or self.experimental_until is None or version > self.experimental_until


@dataclass(frozen=True)
class Route(_Versioned):
    """One method of one path (as `/shares/{share_id}`), from a version to a version, both included.

    `experimental_until` is the last version at which the call must carry the experimental header.
    """

    method: str
    path: str
    handler: Handler
    since: Version = OLDEST
    until: Version = NEWEST
    experimental_until: Version | None = None


@dataclass(frozen=True)
class Action(_Versioned):
    """One name that a `…/action` takes, from a version to a version. The handler gets the value as `argument`."""

    name: str
    handler: Handler
    since: Version = OLDEST
    until: Version = NEWEST
    experimental_until: Version | None = None


def renamed(name: str, handler: Handler, **versions: Version) -> tuple[Action, Action]:
    """Return an action under its plain name from 2.7 on and under `os-<name>` before."""
    return Action(name, handler, **{"since": Version(2, 7), **versions}), Action(
        f"os-{name}", handler, until=Version(2, 6)
    )


def choose_action(actions: Iterable[Action]) -> Handler:
    """Return the handler of a `…/action` route: it hands on to the action that the body names.

    An action of another version is not there (404); one of no version makes no sense (400).
    """
    by_name: dict[str, list[Action]] = {}
    for action in actions:
        by_name.setdefault(action.name, []).append(action)

    def act(call: Call, **variables: str) -> Answer | Mapping[str, Any] | None:
        body = call.body()
        if len(body) != 1:
            raise BadAction("Malformed request body: it must hold exactly one action")
        ((name, argument),) = body.items()
        if name not in by_name:
            raise BadAction(f"There is no such action: {name}")
        for action in by_name[name]:
            if action.is_at(call.version, experimental=call.experimental):
                return action.handler(call, argument=argument, **variables)
        raise NoSuchRoute("The resource could not be found.")

    return act


class Routes:
    """All routes; finds the one for a call."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str, int], list[tuple[tuple[str, ...], Route]]] = {}
        self._collections: set[str] = set()
        for route in routes:
            parts = tuple(route.path.strip("/").split("/"))
            self._collections.add(parts[0])
            self._routes.setdefault((route.method, len(parts)), []).append((parts, route))
        for found in self._routes.values():
            # Words before variables: /shares/detail is not a share of that name.
            found.sort(key=lambda each: [part.startswith("{") for part in each[0]])

    def split(self, path: str) -> tuple[str | None, tuple[str, ...]]:
        """Return the project id in the path, if there is one, and the other parts. The path is that after `/v2`."""
        # A slash at the end asks for a member without a name, and there is none.
        parts = tuple(part for part in path.split("/") if part) + (("",) if path.endswith("/") else ())
        if parts and parts[0] not in self._collections:
            return parts[0], parts[1:]
        return None, parts

    def find(
        self, method: str, parts: tuple[str, ...], version: Version, *, experimental: bool
    ) -> tuple[Route, dict[str, str]]:
        """Return the route and its path's variables; `NoSuchRoute` if there is none at this version."""
        for pattern, route in self._routes.get((method, len(parts)), ()):
            variables = _match(pattern, parts)
            if variables is not None and route.is_at(version, experimental=experimental):
                return route, variables
        raise NoSuchRoute("The resource could not be found.")


def _match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, str] | None:
    variables: dict[str, str] = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{") and part:
            variables[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return variables
