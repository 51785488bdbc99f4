"""Which addresses stay on this host."""


def is_loopback(host: str) -> bool:
    """Return whether a host, as a name or an address (IPv6 with or without brackets), is this machine's loopback."""
    return host.strip("[]") in {"localhost", "::1"} or host.startswith("127.")
