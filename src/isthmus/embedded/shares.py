"""The shares service on one machine: its configuration beside isthmus.conf, its manager, its first share type."""

import sys
from pathlib import Path

from isthmus.control.errors import InvalidInput
from isthmus.control.readiness import READY_FILE
from isthmus.embedded.layout import Layout, write_private
from isthmus.embedded.part import Part, Preparation, Site, program
from isthmus.embedded.readiness import file_exists

PART = "share-manager"


def choose(layout: Layout, wanted: Path | None) -> None:
    """Take an operator's file with `[shares]` and back ends for this and later starts; None keeps the last one.

    Raises `InvalidInput` if it cannot be read.
    """
    if wanted is None:
        return
    try:
        text = wanted.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"cannot read the shares configuration {wanted}: {error}; correct --shares-config"
        ) from error
    write_private(layout.shares_configuration, text)


def configuration_files(layout: Layout) -> tuple[str, ...]:
    """Return the arguments that name the configuration of the services, that of the shares last."""
    files = [layout.configuration]
    if layout.shares_configuration.exists():
        files.append(layout.shares_configuration)
    return tuple(word for file in files for word in ("--config-file", str(file)))


def parts(site: Site) -> tuple[Part, ...]:
    """Return the share manager as a part; none without back ends."""
    if not site.layout.shares_configuration.exists():
        return ()
    ready = site.layout.ready_file(PART)
    return (
        Part(
            name=PART,
            command=(program("isthmus"), PART, *configuration_files(site.layout)),
            environment={READY_FILE: str(ready)},
            check=file_exists(ready),
            ready_file=ready,
            address="polls the database",
            # Its tables are made by the API's preparation.
            depends_on=("api",),
            preparation=Preparation(
                command=(
                    sys.executable,
                    "-m",
                    "isthmus.shares.services.first_types",
                    *configuration_files(site.layout),
                ),
                stamp=site.layout.stamp("shares"),
                stamp_text="1",
            ),
        ),
    )
