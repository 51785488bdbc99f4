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
    barbican_key: str = field(default_factory=_encryption_key, repr=False)


def load_or_make(layout: Layout) -> Credentials:
    """Return the control plane's credentials, made if this is its first start."""
    if layout.credentials.exists():
        return Credentials(**json.loads(layout.credentials.read_text()))
    made = Credentials()
    write_private(layout.credentials, json.dumps(asdict(made), indent=2) + "\n")
    return made
