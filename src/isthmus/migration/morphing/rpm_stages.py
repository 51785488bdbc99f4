"""What is done to guests with rpm, dracut and GRUB 2: the RHEL and the SUSE families."""

from collections.abc import Sequence

from isthmus.migration.morphing import agents, boot_loader, dracut, fstab, lvm, network, os_release, selinux, stages
from isthmus.migration.morphing.contract import GuestDisks, MorphRequest
from isthmus.migration.morphing.packages import RPM
from isthmus.migration.reporting import Report


def morph(guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
    """Run the stages one after another; each is idempotent. Returns one line for each change."""
    target = request.target
    return stages.run(
        [
            lambda: boot_loader.check_loader(guest, target, os_release.architecture(guest)),
            lambda: fstab.name_file_systems(guest),
            lambda: lvm.forget_devices(guest),
            lambda: boot_loader.configure(guest, target),
            lambda: dracut.configure(guest, target),
            lambda: network.adapt(guest, request.nics),
            lambda: agents.free_cloud_init(guest, target),
            lambda: agents.remove_agents(guest, target, RPM),
            lambda: stages.run_user_scripts(guest, request),
            lambda: dracut.update(guest),
            lambda: selinux.relabel_after_programs(guest, request),
        ],
        report,
    )
