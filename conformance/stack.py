"""The stack under test: a control plane of its own with two dummy back ends, started by `isthmus up`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.control_plane import ControlPlane

from conformance.back_ends import OPTION, configuration
from conformance.cloud import Cloud, cloud_of


@contextmanager
def own_stack(state_dir: Path | None, work: Path, service_type: str, *, keep: bool) -> Iterator[Cloud]:
    """Start a control plane and give its administrator's cloud; end it afterwards, unless it is to be kept.

    `state_dir` is used again if a control plane was there before; without one it is a new directory, removed at the
    end. The back ends' configuration is written below `work`. Raises RuntimeError with what `isthmus up` said.
    """
    backends = (work / "shares.conf").resolve()
    backends.write_text(configuration())
    plane = ControlPlane(state_dir and state_dir.resolve(), options=(OPTION, str(backends)))
    try:
        plane.start()
        yield cloud_of(plane.admin_environment, service_type)
    finally:
        if keep:
            plane.leave()
            print(f"the stack stays in {plane.state_dir}: see `isthmus env`, end it with `isthmus down`")
        else:
            plane.close()
