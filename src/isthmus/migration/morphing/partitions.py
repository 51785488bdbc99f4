"""What is on a disk: partitions from `sfdisk --json`, file systems from `blkid`. Pure parsing."""

import json
import re
from dataclasses import dataclass

_EXTENDED = frozenset({"5", "f", "85"})
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class Partition:
    """A range of a disk in bytes; number 0 is the whole disk, without a partition table."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True)
class Signature:
    """What blkid recognises; an empty `type` means nothing."""

    type: str = ""
    uuid: str = ""
    label: str = ""


def parse_table(text: str, disk_size: int) -> tuple[Partition, ...]:
    """Return the partitions that sfdisk's JSON names, those beyond the disk's end left out; ValueError if malformed."""
    table = json.loads(text)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    found = []
    for entry in table.get("partitions", []):
        number = _NUMBER.search(entry["node"])
        if entry.get("type") in _EXTENDED or not number:
            continue
        offset, size = int(entry["start"]) * sector, int(entry["size"]) * sector
        if offset + size <= disk_size and size > 0:
            found.append(Partition(int(number.group(1)), offset, size))
    return tuple(found)


def parse_signature(text: str) -> Signature:
    """Return what `blkid -p -o export` says."""
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Signature(facts.get("TYPE", ""), facts.get("UUID", ""), facts.get("LABEL", "").replace("\\ ", " "))
