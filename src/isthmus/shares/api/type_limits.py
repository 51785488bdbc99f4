"""The sizes that a share type allows.

Source: Manila's extra specs `provisioning:min_share_size`, `max_share_size` and `max_share_extend_size`, in GiB.
"""

from typing import Literal

from isthmus.control.errors import InvalidInput
from isthmus.shares.store.share_type_facts import ShareType

Deed = Literal["create", "extend", "admin-extend", "shrink"]


def check_size(share_type: ShareType | None, gib: int, deed: Deed) -> None:
    """Raise `InvalidInput` if shares of this type may not get this size by this deed."""
    if share_type is None:
        return
    least = share_type.specs.get("provisioning:min_share_size")
    most = share_type.specs.get("provisioning:max_share_size")
    most_extended = share_type.specs.get("provisioning:max_share_extend_size")
    if deed in {"create", "shrink"} and least and gib < int(least):
        _refuse(share_type, gib, f"less than the minimum required size of '{least}'")
    if deed in {"create", "extend"} and most and gib > int(most):
        _refuse(share_type, gib, f"greater than the maximum allowable size of '{most}'")
    if deed == "admin-extend" and most_extended and gib > int(most_extended):
        _refuse(share_type, gib, f"greater than the maximum allowable extend size of '{most_extended}'")


def _refuse(share_type: ShareType, gib: int, why: str) -> None:
    raise InvalidInput(
        f"Invalid input received: Specified share size of '{gib}' is {why} for share type '{share_type.name}'."
    )
