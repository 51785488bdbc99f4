"""Whether a server of OVSDB answers: its protocol's `echo` (RFC 7047, 4.1.11), on a connection of its own, in time."""

import errno

from ovs import jsonrpc, poller, timeval
from ovs.stream import Stream


def answers(address: str, limit: float) -> bool:
    """Return whether the server at an address (`unix:…`, `tcp:…`, `ssl:…`) answers within `limit` seconds."""
    deadline = timeval.msec() + int(limit * 1000)
    error, stream = Stream.open_block(Stream.open(address), timeout=int(limit * 1000))
    if error:
        return False
    connection = jsonrpc.Connection(stream)
    try:
        question = jsonrpc.Message.create_request("echo", [])
        if connection.send(question):
            return False
        while timeval.msec() < deadline:
            connection.run()
            error, message = connection.recv()
            if message is not None and message.type == jsonrpc.Message.T_REPLY and message.id == question.id:
                return True
            if error not in {0, errno.EAGAIN}:
                return False
            waiting = poller.Poller()
            connection.wait(waiting)
            connection.recv_wait(waiting)
            waiting.timer_wait_until(deadline)
            waiting.block()
        return False
    finally:
        connection.close()
