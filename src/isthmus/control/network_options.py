"""Options of `isthmus network-agent`: `[network_agent]`."""

from typing import Any

from oslo_config import cfg

NETWORK_AGENT: list[Any] = [
    cfg.ListOpt(
        "credentials",
        default=[],
        help="Projects that this agent serves, as name=secret_ref,…; the first is for those who name none. A secret is "
        "a JSON object in Barbican that the service's own account may read, with application_credential_id and "
        "application_credential_secret, and auth_url if it is not that of [service_credentials]. The credential's "
        "user needs the role `member` in the project, and one that may bind ports: `port_binder`, which Neutron's "
        "policy is taught (docs/operating.md). `service` would do, and shows it every project's networks.",
    ),
    cfg.StrOpt("host", help="This host's name in Neutron (binding:host_id). Default: Open vSwitch's hostname."),
    cfg.StrOpt("socket", help="Socket for CNI and `isthmus port`. Default: network-agent.sock under state_dir."),
    cfg.StrOpt(
        "plugin_socket",
        default="/run/docker/plugins/isthmus.sock",
        help="Socket for Docker, whose file name is the driver's name; empty for none.",
    ),
    cfg.IntOpt("threads", default=16, min=2, max=256, help="Requests served at once."),
    cfg.StrOpt(
        "binder",
        default="ovs",
        help="How ports are plugged where nobody says: ovs (also under OVN), bridge, macvlan, vlan, or another's.",
    ),
    cfg.StrOpt("ovsdb", default="unix:/run/openvswitch/db.sock", help="Open vSwitch's database."),
    cfg.StrOpt("integration_bridge", default="br-int", help="Open vSwitch's bridge that ports are plugged into."),
    cfg.StrOpt(
        "parent_interface",
        help="Interface by which this host, itself a virtual machine, is on its Neutron port; for macvlan and vlan.",
    ),
    cfg.FloatOpt("call_timeout", default=10.0, min=0.1, help="Seconds that one call of Neutron may take."),
    cfg.IntOpt("neutron_calls", default=8, min=1, max=256, help="Calls of one cloud's Neutron in flight at once."),
    cfg.FloatOpt("attach_timeout", default=25.0, min=1.0, help="Seconds that attaching or detaching may take."),
    cfg.FloatOpt(
        "flows_timeout",
        default=5.0,
        min=0.0,
        help="Seconds to wait for OVN to have a new port's flows, before an attachment counts as done without them.",
    ),
    cfg.IntOpt(
        "warm_ports",
        default=4,
        min=0,
        max=256,
        help="Ports held ready for each network and set of security groups in use on this host; each takes an address.",
    ),
    cfg.FloatOpt(
        "warm_seconds", default=900.0, min=1.0, help="Seconds after its last use that a network keeps its warm ports."
    ),
    cfg.FloatOpt("repair_interval", default=30.0, min=0.5, help="Seconds between two comparisons with the truth."),
    cfg.FloatOpt("network_seconds", default=10.0, min=0.0, help="Seconds that a network once read is believed."),
    cfg.StrOpt(
        "external_network",
        help="Network whose floating IPs publish ports (docker run -p). Default: they are published on this host.",
    ),
    cfg.StrOpt(
        "docker_scope",
        default="local",
        choices=["local", "global"],
        help="Scope of Docker's networks: global for a swarm, whose manager then gives out the addresses.",
    ),
    cfg.StrOpt(
        "docker_socket",
        default="/run/docker.sock",
        help="Docker's API, asked now and then which endpoints it still has, to release the others; empty for never.",
    ),
    cfg.FloatOpt(
        "docker_patience",
        default=120.0,
        min=1.0,
        help="Seconds that Docker may lack an endpoint, or an address wait for its endpoint, before it is released.",
    ),
]
