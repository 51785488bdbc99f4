"""What stands where Manila's drivers would reach Manila's database (`manila.db.api.IMPL`)."""

from collections.abc import Callable, Mapping
from typing import Any

from isthmus.control.errors import NotSupported
from isthmus.shares.drivers.manila.rows import Row


class NoDatabase:
    """Refuses everything but the share types that were told to it, which drivers ask for by id.

    The driver of NetApp that makes share servers also reads security services; it is refused with its mode.
    """

    def __init__(self) -> None:
        self._types: dict[str, dict[str, str]] = {}

    def remember_type(self, type_id: str, extra_specs: Mapping[str, str]) -> None:
        """Keep the extra specs of a share type, in place of earlier ones."""
        self._types[type_id] = dict(extra_specs)

    def share_type_get(
        self, context: object, type_id: str, inactive: bool = False, expected_fields: object = None
    ) -> Row:
        """Return the share type of this id; one that was never told of has no extra specs."""
        del context, inactive, expected_fields
        specs = dict(self._types.get(type_id, {}))
        return Row(id=type_id, name=type_id, is_public=True, extra_specs=specs, required_extra_specs={})

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def refuse(*_: object, **__: object) -> Any:
            raise NotSupported(
                f"this driver reads Manila's database ({name}), and Isthmus has none: it needs Manila itself"
            )

        return refuse
