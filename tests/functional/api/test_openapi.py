"""The OpenAPI document tells of exactly what is served."""

import json
import re

from tests.functional.api.parts import Api

from isthmus.migration.api.openapi import document


def test_it_is_served_to_everybody(api: Api) -> None:
    assert api.raw("GET", "/v1/openapi.json").json == json.loads(json.dumps(document()))


def test_every_operation_it_names_is_served(api: Api) -> None:
    for path, operations in document()["paths"].items():
        filled = re.sub(r"\{\w+\}", "x", path)
        allowed = api.raw("OPTIONS", filled).headers["allow"].lower().split(", ")
        assert set(operations) <= set(allowed), path


def test_every_reference_leads_somewhere() -> None:
    known = document()["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document())):
        assert name in known
    assert {"default", "backend_mappings", "disk_mappings"} == set(known["StorageMappings"]["properties"])
