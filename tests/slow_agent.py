"""A network agent's parts on a cloud that is as slow as a test wants, for what needs no interface."""

from pathlib import Path

from tests.slow_cloud import SlowCloud

from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, make_parts
from isthmus.networking.attaching.publishing import HostPublishing
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.store.database import Database


def agent_of(cloud: SlowCloud, directory: Path, host: str, **options: object) -> Agent:
    """Return a host's agent without warm ports; its files are in `directory`."""
    conf = cloud.configuration(directory, "blue", binder="bridge", **options)
    projects = Projects(conf, secret_references(conf))
    limits = Limits(attach=25.0, network_fresh=10.0, warm_ports=0, warm_seconds=900.0)
    parts = make_parts(host, limits, projects, Binders(conf), Database(directory / "agent.sqlite"))
    attachments = HostAttachments(parts, Networks(parts))
    projects.neutron("blue")
    return Agent(conf, host, attachments, HostPublishing(parts, conf), projects.neutron, projects.name_of_id)
