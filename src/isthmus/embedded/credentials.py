"""The random passwords and keys of one control plane: made at the first start, in a file only its owner can read."""

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field

from isthmus.embedded.layout import Layout, write_private


def _password() -> str:
    # Letters, digits, - and _ only: it stands in URLs, SQL text and shell exports without quoting.
    return secrets.token_urlsafe(24)


def _encryption_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Credentials:
    """Every secret of the control plane; never printed, so that none reaches a log by way of a traceback."""

    admin: str = field(default_factory=_password, repr=False)
    demo: str = field(default_factory=_password, repr=False)
    isthmus: str = field(default_factory=_password, repr=False)
    barbican: str = field(default_factory=_password, repr=False)
    keystone_database: str = field(default_factory=_password, repr=False)
    barbican_database: str = field(default_factory=_password, repr=False)
    isthmus_database: str = field(default_factory=_password, repr=False)
    neutron: str = field(default_factory=_password, repr=False)
    neutron_database: str = field(default_factory=_password, repr=False)
    network_agent: str = field(default_factory=_password, repr=False)
    demo2: str = field(default_factory=_password, repr=False)
    barbican_key: str = field(default_factory=_encryption_key, repr=False)


def load_or_make(layout: Layout) -> Credentials:
    """Return the control plane's credentials; those that are missing (all, at its first start) are made and kept."""
    kept = json.loads(layout.credentials.read_text()) if layout.credentials.exists() else {}
    whole = Credentials(**kept)
    if asdict(whole) != kept:
        write_private(layout.credentials, json.dumps(asdict(whole), indent=2) + "\n")
    return whole
