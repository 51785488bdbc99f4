"""The static table of all commands: words -> where the class is, and its one line of help.

The table is data so that `isthmus --help` imports no command at all, and a command whose part is not installed breaks
nothing but itself. A test holds each line of help equal to the class' docstring.
"""

import importlib
from dataclasses import dataclass

from cliff.command import Command
from cliff.commandmanager import CommandManager

from isthmus.control.errors import NotSupported


@dataclass(frozen=True)
class LazyCommand:
    """An entry of the table; it looks like an entry point to cliff. `value` is "module:Class"."""

    name: str
    value: str
    summary: str

    def load(self) -> type[Command]:
        """Import the command's class; NotSupported names what is missing."""
        module_name, _, class_name = self.value.partition(":")
        try:
            found: type[Command] = getattr(importlib.import_module(module_name), class_name)
        except ImportError as error:
            raise NotSupported(
                f"the command '{self.name}' cannot be loaded: {error}; "
                "install what it needs (pip install 'isthmus[embedded]' for the control plane on this machine)"
            ) from error
        return found


CONTROL_PLANE = "isthmus.cli.control_plane"
SERVICES = "isthmus.cli.services"
ENDPOINTS = "isthmus.cli.endpoints"
ASSESSMENTS = "isthmus.cli.assessments"
CLOUDS = "isthmus.cli.clouds"
TRANSFERS = "isthmus.cli.transfers"
EXECUTIONS = "isthmus.cli.executions"
DEPLOYMENTS = "isthmus.cli.deployments"
SCHEDULES = "isthmus.cli.schedules"
POOLS = "isthmus.cli.pools"
WAVES = "isthmus.cli.waves"
REPORTS = "isthmus.cli.signed_reports"
REGIONS = "isthmus.cli.regions"
SHARES = "isthmus.cli.shares"
PORTS = "isthmus.cli.ports"
SHARE_SNAPSHOTS = "isthmus.cli.share_snapshots"

COMMANDS: tuple[LazyCommand, ...] = (
    LazyCommand("up", f"{CONTROL_PLANE}:Up", "Start the control plane on this machine"),
    LazyCommand("down", f"{CONTROL_PLANE}:Down", "Stop the control plane on this machine"),
    LazyCommand("status", f"{CONTROL_PLANE}:Status", "Show the parts of the control plane on this machine"),
    LazyCommand("logs", f"{CONTROL_PLANE}:Logs", "Show the log of one part"),
    LazyCommand("env", f"{CONTROL_PLANE}:Env", "Print OS_* exports for a user of the control plane"),
    LazyCommand("api", f"{SERVICES}:Api", "Run the API service until it is told to stop"),
    LazyCommand("conductor", f"{SERVICES}:Conductor", "Run a conductor until it is told to stop"),
    LazyCommand("worker", f"{SERVICES}:Worker", "Run a worker until it is told to stop"),
    LazyCommand("share-manager", f"{SERVICES}:ShareManager", "Run a share manager until it is told to stop"),
    LazyCommand(
        "docker package",
        "isthmus.cli.docker:DockerPackage",
        "Write the plug-in that swarm mode needs, as a directory for `docker plugin create`",
    ),
    LazyCommand("cni install", "isthmus.cli.cni:CniInstall", "Install the CNI plug-in, and a network if one is named"),
    LazyCommand("network-agent", f"{SERVICES}:NetworkAgent", "Run this host's network agent until it is told to stop"),
    LazyCommand(
        "port attach",
        f"{PORTS}:PortAttach",
        "Attach a tap, a namespace or an interface of this host to a port or a network",
    ),
    LazyCommand(
        "port detach",
        f"{PORTS}:PortDetach",
        "Detach what is attached at a place; the port goes with it, unless it was there before",
    ),
    LazyCommand("port list", f"{PORTS}:PortList", "List all that is attached on this host"),
    LazyCommand("port show", f"{PORTS}:PortShow", "Show what is attached at a place, and what is wrong with it"),
    LazyCommand("db upgrade", f"{SERVICES}:DatabaseUpgrade", "Bring the database's schema up to date"),
    LazyCommand("provider list", f"{CLOUDS}:ProviderList", "List the kinds of clouds and what each can do"),
    LazyCommand("provider schema show", f"{CLOUDS}:ProviderSchemaShow", "Print the JSON schemas of a provider"),
    LazyCommand("endpoint create", f"{ENDPOINTS}:EndpointCreate", "Register a cloud and check that it answers"),
    LazyCommand("endpoint list", f"{ENDPOINTS}:EndpointList", "List the registered clouds"),
    LazyCommand("endpoint show", f"{ENDPOINTS}:EndpointShow", "Show one registered cloud"),
    LazyCommand("endpoint update", f"{ENDPOINTS}:EndpointUpdate", "Change a registered cloud"),
    LazyCommand("endpoint delete", f"{ENDPOINTS}:EndpointDelete", "Forget registered clouds"),
    LazyCommand("endpoint validate", f"{ENDPOINTS}:EndpointValidate", "Check that a cloud answers and lets us in"),
    LazyCommand("endpoint network list", f"{CLOUDS}:NetworkList", "List the networks of a cloud"),
    LazyCommand("endpoint storage list", f"{CLOUDS}:StorageList", "List the storage back ends of a cloud"),
    LazyCommand("endpoint option list", f"{CLOUDS}:OptionList", "List what a cloud offers for an environment"),
    LazyCommand("endpoint inventory export", f"{CLOUDS}:InventoryExport", "Print all machines of a cloud as CSV"),
    LazyCommand("instance list", f"{CLOUDS}:InstanceList", "List the machines of a cloud"),
    LazyCommand("instance show", f"{CLOUDS}:InstanceShow", "Show one machine of a cloud"),
    LazyCommand(
        "assessment create",
        f"{ASSESSMENTS}:AssessmentCreate",
        "Look for what stands in the way of migrating machines; changes nothing",
    ),
    LazyCommand("assessment list", f"{ASSESSMENTS}:AssessmentList", "List the assessments"),
    LazyCommand("assessment show", f"{ASSESSMENTS}:AssessmentShow", "Show an assessment's summary"),
    LazyCommand(
        "assessment machine list",
        f"{ASSESSMENTS}:AssessmentMachines",
        "List the machines of an assessment with their concerns",
    ),
    LazyCommand("assessment delete", f"{ASSESSMENTS}:AssessmentDelete", "Delete assessments; one that runs is stopped"),
    LazyCommand("transfer create", f"{TRANSFERS}:TransferCreate", "Say what shall be moved from where to where"),
    LazyCommand("transfer list", f"{TRANSFERS}:TransferList", "List the transfers"),
    LazyCommand("transfer show", f"{TRANSFERS}:TransferShow", "Show one transfer"),
    LazyCommand(
        "transfer plan", "isthmus.cli.plans:TransferPlan", "Show the steps that an execution would run; changes nothing"
    ),
    LazyCommand("transfer update", "isthmus.cli.transfer_updates:TransferUpdate", "Change how a transfer is made"),
    LazyCommand("transfer delete", f"{TRANSFERS}:TransferDelete", "Delete transfers; the replicas' disks stay"),
    LazyCommand(
        "transfer verify",
        "isthmus.cli.verification:TransferVerify",
        "Compare replicas with their sources by hash, without moving their data",
    ),
    LazyCommand(
        "transfer failback",
        "isthmus.cli.failback:TransferFailback",
        "Make the transfer that brings machines home, sending only what has changed",
    ),
    LazyCommand("transfer disks delete", f"{TRANSFERS}:TransferDisksDelete", "Delete the disks of a replica"),
    LazyCommand("execution create", f"{EXECUTIONS}:ExecutionCreate", "Copy what has changed since the last time"),
    LazyCommand("execution list", f"{EXECUTIONS}:ExecutionList", "List the executions of a transfer"),
    LazyCommand("execution show", f"{EXECUTIONS}:ExecutionShow", "Show one execution and its steps"),
    LazyCommand("execution watch", f"{EXECUTIONS}:ExecutionWatch", "Follow an execution to its end"),
    LazyCommand("execution cancel", f"{EXECUTIONS}:ExecutionCancel", "Stop an execution and undo what it began"),
    LazyCommand(
        "execution retry",
        f"{EXECUTIONS}:ExecutionRetry",
        "Take up what failed in an execution: its held steps, or in a new one the instances",
    ),
    LazyCommand("execution delete", f"{EXECUTIONS}:ExecutionDelete", "Delete the records of ended executions"),
    LazyCommand("schedule create", f"{SCHEDULES}:ScheduleCreate", "Have a transfer executed by itself"),
    LazyCommand("schedule list", f"{SCHEDULES}:ScheduleList", "List the schedules of a transfer"),
    LazyCommand("schedule show", f"{SCHEDULES}:ScheduleShow", "Show a schedule and what became of its due times"),
    LazyCommand("schedule update", f"{SCHEDULES}:ScheduleUpdate", "Change a schedule"),
    LazyCommand("schedule delete", f"{SCHEDULES}:ScheduleDelete", "Delete a schedule"),
    LazyCommand("deployment create", f"{DEPLOYMENTS}:DeploymentCreate", "Start the machines of a transfer's replicas"),
    LazyCommand("deployment list", f"{DEPLOYMENTS}:DeploymentList", "List the deployments"),
    LazyCommand("deployment show", f"{DEPLOYMENTS}:DeploymentShow", "Show one deployment and its steps"),
    LazyCommand("deployment watch", f"{DEPLOYMENTS}:DeploymentWatch", "Follow a deployment to its end"),
    LazyCommand("deployment cancel", f"{DEPLOYMENTS}:DeploymentCancel", "Stop a deployment and undo what it began"),
    LazyCommand(
        "deployment retry",
        f"{DEPLOYMENTS}:DeploymentRetry",
        "Take up what failed in a deployment: its held steps, or in a new one the instances",
    ),
    LazyCommand("deployment delete", f"{DEPLOYMENTS}:DeploymentDelete", "Delete the records of ended deployments"),
    LazyCommand("report fetch", f"{REPORTS}:ReportFetch", "Save the signed reports of a deployment's machines"),
    LazyCommand("report key", f"{REPORTS}:ReportKey", "Print the public key that reports are signed with"),
    LazyCommand("report verify", f"{REPORTS}:ReportVerify", "Check that a report is what the control plane has signed"),
    LazyCommand("wave create", f"{WAVES}:WaveCreate", "Plan transfers group after group"),
    LazyCommand("wave list", f"{WAVES}:WaveList", "List the waves"),
    LazyCommand("wave show", f"{WAVES}:WaveShow", "Show a wave with its groups and members"),
    LazyCommand("wave start", f"{WAVES}:WaveStart", "Start a wave now"),
    LazyCommand("wave approve", f"{WAVES}:WaveApprove", "Let the group of a wave begin that waits for it"),
    LazyCommand("wave cancel", f"{WAVES}:WaveCancel", "Stop a wave and undo what is in flight"),
    LazyCommand("wave retry", f"{WAVES}:WaveRetry", "Take up the members of a wave that failed, and those alone"),
    LazyCommand("wave watch", f"{WAVES}:WaveWatch", "Follow a wave to its end, or to a gate that waits for approval"),
    LazyCommand("wave delete", f"{WAVES}:WaveDelete", "Delete waves that are not under way; their transfers stay"),
    LazyCommand("pool create", f"{POOLS}:PoolCreate", "Limit how many machines of an endpoint are at work at once"),
    LazyCommand("pool list", f"{POOLS}:PoolList", "List the minion pools"),
    LazyCommand("pool show", f"{POOLS}:PoolShow", "Show a minion pool with its machines and events"),
    LazyCommand("pool update", f"{POOLS}:PoolUpdate", "Change a minion pool"),
    LazyCommand("pool allocate", f"{POOLS}:PoolAllocate", "Have a minion pool give machines"),
    LazyCommand("pool refresh", f"{POOLS}:PoolRefresh", "Check a minion pool's cloud and machines"),
    LazyCommand("pool deallocate", f"{POOLS}:PoolDeallocate", "Have a minion pool give no machines any more"),
    LazyCommand("pool delete", f"{POOLS}:PoolDelete", "Delete minion pools"),
    LazyCommand("region create", f"{REGIONS}:RegionCreate", "Name a place whose workers reach certain clouds"),
    LazyCommand("region list", f"{REGIONS}:RegionList", "List the regions"),
    LazyCommand("region show", f"{REGIONS}:RegionShow", "Show a region with what is mapped to it"),
    LazyCommand("region update", f"{REGIONS}:RegionUpdate", "Change a region"),
    LazyCommand("region delete", f"{REGIONS}:RegionDelete", "Delete regions"),
    LazyCommand("service create", f"{REGIONS}:ServiceCreate", "Register the worker of a host"),
    LazyCommand("service list", f"{REGIONS}:ServiceList", "List the services and whether they are up"),
    LazyCommand("service show", f"{REGIONS}:ServiceShow", "Show a service"),
    LazyCommand("service update", f"{REGIONS}:ServiceUpdate", "Change a service"),
    LazyCommand("service delete", f"{REGIONS}:ServiceDelete", "Forget services"),
    LazyCommand("diagnostics", f"{REGIONS}:Diagnostics", "Print what each process tells of itself, as JSON"),
    LazyCommand("share create", f"{SHARES}:ShareCreate", "Create a share and wait until it can be mounted"),
    LazyCommand("share list", f"{SHARES}:ShareList", "List the shares"),
    LazyCommand(
        "share service list",
        f"{SHARES}:ShareServiceList",
        "List back ends and whether their storage answers",
    ),
    LazyCommand("share show", f"{SHARES}:ShareShow", "Show one share, who may mount it and how"),
    LazyCommand("share extend", f"{SHARES}:ShareExtend", "Make a share larger"),
    LazyCommand("share allow", f"{SHARES}:ShareAllow", "Let a client mount a share"),
    LazyCommand("share deny", f"{SHARES}:ShareDeny", "Let a client mount a share no more"),
    LazyCommand("share delete", f"{SHARES}:ShareDelete", "Delete shares with all they hold"),
    LazyCommand("share snapshot create", f"{SHARE_SNAPSHOTS}:SnapshotCreate", "Keep what a share holds now"),
    LazyCommand("share snapshot list", f"{SHARE_SNAPSHOTS}:SnapshotList", "List the snapshots of shares"),
    LazyCommand("share snapshot delete", f"{SHARE_SNAPSHOTS}:SnapshotDelete", "Delete snapshots of shares"),
    LazyCommand("migrate", "isthmus.cli.migrate:Migrate", "Move a running machine from one cloud to another"),
)


class CommandTable(CommandManager):  # type: ignore[misc]  # cliff is not followed by mypy
    """cliff's lookup over the static table."""

    def _load_commands(self) -> None:
        self.commands = {command.name: command for command in COMMANDS}

    def matching(self, words: list[str]) -> list[LazyCommand]:
        """Return the commands whose words begin with these."""
        return [command for command in COMMANDS if command.name.split()[: len(words)] == words]
