"""QEMU's own protocol (QMP), through libvirt: works wherever the libvirt connection does."""

import json
from collections.abc import Mapping
from typing import Any

import libvirt_qemu

from isthmus.control.errors import StepFailed
from isthmus.migration.providers.libvirt.faults import translated


class MonitorError(StepFailed):
    """QEMU refused a command."""


def ask(domain: Any, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Send one QMP command and return its `return` value; MonitorError with QEMU's reason if it refuses."""
    request: dict[str, Any] = {"execute": command}
    if arguments:
        request["arguments"] = dict(arguments)
    with translated(f"machine {domain.name()}"):
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(request), 0))
    if "error" in answer:
        raise MonitorError(f"machine {domain.name()}: QEMU refuses {command}: {answer['error'].get('desc')}")
    return answer["return"]


def remove_bitmaps(domain: Any, name: str) -> None:
    """Remove the dirty bitmap `name` from all images of the domain. Already done: there is none."""
    for node in ask(domain, "query-named-block-nodes", {"flat": True}):
        if any(bitmap.get("name") == name for bitmap in node.get("dirty-bitmaps", ())):
            ask(domain, "block-dirty-bitmap-remove", {"node": node["node-name"], "name": name})
