"""Connect to another worker's door."""

import socket
import ssl

from isthmus.control.errors import Unavailable
from isthmus.migration.disks.job import Channel
from isthmus.migration.disks.trust import is_peer, sending

# Short: nobody can be told to stop meanwhile.
_CONNECT_SECONDS = 5.0


def connected(channel: Channel, disk_id: str) -> ssl.SSLSocket:
    """A connection to the very worker that was named; Unavailable with host, port and what to look at."""
    where = f"{channel.host}:{channel.port}"
    try:
        plain = socket.create_connection((channel.host, channel.port), timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise Unavailable(
            f"the data channel of disk {disk_id} cannot be reached at {where}: {error}. Let this worker connect "
            "to that port (firewall, route, name), or correct [worker] channel_listen and channel_address of the "
            "worker there"
        ) from None
    try:
        connection = sending(channel.identity, channel.peer).wrap_socket(plain, server_hostname=channel.name)
    except OSError as error:
        plain.close()
        raise Unavailable(
            f"{where} is not the worker that waits for disk {disk_id}, or no longer: {error}. If this goes on, check "
            "what listens there, and [worker] channel_address"
        ) from None
    if not is_peer(connection, channel.peer):
        connection.close()
        raise Unavailable(f"{where} shows another certificate than the worker that waits for disk {disk_id}")
    return connection
