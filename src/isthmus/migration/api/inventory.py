"""A cloud's machines as CSV, for spreadsheets and scripts."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    "id",
    "name",
    "os_type",
    "power_state",
    "firmware",
    "secure_boot",
    "num_cpu",
    "memory_mb",
    "disk_count",
    "disk_bytes",
    "disk_bytes_allocated",
    "storage",
    "nic_count",
    "networks",
    "mac_addresses",
    "ip_addresses",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(machines: Sequence[Mapping[str, Any]]) -> str:
    """Return a header and a line for each machine. Lists are joined by semicolons, an unknown size is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow(COLUMNS)
    for machine in machines:
        row = _row(machine)
        writer.writerow([_cell(row[column]) for column in COLUMNS])
    return text.getvalue()


def _row(machine: Mapping[str, Any]) -> dict[str, Any]:
    disks, nics = machine["disks"], machine["nics"]
    allocated = [disk["allocated_bytes"] for disk in disks]
    return {
        **machine,
        "disk_count": len(disks),
        "disk_bytes": sum(disk["size_bytes"] for disk in disks),
        "disk_bytes_allocated": None if None in allocated else sum(allocated),
        "storage": sorted({disk["storage_backend_identifier"] for disk in disks}),
        "nic_count": len(nics),
        "networks": [nic["network_name"] for nic in nics],
        "mac_addresses": [nic["mac_address"] for nic in nics],
        "ip_addresses": [address for nic in nics for address in nic["ip_addresses"]],
    }


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        value = ";".join(map(str, value))
    text = "" if value is None else str(value)
    # A machine's name is its owner's choice; a spreadsheet would run one that looks like a formula.
    return f"'{text}" if text.startswith(_FORMULA) else text
