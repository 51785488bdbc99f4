"""The steps of a deployment: disks for the machine, morphing, the machine, proof of life, and the way back.

Like those of a transfer, each may be called again after a crash at any point.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from isthmus.control.errors import InvalidInput, NotAllowed, StepFailed
from isthmus.migration import patterns
from isthmus.migration.machine import BootProbe, Machine
from isthmus.migration.model import ScriptPhase, TaskType
from isthmus.migration.morphing.contract import MorphRequest, NicPlan, Target, UserScript, WayIn
from isthmus.migration.morphing.morph import morph
from isthmus.migration.planning.mapping import check_isolated, map_nics
from isthmus.migration.planning.work import Work
from isthmus.migration.reporting import Level, Report
from isthmus.migration.workflows.calls import StepCall, StepOutcome
from isthmus.migration.workflows.site import Clouds, Site, WorkerSettings, writing_owner
from isthmus.migration.workflows.transfer_steps import StepFunction

_PROBE = TypeAdapter(BootProbe)
CONSOLE_LINES_IN_EVENT = 30


def validate(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Check the replica, networks, probe and scripts before anything is made."""
    work, replica = call.work, call.facts.replica
    machine = _machine(call)
    complete = replica.point is not None and not replica.tainted
    if not replica.disks or not (complete or work.force):
        raise StepFailed(f"{call.step.instance} has no complete replica to deploy: execute its transfer first")
    boot_probe(work.destination_environment)
    user_scripts(work.user_scripts, call.step.instance, machine.os_type)
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        cloud.validate_connection()
        networks = cloud.list_networks()
        if work.test is not None:
            check_isolated(work.test.network, work.network_map, networks)
        nics = map_nics(machine, _network_map(call, machine), networks)
    report.event(Level.INFO, f"the replica of {machine.name} can be deployed")
    return StepOutcome(replace(call.facts, nic_mappings=nics, disks=replica.disks, result=_first_result(call)))


def _network_map(call: StepCall, machine: Machine) -> Mapping[str, str]:
    """Return where the machine's networks lead: all of a tested one's to the network of the test."""
    test = call.work.test
    return call.work.network_map if test is None else {nic.network_name: test.network for nic in machine.nics}


def _first_result(call: StepCall) -> dict[str, Any]:
    replica = call.facts.replica
    return {
        "replica": replica.last_pass,
        "source_stopped_at": replica.source_stopped_at,
        "morphing": None,
        "probe": None,
        "boot_passed_at": None,
        "downtime_seconds": None,
        "test": asdict(call.work.test) if call.work.test else None,
    }


def clone(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Give the machine disks of its own; the replica stays as it is."""
    work = call.work
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        disks = tuple(cloud.clone_disks(str(work.deployment_id), call.step.instance, call.facts.replica.disks, report))
    report.event(Level.INFO, f"{len(disks)} disks are cloned")
    return StepOutcome(replace(call.facts, disks=disks), {"disks": [asdict(disk) for disk in disks]})


def keep_replica(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Keep the replica's content: the machine will own the replica's disks, and morphing writes to them."""
    work = call.work
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        cloud.create_snapshots(str(work.deployment_id), call.facts.replica.disks)
    report.event(Level.INFO, "the replica's content is kept until the machine is known to live")
    # Whatever happens from here on, only a comparison can trust these disks, until they are restored.
    return StepOutcome(replace(call.facts, snapshots_kept=True, replica=replace(call.facts.replica, tainted=True)))


def open_for_morphing(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Open the machine's disks for writing."""
    with site.clouds.destination(call.work.destination, call.work.trust_id) as cloud:
        cloud.open_writing(_owner(call), call.facts.disks)
    report.event(Level.INFO, "the machine's disks are open for morphing")
    return StepOutcome(call.facts)


def change_os(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Make the guest boot on its new platform. Every edit is idempotent, so a killed morphing is simply run again."""
    with site.clouds.destination(call.work.destination, call.work.trust_id) as cloud:
        exported = {disk.disk_id: disk for disk in cloud.open_writing(_owner(call), call.facts.disks)}
        uris = tuple(exported[disk.id].uri for disk in _machine(call).disks)
        request = morph_request(call, uris, way_in(call.work.destination_environment, site.settings))
        found = morph(replace(request, luks_keys=luks_keys(call.work, site.clouds)), report)
    result = asdict(found)
    for change in found.changes:
        report.event(Level.INFO, change)
    return StepOutcome(replace(call.facts, result={**call.facts.result, "morphing": result}), result)


def luks_keys(work: Work, clouds: Clouds) -> tuple[str, ...]:
    """Return the passphrases for the guest's LUKS volumes; they stay in this process."""
    reference = work.luks_secret_ref
    if not reference:
        return ()
    keys = clouds.secret(work.trust_id, reference).get("keys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
        raise InvalidInput(
            f'the secret {reference} does not hold LUKS passphrases: store {{"keys": ["…"]}} in it, and deploy again'
        )
    return tuple(keys)


def way_in(environment: Mapping[str, Any], settings: WorkerSettings) -> WayIn:
    """Return the way into the guest: the environment's `morphing_way_in`, else the worker's own.

    Raises `NotAllowed` if the environment would have the worker's kernel mount a guest where its operator does not.
    """
    try:
        chosen = WayIn(environment.get("morphing_way_in") or settings.morphing_way_in)
    except ValueError:
        raise InvalidInput(f"morphing_way_in must be one of {', '.join(WayIn)}; correct the environment") from None
    if chosen is WayIn.WORKER_KERNEL and not settings.allow_worker_kernel:
        raise NotAllowed(
            "morphing_way_in worker-kernel would have this worker's own kernel read the guest's file systems: leave it "
            "out, or have the operator set morphing_way_in in [worker]"
        )
    return chosen


def morph_request(call: StepCall, uris: tuple[str, ...], chosen: WayIn) -> MorphRequest:
    """Return what the morpher is asked, from the destination environment.

    Keys: `disk_bus`, `nic_model` (both "virtio" by default), `set_dhcp` (False).
    """
    machine, environment = _machine(call), call.work.destination_environment
    return MorphRequest(
        disk_uris=uris,
        target=Target(
            platform=call.work.destination.type,
            disk_bus=str(environment.get("disk_bus") or "virtio"),
            nic_model=str(environment.get("nic_model") or "virtio"),
            firmware=machine.firmware,
        ),
        nics=tuple(NicPlan(nic.mac_address, bool(environment.get("set_dhcp", False))) for nic in machine.nics),
        scripts=user_scripts(call.work.user_scripts, call.step.instance, machine.os_type),
        way_in=chosen,
    )


def user_scripts(scripts: Mapping[str, Any], instance: str, os_type: str) -> tuple[UserScript, ...]:
    """Return the scripts for one machine: those of its OS type, then its own.

    A script is a text (then it runs after mounting) or `{"phase", "payload"}`. Raises `InvalidInput` for another phase.
    """
    chosen: list[Any] = []
    for entry in ((scripts.get("global") or {}).get(os_type), (scripts.get("instances") or {}).get(instance)):
        if entry:
            chosen.extend([entry] if isinstance(entry, str | Mapping) else entry)
    return tuple(_script(each) for each in chosen)


def _script(given: Any) -> UserScript:
    if isinstance(given, str):
        return UserScript(ScriptPhase.POST_OS_MOUNT, given)
    try:
        return UserScript(ScriptPhase(given.get("phase") or ScriptPhase.POST_OS_MOUNT), str(given["payload"]))
    except (KeyError, ValueError):
        raise InvalidInput(
            f"a user script needs a payload and one of the phases {', '.join(ScriptPhase)}; correct user_scripts"
        ) from None


def close_after_morphing(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Flush and close the machine's disks."""
    with site.clouds.destination(call.work.destination, call.work.trust_id) as cloud:
        cloud.close_writing(_owner(call))
    report.event(Level.INFO, "the machine's disks are closed")
    return StepOutcome(call.facts)


def finalize(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Define the machine, still off."""
    work, facts = call.work, call.facts
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        deployed = cloud.create_machine(
            str(work.deployment_id), _machine(call), work.destination_environment, facts.disks, facts.nic_mappings
        )
    report.event(Level.INFO, f"{deployed.name} is defined at the destination")
    result = {**facts.result, "machine": asdict(deployed), "disks": [asdict(disk) for disk in facts.disks]}
    return StepOutcome(replace(facts, deployed=deployed, result=result), {"machine": asdict(deployed)})


def verify_boot(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Start the machine and wait for its proof of life; without one, fail with the console's last lines."""
    work, facts = call.work, call.facts
    if facts.deployed is None:
        raise StepFailed(f"{call.step.instance} was not defined at the destination: deploy it again")
    probe = boot_probe(work.destination_environment)
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        seen = cloud.boot_machine(facts.deployed, probe, report)
    if not seen.passed:
        lines = "\n".join(seen.console_tail[-CONSOLE_LINES_IN_EVENT:]) or "(the console is empty)"
        raise StepFailed(
            f"{facts.deployed.name} did not pass its boot probe ({probe.type}) in {seen.seconds:.0f} s: {seen.saw}. "
            f"Look at the console below, correct the guest or the probe, and deploy again.\n{lines}"
        )
    report.event(Level.INFO, f"{facts.deployed.name} lives: {seen.saw} after {seen.seconds:.0f} s")
    if work.test is not None:
        # The transfer stays as it was: its source goes on, its replica is not the machine's.
        tested = {**facts.result, "probe": asdict(seen), "boot_passed_at": site.now().isoformat()}
        return StepOutcome(replace(facts, result=tested), asdict(seen))
    passed_at = site.now()
    deployed = seen.machine or facts.deployed
    result = {
        **facts.result,
        "machine": asdict(deployed),
        "probe": asdict(seen),
        "boot_passed_at": passed_at.isoformat(),
        "downtime_seconds": downtime(facts.replica.source_stopped_at, passed_at),
    }
    replica = replace(facts.replica, deployed=True)
    if not work.clone_disks:
        # The disks are the machine's now; the next execution makes others.
        replica = replace(replica, disks=(), point=None, generation=None, last_pass=None, tainted=False)
    return StepOutcome(replace(facts, replica=replica, deployed=deployed, result=result), asdict(seen))


def boot_probe(environment: Mapping[str, Any]) -> BootProbe:
    """Return the probe in `boot_probe`; none if it is not there. Raises `InvalidInput` for one that makes no sense."""
    try:
        probe = _PROBE.validate_python(environment.get("boot_probe") or {})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidInput(f"boot_probe in the destination environment: {wrong}") from None
    patterns.marker(probe.marker)
    return probe


def downtime(stopped_at: str | None, passed_at: datetime) -> float | None:
    """Return the seconds between the source's end and the probe's success; None if the source was not stopped by us."""
    return (passed_at - datetime.fromisoformat(stopped_at)).total_seconds() if stopped_at else None


def forget_kept(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """The machine lives: the replica's content from before is not needed any more."""
    with site.clouds.destination(call.work.destination, call.work.trust_id) as cloud:
        cloud.delete_snapshots(str(call.work.deployment_id), call.facts.disks)
    report.event(Level.INFO, "the kept content is deleted")
    return StepOutcome(replace(call.facts, snapshots_kept=False))


def clean_up(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Remove the machine that does not live, and its clones."""
    work, facts = call.work, call.facts
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        cloud.close_writing(_owner(call))
        cloud.delete_machine(str(work.deployment_id), _machine(call).name)
        if work.clone_disks:
            cloud.delete_clones(str(work.deployment_id), call.step.instance, facts.replica.disks)
    report.event(Level.INFO, "nothing of the deployment is left at the destination")
    return StepOutcome(replace(facts, disks=(), deployed=None))


def restore_replica(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Bring the replica back to what it held before; what was not kept was not changed either."""
    work, disks = call.work, call.facts.replica.disks
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        if call.facts.snapshots_kept:
            cloud.restore_snapshots(str(work.deployment_id), disks)
        cloud.delete_snapshots(str(work.deployment_id), disks)
    report.event(Level.INFO, "the replica is as it was before the deployment")
    replica = replace(call.facts.replica, tainted=False)
    return StepOutcome(replace(call.facts, snapshots_kept=False, replica=replica))


def _owner(call: StepCall) -> str:
    return writing_owner(str(call.work.deployment_id), call.step.instance)


def _machine(call: StepCall) -> Machine:
    if call.facts.replica.machine is None:
        raise StepFailed(f"nothing is known of {call.step.instance}: execute its transfer first")
    return call.facts.replica.machine


STEPS: Mapping[TaskType, StepFunction] = {
    TaskType.VALIDATE_DEPLOYMENT_INPUTS: validate,
    TaskType.DEPLOY_INSTANCE_RESOURCES: clone,
    TaskType.CREATE_TRANSFER_DISK_SNAPSHOTS: keep_replica,
    TaskType.DEPLOY_OS_MORPHING_RESOURCES: open_for_morphing,
    TaskType.OS_MORPHING: change_os,
    TaskType.DELETE_OS_MORPHING_RESOURCES: close_after_morphing,
    TaskType.FINALIZE_INSTANCE_DEPLOYMENT: finalize,
    TaskType.VERIFY_INSTANCE_BOOT: verify_boot,
    TaskType.DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS: forget_kept,
    TaskType.CLEANUP_FAILED_INSTANCE_DEPLOYMENT: clean_up,
    TaskType.RESTORE_TRANSFER_DISK_SNAPSHOTS: restore_replica,
    TaskType.DELETE_TEST_INSTANCE: clean_up,
}
