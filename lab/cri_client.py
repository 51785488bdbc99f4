"""containerd's CRI as the kubelet calls it: gRPC, with the few messages that are needed encoded here by hand.

    cri = CriClient(playground.containerd().socket)
    sandbox = cri.run_sandbox("web", annotations={"team": "blue"})
    cri.address(sandbox.id)
    cri.stop_sandbox(sandbox.id); cri.remove_sandbox(sandbox.id)

Field numbers are those of k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

CALL_SECONDS = 120
Fields = dict[int, list[Any]]


class RuntimeRefused(Exception):
    """containerd's answer was an error; the text is its words, in which those of a CNI plug-in stand."""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that runs, and what it was made of: CRI wants that again for a container in it."""

    id: str
    configuration: bytes


class CriClient:
    """A client of one containerd; a context manager."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def network_problem(self) -> str:
        """Return why the runtime's network is not ready; empty if it is."""
        for condition in decode(self._call("Status", b"")[1][0]).get(1, ()):
            fields = decode(condition)
            if fields[1][0] == b"NetworkReady":
                return "" if fields.get(2, [0])[0] else fields.get(4, [b"not ready"])[0].decode()
        return "containerd does not speak of its network"

    def run_sandbox(
        self, name: str, *, namespace: str = "default", host_ports: Iterable[tuple[int, int]] = ()
    ) -> Sandbox:
        """Make and start a sandbox; RuntimeRefused with containerd's words. `host_ports` are (host's, container's)."""
        metadata = field(1, name) + field(2, f"uid-{name}") + field(3, namespace)
        ports = b"".join(field(5, field(2, inside) + field(3, outside)) for outside, inside in host_ports)
        configuration = field(1, metadata) + field(2, name) + field(3, "/tmp") + ports + field(8, b"")
        answer = self._call("RunPodSandbox", field(1, configuration))
        return Sandbox(answer[1][0].decode(), configuration)

    def addresses(self, sandbox_id: str) -> list[str]:
        """Return a sandbox's addresses, the primary first."""
        network = decode(decode(self._call("PodSandboxStatus", field(1, sandbox_id))[1][0])[5][0])
        others = [decode(each)[1][0].decode() for each in network.get(2, ())]
        return [each.decode() for each in network.get(1, ())] + others

    def sandboxes(self) -> list[str]:
        """Return the ids of all sandboxes."""
        return [decode(each)[1][0].decode() for each in self._call("ListPodSandbox", b"").get(1, ())]

    def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox: its network goes."""
        self._call("StopPodSandbox", field(1, sandbox_id))

    def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox. Gone: success."""
        self._call("RemovePodSandbox", field(1, sandbox_id))

    def _call(self, method: str, request: bytes) -> Fields:
        ask = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", _same, _same)
        try:
            return decode(ask(request, timeout=CALL_SECONDS))
        except grpc.RpcError as error:
            raise RuntimeRefused(f"{method}: {error.details()}") from None


def _same(message: bytes) -> bytes:
    return message


def field(number: int, value: str | bytes | int) -> bytes:
    """Return a protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def mapping(number: int, values: Mapping[str, str]) -> bytes:
    """Return a protobuf map of texts."""
    return b"".join(field(number, field(1, key) + field(2, value)) for key, value in values.items())


def decode(message: bytes) -> Fields:
    """Return the fields of a message by number: integers, or bytes which may be a text or a message."""
    found: Fields = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if key & 7 == 2:
            found.setdefault(key >> 3, []).append(message[at : at + value])
            at += value
        else:
            found.setdefault(key >> 3, []).append(value)
    return found


def _varint(number: int) -> bytes:
    output = bytearray()
    while number > 127:
        output.append(number & 127 | 128)
        number >>= 7
    return bytes([*output, number])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return number, at
