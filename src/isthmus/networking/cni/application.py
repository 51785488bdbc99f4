"""The route /cni of the agent's socket: one POST for each call of the executable.

The body is `{"environment": {"CNI_…": "…"}, "stdin": "…"}`; the answer is what the executable prints. 200 with a
result, 204 for success without one, any other status for the specification's error.
"""

import logging
import time
from typing import Any

import falcon
import orjson
from pydantic import BaseModel

from isthmus.control.bodies import parse
from isthmus.control.errors import IsthmusError
from isthmus.control.http import read_object
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.cni.calls import parse_call, version_of
from isthmus.networking.cni.commands import Commands
from isthmus.networking.cni.protocol import NEWEST_VERSION, CniError, Command, ErrorCode, as_cni

log = logging.getLogger(__name__)

MOST_BYTES = 8 << 20
"""The executable takes at most 1 MiB of standard input, each byte of which is at most 6 in JSON."""


class _Body(BaseModel):
    environment: dict[str, str]
    stdin: str


class CniResource:
    """Answers the executable."""

    def __init__(self, agent: Agent) -> None:
        self._commands = Commands(agent)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Carry out one call."""
        begun, version, said = time.monotonic(), NEWEST_VERSION, "?"
        try:
            body = _body(req)
            version = version_of(body.stdin)
            said = body.environment.get("CNI_COMMAND", "?")[:16]
            call = parse_call(body.environment, body.stdin)
            answer = self._commands.run(call)
        except IsthmusError as error:
            _fail(resp, _in_words_of(said, as_cni(error)), version)
            log.warning("%s failed after %.3f s: %s", said, time.monotonic() - begun, error.message)
            return
        except Exception:
            log.exception("%s failed in a way that was not foreseen", said)
            details = "the agent's log has the traceback; report it, and try again"
            _fail(resp, CniError(ErrorCode.INTERNAL, details), version)
            return
        log.info("%s %s done in %.3f s", call.command, call.key.id, time.monotonic() - begun)
        resp.status = 204 if answer is None else 200
        resp.data = None if answer is None else orjson.dumps(answer)


def _body(req: falcon.Request) -> _Body:
    try:
        return parse(_Body, read_object(req, MOST_BYTES), "the call")
    except IsthmusError as error:
        raise CniError(ErrorCode.DECODING, error.message) from None


def _in_words_of(command: str, error: CniError) -> CniError:
    """Return the error under the number that its command has for it: STATUS knows no "try again later"."""
    if command == Command.STATUS and error.number is ErrorCode.TRY_AGAIN_LATER:
        return CniError(ErrorCode.NOT_AVAILABLE, error.message)
    return error


def _fail(resp: falcon.Response, error: CniError, version: str) -> None:
    answer: dict[str, Any] = {"cniVersion": version, "code": int(error.number), "msg": error.summary}
    resp.status = 500 if error.number is ErrorCode.INTERNAL else 400
    resp.data = orjson.dumps({**answer, "details": error.message})


def add_routes(app: "falcon.App[falcon.Request, falcon.Response]", agent: Agent) -> None:
    """Add /cni to the application of the agent's own socket."""
    app.add_route("/cni", CniResource(agent))
