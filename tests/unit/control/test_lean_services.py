"""What the services do not bring into memory before they need it: they are the memory that a control plane costs."""

import subprocess
import sys

import pytest

_PROGRAM = """
import importlib, sys, types
from isthmus.control.sparing import UNUSED, without
module, *serves = sys.argv[1].split()
with without(*UNUSED):
    imported = importlib.import_module(module)
    if serves:
        imported.load(types.SimpleNamespace(api=types.SimpleNamespace(serves=serves)))
print(*set(sys.argv[2:]) & set(sys.modules))
"""
TRACES = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
SDK = "opentelemetry.sdk"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("isthmus.serving migration shares", ("temporalio", "openstack", "guestfs", SDK, TRACES)),
        ("isthmus.serving shares", ("isthmus.migration", "pydantic", "jsonschema", SDK)),
        ("isthmus.serving migration", ("isthmus.shares",)),
        ("isthmus.migration.services.conductor", ("keystoneauth1", "grpc", "osprofiler", "oslo_middleware", SDK)),
        (
            "isthmus.migration.services.worker",
            ("sqlalchemy", "guestfs", "grpc", "osprofiler", "oslo_middleware", "psutil", "cryptography", SDK),
        ),
        ("isthmus.shares.services.manager", ("keystoneauth1", "temporalio", "manila", SDK)),
    ],
)
def test_a_service_begins_without_what_it_may_never_need(module: str, heavy: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, module, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
