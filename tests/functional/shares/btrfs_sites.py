"""Sites with a btrfs back end, its servers and real clients, for the tests of this folder."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lab.share_network import ClientNetwork
from tests.share_serving import ShareSite, share_site

from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.facts import (
    AccessChange,
    AccessLevel,
    AccessRule,
    AccessType,
    ShareFacts,
    SnapshotFacts,
)

RW, RO = AccessLevel.RW, AccessLevel.RO


@contextmanager
def open_site(network: ClientNetwork | None = None) -> Iterator[ShareSite]:
    """Yield a site with a started driver's pool and its bus; with a network its servers can be reached from there."""
    with share_site() as site:
        if network:
            own = site.site.layout.of("shares")
            ganesha, samba = own / "ganesha.conf", own / "smb.conf"
            ganesha.write_text(ganesha.read_text().replace("Bind_addr = 127.0.0.1;", ""))
            samba.write_text(samba.read_text().replace("interfaces = lo", f"interfaces = lo {network.server_address}"))
        site.start("share-bus")
        yield site


def share(protocol: str = "NFS", size_gib: int = 1, **others: str) -> ShareFacts:
    """Return facts of a new share."""
    facts = ShareFacts(
        instance_id=str(uuid.uuid4()),
        share_id=str(uuid.uuid4()),
        size_gib=size_gib,
        protocol=protocol,
        host="machine@local#pool",
        project_id="project",
        user_id="user",
    )
    return replace(facts, **others)  # type: ignore[arg-type]


def snapshot_of(origin: ShareFacts) -> SnapshotFacts:
    """Return facts of a new snapshot."""
    return SnapshotFacts(str(uuid.uuid4()), str(uuid.uuid4()), share=origin, size_gib=origin.size_gib)


def allow(
    driver: BtrfsDriver, facts: ShareFacts, *rules: tuple[str, AccessLevel], kind: AccessType = AccessType.IP
) -> list[str]:
    """Have exactly these rules hold; return the errors of those that do not."""
    wanted = tuple(AccessRule(str(uuid.uuid4()), kind, to, level) for to, level in rules)
    outcomes = driver.update_access(facts, AccessChange(wanted))
    return [outcome.error for outcome in outcomes.values() if outcome.error]


def pseudo_path(facts: ShareFacts) -> str:
    """Return the path that NFS clients mount."""
    return f"/{facts.mount_point_name or f'share-{facts.instance_id}'}"
