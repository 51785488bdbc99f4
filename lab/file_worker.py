"""A real Isthmus worker whose only platform is the simulated cloud of `file_cloud`.

A secret's reference is the path of a JSON file, so no Keystone and no Barbican are needed.
"""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.control.configuration import load
from isthmus.control.errors import InvalidInput, SecretGone
from isthmus.migration.providers.contract import Provider
from isthmus.migration.services.lifecycle import leave
from isthmus.migration.services.worker import serve
from isthmus.migration.workflows.site import Clouds
from lab.file_cloud import FileCloud


def _find(platform: str) -> type[Provider]:
    if platform != FileCloud.platform:
        raise InvalidInput(f"unknown provider {platform!r}; this worker knows: files")
    return FileCloud


def _resolve(trust_id: str | None, reference: str) -> Mapping[str, Any]:
    del trust_id
    try:
        content: dict[str, Any] = json.loads(Path(reference).read_text())
    except FileNotFoundError:
        raise SecretGone(f"the secret {reference} is gone; give the endpoint its connection details again") from None
    return content


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    serve(load(sys.argv[1:]), Clouds(_find, _resolve), [FileCloud.platform])
    leave()
