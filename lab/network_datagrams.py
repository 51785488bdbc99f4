"""UDP for tests of networking, on any host and in any namespace: the machine's busybox has no nc that speaks it.

host.spawn("ip", "netns", "exec", "c1", *echo(80), log=log)     # what is heard is in the log, too
host.succeeds(*ask("127.0.0.1", 18090, "hello"))                 # whether it came back
"""

import sys

_ECHO = """
import socket, sys
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.bind(("0.0.0.0", int(sys.argv[1])))
while True:
    text, whence = wire.recvfrom(1000)
    print(text.decode(), flush=True)
    wire.sendto(text, whence)
"""
_ASK = """
import socket, sys
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.settimeout(2)
wire.sendto(sys.argv[3].encode(), (sys.argv[1], int(sys.argv[2])))
sys.exit(wire.recv(1000).decode() != sys.argv[3])
"""


def echo(port: int) -> tuple[str, ...]:
    """Return the command of a server that sends back what it hears, and prints it."""
    return (sys.executable, "-c", _ECHO, str(port))


def ask(address: str, port: int, text: str) -> tuple[str, ...]:
    """Return a command that sends a text and succeeds if it comes back within 2 seconds."""
    return (sys.executable, "-c", _ASK, address, str(port), text)
