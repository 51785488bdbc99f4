"""What people type, parsed into what the API takes. Every error names the option and shows the right form."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isthmus.control.errors import InvalidInput

JSON = dict[str, Any]

PROBE_FORMS = "console:REGEX, agent, tcp:PORT or none"
FIRST_BOOT, BEFORE_MOUNT, IN_GUEST = "first-boot", "before-mount", "in-guest"
SCRIPT_PHASES = {
    FIRST_BOOT: "replica_first_boot",
    BEFORE_MOUNT: "osmorphing_pre_os_mount",
    IN_GUEST: "osmorphing_post_os_mount",
}


def document(option: str, values: Sequence[str]) -> JSON:
    """Return one JSON object from key=value pairs, inline JSON, a file of JSON or YAML, or `-` (standard input).

    Several values are merged, later ones win. In `a.b=1` the dot makes an inner object; a value that is valid JSON is
    taken as such (`true`, `4`, `["x"]`), anything else as text.
    """
    merged: JSON = {}
    for value in values:
        _merge(merged, _part(option, value))
    return merged


def _part(option: str, value: str) -> JSON:
    if value.lstrip().startswith("{"):
        return _parse(option, value, "inline JSON")
    if value == "-":
        return _parse(option, sys.stdin.read(), "standard input")
    path = Path(value.removeprefix("@"))
    if path.is_file():
        return _parse(option, path.read_text(), str(path))
    key, equals, text = value.partition("=")
    if not equals or not key:
        raise InvalidInput(f"{option}: '{value}' is neither a file, nor a JSON object, nor key=value")
    part: JSON = {}
    inner = part
    *parents, last = key.split(".")
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = _scalar(text)
    return part


def _parse(option: str, text: str, origin: str) -> JSON:
    import yaml  # noqa: PLC0415 - help must not wait for it

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The text itself may be a secret: only the place of the mistake is told.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidInput(f"{option}: {origin} is neither JSON nor YAML{where}") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{option}: {origin} must hold one object ({{…}}), not {type(content).__name__}")
    return content


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _merge(into: JSON, more: JSON) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def network_map(pairs: Sequence[str]) -> JSON:
    """Return the API's network map from `source=destination` pairs."""
    networks: JSON = {}
    for pair in pairs:
        source, equals, destination = pair.partition("=")
        if not (source and equals and destination):
            raise InvalidInput(f"--network: '{pair}' is not SOURCE=DESTINATION")
        networks[source] = destination
    return networks


def storage_mappings(pairs: Sequence[str], default: str | None) -> JSON:
    """Return the API's storage mappings: `backend=pool` and `disk:vda=pool` pairs, and the pool of all others."""
    mappings: JSON = {}
    for pair in pairs:
        source, equals, destination = pair.partition("=")
        if not (source and equals and destination):
            raise InvalidInput(f"--storage: '{pair}' is not BACKEND=DESTINATION or disk:ID=DESTINATION")
        if source.startswith("disk:"):
            disk = {"disk_id": source.removeprefix("disk:"), "destination": destination}
            mappings.setdefault("disk_mappings", []).append(disk)
        else:
            backend = {"source": source, "destination": destination}
            mappings.setdefault("backend_mappings", []).append(backend)
    if default:
        mappings["default"] = default
    return mappings


def boot_probe(text: str, timeout_seconds: int | None) -> JSON:
    """Return the destination environment's `boot_probe` from one of `PROBE_FORMS`."""
    kind, _, value = text.partition(":")
    probe: JSON
    if kind == "console" and value:
        try:
            re.compile(value)
        except re.error as error:
            raise InvalidInput(f"--boot-probe: '{value}' is not a regular expression: {error}") from error
        probe = {"type": "console", "marker": value}
    elif kind == "tcp" and value.isdecimal() and 0 < int(value) < 65536:
        probe = {"type": "tcp", "port": int(value)}
    elif text == "agent":
        probe = {"type": "guest_agent"}
    elif text == "none":
        probe = {"type": "none"}
    else:
        raise InvalidInput(f"--boot-probe: '{text}' is not {PROBE_FORMS}")
    if timeout_seconds is not None:
        probe["timeout_seconds"] = timeout_seconds
    return probe


def user_scripts(pairs: Sequence[str], os_type: str = "linux") -> JSON | None:
    """Return the API's user scripts from `PHASE=FILE` pairs; None if there are none."""
    scripts: list[JSON] = []
    for pair in pairs:
        phase, equals, name = pair.partition("=")
        if not equals or phase not in SCRIPT_PHASES:
            raise InvalidInput(f"--script: '{pair}' is not PHASE=FILE with PHASE one of {', '.join(SCRIPT_PHASES)}")
        try:
            payload = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"--script: cannot read '{name}' as text: {error}") from error
        scripts.append({"phase": SCRIPT_PHASES[phase], "payload": payload})
    return {"global": {os_type: scripts}} if scripts else None
