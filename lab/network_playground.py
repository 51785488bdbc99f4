"""A playground of container networking: a control plane with networks on a host of its own, with engines.

    with NetworkPlayground() as playground:
        neutron = playground.cloud("demo").network      # openstacksdk; playground.session("demo") for plain REST
        docker = playground.docker()                    # started when first asked for
        docker.run("run", "--rm", network_image.NAME, "ping", "-c1", "10.0.0.1")

All of it (Keystone, MariaDB, Neutron, OVN, the switch, the agent, engines) runs in the namespaces of
`playground.host`, so several playgrounds coexist, and nothing outlives whoever made it.
"""

import shutil
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openstack
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from isthmus.embedded.keystone import REGION
from lab.control_plane import ControlPlane
from lab.network_engines import Containerd, Docker, remove_cgroups
from lab.network_host import NetworkHost
from lab.network_second_host import SecondHost, Switch


class NetworkPlayground:
    """The playground; a context manager. `only` names the parts of the control plane to start; all by default."""

    def __init__(self, *, only: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> None:
        self._only = only
        self._options = options

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.directory = Path(tempfile.mkdtemp(prefix="isthmus-net-"))
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.host = NetworkHost()
            undo.callback(remove_cgroups, self.host.pid)
            undo.callback(self.host.close)
            self.plane = ControlPlane(
                self.directory / "plane", only=self._only, options=("--with", "network", *self._options), host=self.host
            )
            # Nobody says `isthmus down`: with the host's first process all others end at once.
            undo.callback(self.plane.leave)
            self.plane.start()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def state_dir(self) -> Path:
        """The control plane's state directory; `isthmus.conf` is in it."""
        return self.plane.state_dir

    @cached_property
    def _docker(self) -> Docker:
        return self._undo.enter_context(Docker(self.host, self.directory / "docker"))

    def docker(self) -> Docker:
        """Return dockerd on the host, started when first asked for."""
        return self._docker

    @cached_property
    def _containerd(self) -> Containerd:
        return self._undo.enter_context(Containerd(self.host, self.directory / "containerd"))

    def containerd(self) -> Containerd:
        """Return containerd on the host, started when first asked for."""
        return self._containerd

    @cached_property
    def _second(self) -> SecondHost:
        return self._undo.enter_context(SecondHost(self.plane, self.host, self.directory / "second"))

    def second_host(self) -> SecondHost:
        """Return the second host, made when first asked for; the first's switch starts again for it."""
        return self._second

    @cached_property
    def switch(self) -> Switch:
        """The first host's Open vSwitch."""
        return Switch(self.host, self.state_dir / "run" / "ovs" / "ovsdb.sock")

    @property
    def agent_options(self) -> str:
        """The text of the agent's own options, `[network_agent]` being its last section."""
        return self._agent_file.read_text()

    def restart_agent(self, options: str) -> None:
        """Have the agent run with these options, all of them."""
        self._agent_file.write_text(options)
        self.plane.kill("network-agent")
        self.plane.wait_ready()

    @property
    def _agent_file(self) -> Path:
        return self.state_dir / "network" / "agent.conf"

    def session(self, user: str) -> Session:
        """Return a Keystone session of `admin`, `demo` or `demo2`, in the project of that name."""
        login = self.plane.environment(user)
        auth = v3.Password(
            login["OS_AUTH_URL"],
            username=login["OS_USERNAME"],
            password=login["OS_PASSWORD"],
            project_name=login["OS_PROJECT_NAME"],
            user_domain_name="Default",
            project_domain_name="Default",
        )
        return self.host.session(auth, timeout=60)

    def cloud(self, user: str) -> Any:
        """Return openstacksdk's connection of a user."""
        return openstack.connection.Connection(session=self.session(user), region_name=REGION)
