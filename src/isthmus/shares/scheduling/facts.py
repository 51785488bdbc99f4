"""What the scheduler knows when it decides: the pools as they are now, and what is asked of one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PoolState:
    """A pool as last reported, less what was placed in it since. Sizes in GiB; None is unknown, inf is endless.

    `provisioned_gib` is what all shares in the pool were promised.
    """

    host: str
    availability_zone: str
    total_gib: float | None
    free_gib: float | None
    provisioned_gib: float
    capabilities: Mapping[str, Any]

    def number(self, name: str, default: float) -> float:
        """Return a capability that is a number; the default if the pool does not report it."""
        value = self.capabilities.get(name)
        return default if value is None else float(value)

    @property
    def is_thin(self) -> bool:
        """Say whether the pool can promise more than it has; drivers report True, False or a list of both."""
        reported = self.capabilities.get("thin_provisioning")
        return True in reported if isinstance(reported, list) else bool(reported)

    @property
    def backend(self) -> str:
        """Return `machine@back end` of the pool."""
        return self.host.partition("#")[0]


@dataclass(frozen=True)
class Wanted:
    """What is asked of a pool. `extra_specs` are those to be compared with capabilities (`extra_specs.compared`).

    `replica_hosts` are those of the replicas that a new one joins, `replication_domain` that of the active one (or the
    snapshot's). `same_hosts` is None where no affinity is asked for; a pool must then be none of `different_hosts`.
    `availability_zones` empty means any. `share` holds what a driver's functions may look at, as `share.size`.
    """

    size_gib: int
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    share: Mapping[str, Any] = field(default_factory=dict)
    availability_zone: str | None = None
    availability_zones: tuple[str, ...] = ()
    only_host: str | None = None
    same_hosts: frozenset[str] | None = None
    different_hosts: frozenset[str] = frozenset()
    query: str | None = None
    tried: tuple[str, ...] = ()
    snapshot_host: str | None = None
    replica_hosts: frozenset[str] = frozenset()
    replication_domain: str | None = None
    is_extension: bool = False
    server_pools: frozenset[str] = frozenset()

    @property
    def reserved_for(self) -> str:
        """Return the capability that tells which percentage of a pool is not for such a request."""
        if self.is_extension:
            return "reserved_share_extend_percentage"
        return "reserved_snapshot_percentage" if self.snapshot_host else "reserved_percentage"
