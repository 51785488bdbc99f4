"""LVM's memory of the source's disks."""

from isthmus.migration.morphing.contract import GuestAccess

_DEVICES = "/etc/lvm/devices/system.devices"


def forget_devices(guest: GuestAccess) -> list[str]:
    """Remove LVM's list of the devices that it may use; return one line for each change.

    RHEL 9 and later name physical volumes by the serial numbers that the source gave its disks (lvmdevices(8)), and
    find no volume group on others. Without the file LVM looks at all disks, as it did before.
    """
    if guest.remove(_DEVICES):
        return [f"lvm: {_DEVICES}, which named the source's disks, is removed"]
    return []
