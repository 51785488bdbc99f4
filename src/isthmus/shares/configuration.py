"""The section of a back end, as its driver gets it. All other options are in `isthmus.control.share_options`."""

from typing import Any

from oslo_config import cfg
from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import InvalidInput


def backend_options(conf: ConfigOpts, name: str) -> dict[str, str]:
    """Return the section of a back end as it stands in the configuration files: last value of each key.

    A driver's options are its own: they are not known here. Raises `InvalidInput` if there is no such section.
    """
    found: dict[str, str] = {}
    sections = 0
    for path in conf.config_file:
        parsed: dict[str, Any] = {}
        cfg.ConfigParser(path, parsed).parse()
        if name in parsed:
            sections += 1
            found.update({key: values[-1] for key, values in parsed[name].items()})
    if not sections:
        raise InvalidInput(f"[shares] enabled_backends names {name}, and there is no section [{name}]; add it")
    if not found.get("driver"):
        raise InvalidInput(f"section [{name}] has no `driver`; name one, as `driver = btrfs`")
    return found
