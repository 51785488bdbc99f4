"""Read and change one registry hive: `python -m isthmus.migration.morphing.hive_tool`, a JSON request on stdin.

A hive comes from a guest and may be hostile, and hivex parses it in C: so this process shuts itself in the hive's own
directory, without any right, before it opens it. It answers with one JSON line.
"""

import base64
import ctypes
import json
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

import hivex

from isthmus.migration.morphing import kernel_calls as kernel

BROKEN = 3
"""The status that says that it is the hive's fault."""
_NOBODY = 65534
_MEMORY_BYTES = 3 << 30
_CPU_SECONDS = 120
_MOST_KEYS = 20_000


def main() -> int:
    """Answer the request; status BROKEN with the reason on stderr for a hive that cannot be read or changed."""
    request = json.loads(sys.stdin.read())
    directory, name = os.path.split(request["file"])
    _shut_in(directory)
    try:
        hive = hivex.Hivex(f"/{name}", write=bool(request["writes"]))
        answer = {path: _read(hive, path, depth) for path, depth in request["reads"].items()}
        for path, values in request["writes"].items():
            _write(hive, path, values)
        if request["writes"]:
            hive.commit(None)
    except (RuntimeError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return BROKEN
    sys.stdout.write(json.dumps(answer))
    return 0


def _shut_in(directory: str) -> None:
    # glibc loads its conversions from /usr when first used: once and before the door closes.
    libc = ctypes.CDLL(None)
    libc.iconv_open.restype = ctypes.c_void_p
    for name in (b"UTF-16LE", b"UTF-16", b"LATIN1", b"ISO-8859-1"):
        libc.iconv_open(b"UTF-8", name)
        libc.iconv_open(name, b"UTF-8")
    for kind, most in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, _CPU_SECONDS)):
        resource.setrlimit(kind, (most, most))
    os.chroot(directory)
    os.chdir("/")
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    kernel.forbid_gains()


def _node(hive: Any, path: str) -> Any | None:
    node = hive.root()
    for name in path.split("\\"):
        node = hive.node_get_child(node, name) if node else None
    return node or None


def _read(hive: Any, path: str, depth: int) -> dict[str, Any] | None:
    """Return {"values": {name: [type, base64]}, "keys": {name: …}} down to `depth`, None if there is no such key."""
    node = _node(hive, path)
    budget = [_MOST_KEYS]
    return _tree(hive, node, depth, budget) if node else None


def _tree(hive: Any, node: Any, depth: int, budget: list[int]) -> dict[str, Any]:
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError(f"a key holds more than {_MOST_KEYS} keys")
    values = {}
    for value in hive.node_values(node):
        kind, content = hive.value_value(value)
        values[hive.value_key(value)] = [kind, base64.b64encode(content).decode()]
    keys = {}
    for child in hive.node_children(node):
        keys[hive.node_name(child)] = _tree(hive, child, depth - 1, budget) if depth > 0 else {"values": {}, "keys": {}}
    return {"values": values, "keys": keys}


def _write(hive: Any, path: str, values: Mapping[str, tuple[int, str]]) -> None:
    """Set values of a key, which is made if it is missing."""
    node = hive.root()
    for name in path.split("\\"):
        node = hive.node_get_child(node, name) or hive.node_add_child(node, name)
    for key, (kind, content) in values.items():
        hive.node_set_value(node, {"key": key, "t": kind, "value": base64.b64decode(content)})


if __name__ == "__main__":
    sys.exit(main())
