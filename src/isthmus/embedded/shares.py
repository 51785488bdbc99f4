"""The shares service on one machine: its configuration beside isthmus.conf, its manager, its first share type."""

import hashlib
import os
import sys
from pathlib import Path

from isthmus.control.errors import InvalidInput
from isthmus.control.readiness import READY_FILE
from isthmus.embedded import nfs3, share_servers
from isthmus.embedded.layout import Layout, write_private
from isthmus.embedded.part import Part, Preparation, Site, program
from isthmus.embedded.readiness import file_exists

PART = "share-manager"
PART_NAMES = (*share_servers.PART_NAMES, PART)
LOCAL = "local.conf"


def choose(layout: Layout, wanted: Path | None, *, nfs3_wanted: bool | None) -> None:
    """Take an operator's file with `[shares]` and back ends for this and later starts; None keeps the last one.

    Raises `InvalidInput` if it cannot be read, and if NFS 3 is wanted of a machine that does not serve shares itself.
    """
    if wanted is not None:
        try:
            text = wanted.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read --shares-config {wanted}: {error}; correct its path") from error
        write_private(layout.shares_configuration, text)
    if nfs3_wanted and not is_local(layout):
        raise InvalidInput(
            "`--with nfs3` is for shares that this machine serves itself: with --shares-config, set nfs_versions there"
        )
    nfs3.CHOICE.choose(layout, wanted=nfs3_wanted)


def is_local(layout: Layout) -> bool:
    """Say whether this machine serves shares itself: no operator's file says otherwise, and we may mount."""
    return not layout.shares_configuration.exists() and os.geteuid() == 0


def check_installed(layout: Layout, nfs_port: int) -> None:
    """Raise NotSupported naming what the machine's own back end lacks, Conflict if its NFS 3 would meet another's."""
    if is_local(layout):
        share_servers.check_installed()
        if nfs3.CHOICE.is_chosen(layout):
            nfs3.check(nfs_port)


def configure(site: Site) -> None:
    """Write the configuration of the machine's own back end, if it has one."""
    if not is_local(site.layout):
        return
    share_servers.configure(site)
    write_private(
        site.layout.of("shares") / LOCAL,
        f"""\
[shares]
enabled_backends = {share_servers.BACKEND}
enabled_share_protocols = NFS, CIFS
default_share_type = default
default_share_group_type = default
{share_servers.backend_section(site)}""",
    )


def configuration_files(layout: Layout) -> tuple[str, ...]:
    """Return the arguments that name the configuration of the services, that of the shares last."""
    files = [layout.configuration]
    if layout.shares_configuration.exists():
        files.append(layout.shares_configuration)
    elif is_local(layout):
        files.append(layout.of("shares") / LOCAL)
    return tuple(word for file in files for word in ("--config-file", str(file)))


def parts(site: Site) -> tuple[Part, ...]:
    """Return the share manager, and the servers of the machine's own back end; nothing without back ends."""
    local = is_local(site.layout)
    if not local and not site.layout.shares_configuration.exists():
        return ()
    ready = site.layout.ready_file(PART)
    return (
        *(share_servers.parts(site) if local else ()),
        Part(
            name=PART,
            command=(program("isthmus"), PART, *configuration_files(site.layout)),
            environment={READY_FILE: str(ready)},
            check=file_exists(ready),
            ready_file=ready,
            address="polls the database",
            # Its tables are made by the API's preparation, and the pool is mounted by its keeper.
            depends_on=("api", "share-storage") if local else ("api",),
            preparation=Preparation(
                command=(
                    sys.executable,
                    "-m",
                    "isthmus.shares.services.first_types",
                    *configuration_files(site.layout),
                ),
                stamp=site.layout.stamp("shares"),
                stamp_text=_stamp(site.layout),
            ),
        ),
    )


def _stamp(layout: Layout) -> str:
    """Return what the first types were made for: they are looked at again when the configuration changes."""
    if layout.shares_configuration.exists():
        # A digest: the file may hold an array's password.
        return hashlib.sha256(layout.shares_configuration.read_bytes()).hexdigest()
    return "local"
