"""The five commands, straight down: what ADD makes, DEL, CHECK, GC and STATUS find by the attachment's key.

ADD undoes what it began before it answers with an error; what cannot be undone then is left to the repairs, and to the
DEL that a runtime sends after every failed ADD.
"""

import contextlib
import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from isthmus.control.errors import IsthmusError, Unavailable
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.cni import results
from isthmus.networking.cni.calls import Call, key_of
from isthmus.networking.cni.configuration import host_address_of, protocol_of
from isthmus.networking.cni.named_objects import QOS_POLICIES, SECURITY_GROUPS, NamedObjects, subnet_ids
from isthmus.networking.cni.protocol import CniError, Command, ErrorCode
from isthmus.networking.model import (
    Attachment,
    Key,
    Label,
    Network,
    Owner,
    PublishedPort,
    State,
    Target,
    TargetKind,
    Wish,
)
from isthmus.networking.neutron.time_left import within
from isthmus.networking.planning.interface import interface_configuration

log = logging.getLogger(__name__)

FIRST_INTERFACE = "eth0"
"""What every runtime calls a sandbox's first interface: the one with the default route unless `defaultRoute` says."""
_LONGEST_NAME = 255

Answer = dict[str, Any] | None


class Commands:
    """Carries out calls. An answer is a result's JSON, or None where the specification has none."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._objects = NamedObjects(agent.neutron)
        self._by_command = {
            Command.ADD: self.add,
            Command.DEL: self.delete,
            Command.CHECK: self.check,
            Command.GC: self.collect_garbage,
            Command.STATUS: self.status,
        }

    def run(self, call: Call) -> Answer:
        """Carry out one call; raises what the contracts of the attachments and of Neutron raise, or `CniError`."""
        return self._by_command[call.command](call)

    def add(self, call: Call) -> Answer:
        """Attach a container: a port of the network, plugged into its namespace."""
        deadline = time.monotonic() + float(self._agent.conf.network_agent.attach_timeout)
        _check_namespace(call.netns)
        attachments = self._agent.attachments
        found = attachments.find(call.key)
        if found is not None and found.state is State.PLUGGED:
            details = f"{call.key.id} was added before; send DEL first, or choose another CNI_IFNAME"
            raise CniError(ErrorCode.INTERFACE_EXISTS, details)
        with within(deadline):
            network = attachments.network(call.configuration.network_wanted, call.configuration.project)
            wish = self._wish(call, network)
        published = _published_ports(call)
        with ExitStack() as undo:
            undo.callback(self._release_quietly, call.key)
            attachments.reserve(wish, deadline)
            attachment = attachments.plug(call.key, _target(call), deadline)
            if published:
                self._agent.publishing.publish(call.key, published, deadline)
            answer = self._result(call, attachment)
            undo.pop_all()
        return answer

    def delete(self, call: Call) -> Answer:
        """Detach a container; never there, gone or half there is success."""
        self._agent.publishing.revoke(call.key)
        self._agent.attachments.release(call.key)
        return None

    def check(self, call: Call) -> Answer:
        """Compare what was made with what is there: the agent's record, `prevResult`, the kernel and Open vSwitch."""
        previous = call.configuration.prev_result
        if previous is None:
            details = "prevResult is missing, which CHECK needs; give it the result of ADD"
            raise CniError(ErrorCode.INVALID_CONFIGURATION, details)
        attachment = self._agent.attachments.find(call.key)
        if attachment is None:
            details = f"{call.key.id} is not attached; remove the container and make it again"
            raise CniError(ErrorCode.UNKNOWN_CONTAINER, details)
        wrong = list(self._agent.attachments.check(call.key))
        if attachment.port is not None and attachment.network is not None:
            wrong += results.differences(previous, self._facts(call, attachment))
        wrong += self._unpublished(call)
        if wrong:
            raise CniError(ErrorCode.NOT_AS_IT_SHOULD_BE, f"{call.key.id}: {'; '.join(wrong)}")
        return None

    def collect_garbage(self, call: Call) -> Answer:
        """Release every attachment of this network on this host that the runtime does not name."""
        configuration = call.configuration
        if configuration.valid_attachments is None:
            details = "cni.dev/valid-attachments is missing, without which GC would release everything; give a list"
            raise CniError(ErrorCode.INVALID_CONFIGURATION, details)
        valid = {key_of(configuration.name, each.container_id, each.ifname) for each in configuration.valid_attachments}
        released = self._agent.attachments.keep_only(Owner.CNI, f"{configuration.name}/", valid)
        log.info("GC of %s: %d attachments kept, %d released", configuration.name, len(valid), len(released))
        return None

    def status(self, call: Call) -> Answer:
        """Return if ADD would find Open vSwitch, or what else carries it, Neutron and the network; error 50 if not."""
        configuration = call.configuration
        try:
            self._agent.attachments.check_carrier(configuration.binder)
            self._agent.neutron(configuration.project).find_network(configuration.network_wanted)
        except IsthmusError as error:
            raise CniError(ErrorCode.NOT_AVAILABLE, error.message) from None
        return None

    # -- parts of ADD ------------------------------------------------------------------------------------------------

    def _wish(self, call: Call, network: Network) -> Wish:
        configuration = call.configuration
        groups = configuration.security_groups
        policy, limits = configuration.qos_policy, configuration.runtime_config.bandwidth
        project = configuration.project
        return Wish(
            call.key,
            network.id,
            project=project,
            subnet_ids=subnet_ids(network, configuration.subnets),
            addresses=call.addresses,
            mac=call.mac,
            security_groups=None
            if groups is None
            else tuple(self._objects.id_of(SECURITY_GROUPS, each, project) for each in groups),
            qos_policy=None if policy is None else self._objects.id_of(QOS_POLICIES, policy, project),
            label=Label(_name(call), call.container_id),
            binder=configuration.binder,
            bandwidth=limits.limits() if limits else None,
        )

    def _facts(self, call: Call, attachment: Attachment) -> results.Result:
        port, network = attachment.port, attachment.network
        if port is None or network is None:
            raise Unavailable(f"{call.key.id} has no port any more; try again")
        asked = call.configuration.runtime_config.dns
        return results.result_of(
            attachment,
            interface_configuration(port, network, default_route=_has_default_route(call)),
            call.netns,
            results.dns_of(network, call.configuration.dns, asked),
        )

    def _result(self, call: Call, attachment: Attachment) -> dict[str, Any]:
        return results.render(self._facts(call, attachment), call.version, call.configuration.prev_result)

    def _unpublished(self, call: Call) -> list[str]:
        published = self._agent.publishing.published(call.key)
        return [
            f"{each.protocol} port {each.host_port} is not published"
            for each in _published_ports(call)
            if not any(_is_same_port(each, other) for other in published)
        ]

    def _release_quietly(self, key: Key) -> None:
        # The error that led here is the one to tell; what is left is under a state that the repairs finish.
        with contextlib.suppress(IsthmusError):
            self._agent.publishing.revoke(key)
        with contextlib.suppress(IsthmusError):
            self._agent.attachments.release(key)


def _check_namespace(path: str) -> None:
    """Raise the specification's error for a namespace that is gone, is none, or is the agent's own."""
    try:
        theirs = os.stat(path)
    except OSError as error:
        details = f"CNI_NETNS: {path}: {error.strerror}; the container is gone, or the agent cannot see its namespace"
        raise CniError(ErrorCode.UNKNOWN_CONTAINER, details) from None
    own = Path("/proc/self/ns/net").stat()
    if theirs.st_dev != own.st_dev:
        details = f"CNI_NETNS: {path} is no network namespace; give one as /run/netns/NAME"
        raise CniError(ErrorCode.INVALID_NAMESPACE, details)
    if theirs.st_ino == own.st_ino:
        details = f"CNI_NETNS: {path} is the namespace of the agent itself; give the container's"
        raise CniError(ErrorCode.INVALID_NAMESPACE, details)


def _target(call: Call) -> Target:
    return Target(TargetKind.NETNS, call.interface, call.netns, default_route=_has_default_route(call))


def _has_default_route(call: Call) -> bool:
    said = call.configuration.default_route
    return call.interface == FIRST_INTERFACE if said is None else said


def _name(call: Call) -> str:
    """Return the port's name: the pod's where the runtime tells it, else the container's id."""
    namespace, pod = (call.arguments.get(f"K8S_POD_{each}", "") for each in ("NAMESPACE", "NAME"))
    return ("/".join(filter(None, (namespace, pod))) or call.container_id)[:_LONGEST_NAME]


def _published_ports(call: Call) -> tuple[PublishedPort, ...]:
    return tuple(
        PublishedPort(protocol_of(each), each.container_port, each.host_port, host_address_of(each))
        for each in call.configuration.runtime_config.port_mappings
        if each.host_port
    )


def _is_same_port(wanted: PublishedPort, found: PublishedPort) -> bool:
    return (wanted.protocol, wanted.container_port, wanted.host_port) == (
        found.protocol,
        found.container_port,
        found.host_port,
    )
