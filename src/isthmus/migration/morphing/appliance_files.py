"""New files and directories in the appliance get SELinux labels: of what they replace, or else of their directory."""

import posixpath
from collections.abc import Callable
from typing import Any

_LABEL = "security.selinux"


def ensure_directory(call: Callable[..., Any], g: Any, path: str) -> None:
    """Make a directory and those above it. `call` runs a method of the libguestfs handle `g`."""
    if path in ("", "/") or call(g.is_dir, path, followsymlinks=True):
        return
    parent = posixpath.dirname(path)
    ensure_directory(call, g, parent)
    call(g.mkdir_p, path)
    give_label(call, g, path, parent)


def give_label(call: Callable[..., Any], g: Any, path: str, *models: str) -> None:
    """Give `path` the label of the first of `models` that has one, as SELinux does in a directory."""
    for model in models:
        if not call(g.exists, model or "/"):
            continue
        for attribute in call(g.lgetxattrs, model or "/"):
            if attribute["attrname"] == _LABEL:
                call(g.lsetxattr, _LABEL, attribute["attrval"], len(attribute["attrval"]), path)
                return
