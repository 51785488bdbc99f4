"""All operations of the migration API, from its own description, and the weakest role that each is for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from isthmus.migration.api.openapi import document

ROLES = ("reader", "member", "admin")


@dataclass(frozen=True)
class Operation:
    """One operation on objects that do not exist; `path` is behind the project."""

    method: str
    path: str
    role: str
    body: dict[str, Any] | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def is_for(self, role: str) -> bool:
        return ROLES.index(role) >= ROLES.index(self.role)


def operations() -> Iterator[Operation]:
    """Return each operation once, actions once for each action."""
    for template, methods in document()["paths"].items():
        path = re.sub(r"\{\w+\}", "x", template.removeprefix("/v1/{project_id}"))
        for method, facts in methods.items():
            for body in _bodies(path, facts):
                yield Operation(method.upper(), path, _role(method, path, body), body)


def _bodies(path: str, facts: dict[str, Any]) -> list[dict[str, Any] | None]:
    if "requestBody" not in facts:
        return [None]
    schema = facts["requestBody"]["content"]["application/json"]["schema"]
    if path == "/minion_pools/x/actions":
        return [{"allocate": None}, {"refresh": None}, {"deallocate": None}]
    return [dict.fromkeys(each.get("properties", {})) for each in schema.get("oneOf", [schema])]


def _role(method: str, path: str, body: dict[str, Any] | None) -> str:
    if path in {"/diagnostics", "/audit"}:
        return "admin"
    if method == "get" or path == "/plans" or "plan" in (body or {}):
        return "reader"
    return "admin" if path.startswith(("/regions", "/services")) else "member"
