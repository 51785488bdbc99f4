"""Turn an interface's static configuration into DHCP, for NICs whose plan says so. Pure text to text."""

import re

import yaml

from isthmus.migration.morphing.network_names import ethernets, ifcfg_facts

_STANZA = re.compile(r"^(?:iface|auto|mapping|source|source-directory|allow-\S+)\b")
_STATIC_KEYS = ("addresses", "gateway4", "gateway6", "routes", "nameservers")
_STATIC_LINE = re.compile(r"^\s*(?:Address|Gateway|DNS|Domains)\s*=")


_IFCFG_STATIC = re.compile(r"^\s*(?:IPADDR|NETMASK|PREFIX|PREFIXLEN|GATEWAY|BROADCAST|NETWORK|DNS)\w*=", re.IGNORECASE)
_IFCFG_PROTOCOL = re.compile(r"^\s*BOOTPROTO=.*$", re.MULTILINE | re.IGNORECASE)
_KEYFILE_STATIC = re.compile(r"^\s*(?:address(?:es)?|gateway|route|routes|dns)\d*\s*=")


def ifcfg(text: str, name: str) -> str:
    """Return an ifcfg file for this name that asks DHCP. Unchanged if it is for another name, or not static."""
    facts = ifcfg_facts(text)
    if facts.get("DEVICE", name) != name or not any(_IFCFG_STATIC.match(line) for line in text.splitlines()):
        return text
    kept = [line for line in text.splitlines() if not _IFCFG_STATIC.match(line)]
    asked, count = _IFCFG_PROTOCOL.subn("BOOTPROTO=dhcp", "\n".join(kept))
    return f"{asked}\n" if count else f"{asked}\nBOOTPROTO=dhcp\n"


def keyfile(text: str, name: str) -> str:
    """Return a NetworkManager keyfile for this name whose IPv4 section asks DHCP. Unchanged if it is another's."""
    if not re.search(rf"^\s*interface-name\s*=\s*{re.escape(name)}\s*$", text, re.MULTILINE):
        return text
    lines, section = [], ""
    for line in text.splitlines():
        section = line.strip() if line.startswith("[") else section
        if section == "[ipv4]" and (_KEYFILE_STATIC.match(line) or re.match(r"^\s*method\s*=", line)):
            continue
        lines.append(line)
        if line.strip() == "[ipv4]":
            lines.append("method=auto")
    asked = "\n".join(lines) + "\n"
    return asked if "method=manual" in text else text


def interfaces(text: str, name: str) -> str:
    """Return interfaces(5) with `iface NAME inet static` made `inet dhcp` and its address lines dropped."""
    lines = []
    dropping = False
    for line in text.splitlines(keepends=True):
        words = line.split()
        if words and _STANZA.match(words[0]):
            dropping = words[:3] == ["iface", name, "inet"] and words[3:4] == ["static"]
            lines.append(line.replace("static", "dhcp", 1) if dropping else line)
        elif not dropping or not words or words[0] in ("pre-up", "up", "post-up", "down", "pre-down", "post-down"):
            lines.append(line)
    return "".join(lines)


def netplan(text: str, name: str) -> str:
    """Return a netplan file in which the ethernet of this name asks DHCP. Unchanged if it has none of it."""
    for identity, facts in ethernets(text).items():
        if name in (identity, facts.get("set-name")) and any(key in facts for key in _STATIC_KEYS):
            document = yaml.safe_load(text)
            kept = {key: value for key, value in facts.items() if key not in _STATIC_KEYS}
            document["network"]["ethernets"][identity] = {**kept, "dhcp4": True}
            return yaml.safe_dump(document, sort_keys=False)
    return text


def networkd(text: str, name: str) -> str:
    """Return a systemd.network(5) file for this name that asks DHCP. Unchanged if it is for another name."""
    if not re.search(rf"^\s*Name\s*=\s*{re.escape(name)}\s*$", text, re.MULTILINE):
        return text
    if not any(_STATIC_LINE.match(line) for line in text.splitlines()):
        return text
    kept = [line for line in text.splitlines() if not _STATIC_LINE.match(line) and not re.match(r"^\s*DHCP\s*=", line)]
    asked = re.sub(r"^(\s*\[Network\]\s*)$", r"\1\nDHCP=yes", "\n".join(kept), count=1, flags=re.MULTILINE)
    return f"{asked}\n"
