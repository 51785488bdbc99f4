"""Imports that libraries make of what happens to be installed, and that a service has no use for."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

UNUSED = ("grpc", "osprofiler", "opentelemetry.sdk")
"""temporalio would load the first, for stubs beside its own client, keystoneauth the second, oslo.middleware the third:
15 MiB. What traces loads it when traces are on.
"""


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Have none of these packages be found while the block imports others; later they are as they were."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None is what importlib takes for "not there"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
