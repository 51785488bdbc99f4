"""GET / and GET /v1: what is served here, for anybody; and the API's OpenAPI document."""

import falcon

_V1 = {"id": "v1", "status": "CURRENT", "version": "", "min_version": "", "updated": "2026-11-23T00:00:00Z"}


class Versions:
    """GET /."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show all versions."""
        resp.media = {"versions": [_with_link(req)]}


class Version:
    """GET /v1."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show this version."""
        resp.media = {"version": _with_link(req)}


def _with_link(req: falcon.Request) -> dict[str, object]:
    return {**_V1, "links": [{"rel": "self", "href": f"{req.prefix}/v1"}]}
