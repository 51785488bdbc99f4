"""Names that are written here and given by a library that not every service has."""

from oslo_middleware import request_id

from isthmus.control.http import REQUEST_ID


def test_the_request_id_is_looked_for_where_oslo_middleware_leaves_it() -> None:
    assert REQUEST_ID == request_id.ENV_REQUEST_ID
