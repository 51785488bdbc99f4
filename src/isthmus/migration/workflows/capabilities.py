"""What can be done with a provider, as Coriolis' capability bits: its own, and those that Isthmus does for each.

An inventory is made from a provider's listing, an update is tried with its validations, and a minion pool asks nothing
of it; so no provider has to claim these.
"""

from enum import IntFlag

from isthmus.migration.providers.contract import Capability, Provider


class Derived(IntFlag):
    """Bits of Coriolis' `constants.py` that no provider claims itself."""

    UPDATE_SOURCE = 65536
    UPDATE_DESTINATION = 262144
    SOURCE_MINION_POOL = 524288
    DESTINATION_MINION_POOL = 1048576
    ENDPOINT_INVENTORY = 2097152


_FOLLOWS = {
    Derived.UPDATE_SOURCE: Capability.TRANSFER_EXPORT,
    Derived.UPDATE_DESTINATION: Capability.TRANSFER_IMPORT,
    Derived.SOURCE_MINION_POOL: Capability.TRANSFER_EXPORT,
    Derived.DESTINATION_MINION_POOL: Capability.TRANSFER_IMPORT,
    Derived.ENDPOINT_INVENTORY: Capability.ENDPOINT_INSTANCES,
}


def shown_bits(provider: type[Provider]) -> list[int]:
    """Return the bits of a provider for GET /providers, in ascending order."""
    own = [bit.value for bit in Capability if bit in provider.capabilities]
    derived = [bit.value for bit, needed in _FOLLOWS.items() if needed in provider.capabilities]
    return sorted({*own, *derived})
