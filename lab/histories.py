"""Histories of workflows: fetched from an engine, kept in an archive, replayed by today's code.

A replay fails where the code asks for something else, or in another order, than what it asked for when the history
was made. That is what would happen to an execution that an older conductor has begun and a newer one goes on with.

An archive is made by `ISTHMUS_RECORD_HISTORIES=FILE pytest tests/functional/workflows`: of each kind of workflow it has
those that went different ways.
"""

import asyncio
import gzip
import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from isthmus.control.engine import DATA_CONVERTER, EngineAddress, connect
from isthmus.migration.services.conductor import SERVED

KEPT_OF_A_KIND = 16
_CHECKOUT = Path(__file__).resolve().parents[1]
_STARTED = "workflowExecutionStartedEventAttributes"


def ended(address: EngineAddress) -> list[WorkflowHistory]:
    """Return the histories of all workflows that have ended in an engine."""
    return asyncio.run(_ended(address))


async def _ended(address: EngineAddress) -> list[WorkflowHistory]:
    client: Client = await connect(address)
    found = client.list_workflows("ExecutionStatus != 'Running'")
    return [await client.get_workflow_handle(each.id, run_id=each.run_id).fetch_history() async for each in found]


def complaints(histories: Iterable[WorkflowHistory]) -> list[str]:
    """Replay histories; return one line for each that today's workflows do not follow."""
    return asyncio.run(_complaints(histories))


async def _complaints(histories: Iterable[WorkflowHistory]) -> list[str]:
    replayer = Replayer(workflows=SERVED, workflow_runner=UnsandboxedWorkflowRunner(), data_converter=DATA_CONVERTER)
    found = []
    for history in histories:
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if result.replay_failure is not None:
            found.append(f"{kind_of(json.loads(history.to_json()))} {history.workflow_id}: {result.replay_failure}")
    return found


def kind_of(document: dict[str, Any]) -> str:
    """Return the name of a history's workflow."""
    return str(document["events"][0][_STARTED]["workflowType"]["name"])


def record(histories: Iterable[WorkflowHistory], archive: Path) -> None:
    """Add to an archive those histories that went a way which no history in it went; nothing in it names a machine."""
    kept = dict(_read(archive)) if archive.exists() else {}
    ways = {_way(document) for document in kept.values()}
    for history in histories:
        document = json.loads(_anonymous(history.to_json()))
        way, kind = _way(document), kind_of(document)
        if way not in ways and sum(kind_of(each) == kind for each in kept.values()) < KEPT_OF_A_KIND:
            ways.add(way)
            kept[history.workflow_id] = document
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(gzip.compress(text.encode(), mtime=0))


def archived(archive: Path) -> list[WorkflowHistory]:
    """Return the histories of an archive."""
    return [WorkflowHistory.from_json(identity, document) for identity, document in _read(archive).items()]


def _read(archive: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(archive.read_bytes()))
    return found


def _way(document: dict[str, Any]) -> tuple[str, ...]:
    """Return what tells one way through a workflow from another: the kinds of its events, and of what it called."""
    return (kind_of(document), *(_step(event) for event in document["events"]))


def _step(event: dict[str, Any]) -> str:
    called = (value["activityType"]["name"] for value in event.values() if _is_call(value))
    return f"{event['eventType']} {next(called, '')}"


def _is_call(value: object) -> bool:
    return isinstance(value, dict) and "activityType" in value


def _anonymous(text: str) -> str:
    """Return a history without this machine's name and where the code lies, as payloads do not have them."""
    named = re.sub(rf"(?<=[@-]){re.escape(socket.gethostname())}\b", "example", text)
    return named.replace(f"{_CHECKOUT}/", "")
