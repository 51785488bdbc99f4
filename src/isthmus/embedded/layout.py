"""Where everything of one control plane lies: one state directory that only its owner can enter."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from isthmus.control.errors import InvalidInput

DEFAULT_STATE_DIR = "/var/lib/isthmus/control"
STATE_DIR_VARIABLE = "ISTHMUS_STATE_DIR"
LONGEST_SOCKET_PATH = 107  # sun_path in unix(7) is 108 bytes with its closing zero


@dataclass(frozen=True)
class Layout:
    """Paths below one state directory."""

    state_dir: Path

    @property
    def run(self) -> Path:
        """Sockets, the lock, the published state of the parts: all that is of no use after `down`."""
        return self.state_dir / "run"

    @property
    def logs(self) -> Path:
        """One log file a part, and the supervisor's own."""
        return self.state_dir / "log"

    @property
    def mariadb_socket(self) -> Path:
        """The only way into MariaDB."""
        return self.run / "mariadb.sock"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives; holds its pid."""
        return self.run / "supervisor.lock"

    @property
    def parts(self) -> Path:
        """What the supervisor knows of its parts, for `status`."""
        return self.run / "parts.json"

    @property
    def credentials(self) -> Path:
        """The random passwords and keys."""
        return self.state_dir / "credentials.json"

    @property
    def ports(self) -> Path:
        """The ports chosen at the last start."""
        return self.state_dir / "ports.json"

    @property
    def configuration(self) -> Path:
        """`isthmus.conf`, for Isthmus's own services."""
        return self.state_dir / "isthmus.conf"

    @property
    def shares_configuration(self) -> Path:
        """`shares.conf`: `[shares]` and a section for each back end, read after `isthmus.conf`."""
        return self.state_dir / "shares.conf"

    @property
    def network_sockets(self) -> Path:
        """The sockets of Open vSwitch and OVN: their databases' and those by which they are controlled."""
        return self.run / "ovs"

    @property
    def clouds(self) -> Path:
        """`clouds.yaml`, for OpenStack's clients."""
        return self.state_dir / "clouds.yaml"

    def log(self, part: str) -> Path:
        """Return the log file of a part (or of `supervisor`)."""
        return self.logs / f"{part}.log"

    def ready_file(self, part: str) -> Path:
        """Return the file that a part without a port touches when it is at work."""
        return self.run / f"{part}.ready"

    def stamp(self, part: str) -> Path:
        """Return the file that says for what versions and ports the part was last prepared."""
        return self.state_dir / part / "prepared"

    def of(self, part: str) -> Path:
        """Return the part's own directory."""
        return self.state_dir / part


def open_layout(state_dir: str | None) -> Layout:
    """Return the layout of the named state directory, else of $ISTHMUS_STATE_DIR, else of the default one.

    Raises InvalidInput when the path is too long for the sockets in it.
    """
    layout = Layout(Path(state_dir or os.environ.get(STATE_DIR_VARIABLE) or DEFAULT_STATE_DIR).resolve())
    if len(str(layout.mariadb_socket).encode()) > LONGEST_SOCKET_PATH:
        raise InvalidInput(
            f"state directory {layout.state_dir} is too long: the socket {layout.mariadb_socket} would have more than "
            f"{LONGEST_SOCKET_PATH} bytes; choose a shorter one with --state-dir"
        )
    return layout


def make_directories(layout: Layout) -> None:
    """Make the state directory and its rooms, for their owner only (0700).

    Raises InvalidInput when that cannot be, or when the directory is somebody else's.
    """
    own = [layout.of(part) for part in ("mariadb", "keystone", "barbican", "temporal", "isthmus", "shares", "network")]
    directory = layout.state_dir
    try:
        _check_ours(layout)
        for directory in (layout.state_dir, layout.run, layout.network_sockets, layout.logs, *own):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
    except OSError as error:
        raise InvalidInput(
            f"cannot make {directory} for its owner alone: {error.strerror}; choose another place with --state-dir"
        ) from error


def _check_ours(layout: Layout) -> None:
    """Refuse a directory that holds something else: closing it to others could lock a whole machine out of /tmp."""
    present = layout.state_dir.is_dir() and any(layout.state_dir.iterdir())
    if present and not layout.lock.exists():
        raise InvalidInput(
            f"{layout.state_dir} holds other files and no control plane: choose a new or empty --state-dir"
        )


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner can read (0600); no reader ever sees a half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
