"""RabbitMQ from Debian, on loopback ports of its own."""

import secrets
from pathlib import Path

from benchmarks.manila_peer.programs import Programs

EPMD = "/usr/bin/epmd"
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
START_SECONDS = 120.0


def start_broker(programs: Programs, directory: Path, port: int, distribution_port: int, epmd_port: int) -> None:
    """Start RabbitMQ and the port mapper that Erlang wants; return when it listens on `port`.

    The port mapper is started here because RabbitMQ would leave its own one behind.
    """
    home = directory / "rabbitmq"
    home.mkdir()
    (home / "plugins").write_text("[].\n")
    environment = {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"peer{secrets.token_hex(4)}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
    }
    programs.start("epmd", [EPMD, "-port", str(epmd_port), "-address", "127.0.0.1"], environment)
    programs.await_port(epmd_port, START_SECONDS)
    programs.start("rabbitmq", [SERVER], environment)
    programs.await_port(port, START_SECONDS)
