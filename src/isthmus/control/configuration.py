"""Configuration: every option of every service, read by oslo.config from `isthmus.conf` and the command line.

There is no global configuration object: `load` gives a fresh one, which is handed to whatever needs it. How to log in
to Keystone is declared by who does (`identity`): a service that never does is spared keystoneauth's 12 MiB.
`list_options` feeds `oslo-config-generator --namespace isthmus`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log

from isthmus.control.network_options import NETWORK_AGENT
from isthmus.control.share_options import SHARES, SHARES_QUOTA

Options = list[tuple[str | None, list[Any]]]

SERVICE_CREDENTIALS = "service_credentials"

_DEFAULT: list[Any] = [
    cfg.StrOpt(
        "state_dir",
        default="/var/lib/isthmus",
        help="Directory where a service keeps files of its own (journals, sockets, certificates).",
    ),
]

_API: list[Any] = [
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address to listen on."),
    cfg.PortOpt("port", default=7667, help="TCP port to listen on."),
    cfg.ListOpt(
        "serves",
        default=["migration", "shares"],
        item_type=cfg.types.String(choices=["migration", "shares"]),
        help="Services whose APIs are answered here; the others are not even loaded.",
    ),
    cfg.IntOpt("threads", default=16, min=1, max=256, help="Requests served at once by one process."),
    cfg.IntOpt("processes", default=1, min=1, max=64, help="Processes that serve requests."),
    cfg.IntOpt("streams", default=400, min=4, max=10000, help="Event streams open at once in one process."),
    cfg.IntOpt(
        "stream_seconds", default=600, min=5, help="Seconds after which a stream ends and its client comes again."
    ),
    cfg.IntOpt("max_body_bytes", default=1048576, min=1024, help="Largest request body accepted, in bytes."),
    cfg.IntOpt("ask_timeout", default=60, min=1, help="Seconds to wait for a cloud's answer to a listing call."),
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "Every call carries a Keystone token."),
            ("noauth", "Whoever reaches the port is an administrator. For development on loopback only."),
        ],
        help="How callers are authenticated.",
    ),
    cfg.StrOpt(
        "report_key_file",
        help="File with the private key (Ed25519, PEM) that signs reports, made if it is not there; all API hosts need "
        "the same. Default: report-signing.key in state_dir.",
    ),
    cfg.StrOpt("noauth_project", default="noauth", help="Project of calls without X-Project-Id under noauth."),
]

_DATABASE: list[Any] = [
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/isthmus/isthmus.sqlite",
        secret=True,
        help="SQLAlchemy URL, as mysql+pymysql://user:password@host/isthmus, mysql+mysqldb://… or postgresql+psycopg://….",
    ),
]

_TELEMETRY: list[Any] = [
    cfg.PortOpt("metrics_port", min=0, default=0, help="TCP port of /metrics for Prometheus; 0 shows none."),
    cfg.HostAddressOpt(
        "metrics_host", default="127.0.0.1", help="Address on which /metrics is shown, to everybody there."
    ),
    cfg.URIOpt(
        "otlp_endpoint",
        schemes=["http", "https"],
        help="OpenTelemetry collector to which traces go by OTLP over HTTP, as http://127.0.0.1:4318; none by default.",
    ),
    cfg.FloatOpt("trace_ratio", default=1.0, min=0.0, max=1.0, help="Share of calls whose trace is kept."),
]

_TEMPORAL: list[Any] = [
    cfg.StrOpt("address", default="127.0.0.1:7233", help="host:port of Temporal's frontend."),
    cfg.StrOpt("namespace", default="default", help="Temporal namespace of all workflows."),
    cfg.StrOpt("tls_ca_file", help="PEM file of the authority that signed the frontend's certificate; turns TLS on."),
    cfg.StrOpt("tls_cert_file", help="PEM file of this service's certificate, for mutual TLS."),
    cfg.StrOpt("tls_key_file", help="PEM file of this service's private key, for mutual TLS."),
    cfg.StrOpt("tls_server_name", help="Name that the frontend's certificate must carry, if not that of `address`."),
    cfg.BoolOpt(
        "allow_plaintext",
        default=False,
        help="Speak to a frontend beyond loopback without TLS. Only where something else encrypts the way there.",
    ),
]

_CONDUCTOR: list[Any] = [
    cfg.FloatOpt("dispatch_interval", default=0.2, min=0.01, help="Seconds between two looks into the outbox."),
    cfg.FloatOpt("progress_interval", default=1.0, min=0.1, help="Seconds between two records of a step's progress."),
]

_WORKER: list[Any] = [
    cfg.ListOpt("queues", default=["default"], help="Regions whose work this worker takes."),
    cfg.StrOpt("staging_dir", help="Directory for journals and hash maps; default: `staging` under state_dir."),
    cfg.StrOpt(
        "runtime_dir",
        help="Directory for the sockets and records of open images and volumes; its path is short, and it outlives a "
        "restart of the machine; default: `open` under state_dir.",
    ),
    cfg.ListOpt(
        "image_directories",
        default=[],
        help="Directories of this worker's machine that endpoints of disk images may name, with all below them. "
        "Whoever may make endpoints then reads and writes there.",
    ),
    cfg.MultiStrOpt(
        "file_shares",
        default=[],
        help="A share on which the Cinder of an OpenStack cloud keeps volumes, and where it is mounted here: the "
        "address of the cloud's Keystone as endpoints name it (auth_url), the export, the directory, apart by blanks. "
        "Once for each share.",
    ),
    cfg.StrOpt(
        "nbd_certificates",
        help="Directory with ca-cert.pem, client-cert.pem and client-key.pem, by which this worker may read and write "
        "the disks of hypervisors whose endpoints have no certificates of their own.",
    ),
    cfg.IntOpt(
        "activities", default=8, min=1, help="Steps carried out at once, of each region; as many disk steps besides."
    ),
    cfg.StrOpt(
        "morphing_way_in",
        default="appliance",
        choices=[
            ("appliance", "libguestfs' own small machine: right for disks that are not trusted."),
            ("worker-kernel", "this worker's kernel: fast, and right only where the worker is itself disposable."),
        ],
        help="How a guest's file systems are reached for OS morphing.",
    ),
    cfg.BoolOpt(
        "allow_local_hypervisors",
        default=False,
        help="Let endpoints lead to this worker's own machine (qemu:///system, unix sockets, its own addresses). "
        "Whoever may make endpoints then rules that hypervisor: only where the machine and all users are of one owner.",
    ),
    cfg.StrOpt(
        "network_agent",
        help="Socket of the network agent on this worker's own machine: machines that arrive on this machine's "
        "hypervisor can then be put on the Neutron networks of their owner's project. Default: they can not.",
    ),
    cfg.IntOpt(
        "bandwidth_limit",
        default=0,
        min=0,
        help="Bytes per second of one copy step, all its disks together; 0 is no limit.",
    ),
    cfg.IntOpt(
        "link_bandwidth",
        default=0,
        min=0,
        help="Bytes per second that this worker's link carries. Its copies then get shares of it, as [placement] "
        "copy_bandwidth and bandwidth_limit say, and more of them wait. 0: not known, nothing is reserved of it.",
    ),
    cfg.StrOpt(
        "channel_listen",
        help="address:port or address:port-port (the first that is free is taken), as 0.0.0.0:7670-7679, on which this "
        "worker receives disks from workers of other regions, by mutual TLS and only while it has a copy. "
        "Default: it listens nowhere, and a worker of another region must itself reach the clouds of this one.",
    ),
    cfg.StrOpt(
        "channel_address",
        help="Name or address, or name:port, by which other workers reach channel_listen. Default: that address, or "
        "this machine's name if it is a wildcard.",
    ),
    cfg.DictOpt(
        "relays",
        default={},
        help="region:relay pairs. Disks for a region whose workers this one cannot connect to go by way of a worker of "
        "the region `relay`, to which both can connect (its channel_listen), as frankfurt:hub.",
    ),
    cfg.DictOpt(
        "staged",
        default={},
        help="region:hub pairs, as frankfurt:hub. Disks for a region are stored on a worker of the region `hub` first, "
        "and go on from there when all have arrived, so the two sites need not be connected at the same time. Both "
        "connect to that worker's channel_listen, as with relays; it keeps the disks in its staging_dir until then.",
    ),
    cfg.IntOpt("nbd_connections", default=4, min=1, max=16, help="NBD connections for each side of one disk."),
]

_PLACEMENT: list[Any] = [
    cfg.IntOpt(
        "hypervisor_copies",
        default=0,
        min=0,
        help="Disk steps (copies, verifications) at once that read from or write to one endpoint; 0 is no limit. All "
        "conductors need the same values of this group.",
    ),
    cfg.IntOpt("datastore_copies", default=0, min=0, help="Disk steps at once on one storage of a destination."),
    cfg.IntOpt("link_copies", default=0, min=0, help="Copies at once from one region to another."),
    cfg.IntOpt(
        "copy_bandwidth",
        default=0,
        min=0,
        help="Bytes per second that each copy reserves of the link of a worker that says what its link carries, and "
        "keeps to; 0: as much as that worker's bandwidth_limit.",
    ),
]

_SERVICE_CREDENTIALS: list[Any] = [
    cfg.StrOpt("region_name", help="Region whose Keystone catalog entries are used."),
    cfg.StrOpt(
        "interface", default="public", choices=["public", "internal", "admin"], help="Catalog interface that is used."
    ),
]

_GROUPS: Options = [
    (None, _DEFAULT),
    ("api", _API),
    ("database", _DATABASE),
    ("telemetry", _TELEMETRY),
    ("temporal", _TEMPORAL),
    ("conductor", _CONDUCTOR),
    ("worker", _WORKER),
    ("placement", _PLACEMENT),
    ("shares", SHARES),
    ("shares_quota", SHARES_QUOTA),
    ("network_agent", NETWORK_AGENT),
    (SERVICE_CREDENTIALS, _SERVICE_CREDENTIALS),
]


def load(args: Sequence[str]) -> cfg.ConfigOpts:
    """Return the configuration of `args` (as `["--config-file", "isthmus.conf"]`).

    Raises oslo_config's errors, which name the option or the file; `--help` and `--version` raise SystemExit.
    """
    conf = cfg.ConfigOpts()
    for group, options in _GROUPS:
        conf.register_opts(options, group=group)
    log.register_options(conf)
    # No files by default: what a service reads is what its command line says.
    conf(args=list(args), project="isthmus", default_config_files=[], default_config_dirs=[])
    return conf


def list_options() -> Options:
    """Return (group, options) pairs for the sample file and for tests of the documentation."""
    from keystoneauth1 import loading  # noqa: PLC0415 - see the module

    credentials = itertools.chain(
        _SERVICE_CREDENTIALS,
        loading.get_auth_common_conf_options(),
        loading.get_auth_plugin_conf_options("password"),
        loading.get_session_conf_options(),
    )
    return [
        (SERVICE_CREDENTIALS, list(credentials)) if group == SERVICE_CREDENTIALS else (group, list(options))
        for group, options in _GROUPS
    ]
