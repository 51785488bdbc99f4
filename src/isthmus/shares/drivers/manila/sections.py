"""The options of back ends, as Manila's drivers read them: sections of the one global `oslo_config.cfg.CONF`.

A driver registers its options while it is made and reads them at once, so its section must be parsed before, and
parsed again when a back end is added: oslo.config has no other way to know values of options yet to be registered.
The file is in a private directory only as long as it is parsed, as it may hold passwords.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from oslo_config import cfg
from oslo_utils import strutils

from isthmus.control import scratch
from isthmus.control.errors import InvalidInput

PROCESS_WIDE = ("state_path", "rootwrap_config", "my_ip")
"""Manila's options in [DEFAULT] that drivers read; all back ends of a process must agree on them."""


class Sections:
    """The sections known to Manila in this process. Not safe for threads: `library` takes a lock."""

    def __init__(self) -> None:
        self._sections: dict[str, dict[str, str]] = {}
        self._state = str(scratch.make("manila-state"))
        # Some vendors' modules register required options in [DEFAULT] when they are imported: a second back end's
        # parsing would fail for the want of options that it never reads. A driver still misses its own when it starts.
        cfg.CONF._check_required_opts = lambda *_: None

    def put(self, name: str, options: Mapping[str, str]) -> None:
        """Let `CONF` know this section, in place of an earlier one of this name. Raises `InvalidInput`."""
        if strutils.bool_from_string(options.get("driver_handles_share_servers", "False")):
            raise InvalidInput(
                f"section [{name}] sets driver_handles_share_servers: Isthmus makes no share servers for Manila's "
                "drivers; set it to False, for a driver that can do without"
            )
        self._agree(name, options)
        self._sections[name] = {"driver_handles_share_servers": "False", "share_backend_name": name, **options}
        self._parse()

    def _agree(self, name: str, options: Mapping[str, str]) -> None:
        for other, section in self._sections.items():
            for key in PROCESS_WIDE:
                if other != name and section.get(key) != options.get(key):
                    raise InvalidInput(
                        f"sections [{other}] and [{name}] differ in {key}, which they share; make it the same"
                    )

    def _parse(self) -> None:
        with tempfile.TemporaryDirectory(prefix="isthmus-manila-") as directory:
            path = Path(directory) / "manila.conf"
            path.write_text(self._text())
            cfg.CONF(["--config-file", str(path)], project="manila")

    def _text(self) -> str:
        some_section = next(iter(self._sections.values()))
        shared = {"state_path": self._state} | {key: some_section[key] for key in PROCESS_WIDE if key in some_section}
        sections = {
            "DEFAULT": shared | {"enabled_share_backends": ",".join(self._sections)},
            "oslo_concurrency": {"lock_path": shared["state_path"]},
            "coordination": {"backend_url": f"file://{shared['state_path']}"},
            **self._sections,
        }
        return "".join(f"[{name}]\n{_lines(values)}" for name, values in sections.items())


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{key} = {_quoted(value)}\n" for key, value in values.items())


def _quoted(value: str) -> str:
    # The parser takes one pair of quotes away; a value of several lines goes on in indented ones.
    return value.replace("\n", "\n  ") if "\n" in value else f'"{value}"'
